"""Arrays on a device, and the memory that they lie in.

A DeviceArray is to a device what a NumPy array is to the processor, as far as kernels need it: shape, dtype and
address, always C-contiguous; a reshaped one shares its memory. Its Block returns to the Allocator when the last array
on it is gone, and the Allocator hands it out again: asking a driver for memory takes longer than many a kernel, and
waits for all of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from heapq import heappop, heappush
from math import prod
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .launcher import Device

Shape = tuple[int, ...]

#: Blocks start at multiples of this, and their sizes are rounded up to it: what a driver gives, and more than a
#: vector needs.
ALIGNMENT = 256

#: Bytes that kernels read at once: arrays begin at a multiple of it.
VECTOR = 16


class Block:
    """Bytes on a device, for as long as an array lies on them."""

    __slots__ = ("address", "nbytes", "capacity", "allocator", "lent")

    def __init__(self, address: int, nbytes: int, capacity: int, allocator: Allocator) -> None:
        self.address, self.nbytes, self.capacity, self.allocator = address, nbytes, capacity, allocator
        self.lent = False  # whether another library has seen the memory, and may have work on it under way

    def __del__(self, ends: Callable[[], bool] = sys.is_finalizing) -> None:
        if not ends():  # when the interpreter ends, the modules are gone that giving back takes
            self.allocator.put_back(self)


class Allocator:
    """The memory of one device: takes blocks from its backend, and keeps those that come back for the next array of
    that size: of several the one at the lowest address, so that a step like the one before has its arrays where that
    had them.

    limit: bytes that arrays and kept blocks may take together; None: as many as the device has.

    Environment: MINICNN_POOL=0 turns reuse off (each array gets memory of its exact size, for memory checkers).
    """

    def __init__(self, backend: Any, limit: int | None = None) -> None:
        self.backend, self.limit = backend, limit
        self.in_use = self.kept = self.peak = 0
        self._shelves: dict[int, list[int]] = {}
        self._reuse = os.environ.get("MINICNN_POOL") != "0"
        self._lock = RLock()  # blocks come back from any thread, and while another is taken

    def take(self, nbytes: int) -> Block:
        """A Block, not cleared. MemoryError, after the kept blocks were given back, if there is not so much."""
        capacity = _rounded(nbytes) if self._reuse else max(nbytes, 1)
        with self._lock:
            shelf = self._shelves.get(capacity)
            if shelf:
                address = heappop(shelf)
                self.kept -= capacity
            else:
                address = self._new(nbytes, capacity)
            self.in_use += capacity
            self.peak = max(self.peak, self.in_use)
            self.backend.opened(address, nbytes)
        return Block(address, nbytes, capacity, self)

    def _new(self, nbytes: int, capacity: int) -> int:
        if self.limit is not None and self.in_use + self.kept + capacity > self.limit:
            self.clear()
        if self.limit is None or self.in_use + capacity <= self.limit:
            address = self.backend.allocate(capacity)
            if not address:
                self.clear()
                address = self.backend.allocate(capacity)
            if address:
                return address
        limit = "" if self.limit is None else f", the limit is {self.limit}"
        raise MemoryError(f"{self.backend.name}: no memory for an array of {nbytes} bytes; {self.in_use} bytes are in "
                          f"use by arrays, none are kept{limit}")

    def put_back(self, block: Block) -> None:
        if block.lent:
            self.backend.wait_for_others()
        with self._lock:
            self.in_use -= block.capacity
            self.backend.closed(block.address)
            if not self._reuse:
                self.backend.release(block.address)
                return
            heappush(self._shelves.setdefault(block.capacity, []), block.address)
            self.kept += block.capacity

    def reset_peak(self) -> None:
        self.peak = self.in_use

    def clear(self) -> None:
        """Give all unused memory back."""
        with self._lock:
            shelves, self._shelves, self.kept = self._shelves, {}, 0
        for addresses in shelves.values():
            for address in addresses:
                self.backend.release(address)


def _rounded(nbytes: int) -> int:
    """Sizes come in steps of an eighth of the power of two below, so that near sizes share their memory."""
    step = ALIGNMENT
    while step <= nbytes // 16:
        step *= 2
    return max(-(-nbytes // step) * step, ALIGNMENT)


class DeviceArray:
    """A C-contiguous array in a device's memory."""

    __slots__ = ("shape", "dtype", "device", "base", "address", "size", "__weakref__")

    def __init__(self, shape: Shape, dtype: np.dtype, device: Device, block: Block | Borrowed) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device
        self.base = block  # keeps the memory alive
        self.address, self.size = block.address, prod(shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def reshape(self, *shape: Any) -> DeviceArray:
        """The same memory with other sizes, one of which may be -1."""
        sizes = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
        if -1 in sizes:
            others = -prod(sizes)
            sizes = tuple(self.size // max(others, 1) if s == -1 else s for s in sizes)
        if prod(sizes) != self.size:
            raise ValueError(f"cannot reshape an array of shape {self.shape} to {sizes}")
        return self._view(sizes, self.address)

    def after(self, start: int) -> DeviceArray:
        """The elements from number `start` on, in flat order: the same memory."""
        return self._view((self.size - start,), self.address + start * self.dtype.itemsize)

    def _view(self, shape: Shape, address: int) -> DeviceArray:
        view = DeviceArray(shape, self.dtype, self.device, self.base)
        view.address = address
        return view

    def astype(self, dtype: Any) -> DeviceArray:
        """A copy with the elements as numbers of another type, by NumPy's rules."""
        from .copy import cast

        made = empty(self.shape, dtype, self.device)
        cast(self, made)
        return made

    def __repr__(self) -> str:
        return f"<{self.dtype} {self.shape} on {self.device.name}>"

    def _gpu(self) -> int:
        """The number of the GPU."""
        kind, _, ordinal = self.device.name.partition(":")
        if kind != "cuda":
            raise BufferError(f"this array is on {self.device.name}, whose memory no GPU sees: move it with .to('cpu')")
        return int(ordinal)

    def _lend(self) -> None:
        """For others to look at this memory, on streams of theirs: all that was started on it is done."""
        self._gpu()
        self.device.synchronize()
        self.device.faults.raise_found()
        if isinstance(self.base, Block):
            self.base.lent = True

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """For CuPy, Numba and PyTorch to look at the same memory."""
        try:
            self._lend()
        except BufferError as error:
            raise AttributeError(str(error)) from None  # so that `hasattr` is False
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.address, False), "version": 3,
                "strides": None}

    def __dlpack_device__(self) -> tuple[int, int]:
        from .dlpack import CUDA

        return CUDA, self._gpu()

    def __dlpack__(self, **options: Any) -> Any:
        """A capsule on the same memory. options: what versions of the protocol ask for; BufferError for a copy."""
        from .dlpack import export

        if options.get("copy"):
            raise BufferError("this array is lent, not copied; lend a copy, x * 1")
        self._lend()
        return export(self, self._gpu())


