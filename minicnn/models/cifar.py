"""The network for CIFAR-10: six convolutions in three pairs, each pair followed by pooling and dropout."""

from .. import nn
from .options import Classes
from .registry import register


@register("cifar10_net", aliases=("cifar10",))
def cifar10_net(classes: Classes = 10, dropout_scale: float = 1.0) -> nn.Module:
    """What is in the picture? Six convolutions with batch norm and GELU for colour pictures of 32 x 32

    Input: (N, 32, 32, 3), pixels from 0 to 1; the first layer shifts and scales each channel by the statistics of the
    training pictures. Output: (N, classes), logits. dropout_scale: of the shares of the three dropout layers, which are
    0.2, 0.3 and 0.5.

    Parameters, by hand (a convolution and its batch norm have 9 * in * out + out and 2 * out):

        1   Conv2d 3x3, 3 -> 32         896 + 64        =       960    32 x 32
        4   Conv2d 3x3, 32 -> 32      9,248 + 64        =     9,312    32, pooled to 16
        9   Conv2d 3x3, 32 -> 64     18,496 + 128       =    18,624    16
        12  Conv2d 3x3, 64 -> 64     36,928 + 128       =    37,056    16, pooled to 8
        17  Conv2d 3x3, 64 -> 128    73,856 + 256       =    74,112    8 -> 6 (no padding)
        20  Conv2d 3x3, 128 -> 128  147,584 + 256       =   147,840    6 -> 4, pooled to 2
        26  Linear, 512 -> 10        2 * 2 * 128 * 10 + 10 =  5,130
                                                            293,034    trainable
    """
    model = nn.Sequential(
        nn.Normalize(3),
        *_block(3, 32, "same"), *_block(32, 32, "same"), nn.MaxPool2d(2), nn.Dropout(0.2 * dropout_scale),
        *_block(32, 64, "same"), *_block(64, 64, "same"), nn.MaxPool2d(2), nn.Dropout(0.3 * dropout_scale),
        *_block(64, 128, "valid"), *_block(128, 128, "valid"), nn.MaxPool2d(2), nn.Dropout(0.5 * dropout_scale),
        nn.Flatten(), nn.Linear(2 * 2 * 128, classes),
    )  # fmt: skip
    model.input_shape = (32, 32, 3)
    return model


def _block(inputs: int, outputs: int, padding: str) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=padding), nn.BatchNorm2d(outputs), nn.GELU()]
