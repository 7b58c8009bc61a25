"""Filters that are prepared once: `kept` changes when a convolution packs or transforms them, not what it gives."""

from typing import Any

import numpy as np
import pytest

from minicnn.dispatch import dispatch, set_conv_algorithm
from minicnn.kernels import cpu
from minicnn.kernels.contracts import CONTRACTS
from minicnn.kernels.cpu.algorithms import choose
from minicnn.trace import trace_kernels

from .cases_conv import JOINED, ROUND, Convolution, joined

LAYERS = {
    "direct": Convolution((2, 9, 7), 19, 37, (3, 3), (2, 2), ROUND),
    "pointwise": Convolution((1, 5, 6), 70, 33, (1, 1)),
    "groups": Convolution((1, 6, 5), 8, 36, groups=2),
    "winograd": Convolution((2, 9, 7), 19, 37, padding=ROUND), "winograd_5x5": Convolution((1, 9, 7), 12, 18, (5, 5)),
    "winograd_many_filters": Convolution((2, 9, 7), 200, 180, padding=ROUND),
    "winograd_few_squares": Convolution((1, 6, 5), 200, 180, padding=ROUND),
}


def run(c: Convolution, algorithm: str, level: str, x: np.ndarray, w: np.ndarray, **kept: Any) -> np.ndarray:
    y = np.full((c.size[0], *c.outputs, c.filters), np.nan, x.dtype)
    cpu.kernel("conv2d_forward", level)(x, w, None, None, y, *c.params().values(), 0.0, np.inf, algorithm, **kept)
    return y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("label", LAYERS)
def test_same_bits_and_filters_are_read_once(label: str, dtype: Any) -> None:
    c, algorithm, random = LAYERS[label], label.split("_")[0], np.random.default_rng(0)
    if algorithm == "winograd" and dtype == np.float64:
        pytest.skip("float32 only")
    algorithm = {"pointwise": "direct", "groups": "direct"}.get(algorithm, algorithm)
    w = random.normal(size=(*c.kernel, c.channels // c.groups, c.filters)).astype(dtype)
    kept: dict[Any, Any] = {}  # one for all levels: they don't mix their filters up
    for level in cpu.LEVELS:
        passed = w.copy()
        for _ in range(3):
            x = random.normal(size=(*c.size, c.channels)).astype(dtype)
            expected = run(c, algorithm, level, x, w)
            np.testing.assert_array_equal(run(c, algorithm, level, x, passed, kept=kept), expected)
            passed[...] = np.nan  # what is prepared is not made again
    assert len(kept) == len(cpu.LEVELS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_joined_filters_are_read_once(dtype: Any) -> None:
    first, second = JOINED["strides_of_both"]
    random, contract, kept = np.random.default_rng(0), CONTRACTS["conv2d_depthwise"], {}

    def draw(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(dtype)

    (x, w, bias, filters, shift), params = joined(first, second, draw)
    values = [params[name] for name in contract.params]
    for level in cpu.LEVELS:
        expected, got, kernel = second.y(draw), second.y(draw), cpu.kernel("conv2d_depthwise", level)
        passed = w.copy(), filters.copy()
        kernel(x, w, bias, filters, shift, expected, *values, "joined")
        for _ in range(2):
            kernel(x, passed[0], bias, passed[1], shift, got, *values, "joined", kept=kept)
            np.testing.assert_array_equal(got, expected)
            passed[0][...], passed[1][...] = np.nan, np.nan
    assert len(kept) == len(cpu.LEVELS)


@pytest.mark.parametrize("channels", [3, 21, 64])
def test_depthwise_reads_its_filters_where_they_lie(channels: int) -> None:
    c, random = Convolution((2, 7, 6), channels, channels, padding=ROUND, groups=channels), np.random.default_rng(0)
    kept: dict[Any, Any] = {}
    x, w = c.x(lambda *shape: random.normal(size=shape)), c.w(lambda *shape: random.normal(size=shape))
    for level in cpu.LEVELS:
        expected = run(c, "depthwise", level, x, w)
        np.testing.assert_array_equal(run(c, "depthwise", level, x, w, kept=kept), expected)
    assert not kept


def test_dispatch_hands_it_on() -> None:
    random = np.random.default_rng(0)
    x, w = random.normal(size=(1, 12, 12, 32)).astype(np.float32), random.normal(size=(3, 3, 32, 32)).astype(np.float32)
    params = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1, "low": -1.0, "high": 1.0}
    expected = dispatch("conv2d_forward", x, w, None, None, **params)
    kept: dict[Any, Any] = {}
    for algorithm in ("auto", "winograd", "direct", "reference"):
        set_conv_algorithm(algorithm)
        try:
            for _ in range(2):
                with trace_kernels() as trace:
                    y = dispatch("conv2d_forward", x, w, None, None, kept=kept, **params)
                assert algorithm in ("auto", trace[0].algorithm)
                np.testing.assert_allclose(y, expected, atol=1e-4)
        finally:
            set_conv_algorithm("auto")
    assert {key[0] for key in kept} == {"winograd", "direct"}


def test_a_kernel_without_anything_to_keep_refuses() -> None:
    with pytest.raises(TypeError, match="matmul: kept"):
        dispatch("matmul", np.ones((1, 2, 2)), np.ones((1, 2, 2)), None, transpose_a=False, transpose_b=False, kept={})


def test_the_choice_weighs_reading_the_filters() -> None:
    """Filters prepared long ago come from memory, and Winograd's are four times as large as the others: on the smallest
    pictures that costs more than it saves."""
    params = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}

    def chosen(size: int, channels: int, prepared: bool) -> str:
        sizes = {"N": 1, "H": size, "W": size, "P": size, "Q": size, "R": 3, "S": 3, "C": channels, "K": channels}
        return choose("conv2d_forward", sizes, params, np.dtype(np.float32), prepared)

    assert [chosen(8, 64, prepared) for prepared in (False, True)] == ["winograd", "direct"]
    assert [chosen(14, 64, prepared) for prepared in (False, True)] == ["winograd", "winograd"]
    # many filters, and few squares: smaller ones, whose filters are 16 numbers, but must be transformed before
    assert [chosen(7, 512, prepared) for prepared in (False, True)] == ["direct", "winograd"]
