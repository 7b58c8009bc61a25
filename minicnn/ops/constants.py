"""Small arrays that ops need again in each step, kept on the device that they are used on."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from .. import device as devices
from ..tensor import Tensor

KEPT = 64  # of each kind


def scalar(value: Any, dtype: np.dtype, device: str) -> Tensor:
    """A number as a tensor without dimensions."""
    array = np.asarray(value, dtype)
    return Tensor(array if device == "cpu" else _kept(array.tobytes(), array.dtype, device))


@lru_cache(maxsize=KEPT)
def _kept(content: bytes, dtype: np.dtype, device: str) -> Any:
    return devices.transfer(np.frombuffer(content, dtype).reshape(()), device)


def constant(make: Callable[..., np.ndarray]) -> Callable[..., Tensor]:
    """Decorator: `make(*key)` is an array that follows from its arguments; called with a device in front, it is a
    Tensor there, made once. Nobody may change it."""
    @lru_cache(maxsize=KEPT)
    def on_device(device: str, *key: Any) -> Tensor:
        return Tensor(devices.transfer(make(*key), device))
    return on_device


@constant
def counting(count: int) -> np.ndarray:
    """0, 1 ... count - 1"""
    return np.arange(count)
