"""Transposed convolutions as layers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ops.arguments import is_int, need_rank, per_axis
from ..ops.conv_arguments import LAYOUTS, Padding, Size, sides
from ..ops.conv_transpose import way_back
from ..tensor import Tensor
from . import functional as F
from .conv import Convolution
from .module import layer


class TransposedConvolution(Convolution):
    """What the transposed convolutions share."""

    transposed = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Padding = 0,
                 output_padding: Size = 0, groups: int = 1, bias: bool = True, dilation: Size = 1):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        name = type(self).__name__
        self.output_padding = per_axis(name, "output_padding", output_padding, self.axes, least=0)
        if padding == "tf_same" and any(self.output_padding):
            raise ValueError(f"{name}: output_padding must be 0 with padding='tf_same', got {output_padding!r}")

    def settings(self, x: Tensor, output_size: Sequence[int] | None) -> tuple[Any, ...]:
        """What the function takes behind weight and bias."""
        paddings = self.padding, self.output_padding
        if output_size is not None:
            paddings = self._paddings(x, output_size)
        return self.stride, *paddings, self.groups, self.dilation

    def _paddings(self, x: Tensor, output_size: Sequence[int]) -> tuple[Padding, tuple[int, ...]]:
        """The padding and the output_padding that make the output just that large."""
        name, wanted = type(self).__name__, tuple(output_size)
        need_rank(name, "x", x, LAYOUTS[self.axes][0])
        if len(wanted) == self.axes + 2:
            wanted = wanted[1:-1]
        if len(wanted) != self.axes or not all(map(is_int, wanted)):
            raise ValueError(f"{name}: output_size must be {self.axes} ints, or the shape of the output, got "
                             f"{output_size!r}")
        grown, padding = self.padding == "tf_same", self.padding
        least = self._least(x, padding)
        if grown:  # that is the largest of the sizes which the strided convolution gives x's
            least = tuple(size - step + 1 for size, step in zip(least, self.stride, strict=True))
        most = tuple(size + step - 1 for size, step in zip(least, self.stride, strict=True))
        if not all(low <= size <= high for low, size, high in zip(least, wanted, most, strict=True)):
            raise ValueError(f"{name}: output_size must be from {least} to {most} for x of shape {x.shape}, got "
                             f"{output_size!r}")
        if grown:  # the padding depends on the size
            edges = sides(name, padding, wanted, self.kernel_size, self.stride, self.dilation)
            padding = tuple(zip(edges[::2], edges[1::2], strict=True))
            least = self._least(x, padding)
        return padding, tuple(size - low for size, low in zip(wanted, least, strict=True))

    def _least(self, x: Tensor, padding: Padding) -> tuple[int, ...]:
        """The size of the output with an output_padding of 0."""
        return way_back(type(self).__name__, x.shape, self.weight.shape, self.stride, padding, 0, self.groups,
                        self.dilation).size

    def from_keras(self, name: str, array: np.ndarray) -> np.ndarray:
        return array

    to_keras = from_keras

    def extra_repr(self) -> str:
        more = f", output_padding={self.output_padding}" if any(self.output_padding) else ""
        return super().extra_repr() + more


@layer
class ConvTranspose1d(TransposedConvolution):
    """Transposed 1-D convolution. x: (N, L, in_channels), y: (N, L_out, out_channels); arguments as
    `functional.conv_transpose1d`.

    weight: (k, out_channels / groups, in_channels); bias: (out_channels,). Both start uniform within 1 / sqrt(fan_in)
    with fan_in = k * out_channels / groups, as in PyTorch. output_size: see ConvTranspose2d.

    >>> import minicnn as mc
    >>> mc.nn.ConvTranspose1d(8, 3, kernel_size=4, stride=2, padding=1)(mc.ones(2, 50, 8)).shape
    (2, 100, 3)
    """

    axes = 1

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.conv_transpose1d(x, self.weight, self.bias, *self.settings(x, output_size))


@layer
class ConvTranspose2d(TransposedConvolution):
    """Transposed 2-D convolution. x: (N, H, W, in_channels), y: (N, H_out, W_out, out_channels); arguments as
    `functional.conv_transpose2d`.

    weight: (kH, kW, out_channels / groups, in_channels); bias: (out_channels,). Both start uniform within 1 /
    sqrt(fan_in) with fan_in = kH * kW * out_channels / groups, as in PyTorch.

    `layer(x, output_size)` gives an output of that (H_out, W_out) or shape, one of the sizes that the strided
    convolution gives x's size: `output_padding` is worked out for it. With "tf_same" there may be (H - 1) * stride + 1
    to H * stride rows, and it is the padding that is worked out.

    >>> import minicnn as mc
    >>> layer = mc.nn.ConvTranspose2d(8, 3, kernel_size=3, stride=2, padding=1)
    >>> x = mc.ones(1, 4, 4, 8)
    >>> layer(x).shape, layer(x, output_size=(8, 8)).shape
    ((1, 7, 7, 3), (1, 8, 8, 3))
    """

    axes = 2

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.conv_transpose2d(x, self.weight, self.bias, *self.settings(x, output_size))


@layer
class ConvTranspose3d(TransposedConvolution):
    """Transposed 3-D convolution. x: (N, D, H, W, in_channels), y: (N, D_out, H_out, W_out, out_channels); arguments
    as `functional.conv_transpose3d`.

    weight: (kD, kH, kW, out_channels / groups, in_channels); bias: (out_channels,). Both start uniform within 1 /
    sqrt(fan_in) with fan_in = kD * kH * kW * out_channels / groups, as in PyTorch. output_size: see ConvTranspose2d.

    >>> import minicnn as mc
    >>> mc.nn.ConvTranspose3d(8, 3, kernel_size=2, stride=2)(mc.ones(1, 2, 4, 4, 8)).shape
    (1, 4, 8, 8, 3)
    """

    axes = 3

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.conv_transpose3d(x, self.weight, self.bias, *self.settings(x, output_size))
