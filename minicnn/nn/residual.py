"""The residual blocks of ResNet: original (He et al. 2015) and pre-activation (He et al. 2016)."""

from ..ops.arguments import pair
from ..ops.conv_arguments import Size
from ..tensor import Tensor
from .activation import ReLU
from .containers import Sequential
from .conv import Conv2d
from .fuse import run
from .linear import positive_int
from .module import Module, layer
from .norm import BatchNorm2d


class ResidualBlock(Module):
    """What the residual blocks share: y = F(x) + shortcut(x), with `out_channels` = expansion * channels.

    The shortcut is x itself where F keeps its shape; else `downsample` brings x into the shape of F(x) (He et al. 2015,
    section 3.2, equation 2, and option B of section 4.1).
    """

    expansion: int  # channels of the output for each of `channels`

    def __init__(self, in_channels: int, channels: int, stride: Size):
        super().__init__()
        self.stride = pair(type(self).__name__, "stride", stride)
        self.in_channels = positive_int(self, "in_channels", in_channels)
        self.out_channels = self.expansion * positive_int(self, "channels", channels)

    @property
    def keeps_shape(self) -> bool:
        """Whether y has the shape of x."""
        return self.stride == (1, 1) and self.in_channels == self.out_channels


class PostActBlock(ResidualBlock):
    """What BasicBlock and Bottleneck share: y = relu(F(x) + shortcut(x)).

    downsample: a 1x1 convolution ("0") and a norm ("1").
    """

    downsample: Sequential | None

    def _projection(self) -> Sequential | None:
        if self.keeps_shape:
            return None
        return Sequential(Conv2d(self.in_channels, self.out_channels, 1, self.stride, bias=False),
                          BatchNorm2d(self.out_channels))

    def _shortcut(self, x: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(x)


@layer
class BasicBlock(PostActBlock):
    """The residual block of ResNet-18 and ResNet-34: two 3x3 convolutions and a shortcut around them.

        x --+-- conv1 3x3, stride -- bn1 -- relu -- conv2 3x3 -- bn2 --(+)-- relu -- y
            |                                                           |
            +----------------- downsample 1x1, stride ------------------+

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, channels). downsample (convolution "0", norm "1") is there
    only where x and y differ in shape, see PostActBlock.

    Parameters: 9 * in_channels * channels + 9 * channels^2, 4 * channels of the norms, and of downsample
    in_channels * channels + 2 * channels. That is 73,984 from 64 to 64 channels, and 230,144 from 64 to 128.

    He, Zhang, Ren & Sun 2015, "Deep residual learning for image recognition", figures 2 and 5 (left).

    >>> import minicnn as mc
    >>> mc.nn.BasicBlock(4, 8, stride=2)(mc.ones(1, 6, 6, 4)).shape
    (1, 3, 3, 8)
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
class Bottleneck(PostActBlock):
    """The residual block of ResNet-50 and deeper ones: a 3x3 convolution between two 1x1, which reduce the channels
    before it and restore them behind it.

                to inner channels           inner, in groups                to 4 * channels
        x --+-- conv1 1x1 -- bn1 -- relu -- conv2 3x3, stride -- bn2 -- relu -- conv3 1x1 -- bn3 --(+)-- relu -- y
            |                                                                                       |
            +------------------------------- downsample 1x1, stride --------------------------------+

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, 4 * channels). downsample (convolution "0", norm "1") is
    there only where x and y differ in shape, see PostActBlock. The paper has the stride on conv1; on conv2, as here
    and in torchvision, no pixel is passed over.

    groups: conv2 is that many convolutions side by side, each of its own channels, the aggregated transformations of
    ResNeXt. width: how wide they are, by the measure of the first stage, where channels is 64: channels * width / 64
    (rounded down) inner channels for each group. ResNeXt-50 32x4d has groups=32, width=4; Wide ResNet-50-2 width=128.

    Parameters, with i inner channels, which are as many as `channels` unless groups and width are given: in_channels *
    i + 9 * i^2 / groups + 4 * i * channels, of the norms 4 * i + 8 * channels, and of downsample 4 * in_channels *
    channels + 8 * channels. That is 70,400 for 64 channels between 256, and 75,008 from 64 channels by 64 to 256; with
    groups=32, width=4, so 128 inner channels, 71,168 and 63,488.

    He, Zhang, Ren & Sun 2015, "Deep residual learning for image recognition", figure 5 (right). groups: Xie, Girshick,
    Dollár, Tu & He 2017, "Aggregated residual transformations for deep neural networks", figure 3c and table 1. width:
    Zagoruyko & Komodakis 2016, "Wide residual networks", which widens 3x3 convolutions, as here.

    >>> import minicnn as mc
    >>> mc.nn.Bottleneck(16, 4)(mc.ones(1, 6, 6, 16)).shape
    (1, 6, 6, 16)
    >>> mc.nn.Bottleneck(256, 64, groups=32, width=4).conv2.weight.shape  # 128 channels, each group reads 4
    (3, 3, 4, 128)
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: Size = 1, groups: int = 1, width: int = 64):
        super().__init__(in_channels, channels, stride)
        inner = channels * positive_int(self, "width", width) // 64 * positive_int(self, "groups", groups)
        if not inner:
            raise ValueError(f"{type(self).__name__}: channels * width // 64 must be at least 1, got {channels} * "
                             f"{width} // 64")
        self.conv1 = Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = BatchNorm2d(inner)
        self.conv2 = Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = BatchNorm2d(inner)
        self.conv3 = Conv2d(inner, self.out_channels, 1, bias=False)
        self.bn3 = BatchNorm2d(self.out_channels)
        self.relu = ReLU()
        self.downsample = self._projection()

    def forward(self, x: Tensor) -> Tensor:
        y = run(x, self.conv1, self.bn1, self.relu)
        y = run(y, self.conv2, self.bn2, self.relu)
        return run(y, self.conv3, self.bn3, add=self._shortcut(x), activation=self.relu)


