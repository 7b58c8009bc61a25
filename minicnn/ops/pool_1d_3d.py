"""Max and average pooling of sequences (N, L, C) and volumes (N, D, H, W, C), channels last.

Both are the pooling of pictures, behind reshapes that cost nothing. A sequence is a picture of one row. A volume is
pooled plane by plane, and then across the planes, where each plane counts as one row of a picture. For the maximum that
is exact, the choice among equals included: the first plane that has the largest value, and in it the first place. For
the mean it is since the number of places that count is the product of those along the axes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tape import op
from ..tensor import Tensor
from .constants import constant
from .indexing import gather
from .pool import avg_pool_planes, check_divisor, max_pool_planes
from .pool_arguments import PoolWindows, windows_over


def _as_picture(x: Tensor) -> Tensor:
    return x.reshape((x.shape[0], 1, *x.shape[1:]))


def _as_sequence(x: Tensor) -> Tensor:
    return x.reshape((x.shape[0], *x.shape[2:]))


def _planes(x: Tensor) -> Tensor:
    """The planes of volumes (N, D, H, W, C), each a picture."""
    return x.reshape((x.shape[0] * x.shape[1], *x.shape[2:]))


def _rows(x: Tensor, depth: int) -> Tensor:
    """Planes (N * D, P, Q, C) as pictures in which each plane is a row."""
    return x.reshape((x.shape[0] // depth, depth, x.shape[1] * x.shape[2], x.shape[3]))


def max_pool_of(x: Tensor, windows: PoolWindows, return_indices: bool = False) -> Any:
    """Max pooling over one, two or three axes, the arguments known to fit."""
    axes = len(windows.size)
    if axes == 1:
        pooled = max_pool_planes(_as_picture(x), windows.of_row, return_indices)
        return tuple(map(_as_sequence, pooled)) if return_indices else _as_sequence(pooled)
    if axes == 2:
        return max_pool_planes(x, windows, return_indices)
    n, depth, height, width, channels = x.shape
    shape = (n, *windows.size, channels)
    pooled = max_pool_planes(_planes(x), windows.of_planes, return_indices)
    if not return_indices:
        return max_pool_planes(_rows(pooled, depth), windows.of_depth).reshape(shape)
    y, among_planes = max_pool_planes(_rows(pooled[0], depth), windows.of_depth, True)
    return y.reshape(shape), _places(pooled[1], among_planes, depth, height * width).reshape(shape)


@constant
def _firsts(depth: int, plane: int) -> np.ndarray:
    """The first place of each plane of a volume, for places (N, D, ...)."""
    return np.arange(depth).reshape(1, depth, 1) * plane


def _places(in_plane: Tensor, among_planes: Tensor, depth: int, plane: int) -> Tensor:
    """in_plane: for each window of each plane, (N * D, P, Q, C), which place won there. among_planes: for each window
    of the volume which of those did, (N, D_out, P * Q, C)."""
    n, depth_out, windows, channels = among_planes.shape
    before = _firsts(in_plane.device, depth, plane)
    in_volume = in_plane.reshape((n, depth, windows * channels)) + before
    return gather(
        in_volume.reshape((n, depth * windows, channels)), among_planes.reshape((n, depth_out * windows, channels))
    )


@op
def max_pool1d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window, channel by channel.

    x: (N, L, C) -> (N, L_out, C), L_out = floor((L + 2 padding - dilation (kernel - 1) - 1) / stride) + 1, rounded up
    with ceil_mode; all arguments as for max_pool2d. return_indices: also the places along L (int64).

    >>> import minicnn as mc
    >>> x = mc.tensor([3.0, 1.0, 4.0, 1.0, 5.0]).reshape(1, 5, 1)
    >>> y, indices = mc.nn.functional.max_pool1d(x, 3, stride=2, return_indices=True)
    >>> y.numpy().ravel().tolist(), indices.numpy().ravel().tolist()
    ([4.0, 5.0], [2, 4])
    """
    windows = windows_over("max_pool1d", x, 1, kernel_size, stride, padding, dilation, ceil_mode)
    return max_pool_of(x, windows, return_indices)


@op
def max_pool3d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window, channel by channel.

    x: (N, D, H, W, C) -> (N, D_out, H_out, W_out, C), each size as for max_pool2d, as all arguments. return_indices:
    also the places (d * H + h) * W + w (int64) of the largest. Tran et al. 2015, "Learning spatiotemporal features with
    3D convolutional networks".

    >>> import minicnn as mc
    >>> mc.nn.functional.max_pool3d(mc.ones((1, 4, 6, 8, 3)), (1, 2, 2)).shape
    (1, 4, 3, 4, 3)
    """
    windows = windows_over("max_pool3d", x, 3, kernel_size, stride, padding, dilation, ceil_mode)
    return max_pool_of(x, windows, return_indices)


@op
def avg_pool1d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window, channel by channel.

    x: (N, L, C) -> (N, L_out, C), L_out = floor((L + 2 padding - kernel) / stride) + 1, rounded up with ceil_mode;
    arguments as for avg_pool2d.

    >>> import minicnn as mc
    >>> x = mc.tensor([3.0, 1.0, 4.0, 1.0, 5.0]).reshape(1, 5, 1)
    >>> mc.nn.functional.avg_pool1d(x, 2).numpy().ravel().tolist()
    [2.0, 2.5]
    """
    windows = windows_over("avg_pool1d", x, 1, kernel_size, stride, padding, 1, ceil_mode)
    return _as_sequence(avg_pool_planes(_as_picture(x), windows.of_row, bool(count_include_pad), 0))


@op
def avg_pool3d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window, channel by channel.

    x: (N, D, H, W, C) -> (N, D_out, H_out, W_out, C), each size as for avg_pool2d, as all arguments.

    >>> import minicnn as mc
    >>> mc.nn.functional.avg_pool3d(mc.ones((1, 4, 6, 8, 3)), 2).shape
    (1, 2, 3, 4, 3)
    """
    divisor = check_divisor("avg_pool3d", divisor_override)
    windows = windows_over("avg_pool3d", x, 3, kernel_size, stride, padding, 1, ceil_mode)
    include = bool(count_include_pad)
    y = avg_pool_planes(_planes(x), windows.of_planes, include, 1 if divisor else 0)
    y = avg_pool_planes(_rows(y, x.shape[1]), windows.of_depth, include, divisor)
    return y.reshape((x.shape[0], *windows.size, x.shape[4]))
