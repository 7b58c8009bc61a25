"""VGG: Simonyan & Zisserman 2014, "Very deep convolutional networks for large-scale image recognition" (table 1).

Five stages of 3x3 convolutions with ReLU, each ended by a max pooling that halves the picture, and three dense layers.

Parameters of all of them, by hand. The first convolution of a stage and each other one, 9 * in * out + out:

    stage 1    3 ->  64       1,792      64 ->  64      36,928
    stage 2   64 -> 128      73,856     128 -> 128     147,584
    stage 3  128 -> 256     295,168     256 -> 256     590,080
    stage 4  256 -> 512   1,180,160     512 -> 512   2,359,808
    stage 5  512 -> 512   2,359,808     512 -> 512   2,359,808

               VGG-11             VGG-13             VGG-16             VGG-19
    stage 1    x 1        1,792   x 2       38,720   x 2       38,720   x 2       38,720
    stage 2    x 1       73,856   x 2      221,440   x 2      221,440   x 2      221,440
    stage 3    x 2      885,248   x 2      885,248   x 3    1,475,328   x 4    2,065,408
    stage 4    x 2    3,539,968   x 2    3,539,968   x 3    5,899,776   x 4    8,259,584
    stage 5    x 2    4,719,616   x 2    4,719,616   x 3    7,079,424   x 4    9,439,232
    Linear          123,642,856        123,642,856        123,642,856        123,642,856
                    132,863,336        133,047,848        138,357,544        143,667,240

The three Linear are 7 * 7 * 512 -> 4096, 102,764,544; 4096 -> 4096, 16,781,312; and 4096 -> 1000, 4,097,000.
"""

from .. import nn
from .options import Classes, Share
from .registry import register
from .starting import start_by_fan_out

SIZE = 7  # of the picture that meets the dense layers


@register("vgg11")
def vgg11(classes: Classes = 1000, dropout: Share = 0.5) -> nn.Module:
    """What is in the picture? Eleven layers, 3x3 convolutions and three dense, for colour pictures of 224 x 224

    As `vgg16`, with fewer convolutions; 132,863,336 parameters with 1000 classes.
    """
    return _vgg((1, 1, 2, 2, 2), classes, dropout)


@register("vgg13")
def vgg13(classes: Classes = 1000, dropout: Share = 0.5) -> nn.Module:
    """What is in the picture? Thirteen layers, 3x3 convolutions and three dense, for colour pictures of 224 x 224

    As `vgg16`, with fewer convolutions; 133,047,848 parameters with 1000 classes.
    """
    return _vgg((2, 2, 2, 2, 2), classes, dropout)


@register("vgg16")
def vgg16(classes: Classes = 1000, dropout: Share = 0.5) -> nn.Module:
    """What is in the picture? Sixteen layers, 3x3 convolutions and three dense, for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size of at least 32 x 32, whose features are then pooled to 7 x 7,
    as torchvision does. Output: (N, classes), logits. dropout: the share of values that the two dropout layers set to
    zero while training. 138,357,544 parameters with 1000 classes: models/vgg.py counts them. Layers have torchvision's
    names, as in all VGGs here.
    """
    return _vgg((2, 2, 3, 3, 3), classes, dropout)


@register("vgg16_bn")
def vgg16_bn(classes: Classes = 1000, dropout: Share = 0.5) -> nn.Module:
    """What is in the picture? The sixteen layers of vgg16 with batch norm behind each convolution

    As `vgg16`, and 2 * 4,224 parameters for the norms of 4,224 channels: 138,365,992 with 1000 classes.
    """
    return _vgg((2, 2, 3, 3, 3), classes, dropout, norm=True)


@register("vgg19")
def vgg19(classes: Classes = 1000, dropout: Share = 0.5) -> nn.Module:
    """What is in the picture? Nineteen layers, 3x3 convolutions and three dense, for colour pictures of 224 x 224

    As `vgg16`, with more convolutions; 143,667,240 parameters with 1000 classes.
    """
    return _vgg((2, 2, 4, 4, 4), classes, dropout)


@start_by_fan_out(linear_std=0.01)
def _vgg(counts: tuple[int, ...], classes: int, dropout: float, norm: bool = False) -> nn.Module:
    """counts: how many convolutions each stage has. norm: batch norm behind each of them."""
    features: list[nn.Module] = []
    inputs = 3
    for outputs, count in zip((64, 128, 256, 512, 512), counts, strict=True):
        for _ in range(count):
            features += [nn.Conv2d(inputs, outputs, 3, padding=1), *([nn.BatchNorm2d(outputs)] if norm else []),
                         nn.ReLU()]
            inputs = outputs
        features.append(nn.MaxPool2d(2))
    classifier = nn.Sequential(
        nn.Linear(SIZE * SIZE * inputs, 4096), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(4096, classes),
    )  # fmt: skip
    model = nn.Sequential({"features": nn.Sequential(*features), "avgpool": nn.AdaptiveAvgPool2d(SIZE),
                           "flatten": nn.Flatten(), "classifier": classifier})
    model.input_shape = (224, 224, 3)
    return model
