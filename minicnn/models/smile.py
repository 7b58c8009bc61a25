"""The smile detector: the first model to read, and the one that `minicnn train smile` trains."""

from .. import nn
from .options import Share
from .registry import register


@register("smile_detector", aliases=("smile",))
def smile_detector(dropout: Share = 0.1) -> nn.Module:
    """Is the face smiling? Two convolutions and two dense layers for pictures of 64 x 64

    Input: (N, 64, 64, 3), pixels from 0 to 1. Output: (N, 1), a logit; its sigmoid is the probability of a smile.
    dropout: the share of values that the two dropout layers set to zero while training.

    Parameters, by hand (filters are kernel height x width x input channels x output channels):

        0   Conv2d 5x5, 3 -> 16      5 * 5 * 3 * 16 + 16       =     1,216
        2   BatchNorm2d, 16          16 + 16                   =        32   and 2 * 16 moving statistics
        5   Conv2d 5x5, 16 -> 32     5 * 5 * 16 * 32 + 32      =    12,832
        7   BatchNorm2d, 32          32 + 32                   =        64   and 2 * 32 moving statistics
        11  Linear, 8,192 -> 128     16 * 16 * 32 * 128 + 128  = 1,048,704
        13  Linear, 128 -> 1         128 + 1                   =       129
                                                                 1,062,977   trainable, and 96 moving statistics

    Keras counts the moving statistics as parameters too: 1,063,073.
    """
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding="same"),
        nn.ReLU(),
        nn.BatchNorm2d(16),
        nn.MaxPool2d(2),
        nn.Dropout(dropout),
        nn.Conv2d(16, 32, 5, padding="same"),
        nn.ReLU(),
        nn.BatchNorm2d(32),
        nn.MaxPool2d(2),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(16 * 16 * 32, 128),
        nn.ReLU(),
        nn.Linear(128, 1),
    )
    model.input_shape = (64, 64, 3)
    return model
