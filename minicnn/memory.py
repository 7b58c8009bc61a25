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

from .kernels.cpu import host

Shape = tuple[int, ...]

#: Unused memory kept at most, in bytes.
LIMIT = 0 if os.environ.get("MINICNN_POOL") == "0" else 4 << 30

pool = host.Pool(LIMIT)


def empty(shape: Shape, dtype: np.dtype, device: str = "cpu") -> Any:
    """An array with undefined content. ValueError if it would be larger than the address space."""
    if device == "cpu":
        return pool.array(shape, dtype)
    from .kernels.cuda import devices, memory

    return memory.empty(shape, dtype, devices.open_device(device))


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


def stats() -> dict[str, int]:
    """Bytes on the CPU: `in_use` by arrays, `kept` for reuse, the `peak` of in_use since `reset_peak()`, and
    `prepared`, of weights for inference."""
    prepared = sum(array.nbytes for one in _prepared.values() for array in one.values())
    return {"in_use": pool.in_use, "kept": pool.kept, "peak": pool.peak, "prepared": prepared}


def reset_peak() -> None:
    pool.reset_peak()


def set_limit(limit: int) -> None:
    """Keep at most so many bytes for reuse; 0: give every block back to the system as soon as it is free."""
    if not isinstance(limit, int) or limit < 0:
        raise ValueError(f"set_limit: limit must be a number of bytes, got {limit!r}")
    pool.limit = limit
    if pool.kept > limit:
        pool.clear()


def clear() -> None:
    """Give the memory that is kept for reuse, and prepared weights, back to the system."""
    for one in list(_prepared.values()):
        one.clear()
    pool.clear()
