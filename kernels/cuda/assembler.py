"""From PTX to a GPU's own code, by NVIDIA's ptxas; and what that code takes up.

ptxas comes with the compiler that makes the PTX, in the wheel nvidia-cuda-nvcc-cu12, which the extra [cuda] installs;
$MINICNN_PTXAS names another one. What it makes is kept beside the PTX.
"""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from cuda import pathfinder

from .compiler import cache_folder, write_beside

#: What ptxas reports of a kernel, as patterns of its messages.
_REPORT = {
    "registers": r"Used (\d+) registers",
    "shared_bytes": r"(\d+) bytes smem",
    "stack_bytes": r"(\d+) bytes stack frame",
    "spill_stores": r"(\d+) bytes spill stores",
    "spill_loads": r"(\d+) bytes spill loads",
}


@dataclass(frozen=True)
class Assembled:
    """A kernel's machine code and what it takes up: registers of a thread, bytes of shared memory of a block, bytes
    of each thread's stack, and bytes that it stores to and loads from there because the registers don't suffice."""

    cubin: bytes
    registers: int
    shared_bytes: int
    stack_bytes: int
    spill_stores: int
    spill_loads: int


@cache
def find_ptxas() -> str | None:
    """The path of ptxas: $MINICNN_PTXAS, or the one where NVIDIA's libraries come from: wheels, Conda, $CUDA_HOME. Not
    any on the PATH, which may be older than the PTX."""
    return os.environ.get("MINICNN_PTXAS") or pathfinder.find_nvidia_binary_utility("ptxas")


@cache
def _version(ptxas: str) -> str:
    """What it says of itself; FileNotFoundError where it can't be run."""
    try:
        return subprocess.run([ptxas, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise FileNotFoundError(f"{ptxas} is not a ptxas that runs here: {error}") from error


def assemble(ptx: str, capability: tuple[int, int]) -> Assembled:
    """Assemble a kernel. FileNotFoundError without ptxas, ValueError where it refuses the PTX."""
    ptxas = find_ptxas()
    if ptxas is None:
        raise FileNotFoundError("ptxas is not installed (pip install nvidia-cuda-nvcc-cu12)")
    digest = sha256(f"{ptx}{capability}{_version(ptxas)}".encode()).hexdigest()[:20]
    cubin, report = (cache_folder() / f"{digest}.{ending}" for ending in ("cubin", "txt"))
    if not (cubin.exists() and report.exists()):
        with tempfile.TemporaryDirectory() as folder:
            source, made = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
            source.write_text(ptx)
            major, minor = capability
            done = subprocess.run([ptxas, f"-arch=sm_{major}{minor}", "-v", str(source), "-o", str(made)],
                                  capture_output=True, text=True)
            if done.returncode:
                release = _version(ptxas).strip().splitlines()[-1]
                raise ValueError(f"{ptxas} ({release}) refuses the PTX: {done.stderr.strip()}")
            write_beside(cubin, made.read_bytes())
            write_beside(report, done.stderr.encode())
    text = report.read_text()
    numbers = {name: re.search(pattern, text) for name, pattern in _REPORT.items()}
    return Assembled(cubin.read_bytes(), **{name: int(m[1]) if m else 0 for name, m in numbers.items()})
