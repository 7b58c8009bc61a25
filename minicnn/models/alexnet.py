"""AlexNet: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks".

The one of a single tower, without local response normalisation, as torchvision has it. The two towers of Krizhevsky,
Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks", had other numbers of
channels.
"""

from .. import nn
from .options import Classes, Share
from .registry import register

SIZE = 6  # of the picture that meets the dense layers


@register("alexnet")
def alexnet(classes: Classes = 1000, dropout: Share = 0.5) -> nn.Module:
    """What is in the picture? Five convolutions and three dense layers, for colour pictures of 224 x 224

    Input: (N, 224, 224, 3), or pictures of another size of at least 63 x 63, whose features are then pooled to 6 x 6,
    as torchvision does. Output: (N, classes), logits. dropout: the share of values that the two dropout layers set to
    zero while training. Layers have torchvision's names.

    Parameters, by hand:

        features
        0     11x11 stride 4, 3 -> 64     11 * 11 * 3 * 64 + 64        =     23,296    55 x 55, pooled to 27
        3     5x5, 64 -> 192              5 * 5 * 64 * 192 + 192       =    307,392    27, pooled to 13
        6     3x3, 192 -> 384             3 * 3 * 192 * 384 + 384      =    663,936    13
        8     3x3, 384 -> 256             3 * 3 * 384 * 256 + 256      =    884,992    13
        10    3x3, 256 -> 256             3 * 3 * 256 * 256 + 256      =    590,080    13, pooled to 6
        classifier
        1     Linear, 9216 -> 4096        6 * 6 * 256 * 4096 + 4096    = 37,752,832
        4     Linear, 4096 -> 4096        4096 * 4096 + 4096           = 16,781,312
        6     Linear, 4096 -> 1000        4096 * 1000 + 1000           =  4,097,000
                                                                         61,100,840

    Weights start as those of each layer do by themselves.
    """
    features = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2),
    )  # fmt: skip
    classifier = nn.Sequential(
        nn.Dropout(dropout), nn.Linear(SIZE * SIZE * 256, 4096), nn.ReLU(),
        nn.Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, classes),
    )  # fmt: skip
    model = nn.Sequential({"features": features, "avgpool": nn.AdaptiveAvgPool2d(SIZE), "flatten": nn.Flatten(),
                           "classifier": classifier})
    model.input_shape = (224, 224, 3)
    return model
