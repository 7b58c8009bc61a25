"""The filters of image processing, against SciPy's and against tables written out by hand."""

import numpy as np
import pytest
from scipy import ndimage

from minicnn.data import filters

PICTURES = np.random.default_rng(0).random((2, 7, 9, 3), np.float32)


def by_scipy(function, **options):
    return np.stack([[function(p[..., c], **options) for c in range(3)] for p in PICTURES]).transpose(0, 2, 3, 1)


def test_identity_leaves_a_picture_as_it_is():
    np.testing.assert_array_equal(filters.apply(filters.identity(5), PICTURES).numpy(), PICTURES)


@pytest.mark.parametrize(("kernel", "expected"), [
    (filters.mean(3), by_scipy(ndimage.uniform_filter, size=3, mode="nearest")),
    (filters.mean(4), by_scipy(ndimage.uniform_filter, size=4, mode="nearest", origin=-1)),
    (filters.gaussian(9, 1.0), by_scipy(ndimage.gaussian_filter, sigma=1.0, mode="nearest", truncate=4)),
    (filters.sobel("x"), by_scipy(ndimage.sobel, axis=1, mode="nearest")),
    (filters.sobel("y"), by_scipy(ndimage.sobel, axis=0, mode="nearest")),
    (filters.prewitt("x"), by_scipy(ndimage.prewitt, axis=1, mode="nearest")),
    (filters.laplacian(), by_scipy(ndimage.laplace, mode="nearest")),
], ids=["mean", "even mean", "gaussian", "sobel x", "sobel y", "prewitt", "laplacian"])
def test_as_scipy_has_it(kernel, expected):
    np.testing.assert_allclose(filters.apply(kernel, PICTURES).numpy(), expected, atol=2e-6)


def test_tables():
    assert filters.blur().tolist() == [[1 / 16, 1 / 8, 1 / 16], [1 / 8, 1 / 4, 1 / 8], [1 / 16, 1 / 8, 1 / 16]]
    assert filters.sharpen().tolist() == [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
    assert filters.laplacian(diagonals=True).tolist() == [[1, 1, 1], [1, -8, 1], [1, 1, 1]]
    assert filters.sobel("y").tolist() == [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
    assert filters.gaussian(5).sum() == pytest.approx(1) and filters.mean(5).sum() == pytest.approx(1)


def test_a_true_convolution_turns_the_kernel():
    kernel = np.arange(9, dtype=np.float32).reshape(3, 3)
    expected = by_scipy(ndimage.convolve, weights=kernel, mode="nearest")
    np.testing.assert_allclose(filters.apply(filters.turned(kernel), PICTURES).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: filters.identity(4), "size must be odd"),
    (lambda: filters.mean(0), "size must be a positive int"),
    (lambda: filters.gaussian(5, 0), "sigma must be positive"),
    (lambda: filters.gaussian(3, "a"), "gaussian: sigma must be positive, got 'a'"),
    (lambda: filters.sobel("z"), "along must be 'x' or 'y'"),
    (lambda: filters.apply(np.ones(3), PICTURES), r"kernel must be a table \(kH, kW\)"),
    (lambda: filters.apply(filters.mean(), PICTURES[0]), r"pictures must be float32 \(N, H, W, C\)"),
    (lambda: filters.as_filters(filters.mean(), 0), "channels must be a positive int"),
])
def test_wrong_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
