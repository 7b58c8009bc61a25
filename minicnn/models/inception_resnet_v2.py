"""Inception-ResNet-v2: Szegedy, Ioffe, Vanhoucke & Alemi 2016, "Inception-v4, Inception-ResNet and the impact of
residual connections on learning" (section 3.2), as timm has it.

That is not quite what the paper draws: the stem is that of Inception v3 with Mixed5b behind it, there are twice as many
residual blocks (10, 20 and 10 instead of 5, 10 and 5), and some numbers of channels are others.

Behind the stem the picture has 35 x 35 pixels; then come ten blocks, a reduction, twenty blocks at 17 x 17, a
reduction, and ten blocks at 8 x 8. What a block adds to its input is scaled down first: without that a network of so
many filters soon puts out nothing but zeros while it is trained (section 3.3).

In the drawings the numbers behind the size of a convolution are channels, and it keeps the size of the picture unless a
V is there: those have no padding. All are BasicConv2d but conv2d, which is a convolution alone.

Parameters, by hand (those of a block stand with it). A convolution of k x k from i to o channels has k * k * i * o +
2 * o, its norm included.

    conv2d_1a    3x3 stride 2, 3 -> 32     864 + 64                   928    149 x 149
    conv2d_2a    3x3, 32 -> 32             9,216 + 64               9,280    147
    conv2d_2b    3x3, 32 -> 64             18,432 + 128            18,560    147, pooled to 73
    conv2d_3b    1x1, 64 -> 80             5,120 + 160              5,280    73
    conv2d_4a    3x3, 80 -> 192            138,240 + 384          138,624    71, pooled to 35
    mixed_5b     Mixed5b, 192 -> 320                              268,320    35
    repeat       Block35, 320 -> 320       10 * 123,168         1,231,680    35
    mixed_6a     ReductionA, 320 -> 1088                        2,664,960    17
    repeat_1     Block17, 1088 -> 1088     20 * 1,126,784      22,535,680    17
    mixed_7a     Mixed7a, 1088 -> 2080                          3,880,960    8
    repeat_2     Block8, 2080 -> 2080      9 * 2,035,424       18,318,816    8
    block8       Block8, 2080 -> 2080                           2,035,424    8
    conv2d_7b    1x1, 2080 -> 1536         3,194,880 + 3,072    3,197,952    8, pooled to 1
    classif      1536 * 1000 + 1000                             1,537,000
                                                               55,843,464
"""

from .. import nn
from ..nn.inception import Branches
from ..tensor import Tensor
from .inception_v4 import ReductionA, SideBySide, pooled, same
from .options import Classes, Share
from .registry import register


class Mixed5b(SideBySide):
    """The end of the stem: `nn.InceptionA` with more channels in branch0 and another average pool.

            +-- branch0: 1x1 96 ------------------------------ [ ]
            |                                                  [ ]
            +-- branch1: 1x1 48 --- 5x5 64 ------------------- [ ]
        x --+                                                  [ ]-- y
            +-- branch2: 1x1 64 --- 3x3 96 --- 3x3 96 -------- [ ]
            |                                                  [ ]
            +-- branch3: average pool 3x3 ---- 1x1 64 -------- [ ]

    x: (N, H, W, 192), y: (N, H, W, 320). The average pool doesn't count the padding.

    Parameters, branch by branch: 18,624; 9,312 + 76,928; 12,416 + 55,488 + 83,136; 12,416. That is 268,320.
    """

    def __init__(self) -> None:
        super().__init__(192)
        self.branch0 = same(192, 96, 1, 1)
        self.branch1 = nn.Sequential(same(192, 48, 1, 1), same(48, 64, 5, 5))
        self.branch2 = nn.Sequential(same(192, 64, 1, 1), same(64, 96, 3, 3), same(96, 96, 3, 3))
        self.branch3 = pooled(192, 64)
        self.out_channels = 320


