"""Transforms that hide a part of a picture or mix pictures with each other."""

from math import prod
from typing import Literal

import numpy as np

from ...dispatch import dispatch
from ..loader import Batch
from ..targets import to_one_hot
from .arguments import number, whole
from .base import BatchTransform, PictureTransform


class Cutout(PictureTransform):
    """Covers a square of each float32 picture of (N, H, W, C). DeVries & Taylor 2017 (arXiv:1708.04552).

    The centre of the square is any pixel, so near an edge a part of it lies outside.

    size: the side of the square in pixels. fill: what covers it, a number or "mean" (of the picture's channel); 0, as
    in the paper, is the mean colour after Normalize and black before it.
    """

    def __init__(self, size: int, fill: float | Literal["mean"] = 0.0) -> None:
        self.size = whole("Cutout", "size", size, low=1)
        self.fill: float | Literal["mean"] = "mean" if fill == "mean" else number("Cutout", "fill", fill)
        self.arguments = {"size": self.size, "fill": self.fill}

    def change(self, pictures: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        count, height, width, channels = pictures.shape
        corners = generator.integers((height, width), size=(count, 2)) - self.size // 2
        if self.fill == "mean":
            values = pictures.mean(axis=1).mean(axis=1)  # NumPy is several times as slow over both axes at once
        else:
            values = np.full((count, channels), self.fill, np.float32)
        covered = pictures.copy()
        for picture, value, (top, left) in zip(covered, values, corners, strict=True):
            picture[max(top, 0) : top + self.size, max(left, 0) : left + self.size] = value
        return covered


class MixUp(BatchTransform):
    """Blends each float32 picture and its label with another of the batch. Zhang et al. 2018 (arXiv:1710.09412).

    A picture becomes share * picture + (1 - share) * partner, its label likewise. The shares are drawn for each
    picture from Beta(alpha, alpha), the partners by a random order of the batch.

    alpha: the larger, the more even the shares; 0 mixes nothing.
    num_classes: labels are int64 (N,) from 0 to num_classes - 1 and become float32 soft targets (N, num_classes).
        None: labels are float32 targets (N, ...) already, such as (N, 1) for a binary one, and keep their shape.

    The batch must be (pictures, labels).
    """

    def __init__(self, alpha: float, num_classes: int | None = None) -> None:
        self.alpha = number("MixUp", "alpha", alpha, low=0)
        self.num_classes = None if num_classes is None else whole("MixUp", "num_classes", num_classes, low=1)
        self.arguments = {"alpha": self.alpha, "num_classes": self.num_classes}

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        pictures = self._pictures(batch, generator)
        if len(batch) != 2:
            raise ValueError(f"MixUp: batch must be (pictures, labels), got {len(batch)} arrays")
        targets = self._targets(np.asarray(batch[1]), len(pictures))
        shares = generator.beta(self.alpha, self.alpha, len(pictures)) if self.alpha else np.ones(len(pictures))
        partners = generator.permutation(len(pictures))
        return _blend(pictures, shares, partners), _blend(targets, shares, partners)

    def _targets(self, labels: np.ndarray, count: int) -> np.ndarray:
        """The labels as float32 targets (N, ...)."""
        soft = self.num_classes is None
        if labels.shape[:1] != (count,) or not (labels.dtype == np.float32 if soft else labels.dtype.kind in "iu"):
            expected = "float32 (N, ...)" if soft else "ints (N,)"
            raise ValueError(f"MixUp: labels must be {expected} with num_classes={self.num_classes} and N={count}, "
                             f"got {labels.dtype} {labels.shape}")
        return labels if self.num_classes is None else to_one_hot(labels, self.num_classes)


def _blend(values: np.ndarray, shares: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """share * own + (1 - share) * partner, for float32 arrays (N, ...)."""
    rows = np.ascontiguousarray(values).reshape(len(values), prod(values.shape[1:]))
    return dispatch("blend", rows, partners, (1 - shares).astype(np.float32)).reshape(values.shape)
