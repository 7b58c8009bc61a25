"""Convolutions as layers."""

from typing import Any, ClassVar

import numpy as np

from ..ops.arguments import per_axis
from ..ops.conv_arguments import Padding, Size, sides
from ..tensor import Tensor, zeros
from . import functional as F
from . import init
from .layout import filters_first, filters_last
from .linear import positive_int
from .module import Module, Parameter, layer


class Convolution(Module):
    """What the convolutions over one, two and three axes share; `axes` says over how many."""

    axes: ClassVar[int]
    transposed: ClassVar[bool] = False

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Padding = 0,
                 dilation: Size = 1, groups: int = 1, bias: bool = True):
        super().__init__()
        name = type(self).__name__
        self.in_channels = positive_int(self, "in_channels", in_channels)
        self.out_channels = positive_int(self, "out_channels", out_channels)
        self.groups = positive_int(self, "groups", groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{name}: in_channels {in_channels} and out_channels {out_channels} must divide into "
                             f"groups={groups}")
        self.kernel_size = per_axis(name, "kernel_size", kernel_size, self.axes)
        self.stride = per_axis(name, "stride", stride, self.axes)
        self.dilation = per_axis(name, "dilation", dilation, self.axes)
        somewhere = (1,) * self.axes
        sides(name, padding, somewhere, self.kernel_size, self.stride, self.dilation)  # raises what makes no sense
        self.padding = padding
        read, made = (out_channels, in_channels) if self.transposed else (in_channels, out_channels)
        self.weight = Parameter(zeros(*self.kernel_size, read // groups, made))
        self.bias = Parameter(zeros(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the starting weights anew."""
        init.default_(self.weight, self.bias)

    @property
    def geometry(self) -> tuple[Any, ...]:
        """Stride, padding, dilation, groups: what the function takes behind weight and bias."""
        return self.stride, self.padding, self.dilation, self.groups

    def from_torch(self, name: str, array: np.ndarray) -> np.ndarray:
        return filters_last(array)

    def to_torch(self, name: str, array: np.ndarray) -> np.ndarray:
        return filters_first(array)

    def from_keras(self, name: str, array: np.ndarray) -> np.ndarray:
        """Only Keras' depthwise kernels differ: (kH, kW, C, multiplier) for our (kH, kW, 1, C * multiplier)."""
        depthwise = name == "weight" and self.groups == self.in_channels and array.ndim == self.axes + 2
        if depthwise and array.shape[-2:] == self._per_channel():
            return array.reshape(*array.shape[:-2], 1, -1)
        return array

    def to_keras(self, name: str, array: np.ndarray) -> np.ndarray:
        if name == "weight" and self.groups == self.in_channels:
            return array.reshape(*array.shape[:-2], *self._per_channel())
        return array

    def _per_channel(self) -> tuple[int, int]:
        return self.in_channels, self.out_channels // self.in_channels

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding!r}" if self.padding != 0 else ""
        text += f", dilation={self.dilation}" if set(self.dilation) != {1} else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        return text if self.bias is not None else text + ", bias=False"


@layer
class Conv1d(Convolution):
    """1-D convolution. x: (N, L, in_channels), y: (N, L_out, out_channels); arguments as `functional.conv1d`.

    weight: (k, in_channels / groups, out_channels); bias: (out_channels,). Both start uniform within 1 / sqrt(fan_in)
    with fan_in = k * in_channels / groups, as in PyTorch.

    >>> import minicnn as mc
    >>> mc.nn.Conv1d(3, 8, kernel_size=5, stride=2)(mc.ones(2, 100, 3)).shape
    (2, 48, 8)
    """

    axes = 1

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.weight, self.bias, *self.geometry)


@layer
class Conv2d(Convolution):
    """2-D convolution. x: (N, H, W, in_channels), y: (N, H_out, W_out, out_channels); arguments as `functional.conv2d`.

    weight: (kH, kW, in_channels / groups, out_channels); bias: (out_channels,). Both start uniform within 1 /
    sqrt(fan_in) with fan_in = kH * kW * in_channels / groups, as in PyTorch. groups=in_channels is a depthwise
    convolution; out_channels is a multiple of in_channels then, by the number of filters a channel.

    >>> import minicnn as mc
    >>> layer = mc.nn.Conv2d(3, 8, kernel_size=3, stride=2, padding=1)
    >>> layer(mc.ones(2, 32, 32, 3)).shape, layer.weight.shape
    ((2, 16, 16, 8), (3, 3, 3, 8))
    """

    axes = 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, *self.geometry)


@layer
class Conv3d(Convolution):
    """3-D convolution. x: (N, D, H, W, in_channels), y: (N, D_out, H_out, W_out, out_channels); arguments as
    `functional.conv3d`.

    weight: (kD, kH, kW, in_channels / groups, out_channels); bias: (out_channels,). Both start uniform within 1 /
    sqrt(fan_in) with fan_in = kD * kH * kW * in_channels / groups, as in PyTorch.

    >>> import minicnn as mc
    >>> mc.nn.Conv3d(1, 8, kernel_size=3, padding="same")(mc.ones(2, 4, 16, 16, 1)).shape
    (2, 4, 16, 16, 8)
    """

    axes = 3

    def forward(self, x: Tensor) -> Tensor:
        return F.conv3d(x, self.weight, self.bias, *self.geometry)


@layer
class SeparableConv2d(Module):
    """A convolution of each channel by itself (`depthwise`, depth_multiplier filters a channel, without bias), then a
    1x1 convolution that mixes the channels (`pointwise`). Shapes as for Conv2d. Chollet 2017, "Xception".

    >>> import minicnn as mc
    >>> layer = mc.nn.SeparableConv2d(32, 64, 3, padding=1, bias=False)
    >>> layer(mc.ones(1, 8, 8, 32)).shape
    (1, 8, 8, 64)
    >>> sum(p.numel() for p in layer.parameters())  # 9 * 32 + 32 * 64; a standard convolution has 9 * 32 * 64 = 18432
    2336
    """

    in_order = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Padding = 0,
                 dilation: Size = 1, bias: bool = True, depth_multiplier: int = 1):
        super().__init__()
        self.in_channels = positive_int(self, "in_channels", in_channels)
        self.out_channels = positive_int(self, "out_channels", out_channels)
        inner = in_channels * positive_int(self, "depth_multiplier", depth_multiplier)
        self.depthwise = Conv2d(in_channels, inner, kernel_size, stride, padding, dilation, in_channels, bias=False)
        self.pointwise = Conv2d(inner, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))
