"""Launches variants of kernels on a device.

    launch(scale(x.dtype), cover(x.size), x, y, factor, x.size)

A device is a backend - a GPU's driver, or the emulator - and its memory. The first launch of a variant there compiles
it, or finds its PTX in the cache, and loads it; after that a launch packs its arguments and starts, in a few
microseconds. So it is not here that arrays of the package's own kernels are looked at, but where a contract is, once
for all calls of its kind; arguments for other kernels are held against their signature each time.
"""

import math
import struct
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numba.np.numpy_support import as_dtype

from . import LISTENERS
from .compiler import THREADS, Compiled, Variant
from .faults import Faults
from .memory import Allocator, DeviceArray, to_device

#: Blocks that a grid may have along each axis.
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_ELEMENTS = 2**32
#: Small arrays that a device keeps for when they are asked for again.
CONSTANTS = 64
LARGEST = float(np.finfo(np.float32).max)

Grid = tuple[int, int, int]


class Backend(Protocol):
    """What runs PTX: memory, copies, launches."""

    name: str
    capability: tuple[int, int]

    def allocate(self, nbytes: int) -> int: ...  # an address, or 0 if there is not so much
    def release(self, address: int) -> None: ...
    def opened(self, address: int, nbytes: int) -> None: ...  # an array lies there from now on
    def closed(self, address: int) -> None: ...  # and no longer
    def write(self, address: int, source: np.ndarray) -> None: ...
    def read(self, target: np.ndarray, address: int) -> None: ...
    def load(self, compiled: Compiled) -> Any: ...
    def run(self, loaded: Any, grid: Grid, threads: int, packed: bytes) -> None: ...
    def synchronize(self) -> None: ...
    def wait_for_others(self) -> None: ...  # for all that any library started there


