"""Convolutions whose kernel depends on the place, as layers."""

from math import prod, sqrt
from typing import ClassVar

from ..ops.arguments import per_axis
from ..ops.conv_arguments import AXES, Padding, Size, check_reach, outputs, sides
from ..tensor import Tensor, zeros
from . import functional as F
from . import init
from .linear import positive_int
from .module import Module, Parameter, layer


class Local(Module):
    """What the layers of this file share: all but the kinds of places that have kernels of their own.

    PyTorch has no such layers: `layout="torch"` leaves their weights as they are.
    """

    axes: ClassVar[int]

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size, padding: Padding,
                 dilation: Size):
        super().__init__()
        name = type(self).__name__
        self.in_channels = positive_int(self, "in_channels", in_channels)
        self.out_channels = positive_int(self, "out_channels", out_channels)
        self.kernel_size = per_axis(name, "kernel_size", kernel_size, self.axes)
        self.stride = per_axis(name, "stride", stride, self.axes)
        self.dilation = per_axis(name, "dilation", dilation, self.axes)
        self.padding = padding

    def make_weights(self, places: tuple[int, ...], bias: bool) -> None:
        """A kernel and a bias for each of so many places."""
        self.weight = Parameter(zeros(*places, *self.kernel_size, self.in_channels, self.out_channels))
        self.bias = Parameter(zeros(*places, self.out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the starting weights anew."""
        bound = 1 / sqrt(prod(self.kernel_size) * self.in_channels)
        for parameter in self.parameters(recurse=False):
            init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding!r}" if self.padding != 0 else ""
        text += f", dilation={self.dilation}" if set(self.dilation) != {1} else ""
        return text if self.bias is not None else text + ", bias=False"


class LocallyConnected(Local):
    """A kernel for each place. input_size: of the input, without batch and channels; it says how many there are."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, input_size: Size, stride: Size = 1,
                 padding: Padding = 0, dilation: Size = 1, bias: bool = True):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation)
        name = type(self).__name__
        self.input_size = per_axis(name, "input_size", input_size, self.axes)
        edges = sides(name, padding, self.input_size, self.kernel_size, self.stride, self.dilation)
        check_reach(name, self.input_size, edges, self.kernel_size, self.dilation)
        along = zip(self.input_size, edges[::2], edges[1::2], self.kernel_size, self.stride, self.dilation, strict=True)
        self.make_weights(tuple(outputs(*axis) for axis in along), bias)

    def check(self, x: Tensor) -> None:
        if x.ndim == self.axes + 2 and x.shape[1:-1] != self.input_size:
            expected = ", ".join(AXES[self.axes])
            raise ValueError(f"{type(self).__name__}: x has ({expected}) = {x.shape[1:-1]}, expected {self.input_size}")

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, input_size={self.input_size}"


@layer
class LocallyConnected1d(LocallyConnected):
    """A kernel of its own for each place of a sequence. x: (N, L, in_channels), y: (N, L_out, out_channels), see
    `functional.locally_connected1d`. input_size: L.

    weight: (L_out, k, in_channels, out_channels); bias: (L_out, out_channels). Both start uniform within 1 /
    sqrt(k * in_channels).

    >>> import minicnn as mc
    >>> layer = mc.nn.LocallyConnected1d(2, 4, kernel_size=3, input_size=10)
    >>> layer(mc.ones(1, 10, 2)).shape, layer.weight.shape
    ((1, 8, 4), (8, 3, 2, 4))
    """

    axes = 1

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        return F.locally_connected1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)


@layer
class LocallyConnected2d(LocallyConnected):
    """A kernel of its own for each place of a picture. x: (N, H, W, in_channels), y: (N, H_out, W_out, out_channels),
    see `functional.locally_connected2d`. input_size: H and W, or one number for both.

    weight: (H_out, W_out, kH, kW, in_channels, out_channels); bias: (H_out, W_out, out_channels). Both start uniform
    within 1 / sqrt(kH * kW * in_channels).

    >>> import minicnn as mc
    >>> layer = mc.nn.LocallyConnected2d(3, 8, kernel_size=3, input_size=(6, 5))
    >>> layer(mc.ones(2, 6, 5, 3)).shape, layer.weight.shape
    ((2, 4, 3, 8), (4, 3, 3, 3, 3, 8))
    """

    axes = 2

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        return F.locally_connected2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)


@layer
class TiledConv2d(Local):
    """Kernels that take turns: `tiles` = (t_h, t_w) of them along rows and columns, or t along both. x: (N, H, W,
    in_channels), y: (N, H_out, W_out, out_channels), see `functional.tiled_conv2d`.

    weight: (t_h, t_w, kH, kW, in_channels, out_channels); bias: (t_h, t_w, out_channels). Both start uniform within
    1 / sqrt(kH * kW * in_channels).

    >>> import minicnn as mc
    >>> layer = mc.nn.TiledConv2d(3, 8, kernel_size=3, tiles=2)
    >>> layer(mc.ones(2, 6, 5, 3)).shape, layer.weight.shape
    ((2, 4, 3, 8), (2, 2, 3, 3, 3, 8))
    """

    axes = 2

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, tiles: Size, stride: Size = 1,
                 padding: Padding = 0, dilation: Size = 1, bias: bool = True):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation)
        self.tiles = per_axis("TiledConv2d", "tiles", tiles, 2)
        sides("TiledConv2d", padding, (1, 1), self.kernel_size, self.stride, self.dilation)  # raises what is no padding
        self.make_weights(self.tiles, bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.tiled_conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, tiles={self.tiles}"
