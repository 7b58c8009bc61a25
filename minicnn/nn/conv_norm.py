"""Convolution, batch norm and activation in a row: what most blocks are made of."""

from collections.abc import Callable

from ..ops.arguments import pair
from ..ops.conv_arguments import Size
from .activation import ReLU
from .containers import Sequential
from .conv import Conv2d
from .module import Module, layer
from .norm import BatchNorm2d


@layer
class ConvNormActivation(Sequential):
    """A convolution without bias ("0"), batch norm ("1"), and an activation ("2").

        x -- Conv2d -- BatchNorm2d -- activation -- y

    x: (N, H, W, in_channels), y: (N, H_out, W_out, out_channels). padding: (kernel_size - 1) // 2 unless given, which
    keeps the size of the picture where kernel_size is odd and stride 1. activation: a class or function that makes the
    layer; None leaves it out. norm: a class or function that makes the normalisation of so many channels. The other
    arguments are those of Conv2d.

    Parameters, with a kernel of k x k: k * k * in_channels / groups * out_channels + 2 * out_channels; a 3x3 from 3 to
    32 channels has 864 + 64 = 928.

    Batch norm between convolution and activation: Ioffe & Szegedy 2015, "Batch normalization", section 3.2, which also
    says why the convolution needs no bias.

    >>> import minicnn as mc
    >>> mc.nn.ConvNormActivation(3, 8, stride=2)(mc.ones(1, 6, 6, 3)).shape
    (1, 3, 3, 8)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size = 3, stride: Size = 1,
                 padding: Size | None = None, groups: int = 1, activation: Callable[[], Module] | None = ReLU,
                 norm: Callable[[int], Module] = BatchNorm2d):
        rows, columns = pair(type(self).__name__, "kernel_size", kernel_size)
        edges = ((rows - 1) // 2, (columns - 1) // 2) if padding is None else padding
        layers = [Conv2d(in_channels, out_channels, kernel_size, stride, edges, groups=groups, bias=False),
                  norm(out_channels)]
        super().__init__(*layers, *([] if activation is None else [activation()]))
        self.out_channels = out_channels


@layer
class BasicConv2d(Sequential):
    """The convolution of the Inception blocks: ConvNormActivation with ReLU, under the names `conv`, `bn`, `relu`.

        x -- conv -- bn -- relu -- y

    x: (N, H, W, in_channels), y: (N, H_out, W_out, out_channels). Arguments as those of Conv2d; there is no padding
    unless it is given. The norm adds 0.001 to the variance, a hundred times what BatchNorm2d does by itself.

    Parameters as of ConvNormActivation: a 3x3 from 96 to 128 channels has 110,592 + 256 = 110,848.

    >>> import minicnn as mc
    >>> mc.nn.BasicConv2d(3, 8, 3)(mc.ones(1, 6, 6, 3)).shape
    (1, 4, 4, 8)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0):
        super().__init__({
            "conv": Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False),
            "bn": BatchNorm2d(out_channels, eps=0.001),
            "relu": ReLU(),
        })
        self.out_channels = out_channels