class Mixed7a(SideBySide):
    """The block that brings 17 x 17 pixels to 8 x 8: Reduction-B.

            +-- branch0: 1x1 256 --- 3x3 V 384, stride 2 --------------- [ ]
            |                                                            [ ]
            +-- branch1: 1x1 256 --- 3x3 V 288, stride 2 --------------- [ ]
        x --+                                                            [ ]-- y
            +-- branch2: 1x1 256 --- 3x3 288 --- 3x3 V 320, stride 2 --- [ ]
            |                                                            [ ]
            +-- branch3: max pool 3x3, stride 2 ------------------------ [ ]

    x: (N, H, W, 1088), y: (N, (H - 1) // 2, (W - 1) // 2, 2080).

    Parameters: 3 * 279,040 of the 1x1s; 885,504; 664,128; 664,128 + 830,080. That is 3,880,960. Figure 18.
    """

    def __init__(self) -> None:
        super().__init__(1088)
        self.branch0 = nn.Sequential(same(1088, 256, 1, 1), nn.BasicConv2d(256, 384, 3, stride=2))
        self.branch1 = nn.Sequential(same(1088, 256, 1, 1), nn.BasicConv2d(256, 288, 3, stride=2))
        self.branch2 = nn.Sequential(same(1088, 256, 1, 1), same(256, 288, 3, 3), nn.BasicConv2d(288, 320, 3, stride=2))
        self.branch3 = nn.MaxPool2d(3, stride=2)
        self.out_channels = 2080


class ScaledResidual(Branches):
    """What the residual blocks share: y = relu(x + scale * conv2d(what the branches give, side by side)).

    relu: whether there is one at the end. Section 3.3 and figure 20.
    """

    conv2d: nn.Conv2d

    def __init__(self, channels: int, scale: float, relu: bool = True):
        super().__init__(channels)
        self.out_channels = channels
        self.scale = scale
        self.relu = nn.ReLU() if relu else None

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.scale * self.conv2d(super().forward(x))
        return y if self.relu is None else self.relu(y)


class Block35(ScaledResidual):
    """Inception-ResNet-A, for 35 x 35 pixels.

            +-- branch0: 1x1 32 ---------------------- [ ]
            |                                          [ ]
        x --+-- branch1: 1x1 32 --- 3x3 32 ----------- [ ]-- conv2d: 1x1 320 -- times scale --(+)-- relu -- y
            |                                          [ ]                                     |
            +-- branch2: 1x1 32 --- 3x3 48 -- 3x3 64 - [ ]                                     |
            |                                                                                  |
            +----------------------------------------------------------------------------------+

    x, y: (N, H, W, 320).

    Parameters: 3 * 10,304 of the 1x1s; 9,280; 13,920 + 27,776; 128 * 320 + 320 of conv2d. That is 123,168. Figure 16.
    """

    def __init__(self, scale: float = 0.17):
        super().__init__(320, scale)
        self.branch0 = same(320, 32, 1, 1)
        self.branch1 = nn.Sequential(same(320, 32, 1, 1), same(32, 32, 3, 3))
        self.branch2 = nn.Sequential(same(320, 32, 1, 1), same(32, 48, 3, 3), same(48, 64, 3, 3))
        self.conv2d = nn.Conv2d(128, 320, 1)

    def branches(self, x: Tensor) -> list[Tensor]:
        return [self.branch0(x), self.branch1(x), self.branch2(x)]


