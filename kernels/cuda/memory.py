"""Arrays on a device, and the memory that they lie in.

A DeviceArray is to a device what a NumPy array is to the processor, as far as kernels need it: shape, dtype and
address, always C-contiguous; a reshaped one shares its memory. Its Block returns to the Allocator when the last array
on it is gone, and the Allocator hands it out again: asking a driver for memory takes longer than many a kernel, and
waits for all of them.
"""

from __future__ import annotations

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


class Block:
    """Bytes on a device, for as long as an array lies on them."""

    __slots__ = ("address", "nbytes", "room", "allocator")

    def __init__(self, address: int, nbytes: int, room: int, allocator: Allocator) -> None:
        self.address, self.nbytes, self.room, self.allocator = address, nbytes, room, allocator

    def __del__(self) -> None:
        self.allocator.put_back(self)


class Allocator:
    """The memory of one device: takes blocks from its backend, and keeps those that come back for the next array of
    that size.

    limit: bytes that arrays and kept blocks may take together; None: as many as the device has.
    """

    def __init__(self, backend: Any, limit: int | None = None) -> None:
        self.backend, self.limit = backend, limit
        self.in_use = self.kept = self.peak = 0
        self._shelves: dict[int, list[int]] = {}
        self._lock = RLock()  # blocks come back from any thread, and while another is taken

    def take(self, nbytes: int) -> Block:
        """A Block, not cleared. MemoryError, after the kept blocks were given back, if there is no room for it."""
        room = _rounded(nbytes)
        with self._lock:
            shelf = self._shelves.get(room)
            if shelf:
                address = shelf.pop()
                self.kept -= room
            else:
                address = self._new(nbytes, room)
            self.in_use += room
            self.peak = max(self.peak, self.in_use)
            self.backend.opened(address, nbytes)
        return Block(address, nbytes, room, self)

    def _new(self, nbytes: int, room: int) -> int:
        if self.limit is not None and self.in_use + self.kept + room > self.limit:
            self.clear()
        if self.limit is None or self.in_use + room <= self.limit:
            address = self.backend.allocate(room)
            if not address:
                self.clear()
                address = self.backend.allocate(room)
            if address:
                return address
        limit = "" if self.limit is None else f", the limit is {self.limit}"
        raise MemoryError(f"{self.backend.name}: no memory for an array of {nbytes} bytes; {self.in_use} bytes are in "
                          f"use by arrays, none are kept{limit}")

    def put_back(self, block: Block) -> None:
        with self._lock:
            self.in_use -= block.room
            self.backend.closed(block.address)
            self._shelves.setdefault(block.room, []).append(block.address)
            self.kept += block.room

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

    def __init__(self, shape: Shape, dtype: np.dtype, device: Device, block: Block) -> None:
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

    def _on_gpu(self) -> int:
        """The number of the GPU, for others to look at this array: all that was started on it is done."""
        kind, _, ordinal = self.device.name.partition(":")
        if kind != "cuda":
            raise BufferError(f"this array is on {self.device.name}, whose memory no GPU sees: move it with .to('cpu')")
        self.device.synchronize()  # whoever asks may read on another stream
        return int(ordinal)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """For CuPy, Numba and PyTorch to look at the same memory."""
        try:
            self._on_gpu()
        except BufferError as error:
            raise AttributeError(str(error)) from None  # so that `hasattr` is False
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.address, False), "version": 3,
                "strides": None}

    def __dlpack_device__(self) -> tuple[int, int]:
        from .dlpack import CUDA

        return CUDA, self._on_gpu()

    def __dlpack__(self, **options: Any) -> Any:
        """A capsule on the same memory. options: what other versions of the protocol ask for; there is no copy."""
        from .dlpack import export

        return export(self, self._on_gpu())


def empty(shape: Shape, dtype: Any, device: Device) -> DeviceArray:
    """An array with undefined content."""
    dtype = np.dtype(dtype)
    return DeviceArray(shape, dtype, device, device.allocator.take(prod(shape) * dtype.itemsize))


def adopt(source: Any, device: Device) -> DeviceArray:
    """An array on memory that another library owns: a `dlpack.Taken` or the like, which is kept alive."""
    return DeviceArray(source.shape, source.dtype, device, source)


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
