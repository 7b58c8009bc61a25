"""Where arrays live and kernels run: names of devices, transfers between them, threads."""

from typing import Any

import numpy as np

from .kernels import cpu

MOST_THREADS = 1024  # beyond what processors have; where a system gives no more threads, OpenMP ends the process


def resolve(device: str) -> str:
    """The full name of a device, or an error that says why it can't be used."""
    if device == "cpu":
        return device
    if isinstance(device, str) and device.split(":")[0] in ("cuda", "emulator"):
        raise RuntimeError(f"device {device!r} can't be used: this version has kernels for 'cpu' only")
    raise ValueError(f"device: expected 'cpu', got {device!r}")


def of(array: Any) -> str:
    """The device that an array lives on."""
    if isinstance(array, np.ndarray):
        return "cpu"
    raise TypeError(f"not an array of any device: {type(array).__name__}")


def transfer(array: Any, device: str) -> Any:
    """The array on `device`; itself if it is there already."""
    if of(array) == resolve(device):
        return array
    raise RuntimeError(f"no way from {of(array)} to {device}")


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
    return False


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