class PreActBlock(ResidualBlock):
    """What the pre-activation blocks share: y = F(relu(bn1(x))) + shortcut.

    Where F keeps the shape, the shortcut is x: signals go straight on from the first block to the last, and gradients
    back (He et al. 2016, equations 4 and 5). Else it is `downsample`, a 1x1 convolution without a norm, of
    relu(bn1(x)), as in the authors' own networks. Behind the last block of a network come one more norm and ReLU.
    """

    downsample: Conv2d | None

    def _projection(self) -> Conv2d | None:
        if self.keeps_shape:
            return None
        return Conv2d(self.in_channels, self.out_channels, 1, self.stride, bias=False)

    def _shortcut(self, x: Tensor, active: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(active)


@layer
class PreActBasicBlock(PreActBlock):
    """BasicBlock with norm and ReLU before each convolution instead of behind it, and nothing behind the sum.

        x --+-- bn1 -- relu --+-- conv1 3x3, stride -- bn2 -- relu -- conv2 3x3 --(+)-- y
            |                 |                                                    |
            |                 +-------------- downsample 1x1, stride --------------+
            |                                                                      |
            +------------------ or x itself, if y has the shape of x --------------+

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, channels). For the shortcut see PreActBlock.

    Parameters: 2 * in_channels + 9 * in_channels * channels + 2 * channels + 9 * channels^2, and of downsample
    in_channels * channels. That is 73,984 from 64 to 64 channels, and 229,760 from 64 to 128.

    He, Zhang, Ren & Sun 2016, "Identity mappings in deep residual networks", figure 4e.

    >>> import minicnn as mc
    >>> mc.nn.PreActBasicBlock(4, 8, stride=2)(mc.ones(1, 6, 6, 4)).shape
    (1, 3, 3, 8)
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: Size = 1):
        super().__init__(in_channels, channels, stride)
        self.bn1 = BatchNorm2d(in_channels)
        self.conv1 = Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = BatchNorm2d(channels)
        self.conv2 = Conv2d(channels, channels, 3, padding=1, bias=False)
        self.relu = ReLU()
        self.downsample = self._projection()

    def forward(self, x: Tensor) -> Tensor:
        active = run(x, self.bn1, self.relu)
        return run(active, self.conv1, self.bn2, self.relu, self.conv2, add=self._shortcut(x, active))


@layer
class PreActBottleneck(PreActBlock):
    """Bottleneck with norm and ReLU before each convolution instead of behind it, and nothing behind the sum.

        x --+-- bn1 -- relu --+-- conv1 1x1 -- bn2 -- relu -- conv2 3x3, stride -- bn3 -- relu -- conv3 1x1 --(+)-- y
            |                 |                                                                                |
            |                 +---------------------------- downsample 1x1, stride ----------------------------+
            |                                                                                                  |
            +-------------------------------- or x itself, if y has the shape of x ----------------------------+

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, 4 * channels). For the shortcut see PreActBlock.

    Parameters: 2 * in_channels + in_channels * channels + 2 * channels + 9 * channels^2 + 2 * channels +
    4 * channels^2, and of downsample 4 * in_channels * channels. That is 70,400 for 64 channels between 256, and
    74,112 from 64 channels by 64 to 256.

    He, Zhang, Ren & Sun 2016, "Identity mappings in deep residual networks", figure 4e around a bottleneck.

    >>> import minicnn as mc
    >>> mc.nn.PreActBottleneck(16, 4)(mc.ones(1, 6, 6, 16)).shape
    (1, 6, 6, 16)
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: Size = 1):
        super().__init__(in_channels, channels, stride)
        self.bn1 = BatchNorm2d(in_channels)
        self.conv1 = Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = BatchNorm2d(channels)
        self.conv2 = Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn3 = BatchNorm2d(channels)
        self.conv3 = Conv2d(channels, self.out_channels, 1, bias=False)
        self.relu = ReLU()
        self.downsample = self._projection()

    def forward(self, x: Tensor) -> Tensor:
        active = run(x, self.bn1, self.relu)
        return run(active, self.conv1, self.bn2, self.relu, self.conv2, self.bn3, self.relu, self.conv3,
                   add=self._shortcut(x, active))
