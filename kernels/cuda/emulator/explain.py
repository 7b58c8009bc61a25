"""Turns what the checks noted on the board into words."""

import re

import numpy as np

from . import layout
from .faults import KernelFault
from .parser import Entry, Instruction
from .whereabouts import Arguments, bytes_at, bytes_of_array, space_of

Three = tuple[int, int, int]

_KINDS = {
    layout.OUT_OF_BOUNDS: "out of bounds",
    layout.MISALIGNED: "misaligned access",
    layout.RACE_READ: "race",
    layout.RACE_WRITE: "race",
    layout.RACE_ATOMIC: "race",
    layout.UNINITIALISED: "uninitialised shared memory",
    layout.READ_ONLY: "write to constant memory",
    layout.DIVERGENT_BARRIER: "divergent barrier",
    layout.DIVERGENT_WARP: "divergent warp",
    layout.ENDLESS: "endless loop",
    layout.DIVISION: "division by zero",
    layout.TRAP: "trap",
}
_RACES = {layout.RACE_READ: "read", layout.RACE_WRITE: "wrote", layout.RACE_ATOMIC: "updated atomically"}
_VERBS = {"ld": "reads", "ldu": "reads", "st": "writes", "atom": "updates atomically", "red": "updates atomically"}


def readable(symbol: str) -> str:
    """The name of the function that became this symbol: "scale" for `_ZN7minicnn5scaleB2v1...`."""
    rest, name = symbol.removeprefix("_ZN"), symbol
    while rest != symbol and (length := re.match(r"\d+", rest)):
        start = length.end()
        name, rest = rest[start : start + int(length[0])], rest[start + int(length[0]) :]
    return name


def _three(number: int, size: Three) -> Three:
    return number % size[0], number // size[0] % size[1], number // (size[0] * size[1])


def explain(
    entry: Entry,
    board: np.ndarray,
    block: Three,
    grid: Three,
    shared: int,
    epochs: np.ndarray,
    arguments: Arguments | None,
) -> KernelFault:
    """The first fault of a run.

    epochs: those in which blocks began. arguments: None in fast mode, which looks at no access.
    """
    kind, number, other = (int(board[word]) for word in (layout.KIND, layout.THREAD, layout.OTHER_THREAD))
    instruction = entry.instructions[int(board[layout.INSTRUCTION])]
    text = instruction.text.rstrip(";")
    thread, here = _three(number, block), _block_of(int(board[layout.FAULT_EPOCH]), epochs, grid)
    other_thread = other_block = None
    if other >= 0:
        other_thread = _three(other, block)
        other_block = _block_of(int(board[layout.OTHER_EPOCH]), epochs, grid)
    address, space = None, ""
    if kind <= layout.READ_ONLY:
        number, size = int(board[layout.ADDRESS]), int(board[layout.SHARED_SIZE])
        space = space_of(instruction, 0 <= number - shared < size)
        if space == "shared":
            address = bytes_at(instruction, number - shared, "shared memory", size)
        elif space == "local" or arguments is None:
            address = f"{space} address {number:#x}"
        else:
            address = bytes_of_array(entry, instruction, number, arguments)
    name = f"{space} {_KINDS[kind]}" if kind <= layout.RACE_ATOMIC and space else _KINDS[kind]
    what = _sentence(kind, instruction, thread, address, other_thread, other_block if other_block != here else None)
    count = int(board[layout.FAULTS])
    line = f"PTX line {instruction.line}: {text}"
    message = f"{name}: {what}; block {_short(here)}; {line}; kernel {readable(entry.name)}"
    if count > 1:
        message += f"; the first of {count} findings"
    return KernelFault(
        message, kind=name, kernel=readable(entry.name), thread=thread, block=here, other_thread=other_thread,
        other_block=other_block, address=address, line=instruction.line, text=text, count=count,
    )  # fmt: skip


def _block_of(epoch: int, epochs: np.ndarray, grid: Three) -> Three | None:
    begun = epochs[epochs > 0]
    return _three(int(np.searchsorted(begun, epoch, side="right")) - 1, grid) if len(begun) else None


def _short(three: Three | None) -> str:
    return "unknown" if three is None else f"({','.join(map(str, three))})"


def _sentence(
    kind: int,
    instruction: Instruction,
    thread: Three,
    address: str | None,
    other: Three | None,
    other_block: Three | None,
) -> str:
    """Who did what, and to whom."""
    who = f"thread {_short(thread)}"
    verb = _VERBS.get(instruction.name, "accesses")
    if kind in _RACES:
        when = f" of block {_short(other_block)}" if other_block else ""
        since = "; blocks have no order" if other_block else " since the last barrier"
        return f"{who} {verb} {address}, which thread {_short(other)}{when} {_RACES[kind]}{since}"
    if kind in (layout.OUT_OF_BOUNDS, layout.READ_ONLY, layout.MISALIGNED):
        return f"{who} {verb} {address}"
    if kind == layout.UNINITIALISED:
        return (f"{who} {verb} {address}, which no thread of its block has written yet: is a barrier missing, or a "
                "first value?")
    if kind == layout.DIVERGENT_BARRIER:
        return f"{who} waits at a barrier that thread {_short(other)} does not come to: it is done, or at another one"
    if kind == layout.DIVERGENT_WARP:
        if other is None:
            return f"{who} is not among the lanes that its own mask names"
        return f"{who} waits for thread {_short(other)}, which its mask names and which is not here"
    if kind == layout.ENDLESS:
        return f"{who} has gone back more often than any kernel should"
    return f"{who} comes to it"
