"""Taking by index, and the gradients of it; indices are looked at before anything is read through them."""

from typing import Any

import numpy as np
from numba import uint32

from .compiler import kernel
from .intrinsics import atomic_min, position
from .launcher import cover, launch
from .memory import DeviceArray, to_device, to_numpy

#: Of the first wrong index where there is none.
NOWHERE = 2**32 - 1


@kernel("index: i64*, first: u32*, length: i64, ignored: i64, n: u32", variants=((),))
def first_outside():
    """first[0] = the least i for which index[i] is neither in 0..length-1 nor the ignored number."""
    def first_outside(index, first, length, ignored, n):
        i = position()
        if i < n:
            place = index[i]
            if (place < 0 or place >= length) and place != ignored:
                atomic_min(first, uint32(0), i)
    return first_outside


def outside(index: DeviceArray, length: int, ignore: int | None = None) -> int:
    """The place, in flat order, of the first index that is not in 0..length-1, nor `ignore`; -1 if there is none.

    What a GPU finds out must come back before one can raise: this waits for all that was started before.
    """
    if ignore is None:
        if length == 0:
            return 0 if index.size else -1
        ignore = 0  # which is no wrong index
    first = to_device(np.array([NOWHERE], np.uint32), index.device)
    launch(first_outside(), cover(index.size), index, first, length, ignore, index.size)
    found = int(to_numpy(first)[0])
    return -1 if found == NOWHERE else found


def check_indices(index: DeviceArray, length: int, name: str, ignore: int | None = None) -> None:
    """IndexError, naming the kernel, if an index is neither in 0..length-1 nor `ignore`."""
    found = outside(index, length, ignore)
    if found < 0:
        return
    where = ", ".join(str(k) for k in np.unravel_index(found, index.shape))
    raise IndexError(f"{name}: index[{where}] is {to_numpy(index).flat[found]}, expected 0 to {length - 1}")


CONTRACTS: dict[str, Any] = {}
