"""Pooling by a p-norm, made of average pooling. Channels last."""

from collections.abc import Sequence
from math import isfinite, prod
from typing import Any

from ..tape import op
from ..tensor import Tensor
from .compare import mask, where
from .pool import avg_pool2d
from .pool_1d_3d import avg_pool1d
from .pool_arguments import windows_over


def check_norm_type(name: str, norm_type: Any) -> float:
    """The argument norm_type as a float."""
    number = isinstance(norm_type, int | float) and not isinstance(norm_type, bool)
    if not number or norm_type == 0 or not isfinite(norm_type):
        raise ValueError(f"{name}: norm_type must be a finite number other than 0, got {norm_type!r}")
    return float(norm_type)


def _root(mean: Tensor, places: int, norm_type: float) -> Tensor:
    """The norm_type-th root of the sum over so many places; 0, and no gradient to the sum, where that is 0."""
    total = mean * float(places)
    some = total != 0
    return mask(where(some, total, 1.0) ** (1 / norm_type), some)


@op
def lp_pool1d(
    x: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The p-norm of each window, channel by channel. x: (N, L, C) -> (N, L_out, C), L_out = floor((L - kernel) /
    stride) + 1; all arguments as for lp_pool2d.

    >>> import minicnn as mc
    >>> x = mc.tensor([3.0, 4.0, 6.0, 8.0]).reshape(1, 4, 1)
    >>> mc.nn.functional.lp_pool1d(x, 2, 2).numpy().ravel().tolist()
    [5.0, 10.0]
    """
    windows = windows_over("lp_pool1d", x, 1, kernel_size, stride, 0, 1, ceil_mode)
    power = check_norm_type("lp_pool1d", norm_type)
    return _root(avg_pool1d(x**power, windows.kernel, windows.stride, 0, ceil_mode), prod(windows.kernel), power)


@op
def lp_pool2d(
    x: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The p-norm of each window, (sum of x^p)^(1/p), channel by channel; p is norm_type: 2 for the L2 norm, 1 for the
    sum.

    x: (N, H, W, C) -> (N, H_out, W_out, C), H_out = floor((H - kernel) / stride) + 1, with ceil_mode rounded up. It is
    x that is raised to the power, not its absolute value: an odd p is for x that are not negative. A window that hangs
    over counts as if it went on like the part inside. Where the sum is 0, so is the gradient, for p from 1.
    Sermanet et al. 2012, "Convolutional neural networks applied to house numbers digit classification".

    >>> import minicnn as mc
    >>> x = mc.tensor([[3.0, 6.0], [4.0, 8.0]]).reshape(1, 2, 2, 1)
    >>> mc.nn.functional.lp_pool2d(x, 2, (2, 1)).numpy().ravel().tolist()
    [5.0, 10.0]
    """
    windows = windows_over("lp_pool2d", x, 2, kernel_size, stride, 0, 1, ceil_mode)
    power = check_norm_type("lp_pool2d", norm_type)
    return _root(avg_pool2d(x**power, windows.kernel, windows.stride, 0, ceil_mode), prod(windows.kernel), power)