class Device:
    """A backend with its memory and the variants that are loaded there."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.name = backend, backend.name
        self.allocator = Allocator(backend)
        self.write, self.synchronize = backend.write, backend.synchronize
        self.faults = Faults(self)
        self._loaded: dict[Variant, tuple[Any, Callable[..., bytes]]] = {}
        self._constants: dict[Any, DeviceArray] = {}  # the one that was asked for last comes last

    def __repr__(self) -> str:
        return f"<device {self.name}>"

    def read(self, target: np.ndarray, address: int) -> None:
        """Copy from there, when all that was started before is done. What that found wrong is raised (faults.py)."""
        self.backend.read(target, address)
        self.faults.raise_found()

    def constant(self, array: np.ndarray) -> DeviceArray:
        """An array there, only to be read. It is moved once, if it is asked for again before many others are."""
        content = array.dtype, array.shape, array.tobytes()
        found = self._constants.pop(content, None)
        if found is None:
            found = to_device(array, self)
            for oldest in list(self._constants)[:len(self._constants) + 1 - CONSTANTS]:
                self._constants.pop(oldest, None)
        self._constants[content] = found
        return found

    def load(self, variant: Variant) -> tuple[Any, Callable[..., bytes]]:
        """The variant as the backend runs it, and what packs its arguments."""
        found = self._loaded.get(variant)
        if found is None:
            compiled = variant.compiled(self.backend.capability)
            try:
                loaded = self.backend.load(compiled)
            except MemoryError:  # for the code itself
                self.allocator.clear()
                loaded = self.backend.load(compiled)
            found = self._loaded[variant] = (loaded, struct.Struct(compiled.packing).pack)
        return found


def launch(variant: Variant, blocks: int | tuple[int, ...], *arguments: Any) -> None:
    """Start a variant of a kernel on the device of the first array among its arguments.

    blocks: of the grid, along x, or (x, y) or (x, y, z); nothing starts where one is 0. arguments: arrays, their
    addresses (of none: 0 or None), and numbers, as the kernel's signature says. TypeError and ValueError where they
    don't fit it.
    """
    try:
        has_rule = variant.has_launch_rule
    except AttributeError:
        raise TypeError(f"launch: expected a variant, a kernel with its settings such as scale(np.float32), got "
                        f"{variant!r}") from None
    grid = _grid(variant, blocks)
    if 0 in grid:
        return
    device = next((a.device for a in arguments if isinstance(a, DeviceArray)), None)
    if device is None:
        raise TypeError(f"{variant}: none of the arguments is a DeviceArray (that of a Tensor is its .array), got "
                        f"{', '.join(type(a).__name__ for a in arguments)}")
    if not has_rule:
        _check(variant, arguments)
    loaded, pack = device.load(variant)
    values = [_address(variant, a) if isinstance(a, DeviceArray) else 0 if a is None else a for a in arguments]
    try:
        packed = pack(*values)
    except OverflowError:
        packed = pack(*map(_in_float32, values))
    except struct.error as error:
        given = ", ".join("an array" if isinstance(a, DeviceArray) else repr(a) for a in arguments)
        raise ValueError(f"{variant}: ({given}) don't fit {variant.kernel.signature!r}: {error}") from None
    device.backend.run(loaded, grid, variant.threads, packed)
    if LISTENERS:
        for heard in LISTENERS:
            heard.append(variant)


def _check(variant: Variant, arguments: tuple[Any, ...]) -> None:
    """Hold arguments against the signature: arrays of their types where pointers are, numbers elsewhere, one device."""
    if len(arguments) != len(variant.parameters):
        raise TypeError(f"{variant}: {len(arguments)} arguments came, expected {len(variant.parameters)}: "
                        f"{variant.kernel.signature}")
    device = None
    for argument, (name, (its_type, pointer)) in zip(arguments, variant.parameters.items(), strict=True):
        if not isinstance(argument, DeviceArray):
            if argument is None and not pointer:
                raise TypeError(f"{variant}: {name} is None, expected a number ({its_type})")
            if pointer and not (argument is None or isinstance(argument, int)):
                kind = type(argument).__name__
                raise TypeError(f"{variant}: {name} is of type {kind}, expected a DeviceArray of {its_type}")
            continue
        expected = as_dtype(its_type)
        if not pointer:
            raise TypeError(f"{variant}: {name} is an array, expected a number ({its_type})")
        if argument.dtype != expected and not (expected == np.uint8 and argument.dtype == np.bool_):
            raise TypeError(f"{variant}: {name} is an array of {argument.dtype}, expected {expected}")
        device = device or argument.device
        if argument.device is not device:
            raise ValueError(f"{variant}: {name} is on {argument.device.name}, arrays before it on {device.name}")


def _in_float32(value: Any) -> Any:
    """A number too large for float32 is infinite there."""
    return math.copysign(math.inf, value) if isinstance(value, float) and abs(value) > LARGEST else value


def _address(variant: Variant, array: DeviceArray) -> int:
    if array.size >= MOST_ELEMENTS:
        raise ValueError(f"{variant}: an array of shape {array.shape}; the GPU's kernels count to 2^32 - 1")
    return array.address


def _grid(variant: Variant, blocks: int | tuple[int, ...]) -> Grid:
    if isinstance(blocks, int):
        grid = (blocks, 1, 1)
    elif isinstance(blocks, tuple) and len(blocks) <= 3 and all(isinstance(size, int) for size in blocks):
        grid = (*blocks, 1, 1, 1)[:3]
    else:
        raise TypeError(f"{variant}: blocks: expected an int, or up to three of them, got {blocks!r}")
    if grid[0] > MOST_BLOCKS[0] or grid[1] > MOST_BLOCKS[1] or grid[2] > MOST_BLOCKS[2]:
        raise ValueError(f"{variant}: a grid of {grid} blocks; a GPU takes at most {MOST_BLOCKS}")
    return grid  # type: ignore[return-value]


def cover(count: int, each: int = THREADS) -> int:
    """How many blocks of `each` threads (or elements) it takes to cover `count`."""
    return -(-count // each)
