"""The GPU's kernels: Numba functions compiled to PTX, and the rules by which they are launched.

Each module named in FAMILIES holds, as LAUNCHES, a launch rule for every contract of the families beside it: a function
that takes the contract's arrays and params, works out how many blocks it takes, and launches. The kernels stand beside
these rules. What they are written with is in intrinsics.py, how they become PTX in compiler.py, how they start in
launcher.py, and memory in memory.py; devices.py opens a device, which is a GPU's driver (driver.py) or the emulator
(emulated.py, emulator/). README.md is the chapter to read.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from ..contracts import CONTRACTS

#: The modules that hold the launch rules and kernels of a contract's family.
FAMILIES = {
    "elementwise": ("elementwise",),
    "copy": ("copy", "indexing"),
    "reduce": ("reduce", "softmax"),
    "matmul": ("matmul",),
    "conv": ("conv",),
    "pool": ("pool",),
    "norm": ("norm", "norm_pool", "group_norm"),
    "random": ("random",),
    "optim": ("optim",),
    "picture": ("picture",),
}

#: Lists that the launcher adds each variant to that it has launched: those of who wants to know (minicnn/trace.py).
LISTENERS: list[list[Any]] = []


def kernel(name: str) -> Callable[..., None]:
    """What carries out a contract on a GPU: its launch rule. Called as it is on the CPU, where it is a kernel: dispatch
    asks both alike."""
    for module in FAMILIES[CONTRACTS[name].family]:
        found = import_module(f"{__name__}.{module}").LAUNCHES.get(name)
        if found:
            return found
    raise NotImplementedError(f"{name}: no GPU kernel for this contract")


def algorithm(name: str, sizes: dict[str, int], params: dict[str, Any], dtype: np.dtype, wanted: str,
              prepared: bool = False) -> tuple[str, Callable[..., None]]:
    """The algorithm a convolution will use for these sizes, and its launch rule.

    wanted, prepared: for the processor's kernels, which have more algorithms; nothing is prepared here.
    """
    from .conv import choose

    return choose(name, sizes, params)


def check_indices(index: Any, length: int, name: str, ignore: int | None = None) -> None:
    """Have a kernel look whether all indices are in 0..length-1 or `ignore`. IndexError, naming the op `name`, where an
    array is read next."""
    from . import indexing

    indexing.check_indices(index, length, name, ignore)


def check_probabilities(x: Any, name: str) -> None:
    """Have a kernel look whether all of x is from 0 to 1. ValueError, naming the op, where an array is read next."""
    from . import softmax

    softmax.check_probabilities(x, name)
