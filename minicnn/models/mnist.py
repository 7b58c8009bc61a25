"""The network for handwritten digits, as Chollet's "Deep Learning with Python" (2017, chapter 5) builds it."""

from .. import nn
from .options import Classes
from .registry import register


@register("mnist_net", aliases=("mnist", "fashion"))
def mnist_net(classes: Classes = 10) -> nn.Module:
    """Which digit is it? Three convolutions and two dense layers for grey pictures of 28 x 28

    Input: (N, 28, 28, 1), pixels from 0 to 1. Output: (N, classes), logits; their softmax is the probabilities.

    Parameters, by hand:

        0   Conv2d 3x3, 1 -> 32      3 * 3 * 1 * 32 + 32       =       320    28 -> 26, pooled to 13
        3   Conv2d 3x3, 32 -> 64     3 * 3 * 32 * 64 + 64      =    18,496    13 -> 11, pooled to 5
        6   Conv2d 3x3, 64 -> 64     3 * 3 * 64 * 64 + 64      =    36,928    5 -> 3
        9   Linear, 576 -> 64        3 * 3 * 64 * 64 + 64      =    36,928
        11  Linear, 64 -> 10         64 * 10 + 10              =       650
                                                                    93,322
    """
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3 * 3 * 64, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )
    model.input_shape = (28, 28, 1)
    return model
