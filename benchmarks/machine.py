"""On what was measured: the processor, the versions, the commit."""

import os
import platform
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import minicnn as mc
from minicnn.kernels import cpu

from .peers import PEERS, version

HERE = Path(__file__).resolve().parent

#: Environment variables that hold a side to fewer vector units or other threads than it would choose.
HOLDING = ("MINICNN_VECTOR", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def describe() -> dict[str, Any]:
    """Plain values for JSON. Never fails: what can't be found out is None."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "caches": caches(),
        "memory_gib": memory(),
        "system": platform.platform(),
        "vector_level": cpu.level,
        "openmp": cpu.host.openmp,
        "held_by": {name: os.environ[name] for name in HOLDING if name in os.environ},
        "gpu": mc.cuda_is_available(),
        "versions": {"minicnn": mc.__version__, "python": platform.python_version(), "numpy": np.__version__,
                     **{peer: version(peer) for peer in PEERS}},
        "commit": commit(),
    }


def processor() -> str | None:
    """The name that the processor gives itself."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or None


def caches() -> dict[str, str] | None:
    """The sizes of the first core's caches, as {"L1d": "32K", "L2": "512K"} (Linux)."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with suppress(OSError):
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            found["L" + level + {"Data": "d", "Instruction": "i"}.get(kind, "")] = size
    return found or None


def memory() -> float | None:
    """Of the machine, in GiB."""
    with suppress(OSError, ValueError):
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return None


def commit() -> str | None:
    """Of the source tree that this file is in, with "+" if the tree has changed since; None outside of one."""
    with suppress(OSError, subprocess.CalledProcessError):
        if Path(_git("rev-parse", "--show-toplevel")) == HERE.parent:
            return _git("rev-parse", "HEAD") + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(HERE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
