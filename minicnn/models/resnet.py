"""ResNet: He, Zhang, Ren & Sun 2015, "Deep residual learning for image recognition" (table 1).

A 7x7 convolution and max pooling bring pictures of 224 x 224 to 56 x 56; four stages of residual blocks follow, at
56, 28, 14 and 7 pixels, of which each but the first begins with stride 2. The pooling behind them is over the whole
picture, so pictures of any size are taken.

Parameters of all of them, by hand (those of a block stand with `nn.BasicBlock` and `nn.Bottleneck`):

    conv1, bn1   7 * 7 * 3 * 64 + 2 * 64                  9,536

    BasicBlock              the first   each other            ResNet-18           ResNet-34
    layer1   64 ->  64        73,984        73,984     x 2    147,968      x 3    221,952
    layer2   64 -> 128       230,144       295,424     x 2    525,568      x 4  1,116,416
    layer3  128 -> 256       919,040     1,180,672     x 2  2,099,712      x 6  6,822,400
    layer4  256 -> 512     3,673,088     4,720,640     x 2  8,393,728      x 3 13,114,368
    fc       512 * 1000 + 1000                                513,000             513,000
    with conv1 and bn1                                     11,689,512          21,797,672

    Bottleneck              the first   each other            ResNet-50           ResNet-101          ResNet-152
    layer1     64 ->  256     75,008        70,400     x 3    215,808      x 3    215,808      x 3    215,808
    layer2    256 ->  512    379,392       280,064     x 4  1,219,584      x 4  1,219,584      x 8  2,339,840
    layer3    512 -> 1024  1,512,448     1,117,184     x 6  7,098,368     x 23 26,090,496     x 36 40,613,888
    layer4   1024 -> 2048  6,039,552     4,462,592     x 3 14,964,736      x 3 14,964,736      x 3 14,964,736
    fc       2048 * 1000 + 1000                             2,049,000           2,049,000           2,049,000
    with conv1 and bn1                                     25,557,032          44,549,160          60,192,808
"""

from collections.abc import Callable

from .. import nn
from .options import Classes
from .registry import register
from .starting import start_by_fan_out


@register("resnet18")
def resnet18(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? A residual network of 18 layers for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size. Output: (N, classes), logits. 11,689,512 parameters with 1000
    classes: models/resnet.py counts them. Layers have torchvision's names, as in all ResNets here.
    """
    return build_resnet(nn.BasicBlock, (2, 2, 2, 2), classes)


@register("resnet34")
def resnet34(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? A residual network of 34 layers for colour pictures of 224 x 224

    As `resnet18`, with more blocks; 21,797,672 parameters with 1000 classes.
    """
    return build_resnet(nn.BasicBlock, (3, 4, 6, 3), classes)


@register("resnet50")
def resnet50(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? A residual network of 50 layers for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size. Output: (N, classes), logits. 25,557,032 parameters with 1000
    classes: models/resnet.py counts them.
    """
    return build_resnet(nn.Bottleneck, (3, 4, 6, 3), classes)


@register("resnet101")
def resnet101(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? A residual network of 101 layers for colour pictures of 224 x 224

    As `resnet50`, with more blocks; 44,549,160 parameters with 1000 classes.
    """
    return build_resnet(nn.Bottleneck, (3, 4, 23, 3), classes)


@register("resnet152")
def resnet152(classes: Classes = 1000) -> nn.Module:
    """What is in the picture? A residual network of 152 layers for colour pictures of 224 x 224

    As `resnet50`, with more blocks; 60,192,808 parameters with 1000 classes.
    """
    return build_resnet(nn.Bottleneck, (3, 8, 36, 3), classes)


@start_by_fan_out()
def build_resnet(block: Callable[..., nn.Module], counts: tuple[int, ...], classes: int) -> nn.Module:
    """block: called as block(in_channels, channels, stride=...), makes one. counts: how many of them each stage has."""
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(64),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
    }
    stages, features = residual_stages(block, counts)
    layers |= stages | {"avgpool": nn.GlobalAvgPool2d(), "flatten": nn.Flatten(), "fc": nn.Linear(features, classes)}
    model = nn.Sequential(layers)
    model.input_shape = (224, 224, 3)
    return model


def residual_stages(block: Callable[..., nn.Module], counts: tuple[int, ...]) -> tuple[dict[str, nn.Module], int]:
    """layer1 to layer4, from 64 channels on, and the channels that come out. Arguments as of build_resnet."""
    stages: dict[str, nn.Module] = {}
    inputs = 64
    for number, count in enumerate(counts, start=1):
        channels = 32 << number  # 64, 128, 256, 512
        first = block(inputs, channels, stride=1 if number == 1 else 2)
        inputs = first.out_channels
        stages[f"layer{number}"] = nn.Sequential(first, *[block(inputs, channels) for _ in range(count - 1)])
    return stages, inputs
