"""Windows into an array that may overlap: read side by side, and added back where they overlap.

StridedGet and StridedPut in ops/shape.py are for walks that come to no place twice; these two are for those that do.
"""

from math import prod
from typing import Any

import numpy as np

from .. import device as devices
from .. import memory
from ..dispatch import dispatch
from ..tape import Function
from .constants import constant
from .shape import walk


def read_windows(x: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """The raw array of `shape` read from x along strides."""
    return walk(x, shape, strides, 0)


def add_windows(y: Any, size: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """The adjoint: a raw array of `size`, each of its elements the sum of what was read from it.

    Axis 0 of y runs over the parts of equal length that the array of `size` consists of. The last axis has the stride
    1, and its length is a unit that divides all strides.
    """
    if not y.size:
        x = memory.empty_like(y, size)
        dispatch("fill", x, value=0.0)
        return x
    parts, unit = y.shape[0], y.shape[-1]
    index = _places(devices.of(y), y.shape[1:-1], tuple(stride // unit for stride in strides[1:-1])).array
    return dispatch("take_grad", y.reshape(parts, index.size, unit), index,
                    length=prod(size) // (parts * unit)).reshape(size)


@constant
def _places(counts: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """Where a walk comes by: the sums of index * stride for all indices below `counts`, in order."""
    place = np.zeros(1, np.int64)
    for count, stride in zip(counts, strides, strict=True):
        place = (place[:, None] + np.arange(count) * stride).reshape(-1)
    return place


class ReadWindows(Function):
    """y = x read along strides, as read_windows does."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def forward(self, x):
        self.size = x.shape
        return read_windows(x, self.shape, self.strides)

    def backward(self, grad):
        return AddWindows.apply(grad, size=self.size, strides=self.strides)


class AddWindows(Function):
    """The adjoint of ReadWindows, as add_windows computes it."""

    size: tuple[int, ...]
    strides: tuple[int, ...]

    def forward(self, y):
        self.shape = y.shape
        return add_windows(y, self.size, self.strides)

    def backward(self, grad):
        return ReadWindows.apply(grad, shape=self.shape, strides=self.strides)
