"""GoogLeNet: Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke & Rabinovich 2014, "Going deeper with
convolutions" (table 1), as torchvision has it: with batch norm, and a 3x3 where the Inception blocks had a 5x5.

Nine Inception blocks behind three convolutions; a pooling over the whole picture instead of large dense layers. While
it is trained, two small classifiers halfway up give their opinion too, so that the lower layers get a gradient of some
size (section 5): the model then returns `GoogLeNetOutputs`, and `googlenet_loss` takes them.

Parameters, by hand. A convolution of k x k from i to o channels has k * k * i * o + 2 * o, its norm included; an
Inception block of `channels` (a, b', b, c', c, d) from i channels has i * (a + b' + c' + d) + 9 * b' * b + 9 * c' * c +
2 * (a + b' + b + c' + c + d).

    conv1        7x7 stride 2, 3 -> 64        9,408 + 128                                    9,536    112 x 112
    conv2        1x1, 64 -> 64                4,096 + 128                                    4,224    56
    conv3        3x3, 64 -> 192               110,592 + 384                                110,976    56
    inception3a  192 -> 256                   39,936 + 110,592 +  4,608 +   736            155,872    28
    inception3b  256 -> 480                   90,112 + 221,184 + 27,648 + 1,280            340,224    28
    inception4a  480 -> 512                  176,640 + 179,712 +  6,912 + 1,248            364,512    14
    inception4b  512 -> 512                  184,320 + 225,792 + 13,824 + 1,296            425,232    14
    inception4c  512 -> 512                  176,128 + 294,912 + 13,824 + 1,328            486,192    14
    inception4d  512 -> 528                  180,224 + 373,248 + 18,432 + 1,408            573,312    14
    inception4e  528 -> 832                  304,128 + 460,800 + 36,864 + 2,048            803,840    14
    inception5a  832 -> 832                  479,232 + 460,800 + 36,864 + 2,048            978,944    7
    inception5b  832 -> 1024                 625,664 + 663,552 + 55,296 + 2,528          1,347,040    7, pooled to 1
    fc           1024 * 1000 + 1000                                                      1,025,000
    without the auxiliary classifiers                                                    6,624,904
    aux1         1x1, 512 -> 128; 2048 -> 1024 -> 1000     65,792 + 2,098,176 + 1,025,000    3,188,968
    aux2         1x1, 528 -> 128; 2048 -> 1024 -> 1000     67,840 + 2,098,176 + 1,025,000    3,191,016
    with them                                                                           13,004,888
"""

from functools import partial
from typing import Any, NamedTuple

from .. import nn
from ..nn import functional as F
from ..nn.fuse import run
from ..tensor import Tensor, tensor
from .options import Classes, Flag, Share
from .registry import register

#: Mean and standard deviation of ImageNet's colours; those that transform_input turns into means and deviations of 0.5.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


#: Torchvision's weights have 3x3 filters where the paper has 5x5.
_inception = partial(nn.Inception, kernel5x5=3)


class GoogLeNetOutputs(NamedTuple):
    """What the model returns in training mode: logits, (N, classes), of itself and of its two auxiliary classifiers."""

    logits: Tensor
    aux_logits2: Tensor
    aux_logits1: Tensor


class InceptionAux(nn.Module):
    """An auxiliary classifier: the picture brought to 4 x 4 pixels, a 1x1 convolution to 128 channels, two dense
    layers.

        x -- average pool to 4 x 4 -- conv 1x1 -- flatten -- fc1 -- relu -- dropout -- fc2 -- y

    x: (N, H, W, in_channels), y: (N, classes).
    """

    torch_flatten = {"fc1": 128, "fc2": None}

    def __init__(self, in_channels: int, classes: int, dropout: float = 0.7):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv = nn.BasicConv2d(in_channels, 128, 1)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(4 * 4 * 128, 1024)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        return run(x, self.pool, self.conv, self.flatten, self.fc1, self.relu, self.dropout, self.fc2)


