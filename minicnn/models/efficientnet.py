"""EfficientNet: Tan & Le 2019, "EfficientNet: Rethinking model scaling for convolutional neural networks" (table 1).

A small network that a search found, B0, and larger ones made of it: wider, deeper, and for larger pictures, all three
at once. MBConv1 and MBConv6 below are `nn.MBConv` with an expand_ratio of 1 and 6, whose parameters stand there. The
pooling behind the last convolution is over the whole picture, so pictures of any size are taken.

Parameters of all of them, by hand: a line has the channels that come out of a stage, how many blocks it has, and the
parameters of them all. Stage 0 is a 3x3 convolution with stride 2; the first blocks of stages 2, 3, 4 and 6 have stride
2 too, so that 224 x 224 pixels become 7 x 7.

                        EfficientNet-B0       EfficientNet-B1       EfficientNet-B2       EfficientNet-B3
    0  3x3             32             928    32             928    32             928    40           1,160
    1  MBConv1 3x3     16 x 1       1,448    16 x 2       2,060    16 x 2       2,060    24 x 2       3,504
    2  MBConv6 3x3     24 x 2      16,714    24 x 3      27,424    24 x 3      27,424    32 x 3      48,118
    3  MBConv6 5x5     40 x 2      46,640    40 x 3      77,930    48 x 3     103,134    48 x 3     110,912
    4  MBConv6 3x3     80 x 3     242,930    80 x 4     345,830    88 x 4     421,550    96 x 5     638,700
    5  MBConv6 5x5    112 x 3     543,148   112 x 4     751,720   120 x 4     862,768   136 x 5   1,387,760
    6  MBConv6 5x5    192 x 4   2,026,348   192 x 5   2,614,300   208 x 5   3,048,878   232 x 6   4,628,964
    7  MBConv6 3x3    320 x 1     717,232   320 x 2   2,280,832   352 x 2   2,735,820   384 x 2   3,284,218
    8  1x1           1280         412,160  1280         412,160  1408         498,432  1536         592,896
    Linear           1000       1,281,000  1000       1,281,000  1000       1,409,000  1000       1,537,000
                                5,288,548             7,794,184             9,109,994            12,233,232

                        EfficientNet-B4       EfficientNet-B5       EfficientNet-B6       EfficientNet-B7
    0  3x3             48           1,392    48           1,392    56           1,624    64           1,856
    1  MBConv1 3x3     24 x 2       4,146    24 x 3       5,352    32 x 3       8,094    32 x 4      10,920
    2  MBConv6 3x3     32 x 4      66,238    40 x 5     122,846    40 x 6     156,922    48 x 7     253,424
    3  MBConv6 5x5     56 x 4     197,586    64 x 5     329,514    72 x 6     493,444    80 x 7     716,068
    4  MBConv6 3x3    112 x 6   1,059,898   128 x 7   1,632,464   144 x 8   2,379,438   160 x 10  3,721,660
    5  MBConv6 5x5    160 x 6   2,306,724   176 x 7   3,286,344   200 x 8   4,840,930   224 x 10  7,615,904
    6  MBConv6 5x5    272 x 8   8,636,228   304 x 9  12,165,292   344 x 11 19,186,878   384 x 13 28,390,712
    7  MBConv6 3x3    448 x 2   4,470,004   512 x 3   9,744,908   576 x 3  12,336,662   640 x 4  21,432,896
    8  1x1           1792         806,400  2048       1,052,672  2304       1,331,712  2560       1,643,520
    Linear           1000       1,793,000  1000       2,049,000  1000       2,305,000  1000       2,561,000
                               19,341,616            30,389,784            43,040,704            66,347,960
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil, sqrt
from typing import NamedTuple

from .. import nn
from .mobilenet import to_eights
from .options import Classes, Share
from .registry import register


class Stage(NamedTuple):
    """Blocks in a row, of which the first has the stride and leads to `outputs` channels."""

    block: type[nn.MBConv | nn.FusedMBConv]
    expansion: int
    kernel: int
    stride: int
    outputs: int
    blocks: int


#: B0's: the lines of the paper's table 1.
STAGES = (
    Stage(nn.MBConv, 1, 3, 1, 16, 1),
    Stage(nn.MBConv, 6, 3, 2, 24, 2),
    Stage(nn.MBConv, 6, 5, 2, 40, 2),
    Stage(nn.MBConv, 6, 3, 2, 80, 3),
    Stage(nn.MBConv, 6, 5, 1, 112, 3),
    Stage(nn.MBConv, 6, 5, 2, 192, 4),
    Stage(nn.MBConv, 6, 3, 1, 320, 1),
)
#: B5 to B7 have their own norm, as in torchvision: it adds more to the variance, and its running statistics change more
#: slowly.
SLOW_NORM = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)


@register("efficientnet_b0")
def efficientnet_b0(classes: Classes = 1000, dropout: Share = 0.2, stochastic_depth: Share = 0.2) -> nn.Module:
    """What is in the picture? Few parameters, found by a search, for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size. Output: (N, classes), logits. dropout: the share of values set
    to zero before the dense layer while training. stochastic_depth: the probability that a block is passed over in
    training, which grows from 0 at the first block to nearly this at the last. 5,288,548 parameters with 1000 classes:
    models/efficientnet.py counts them. Layers have torchvision's names, as in all EfficientNets here.

    Convolutions start normal with standard deviation sqrt(2 / fan_out), the dense layer uniform within 1 /
    sqrt(classes), biases as 0.
    """
    return _scaled(1.0, 1.0, 224, classes, dropout, stochastic_depth)


@register("efficientnet_b1")
def efficientnet_b1(classes: Classes = 1000, dropout: Share = 0.2, stochastic_depth: Share = 0.2) -> nn.Module:
    """What is in the picture? EfficientNet-B0 made 1.1 times as deep, for colour pictures of 240 x 240

    As `efficientnet_b0`, with more blocks; 7,794,184 parameters with 1000 classes.
    """
    return _scaled(1.0, 1.1, 240, classes, dropout, stochastic_depth)


@register("efficientnet_b2")
def efficientnet_b2(classes: Classes = 1000, dropout: Share = 0.3, stochastic_depth: Share = 0.2) -> nn.Module:
    """What is in the picture? EfficientNet-B0 made 1.1 times as wide and 1.2 as deep, for colour pictures of 260 x 260

    As `efficientnet_b0`, with more and wider blocks; 9,109,994 parameters with 1000 classes. Torchvision's weights for
    it are meant for pictures of 288 x 288.
    """
    return _scaled(1.1, 1.2, 260, classes, dropout, stochastic_depth)


@register("efficientnet_b3")
def efficientnet_b3(classes: Classes = 1000, dropout: Share = 0.3, stochastic_depth: Share = 0.2) -> nn.Module:
    """What is in the picture? EfficientNet-B0 made 1.2 times as wide and 1.4 as deep, for colour pictures of 300 x 300

    As `efficientnet_b0`, with more and wider blocks; 12,233,232 parameters with 1000 classes.
    """
    return _scaled(1.2, 1.4, 300, classes, dropout, stochastic_depth)


@register("efficientnet_b4")
def efficientnet_b4(classes: Classes = 1000, dropout: Share = 0.4, stochastic_depth: Share = 0.2) -> nn.Module:
    """What is in the picture? EfficientNet-B0 made 1.4 times as wide and 1.8 as deep, for colour pictures of 380 x 380

    As `efficientnet_b0`, with more and wider blocks; 19,341,616 parameters with 1000 classes.
    """
    return _scaled(1.4, 1.8, 380, classes, dropout, stochastic_depth)


@register("efficientnet_b5")
def efficientnet_b5(classes: Classes = 1000, dropout: Share = 0.4, stochastic_depth: Share = 0.2) -> nn.Module:
    """What is in the picture? EfficientNet-B0 made 1.6 times as wide and 2.2 as deep, for colour pictures of 456 x 456

    As `efficientnet_b0`, with more and wider blocks; 30,389,784 parameters with 1000 classes.
    """
    return _scaled(1.6, 2.2, 456, classes, dropout, stochastic_depth, SLOW_NORM)


@register("efficientnet_b6")
def efficientnet_b6(classes: Classes = 1000, dropout: Share = 0.5, stochastic_depth: Share = 0.2) -> nn.Module:
    """What is in the picture? EfficientNet-B0 made 1.8 times as wide and 2.6 as deep, for colour pictures of 528 x 528

    As `efficientnet_b0`, with more and wider blocks; 43,040,704 parameters with 1000 classes.
    """
    return _scaled(1.8, 2.6, 528, classes, dropout, stochastic_depth, SLOW_NORM)


@register("efficientnet_b7")
def efficientnet_b7(classes: Classes = 1000, dropout: Share = 0.5, stochastic_depth: Share = 0.2) -> nn.Module:
    """What is in the picture? EfficientNet-B0 made 2 times as wide and 3.1 as deep, for colour pictures of 600 x 600

    As `efficientnet_b0`, with more and wider blocks; 66,347,960 parameters with 1000 classes.
    """
    return _scaled(2.0, 3.1, 600, classes, dropout, stochastic_depth, SLOW_NORM)


def _scaled(width: float, depth: float, size: int, classes: int, dropout: float, stochastic_depth: float,
            norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> nn.Module:
    """B0 with its channels times `width` and its blocks times `depth`, for pictures of `size` pixels.

    Compound scaling, equation 3: for 2^k times the products, depth 1.2^k, width 1.1^k, and size 1.15^k, since 1.2 *
    1.1^2 * 1.15^2 is about 2. The published networks round that freely, B7 being near k = 7 in width and size; and
    channels are rounded to eights, blocks up.
    """
    stages = [stage._replace(outputs=to_eights(stage.outputs * width), blocks=ceil(stage.blocks * depth))
              for stage in STAGES]
    last = 4 * stages[-1].outputs
    model = build_efficientnet(stages, to_eights(32 * width), last, classes, dropout, stochastic_depth, norm)
    model.input_shape = (size, size, 3)
    return model


def build_efficientnet(stages: Sequence[Stage], first: int, last: int, classes: int, dropout: float,
          stochastic_depth: float, norm: Callable[[int], nn.Module]) -> nn.Module:
    """An EfficientNet with starting weights. first, last: the channels before and behind the stages."""
    with nn.init.undrawn():  # each layer's own start would be drawn for nothing
        features = _features(stages, first, last, stochastic_depth, norm)
        dense = nn.Linear(last, classes)
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    nn.init.uniform_(dense.weight, -1 / sqrt(classes), 1 / sqrt(classes))
    return nn.Sequential({"features": features, "avgpool": nn.GlobalAvgPool2d(), "flatten": nn.Flatten(),
                          "classifier": nn.Sequential(nn.Dropout(dropout), dense)})


def _features(stages: Sequence[Stage], first: int, last: int, stochastic_depth: float,
              norm: Callable[[int], nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = [nn.ConvNormActivation(3, first, 3, stride=2, activation=nn.SiLU, norm=norm)]
    inputs, built, total = first, 0, sum(stage.blocks for stage in stages)
    for stage in stages:
        row: list[nn.Module] = []
        for number in range(stage.blocks):
            row.append(stage.block(inputs, stage.outputs, stage.kernel, stage.stride if number == 0 else 1,
                                   stage.expansion, stochastic_depth=stochastic_depth * built / total, norm=norm))
            inputs = stage.outputs
            built += 1
        layers.append(nn.Sequential(*row))
    layers.append(nn.ConvNormActivation(inputs, last, 1, activation=nn.SiLU, norm=norm))
    return nn.Sequential(*layers)
