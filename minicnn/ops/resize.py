"""Resizing of sequences, pictures and volumes, and moving channels into space. Channels last.

Interpolation is linear and works along each axis on its own: the product with a matrix of few numbers a row.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..tape import op
from ..tensor import Tensor
from .adaptive_pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .arguments import is_int, need_float
from .sparse import SparseMatrix, along

#: The modes: for how many spatial axes each is.
MODES = {"nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "linear": (1,), "bilinear": (2,), "trilinear": (3,),
         "bicubic": (2,), "area": (1, 2, 3)}  # fmt: skip
SMOOTH = ("linear", "bilinear", "trilinear", "bicubic")


def _source(out: int, scale: float, corners: bool) -> float:
    """Where an output lies among the inputs, whose centres are at whole numbers."""
    return out * scale if corners else (out + 0.5) * scale - 0.5


def _nearest(out: int, length: int, count: int, scale_factor: float | None, centre: int) -> int:
    """The input at an output's left edge (centre 0) or at its middle (1). Sizes are whole numbers, and so is this."""
    at = (2 * out + centre) * length // (2 * count)
    if scale_factor:
        at = math.floor((out + 0.5 * centre) * (1 / scale_factor))
    return min(at, length - 1)


def _linear(at: float, length: int) -> tuple[list[int], list[float]]:
    """The two inputs around a place and their shares."""
    at = max(at, 0.0)
    left = min(math.floor(at), length - 1)
    share = min(max(at - left, 0.0), 1.0)
    return [left, min(left + 1, length - 1)], [1 - share, share]


def _cubic(at: float, length: int) -> tuple[list[int], list[float]]:
    """The four inputs around a place and their shares: Keys 1981, "Cubic convolution interpolation for digital image
    processing", equation 4 with a = -0.75, edges repeated."""
    left, a = math.floor(at), -0.75
    shares = []
    for tap in range(-1, 3):
        d = abs(at - left - tap)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        shares.append(near if d <= 1 else ((a * d - 5 * a) * d + 8 * a) * d - 4 * a)
    return [min(max(left + tap, 0), length - 1) for tap in range(-1, 3)], shares


@lru_cache(maxsize=1024)
def _matrix(mode: str, length: int, count: int, scale_factor: float | None, corners: bool) -> SparseMatrix:
    """The matrix (count, length) of an interpolation along one axis."""
    scale = 1 / scale_factor if scale_factor else length / count
    if corners:
        scale = (length - 1) / (count - 1) if count > 1 else 0.0
    rows: list[tuple[list[int], list[float]]] = []
    for out in range(count):
        if mode in ("nearest", "nearest-exact"):
            rows.append(([_nearest(out, length, count, scale_factor, int(mode == "nearest-exact"))], [1.0]))
        else:
            rows.append((_cubic if mode == "bicubic" else _linear)(_source(out, scale, corners), length))
    kept = [[(i, w) for i, w in zip(*row, strict=True) if w] for row in rows]  # 0 times infinity would be NaN
    return SparseMatrix.of_rows(length, [([i for i, _ in row], [w for _, w in row]) for row in kept])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def check_resize(
    name: str, ranks: tuple[int, ...], size: Any, scale_factor: Any, mode: str, align_corners: Any,
    recompute_scale_factor: Any,
) -> None:
    """All of interpolate's arguments that can be checked without x. ranks: how many spatial axes there may be."""
    if align_corners is not None and mode not in SMOOTH:
        raise ValueError(f"{name}: align_corners is for {', '.join(SMOOTH)}, not for {mode!r}")
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{name}: one of size and scale_factor is needed, got {size!r} and {scale_factor!r}")
    if recompute_scale_factor and scale_factor is None:
        raise ValueError(f"{name}: recompute_scale_factor is for scale_factor, not for size {size!r}")
    label, value, fits = ("size", size, is_int) if scale_factor is None else ("scale_factor", scale_factor, _is_number)
    many = tuple(value) if _is_sequence(value) else (value,) * ranks[0]
    if len(many) not in ranks or not all(fits(v) and v > 0 for v in many):
        counts = " or ".join(map(str, ranks))
        raise ValueError(f"{name}: {label} must be one positive number or {counts} of them, got {value!r}")


def _sizes(x: Tensor, size: Any, scale_factor: Any) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """The output's spatial sizes, and the factors where they were given."""
    axes, value = x.ndim - 2, size if scale_factor is None else scale_factor
    many = tuple(value) if _is_sequence(value) else (value,) * axes
    if scale_factor is None:
        return tuple(int(v) for v in many), (None,) * axes
    sizes = tuple(math.floor(length * float(v)) for length, v in zip(x.shape[1:-1], many, strict=True))
    if 0 in sizes:
        raise ValueError(f"interpolate: scale_factor {scale_factor!r} leaves nothing of {x.shape}")
    return sizes, tuple(float(v) for v in many)


