"""EfficientNetV2: Tan & Le 2021, "EfficientNetV2: Smaller models and faster training" (table 4).

As EfficientNet, but the first stages are of blocks without depthwise convolutions, which are slow where the picture is
large and channels are few (section 3.2). FusedMBConv4 below is `nn.FusedMBConv` with an expand_ratio of 4, MBConv6
`nn.MBConv` with 6, and so on; their parameters stand there. All filters but the 1x1 are 3x3.

Parameters of all of them, by hand: the channels that come out of a stage, how many blocks it has, and the parameters of
them all. Each stage with stride 2, that of its first block, halves the picture: 384 x 384 pixels become 12 x 12.

                               EfficientNetV2-S        EfficientNetV2-M        EfficientNetV2-L
    0  3x3, stride 2             24              696     24              696     32              928
    1  FusedMBConv1              24 x 2       10,464     24 x 3       15,696     32 x 4       37,120
    2  FusedMBConv4, stride 2    48 x 4      303,552     48 x 5      396,192     64 x 7    1,032,320
    3  FusedMBConv4, stride 2    64 x 4      589,184     80 x 5    1,126,048     96 x 7    2,390,336
    4  MBConv4, stride 2        128 x 6      917,680    160 x 7    1,686,340    192 x 10   3,553,224
    5  MBConv6                  160 x 9    3,463,840    176 x 14   6,650,852    224 x 19  14,501,728
    6  MBConv6, stride 2        256 x 15  14,561,832    304 x 18  24,627,064    384 x 25  54,866,360
    7  MBConv6                                          512 x 5   17,697,548    640 x 7   40,030,496
    8  1x1 (S: 7)              1280          330,240   1280          657,920   1280          821,760
    Linear                     1000        1,281,000   1000        1,281,000   1000        1,281,000
                                          21,458,488              54,139,356             118,515,272
"""

from functools import partial

from .. import nn
from .efficientnet import Stage, build_efficientnet
from .options import Classes, Share
from .registry import register

# The lines of the paper's table 4; those of M and L are only in the authors' program.
SMALL = (
    Stage(nn.FusedMBConv, 1, 3, 1, 24, 2),
    Stage(nn.FusedMBConv, 4, 3, 2, 48, 4),
    Stage(nn.FusedMBConv, 4, 3, 2, 64, 4),
    Stage(nn.MBConv, 4, 3, 2, 128, 6),
    Stage(nn.MBConv, 6, 3, 1, 160, 9),
    Stage(nn.MBConv, 6, 3, 2, 256, 15),
)
MEDIUM = (
    Stage(nn.FusedMBConv, 1, 3, 1, 24, 3),
    Stage(nn.FusedMBConv, 4, 3, 2, 48, 5),
    Stage(nn.FusedMBConv, 4, 3, 2, 80, 5),
    Stage(nn.MBConv, 4, 3, 2, 160, 7),
    Stage(nn.MBConv, 6, 3, 1, 176, 14),
    Stage(nn.MBConv, 6, 3, 2, 304, 18),
    Stage(nn.MBConv, 6, 3, 1, 512, 5),
)
LARGE = (
    Stage(nn.FusedMBConv, 1, 3, 1, 32, 4),
    Stage(nn.FusedMBConv, 4, 3, 2, 64, 7),
    Stage(nn.FusedMBConv, 4, 3, 2, 96, 7),
    Stage(nn.MBConv, 4, 3, 2, 192, 10),
    Stage(nn.MBConv, 6, 3, 1, 224, 19),
    Stage(nn.MBConv, 6, 3, 2, 384, 25),
    Stage(nn.MBConv, 6, 3, 1, 640, 7),
)


@register("efficientnet_v2_s")
def efficientnet_v2_s(classes: Classes = 1000, dropout: Share = 0.2, stochastic_depth: Share = 0.2) -> nn.Module:
    """What is in the picture? EfficientNet that trains faster, for colour pictures of 384 x 384

    Input: (N, 384, 384, 3), or pictures of another size. Output: (N, classes), logits. Options and starting weights as
    for `efficientnet_b0`. 21,458,488 parameters with 1000 classes: models/efficientnet_v2.py counts them. Layers have
    torchvision's names, as in all EfficientNets here.
    """
    return _efficientnet_v2(SMALL, 24, 384, classes, dropout, stochastic_depth)


@register("efficientnet_v2_m")
def efficientnet_v2_m(classes: Classes = 1000, dropout: Share = 0.3, stochastic_depth: Share = 0.2) -> nn.Module:
    """What is in the picture? EfficientNetV2-S made wider and deeper, for colour pictures of 480 x 480

    As `efficientnet_v2_s`, with more and wider blocks; 54,139,356 parameters with 1000 classes.
    """
    return _efficientnet_v2(MEDIUM, 24, 480, classes, dropout, stochastic_depth)


@register("efficientnet_v2_l")
def efficientnet_v2_l(classes: Classes = 1000, dropout: Share = 0.4, stochastic_depth: Share = 0.2) -> nn.Module:
    """What is in the picture? EfficientNetV2-M made wider and deeper, for colour pictures of 480 x 480

    As `efficientnet_v2_s`, with more and wider blocks; 118,515,272 parameters with 1000 classes.
    """
    return _efficientnet_v2(LARGE, 32, 480, classes, dropout, stochastic_depth)


def _efficientnet_v2(stages: tuple[Stage, ...], first: int, size: int, classes: int, dropout: float,
                     stochastic_depth: float) -> nn.Module:
    norm = partial(nn.BatchNorm2d, eps=0.001)
    model = build_efficientnet(stages, first, 1280, classes, dropout, stochastic_depth, norm)
    model.input_shape = (size, size, 3)
    return model
