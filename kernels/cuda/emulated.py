"""The emulator as a backend: the very PTX that a GPU would run, on this processor.

Environment: MINICNN_EMULATOR=fast (both of its speeds compute the same; this is the default), "checked" (every access
is looked at: bounds, races, barriers, memory that was never written) or "reverse" (checked, threads in the other
order).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..cpu import get_num_threads
from . import emulator
from .compiler import Compiled, cache_folder
from .memory import ALIGNMENT

MODES = ("fast", "checked", "reverse")


class Emulated:
    """Memory is the processor's own, with gaps between the blocks; a launch is over when it returns."""

    name = "emulator"
    capability = (8, 0)

    def __init__(self) -> None:
        mode = os.environ.get("MINICNN_EMULATOR", "fast")
        if mode not in MODES:
            raise ValueError(f"MINICNN_EMULATOR={mode}: expected one of {', '.join(MODES)}")
        self.mode = mode
        self.memory = emulator.Memory()
        self._owned: dict[int, np.ndarray] = {}

    def allocate(self, nbytes: int) -> int:
        try:
            owned = np.empty(nbytes + 3 * ALIGNMENT, np.uint8)  # with a gap on each side, for what runs over the end
        except MemoryError:
            return 0
        address = -(-(owned.ctypes.data + ALIGNMENT) // ALIGNMENT) * ALIGNMENT
        self._owned[address] = owned
        return address

    def release(self, address: int) -> None:
        del self._owned[address]

    def opened(self, address: int, nbytes: int) -> None:
        self.memory.add(address, nbytes)
        if self.mode != "fast":
            self._bytes(address, nbytes)[:] = 0xFF  # NaN, or -1: what nobody has written shows in the results

    def closed(self, address: int) -> None:
        self.memory.remove(address)

    def write(self, address: int, source: np.ndarray) -> None:
        self._bytes(address, source.nbytes)[:] = source.reshape(-1).view(np.uint8)

    def read(self, target: np.ndarray, address: int) -> None:
        target.reshape(-1).view(np.uint8)[:] = self._bytes(address, target.nbytes)

    def _bytes(self, address: int, nbytes: int) -> np.ndarray:
        owned = self._owned[address]
        start = address - owned.ctypes.data
        return owned[start:start + nbytes]

    def load(self, compiled: Compiled) -> dict[str, Any]:
        return {"": compiled}  # and its program for each mode, made when it first runs

    def run(self, loaded: dict[str, Any], grid: tuple[int, int, int], threads: int, packed: bytes) -> None:
        checked = self.mode != "fast"
        which = "checked" if checked else "fast"
        if which not in loaded:
            ptx, names = loaded[""].ptx, loaded[""].parameters
            loaded[which] = emulator.load(ptx, checked=checked, cache=cache_folder(), names=names)
        order = "reverse" if self.mode == "reverse" else "forward"
        cores = 1 if checked else get_num_threads()
        loaded[which].run(grid, (threads, 1, 1), 0, packed, self.memory, order=order, threads=cores)

    def synchronize(self) -> None:
        """Nothing is under way."""

    def wait_for_others(self) -> None:
        """Nobody else has work here."""


@contextmanager
def mode(name: str) -> Iterator[None]:
    """Run the emulator in another mode inside: "fast", "checked" or "reverse". ValueError for another."""
    from .devices import open_device

    if name not in MODES:
        raise ValueError(f"mode: expected one of {', '.join(MODES)}, got {name!r}")
    backend: Any = open_device("emulator").backend
    before, backend.mode = backend.mode, name
    try:
        yield
    finally:
        backend.mode = before
