"""Pooling over windows and over whole pictures as layers. Arguments as those of the functions in ops/."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..ops.arguments import per_axis
from ..ops.lp_pool import check_norm_type
from ..ops.pool import check_divisor
from ..ops.weighted_pool import check_weights
from ..tensor import Tensor, tensor
from . import functional as F
from .layout import Flow
from .module import Module, layer

Size = int | Sequence[int]


class WindowedPool(Module):
    """What the poolings over windows share: kernel_size, stride (None: the kernel size), padding, ceil_mode; `axes`
    says over how many spatial axes."""

    in_order = True
    axes: ClassVar[int]

    def __init__(self, kernel_size: Size, stride: Size | None, padding: Size, ceil_mode: bool):
        super().__init__()
        name = type(self).__name__
        for label, value, least in (("kernel_size", kernel_size, 1), ("padding", padding, 0)):
            per_axis(name, label, value, self.axes, least)
        if stride is not None:
            per_axis(name, "stride", stride, self.axes)
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode

    def follow(self, flow: Flow) -> Flow:
        return flow.of_places()  # padding may make two of one

    def extra_repr(self) -> str:
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
                f"ceil_mode={self.ceil_mode}")


class MaxPool(WindowedPool):
    """The largest of each window; with return_indices also its place."""

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
                 return_indices: bool = False, ceil_mode: bool = False):
        super().__init__(kernel_size, stride, padding, ceil_mode)
        per_axis(type(self).__name__, "dilation", dilation, self.axes)
        self.dilation = dilation
        self.return_indices = return_indices

    @property
    def settings(self) -> tuple[Any, ...]:
        """What the function takes behind x."""
        return (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dilation={self.dilation}"


@layer
class MaxPool1d(MaxPool):
    """The largest of each window. (N, L, C) -> (N, L_out, C), see `functional.max_pool1d`."""

    axes = 1

    def forward(self, x: Tensor) -> Any:
        return F.max_pool1d(x, *self.settings)


@layer
class MaxPool2d(MaxPool):
    """The largest of each window. (N, H, W, C) -> (N, H_out, W_out, C), see `functional.max_pool2d`.

    >>> import minicnn as mc
    >>> mc.nn.MaxPool2d(kernel_size=3, stride=2, padding=1)(mc.ones(1, 112, 112, 64)).shape
    (1, 56, 56, 64)
    """

    axes = 2

    def forward(self, x: Tensor) -> Any:
        return F.max_pool2d(x, *self.settings)


@layer
class MaxPool3d(MaxPool):
    """The largest of each window. (N, D, H, W, C) -> (N, D_out, H_out, W_out, C), see `functional.max_pool3d`."""

    axes = 3

    def forward(self, x: Tensor) -> Any:
        return F.max_pool3d(x, *self.settings)


@layer
class AvgPool1d(WindowedPool):
    """The mean of each window. (N, L, C) -> (N, L_out, C), see `functional.avg_pool1d`."""

    axes = 1

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True):
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool1d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool(WindowedPool):
    """The mean of each window, or the sum over another divisor."""

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True, divisor_override: int | None = None):
        super().__init__(kernel_size, stride, padding, ceil_mode)
        check_divisor(type(self).__name__, divisor_override)
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    @property
    def settings(self) -> tuple[Any, ...]:
        """What the function takes behind x."""
        return (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
                self.divisor_override)


@layer
class AvgPool2d(AvgPool):
    """The mean of each window. (N, H, W, C) -> (N, H_out, W_out, C), see `functional.avg_pool2d`."""

    axes = 2

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, *self.settings)


@layer
class AvgPool3d(AvgPool):
    """The mean of each window. (N, D, H, W, C) -> (N, D_out, H_out, W_out, C), see `functional.avg_pool3d`."""

    axes = 3

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool3d(x, *self.settings)


class LPPool(WindowedPool):
    """norm_type: the p of the norm."""

    def __init__(self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False):
        super().__init__(kernel_size, stride, 0, ceil_mode)
        check_norm_type(type(self).__name__, norm_type)
        self.norm_type = norm_type

    @property
    def settings(self) -> tuple[Any, ...]:
        """What the function takes behind x."""
        return self.norm_type, self.kernel_size, self.stride, self.ceil_mode

    def extra_repr(self) -> str:
        return (f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"ceil_mode={self.ceil_mode}")


@layer
class LPPool1d(LPPool):
    """The p-norm of each window. (N, L, C) -> (N, L_out, C), see `functional.lp_pool1d`."""

    axes = 1

    def forward(self, x: Tensor) -> Tensor:
        return F.lp_pool1d(x, *self.settings)


@layer
class LPPool2d(LPPool):
    """The p-norm of each window. (N, H, W, C) -> (N, H_out, W_out, C), see `functional.lp_pool2d`."""

    axes = 2

    def forward(self, x: Tensor) -> Tensor:
        return F.lp_pool2d(x, *self.settings)


@layer
class WeightedAvgPool2d(Module):
    """The weighted mean of each window. (N, H, W, C) -> (N, H_out, W_out, C), see `functional.weighted_avg_pool2d`.

    weights: (kH, kW), scaled to sum to one when used; a float32 buffer, not trained. `functional.gaussian_weights`
    makes some.

    >>> import minicnn as mc
    >>> pool = mc.nn.WeightedAvgPool2d(mc.nn.functional.gaussian_weights(5), stride=2)
    >>> pool(mc.ones((1, 11, 13, 3))).shape
    (1, 4, 5, 3)
    """

    in_order = True

    def __init__(self, weights: Any, stride: Size | None = None):
        super().__init__()
        made = tensor(weights, dtype=np.float32)
        check_weights("WeightedAvgPool2d", made)
        if stride is not None:
            per_axis("WeightedAvgPool2d", "stride", stride, 2)
        self.register_buffer("weights", made)
        self.stride = made.shape if stride is None else stride

    def forward(self, x: Tensor) -> Tensor:
        return F.weighted_avg_pool2d(x, self.weights, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.weights.shape}, stride={self.stride}"


class GlobalPool2d(Module):
    """One number a channel. (N, H, W, C) -> (N, 1, 1, C)"""

    def follow(self, flow: Flow) -> Flow:
        return flow.of_one_place()


@layer
class GlobalAvgPool2d(GlobalPool2d):
    """The mean of each channel over the picture. (N, H, W, C) -> (N, 1, 1, C)

    >>> import minicnn as mc
    >>> mc.nn.GlobalAvgPool2d()(mc.ones(2, 7, 7, 512)).shape
    (2, 1, 1, 512)
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.global_avg_pool2d(x)


@layer
class GlobalMaxPool2d(GlobalPool2d):
    """The largest of each channel over the picture. (N, H, W, C) -> (N, 1, 1, C)"""

    def forward(self, x: Tensor) -> Tensor:
        return F.global_max_pool2d(x)
