"""How exact the functions are that the GPU's kernels have of their own, against the C library's."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba.cuda", reason="the GPU's kernels need numba-cuda")

from minicnn.kernels import cuda  # noqa: E402
from minicnn.kernels.contracts import ACTIVATIONS, CONTRACTS  # noqa: E402
from minicnn.kernels.cuda.activations import activation, activation_grad  # noqa: E402
from minicnn.kernels.cuda.compiler import Kernel  # noqa: E402
from minicnn.kernels.cuda.devices import open_device  # noqa: E402
from minicnn.kernels.cuda.intrinsics import position  # noqa: E402
from minicnn.kernels.cuda.launcher import cover, launch  # noqa: E402
from minicnn.kernels.cuda.memory import empty, to_device, to_numpy  # noqa: E402

FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
EMULATOR = open_device("emulator")


def run(name: str, *inputs: np.ndarray) -> np.ndarray:
    y = empty(inputs[0].shape, inputs[0].dtype, EMULATOR)
    cuda.kernel(name)(*(to_device(x, EMULATOR) for x in inputs), y)
    return to_numpy(y)


def ulps(got: np.ndarray, expected: np.ndarray) -> float:
    """The largest error, in units in the last place of what is expected."""
    return float(np.max(np.abs(got - expected) / np.spacing(np.abs(expected).astype(got.dtype))))


@FLOATS
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sin_and_cos_of_any_number(name: str, dtype: Any) -> None:
    random, top = np.random.default_rng(0), np.log2(np.finfo(dtype).max)
    near_their_zeros = random.integers(1, 1 << 20, 4000) * (math.pi / 2)
    x = np.concatenate([random.uniform(-10, 10, 4000), near_their_zeros,
                        2.0 ** random.uniform(-30, top, 8000) * random.choice([-1, 1], 8000),
                        [1e5, np.nextafter(1e5, 0), np.finfo(dtype).max, np.finfo(dtype).tiny]]).astype(dtype)
    expected = np.array([getattr(math, name)(value) for value in x.tolist()])
    assert ulps(run(name, x), expected) < 3


def test_sin_of_the_float64_that_is_nearest_to_a_multiple_of_half_pi() -> None:
    """About 2^-61 remain, of 192 bits that are looked at. The value is from arithmetic with 1500 bits; C libraries are
    some units in the last place off here."""
    assert ulps(run("cos", np.array([6381956970095103.0 * 2.0**797])), np.array([-4.6871659242546276111e-19])) < 3


@FLOATS
def test_sin_and_cos_where_there_is_nothing_to_reduce(dtype: Any) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)
    np.testing.assert_array_equal(run("sin", x), [0, 0, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(np.signbit(run("sin", x)[:2]), [False, True])
    np.testing.assert_array_equal(run("cos", x), [1, 1, np.nan, np.nan, np.nan])


def test_pow_of_large_and_small_results() -> None:
    random = np.random.default_rng(1)
    a = np.concatenate([np.exp(random.uniform(-50, 50, 4000)), 1 + random.normal(0, 1e-4, 4000), [5e-324, 1e-310]])
    b = np.concatenate([random.uniform(-14, 14, 4000), random.uniform(-1e6, 1e6, 4000), [0.5, -0.9]])
    expected = np.array([math.pow(*pair) for pair in zip(a.tolist(), b.tolist(), strict=True)])
    assert ulps(run("pow", a, b), expected) < 3


def test_pow_of_results_beyond_all_numbers() -> None:
    """They are 0 or infinite, however far beyond: b log a may itself be infinite."""
    random = np.random.default_rng(2)
    a = np.concatenate([np.exp(random.uniform(-50, 50, 500)), [1e30, 1e-30, 1e30, 1.7976931348623157e308, 1e308]])
    b = np.concatenate([random.choice([-1, 1], 500) * random.uniform(800, 1e6, 500) / np.abs(np.log(a[:500])),
                        [1e308, 1e308, -1e308, 1.0, 0.5]])
    with np.errstate(all="ignore"):
        expected = np.power(a, b)
    assert np.isinf(expected).sum() > 200 and (expected == 0).sum() > 200
    np.testing.assert_allclose(run("pow", a, b), expected, rtol=1e-15)


@FLOATS
def test_pow_where_ieee_754_says_what_it_is(dtype: Any) -> None:
    values = [0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 2.5, -2.5, 2**53 - 1, 1e30, -1e30, np.inf, -np.inf, np.nan]
    a, b = np.array(list(product(values, values)), dtype).T.copy()
    with np.errstate(all="ignore"):
        expected = np.power(a, b)
    got = run("pow", a, b)
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got)[number], np.signbit(expected)[number])


def activated(name: Any, real: Any) -> Any:
    value, slope = activation(name, real), activation_grad(name, real)

    def activated(x, g, y, dx, n):
        i = position()
        if i < n:
            y[i] = value(x[i])
            dx[i] = slope(g[i], x[i])
    return activated


ACTIVATED = Kernel(activated, "x: real*, g: real*, y: real*, dx: real*, n: u32", 256, ())


@pytest.mark.parametrize("name", ["", *ACTIVATIONS])
def test_activations_within_kernels_are_those_of_the_contracts(name: str) -> None:
    """And their gradients take x, whatever the contract takes."""
    x, g = np.linspace(-7, 7, 301, dtype=np.float32), np.linspace(2, -3, 301, dtype=np.float32)
    y, dx = empty(x.shape, x.dtype, EMULATOR), empty(x.shape, x.dtype, EMULATOR)
    launch(ACTIVATED(name, np.float32), cover(x.size), to_device(x, EMULATOR), to_device(g, EMULATOR), y, dx, x.size)
    if not name:
        np.testing.assert_array_equal(to_numpy(y), x)
        np.testing.assert_array_equal(to_numpy(dx), g)
        return
    value = run(name, x)
    takes_value = CONTRACTS[f"{name}_grad"].inputs[1].name == "y"
    np.testing.assert_array_equal(to_numpy(y), value)
    np.testing.assert_array_equal(to_numpy(dx), run(f"{name}_grad", g, value if takes_value else x))
