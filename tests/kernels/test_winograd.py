"""Winograd's algorithm: how exact it is, how far NaN spreads, when it is chosen. That it agrees with the reference on
awkward shapes and gives the same bits with any number of threads is tested with all kernels, in test_contracts.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minicnn as mc
from minicnn.kernels import cpu
from minicnn.kernels.cpu.algorithms import can_winograd, choose

from .cases_conv import ROUND, Convolution

KERNELS = ("conv2d_forward", "conv2d_input_grad", "conv2d_weight_grad")
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


@pytest.fixture(autouse=True)
def algorithm_as_before() -> Iterator[None]:
    yield
    mc.set_conv_algorithm("auto")


def results(c: Convolution, algorithm: str, x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
    """y, dx and dw by an algorithm, in the dtype of the arrays."""
    y, dx, dw = np.empty_like(dy), np.empty_like(x), np.empty_like(w)
    window = (c.stride, c.padding, c.dilation, c.groups)
    cpu.kernel("conv2d_forward")(x, w, None, None, y, *window, -np.inf, np.inf, algorithm)
    cpu.kernel("conv2d_input_grad")(dy, w, dx, c.size[1:], *window, algorithm)
    cpu.kernel("conv2d_weight_grad")(x, dy, dw, c.kernel, *window, algorithm)
    return [y, dx, dw]


def arrays(c: Convolution, mean: float = 0.0) -> list[np.ndarray]:
    """x, w and dy in float32."""
    random = np.random.default_rng(0)
    shapes = ((*c.size, c.channels), (*c.kernel, c.channels, c.filters), (c.size[0], *c.outputs, c.filters))
    return [random.normal(mean, 1, shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("mean", [0.0, 0.5])
@pytest.mark.parametrize("c", [
    Convolution((2, 12, 11), 32, 32, padding=ROUND), Convolution((2, 8, 8), 128, 64),
    Convolution((2, 7, 7), 512, 96, padding=ROUND), Convolution((2, 7, 7), 96, 512, padding=ROUND),
    Convolution((1, 7, 7), 512, 96, padding=ROUND), Convolution((1, 7, 7), 96, 512, padding=ROUND),
    Convolution((2, 12, 11), 16, 32, (5, 5), padding=(2, 2, 2, 2)), Convolution((1, 9, 9), 256, 48, (5, 5)),
    Convolution((2, 13, 13), 96, 256), Convolution((2, 12, 12), 32, 128, (5, 5)),
    Convolution((2, 11, 9), 512, 24, (5, 5)), Convolution((40, 32, 32), 3, 5, (5, 5), padding=(2, 2, 2, 2))], ids=str)
def test_errors_stay_below_5e_5_of_the_largest_result(c: Convolution, mean: float) -> None:
    inputs = arrays(c, mean)
    exact = results(c, "direct", *(array.astype(np.float64) for array in inputs))
    for name, got, expected in zip(KERNELS, results(c, "winograd", *inputs), exact, strict=True):
        assert np.abs(got - expected).max() <= 5e-5 * np.abs(expected).max(), name


@pytest.mark.parametrize("size", [3, 5])
def test_what_is_not_finite_reaches_the_squares_that_see_it(size: int) -> None:
    """It spoils the outputs whose windows see it, and may spoil their squares of 4x4. Other squares and other pictures
    are as if it weren't there."""
    c = Convolution((3, 16, 16), 16, 16, (size, size), padding=(size // 2,) * 4)
    x, w, dy = arrays(c)
    clean = results(c, "winograd", x, w, dy)[0]
    x[1, 5, 6, 3], x[1, 5, 6, 4] = np.nan, np.inf
    spoilt = results(c, "winograd", x, w, dy)[0]
    near = slice(5 - size // 2, 6 + size // 2), slice(6 - size // 2, 7 + size // 2)
    assert not np.isfinite(spoilt[1][near]).any()
    seen = np.zeros(clean.shape, bool)
    inputs = size + 3  # of a square, along a side
    for p in range(0, 16, 4):
        for q in range(0, 16, 4):
            top, left = p - size // 2, q - size // 2
            seen[1, p:p + 4, q:q + 4] = top <= 5 < top + inputs and left <= 6 < left + inputs
    np.testing.assert_array_equal(spoilt[~seen], clean[~seen])


@pytest.mark.parametrize("size", [3, 5])
def test_a_gradient_that_is_not_finite_reaches_the_inputs_of_its_square(size: int) -> None:
    """As above where the squares are the output gradient's, 3x3 of them, and overlap in the picture's."""
    c = Convolution((3, 11 + size, 11 + size), 16, 16, (size, size))
    x, w, dy = arrays(c)
    clean = results(c, "winograd", x, w, dy)[1]
    dy[1, 5, 6, 3], dy[1, 5, 6, 4] = np.nan, np.inf
    spoilt = results(c, "winograd", x, w, dy)[1]
    assert not np.isfinite(spoilt[1, 5:5 + size, 6:6 + size]).any()
    seen = np.zeros(clean.shape, bool)
    seen[1, 4:7 + size, 4:7 + size] = True  # the inputs of the square of rows and columns 4 to 7
    np.testing.assert_array_equal(spoilt[~seen], clean[~seen])


def sizes_of(c: Convolution) -> dict[str, int]:
    names = ("N", "H", "W", "C", "K", "R", "S", "P", "Q")
    return dict(zip(names, (*c.size, c.channels, c.filters, *c.kernel, *c.outputs), strict=True))


@pytest.mark.parametrize(("c", "algorithm"), [
    (Convolution((50, 32, 32), 32, 32, padding=ROUND), "winograd"),
    (Convolution((8, 14, 14), 256, 256, padding=ROUND), "winograd"),
    (Convolution((32, 32, 32), 16, 32, (5, 5), padding=(2, 2, 2, 2)), "winograd"),
    (Convolution((1, 4, 4), 256, 256, padding=ROUND), "direct"),  # one square: its filters are not worth transforming
    (Convolution((8, 28, 28), 4, 4, padding=ROUND), "direct"),
    (Convolution((8, 28, 28), 64, 64, (3, 3), (2, 2), ROUND), "direct"),
    (Convolution((8, 28, 28), 64, 64, (1, 1)), "direct"),
    (Convolution((8, 28, 28), 64, 64, (3, 5)), "direct"),
    (Convolution((8, 28, 28), 64, 64, dilation=(2, 2)), "direct"),
    (Convolution((8, 28, 28), 64, 64, padding=ROUND, groups=2), "direct"),
    (Convolution((8, 28, 28), 64, 64, padding=ROUND, groups=64), "depthwise")], ids=str)
@pytest.mark.parametrize("name", KERNELS)
def test_the_choice_follows_the_shape(name: str, c: Convolution, algorithm: str) -> None:
    assert choose(name, sizes_of(c), c.params(), F32) == algorithm
    assert choose(name, sizes_of(c), c.params(), F64) == ("direct" if algorithm == "winograd" else algorithm)


@pytest.mark.parametrize(("padding", "algorithm"), [((0, 0, 0, 0), "winograd"), (ROUND, "direct")])
def test_the_choice_counts_the_squares_of_the_smaller_gradient(padding: Any, algorithm: str) -> None:
    """5x5 inputs are four squares, which are one where the outputs are 3x3."""
    c = Convolution((8, 5, 5), 64, 64, padding=padding)
    assert choose("conv2d_input_grad", sizes_of(c), c.params(), F32) == algorithm


@pytest.mark.parametrize(("size", "dtype", "stride", "ran"), [
    (3, F32, 1, "winograd"), (5, F32, 1, "winograd"), (3, F64, 1, "direct"), (3, F32, 2, "direct"),
    (1, F32, 1, "direct")])
def test_it_can_be_forced_and_the_trace_tells(size: int, dtype: Any, stride: int, ran: str) -> None:
    random = np.random.default_rng(0)
    x = mc.tensor(random.normal(size=(1, 6, 5, 2)).astype(dtype), requires_grad=True)
    w = mc.tensor(random.normal(size=(size, size, 2, 3)).astype(dtype), requires_grad=True)
    mc.set_conv_algorithm("winograd")
    with mc.trace_kernels() as trace:
        mc.nn.functional.conv2d(x, w, stride=stride, padding=size // 2).sum().backward()
    assert {run.kernel: run.algorithm for run in trace if run.kernel in KERNELS} == dict.fromkeys(KERNELS, ran)


@pytest.mark.parametrize("c", [
    Convolution((1, 8, 8), 4, 4, (3, 3), (2, 2)), Convolution((1, 8, 8), 4, 4, (3, 5)),
    Convolution((1, 8, 8), 4, 4, padding=ROUND, groups=2), Convolution((1, 8, 8), 4, 4, dilation=(1, 2))], ids=str)
def test_kernels_refuse_what_it_cannot_do(c: Convolution) -> None:
    assert not can_winograd(sizes_of(c), c.params(), F32)
    x, w, dy = c.x(zeros), c.w(zeros), c.y(zeros)
    with pytest.raises(ValueError, match="winograd"):
        cpu.kernel("conv2d_forward")(x, w, None, None, dy, *c.params().values(), -np.inf, np.inf, "winograd")


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)
