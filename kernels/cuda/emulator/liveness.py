"""Which registers are read later: what a thread must keep while it waits at a stop."""

import re

from .parser import Entry, Instruction

CARRY = "carry"  # the flag that add.cc leaves for addc is kept like a register

_REGISTER = re.compile(r"%[\w$]+'*")
_NO_RESULT = {"st", "red", "bra", "brx", "ret", "exit", "bar", "barrier", "membar", "fence", "trap", "nanosleep"}


def written_and_read(instruction: Instruction, registers: dict) -> tuple[set[str], set[str]]:
    """The registers that an instruction writes and those that it reads."""
    written: set[str] = set()
    read: set[str] = set()
    for number, operand in enumerate(instruction.operands):
        target = number == 0 and (instruction.name not in _NO_RESULT or "red" in instruction.modifiers)
        (written if target else read).update(name for name in _REGISTER.findall(operand) if name in registers)
    if "cc" in instruction.modifiers:
        written.add(CARRY)
    if instruction.name in ("addc", "subc", "madc"):
        read.add(CARRY)
    if instruction.predicate:
        read.add(instruction.predicate)
    return written, read


def successors(entry: Entry, index: int) -> list[int]:
    """The instructions that may run after this one."""
    instruction = entry.instructions[index]
    following = [index + 1] if index + 1 < len(entry.instructions) else []
    if instruction.name == "bra":
        jumps = [entry.labels[instruction.operands[0]]]
    elif instruction.name == "brx":
        jumps = [entry.labels[name] for name in entry.branch_tables[instruction.operands[1]]]
    elif instruction.name in ("ret", "exit", "trap"):
        jumps = []
    else:
        return following
    jumps = [jump for jump in jumps if jump < len(entry.instructions)]
    return jumps + following if instruction.predicate else jumps


def live_before(entry: Entry) -> list[frozenset[str]]:
    """For each instruction, and the end, the registers whose values may still be read: the usual backward analysis."""
    count = len(entry.instructions)
    uses = [written_and_read(instruction, entry.registers) for instruction in entry.instructions]
    follow = [successors(entry, index) for index in range(count)]
    live: list[frozenset[str]] = [frozenset()] * (count + 1)
    changed = True
    while changed:
        changed = False
        for index in range(count - 1, -1, -1):
            after = frozenset().union(*(live[next_] for next_ in follow[index]))
            written, read = uses[index]
            if entry.instructions[index].predicate:
                written = set()  # where the predicate is false, the old value stays
            now = (after - written) | read
            if now != live[index]:
                live[index], changed = now, True
    return live
