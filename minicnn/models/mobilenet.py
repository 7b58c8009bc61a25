"""MobileNet and MobileNetV2: networks of depthwise convolutions, for phones.

Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto & Adam 2017, "MobileNets: Efficient convolutional neural
networks for mobile vision applications"; Sandler, Howard, Zhu, Zhmoginov & Chen 2018, "MobileNetV2: Inverted residuals
and linear bottlenecks".
"""

from .. import nn
from .options import Classes, Share, Width
from .registry import register
from .starting import start_by_fan_out

# Output channels and stride of the separable convolutions: table 1 of the paper of 2017 (which gives the last of them
# stride 2, but the same size before and behind it).
SEPARABLE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))

# Expansion, output channels, number of blocks, stride of the first: table 2 of the paper of 2018.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


@register("mobilenet_v1")
@start_by_fan_out(linear_std=0.01)
def mobilenet_v1(classes: Classes = 1000, width: Width = 1.0, dropout: Share = 0.001) -> nn.Module:
    """What is in the picture? Small and quick, of separable convolutions, for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size. Output: (N, classes), logits. width: the paper's width
    multiplier, which scales the channels of all layers (section 3.3; it has 1, 0.75, 0.5 and 0.25). dropout: the share
    of values set to zero before the dense layer while training; the authors' program, too, has 0.001. Layers have names
    after those of `mobilenet_v2`.

    Parameters, by hand (those of a block stand with `nn.DepthwiseSeparable`):

        features
        0       3x3 stride 2, 3 -> 32     864 + 64             =       928    112 x 112
        1       32 -> 64                                             2,528    112
        2       64 -> 128                                            9,152    56
        3       128 -> 128                                          18,048    56
        4       128 -> 256                                          34,688    28
        5       256 -> 256                                          68,864    28
        6       256 -> 512                                         134,912    14
        7-11    512 -> 512                5 * 268,800          = 1,344,000    14
        12      512 -> 1024                                        531,968    7
        13      1024 -> 1024                                     1,061,888    7, pooled to 1
        classifier
        1       Linear, 1024 -> 1000      1024 * 1000 + 1000   = 1,025,000
                                                                 4,231,976
    """
    inputs = to_eights(32 * width)
    features: list[nn.Module] = [nn.ConvNormActivation(3, inputs, 3, stride=2)]
    for channels, stride in SEPARABLE:
        outputs = to_eights(channels * width)
        features.append(nn.DepthwiseSeparable(inputs, outputs, stride))
        inputs = outputs
    return _classifier_of(features, inputs, classes, dropout)


@register("mobilenet_v2")
@start_by_fan_out(linear_std=0.01)
def mobilenet_v2(classes: Classes = 1000, width: Width = 1.0, dropout: Share = 0.2) -> nn.Module:
    """What is in the picture? Small and quick, of inverted residuals, for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size. Output: (N, classes), logits. width: the paper's width
    multiplier, which scales the channels of all layers, but the last convolution's only above 1 (section 4). dropout:
    the share of values set to zero before the dense layer while training. Layers have torchvision's names.

    Parameters, by hand (those of a block stand with `nn.InvertedResidual`; t is its expand_ratio, 6 where not given):

        features
        0       3x3 stride 2, 3 -> 32     864 + 64             =       928    112 x 112
        1       32 -> 16, t = 1                                        896    112
        2       16 -> 24                                             5,136    56
        3       24 -> 24                                             8,832    56
        4       24 -> 32                                            10,000    28
        5-6     32 -> 32                  2 *  14,848          =    29,696    28
        7       32 -> 64                                            21,056    14
        8-10    64 -> 64                  3 *  54,272          =   162,816    14
        11      64 -> 96                                            66,624    14
        12-13   96 -> 96                  2 * 118,272          =   236,544    14
        14      96 -> 160                                          155,264    7
        15-16   160 -> 160                2 * 320,000          =   640,000    7
        17      160 -> 320                                         473,920    7
        18      1x1, 320 -> 1280          409,600 + 2,560      =   412,160    7, pooled to 1
        classifier
        1       Linear, 1280 -> 1000      1280 * 1000 + 1000   = 1,281,000
                                                                 3,504,872
    """
    inputs = to_eights(32 * width)
    features: list[nn.Module] = [nn.ConvNormActivation(3, inputs, 3, stride=2, activation=nn.ReLU6)]
    for expansion, channels, count, stride in STAGES:
        outputs = to_eights(channels * width)
        for number in range(count):
            features.append(nn.InvertedResidual(inputs, outputs, stride if number == 0 else 1, expansion))
            inputs = outputs
    last = to_eights(1280 * max(1.0, width))
    features.append(nn.ConvNormActivation(inputs, last, 1, activation=nn.ReLU6))
    return _classifier_of(features, last, classes, dropout)


def _classifier_of(features: list[nn.Module], channels: int, classes: int, dropout: float) -> nn.Module:
    """channels: those that come out of the features."""
    model = nn.Sequential({
        "features": nn.Sequential(*features),
        "avgpool": nn.GlobalAvgPool2d(),
        "flatten": nn.Flatten(),
        "classifier": nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, classes)),
    })
    model.input_shape = (224, 224, 3)
    return model


def to_eights(channels: float) -> int:
    """The nearest multiple of 8, but at least 8, and not less than 0.9 of what was asked for."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
