"""Checks of what a tensor holds: at once on the CPU. On a GPU a kernel looks, and nobody waits for it: the error is
raised where a tensor is read next (see device.py)."""

from .. import device as devices
from ..tensor import Tensor


def check_classes(name: str, target: Tensor, classes: int, ignore_index: int | None = None) -> None:
    """IndexError if a class is neither one of 0..classes-1 nor ignore_index."""
    if target.device != "cpu":
        devices.gpu_kernels().check_indices(target.array, classes, name, ignore_index)
        return
    values = target.array
    outside = (values < 0) | (values >= classes)
    bad = values[outside if ignore_index is None else outside & (values != ignore_index)]
    if bad.size:
        raise IndexError(f"{name}: target {bad[0]} is not a class from 0 to {classes - 1}")


def check_probabilities(name: str, x: Tensor) -> None:
    """ValueError if an element is not from 0 to 1."""
    if x.device != "cpu":
        devices.gpu_kernels().check_probabilities(x.array, name)
    elif x.numel() and not (x.detach().min().item() >= 0 and x.detach().max().item() <= 1):
        raise ValueError(f"{name}: input must be probabilities from 0 to 1")
