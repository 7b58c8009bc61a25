"""Filters of image processing as ready kernels: what a network's first layer learns again.

Each function returns a float32 array (kH, kW), written as the table in a book; `apply` runs one over pictures. A
network's "convolution" is a correlation: it lays the table on the picture as it stands. A true convolution turns the
table by 180 degrees first (`turned`), so that it is commutative and its Fourier transform a product. The two differ
only where a table is not symmetric, as Sobel's.

Gonzalez & Woods 2018, "Digital image processing", chapter 3, has all of them.
"""

from typing import Literal

import numpy as np

from ..ops.arguments import is_int
from ..ops.conv import conv2d
from ..ops.shape import pad
from ..tensor import Tensor, tensor

Along = Literal["x", "y"]


def identity(size: int = 3) -> np.ndarray:
    """Leaves a picture as it is: 1 in the middle of size x size zeros; size is odd.

    >>> import minicnn as mc
    >>> mc.data.filters.identity().astype(int).tolist()
    [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    """
    kernel = np.zeros((_odd("identity", size), size), np.float32)
    kernel[size // 2, size // 2] = 1
    return kernel


def mean(size: int = 3) -> np.ndarray:
    """The mean of size x size pixels: a blur, with edges of its own.

    >>> import minicnn as mc
    >>> mc.data.filters.mean(2).tolist()
    [[0.25, 0.25], [0.25, 0.25]]
    """
    if not is_int(size) or size < 1:
        raise ValueError(f"mean: size must be a positive int, got {size!r}")
    return np.full((size, size), 1 / size**2, np.float32)


def gaussian(size: int = 5, sigma: float | None = None) -> np.ndarray:
    """A blur whose weights fall with the distance r from the centre as exp(-r^2 / (2 sigma^2)); they sum to 1.

    size: odd. sigma: in pixels; size / 6 unless given, so that the table ends where the weights have vanished.

    >>> import minicnn as mc
    >>> print(mc.data.filters.gaussian(3, sigma=1.0).round(3))
    [[0.075 0.124 0.075]
     [0.124 0.204 0.124]
     [0.075 0.124 0.075]]
    """
    width = _odd("gaussian", size) / 6 if sigma is None else sigma
    if isinstance(width, bool) or not isinstance(width, int | float | np.integer | np.floating) or not width > 0:
        raise ValueError(f"gaussian: sigma must be positive, got {sigma!r}")
    places = np.arange(size) - size // 2
    along = np.exp(-(places**2) / (2 * width**2))
    return (np.outer(along, along) / along.sum() ** 2).astype(np.float32)


def blur() -> np.ndarray:
    """The 3x3 blur [1 2 1] along both axes, over 16: a Gaussian in whole numbers.

    >>> import minicnn as mc
    >>> (mc.data.filters.blur() * 16).astype(int).tolist()
    [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    """
    return np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16


def sharpen() -> np.ndarray:
    """The picture less its Laplacian: what stands out from its neighbours stands out more.

    >>> import minicnn as mc
    >>> mc.data.filters.sharpen().astype(int).tolist()
    [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
    """
    return identity() - laplacian()


def prewitt(along: Along = "x") -> np.ndarray:
    """The difference from left to right ("x") or from top to bottom ("y"), the mean of three rows (Prewitt 1970).

    >>> import minicnn as mc
    >>> mc.data.filters.prewitt("x").astype(int).tolist()
    [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]]
    """
    return _difference("prewitt", along, [1, 1, 1])


def sobel(along: Along = "x") -> np.ndarray:
    """Prewitt's with twice the weight in the middle (Sobel & Feldman 1968): edges across the axis `along`.

    >>> import minicnn as mc
    >>> mc.data.filters.sobel("y").astype(int).tolist()
    [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
    """
    return _difference("sobel", along, [1, 2, 1])


def laplacian(diagonals: bool = False) -> np.ndarray:
    """The neighbours' sum less as many times the pixel: a second derivative in all directions, 0 where it is flat.

    diagonals: of eight neighbours instead of four.

    >>> import minicnn as mc
    >>> mc.data.filters.laplacian().astype(int).tolist()
    [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    """
    corner = 1 if diagonals else 0
    return np.array([[corner, 1, corner], [1, -4 - 4 * corner, 1], [corner, 1, corner]], np.float32)


def _difference(name: str, along: Along, weights: list[int]) -> np.ndarray:
    if along not in ("x", "y"):
        raise ValueError(f"{name}: along must be 'x' or 'y', got {along!r}")
    table = np.outer(weights, [-1, 0, 1]).astype(np.float32)
    return table if along == "x" else table.T.copy()


def _odd(name: str, size: int) -> int:
    if not is_int(size) or size < 1 or size % 2 == 0:
        raise ValueError(f"{name}: size must be odd and positive, got {size!r}")
    return size


def turned(kernel: np.ndarray) -> np.ndarray:
    """A kernel turned by 180 degrees: correlation with it is the true convolution with the kernel as it was.

    >>> import minicnn as mc
    >>> import numpy as np
    >>> mc.data.filters.turned(np.array([[1, 2], [3, 4]])).tolist()
    [[4, 3], [2, 1]]
    """
    return np.ascontiguousarray(_table("turned", kernel)[::-1, ::-1])


def as_filters(kernel: np.ndarray, channels: int) -> Tensor:
    """A kernel (kH, kW) as the filters (kH, kW, 1, channels) of a depthwise convolution, the same for each channel.

    >>> import minicnn as mc
    >>> edges = mc.data.filters.as_filters(mc.data.filters.sobel(), channels=3)
    >>> mc.nn.functional.conv2d(mc.ones(1, 8, 8, 3), edges, groups=3).shape
    (1, 6, 6, 3)
    """
    table = np.asarray(_table("as_filters", kernel), np.float32)
    if not is_int(channels) or channels < 1:
        raise ValueError(f"as_filters: channels must be a positive int, got {channels!r}")
    return tensor(np.repeat(table[:, :, None, None], channels, axis=3))


def apply(kernel: np.ndarray, pictures: Tensor | np.ndarray) -> Tensor:
    """Correlate each channel of float32 pictures (N, H, W, C) with a kernel (kH, kW); what comes out has their shape.

    Around the picture its outermost pixels go on, so that a blur does not darken the edges and a difference sees none.

    >>> from minicnn.data import filters
    >>> import numpy as np
    >>> step = np.array([0, 0, 0, 1, 1, 1], np.float32).reshape(1, 1, 6, 1)
    >>> filters.apply(filters.sobel("x"), step).flatten().tolist()
    [0.0, 0.0, 4.0, 4.0, 0.0, 0.0]
    """
    x = pictures if isinstance(pictures, Tensor) else tensor(np.asarray(pictures))
    if x.ndim != 4 or x.dtype != np.float32:
        raise ValueError(f"apply: pictures must be float32 (N, H, W, C), got {x.dtype} {x.shape}")
    table = _table("apply", kernel)
    down, across = (((size - 1) // 2, size // 2) for size in table.shape)
    channels = x.shape[3]
    return conv2d(pad(x, (*across, *down), mode="replicate"), as_filters(table, channels), groups=channels)


def _table(name: str, kernel: np.ndarray) -> np.ndarray:
    table = np.asarray(kernel)
    if table.ndim != 2 or 0 in table.shape or table.dtype.kind not in "fiu":
        raise ValueError(f"{name}: kernel must be a table (kH, kW) of numbers, got {table.dtype} {table.shape}")
    return table
