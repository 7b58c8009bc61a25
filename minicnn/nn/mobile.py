"""Inverted residuals: wide inside, narrow between the blocks; of MobileNetV2 and V3, EfficientNet and EfficientNetV2.

A shortcut joins the narrow ends, so little memory is held between blocks, and the wide part is filtered channel by
channel, which is cheap (Sandler et al. 2018, section 3.3).
"""

from collections.abc import Callable

from ..ops.arguments import pair
from ..ops.conv_arguments import Size
from ..tensor import Tensor
from .activation import Hardsigmoid, Hardswish, ReLU, ReLU6, Sigmoid, SiLU
from .containers import Sequential
from .conv import Conv2d
from .conv_norm import ConvNormActivation
from .dropout import StochasticDepth
from .fuse import run
from .linear import positive_int
from .module import Module, layer
from .norm import BatchNorm2d
from .squeeze import SqueezeExcitation

Activation = Callable[[], Module]
Norm = Callable[[int], Module]


def _widened(owner: Module, in_channels: int, expand_ratio: float) -> int:
    """The channels inside a block."""
    if not isinstance(expand_ratio, int | float) or not 0 < expand_ratio < float("inf"):
        raise ValueError(f"{type(owner).__name__}: expand_ratio must be a positive number, got {expand_ratio!r}")
    inner = round(positive_int(owner, "in_channels", in_channels) * expand_ratio)
    if inner < 1:
        raise ValueError(f"{type(owner).__name__}: expand_ratio {expand_ratio!r} leaves nothing of {in_channels} "
                         "channels")
    return inner


