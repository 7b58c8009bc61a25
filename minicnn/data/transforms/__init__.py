"""Changes to batches of pictures on their way to the network: to floats, normalisation, augmentation.

A transform is called as `transform(batch, generator)`: batch is a tuple of arrays, the pictures (N, H, W, C) first,
and generator is where its random numbers come from, an `np.random.Generator` (a DataLoader gives each batch its own).
It returns the batch to use instead and leaves the one it was given as it was. The same state of the generator gives
the same bits. Names and arguments are torchvision's wherever it has the thing; each picture draws for itself.
"""

from .affine import RandomAffine, RandomRotation, RandomShear, RandomShift, RandomZoom
from .base import BatchTransform, PictureTransform
from .compose import Compose
from .flip_crop import RandomCrop, RandomHorizontalFlip, RandomVerticalFlip
from .mixing import Cutout, MixUp
from .values import ColorJitter, Normalize, ToFloat

__all__ = [
    "BatchTransform", "ColorJitter", "Compose", "Cutout", "MixUp", "Normalize", "PictureTransform", "RandomAffine",
    "RandomCrop", "RandomHorizontalFlip", "RandomRotation", "RandomShear", "RandomShift", "RandomVerticalFlip",
    "RandomZoom", "ToFloat",
]
