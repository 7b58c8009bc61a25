"""Runs the PTX of a kernel on a processor: the text that a GPU's driver would get, without a GPU.

    parser.py       PTX text -> a list of instructions
    instructions.py the list of those that are known, with their meanings
    translate.py    instructions -> LLVM's intermediate code (emit_*.py, one function an instruction)
    native.py       -> machine code
    schedule.py     blocks, warps, barriers, shuffles: which thread runs when
    checks.py       bounds, races, alignment: what checked mode looks at
    explain.py      what they found, in words (whereabouts.py: in which array)
    program.py      a kernel ready to run

Fast mode runs blocks on several cores and looks at nothing: a stray address ends the process, or worse. Checked mode
looks at every access before it is made and raises KernelFault.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from .faults import KernelFault, PtxError
from .memory import Memory

if TYPE_CHECKING:
    from .program import Program

__all__ = ["KernelFault", "Memory", "PtxError", "load"]


def load(ptx: str, *, checked: bool, cache: Path | None = None, names: tuple[str, ...] = ()) -> "Program":
    """Compile the one kernel in this PTX for this processor.

    checked: look at every access, and find races, divergence and shared memory that was never written; ten to a hundred
    times slower. cache: a folder that keeps the machine code between processes. names: of the kernel's parameters, for
    what is found; PTX only numbers them. Raises PtxError for PTX that is not understood, KernelFault for a kernel that
    needs more than a GPU has.
    """
    from .program import Program

    return Program(ptx, checked, cache, names)