class GoogLeNet(nn.Module):
    """The network. Arguments as for the model "googlenet"."""

    torch_flatten = {"fc": None}

    def __init__(self, classes: int = 1000, aux_logits: bool = True, transform_input: bool = False,
                 dropout: float = 0.2, dropout_aux: float = 0.7):
        super().__init__()
        self.transform_input = transform_input
        self.conv1 = nn.BasicConv2d(3, 64, 7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = nn.BasicConv2d(64, 64, 1)
        self.conv3 = nn.BasicConv2d(64, 192, 3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = _inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = _inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = _inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = _inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = _inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = _inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = _inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = _inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = _inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = InceptionAux(512, classes, dropout_aux) if aux_logits else None
        self.aux2 = InceptionAux(528, classes, dropout_aux) if aux_logits else None
        self.avgpool = nn.GlobalAvgPool2d()
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Any:
        x = other_statistics(x) if self.transform_input else x
        x = run(x, self.conv1, self.maxpool1, self.conv2, self.conv3, self.maxpool2)
        x = below1 = run(x, self.inception3a, self.inception3b, self.maxpool3, self.inception4a)
        x = below2 = run(x, self.inception4b, self.inception4c, self.inception4d)
        x = run(x, self.inception4e, self.maxpool4, self.inception5a, self.inception5b)
        logits = run(x, self.avgpool, self.flatten, self.dropout, self.fc)
        if not self.training or self.aux1 is None or self.aux2 is None:
            return logits
        return GoogLeNetOutputs(logits, self.aux2(below2), self.aux1(below1))


def other_statistics(x: Tensor) -> Tensor:
    """Pictures normalised by ImageNet's statistics, (x - MEAN) / STD, as ones normalised by 0.5 and 0.5."""
    scale = tensor([std / 0.5 for std in STD], dtype=x.dtype)
    shift = tensor([(mean - 0.5) / 0.5 for mean in MEAN], dtype=x.dtype)
    return x * scale.to(x.device) + shift.to(x.device)


def googlenet_loss(outputs: Tensor | GoogLeNetOutputs, labels: Tensor, weight: float = 0.3) -> Tensor:
    """The cross entropy of the logits, plus `weight` times that of each auxiliary classifier where they gave theirs.

    outputs: what the model returned, in training or outside of it. labels: as for `functional.cross_entropy`. Szegedy
    et al. 2014, section 5.

    >>> import math, minicnn as mc
    >>> even = mc.zeros(2, 4)  # each of four classes is as likely
    >>> round(googlenet_loss(GoogLeNetOutputs(even, even, even), mc.tensor([3, 1])).item() / math.log(4), 6)
    1.6
    """
    if isinstance(outputs, Tensor):
        return F.cross_entropy(outputs, labels)
    auxiliary = F.cross_entropy(outputs.aux_logits1, labels) + F.cross_entropy(outputs.aux_logits2, labels)
    return F.cross_entropy(outputs.logits, labels) + weight * auxiliary


@register("googlenet")
def googlenet(classes: Classes = 1000, aux_logits: Flag = True, transform_input: Flag = False, dropout: Share = 0.2,
              dropout_aux: Share = 0.7) -> nn.Module:
    """What is in the picture? Convolutions of several sizes side by side, for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size. Output: (N, classes), logits; in training mode
    `GoogLeNetOutputs`, which `models.googlenet.googlenet_loss` takes, unless aux_logits is False. 13,004,888 parameters
    with 1000 classes, 6,624,904 of them without the auxiliary classifiers: models/googlenet.py counts them. Layers have
    torchvision's names.

    transform_input: pictures come normalised by ImageNet's mean and standard deviation, and are brought to a mean and
    deviation of 0.5 first, which torchvision's weights were trained with. dropout, dropout_aux: the share of values set
    to zero before the last dense layer, and in the auxiliary classifiers, while training.

    Weights start normal with standard deviation 0.01, biases as 0.
    """
    with nn.init.undrawn():  # each layer's own start would be drawn for nothing
        model = GoogLeNet(classes, aux_logits, transform_input, dropout, dropout_aux)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
    model.input_shape = (224, 224, 3)
    return model
