"""Adaptive pooling: to a given size from any other, so that a classifier takes pictures of any size. Channels last.

Output i along an axis of size L is pooled from the places floor(i L / L_out) up to ceil((i + 1) L / L_out). The windows
cover everything and overlap by at most one place; where L_out divides L they lie side by side. The mean is taken along
one axis after the other, which comes to the same.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from ..tape import op
from ..tensor import Tensor, zeros
from .arguments import is_int
from .constants import constant
from .pool_1d_3d import max_pool_of
from .pool_arguments import PoolWindows, need_picture
from .shape import Take, concat
from .sparse import SparseMatrix, along

Size = int | None | Sequence[int | None]


def _sizes(name: str, x: Tensor, axes: int, output_size: Any) -> tuple[int, ...]:
    """An output size for each axis, x and the argument checked; None keeps that of x."""
    need_picture(name, x, axes)
    many = check_output_size(name, axes, output_size)
    return tuple(size if wanted is None else wanted for size, wanted in zip(x.shape[1:-1], many, strict=True))


def check_output_size(name: str, axes: int, output_size: Any) -> tuple[int | None, ...]:
    """An int or None for each axis."""
    many = (
        tuple(output_size)
        if isinstance(output_size, Sequence) and not isinstance(output_size, str)
        else (output_size,) * axes
    )
    if len(many) != axes or not all(v is None or (is_int(v) and v >= 0) for v in many):
        raise ValueError(
            f"{name}: output_size must be one size for all or one for each of {axes} axes, ints from 0 or None, got "
            f"{output_size!r}"
        )
    return tuple(None if v is None else int(v) for v in many)


def check_levels(name: str, levels: Any) -> tuple[int, ...]:
    """The levels of a pyramid as ints."""
    if not isinstance(levels, Sequence) or not levels or not all(is_int(n) and n >= 1 for n in levels):
        raise ValueError(f"{name}: levels must be a sequence of positive ints, got {levels!r}")
    return tuple(map(int, levels))


def _windows(length: int, count: int) -> list[range]:
    return [range(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]


@lru_cache(maxsize=1024)
def _means(length: int, count: int) -> SparseMatrix:
    """The matrix whose rows are the windows."""
    windows = _windows(length, count)
    return SparseMatrix.of_rows(length, [(window, [1 / len(window)] * len(window)) for window in windows])


@lru_cache(maxsize=1024)
def _places(length: int, count: int) -> np.ndarray:
    """The places of each window, (count, longest); a shorter one has its last place twice."""
    windows = _windows(length, count)
    longest = max(map(len, windows), default=1)
    places = [[*window, *[window[-1]] * (longest - len(window))] for window in windows]
    return np.array(places, np.int64).reshape(count, longest)


def _mean(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    if set(sizes) == {1}:
        return x.mean(dim=tuple(range(1, len(sizes) + 1)), keepdim=True)
    for axis in range(len(sizes), 0, -1):
        if x.shape[axis] != sizes[axis - 1]:
            x = along(x, axis, _means(x.shape[axis], sizes[axis - 1]))
    return x


def _largest(x: Tensor, sizes: tuple[int, ...], return_indices: bool) -> Any:
    """The largest of each window, and its place in the flattened spatial axes if asked for: max pooling, once the
    windows have been laid side by side."""
    shape, axes = x.shape[1:-1], list(zip(x.shape[1:-1], sizes, strict=True))
    for axis, (length, count) in enumerate(axes, 1):
        if count == 0 or length % count:
            x = _taken(x, axis, _place_row(x.device, length, count))
    if 0 in sizes:
        y = x.reshape((x.shape[0], *sizes, x.shape[-1]))
        return (y, zeros(y.shape, dtype=np.int64, device=x.device)) if return_indices else y
    kernel = tuple(side // count for side, count in zip(x.shape[1:-1], sizes, strict=True))
    none = (0,) * len(kernel)
    pooled = max_pool_of(x, PoolWindows(kernel, kernel, none, (1,) * len(kernel), sizes), return_indices)
    if not return_indices or shape == x.shape[1:-1]:
        return pooled
    y, places = pooled
    return y, _taken(_origins(x.device, *axes), 0, places.reshape((-1,))).reshape(places.shape)


def _taken(x: Tensor, axis: int, places: Tensor) -> Tensor:
    """The slices of x at some places along an axis."""
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    folded = x.reshape((prod(before), x.shape[axis], prod(after)))
    return Take.apply(folded, places).reshape((*before, len(places), *after))


@constant
def _place_row(length: int, count: int) -> np.ndarray:
    """The places of all windows one after the other."""
    return _places(length, count).reshape(-1)


@constant
def _origins(*axes: tuple[int, int]) -> np.ndarray:
    """For each place among the windows laid side by side its place in x, both in the flattened spatial axes. axes: the
    lengths of x and the numbers of windows."""
    origin = np.zeros(1, np.int64)
    for length, count in axes:
        along = _places(length, count).reshape(-1) if length % count else np.arange(length)
        origin = (origin[:, None] * length + along).reshape(-1)
    return origin


def _average(name: str, x: Tensor, axes: int, output_size: Any) -> Tensor:
    return _mean(x, _sizes(name, x, axes, output_size))


def _maximum(name: str, x: Tensor, axes: int, output_size: Any, return_indices: bool) -> Any:
    return _largest(x, _sizes(name, x, axes, output_size), return_indices)


@op
def adaptive_avg_pool1d(x: Tensor, output_size: Size) -> Tensor:
    """The means of L_out windows that cover x, (N, L, C) -> (N, L_out, C): window i from floor(i L / L_out) up to
    ceil((i + 1) L / L_out). output_size: L_out; None keeps L.

    >>> import minicnn as mc
    >>> x = mc.tensor([3.0, 1.0, 4.0, 1.0, 5.0]).reshape(1, 5, 1)
    >>> print(mc.nn.functional.adaptive_avg_pool1d(x, 2).numpy().ravel())
    [2.6666667 3.3333335]
    """
    return _average("adaptive_avg_pool1d", x, 1, output_size)


@op
def adaptive_avg_pool2d(x: Tensor, output_size: Size) -> Tensor:
    """The means of H_out x W_out windows that cover the picture, (N, H, W, C) -> (N, H_out, W_out, C).

    Window i along an axis: from floor(i H / H_out) up to ceil((i + 1) H / H_out). output_size: one for both, or a pair;
    None keeps the size. A network that ends so takes pictures of any size.

    >>> import minicnn as mc
    >>> mc.nn.functional.adaptive_avg_pool2d(mc.ones((2, 13, 17, 3)), (6, None)).shape
    (2, 6, 17, 3)
    """
    return _average("adaptive_avg_pool2d", x, 2, output_size)


@op
def adaptive_avg_pool3d(x: Tensor, output_size: Size) -> Tensor:
    """The same for volumes, (N, D, H, W, C) -> (N, D_out, H_out, W_out, C): see adaptive_avg_pool2d.

    >>> import minicnn as mc
    >>> mc.nn.functional.adaptive_avg_pool3d(mc.ones((1, 7, 9, 11, 3)), (2, 3, None)).shape
    (1, 2, 3, 11, 3)
    """
    return _average("adaptive_avg_pool3d", x, 3, output_size)


@op
def adaptive_max_pool1d(x: Tensor, output_size: Size, return_indices: bool = False) -> Any:
    """The largest of each of L_out windows that cover x, (N, L, C) -> (N, L_out, C). Windows as for
    adaptive_avg_pool1d. The first of equals takes the gradient; NaN wins. return_indices: also the places along L
    (int64).

    >>> import minicnn as mc
    >>> x = mc.tensor([3.0, 1.0, 4.0, 1.0, 5.0]).reshape(1, 5, 1)
    >>> mc.nn.functional.adaptive_max_pool1d(x, 2).numpy().ravel().tolist()
    [4.0, 5.0]
    """
    return _maximum("adaptive_max_pool1d", x, 1, output_size, return_indices)


@op
def adaptive_max_pool2d(x: Tensor, output_size: Size, return_indices: bool = False) -> Any:
    """The largest of each of H_out x W_out windows that cover the picture, (N, H, W, C) -> (N, H_out, W_out, C).

    Windows as for adaptive_avg_pool2d. The first of equals takes the gradient; NaN wins. return_indices: also the
    places h * W + w (int64).

    >>> import minicnn as mc
    >>> y, indices = mc.nn.functional.adaptive_max_pool2d(mc.ones((2, 13, 17, 3)), 6, return_indices=True)
    >>> y.shape, indices.shape
    ((2, 6, 6, 3), (2, 6, 6, 3))
    """
    return _maximum("adaptive_max_pool2d", x, 2, output_size, return_indices)


@op
def adaptive_max_pool3d(x: Tensor, output_size: Size, return_indices: bool = False) -> Any:
    """The same for volumes, (N, D, H, W, C) -> (N, D_out, H_out, W_out, C), the places being (d * H + h) * W + w: see
    adaptive_max_pool2d.

    >>> import minicnn as mc
    >>> mc.nn.functional.adaptive_max_pool3d(mc.ones((1, 7, 9, 11, 3)), (2, 3, None)).shape
    (1, 2, 3, 11, 3)
    """
    return _maximum("adaptive_max_pool3d", x, 3, output_size, return_indices)


@op
def spatial_pyramid_pool2d(x: Tensor, levels: Sequence[int]) -> Tensor:
    """The largest of each window of several grids, as one row: (N, H, W, C) -> (N, (sum of level^2) C).

    A level n divides the picture into n x n windows (those of adaptive_max_pool2d). The numbers come level by level,
    then by rows of windows, then channel by channel. So a classifier behind it takes pictures of any size. He et al.
    2014, "Spatial pyramid pooling in deep convolutional networks for visual recognition", section 2.2.

    >>> import minicnn as mc
    >>> mc.nn.functional.spatial_pyramid_pool2d(mc.ones((2, 13, 17, 3)), (4, 2, 1)).shape
    (2, 63)
    """
    name = "spatial_pyramid_pool2d"
    need_picture(name, x, 2)
    pooled = [_largest(x, (n, n), False) for n in check_levels(name, levels)]
    return concat([y.reshape((x.shape[0], prod(y.shape[1:]))) for y in pooled], dim=1)
