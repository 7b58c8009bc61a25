"""Checks and conversions of arguments that the ops share. Errors name the op and the argument."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..dispatch import Remembered
from ..tensor import FLOATS, F, Tensor

Pair = tuple[int, int]

_INTS = (int, np.integer)


def remembered(function: F) -> F:
    """Decorator for a function that checks tensors and settings, of which it looks at no values but those of the
    settings: a network asks the same in every step, and gets the same answer. Arguments by place only."""
    return Remembered(function, Tensor)


def is_int(value: Any) -> bool:
    return type(value) is int or (isinstance(value, _INTS) and not isinstance(value, bool))


def need_tensor(op: str, **tensors: Any) -> None:
    """Every argument is a Tensor (or None)."""
    for name, value in tensors.items():
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"{op}: {name} must be a Tensor, got {type(value).__name__}")


def need_float(op: str, **tensors: Any) -> None:
    """Every argument is a float Tensor (or None), all of one dtype on one device."""
    if _are_alike(tensors.values()):
        return
    need_tensor(op, **tensors)
    first: tuple[str, Tensor] | None = None
    for name, value in tensors.items():
        if value is None:
            continue
        if value.dtype not in FLOATS:
            raise TypeError(f"{op}: {name} must be float32 or float64, got {value.dtype}")
        if first and value.dtype != first[1].dtype:
            raise TypeError(
                f"{op}: {name} is {value.dtype}, but {first[0]} is {first[1].dtype}; convert one with .to(dtype)"
            )
        if first and value.device != first[1].device:
            raise ValueError(
                f"{op}: {name} is on {value.device}, but {first[0]} is on {first[1].device}; move one with .to(device)"
            )
        first = first or (name, value)


def _are_alike(tensors: Iterable[Any]) -> bool:
    """Whether there is nothing to find fault with, in the usual case: NumPy arrays that share their dtype."""
    dtype = None
    for tensor in tensors:
        if tensor is None:
            continue
        if not isinstance(tensor, Tensor) or type(tensor.array) is not np.ndarray:
            return False
        if dtype is None:
            dtype = tensor.array.dtype
            if dtype not in FLOATS:
                return False
        elif tensor.array.dtype is not dtype:
            return False
    return True


def need_rank(op: str, name: str, tensor: Tensor, layout: str) -> None:
    """The tensor has the dimensions of `layout`, such as "N, H, W, C"."""
    if tensor.ndim != layout.count(",") + 1:
        raise ValueError(f"{op}: {name} must have shape ({layout}), got {tensor.shape}")


def per_axis(op: str, name: str, value: Any, count: int, least: int = 1) -> tuple[int, ...]:
    """An int, or one for each of so many axes, none below `least`, as a tuple."""
    many: tuple[Any, ...] = ()
    if is_int(value):
        many = (value,) * count
    elif isinstance(value, Sequence) and not isinstance(value, str):
        many = tuple(value)
    if len(many) != count or not all(is_int(v) and v >= least for v in many):
        expected = {1: "an int or a tuple of one", 2: "an int or a pair of ints", 3: "an int or three ints"}[count]
        raise ValueError(f"{op}: {name} must be {expected}, at least {least}, got {value!r}")
    return tuple(int(v) for v in many)


def pair(op: str, name: str, value: Any, least: int = 1) -> Pair:
    """An int or a pair of ints, none below `least`, as a pair (rows, columns)."""
    if type(value) is int and value >= least:
        return value, value
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int and min(value) >= least:
        return value
    rows, columns = per_axis(op, name, value, 2, least)
    return rows, columns


def check_eps(op: str, eps: Any) -> float:
    """The argument eps, any number from 0."""
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not eps >= 0:
        raise ValueError(f"{op}: eps must be a number that is not negative, got {eps!r}")
    return eps


def axis(op: str, dim: Any, rank: int) -> int:
    """A dimension counted from either end, as one counted from the front."""
    if not is_int(dim) or not -max(rank, 1) <= dim < max(rank, 1):
        raise IndexError(f"{op}: dim must be an int from {-max(rank, 1)} to {max(rank, 1) - 1}, got {dim!r}")
    return int(dim) % max(rank, 1)


def axes(op: str, dim: Any, rank: int) -> tuple[int, ...]:
    """One dimension, several, or all (None), as a sorted tuple."""
    if dim is None:
        return tuple(range(rank))
    many = tuple(axis(op, d, rank) for d in (dim if isinstance(dim, Sequence) else (dim,)))
    if len(set(many)) != len(many):
        raise ValueError(f"{op}: dim names a dimension twice: {dim!r}")
    return tuple(sorted(many)) if rank else ()


def shape_of(op: str, sizes: Sequence[Any]) -> tuple[int, ...]:
    """Sizes given as f(2, 3) or f((2, 3))."""
    flat = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else tuple(sizes)
    for size in flat:
        if not is_int(size):
            raise TypeError(f"{op}: sizes must be ints, got {flat!r}")
    return flat


def dtype_of(value: Any) -> np.dtype | None:
    """The dtype that a value names, None if it names none (a device, say)."""
    if value is None:
        return None
    try:
        dtype = np.dtype(value)
    except TypeError:
        return None
    return dtype
