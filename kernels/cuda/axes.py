"""Shapes and strides made simple before a kernel sees them: few axes to count through, and those long."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

Numbers = tuple[int, ...]


def contiguous(shape: Numbers) -> Numbers:
    """The strides, in elements, of an array of this shape without gaps."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def broadcast(shape: Numbers, to: Numbers) -> Numbers:
    """The strides of an array of `shape`, without gaps, seen as one of shape `to`: 0 along axes where it repeats."""
    missing = len(to) - len(shape)
    return (0,) * missing + tuple(0 if size == 1 else step for size, step in zip(shape, contiguous(shape), strict=True))


def collapse(shape: Numbers, *strides: Numbers) -> tuple[Numbers, list[Numbers]]:
    """The same walk over arrays of these strides with as few axes as can be: axes of one place are left out, and
    neighbours become one axis where every array goes on from the one as from the other.

    >>> collapse((2, 3, 1, 5), (15, 5, 5, 1), (0, 0, 0, 1))
    ((6, 5), [(5, 1), (0, 1)])
    """
    sizes: list[int] = []
    steps: list[Numbers] = []
    for size, here in zip(shape, zip(*strides, strict=True), strict=True):
        if size == 1:
            continue
        if sizes and all(before == step * size for before, step in zip(steps[-1], here, strict=True)):
            sizes[-1] *= size
            steps[-1] = here
        else:
            sizes.append(size)
            steps.append(here)
    return tuple(sizes), list(zip(*steps, strict=True)) if steps else [()] * len(strides)


def split(shape: Numbers, strides: Sequence[Numbers], most: int) -> Iterator[tuple[Numbers, list[Numbers], list[int]]]:
    """A walk of any number of axes as walks of exactly `most`, with axes of one place in front where there are fewer:
    their sizes, the strides of each array and where each starts."""
    front = max(len(shape) - most, 0)
    fill = max(most - len(shape), 0)
    sizes = (1,) * fill + shape[front:]
    inner = [(0,) * fill + tuple(s[front:]) for s in strides]
    for index in product(*map(range, shape[:front])):
        yield sizes, inner, [sum(i * step for i, step in zip(index, s, strict=False)) for s in strides]


def check_size(kernel: Any, *arrays: Any) -> None:
    """ValueError if an array has more elements than the kernels' unsigned 32-bit indices can tell apart."""
    for array in arrays:
        if array.size >= 2**32:
            raise ValueError(f"{kernel}: an array of shape {array.shape} has {array.size} elements, "
                             "expected fewer than 2^32")