@layer
class InvertedResidual(Module):
    """The block of MobileNetV2: a 1x1 convolution to many channels, a depthwise 3x3 there, and a 1x1 back to few.

        x --+-- 1x1 -- norm -- ReLU6 -- depthwise 3x3, stride -- norm -- ReLU6 -- 1x1 -- norm --(+)-- y
            |                                                                                    |
            +------------------------------------------------------------------------------------+

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, out_channels); h = in_channels * expand_ratio channels in
    between. The shortcut is there only where x and y have the same shape, the first 1x1 only if expand_ratio isn't 1.
    The last 1x1 has no activation, as one would lose too much where channels are few (section 3.2). All layers are in
    the Sequential `conv`.

    Parameters: in_channels * h + 2 * h of the first 1x1, 9 * h + 2 * h of the 3x3, h * out_channels + 2 * out_channels
    of the last 1x1. That is 8,832 from 24 to 24 channels by 144, and 896 from 32 to 16 with an expand_ratio of 1.

    Sandler, Howard, Zhu, Zhmoginov & Chen 2018, "MobileNetV2: Inverted residuals and linear bottlenecks", figure 4d and
    table 1.

    >>> import minicnn as mc
    >>> mc.nn.InvertedResidual(4, 8, stride=2, expand_ratio=6)(mc.ones(1, 6, 6, 4)).shape
    (1, 3, 3, 8)
    """

    def __init__(self, in_channels: int, out_channels: int, stride: Size, expand_ratio: float):
        super().__init__()
        inner = _widened(self, in_channels, expand_ratio)
        self.stride = pair("InvertedResidual", "stride", stride)
        self.out_channels = positive_int(self, "out_channels", out_channels)
        self.has_shortcut = self.stride == (1, 1) and in_channels == out_channels
        expansion = [] if expand_ratio == 1 else [ConvNormActivation(in_channels, inner, 1, activation=ReLU6)]
        self.conv = Sequential(
            *expansion,
            ConvNormActivation(inner, inner, 3, stride, groups=inner, activation=ReLU6),
            Conv2d(inner, out_channels, 1, bias=False),
            BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return run(x, self.conv, add=x if self.has_shortcut else None)


class MobileBlock(Module):
    """What the blocks below share: y = stochastic_depth(block(x)) + x, or block(x) if y hasn't the shape of x."""

    block: Sequential
    stochastic_depth: StochasticDepth

    def __init__(self, in_channels: int, out_channels: int, stride: Size):
        super().__init__()
        self.stride = pair(type(self).__name__, "stride", stride)
        self.in_channels = positive_int(self, "in_channels", in_channels)
        self.out_channels = positive_int(self, "out_channels", out_channels)
        self.has_shortcut = self.stride == (1, 1) and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return run(x, self.block, self.stochastic_depth, add=x) if self.has_shortcut else self.block(x)


def _inverted(in_channels: int, inner: int, out_channels: int, kernel_size: Size, stride: Size,
              squeeze: SqueezeExcitation | None, activation: Activation, norm: Norm) -> Sequential:
    """1x1 to `inner` channels unless there are as many, depthwise, squeeze-and-excitation, 1x1 without activation."""
    expansion = [] if inner == in_channels else [ConvNormActivation(in_channels, inner, 1, activation=activation,
                                                                    norm=norm)]
    return Sequential(
        *expansion,
        ConvNormActivation(inner, inner, kernel_size, stride, groups=inner, activation=activation, norm=norm),
        *([] if squeeze is None else [squeeze]),
        ConvNormActivation(inner, out_channels, 1, activation=None, norm=norm),
    )


@layer
class MBConv(MobileBlock):
    """The block of EfficientNet: MobileNetV2's with squeeze-and-excitation, swish, and stochastic depth.

        x --+-- 1x1 -- norm -- SiLU -- depthwise, stride -- norm -- SiLU --+
            |                                                              |
            |   +----------------------------------------------------------+
            |   |
            |   +-- se -- 1x1 -- norm -- stochastic_depth --(+)-- y
            |                                                |
            +------------------------------------------------+

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, out_channels); h = in_channels * expand_ratio channels in
    between. kernel_size: of the depthwise convolution. The shortcut and stochastic depth are there only where x and y
    have the same shape, the first 1x1 only if h isn't in_channels. se: SqueezeExcitation to squeeze_channels,
    in_channels / 4 unless given; 0 leaves it out. stochastic_depth: the probability that the block is passed over in
    training, picture by picture. norm: a class or function that makes the normalisation of so many channels. Layers up
    to the last norm are in the Sequential `block`.

    Parameters, with k x k filters and s squeeze_channels: in_channels * h + 2 * h, k^2 * h + 2 * h, s * (h + 1) + h *
    (s + 1), and h * out_channels + 2 * out_channels. That is 1,728 + 1,056 + 868 + 2,352 = 6,004 from 16 to 24 channels
    by 96, and 1,448 from 32 to 16 with an expand_ratio of 1.

    Tan & Le 2019, "EfficientNet: Rethinking model scaling for convolutional neural networks", section 4 and table 1.

    >>> import minicnn as mc
    >>> mc.nn.MBConv(4, 8, kernel_size=5, stride=2)(mc.ones(1, 6, 6, 4)).shape
    (1, 3, 3, 8)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size = 3, stride: Size = 1,
                 expand_ratio: float = 6, squeeze_channels: int | None = None, activation: Activation = SiLU,
                 stochastic_depth: float = 0.0, norm: Norm = BatchNorm2d):
        super().__init__(in_channels, out_channels, stride)
        inner = _widened(self, in_channels, expand_ratio)
        narrow = max(1, in_channels // 4) if squeeze_channels is None else squeeze_channels
        squeeze = SqueezeExcitation(inner, narrow, activation, Sigmoid) if narrow != 0 else None
        self.block = _inverted(in_channels, inner, out_channels, kernel_size, stride, squeeze, activation, norm)
        self.stochastic_depth = StochasticDepth(stochastic_depth, "row")


@layer
class MobileNetV3Block(MobileBlock):
    """The block of MobileNetV3: MobileNetV2's with hard swish, and squeeze-and-excitation with a hard sigmoid.

        x --+-- 1x1 -- norm -- Hardswish -- depthwise, stride -- norm -- Hardswish -- se -- 1x1 -- norm --(+)-- y
            |                                                                                              |
            +----------------------------------------------------------------------------------------------+

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, out_channels). expanded_channels: those in between, which
    the paper's tables give. The shortcut is there only where x and y have the same shape, the first 1x1 only if
    expanded_channels isn't in_channels. squeeze_channels: 0 leaves se out; in the paper it is a quarter of
    expanded_channels. activation: Hardswish, or ReLU as in the first half of the networks. The norms of the paper's
    networks have eps=0.001, momentum=0.01. Layers are in the Sequential `block`.

    Parameters as of MBConv: 3,864 from 16 to 24 channels by 72 with 3 x 3 filters and no se, and 2,496 + 2,592 + 4,728
    + 3,920 = 13,736 from 24 to 40 by 96 with 5 x 5 and 24 squeeze_channels.

    Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le & Adam 2019, "Searching for MobileNetV3",
    figure 4, section 5, and tables 1 and 2.

    >>> import minicnn as mc
    >>> mc.nn.MobileNetV3Block(4, 10, 8, squeeze_channels=8)(mc.ones(1, 6, 6, 4)).shape
    (1, 6, 6, 8)
    """

    def __init__(self, in_channels: int, expanded_channels: int, out_channels: int, kernel_size: Size = 3,
                 stride: Size = 1, squeeze_channels: int = 0, activation: Activation = Hardswish,
                 stochastic_depth: float = 0.0, norm: Norm = BatchNorm2d):
        super().__init__(in_channels, out_channels, stride)
        inner = positive_int(self, "expanded_channels", expanded_channels)
        squeeze = SqueezeExcitation(inner, squeeze_channels, ReLU, Hardsigmoid) if squeeze_channels != 0 else None
        self.block = _inverted(in_channels, inner, out_channels, kernel_size, stride, squeeze, activation, norm)
        self.stochastic_depth = StochasticDepth(stochastic_depth, "row")


@layer
class FusedMBConv(MobileBlock):
    """The block of EfficientNetV2's first stages: one whole convolution for MBConv's first 1x1 and depthwise one.

        x --+-- 3x3, stride -- norm -- SiLU -- 1x1 -- norm -- stochastic_depth --(+)-- y
            |                                                                     |
            +---------------------------------------------------------------------+

    It has more parameters and products, but where channels are few it runs faster (section 3.2).

    Shapes and arguments as for MBConv. If h = in_channels, the first convolution leads to out_channels and the 1x1 and
    its norm are left out.

    Parameters, with k x k filters: k^2 * in_channels * h + 2 * h and h * out_channels + 2 * out_channels. That is
    20,928 + 4,704 = 25,632 from 24 to 48 channels by 96, and 5,232 from 24 to 24 with an expand_ratio of 1.

    Tan & Le 2021, "EfficientNetV2: Smaller models and faster training", figure 2 and table 4.

    >>> import minicnn as mc
    >>> mc.nn.FusedMBConv(4, 8, stride=2)(mc.ones(1, 6, 6, 4)).shape
    (1, 3, 3, 8)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size = 3, stride: Size = 1,
                 expand_ratio: float = 4, activation: Activation = SiLU, stochastic_depth: float = 0.0,
                 norm: Norm = BatchNorm2d):
        super().__init__(in_channels, out_channels, stride)
        inner = _widened(self, in_channels, expand_ratio)
        single = inner == in_channels
        first = ConvNormActivation(in_channels, out_channels if single else inner, kernel_size, stride,
                                   activation=activation, norm=norm)
        rest = [] if single else [ConvNormActivation(inner, out_channels, 1, activation=None, norm=norm)]
        self.block = Sequential(first, *rest)
        self.stochastic_depth = StochasticDepth(stochastic_depth, "row")
