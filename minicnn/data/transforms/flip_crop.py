"""Transforms that move whole pixels: mirror images and crops. Pictures may have any dtype, and keep it."""

from math import prod
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from ...dispatch import dispatch
from .arguments import number, whole
from .base import PictureTransform

PaddingMode = Literal["constant", "edge", "reflect", "symmetric"]


class _RandomFlip(PictureTransform):
    """Mirrors each picture along one axis of (N, H, W, C), with probability p."""

    dtypes: ClassVar[tuple[str, ...]] = ()
    axis: ClassVar[int]

    def __init__(self, p: float = 0.5) -> None:
        self.p = number(type(self).__name__, "p", p, low=0, high=1)
        self.arguments = {"p": self.p}

    def change(self, pictures: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        chosen = generator.random(len(pictures)) < self.p
        before, length = pictures.shape[1 : self.axis], pictures.shape[self.axis]
        item = pictures.itemsize * prod(pictures.shape[self.axis + 1 :])  # bytes that stay as they are
        rows = np.ascontiguousarray(pictures).view(np.uint8).reshape(len(pictures), prod(before), length, item)
        return dispatch("mirror", rows, chosen).view(pictures.dtype).reshape(pictures.shape)


class RandomHorizontalFlip(_RandomFlip):
    """Mirrors each picture of (N, H, W, C) left to right, with probability p."""

    axis = 2


class RandomVerticalFlip(_RandomFlip):
    """Mirrors each picture of (N, H, W, C) top to bottom, with probability p."""

    axis = 1


class RandomCrop(PictureTransform):
    """A piece of `size` from a random place of each picture: (N, H, W, C) to (N, height, width, C).

    size: (height, width) in pixels, or an int for both. padding: pixels put around the picture beforehand.
    padding_mode: what is in them, as in torchvision: "constant" (zeros: after Normalize that is the mean colour),
    "edge" (the outermost pixels), "reflect" (the mirror image, without repeating the outermost pixels) or "symmetric"
    (the mirror image with them).
    """

    dtypes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, size: int | tuple[int, int], padding: int = 0, padding_mode: PaddingMode = "constant") -> None:
        self.size = _size(size)
        self.padding = whole("RandomCrop", "padding", padding, low=0)
        if padding_mode not in get_args(PaddingMode):
            expected = ", ".join(get_args(PaddingMode))
            raise ValueError(f"RandomCrop: padding_mode must be one of {expected}, got {padding_mode!r}")
        self.padding_mode = padding_mode
        self.arguments = {"size": self.size, "padding": self.padding, "padding_mode": padding_mode}

    def change(self, pictures: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        (count, high, wide, channels), (height, width), edge = pictures.shape, self.size, self.padding
        if height > high + 2 * edge or width > wide + 2 * edge:
            raise ValueError(f"RandomCrop: size {self.size} does not fit into pictures of {(high, wide)} "
                             f"with a padding of {edge}")
        reach = {"reflect": min(high, wide) - 1, "symmetric": min(high, wide)}.get(self.padding_mode, edge)
        if edge > reach:
            raise ValueError(f"RandomCrop: padding must be at most {reach} to {self.padding_mode} pictures of "
                             f"{(high, wide)}, got {edge}")
        padded = np.pad(pictures, ((0, 0), (edge, edge), (edge, edge), (0, 0)), mode=self.padding_mode)
        tops = generator.integers(high + 2 * edge - height, size=count, endpoint=True)
        lefts = generator.integers(wide + 2 * edge - width, size=count, endpoint=True)
        cropped = np.empty((count, height, width, channels), pictures.dtype)
        for out, picture, top, left in zip(cropped, padded, tops, lefts, strict=True):
            out[:] = picture[top : top + height, left : left + width]
        return cropped


def _size(size: Any) -> tuple[int, int]:
    parts = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(parts) != 2:
        raise TypeError(f"RandomCrop: size must be an int or (height, width), got {size!r}")
    height, width = (whole("RandomCrop", "size", part, low=1) for part in parts)
    return height, width