def empty(shape: Shape, dtype: Any, device: Device) -> DeviceArray:
    """An array with undefined content."""
    dtype = np.dtype(dtype)
    return DeviceArray(shape, dtype, device, device.allocator.take(prod(shape) * dtype.itemsize))


class Borrowed:
    """Memory that another library owns, a `dlpack.Taken` or an `array_interface.Described`: it gets it back when no
    kernel of ours is at work there."""

    def __init__(self, source: Any, device: Device) -> None:
        self.source, self.device, self.address = source, device, source.address

    def __del__(self, ends: Callable[[], bool] = sys.is_finalizing) -> None:
        if not ends():
            self.device.synchronize()


def adopt(source: Any, device: Device) -> DeviceArray:
    """An array on memory that another library owns, which is kept alive. ValueError where vectors can't be read."""
    if source.address % VECTOR:
        raise ValueError(f"the array begins {source.address % VECTOR} bytes behind a multiple of {VECTOR}, where the "
                         "GPU's kernels read no vectors; copy it first")
    return DeviceArray(source.shape, source.dtype, device, Borrowed(source, device))


def to_device(array: np.ndarray, device: Device) -> DeviceArray:
    """A copy of a NumPy array on a device."""
    source = np.ascontiguousarray(array)
    made = empty(array.shape, source.dtype, device)
    if made.size:
        device.write(made.address, source)
    return made


def to_numpy(array: DeviceArray) -> np.ndarray:
    """A copy of an array in the processor's memory, when all that was started before is done."""
    made = np.empty(array.shape, array.dtype)
    if made.size:
        array.device.read(made, array.address)
    return made
