"""A kernel's program: its PTX, ready to run on this processor, and its runs."""

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count as counter
from pathlib import Path
from typing import Literal

import numpy as np

from . import layout
from .checks import symbols
from .explain import explain, readable
from .faults import KernelFault
from .layout import LAUNCH_WORDS
from .memory import Memory
from .native import compile_entry
from .parser import parse
from .schedule import run_blocks
from .whereabouts import Arguments

MOST_THREADS = 1024
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_THREADS_ALONG = (1024, 1024, 64)
MOST_STATIC_SHARED = 48 * 1024
MOST_SHARED = {"sm_70": 96 * 1024, "sm_80": 163 * 1024, "sm_90": 227 * 1024}
WORTH_A_THREAD = 1 << 14  # threads of the grid: below, one core is as fast


class Program:
    """One kernel's PTX, compiled for this processor. Made by `emulator.load`."""

    def __init__(self, ptx: str, checked: bool, cache_folder: Path | None, names: tuple[str, ...]) -> None:
        self.checked = checked
        self.entry = parse(ptx)
        self.name = readable(self.entry.name)
        #: The packed parameters, as the struct module describes them: "@QQIf".
        self.parameters = self.entry.format
        self.names = names or tuple(f"parameter {number}" for number in range(len(self.entry.parameters)))
        if len(self.names) != len(self.entry.parameters):
            raise ValueError(f"{self.name}: {len(names)} names came for {len(self.entry.parameters)} parameters")
        if self.entry.shared_size > MOST_STATIC_SHARED:
            size, most = self.entry.shared_size, MOST_STATIC_SHARED
            self._refuse("shared memory", f"{size} bytes of static shared memory, at most {most} fit")
        native = compile_entry(self.entry, ptx, checked, symbols(), cache_folder)
        self._native, self._translation = native, native.translation
        self._stops = np.array([(0, 0), *native.translation.stops], np.int32).reshape(-1, 2)

    def run(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        shared_bytes: int,
        packed: bytes,
        memory: Memory,
        *,
        order: Literal["forward", "reverse"] = "forward",
        threads: int = 1,
    ) -> None:
        """Run it, and return when it is done.

        grid, block: (x, y, z). shared_bytes: of dynamic shared memory. packed: the parameters, see `parameters`.
        memory: what it may touch, for the checks. order: of the threads and warps of a block. threads: processor cores
        that the blocks are spread over (checked runs take one). Raises KernelFault, and ValueError for arguments that
        don't fit.
        """
        self._check_launch(grid, block, shared_bytes, packed, order)
        run = _Run(self, grid, block, shared_bytes, packed)
        blocks = grid[0] * grid[1] * grid[2]
        backward = order == "reverse"
        if self.checked:
            with memory.checking:
                self._run_checked(run, blocks, backward, memory)
        elif threads == 1 or blocks == 1 or blocks * run.threads < WORTH_A_THREAD:
            run.blocks(0, blocks, backward)
            self._raise(run)
        else:
            self._run_parallel([run.another() for _ in range(threads)], blocks, backward)

    def _check_launch(self, grid, block, shared_bytes: int, packed: bytes, order: str) -> None:
        if order not in ("forward", "reverse"):
            raise ValueError(f"order {order!r}: 'forward' or 'reverse' expected")
        if len(packed) != struct.calcsize(self.parameters):
            expected = f"{struct.calcsize(self.parameters)} ({self.parameters})"
            raise ValueError(f"{self.name}: {len(packed)} bytes of parameters, {expected} expected")
        if any(not 0 < size <= most for size, most in zip(grid, MOST_BLOCKS, strict=True)):
            self._refuse("launch", f"a grid of {tuple(grid)} blocks: from 1 to {MOST_BLOCKS} expected")
        threads = block[0] * block[1] * block[2]
        fits = all(0 < size <= most for size, most in zip(block, MOST_THREADS_ALONG, strict=True))
        most = min(MOST_THREADS, self.entry.most_threads or MOST_THREADS)
        if not fits or threads > most:
            self._refuse("launch", f"a block of {tuple(block)} threads: at most {most} fit")
        left = MOST_SHARED.get(self.entry.target, min(MOST_SHARED.values())) - self.entry.shared_size
        if not 0 <= shared_bytes <= left:
            self._refuse("shared memory", f"{shared_bytes} bytes of dynamic shared memory, at most {left} fit")

    def _refuse(self, kind: str, message: str) -> None:
        raise KernelFault(f"{kind}: {message}; kernel {self.name}", kind=kind, kernel=self.name)

    def _run_checked(self, run: "_Run", blocks: int, backward: bool, memory: Memory) -> None:
        board = run.board
        memory.begin_run()
        ranges, shadows = self._ranges(memory, run.packed)
        shadow = np.zeros((run.shared_bytes // self._translation.units[1] + 4) * layout.SHADOW_WORDS, np.int32)
        board[layout.EPOCH], board[layout.LAUNCH_EPOCH] = memory.epoch, memory.epoch + 1
        board[layout.RANGES], board[layout.RANGE_COUNT] = ranges.ctypes.data, len(ranges)
        board[layout.SHARED_BASE], board[layout.SHARED_SIZE] = run.shared, run.shared_bytes
        board[layout.SHARED_SHADOW] = shadow.ctypes.data
        board[layout.CONTEXTS] = run.contexts.ctypes.data
        board[layout.CONTEXT_BYTES] = self._translation.context_bytes
        board[layout.LOCAL_OFFSET], board[layout.LOCAL_SIZE] = self._translation.local_offset, self.entry.local_size
        units = self._translation.units
        board[layout.GLOBAL_SHIFT], board[layout.SHARED_SHIFT] = (unit.bit_length() - 1 for unit in units)
        run.blocks(0, blocks, backward)
        memory.epoch = int(board[layout.EPOCH])
        self._raise(run, ranges)

    def _ranges(self, memory: Memory, packed: bytes) -> tuple[np.ndarray, list[np.ndarray]]:
        """The memory that this run may touch: the allocations that its parameters point into, those whose addresses it
        may read there, and the program's own.

        With the shadows of those, which must be kept for as long as the table is used.
        """
        values = struct.unpack(self.parameters, packed)
        pointers = [value for value, letter in zip(values, self.parameters[1:], strict=True) if letter in "Qq"]
        if self._reads_addresses():
            pointers += memory.addresses_in(pointers)
        unit = self._translation.units[0]
        rows, shadows = [memory.table(pointers, unit)], []
        for name, address in self._native.variables.items():
            variable = self.entry.variables[name]
            shadow = np.zeros((variable.size // unit + 2) * layout.SHADOW_WORDS, np.int32)
            shadows.append(shadow)
            row = (address, address + variable.size, shadow.ctypes.data, variable.space != "const")
            rows.append(np.array([row], np.int64))
        table = np.concatenate(rows)
        return np.ascontiguousarray(table[np.argsort(table[:, 0])]), shadows

    def _reads_addresses(self) -> bool:
        """Whether the kernel loads words that could be addresses."""
        return any(
            i.name == "ld" and "global" in i.modifiers and any(type_.name in ("u64", "b64") for type_ in i.types)
            for i in self.entry.instructions
        )

    def _run_parallel(self, runs: "list[_Run]", blocks: int, backward: bool) -> None:
        """Blocks have no order and share nothing, so whoever is free takes the next few: the results stay the same."""
        share = max(1, blocks // (8 * len(runs)))
        starts = counter(0, share)

        def work(run: _Run) -> None:
            while (first := next(starts)) < blocks and not run.board[layout.STOP]:
                run.blocks(first, min(share, blocks - first), backward)

        waiting = [_pool(os.getpid(), len(runs)).submit(work, run) for run in runs[1:]]
        work(runs[0])
        for future in waiting:
            future.result()
        for run in runs:
            self._raise(run)

    def _raise(self, run: "_Run", ranges: np.ndarray | None = None) -> None:
        if run.board[layout.FAULTS]:
            values = struct.unpack(self.parameters, run.packed)
            arguments = None if ranges is None else Arguments(values, self.names, ranges)
            raise explain(self.entry, run.board, run.block, run.grid, run.shared, run.epochs, arguments)


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads that run blocks; a forked process has none of its parent's, so it gets its own."""
    return ThreadPoolExecutor(threads - 1, "emulator")


class _Run:
    """What one core needs to run blocks: contexts of the threads of a block, shared memory, a board."""

    def __init__(self, program: Program, grid, block, dynamic_shared: int, packed: bytes) -> None:
        self.program, self.grid, self.block, self.packed, self.dynamic = program, grid, block, packed, dynamic_shared
        self.threads = block[0] * block[1] * block[2]
        translation = program._translation
        self.contexts = _aligned(self.threads * translation.context_bytes).view(np.int32).reshape(self.threads, -1)
        number = np.arange(self.threads)
        self.contexts[:, layout.TID_X] = number % block[0]
        self.contexts[:, layout.TID_Y] = number // block[0] % block[1]
        self.contexts[:, layout.TID_Z] = number // (block[0] * block[1])
        self.shared_bytes = translation.shared_size + dynamic_shared
        self._shared = _aligned(self.shared_bytes)
        self.shared = self._shared.ctypes.data
        self._parameters = _aligned(len(packed))
        self._parameters[: len(packed)] = np.frombuffer(packed, np.uint8)
        self.launch = np.zeros(LAUNCH_WORDS, np.uint32)
        self.launch[layout.NTID : layout.NTID + 3], self.launch[layout.NCTAID : layout.NCTAID + 3] = block, grid
        self.launch[layout.DYNAMIC_SHARED], self.launch[layout.TOTAL_SHARED] = dynamic_shared, self.shared_bytes
        self.board = np.zeros(layout.BOARD_WORDS, np.int64)
        blocks = grid[0] * grid[1] * grid[2]
        self.epochs = np.zeros(blocks if program.checked else 0, np.int64)
        taken = (self.launch, self._parameters, self._shared, self.contexts, self.board)
        self._where = tuple(array.ctypes.data for array in taken)

    def another(self) -> "_Run":
        return _Run(self.program, self.grid, self.block, self.dynamic, self.packed)

    def blocks(self, first: int, count: int, backward: bool) -> None:
        program = self.program
        run_blocks(
            program._native.step, self.launch, self._where, self.contexts, program._stops, first, count, backward,
            program.checked, self.epochs,
        )  # fmt: skip


def _aligned(size: int) -> np.ndarray:
    """Zeroed bytes at a multiple of 256, rounded up to 16."""
    raw = np.zeros(-(-max(size, 16) // 16) * 16 + 256, np.uint8)
    start = -raw.ctypes.data % 256
    return raw[start : len(raw) - 256 + start]
