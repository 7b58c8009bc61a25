"""What a compiled variant of a kernel is made of, and what must not be in it: read from its PTX and from ptxas's
report, without a GPU."""

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .assembler import Assembled, assemble
from .compiler import KERNELS, Variant

#: The compute capabilities that every variant is compiled for here: Volta, Ampere, Hopper.
CAPABILITIES = ((7, 0), (8, 0), (9, 0))


class Processor(NamedTuple):
    """What the blocks on one multiprocessor share (CUDA C++ Programming Guide, "Compute Capabilities")."""

    registers: int
    threads: int
    blocks: int
    shared_bytes: int
    reserved_bytes: int  # of shared memory, for each block


PROCESSORS = {
    (7, 0): Processor(65536, 2048, 32, 98304, 0), (7, 5): Processor(65536, 1024, 16, 65536, 0),
    (8, 0): Processor(65536, 2048, 32, 167936, 1024), (8, 6): Processor(65536, 1536, 16, 102400, 1024),
    (8, 9): Processor(65536, 1536, 24, 102400, 1024), (9, 0): Processor(65536, 2048, 32, 233472, 1024),
    (10, 0): Processor(65536, 2048, 32, 233472, 1024), (12, 0): Processor(65536, 1536, 24, 102400, 1024),
}
WARP = 32
REGISTER_UNIT, SHARED_UNIT = 256, 128  # in which registers are given out to warps, and shared memory to blocks


@dataclass(frozen=True)
class Inspected:
    """A variant compiled for one capability. instructions, fma_share: of its PTX."""

    variant: Variant
    capability: tuple[int, int]
    ptx: str
    assembled: Assembled

    @property
    def instructions(self) -> list[str]:
        return [name for _, name in _instructions(self.ptx)]

    @property
    def occupancy(self) -> float:
        """The share of a multiprocessor's threads that its registers, shared memory and limits let run at once."""
        has, threads = PROCESSORS[self.capability], self.variant.threads
        warps = -(-threads // WARP)
        of_a_warp = -(-self.assembled.registers * WARP // REGISTER_UNIT) * REGISTER_UNIT
        shared = -(-(self.assembled.shared_bytes + has.reserved_bytes) // SHARED_UNIT) * SHARED_UNIT
        blocks = min(has.blocks, has.threads // threads, has.registers // max(of_a_warp, 1) // warps,
                     has.shared_bytes // shared if shared else has.blocks)
        return blocks * warps * WARP / has.threads


def inspect_variant(variant: Variant, capability: tuple[int, int]) -> Inspected:
    """Compile and assemble a variant. FileNotFoundError without ptxas."""
    ptx = variant.compiled(capability).ptx
    return Inspected(variant, capability, ptx, assemble(ptx, capability))


@cache
def all_variants() -> tuple[Variant, ...]:
    """Every kernel with all the settings that it names, in the order of the kernels' names."""
    from . import FAMILIES

    for modules in FAMILIES.values():
        for module in modules:
            import_module(f"{__package__}.{module}")
    return tuple(KERNELS[name](*settings) for name in sorted(KERNELS) for settings in KERNELS[name].variants)


# ---------------------------------------------------------------------------------------------------- instructions

_INSTRUCTION = re.compile(r"^\s+(?:@!?%\w+\s+)?([a-z][\w.]*)\s*([^;]*);")
_LABEL = re.compile(r"^(\$\w+):")


def _instructions(ptx: str) -> Iterator[tuple[int, str]]:
    """The line and the name of each."""
    for number, line in enumerate(ptx.splitlines()):
        found = _INSTRUCTION.match(line)
        if found:
            yield number, found[1]


def fma_share(ptx: str) -> float:
    """The share of multiply-adds among the instructions of the loop that has most of them, 0 if there is no loop."""
    labels, loops = {}, []
    for number, line in enumerate(ptx.splitlines()):
        label, jump = _LABEL.match(line), _INSTRUCTION.match(line)
        if label:
            labels[label[1]] = number
        elif jump and jump[1].startswith("bra") and jump[2].strip() in labels:  # back to a label that has passed
            loops.append((labels[jump[2].strip()], number))
    best = (0, 0.0)
    for first, last in loops:
        inside = [name for number, name in _instructions(ptx) if first <= number <= last]
        count = sum(name.startswith("fma.") for name in inside)
        best = max(best, (count, count / len(inside)))
    return best[1]


# ----------------------------------------------------------------------------------------------------- the findings

FORBIDDEN = {
    r"\.func\b|\bcall\b": "calls a function: it isn't inlined",
    r"\b(?:div|rem)\.[su]64": "divides 64-bit integers, some hundred instructions: use divide()",
    r"\b(?:atom|red)\S*\.f\d\d": "adds floats atomically: results would depend on the order of threads",
}
OF_FLOAT32 = {r"\.f64\b": "computes in float64: a bare number or a Python division in a float32 kernel"}


def findings(one: Inspected) -> list[str]:
    """What is wrong with a variant, by its PTX, by ptxas's report, and by its budget."""
    body = one.ptx[one.ptx.index("{"):]
    patterns = FORBIDDEN if "float64" in one.variant.name else FORBIDDEN | OF_FLOAT32
    found = [why for pattern, why in patterns.items() if re.search(pattern, body)]
    source = inspect.getsource(one.variant.kernel.make)
    for word, instruction in (("load4(", r"ld\.global(?:\.nc)?\.v[24]"), ("store4(", r"st\.global\.v[24]")):
        if word in source and np.float32 in _dtypes(one.variant) and not re.search(instruction, body):
            found.append(f"{word[:-1]} became no vector instruction")
    made, allowed = one.assembled, budget(one.variant)
    if made.spill_stores or made.spill_loads:
        found.append(f"spills registers: {made.spill_stores} bytes stored, {made.spill_loads} loaded")
    for what in ("registers", "shared_bytes", "stack_bytes"):
        if getattr(made, what) > allowed[what]:
            found.append(f"{getattr(made, what)} {what}, its budget is {allowed[what]}")
    if fma_share(one.ptx) < allowed.get("fma_share", 0):
        found.append(f"its main loop is {fma_share(one.ptx):.0%} multiply-adds, expected {allowed['fma_share']:.0%}")
    return found


def _dtypes(variant: Variant) -> set[Any]:
    return {np.dtype(str(s)).type for s in variant.settings if str(s) in ("float32", "float64")}


@cache
def _budgets() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("budgets.json").read_text())


def budget(variant: Variant) -> dict[str, Any]:
    """What a variant may take up: the default, with what budgets.json says of its kernel and of itself."""
    given = _budgets()
    return {**given["default"], **given.get(variant.kernel.make.__name__, {}), **given.get(variant.name, {})}
