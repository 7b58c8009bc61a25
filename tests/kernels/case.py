"""One call of a kernel, and the random arrays it is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

INF, NAN = np.inf, np.nan

#: Inputs and params of a call.
Built = tuple[list[Any], dict[str, Any]]

FLOATS = (np.float32, np.float64)
COPIED = (*FLOATS, np.int64, np.bool_, np.uint8, np.int32)


class Draw:
    """Random arrays of one dtype. Calling it gives ordinary values: floats of order 1, small integers, or bools."""

    def __init__(self, dtype: Any, seed: int) -> None:
        self.dtype = np.dtype(dtype)
        self.random = np.random.default_rng(seed)

    def __call__(self, *shape: int, spread: float = 1.0) -> np.ndarray:
        if self.dtype.kind == "b":
            return self.condition(*shape)
        if self.dtype.kind == "f":
            return self.array(self.random.normal(0.3, spread, shape))
        return self.array(self.random.integers(0 if self.dtype.kind == "u" else -9, 10, shape))

    def array(self, values: Any) -> np.ndarray:
        return np.array(values, self.dtype)

    def between(self, low: float, high: float, *shape: int) -> np.ndarray:
        return self.array(self.random.uniform(low, high, shape))

    def few(self, values: Any, *shape: int) -> np.ndarray:
        """Values from a short list, so that ties are everywhere."""
        return self.array(self.random.choice(np.array(values, float), shape))

    def index(self, length: int, *shape: int) -> np.ndarray:
        return self.random.integers(0, length, shape)

    def condition(self, *shape: int) -> np.ndarray:
        return np.asarray(self.random.random(shape) < 0.5)


@dataclass(frozen=True, eq=False)
class Case:
    """A call of `kernel` with what `build(*args, draw)` gives: on any dtype of `dtypes`, from a seed of its own.

    terms: how many numbers the longest of its sums adds up. algorithms: for kernels that have a choice of them.
    Labels that start with "large" are worth a second thread.
    """

    kernel: str
    label: str
    build: Callable[..., Built]
    args: tuple[Any, ...] = ()
    dtypes: tuple[type, ...] = FLOATS
    terms: int = 1
    algorithms: tuple[str, ...] = ()

    def inputs(self, dtype: Any) -> Built:
        return self.build(*self.args, Draw(dtype, crc32(f"{self.kernel} {self.label}".encode())))


def ordinary(*args: Any) -> Built:
    """A kernel of one array without params: args are its sizes, then draw."""
    *shape, draw = args
    return [draw(*shape)], {}


def chosen(values: list[float], shape: tuple[int, ...], draw: Draw) -> Built:
    """The same, of a few values only."""
    return [draw.few(values, *shape)], {}


def given(values: Any, draw: Draw) -> Built:
    """The same, of these values."""
    return [draw.array(values)], {}
