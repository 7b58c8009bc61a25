"""Pooling by given weights, made of a convolution. Channels last."""

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np

from ..tape import op
from ..tensor import FLOATS, Tensor
from .arguments import need_float, per_axis
from .conv import conv2d
from .pool_arguments import need_picture


def check_weights(name: str, weights: Tensor) -> Tensor:
    """The sum of the weights, once they are known to fit."""
    if weights.ndim != 2 or 0 in weights.shape:
        raise ValueError(f"{name}: weights must have shape (kH, kW), got {weights.shape}")
    total = weights.sum()
    if total.item() == 0:
        raise ValueError(f"{name}: weights sum to 0 and cannot be scaled to sum to one")
    return total


@op
def weighted_avg_pool2d(x: Tensor, weights: Tensor, stride: int | Sequence[int] | None = None) -> Tensor:
    """The weighted mean of each window, channel by channel.

    x: (N, H, W, C), weights: (kH, kW) -> (N, H_out, W_out, C), H_out = floor((H - kH) / stride) + 1. The weights are
    scaled to sum to one. stride: (kH, kW) unless given. `gaussian_weights` makes weights that fall with the distance
    from the centre. Differentiable by both. Goodfellow, Bengio & Courville 2016, "Deep learning", section 9.3.

    >>> import minicnn as mc
    >>> x = mc.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    >>> mc.nn.functional.weighted_avg_pool2d(x, mc.tensor([[3.0, 1.0], [0.0, 0.0]])).item()
    1.25
    """
    name = "weighted_avg_pool2d"
    need_picture(name, x, 2)
    need_float(name, x=x, weights=weights)
    total = check_weights(name, weights)
    steps = weights.shape if stride is None else per_axis(name, "stride", stride, 2)
    if weights.shape[0] > x.shape[1] or weights.shape[1] > x.shape[2]:
        raise ValueError(f"{name}: weights of shape {weights.shape} are larger than the picture, {x.shape}")
    channels = x.shape[3]
    filters = (weights / total).reshape((*weights.shape, 1, 1)).expand((*weights.shape, 1, channels))
    return conv2d(x, filters, stride=steps, groups=channels)


@op
def gaussian_weights(kernel_size: int | Sequence[int], sigma: float | None = None, dtype: Any = np.float32) -> Tensor:
    """Weights (kH, kW) for weighted_avg_pool2d: exp(-d^2 / (2 sigma^2)) at the distance d from the window's centre,
    scaled to sum to one. sigma: a quarter of the longer side unless given, in pixels.

    >>> import minicnn as mc
    >>> print(mc.nn.functional.gaussian_weights(3, sigma=1.0).numpy()[1].round(3))
    [0.124 0.204 0.124]
    """
    kernel = per_axis("gaussian_weights", "kernel_size", kernel_size, 2)
    width = max(kernel) / 4 if sigma is None else sigma
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width < inf:
        raise ValueError(f"gaussian_weights: sigma must be a positive number, got {sigma!r}")
    if np.dtype(dtype) not in FLOATS:
        raise TypeError(f"gaussian_weights: dtype must be float32 or float64, got {np.dtype(dtype)}")
    rows, columns = (np.arange(k) - (k - 1) / 2 for k in kernel)
    bell = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * width**2))
    return Tensor((bell / bell.sum()).astype(dtype))
