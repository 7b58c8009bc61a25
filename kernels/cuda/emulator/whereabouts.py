"""Where an access to memory went, in words: of which array, passed as which argument, and how far in it."""

import re
from dataclasses import dataclass

import numpy as np

from . import layout
from .liveness import written_and_read
from .parser import Entry, Instruction

_BASE = re.compile(r"\[\s*(%[\w$]+'*)")  # the register in `[%rd1+8]`
_SPACES = ("shared", "local", "global", "const")


@dataclass(frozen=True)
class Arguments:
    """What was passed to a kernel: values and names of its parameters. ranges: the memory that it may touch, a row for
    each array (layout.py)."""

    values: tuple[float, ...]
    names: tuple[str, ...]
    ranges: np.ndarray

    def array_before(self, address: float) -> tuple[int, int] | None:
        """(start, end) of the last array that begins at this address or before it."""
        rows = self.ranges[self.ranges[:, layout.RANGE_START] <= address]
        return (int(rows[-1, layout.RANGE_START]), int(rows[-1, layout.RANGE_END])) if len(rows) else None

    def array_at(self, address: float) -> tuple[int, int] | None:
        """(start, end) of the array that this address lies in."""
        found = self.array_before(address)
        return found if found and address < max(found[1], found[0] + 1) else None


def space_of(access: Instruction, in_shared: bool) -> str:
    """The memory that an instruction accesses; generic ones don't say."""
    generic = "shared" if in_shared else "global"
    return next((name for name in access.modifiers if name in _SPACES), generic)


def bytes_at(access: Instruction, offset: int, name: str, size: int) -> str:
    """ "4 bytes at 1600 of x, past its 1600 bytes". offset: from the start of what is called so and has that size."""
    count = next((int(vector[1]) for vector in access.modifiers if vector in ("v2", "v4")), 1)
    nbytes = access.types[-1].size * count
    beyond = "before" if offset < 0 else "past" if offset + nbytes > size else ""
    return f"{nbytes} bytes at {offset} of {name}" + (f", {beyond} its {size} bytes" if beyond else "")


def bytes_of_array(entry: Entry, access: Instruction, address: int, arguments: Arguments) -> str:
    """The same for an address in global memory: by the argument that it was worked out from, wherever it came to lie.
    Where the PTX doesn't tell, by the last array before it."""
    values, before = arguments.values, arguments.array_before(address)
    behind = parameters_behind(entry, access)
    meant = [n for n in behind if arguments.array_at(values[n])]
    if behind and not meant:
        names = " or ".join(arguments.names[n] for n in sorted(behind))
        return f"address {address:#x} by way of {names}, for which no array was passed"
    if not meant and before:
        meant = [n for n, value in enumerate(values) if arguments.array_at(value) == before]
    if meant:
        number = min(meant, key=lambda n: abs(address - values[n]))
        array = arguments.array_at(values[number])
        assert array
        start = int(values[number])
        return bytes_at(access, address - start, arguments.names[number], array[1] - start)
    if before:  # its address stands in a table
        return bytes_at(access, address - before[0], f"the array at {before[0]:#x}", before[1] - before[0])
    return f"address {address:#x}, where no array lies"


def parameters_behind(entry: Entry, access: Instruction) -> set[int]:
    """The numbers of the parameters that go into the address of an access.

    Found by going back from its register over all instructions that write it, as far as addresses go, which have 64
    bits: through sums and choices, but not through memory. So there is none for an address that was read from a table,
    and there may be several where it is one or the other.
    """
    writers: dict[str, list[Instruction]] = {}
    for instruction in entry.instructions:
        for register in written_and_read(instruction, entry.registers)[0]:
            writers.setdefault(register, []).append(instruction)
    numbers = {name: number for number, name in enumerate(entry.parameters)}
    found, seen = set(), set()
    waiting = [base[1] for operand in access.operands if (base := _BASE.match(operand))]
    while waiting:
        register = waiting.pop()
        if register in seen or register not in entry.registers or entry.registers[register].bits != 64:
            continue
        seen.add(register)
        for instruction in writers.get(register, []):
            if instruction.name not in ("ld", "ldu", "atom", "shfl"):
                waiting += written_and_read(instruction, entry.registers)[1]
            elif instruction.name == "ld" and "param" in instruction.modifiers:
                found.add(numbers[instruction.operands[1].strip("[] ").partition("+")[0].strip()])
    return found
