"""Blocks of layers that networks repeat: convolution + norm + activation, and the residual blocks.

The layers inside have torchvision's names, so that its weights load with `load_state_dict(..., layout="torch")`. In the
drawings (+) adds what arrives from two sides. Sizes are halved with stride 2, an odd one rounded up.
"""

from collections.abc import Callable, Sequence

from ..ops.arguments import pair
from ..tensor import Tensor
from .activation import ReLU, ReLU6
from .containers import Sequential
from .conv import Conv2d
from .fuse import run
from .linear import positive_int
from .module import Module, layer
from .norm import BatchNorm2d

Size = int | Sequence[int]


@layer
class ConvNormActivation(Sequential):
    """A convolution without bias ("0"), batch norm ("1"), and an activation ("2").

        x -- Conv2d -- BatchNorm2d -- activation -- y

    x: (N, H, W, in_channels), y: (N, H_out, W_out, out_channels). padding: (kernel_size - 1) // 2 unless given, which
    keeps the size of the picture where kernel_size is odd and stride 1. activation: a class or function that makes the
    layer; None leaves it out. The other arguments are those of Conv2d.

    Parameters, with a kernel of k x k: k * k * in_channels / groups * out_channels + 2 * out_channels; a 3x3 from 3 to
    32 channels has 864 + 64 = 928.

    Batch norm between convolution and activation: Ioffe & Szegedy 2015, "Batch normalization", section 3.2, which also
    says why the convolution needs no bias.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size = 3, stride: Size = 1,
                 padding: Size | None = None, groups: int = 1, activation: Callable[[], Module] | None = ReLU):
        rows, columns = pair(type(self).__name__, "kernel_size", kernel_size)
        edges = ((rows - 1) // 2, (columns - 1) // 2) if padding is None else padding
        layers = [Conv2d(in_channels, out_channels, kernel_size, stride, edges, groups=groups, bias=False),
                  BatchNorm2d(out_channels)]
        super().__init__(*layers, *([] if activation is None else [activation()]))
        self.out_channels = out_channels


class ResidualBlock(Module):
    """What BasicBlock and Bottleneck share: y = relu(F(x) + shortcut(x)).

    The shortcut is x itself where F keeps its shape; else a 1x1 convolution and batch norm, `downsample`, bring x into
    the shape of F(x) (He et al. 2015, section 3.2, equation 2, and option B of section 4.1).
    """

    expansion: int  # channels of the output for each of `channels`
    downsample: Sequential | None

    def __init__(self, in_channels: int, channels: int, stride: Size):
        super().__init__()
        self.stride = pair(type(self).__name__, "stride", stride)
        self.in_channels = positive_int(self, "in_channels", in_channels)
        self.out_channels = self.expansion * positive_int(self, "channels", channels)

    def _projection(self) -> Sequential | None:
        if self.stride == (1, 1) and self.in_channels == self.out_channels:
            return None
        return Sequential(Conv2d(self.in_channels, self.out_channels, 1, self.stride, bias=False),
                          BatchNorm2d(self.out_channels))

    def _shortcut(self, x: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(x)


@layer
class BasicBlock(ResidualBlock):
    """The residual block of ResNet-18 and ResNet-34: two 3x3 convolutions and a shortcut around them.

        x --+-- conv1 3x3, stride -- bn1 -- relu -- conv2 3x3 -- bn2 --(+)-- relu -- y
            |                                                           |
            +----------------- downsample 1x1, stride ------------------+

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, channels). downsample (convolution "0", norm "1") is there
    only where x and y differ in shape, see ResidualBlock.

    Parameters: 9 * in_channels * channels + 9 * channels^2, 4 * channels of the norms, and of downsample
    in_channels * channels + 2 * channels. That is 73,984 from 64 to 64 channels, and 230,144 from 64 to 128.

    He, Zhang, Ren & Sun 2015, "Deep residual learning for image recognition", figures 2 and 5 (left).
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: Size = 1):
        super().__init__(in_channels, channels, stride)
        self.conv1 = Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(channels)
        self.relu = ReLU()
        self.conv2 = Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(channels)
        self.downsample = self._projection()

    def forward(self, x: Tensor) -> Tensor:
        y = run(x, self.conv1, self.bn1, self.relu)
        return run(y, self.conv2, self.bn2, add=self._shortcut(x), activation=self.relu)


@layer
class Bottleneck(ResidualBlock):
    """The residual block of ResNet-50 and deeper ones: a 3x3 convolution between two 1x1, which reduce the channels
    before it and restore them behind it.

        x --+-- conv1 1x1 -- bn1 -- relu -- conv2 3x3, stride -- bn2 -- relu -- conv3 1x1 -- bn3 --(+)-- relu -- y
            |                                                                                       |
            +------------------------------- downsample 1x1, stride --------------------------------+

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, 4 * channels). downsample (convolution "0", norm "1") is
    there only where x and y differ in shape, see ResidualBlock. The paper has the stride on conv1; on conv2, as here
    and in torchvision, no pixel is passed over.

    Parameters: in_channels * channels + 9 * channels^2 + 4 * channels^2, 12 * channels of the norms, and of downsample
    4 * in_channels * channels + 8 * channels. That is 70,400 for 64 channels between 256, and 75,008 from 64 channels
    by 64 to 256.

    He, Zhang, Ren & Sun 2015, "Deep residual learning for image recognition", figure 5 (right).
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: Size = 1):
        super().__init__(in_channels, channels, stride)
        self.conv1 = Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = BatchNorm2d(channels)
        self.conv3 = Conv2d(channels, self.out_channels, 1, bias=False)
        self.bn3 = BatchNorm2d(self.out_channels)
        self.relu = ReLU()
        self.downsample = self._projection()

    def forward(self, x: Tensor) -> Tensor:
        y = run(x, self.conv1, self.bn1, self.relu)
        y = run(y, self.conv2, self.bn2, self.relu)
        return run(y, self.conv3, self.bn3, add=self._shortcut(x), activation=self.relu)


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
    """

    def __init__(self, in_channels: int, out_channels: int, stride: Size, expand_ratio: float):
        super().__init__()
        name = type(self).__name__
        if not isinstance(expand_ratio, int | float) or not 0 < expand_ratio < float("inf"):
            raise ValueError(f"{name}: expand_ratio must be a positive number, got {expand_ratio!r}")
        self.stride = pair(name, "stride", stride)
        self.out_channels = positive_int(self, "out_channels", out_channels)
        self.has_shortcut = self.stride == (1, 1) and in_channels == out_channels
        inner = round(positive_int(self, "in_channels", in_channels) * expand_ratio)
        expansion = [] if expand_ratio == 1 else [ConvNormActivation(in_channels, inner, 1, activation=ReLU6)]
        self.conv = Sequential(
            *expansion,
            ConvNormActivation(inner, inner, 3, stride, groups=inner, activation=ReLU6),
            Conv2d(inner, out_channels, 1, bias=False),
            BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return run(x, self.conv, add=x if self.has_shortcut else None)
