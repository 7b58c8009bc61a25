"""SE-ResNet: Hu, Shen & Sun 2018, "Squeeze-and-excitation networks" (table 1).

The ResNets of models/resnet.py, in which each block weighs its channels before the sum. Channels are squeezed to one in
16, but to no fewer than 8, as in timm: that concerns the first stages of 18 and 34 layers.

Parameters of all of them, by hand: those of the ResNet, and for the squeeze of a block, from c to r channels and back,
2 * c * r + c + r:

    SEBasicBlock                each      SE-ResNet-18        SE-ResNet-34
    layer1     64 and   8      1,096     x 2     2,192       x 3     3,288
    layer2    128 and   8      2,184     x 2     4,368       x 4     8,736
    layer3    256 and  16      8,464     x 2    16,928       x 6    50,784
    layer4    512 and  32     33,312     x 2    66,624       x 3    99,936
    ResNet                                  11,689,512          21,797,672
                                            11,779,624          21,960,416

    SEBottleneck                each      SE-ResNet-50        SE-ResNet-101        SE-ResNet-152
    layer1    256 and  16      8,464     x 3    25,392       x 3     25,392       x 3     25,392
    layer2    512 and  32     33,312     x 4   133,248       x 4    133,248       x 8    266,496
    layer3   1024 and  64    132,160     x 6   792,960      x 23  3,039,680      x 36  4,757,760
    layer4   2048 and 128    526,464     x 3 1,579,392       x 3  1,579,392       x 3  1,579,392
    ResNet                                  25,557,032           44,549,160           60,192,808
                                            28,088,024           49,326,872           66,821,848
"""

from math import sqrt
from typing import Any

from .. import nn
from .options import Classes
from .registry import register
from .resnet import build_resnet


@register("seresnet18")
def seresnet18(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? ResNet-18 that weighs its channels, for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size. Output: (N, classes), logits. 11,779,624 parameters with 1000
    classes: models/seresnet.py counts them. Layers have timm's names, as in all SE-ResNets here.

    Weights start as those of `resnet18`, but the last norm of each block scales by 0, so that a block passes on what
    comes in (Goyal et al. 2017, "Accurate, large minibatch SGD", section 5.1).
    """
    return _seresnet(nn.SEBasicBlock, (2, 2, 2, 2), classes)


@register("seresnet34")
def seresnet34(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? ResNet-34 that weighs its channels, for colour pictures of 224 x 224

    As `seresnet18`, with more blocks; 21,960,416 parameters with 1000 classes.
    """
    return _seresnet(nn.SEBasicBlock, (3, 4, 6, 3), classes)


@register("seresnet50")
def seresnet50(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? ResNet-50 that weighs its channels, for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size. Output: (N, classes), logits. 28,088,024 parameters with 1000
    classes: models/seresnet.py counts them. Weights start as those of `seresnet18` do.
    """
    return _seresnet(nn.SEBottleneck, (3, 4, 6, 3), classes)


@register("seresnet101")
def seresnet101(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? ResNet-101 that weighs its channels, for colour pictures of 224 x 224

    As `seresnet50`, with more blocks; 49,326,872 parameters with 1000 classes.
    """
    return _seresnet(nn.SEBottleneck, (3, 4, 23, 3), classes)


@register("seresnet152")
def seresnet152(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? ResNet-152 that weighs its channels, for colour pictures of 224 x 224

    As `seresnet50`, with more blocks; 66,821,848 parameters with 1000 classes.
    """
    return _seresnet(nn.SEBottleneck, (3, 8, 36, 3), classes)


def _seresnet(kind: type[nn.SEBasicBlock | nn.SEBottleneck], counts: tuple[int, ...],
              classes: int) -> nn.Module:
    """counts: how many blocks each stage has."""

    def block(inputs: int, channels: int, stride: int = 1) -> nn.Module:
        reduction = min(16, kind.expansion * channels // 8)  # to no fewer than 8
        return kind(inputs, channels, stride, reduction)

    model = build_resnet(block, counts, classes)
    for module in model.modules():
        if isinstance(module, kind):
            _start(module)
    return model


def _start(block: Any) -> None:
    """What starts otherwise than in a ResNet: the last norm, and the biases of the squeeze, drawn as Conv2d does."""
    nn.init.zeros_((block.bn3 if hasattr(block, "bn3") else block.bn2).weight)
    for layer in (block.se.fc1, block.se.fc2):
        bound = 1 / sqrt(layer.in_channels)
        nn.init.uniform_(layer.bias, -bound, bound)
