"""Memory for arrays, reused from step to step.

A training step makes the same arrays over and over. Their memory comes from a pool: when the last array on a block of
memory is gone - the tensor, and every NumPy or DLPack view of it - the block is kept for the next array of that size.
Memory that somebody still looks at is never handed out again.

Environment: MINICNN_POOL=0 turns reuse off (each array gets memory of its exact size, for memory checkers).
"""

import os
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from . import device as devices
from .kernels.cpu import host
from .kernels.cuda.memory import empty as empty_on

Shape = tuple[int, ...]

#: Unused memory kept at most, in bytes.
LIMIT = 0 if os.environ.get("MINICNN_POOL") == "0" else 4 << 30

pool = host.Pool(LIMIT)


def empty(shape: Shape, dtype: np.dtype, device: str = "cpu") -> Any:
    """An array with undefined content. ValueError if it would be larger than the address space."""
    if device == "cpu":
        return pool.array(shape, dtype)
    return empty_on(shape, dtype, devices.open_device(device))


def empty_like(array: Any, shape: Shape | None = None) -> Any:
    """An array with undefined content, of the dtype of another and on its device; of its shape unless one is given."""
    return empty(array.shape if shape is None else shape, array.dtype, devices.of(array))


class Prepared(dict[Any, np.ndarray]):
    """What kernels prepare of weights that stay as they are (see `keeps` in kernels/contracts.py), by name. It counts
    in `stats()`, and `clear()` empties it: what is needed again is made again."""

    def __init__(self) -> None:
        _prepared[id(self)] = self


_prepared: WeakValueDictionary[int, Prepared] = WeakValueDictionary()


def place(array: Any) -> int:
    """Identifies the memory that an array lies in, reshapes included."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return id(array)


def stats(device: str = "cpu") -> dict[str, int]:
    """Bytes on a device: `in_use` by arrays, `kept` for reuse, the `peak` of in_use since `reset_peak()`, and
    `prepared`, of weights for inference (on the CPU).

    >>> import minicnn as mc
    >>> before = mc.memory.stats()["in_use"]
    >>> x = mc.zeros(1 << 20)
    >>> mc.memory.stats()["in_use"] - before >= 4 << 20
    True
    """
    found = _pool(device)
    prepared = 0 if device != "cpu" else sum(array.nbytes for one in _prepared.values() for array in one.values())
    return {"in_use": found.in_use, "kept": found.kept, "peak": found.peak, "prepared": prepared}


def reset_peak(device: str = "cpu") -> None:
    _pool(device).reset_peak()


def set_limit(limit: int | None, device: str = "cpu") -> None:
    """On the CPU: keep at most so many bytes for reuse; 0: give every block back to the system as soon as it is free.

    On another device: use at most so many bytes, for arrays and for what is kept together; None: all that there are. An
    array that does not fit then is a MemoryError.
    """
    if (limit is None and device == "cpu") or not isinstance(limit, int | None) or (limit is not None and limit < 0):
        raise ValueError(f"set_limit: limit must be a number of bytes, got {limit!r}")
    found = _pool(device)
    found.limit = limit
    if limit is not None and found.kept > (limit if device == "cpu" else max(0, limit - found.in_use)):
        found.clear()


def clear(device: str = "cpu") -> None:
    """Give the memory that is kept for reuse, and on the CPU prepared weights, back to the system."""
    for one in list(_prepared.values()) if device == "cpu" else ():
        one.clear()
    _pool(device).clear()


def _pool(device: str) -> Any:
    """What hands out the memory of a device."""
    return pool if device == "cpu" else devices.open_device(devices.resolve(device)).allocator
