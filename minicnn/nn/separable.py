"""Blocks of depthwise separable convolutions: each channel filtered by itself, then the channels mixed by a 1x1.

A 3x3 from i to o channels costs 9 * i * o products a pixel, its separable form 9 * i + i * o: about 1 / o + 1 / 9 of it
(Howard et al. 2017, section 3.1). MobileNet and Xception differ in what stands between the two steps:

    MobileNet (DepthwiseSeparable)       depthwise -- norm -- ReLU -- 1x1 -- norm -- ReLU
    Xception (XceptionBlock)             ReLU -- depthwise -- 1x1 -- norm

nn.SeparableConv2d is the two convolutions alone, with nothing between.
"""

from collections.abc import Callable, Sequence

from ..ops.arguments import pair
from ..ops.conv_arguments import Size
from ..tensor import Tensor
from .activation import ReLU
from .containers import Sequential
from .conv import Conv2d, SeparableConv2d
from .conv_norm import ConvNormActivation
from .fuse import run
from .linear import positive_int
from .module import Module, layer
from .norm import BatchNorm2d
from .pool import MaxPool2d


@layer
class DepthwiseSeparable(Sequential):
    """The block of MobileNet: a depthwise 3x3 ("0") and a 1x1 ("1"), each with norm and activation.

        x -- depthwise 3x3, stride -- norm -- ReLU -- 1x1 -- norm -- ReLU -- y

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, out_channels). activation: a class or function that makes
    the layers.

    Parameters: 9 * in_channels + 2 * in_channels of the 3x3, in_channels * out_channels + 2 * out_channels of the 1x1;
    that is 352 + 2,176 = 2,528 from 32 to 64 channels, where a 3x3 with its norm has 18,560.

    Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto & Adam 2017, "MobileNets: Efficient convolutional neural
    networks for mobile vision applications", figure 3 (right).

    >>> import minicnn as mc
    >>> mc.nn.DepthwiseSeparable(4, 8, stride=2)(mc.ones(1, 6, 6, 4)).shape
    (1, 3, 3, 8)
    """

    def __init__(self, in_channels: int, out_channels: int, stride: Size = 1, activation: Callable[[], Module] = ReLU):
        super().__init__(
            ConvNormActivation(in_channels, in_channels, 3, stride, groups=in_channels, activation=activation),
            ConvNormActivation(in_channels, out_channels, 1, activation=activation),
        )
        self.out_channels = out_channels


@layer
class XceptionBlock(Module):
    """The residual block of Xception: separable 3x3 convolutions with a ReLU before each, and a shortcut around them.

        x --+-- relu -- separable 3x3 -- norm -- relu -- separable 3x3 -- norm -- max pool 3x3, stride --(+)-- y
            |                                                                                             |
            +--------------------------------- skip 1x1, stride -- skipbn --------------------------------+

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, channels[-1]). channels: those behind each of the
    separable convolutions, as many as there are. The pooling is there only with a stride above 1, skip and skipbn only
    where x and y differ in shape, the first ReLU only with first_relu. Between the two steps of a separable convolution
    there is no activation: with one, training went slower and ended worse (section 4.7). All layers but the shortcut's
    are in the Sequential `rep`.

    Parameters: 9 * i + i * o + 2 * o for each separable convolution from i to o channels and its norm, and i * o +
    2 * o of the shortcut. That is 35,264 for 64 channels to (128, 128) with stride 2, the network's first block, and
    1,613,976 for its middle ones, 728 to (728, 728, 728).

    Chollet 2017, "Xception: Deep learning with depthwise separable convolutions", figure 5.

    >>> import minicnn as mc
    >>> mc.nn.XceptionBlock(4, (8, 8), stride=2)(mc.ones(1, 6, 6, 4)).shape
    (1, 3, 3, 8)
    """

    def __init__(self, in_channels: int, channels: Sequence[int], stride: Size = 1, first_relu: bool = True):
        super().__init__()
        if not isinstance(channels, Sequence) or not channels:
            raise ValueError(f"XceptionBlock: channels must be a sequence of at least one, got {channels!r}")
        self.stride = pair("XceptionBlock", "stride", stride)
        self.in_channels = inputs = positive_int(self, "in_channels", in_channels)
        layers: list[Module] = []
        for outputs in channels:
            layers += [ReLU(), SeparableConv2d(inputs, outputs, 3, padding=1, bias=False), BatchNorm2d(outputs)]
            inputs = outputs
        if self.stride != (1, 1):
            layers.append(MaxPool2d(3, stride, padding=1))
        self.rep = Sequential(*layers[0 if first_relu else 1:])
        self.out_channels = inputs
        keeps_shape = self.stride == (1, 1) and in_channels == inputs
        self.skip = None if keeps_shape else Conv2d(in_channels, inputs, 1, stride, bias=False)
        self.skipbn = None if keeps_shape else BatchNorm2d(inputs)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.skip is None or self.skipbn is None else run(x, self.skip, self.skipbn)
        return run(x, self.rep, add=shortcut)
