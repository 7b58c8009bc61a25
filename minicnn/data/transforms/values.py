"""Transforms of the values of pixels: to floats, to zero mean and unit variance, brightness and contrast."""

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ...dispatch import dispatch
from ..dataset import Samples, take
from .arguments import around, number, whole
from .base import PictureTransform

LUMA = (0.2989, 0.587, 0.114)  # how bright red, green and blue look (ITU-R BT.601), in torchvision's rounding


class ToFloat(PictureTransform):
    """uint8 pictures (N, H, W, C) to float32 in [0, 1], divided by 255; float32 pictures pass through."""

    dtypes: ClassVar[tuple[str, ...]] = ("uint8", "float32")

    def __init__(self) -> None:
        self.arguments = {}

    def change(self, pictures: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        if pictures.dtype == np.float32:
            return pictures
        return np.divide(pictures, np.float32(255), dtype=np.float32)


class Normalize(PictureTransform):
    """(pixel - mean) / std in each channel, on float32 pictures (N, H, W, C).

    mean, std: one number for each of the C channels, in the units of the pixels. See `Normalize.fit`.
    """

    def __init__(self, mean: Any, std: Any) -> None:
        self.mean, self.std = _per_channel("mean", mean), _per_channel("std", std)
        if len(self.mean) != len(self.std):
            raise ValueError(f"Normalize: mean and std must have one length, got {len(self.mean)} and {len(self.std)}")
        if min(self.std) <= 0:
            raise ValueError(f"Normalize: std must be positive in every channel, got {self.std}")
        self.arguments = {"mean": self.mean, "std": self.std}

    @classmethod
    def fit(cls, dataset: Samples, batch_size: int = 1000) -> "Normalize":
        """The mean and the (biased) standard deviation of each channel over all pixels of a data set.

        Give it the training set alone: what is known of the test set must not flow into training.

        dataset: samples whose first field is a picture (H, W, C); uint8 is counted in units of 255, as ToFloat does.
        batch_size: pictures looked at together, in float64. The batches' moments are merged by the formula of Chan,
        Golub & LeVeque (1979), which loses no digits to cancellation.
        ValueError: an empty data set, or a channel that has the same value everywhere, which no factor gives a
        standard deviation of 1: leave that channel out.
        """
        size, total = whole("Normalize.fit", "batch_size", batch_size, low=1), len(dataset)
        if total == 0:
            raise ValueError("Normalize.fit: the data set is empty")
        count, mean, squares = 0, np.zeros(()), np.zeros(())  # squares: the sum of squared deviations from the mean
        for start in range(0, total, size):
            here, new_mean, new_squares = _moments(take(dataset, np.arange(start, min(start + size, total)))[0])
            share = here / (count + here)
            squares = squares + new_squares + (new_mean - mean) ** 2 * (count * share)
            mean = mean + (new_mean - mean) * share
            count += here
        std = np.sqrt(squares / count)
        for channel in np.flatnonzero(std < 1e-9):  # one pixel of 10**12 that differs by 1 of 255 gives more
            raise ValueError(f"Normalize.fit: channel {channel} has the value {mean[channel]:g} in all of {total} "
                             "pictures, so it has no scale")
        return cls(mean, std)

    def change(self, pictures: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        count, height, width, channels = pictures.shape
        if channels != len(self.mean):
            raise ValueError(f"Normalize: pictures must have {len(self.mean)} channels, got {channels}")
        # A row of pixels at a time: NumPy is several times as slow over an innermost axis of 3 numbers.
        rows = pictures.reshape(count, height, width * channels) - np.tile(np.asarray(self.mean, np.float32), width)
        rows /= np.tile(np.asarray(self.std, np.float32), width)
        return rows.reshape(pictures.shape)


class ColorJitter(PictureTransform):
    """Random brightness, then random contrast, of float32 pictures (N, H, W, C) in [0, 1].

    brightness: every value is multiplied by a factor. contrast: every value is moved to or from the picture's mean
    grey, mean + factor * (value - mean); the grey of three channels is their luma (ITU-R BT.601), of any other number
    of channels their mean. The factors are uniform in [max(0, 1 - v), 1 + v] for a number v, or in a pair (min, max).
    After each of the two, values are clipped to [0, 1], all as in torchvision, which draws the order of the two as
    well. So it belongs before Normalize: pictures with values outside of [0, 1] are a ValueError.
    """

    def __init__(self, brightness: float | tuple[float, float] = 0,
                 contrast: float | tuple[float, float] = 0) -> None:
        self.brightness, self.contrast = _factors("brightness", brightness), _factors("contrast", contrast)
        self.arguments = {"brightness": self.brightness, "contrast": self.contrast}

    def change(self, pictures: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        count, height, width, channels = pictures.shape
        brightness, contrast = (generator.uniform(low, high, (count,)).astype(np.float32)
                                for low, high in (self.brightness, self.contrast))
        rows = np.ascontiguousarray(pictures).reshape(count, height * width * channels)
        changed, inside = dispatch("jitter", rows, brightness, contrast, _grey(height * width, channels))
        if not inside.all():  # NaN is not
            raise ValueError(f"ColorJitter: pictures must lie in [0, 1], got {pictures.min():g} to {pictures.max():g}")
        return changed.reshape(pictures.shape)


@lru_cache(maxsize=8)  # of one size of pictures, as a rule
def _grey(pixels: int, channels: int) -> np.ndarray:
    """What each number (pixels * channels,) of a picture counts for in its mean grey."""
    weights = np.array(LUMA if channels == 3 else [1 / channels] * channels) / pixels
    return np.tile(weights.astype(np.float32), pixels)


def _factors(name: str, value: float | tuple[float, float]) -> tuple[float, float]:
    if isinstance(value, tuple | list):
        return around("ColorJitter", name, value, centre=1, low=0)
    reach = number("ColorJitter", name, value, low=0)
    return max(0.0, 1 - reach), 1 + reach


def _per_channel(name: str, values: Any) -> tuple[float, ...]:
    row = np.asarray(values)
    if row.ndim != 1 or row.size == 0 or row.dtype.kind not in "iuf":
        raise TypeError(f"Normalize: {name} must be a row of numbers, one for each channel, got {values!r}")
    return tuple(number("Normalize", name, value) for value in row.tolist())


def _moments(pictures: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """How many pixels there are, their mean (C,) and their sum of squared deviations from it (C,), in float64."""
    if pictures.ndim != 4 or (pictures.dtype != np.uint8 and pictures.dtype.kind != "f"):
        raise TypeError("Normalize.fit: the first field of a sample must be a picture (H, W, C) of uint8 or float, got "
                        f"shape {pictures.shape[1:]} and dtype {pictures.dtype}")
    count, height, width, channels = pictures.shape
    rows = pictures.reshape(count * height, width * channels).astype(np.float64)  # as in `Normalize.change`
    if pictures.dtype == np.uint8:
        rows /= 255
    mean = rows.mean(axis=0).reshape(width, channels).mean(axis=0)
    rows -= np.tile(mean, width)
    squares = np.einsum("rk,rk->k", rows, rows).reshape(width, channels).sum(axis=0)
    return count * height * width, mean, squares
