"""Inception v3: Szegedy, Vanhoucke, Ioffe, Shlens & Wojna 2015, "Rethinking the Inception architecture for computer
vision" (table 1 and section 6), as torchvision has it.

Eleven Inception blocks (nn/inception.py draws them) behind five convolutions; three of them at 35 x 35 pixels, four at
17 x 17, two at 8 x 8, and two in between that halve the picture. While it is trained, a small classifier behind the
17 x 17 pixels gives its opinion too: the model then returns `InceptionOutputs`, and `inception_v3_loss` takes them.

Parameters, by hand. A convolution of k x k from i to o channels has k * k * i * o + 2 * o, its norm included; those of
a block stand with `nn.InceptionA` to `nn.InceptionE`.

    Conv2d_1a_3x3    3x3 stride 2, 3 -> 32    864 + 64                        928    149 x 149
    Conv2d_2a_3x3    3x3, 32 -> 32            9,216 + 64                    9,280    147
    Conv2d_2b_3x3    3x3, 32 -> 64            18,432 + 128                 18,560    147, pooled to 73
    Conv2d_3b_1x1    1x1, 64 -> 80            5,120 + 160                   5,280    73
    Conv2d_4a_3x3    3x3, 80 -> 192           138,240 + 384               138,624    71, pooled to 35
    Mixed_5b         A, 192 -> 256                                        255,904    35
    Mixed_5c         A, 256 -> 288                                        277,472    35
    Mixed_5d         A, 288 -> 288                                        285,152    35
    Mixed_6a         B, 288 -> 768                                      1,153,280    17
    Mixed_6b         C, 768 -> 768 by 128                               1,297,408    17
    Mixed_6c, 6d     C, 768 -> 768 by 160     2 * 1,691,008             3,382,016    17
    Mixed_6e         C, 768 -> 768 by 192                               2,141,952    17
    Mixed_7a         D, 768 -> 1280                                     1,698,304    8
    Mixed_7b         E, 1280 -> 2048                                    5,044,608    8
    Mixed_7c         E, 2048 -> 2048                                    6,076,800    8, pooled to 1
    fc               2048 * 1000 + 1000                                 2,049,000
    without the auxiliary classifier                                   23,834,568
    AuxLogits        768 -> 128 -> 768 -> 1000                          3,326,696
    with it                                                            27,161,264
"""

from typing import Any, NamedTuple

from .. import nn
from ..nn import functional as F
from ..nn.fuse import run
from ..tensor import Tensor
from .googlenet import other_statistics
from .options import Classes, Flag, Share
from .registry import register


class InceptionOutputs(NamedTuple):
    """What the model returns in training mode: logits, (N, classes), of itself and of its auxiliary classifier."""

    logits: Tensor
    aux_logits: Tensor


class InceptionAux(nn.Module):
    """The auxiliary classifier: two convolutions, of which the second sees all of the pooled picture, and a dense
    layer.

        x -- average pool 5x5, stride 3 -- conv0: 1x1 128 -- conv1: 5x5 768 -- avgpool -- flatten -- fc -- y
             5 x 5 pixels                                    1 x 1

    x: (N, H, W, in_channels), 17 x 17 pixels at least; y: (N, classes). The sizes below are those of 17 x 17.

    Parameters, with c = in_channels: 128 * c + 256, 2,457,600 + 1,536, and 769 * classes. That is 98,560 + 2,459,136 +
    769,000 = 3,326,696 for 768 channels and 1000 classes.

    Szegedy et al. 2015, section 4 and figure 8.
    """

    torch_flatten = {"fc": None}

    def __init__(self, in_channels: int, classes: int):
        super().__init__()
        self.pool = nn.AvgPool2d(5, stride=3)
        self.conv0 = nn.BasicConv2d(in_channels, 128, 1)
        self.conv1 = nn.BasicConv2d(128, 768, 5)
        self.avgpool = nn.GlobalAvgPool2d()
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        return run(x, self.pool, self.conv0, self.conv1, self.avgpool, self.flatten, self.fc)