class Block17(ScaledResidual):
    """Inception-ResNet-B, for 17 x 17 pixels.

            +-- branch0: 1x1 192 -------------------------- [ ]
        x --+                                               [ ]-- conv2d: 1x1 1088 -- times scale --(+)-- relu -- y
            +-- branch1: 1x1 128 --- 1x7 160 --- 7x1 192 -- [ ]                                      |
            |                                                                                        |
            +----------------------------------------------------------------------------------------+

    x, y: (N, H, W, 1088).

    Parameters: 209,280; 139,520 + 143,680 + 215,424; 384 * 1088 + 1088 of conv2d. That is 1,126,784. Figure 17.
    """

    def __init__(self, scale: float = 0.10):
        super().__init__(1088, scale)
        self.branch0 = same(1088, 192, 1, 1)
        self.branch1 = nn.Sequential(same(1088, 128, 1, 1), same(128, 160, 1, 7), same(160, 192, 7, 1))
        self.conv2d = nn.Conv2d(384, 1088, 1)

    def branches(self, x: Tensor) -> list[Tensor]:
        return [self.branch0(x), self.branch1(x)]


class Block8(ScaledResidual):
    """Inception-ResNet-C, for 8 x 8 pixels.

            +-- branch0: 1x1 192 -------------------------- [ ]
        x --+                                               [ ]-- conv2d: 1x1 2080 -- times scale --(+)-- relu -- y
            +-- branch1: 1x1 192 --- 1x3 224 --- 3x1 256 -- [ ]                                      |
            |                                                                                        |
            +----------------------------------------------------------------------------------------+

    x, y: (N, H, W, 2080). The last of them has the scale 1 and no ReLU.

    Parameters: 2 * 399,744 of the 1x1s; 129,472 + 172,544; 448 * 2080 + 2080 of conv2d. That is 2,035,424. Figure 19.
    """

    def __init__(self, scale: float = 0.20, relu: bool = True):
        super().__init__(2080, scale, relu)
        self.branch0 = same(2080, 192, 1, 1)
        self.branch1 = nn.Sequential(same(2080, 192, 1, 1), same(192, 224, 1, 3), same(224, 256, 3, 1))
        self.conv2d = nn.Conv2d(448, 2080, 1)

    def branches(self, x: Tensor) -> list[Tensor]:
        return [self.branch0(x), self.branch1(x)]


@register("inception_resnet_v2")
def inception_resnet_v2(classes: Classes = 1000, dropout: Share = 0.2) -> nn.Module:
    """What is in the picture? Inception blocks with a way around each, for colour pictures of 299 x 299

    Input: (N, 299, 299, 3), or pictures of another size, 75 x 75 at least. Output: (N, classes), logits. 55,843,464
    parameters with 1000 classes: models/inception_resnet_v2.py counts them. Layers have timm's names.

    dropout: the share of values set to zero before the last layer while training; the paper's, where timm has none.
    As in timm, there is no auxiliary classifier, and weights start as those of each layer do by themselves.
    """
    model = nn.Sequential({
        "conv2d_1a": nn.BasicConv2d(3, 32, 3, stride=2),
        "conv2d_2a": nn.BasicConv2d(32, 32, 3),
        "conv2d_2b": same(32, 64, 3, 3),
        "maxpool_3a": nn.MaxPool2d(3, stride=2),
        "conv2d_3b": nn.BasicConv2d(64, 80, 1),
        "conv2d_4a": nn.BasicConv2d(80, 192, 3),
        "maxpool_5a": nn.MaxPool2d(3, stride=2),
        "mixed_5b": Mixed5b(),
        "repeat": nn.Sequential(*(Block35() for _ in range(10))),
        "mixed_6a": ReductionA(320, 256, 256, 384, 384),
        "repeat_1": nn.Sequential(*(Block17() for _ in range(20))),
        "mixed_7a": Mixed7a(),
        "repeat_2": nn.Sequential(*(Block8() for _ in range(9))),
        "block8": Block8(scale=1.0, relu=False),
        "conv2d_7b": nn.BasicConv2d(2080, 1536, 1),
        "global_pool": nn.GlobalAvgPool2d(),
        "flatten": nn.Flatten(),
        "head_drop": nn.Dropout(dropout),
        "classif": nn.Linear(1536, classes),
    })
    model.input_shape = (299, 299, 3)
    return model
