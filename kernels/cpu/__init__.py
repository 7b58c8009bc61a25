"""The CPU kernels: compiled Cython, one set for each vector level, the best one for this processor chosen at import.

Environment: MINICNN_VECTOR=baseline|avx2|avx512 forces a level.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from ..contracts import CONTRACTS
from .algorithms import can_winograd, choose

#: How often a thread looks for work before it goes to sleep: 0.05 to 0.1 ms.
SPINS = "3000"


def _load_host() -> ModuleType:
    """The module that brings OpenMP with it, loaded so that idle threads soon go to sleep, but not at once.

    GCC's OpenMP lets a thread that waits spin for milliseconds. On a machine that has other things to do it then waits
    for a processor that a spinning thread holds, and a training step takes ten times as long. A thread that sleeps,
    though, takes longer to wake than many a kernel to run: a step on two pictures takes twice as long. SPINS is about
    the time from one kernel of a step to the next. The library reads its setting when it is loaded; what the user has
    set stands, and other libraries' settings stay as they are.
    """
    quiet = not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ)
    if quiet:
        os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        return importlib.import_module(f"{__name__}._host")
    except ModuleNotFoundError as error:
        raise ImportError(
            "minicnn's kernels are not built: run `pip install .` (`pip install -e .` to work on it)"
        ) from error
    finally:
        if quiet:
            del os.environ["GOMP_SPINCOUNT"]


host = _load_host()

FAMILIES = ("elementwise", "copy", "reduce", "matmul", "conv", "pool", "norm", "random", "optim", "picture")


def _available() -> tuple[str, ...]:
    """The levels this processor runs, plainest first; those that a partial build left out are not among them."""
    runs = {"avx2": host.has_avx2(), "avx512": host.has_avx512()}
    built = [at for at, can in runs.items() if can and importlib.util.find_spec(f"{__name__}._conv_{at}")]
    return ("baseline", *built)


LEVELS = _available()


def _chosen_level() -> str:
    forced = os.environ.get("MINICNN_VECTOR")
    if not forced:
        return LEVELS[-1]
    if forced not in LEVELS:
        raise ImportError(f"MINICNN_VECTOR={forced}: there is {', '.join(LEVELS)} here")
    return forced


level = _chosen_level()
_modules: dict[tuple[str, str], ModuleType] = {}
_elementwise: dict[str, dict[str, Callable[..., None]]] = {}
_threads = 1


def _module(family: str, at: str) -> ModuleType:
    if (family, at) not in _modules:
        module = importlib.import_module(f"{__name__}._{family}_{at}")
        module.set_num_threads(_threads)
        _modules[family, at] = module
    return _modules[family, at]


def kernel(name: str, level: str | None = None) -> Callable[..., None]:
    """The compiled kernel of a contract, for the level in use or another."""
    at = level or globals()["level"]
    family = CONTRACTS[name].family
    module = _module(family, at)
    if family != "elementwise":
        return getattr(module, name)
    if at not in _elementwise:
        _elementwise[at] = module.kernels()
    return _elementwise[at][name]


def algorithm(
    name: str, sizes: dict[str, int], params: dict[str, Any], dtype: np.dtype, wanted: str, prepared: bool = False
) -> tuple[str, Callable[..., None]]:
    """The algorithm a convolution kernel will use for these sizes, and a kernel bound to it.

    prepared: whether it will be called with `kept`, so that its filters are prepared once.
    """
    if wanted == "reference":
        from .. import reference

        slow = reference.kernel(name)
        return wanted, lambda *args, kept=None: slow(*args)
    chosen = choose(name, sizes, params, dtype, prepared) if wanted == "auto" else wanted
    if chosen == "winograd" and not can_winograd(sizes, params, dtype):
        chosen = "direct"  # it can do every shape
    groups = 1 if chosen == "depthwise" else params.get("groups", 1)
    return chosen, partial(kernel(name, _level_for(name, sizes, groups)), algorithm=chosen)


def _level_for(name: str, sizes: dict[str, int], groups: int) -> str:
    """The level in use; AVX2 in the place of AVX-512, whose tiles are 32 filters wide, where they don't fill tiles: a
    layer of 24 or 80 filters would take up to 1.6 times as long. (algorithms.py can reckon with AVX2's tiles for both.)
    """
    filters = (sizes["C"] if name == "conv2d_input_grad" else sizes["K"]) // groups
    return "avx2" if level == "avx512" and filters % 32 and "avx2" in LEVELS else level


def set_num_threads(count: int) -> None:
    """How many threads the kernels may use (1 where OpenMP is absent)."""
    global _threads
    _threads = count if host.openmp else 1
    for module in _modules.values():
        module.set_num_threads(_threads)


def get_num_threads() -> int:
    return _threads


def _processors() -> int:
    """Processors this process may use: its affinity, its control group's quota, OMP_NUM_THREADS."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = open("/sys/fs/cgroup/cpu.max").read().split()  # noqa: SIM115
        if quota != "max":
            count = min(count, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass  # not Linux, or no control group: the affinity stands
    return min(count, host.default_threads()) if "OMP_NUM_THREADS" in os.environ else count


set_num_threads(_processors())
# A team of OpenMP threads does not survive a fork: the child would wait for threads that it doesn't have.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(set_num_threads, 1))