class InceptionV3(nn.Module):
    """The network. Arguments as for the model "inception_v3"."""

    torch_flatten = {"fc": None}

    def __init__(self, classes: int = 1000, aux_logits: bool = True, transform_input: bool = False,
                 dropout: float = 0.5):
        super().__init__()
        self.transform_input = transform_input
        self.Conv2d_1a_3x3 = nn.BasicConv2d(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = nn.BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = nn.BasicConv2d(32, 64, 3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = nn.BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = nn.BasicConv2d(80, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = nn.InceptionA(192, pool_features=32)
        self.Mixed_5c = nn.InceptionA(256, pool_features=64)
        self.Mixed_5d = nn.InceptionA(288, pool_features=64)
        self.Mixed_6a = nn.InceptionB(288)
        self.Mixed_6b = nn.InceptionC(768, channels_7x7=128)
        self.Mixed_6c = nn.InceptionC(768, channels_7x7=160)
        self.Mixed_6d = nn.InceptionC(768, channels_7x7=160)
        self.Mixed_6e = nn.InceptionC(768, channels_7x7=192)
        self.AuxLogits = InceptionAux(768, classes) if aux_logits else None
        self.Mixed_7a = nn.InceptionD(768)
        self.Mixed_7b = nn.InceptionE(1280)
        self.Mixed_7c = nn.InceptionE(2048)
        self.avgpool = nn.GlobalAvgPool2d()
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, classes)

    def forward(self, x: Tensor) -> Any:
        x = other_statistics(x) if self.transform_input else x
        x = run(x, self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3, self.maxpool1)
        x = run(x, self.Conv2d_3b_1x1, self.Conv2d_4a_3x3, self.maxpool2)
        x = run(x, self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a)
        x = below = run(x, self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e)
        x = run(x, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c)
        logits = run(x, self.avgpool, self.flatten, self.dropout, self.fc)
        if not self.training or self.AuxLogits is None:
            return logits
        return InceptionOutputs(logits, self.AuxLogits(below))


def inception_v3_loss(outputs: Tensor | InceptionOutputs, labels: Tensor, weight: float = 0.4) -> Tensor:
    """The cross entropy of the logits, plus `weight` times that of the auxiliary classifier where it gave its own.

    outputs: what the model returned, in training or outside of it. labels: as for `functional.cross_entropy`. The
    weight is that of the authors' own training.

    >>> import math, minicnn as mc
    >>> even = mc.zeros(2, 4)  # each of four classes is as likely
    >>> round(inception_v3_loss(InceptionOutputs(even, even), mc.tensor([3, 1])).item() / math.log(4), 6)
    1.4
    """
    if isinstance(outputs, Tensor):
        return F.cross_entropy(outputs, labels)
    return F.cross_entropy(outputs.logits, labels) + weight * F.cross_entropy(outputs.aux_logits, labels)


@register("inception_v3")
def inception_v3(classes: Classes = 1000, aux_logits: Flag = True, transform_input: Flag = False,
                 dropout: Share = 0.5) -> nn.Module:
    """What is in the picture? Convolutions of 7x7 taken apart into 1x7 and 7x1, for colour pictures of 299 x 299

    Input: (N, 299, 299, 3), or pictures of another size, 75 x 75 at least. Output: (N, classes), logits; in training
    mode `InceptionOutputs`, which `models.inception_v3.inception_v3_loss` takes, unless aux_logits is False: with the
    auxiliary classifier, training needs at least two pictures at a time, of at least 299 x 299. 27,161,264 parameters
    with 1000 classes, 23,834,568 of them without the auxiliary classifier: models/inception_v3.py counts them. Layers
    have torchvision's names.

    transform_input: pictures come normalised by ImageNet's mean and standard deviation, and are brought to a mean and
    deviation of 0.5 first, which torchvision's weights were trained with. dropout: the share of values set to zero
    before the last dense layer while training; the authors' own program has 0.2, and leaves the padding out of what
    pools average.

    Weights start normal with standard deviation 0.1, those of the auxiliary classifier's dense layer 0.001, all cut off
    at -2 and 2; the biases of the dense layers as Linear's do.
    """
    with nn.init.undrawn():  # each layer's own start would be drawn for nothing
        model = InceptionV3(classes, aux_logits, transform_input, dropout)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()  # for the bias
        if isinstance(module, nn.Conv2d | nn.Linear):
            auxiliary = model.AuxLogits is not None and module is model.AuxLogits.fc
            nn.init.trunc_normal_(module.weight, 0, 0.001 if auxiliary else 0.1)
    model.input_shape = (299, 299, 3)
    return model
