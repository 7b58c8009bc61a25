"""ResNeXt and Wide ResNet: ResNets whose bottlenecks are divided into groups, or wider.

Xie, Girshick, Dollár, Tu & He 2017, "Aggregated residual transformations for deep neural networks" (table 1), and
Zagoruyko & Komodakis 2016, "Wide residual networks" (section 3, WRN-50-2-bottleneck). Both of 101 layers are
torchvision's.

"32x4d": 32 groups, of 4 channels each in the first stage. "50_2": the 3x3 convolutions of ResNet-50, 2 times as wide.
All else is as in models/resnet.py, so pictures of any size are taken.

Parameters of all of them, by hand: the first block of a stage and each other one, by the formula that stands with
`nn.Bottleneck`.

                             ResNeXt 32x4d           ResNeXt 32x8d           Wide ResNet 2
    layer1     64 ->  256       63,488    71,168       118,784   151,040       206,336    214,016
    layer2    256 ->  512      349,184   282,624       602,112   601,088       920,576    854,016
    layer3    512 -> 1024    1,390,592 1,126,400     2,400,256 2,398,208     3,676,160  3,411,968
    layer4   1024 -> 2048    5,550,080 4,497,408     9,584,640 9,580,544    14,692,352 13,639,680

                             ResNeXt-50 32x4d   ResNeXt-101 32x8d   Wide ResNet-50-2    Wide ResNet-101-2
    conv1, bn1                         9,536               9,536              9,536                9,536
    layer1                   x 3     205,824   x 3       420,864   x 3      634,368   x 3        634,368
    layer2                   x 4   1,197,056   x 4     2,405,376   x 4    3,482,624   x 4      3,482,624
    layer3                   x 6   7,022,592   x 23   55,160,832   x 6   20,736,000   x 23    78,739,456
    layer4                   x 3  14,544,896   x 3    28,745,728   x 3   41,971,712   x 3     41,971,712
    fc                             2,049,000           2,049,000          2,049,000            2,049,000
                                  25,028,904          88,791,336         68,883,240          126,886,696
"""

from functools import partial

from .. import nn
from .options import Classes
from .registry import register
from .resnet import build_resnet


@register("resnext50_32x4d")
def resnext50_32x4d(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? ResNet-50 with 32 groups of 4 channels, for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size. Output: (N, classes), logits. 25,028,904 parameters with 1000
    classes: models/resnext.py counts them. Layers have torchvision's names, as in all models here, and weights start as
    those of `resnet18` do.
    """
    return build_resnet(partial(nn.Bottleneck, groups=32, width=4), (3, 4, 6, 3), classes)


@register("resnext101_32x8d")
def resnext101_32x8d(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? ResNet-101 with 32 groups of 8 channels, for colour pictures of 224 x 224

    As `resnext50_32x4d`, with more and wider blocks; 88,791,336 parameters with 1000 classes.
    """
    return build_resnet(partial(nn.Bottleneck, groups=32, width=8), (3, 4, 23, 3), classes)


@register("wide_resnet50_2")
def wide_resnet50_2(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? ResNet-50 with 3x3 convolutions twice as wide, for colour pictures of 224 x 224

    As `resnet50`, but for the width; 68,883,240 parameters with 1000 classes: models/resnext.py counts them.
    """
    return build_resnet(partial(nn.Bottleneck, width=128), (3, 4, 6, 3), classes)


@register("wide_resnet101_2")
def wide_resnet101_2(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? ResNet-101 with 3x3 convolutions twice as wide, for colour pictures of 224 x 224

    As `resnet101`, but for the width; 126,886,696 parameters with 1000 classes: models/resnext.py counts them.
    """
    return build_resnet(partial(nn.Bottleneck, width=128), (3, 4, 23, 3), classes)
