"""Pooling as layers. Arguments as those of the functions in ops/pool.py."""

from collections.abc import Sequence
from typing import Any

from ..ops.arguments import pair
from ..tensor import Tensor
from . import functional as F
from .layout import Flow
from .module import Module, layer

Size = int | Sequence[int]


class Pool2d(Module):
    """What the windowed poolings share: kernel_size, stride (None: the kernel size), padding, ceil_mode."""

    in_order = True

    def __init__(self, kernel_size: Size, stride: Size | None, padding: Size, ceil_mode: bool):
        super().__init__()
        name = type(self).__name__
        for label, value, least in (("kernel_size", kernel_size, 1), ("padding", padding, 0)):
            pair(name, label, value, least)
        if stride is not None:
            pair(name, "stride", stride)
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
                f"ceil_mode={self.ceil_mode}")


@layer
class MaxPool2d(Pool2d):
    """The largest of each window. (N, H, W, C) -> (N, H_out, W_out, C), see `functional.max_pool2d`."""

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
                 return_indices: bool = False, ceil_mode: bool = False):
        super().__init__(kernel_size, stride, padding, ceil_mode)
        pair(type(self).__name__, "dilation", dilation)
        self.dilation = dilation
        self.return_indices = return_indices

    def forward(self, x: Tensor) -> Any:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
                            self.return_indices)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dilation={self.dilation}"


@layer
class AvgPool2d(Pool2d):
    """The mean of each window. (N, H, W, C) -> (N, H_out, W_out, C), see `functional.avg_pool2d`."""

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True, divisor_override: int | None = None):
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
                            self.divisor_override)


class GlobalPool2d(Module):
    """One number a channel. (N, H, W, C) -> (N, 1, 1, C)"""

    def follow(self, flow: Flow) -> Flow:
        return Flow(flow.channels, picture=False, pictures=flow.pictures)


@layer
class GlobalAvgPool2d(GlobalPool2d):
    """The mean of each channel over the picture. (N, H, W, C) -> (N, 1, 1, C)"""

    def forward(self, x: Tensor) -> Tensor:
        return F.global_avg_pool2d(x)


@layer
class GlobalMaxPool2d(GlobalPool2d):
    """The largest of each channel over the picture. (N, H, W, C) -> (N, 1, 1, C)"""

    def forward(self, x: Tensor) -> Tensor:
        return F.global_max_pool2d(x)
