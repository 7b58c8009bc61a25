"""Pre-activation ResNet: He, Zhang, Ren & Sun 2016, "Identity mappings in deep residual networks".

Norm and ReLU stand before each convolution instead of behind it, and nothing stands behind a block's sum, so that what
a block adds to goes on unchanged, to the next blocks and to their gradients. The first convolution has no norm and no
ReLU, as the first block begins with them; behind the last block come one more norm and ReLU (the paper's appendix). The
sizes are those of ResNet, see models/resnet.py; the stride is on the 3x3 convolution of a bottleneck, as there. All of
this is as in timm's resnetv2, whose layers have other names.

Parameters of all of them, by hand (those of a block stand with `nn.PreActBasicBlock` and `nn.PreActBottleneck`):

    conv1        7 * 7 * 3 * 64                             9,408

    PreActBasicBlock        the first   each other            18 layers           34 layers
    layer1   64 ->  64        73,984        73,984     x 2    147,968      x 3    221,952
    layer2   64 -> 128       229,760       295,424     x 2    525,184      x 4  1,116,032
    layer3  128 -> 256       918,272     1,180,672     x 2  2,098,944      x 6  6,821,632
    layer4  256 -> 512     3,671,552     4,720,640     x 2  8,392,192      x 3 13,112,832
    bn       2 * 512                                            1,024               1,024
    fc       512 * 1000 + 1000                                513,000             513,000
    with conv1                                             11,687,720          21,795,880

    PreActBottleneck        the first   each other            50 layers          101 layers          152 layers
    layer1     64 ->  256     74,112        70,400     x 3    214,912      x 3    214,912      x 3    214,912
    layer2    256 ->  512    377,856       280,064     x 4  1,218,048      x 4  1,218,048      x 8  2,338,304
    layer3    512 -> 1024  1,509,376     1,117,184     x 6  7,095,296     x 23 26,087,424     x 36 40,610,816
    layer4   1024 -> 2048  6,033,408     4,462,592     x 3 14,958,592      x 3 14,958,592      x 3 14,958,592
    bn       2 * 2048                                           4,096               4,096               4,096
    fc       2048 * 1000 + 1000                             2,049,000           2,049,000           2,049,000
    with conv1                                             25,549,352          44,541,480          60,185,128
"""

from .. import nn
from .options import Classes
from .registry import register
from .resnet import residual_stages
from .starting import start_by_fan_out


@register("preresnet18")
def preresnet18(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? A pre-activation residual network of 18 layers for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size. Output: (N, classes), logits. 11,687,720 parameters with 1000
    classes: models/preresnet.py counts them.
    """
    return _preresnet(nn.PreActBasicBlock, (2, 2, 2, 2), classes)


@register("preresnet34")
def preresnet34(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? A pre-activation residual network of 34 layers for colour pictures of 224 x 224

    As `preresnet18`, with more blocks; 21,795,880 parameters with 1000 classes.
    """
    return _preresnet(nn.PreActBasicBlock, (3, 4, 6, 3), classes)


@register("preresnet50")
def preresnet50(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? A pre-activation residual network of 50 layers for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size. Output: (N, classes), logits. 25,549,352 parameters with 1000
    classes: models/preresnet.py counts them.
    """
    return _preresnet(nn.PreActBottleneck, (3, 4, 6, 3), classes)


@register("preresnet101")
def preresnet101(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? A pre-activation residual network of 101 layers for colour pictures of 224 x 224

    As `preresnet50`, with more blocks; 44,541,480 parameters with 1000 classes.
    """
    return _preresnet(nn.PreActBottleneck, (3, 4, 23, 3), classes)


@register("preresnet152")
def preresnet152(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? A pre-activation residual network of 152 layers for colour pictures of 224 x 224

    As `preresnet50`, with more blocks; 60,185,128 parameters with 1000 classes.
    """
    return _preresnet(nn.PreActBottleneck, (3, 8, 36, 3), classes)


@start_by_fan_out()
def _preresnet(block: type[nn.PreActBasicBlock | nn.PreActBottleneck], counts: tuple[int, ...],
               classes: int) -> nn.Module:
    """counts: how many blocks each stage has."""
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
    }
    stages, features = residual_stages(block, counts)
    layers |= stages | {"bn": nn.BatchNorm2d(features), "relu": nn.ReLU(), "avgpool": nn.GlobalAvgPool2d(),
                        "flatten": nn.Flatten(), "fc": nn.Linear(features, classes)}
    model = nn.Sequential(layers)
    model.input_shape = (224, 224, 3)
    return model
