"""How exact the float32 functions are that the compiler turns into vector code."""

from math import erfc, exp, pi, sqrt

import numpy as np
import pytest

from .calling import Backend, backends

BACKENDS = backends()


def cdf(x: float) -> float:
    """Of the standard normal distribution."""
    return 0.5 * erfc(-x / sqrt(2))


def by_kernel(backend: Backend, name: str, *inputs: np.ndarray) -> np.ndarray:
    y = np.empty_like(inputs[0])
    backend.kernel(name)(*inputs, y)
    return y.astype(np.float64)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """Everywhere, and close together where the function bends."""
    random = np.random.default_rng(0)
    return np.concatenate([np.linspace(-15, 15, 30001), random.normal(size=20000)]).astype(np.float32)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_gelu(points: np.ndarray, backend: Backend) -> None:
    size = np.maximum(1, np.abs(points))
    value = np.array([x * cdf(x) for x in points.tolist()])
    slope = np.array([cdf(x) + x * exp(-x * x / 2) / sqrt(2 * pi) for x in points.tolist()])
    got = by_kernel(backend, "gelu", points)
    assert np.max(np.abs(got - value) / size) < 3e-7
    assert np.max(np.abs(by_kernel(backend, "gelu_grad", np.ones_like(points), points) - slope) / size) < 3e-7
    # Far below 0 it is small, but not lost in the rounding of a number near 1.
    tail = (points < 0) & (points > -6)
    assert np.max(np.abs(got[tail] / value[tail] - 1)) < 3e-6


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_gelu_in_float64(points: np.ndarray, backend: Backend) -> None:
    wide = points.astype(np.float64)
    value = np.array([x * cdf(x) for x in wide.tolist()])
    np.testing.assert_allclose(by_kernel(backend, "gelu", wide), value, rtol=1e-13, atol=1e-300)
