"""The memory that kernels may touch."""

import ctypes
from bisect import bisect_left, bisect_right, insort
from threading import Lock

import numpy as np

from .layout import RANGE_WORDS, SHADOW_WORDS

WORD = 8  # bytes of an address


class Memory:
    """The allocations that are alive; the allocator adds and removes them.

    In checked mode each has a *shadow*: for every few bytes (a unit), who accessed them last. It is made when a kernel
    first gets the allocation, and its pages only where it is touched.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []  # sorted
        self._sizes: dict[int, int] = {}
        self._shadows: dict[tuple[int, int], np.ndarray] = {}  # (start, bytes of a unit) -> words
        self.epoch = 1  # in which the last checked run ended; the next one counts on
        self.checking = Lock()  # held by a checked run: two at a time would write into the same shadows

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, address: int, size: int) -> None:
        """An array of `size` bytes lies at this address from now on. ValueError if another one does already."""
        before = bisect_left(self._starts, address + max(size, 1)) - 1
        if before >= 0 and self._starts[before] + max(self._sizes[self._starts[before]], 1) > address:
            raise ValueError(f"allocation {address:#x} of {size} bytes overlaps that at {self._starts[before]:#x}")
        insort(self._starts, address)
        self._sizes[address] = size

    def remove(self, address: int) -> None:
        """And no longer. KeyError if there is none."""
        del self._sizes[address]
        self._starts.pop(bisect_left(self._starts, address))
        for unit in (1, 2, 4):
            self._shadows.pop((address, unit), None)

    def find(self, address: int) -> tuple[int, int] | None:
        """(start, size) of the allocation that this address lies in, or None."""
        before = bisect_right(self._starts, address) - 1
        if before < 0:
            return None
        start = self._starts[before]
        return (start, self._sizes[start]) if address < start + max(self._sizes[start], 1) else None

    def addresses_in(self, addresses: list[int]) -> list[int]:
        """What is stored in the allocations that these addresses lie in and is the start of one: tables of arrays."""
        found: set[int] = set()
        for start, size in filter(None, map(self.find, addresses)):
            if size and start % WORD == 0 and size % WORD == 0:
                words = np.frombuffer(memoryview((ctypes.c_char * size).from_address(start)), np.uint64)
                found.update(words[np.isin(words, np.array(self._starts, np.uint64))].tolist())
        return sorted(found)

    def shadow(self, start: int, unit: int) -> np.ndarray:
        """The shadow of an allocation, counted in units of so many bytes."""
        if (start, unit) not in self._shadows:
            self._shadows[start, unit] = np.zeros((-(-self._sizes[start] // unit) + 1) * SHADOW_WORDS, np.int32)
        return self._shadows[start, unit]

    def begin_run(self) -> None:
        """Shadows count epochs in 32 bits: start anew in time."""
        if self.epoch > 2**30:
            self._shadows.clear()
            self.epoch = 1

    def table(self, addresses: list[int], unit: int) -> np.ndarray:
        """Rows (start, end, address of the shadow, writable) of the allocations that these addresses lie in, sorted."""
        found = sorted({range_ for range_ in map(self.find, addresses) if range_ is not None})
        rows = [(start, start + size, self.shadow(start, unit).ctypes.data, 1) for start, size in found]
        return np.array(rows, np.int64).reshape(-1, RANGE_WORDS)
