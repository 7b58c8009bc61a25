"""MobileNetV3: Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le & Adam 2019, "Searching for
MobileNetV3" (tables 1 and 2).

Inverted residuals as in MobileNetV2, found by a search for what is quick on a phone: some with squeeze-and-excitation,
the deeper ones with hard swish. The dense layer before the last comes behind the pooling, where it is applied once and
not at each pixel (section 5.1).

Parameters of both, by hand. A block from i channels by h to o with k x k filters and s squeeze_channels has i * h +
2 * h unless h is i, (k^2 + 2) * h, s * (h + 1) + h * (s + 1) if it squeezes, and h * o + 2 * o. Pixels are those
behind it, for 224 x 224.

    mobilenet_v3_small                                        mobilenet_v3_large
    0    3x3, 3 -> 16                         464    112      0    3x3, 3 -> 16                         464    112
    1     16 -> 16 by  16, 3x3, s =   8       744     56      1     16 -> 16 by  16, 3x3                464    112
    2     16 -> 24 by  72, 3x3              3,864     28      2     16 -> 24 by  64, 3x3              3,440     56
    3     24 -> 24 by  88, 3x3              5,416     28      3     24 -> 24 by  72, 3x3              4,440     56
    4     24 -> 40 by  96, 5x5, s =  24    13,736     14      4     24 -> 40 by  72, 5x5, s =  24    10,328     28
    5     40 -> 40 by 240, 5x5, s =  64    57,264     14      5     40 -> 40 by 120, 5x5, s =  32    20,992     28
    6     40 -> 40 by 240, 5x5, s =  64    57,264     14      6     40 -> 40 by 120, 5x5, s =  32    20,992     28
    7     40 -> 48 by 120, 5x5, s =  32    21,968     14      7     40 -> 80 by 240, 3x3             32,080     14
    8     48 -> 48 by 144, 5x5, s =  40    29,800     14      8     80 -> 80 by 200, 3x3             34,760     14
    9     48 -> 96 by 288, 5x5, s =  72    91,848      7      9     80 -> 80 by 184, 3x3             31,992     14
    10    96 -> 96 by 576, 5x5, s = 144   294,096      7      10    80 -> 80 by 184, 3x3             31,992     14
    11    96 -> 96 by 576, 5x5, s = 144   294,096      7      11   80 -> 112 by 480, 3x3, s = 120   214,424     14
                                                              12  112 -> 112 by 672, 3x3, s = 168   386,120     14
                                                              13  112 -> 160 by 672, 5x5, s = 168   429,224      7
                                                              14  160 -> 160 by 960, 5x5, s = 240   797,360      7
                                                              15  160 -> 160 by 960, 5x5, s = 240   797,360      7
    12   1x1, 96 -> 576                    56,448      7      16  1x1, 160 -> 960                   155,520      7
    classifier
    0    576 -> 1024                      590,848             0   960 -> 1280                     1,230,080
    3    1024 -> 1000                   1,025,000             3   1280 -> 1000                    1,281,000
                                        2,542,856                                                 5,483,032
"""

from functools import partial
from typing import NamedTuple

from .. import nn
from .mobilenet import to_eights
from .options import Classes, Share, Width
from .registry import register
from .starting import start_by_fan_out


class Block(NamedTuple):
    """A line of the paper's tables."""

    kernel: int
    expanded: int
    outputs: int
    squeezes: bool
    activation: type[nn.ReLU | nn.Hardswish]
    stride: int


SMALL = (
    Block(3, 16, 16, True, nn.ReLU, 2),
    Block(3, 72, 24, False, nn.ReLU, 2),
    Block(3, 88, 24, False, nn.ReLU, 1),
    Block(5, 96, 40, True, nn.Hardswish, 2),
    Block(5, 240, 40, True, nn.Hardswish, 1),
    Block(5, 240, 40, True, nn.Hardswish, 1),
    Block(5, 120, 48, True, nn.Hardswish, 1),
    Block(5, 144, 48, True, nn.Hardswish, 1),
    Block(5, 288, 96, True, nn.Hardswish, 2),
    Block(5, 576, 96, True, nn.Hardswish, 1),
    Block(5, 576, 96, True, nn.Hardswish, 1),
)
LARGE = (
    Block(3, 16, 16, False, nn.ReLU, 1),
    Block(3, 64, 24, False, nn.ReLU, 2),
    Block(3, 72, 24, False, nn.ReLU, 1),
    Block(5, 72, 40, True, nn.ReLU, 2),
    Block(5, 120, 40, True, nn.ReLU, 1),
    Block(5, 120, 40, True, nn.ReLU, 1),
    Block(3, 240, 80, False, nn.Hardswish, 2),
    Block(3, 200, 80, False, nn.Hardswish, 1),
    Block(3, 184, 80, False, nn.Hardswish, 1),
    Block(3, 184, 80, False, nn.Hardswish, 1),
    Block(3, 480, 112, True, nn.Hardswish, 1),
    Block(3, 672, 112, True, nn.Hardswish, 1),
    Block(5, 672, 160, True, nn.Hardswish, 2),
    Block(5, 960, 160, True, nn.Hardswish, 1),
    Block(5, 960, 160, True, nn.Hardswish, 1),
)


@register("mobilenet_v3_small")
def mobilenet_v3_small(classes: Classes = 1000, width: Width = 1.0, dropout: Share = 0.2) -> nn.Module:
    """What is in the picture? Very small and quick, found by a search, for colour pictures of 224 x 224

    As `mobilenet_v3_large`, with fewer and narrower blocks; 2,542,856 parameters with 1000 classes.
    """
    return _mobilenet_v3(SMALL, 1024, classes, width, dropout)


@register("mobilenet_v3_large")
def mobilenet_v3_large(classes: Classes = 1000, width: Width = 1.0, dropout: Share = 0.2) -> nn.Module:
    """What is in the picture? Small and quick, found by a search, for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size. Output: (N, classes), logits. width: the width multiplier,
    which scales the channels of all layers. dropout: the share of values set to zero before the last dense layer while
    training. 5,483,032 parameters with 1000 classes: models/mobilenet_v3.py counts them. Layers have torchvision's
    names.
    """
    return _mobilenet_v3(LARGE, 1280, classes, width, dropout)


@start_by_fan_out(linear_std=0.01)
def _mobilenet_v3(blocks: tuple[Block, ...], last: int, classes: int, width: float,
                  dropout: float) -> nn.Module:
    """last: the channels between the two dense layers."""
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
    inputs = to_eights(16 * width)
    features: list[nn.Module] = [nn.ConvNormActivation(3, inputs, 3, stride=2, activation=nn.Hardswish, norm=norm)]
    for block in blocks:
        expanded, outputs = to_eights(block.expanded * width), to_eights(block.outputs * width)
        squeezed = to_eights(expanded // 4) if block.squeezes else 0
        features.append(nn.MobileNetV3Block(inputs, expanded, outputs, block.kernel, block.stride, squeezed,
                                            block.activation, norm=norm))
        inputs = outputs
    features.append(nn.ConvNormActivation(inputs, 6 * inputs, 1, activation=nn.Hardswish, norm=norm))
    hidden = to_eights(last * width)
    model = nn.Sequential({
        "features": nn.Sequential(*features),
        "avgpool": nn.GlobalAvgPool2d(),
        "flatten": nn.Flatten(),
        "classifier": nn.Sequential(nn.Linear(6 * inputs, hidden), nn.Hardswish(), nn.Dropout(dropout),
                                    nn.Linear(hidden, classes)),
    })
    model.input_shape = (224, 224, 3)
    return model
