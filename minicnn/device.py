"""Where arrays live and kernels run: names of devices, transfers between them, threads.

"cpu" is the processor. "cuda" or "cuda:0", "cuda:1" ... are NVIDIA's GPUs. "emulator" runs the GPU's kernels, the
very code that a GPU would run, on the processor: slowly, for who writes them or has no GPU.
"""

from typing import Any

import numpy as np

from .kernels import cpu

MOST_THREADS = 1024  # beyond what processors have; where a system gives no more threads, OpenMP ends the process
EXPECTED = "expected 'cpu', 'cuda', 'cuda:N' or 'emulator'"


def resolve(device: str) -> str:
    """The full name of a device; ValueError for a name of none, RuntimeError with the reason if it can't be used.

    >>> import minicnn as mc
    >>> mc.device.resolve("cpu")
    'cpu'
    """
    if device in ("cpu", *_usable):
        return device
    name = "cuda:0" if device == "cuda" else device
    if not isinstance(name, str) or not (name == "emulator" or name.startswith("cuda:") and name[5:].isdecimal()):
        raise ValueError(f"device: {EXPECTED}, got {device!r}")
    open_device(name, device)
    _usable.add(name)
    return name


_usable: set[str] = set()


def open_device(name: str, asked: str = "") -> Any:
    """The device itself, opened; errors call it as it was asked for."""
    asked = asked or name
    try:
        from .kernels.cuda import devices
        from .kernels.cuda.driver import DriverMissing
    except ModuleNotFoundError as error:
        raise RuntimeError(f"device {asked!r} can't be used: {error.name} is not installed (pip install "
                           "'minicnn[cuda]'); device 'cpu' works") from error
    try:
        return devices.open_device(name)
    except DriverMissing as error:
        raise RuntimeError(f"device {asked!r} can't be used: {error}; device 'emulator' runs the same kernels on the "
                           "processor, slowly, and 'cpu' kernels of its own") from error


def gpu_kernels() -> Any:
    """The GPU's kernels, for `dispatch`."""
    from .kernels import cuda

    return cuda


def of(array: Any) -> str:
    """The device that an array lives on."""
    if isinstance(array, np.ndarray):
        return "cpu"
    where = getattr(array, "device", None)
    if where is None:
        raise TypeError(f"not an array of any device: {type(array).__name__}")
    return where.name


def transfer(array: Any, device: str) -> Any:
    """The array on `device`; itself if it is there already."""
    here, there = of(array), resolve(device)
    if here == there:
        return array
    from .kernels.cuda import memory

    if here != "cpu":
        array = memory.to_numpy(array)
    return array if there == "cpu" else memory.to_device(array, open_device(there))


def to_numpy(array: Any) -> np.ndarray:
    """The array in the CPU's memory; itself if it is there already."""
    return transfer(array, "cpu")


def cuda_is_available() -> bool:
    """Whether device="cuda" can be used.

    >>> import minicnn as mc
    >>> device = "cuda" if mc.cuda_is_available() else "cpu"
    >>> mc.zeros(3, device=device).shape
    (3,)
    """
    try:
        resolve("cuda")
    except RuntimeError:
        return False
    return True


def set_num_threads(count: int) -> None:
    """How many threads the CPU kernels use, 1 to 1024; ValueError otherwise. Results don't depend on it.

    >>> import minicnn as mc
    >>> before = mc.get_num_threads()
    >>> mc.set_num_threads(1)
    >>> mc.get_num_threads()
    1
    >>> mc.set_num_threads(before)
    """
    if not isinstance(count, int) or not 1 <= count <= MOST_THREADS:
        raise ValueError(f"set_num_threads: expected an int from 1 to {MOST_THREADS}, got {count!r}")
    cpu.set_num_threads(count)


def get_num_threads() -> int:
    """How many threads the CPU kernels use: one a processor that this process may use, unless set otherwise.

    >>> import minicnn as mc
    >>> mc.get_num_threads() >= 1
    True
    """
    return cpu.get_num_threads()