@op
def interpolate(
    x: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Tensor:
    """Resize the spatial axes. x: (N, L, C), (N, H, W, C) or (N, D, H, W, C) -> the same with other sizes.

    size: of the output, or scale_factor: H_out = floor(H * scale_factor); one for all axes or one for each. mode:
    "nearest" (output i is input floor(i H / H_out)), "nearest-exact" (floor((i + 0.5) H / H_out)), "linear" for
    sequences, "bilinear" and "bicubic" for pictures, "trilinear" for volumes, "area" (adaptive_avg_pool).

    align_corners is for the linear and cubic modes. False: an output's centre i lies at (i + 0.5) H / H_out - 0.5 among
    the inputs'; True: the first and the last centres of both lie upon each other, i (H - 1) / (H_out - 1). With
    scale_factor, 1 / scale_factor takes the place of H / H_out unless recompute_scale_factor.

    The nearest modes compute i H / H_out in whole numbers. PyTorch does it in float32, and is off by one pixel at a few
    sizes: from 224 to 96 at output 27, which is input 63.

    >>> import minicnn as mc
    >>> x = mc.tensor([0.0, 4.0]).reshape(1, 2, 1)
    >>> mc.nn.functional.interpolate(x, size=4, mode="linear").numpy().ravel().tolist()
    [0.0, 1.0, 3.0, 4.0]
    >>> mc.nn.functional.interpolate(x, size=5, mode="linear", align_corners=True).numpy().ravel().tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    need_float("interpolate", x=x)
    if x.ndim not in (3, 4, 5) or 0 in x.shape[1:]:
        raise ValueError(f"interpolate: x must have 1 to 3 spatial axes, none empty, as (N, ..., C), got {x.shape}")
    axes = x.ndim - 2
    if mode not in MODES or axes not in MODES[mode]:
        fitting = ", ".join(repr(m) for m, ranks in MODES.items() if axes in ranks)
        raise ValueError(f"interpolate: mode must be one of {fitting} for x of shape {x.shape}, got {mode!r}")
    check_resize("interpolate", (axes,), size, scale_factor, mode, align_corners, recompute_scale_factor)
    sizes, factors = _sizes(x, size, scale_factor)
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[axes - 1](x, sizes)
    for axis in range(axes, 0, -1):
        length, count = x.shape[axis], sizes[axis - 1]
        factor = None if recompute_scale_factor else factors[axis - 1]
        if mode == "nearest" and axes == 2 and count in (length, 2 * length):
            factor = None  # as in PyTorch, which does so for pictures but not for sequences and volumes
        by_factor = factor not in (None, 1) and mode in ("nearest", "nearest-exact", "bicubic")
        if length != count or by_factor:  # the other modes look at the factor only where the size changes
            x = along(x, axis, _matrix(mode, length, count, factor, bool(align_corners)))
    return x


@op
def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """Channels into space: (N, H, W, C r^2) -> (N, H r, W r, C), r being upscale_factor.

    y[n, h r + i, w r + j, c] = x[n, h, w, (c r + i) r + j]. Shi et al. 2016, "Real-time single image and video
    super-resolution using an efficient sub-pixel convolutional neural network", equation 4.

    >>> import minicnn as mc
    >>> x = mc.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
    >>> mc.nn.functional.pixel_shuffle(x, 2).numpy().reshape(2, 2).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    name, r = "pixel_shuffle", upscale_factor
    _check_shuffle(name, x, "upscale_factor", r)
    n, height, width, channels = x.shape
    if channels % (r * r):
        raise ValueError(f"{name}: the {channels} channels of x are no multiple of upscale_factor^2 = {r * r}")
    split = x.reshape((n, height, width, channels // (r * r), r, r)).permute(0, 1, 4, 2, 5, 3)
    return split.reshape((n, height * r, width * r, channels // (r * r)))


@op
def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """Space into channels, the inverse of pixel_shuffle: (N, H r, W r, C) -> (N, H, W, C r^2), r being
    downscale_factor.

    >>> import minicnn as mc
    >>> mc.nn.functional.pixel_unshuffle(mc.ones((2, 6, 4, 3)), 2).shape
    (2, 3, 2, 12)
    """
    name, r = "pixel_unshuffle", downscale_factor
    _check_shuffle(name, x, "downscale_factor", r)
    n, height, width, channels = x.shape
    if height % r or width % r:
        raise ValueError(f"{name}: height and width of x {x.shape} must be multiples of downscale_factor {r}")
    split = x.reshape((n, height // r, r, width // r, r, channels)).permute(0, 1, 3, 5, 2, 4)
    return split.reshape((n, height // r, width // r, channels * r * r))


def _check_shuffle(name: str, x: Tensor, label: str, factor: Any) -> None:
    need_float(name, x=x)
    if x.ndim != 4:
        raise ValueError(f"{name}: x must have shape (N, H, W, C), got {x.shape}")
    if not is_int(factor) or factor < 1:
        raise ValueError(f"{name}: {label} must be a positive int, got {factor!r}")
