"""Squeeze-and-excitation: a network weighs its channels by what the whole picture shows.

Hu, Shen & Sun 2018, "Squeeze-and-excitation networks".
"""

from collections.abc import Callable

from ..ops.conv_arguments import Size
from ..tensor import Tensor
from .activation import ReLU, Sigmoid
from .conv import Conv2d
from .fuse import run
from .inception import Inception
from .linear import positive_int
from .module import Module, layer
from .pool import GlobalAvgPool2d
from .residual import BasicBlock, Bottleneck


@layer
class SqueezeExcitation(Module):
    """Each channel times a number from 0 to 1, which two small layers make of the means of all channels.

        x --+------------------------------------------------------------------------------------(*)-- y
            |                                                                                     |
            +-- avgpool -- fc1 to squeeze_channels -- activation -- fc2 -- scale_activation ------+
                1 x 1 pixel

    x, y: (N, H, W, input_channels). activation, scale_activation: classes or functions that make the layers. fc1 and
    fc2 are 1x1 convolutions.

    Parameters: squeeze_channels * (input_channels + 1) + input_channels * (squeeze_channels + 1), which are 260 + 320 =
    580 for 64 channels by 4.

    Hu et al. 2018, equations 2 to 4 and figure 1.

    >>> import minicnn as mc
    >>> mc.nn.SqueezeExcitation(8, 2)(mc.ones(1, 6, 6, 8)).shape
    (1, 6, 6, 8)
    """

    def __init__(self, input_channels: int, squeeze_channels: int, activation: Callable[[], Module] = ReLU,
                 scale_activation: Callable[[], Module] = Sigmoid):
        super().__init__()
        self.out_channels = positive_int(self, "input_channels", input_channels)
        positive_int(self, "squeeze_channels", squeeze_channels)
        self.avgpool = GlobalAvgPool2d()
        self.fc1 = Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, x: Tensor) -> Tensor:
        return x * run(x, self.avgpool, self.fc1, self.activation, self.fc2, self.scale_activation)


def _squeeze(owner: Module, channels: int, reduction: int) -> SqueezeExcitation:
    """For a block of so many output channels: squeezed to one in `reduction` of them, but at least one."""
    return SqueezeExcitation(channels, max(1, channels // positive_int(owner, "reduction", reduction)))


@layer
class SEBasicBlock(BasicBlock):
    """BasicBlock with squeeze-and-excitation before the sum.

        x --+-- conv1 3x3, stride -- bn1 -- relu -- conv2 3x3 -- bn2 -- se --(+)-- relu -- y
            |                                                                 |
            +----------------------- downsample 1x1, stride ------------------+

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, channels); se: SqueezeExcitation to channels / reduction.

    Parameters: those of BasicBlock and of SqueezeExcitation, 73,984 + 580 = 74,564 from 64 to 64 channels.

    Hu et al. 2018, figure 3; reduction is r in equation 3.

    >>> import minicnn as mc
    >>> mc.nn.SEBasicBlock(4, 8, stride=2, reduction=4)(mc.ones(1, 6, 6, 4)).shape
    (1, 3, 3, 8)
    """

    def __init__(self, in_channels: int, channels: int, stride: Size = 1, reduction: int = 16):
        super().__init__(in_channels, channels, stride)
        self.se = _squeeze(self, self.out_channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        y = run(x, self.conv1, self.bn1, self.relu)
        return run(y, self.conv2, self.bn2, self.se, add=self._shortcut(x), activation=self.relu)


@layer
class SEBottleneck(Bottleneck):
    """Bottleneck with squeeze-and-excitation before the sum: the block of SE-ResNet-50 and deeper ones.

        x --+-- conv1 1x1 -- bn1 -- relu -- conv2 3x3, stride -- bn2 -- relu -- conv3 1x1 -- bn3 -- se --(+)-- relu -- y
            |                                                                                             |
            +---------------------------------- downsample 1x1, stride -----------------------------------+

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, 4 * channels); se: SqueezeExcitation to 4 * channels /
    reduction.

    Parameters: those of Bottleneck and of SqueezeExcitation, 70,400 + 8,464 = 78,864 for 64 channels between 256.

    Hu et al. 2018, figure 3 and table 1.

    >>> import minicnn as mc
    >>> mc.nn.SEBottleneck(16, 4)(mc.ones(1, 6, 6, 16)).shape
    (1, 6, 6, 16)
    """

    def __init__(self, in_channels: int, channels: int, stride: Size = 1, reduction: int = 16):
        super().__init__(in_channels, channels, stride)
        self.se = _squeeze(self, self.out_channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        y = run(x, self.conv1, self.bn1, self.relu, self.conv2, self.bn2, self.relu)
        return run(y, self.conv3, self.bn3, self.se, add=self._shortcut(x), activation=self.relu)


@layer
class SEInception(Inception):
    """Inception with squeeze-and-excitation behind it.

        x -- Inception -- se -- y

    Shapes and arguments as for Inception; se: SqueezeExcitation to out_channels / reduction.

    Parameters: those of Inception and of SqueezeExcitation, 164,064 + 8,464 = 172,528 for GoogLeNet's block 3a.

    Hu et al. 2018, figure 2.

    >>> import minicnn as mc
    >>> mc.nn.SEInception(3, 4, 2, 8, 2, 6, 5)(mc.ones(1, 6, 6, 3)).shape
    (1, 6, 6, 23)
    """

    def __init__(self, in_channels: int, ch1x1: int, ch3x3red: int, ch3x3: int, ch5x5red: int, ch5x5: int,
                 pool_proj: int, kernel5x5: int = 5, reduction: int = 16):
        super().__init__(in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj, kernel5x5)
        self.se = _squeeze(self, self.out_channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        return self.se(super().forward(x))
