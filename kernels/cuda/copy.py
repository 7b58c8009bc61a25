"""Copies: strided walks - slices, transposes, flips, expansions - filling, and numbers as those of another type.

They move bytes, so a dtype counts only by its size. One of a walk's arrays is contiguous ("plain"), the other is walked
through with strides, in whichever direction; both as few axes as can be (axes.py). Two kernels:

- `walk`: neighbouring threads take neighbouring elements of the plain array. If the rows of both lie on multiples of
  four elements, as channels mostly do, a thread moves four at once.
- `transpose`, where neighbours of the plain array lie far apart in the other: any direct order would read or write a
  whole line of memory for each element. A block takes a tile of 32 x 32, reads it along the one array's lines into
  shared memory and writes it along the other's.

Strides may be negative: unsigned numbers count modulo 2^32, and so do the sums of them.
"""

from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numba import cuda, int64, types, uint8, uint32

from .axes import Numbers, check_size, collapse, contiguous, split
from .compiler import kernel
from .intrinsics import divide, load4, position, store4
from .launcher import cover, launch
from .memory import DeviceArray

ITEMS = {1: np.uint8, 4: np.uint32, 8: np.uint64}
TILE = 32
PITCH = TILE + 1
LINES = 8  # of a tile that a block moves at a time: 256 threads, each four elements of it
WRAP = 2**32 - 1


def item_type(array: DeviceArray) -> Any:
    """The unsigned integer of an element's size, which stands for any dtype where bytes are moved."""
    if array.dtype.itemsize not in ITEMS:
        raise TypeError(f"no copies of {array.dtype}: its elements have {array.dtype.itemsize} bytes, "
                        "expected 1, 4 or 8")
    return ITEMS[array.dtype.itemsize]


# ------------------------------------------------------------------------------------------------- strided walks


@kernel("strided: item*, plain: item*, start: u32, count: u32, outer: u32, n1: u32, n2: u32, n3: u32, "
        "s0: u32, s1: u32, s2: u32, s3: u32", variants=tuple(product(ITEMS.values(), (1, 4), (False, True))))
def walk(item, each, reading):
    """n1, n2, n3: the sizes of all axes but the first; outer: n0 * n1. All numbers count units of `each` elements.
    reading: from the strided array into the plain one."""
    def walk(strided, plain, start, count, outer, n1, n2, n3, s0, s1, s2, s3):
        i = position()
        if i >= count:
            return
        i2 = divide(i, n3)
        at = uint32(start + i2 * s2 + (i - i2 * n3) * s3)
        if outer > 1:  # two divisions more, which most walks do without
            i1 = divide(i2, n2)
            i0 = divide(i1, n1)
            at = uint32(at - i1 * n2 * s2 + (i1 - i0 * n1) * s1 + i0 * s0)
        if each == 1:
            if reading:
                plain[i] = strided[at]
            else:
                strided[at] = plain[i]
        else:
            if reading:
                a, b, c, d = load4(strided, uint32(at * 4))
                store4(plain, uint32(i * 4), a, b, c, d)
            else:
                a, b, c, d = load4(plain, uint32(i * 4))
                store4(strided, uint32(at * 4), a, b, c, d)
    return walk


@kernel("source: item*, target: item*, start: u32, begin: u32, across: u32, along: u32, across_tiles: u32, "
        "along_tiles: u32, batch1: u32, source_far: u32, target_far: u32, s0: u32, s1: u32, t0: u32, t1: u32",
        threads=TILE * LINES, variants=tuple((item,) for item in ITEMS.values()))
def transpose(item):
    """Planes that the source runs along one way, `along`, and the target the other, `across`: the next element of the
    other way is source_far and target_far away. Two outer axes count the planes; batch1: the size of the second."""
    def transpose(source, target, start, begin, across, along, across_tiles, along_tiles, batch1, source_far,
                  target_far, s0, s1, t0, t1):
        # The tile's rows are one longer than needed: so the 32 elements of a column lie in 32 different banks.
        tile = cuda.shared.array((TILE, PITCH), item)
        lane, line = uint32(cuda.threadIdx.x & (TILE - 1)), uint32(cuda.threadIdx.x >> 5)
        above = divide(cuda.blockIdx.x, along_tiles)
        plane = divide(above, across_tiles)
        b0 = divide(plane, batch1)
        b1 = uint32(plane - b0 * batch1)
        first_along = uint32((cuda.blockIdx.x - above * along_tiles) * TILE)
        first_across = uint32((above - plane * across_tiles) * TILE)
        at = uint32(start + b0 * s0 + b1 * s1 + first_across * source_far + first_along)
        to = uint32(begin + b0 * t0 + b1 * t1 + first_along * target_far + first_across)
        lines, lanes = uint32(across - first_across), uint32(along - first_along)  # what is left of the plane
        for step in range(TILE // LINES):
            k = uint32(line + step * LINES)
            if lane < lanes and k < lines:
                tile[k, lane] = source[uint32(at + k * source_far + lane)]
        cuda.syncthreads()
        for step in range(TILE // LINES):
            k = uint32(line + step * LINES)
            if k < lanes and lane < lines:
                target[uint32(to + k * target_far + lane)] = tile[lane, k]
    return transpose


def strided_get(x: DeviceArray, y: DeviceArray, shape: Numbers, strides: Numbers, offset: int) -> None:
    _walk(x, y, shape, strides, offset, True)


def strided_set(y: DeviceArray, x: DeviceArray, shape: Numbers, strides: Numbers, offset: int) -> None:
    _walk(y, x, shape, strides, offset, False)


def _walk(strided: DeviceArray, plain: DeviceArray, shape: Numbers, strides: Numbers, offset: int,
          reading: bool) -> None:
    check_size("a copy", strided, plain)
    if plain.size == 0:
        return
    for part, (theirs, ours), (start, begin) in _parts(tuple(shape), tuple(strides)):
        target, start = plain.after(begin) if begin else plain, start + offset
        rows = _axis_of_lines(part, theirs)
        if rows is None:
            _launch_walk(strided, target, part, theirs, start, reading)
        else:
            _launch_transpose(strided, target, part, theirs, ours, start, rows, reading)


@lru_cache(maxsize=4096)  # a network's shapes come again in every step
def _parts(shape: Numbers, strides: Numbers) -> list[tuple[Numbers, list[Numbers], list[int]]]:
    """A walk as walks of four axes: their sizes, and the strides and starts of the strided array and the plain one."""
    return list(split(*collapse(shape, strides, contiguous(shape)), 4))


def _axis_of_lines(sizes: Numbers, strides: Numbers) -> int | None:
    """The axis along which the strided array runs, if it is not the plain one's and both are long enough for tiles."""
    if strides[-1] not in (0, 1) and sizes[-1] >= LINES:
        for axis in range(len(sizes) - 1):
            if strides[axis] == 1 and sizes[axis] >= LINES:
                return axis
    return None


def _launch_walk(strided: DeviceArray, plain: DeviceArray, sizes: Numbers, strides: Numbers, start: int,
                 reading: bool) -> None:
    """By fours if every row of both arrays starts at a multiple of four elements."""
    count, each = prod(sizes), 1
    if strides[-1] == 1 and all(n % 4 == 0 for n in (sizes[-1], start, *strides[:-1])) and not plain.address % 16:
        each, count, start = 4, count // 4, start // 4
        sizes, strides = (*sizes[:-1], sizes[-1] // 4), (*(s // 4 for s in strides[:-1]), 1)
    launch(walk(item_type(plain), each, reading), cover(count), strided, plain, start & WRAP, count,
           sizes[0] * sizes[1], *sizes[1:], *(s & WRAP for s in strides))


def _launch_transpose(strided: DeviceArray, plain: DeviceArray, sizes: Numbers, strides: Numbers, ours: Numbers,
                      start: int, axis: int, reading: bool) -> None:
    """axis: along which the strided array runs; the plain one runs along the last."""
    batch = [k for k in range(len(sizes) - 1) if k != axis]
    # Of each: where it starts, how far it runs, how far to the next line, and the steps of the outer axes.
    there: Any = (strided, start & WRAP, sizes[axis], strides[-1] & WRAP, *(strides[k] & WRAP for k in batch))
    here: Any = (plain, 0, sizes[-1], ours[axis], *(ours[k] for k in batch))
    source, target = (there, here) if reading else (here, there)
    across, along = target[2], source[2]
    tiles = cover(across, TILE), cover(along, TILE)
    launch(transpose(item_type(plain)), sizes[batch[0]] * sizes[batch[1]] * tiles[0] * tiles[1], source[0], target[0],
           source[1], target[1], across, along, *tiles, sizes[batch[1]], source[3], target[3], *source[4:], *target[4:])


# ------------------------------------------------------------------------------------------------- filling, casting


@kernel("y: item*, value: item, n: u32", variants=tuple((item,) for item in ITEMS.values()))
def set_all(item):
    def set_all(y, value, n):
        i = uint32(position() * 4)
        if i < n:
            if uint32(n - i) >= 4:
                store4(y, i, value, value, value, value)
            else:
                while i < n:
                    y[i] = value
                    i = uint32(i + 1)
    return set_all


def fill(y: DeviceArray, value: Any) -> None:
    item = item_type(y)
    launch(set_all(item), cover(cover(y.size, 4)), y, int(np.array(value, y.dtype).view(item)), y.size)


@kernel("x: given*, y: result*, n: u32", variants=(
    (np.float32, np.float64, False), (np.float64, np.float32, False), (np.float32, np.int64, False),
    (np.int64, np.float32, False), (np.int64, np.float64, False), (np.bool_, np.float32, False),
    (np.float32, np.uint8, False), (np.float32, np.bool_, True)))
def convert(given, result, to_bool):
    """Integers come from floats by way of the widest, which keeps -1 when it becomes a byte: 255."""
    whole = isinstance(result, types.Integer)

    def convert(x, y, n):
        i = position()
        if i < n:
            if to_bool:
                y[i] = uint8(x[i] != given(0))
            elif whole:
                y[i] = result(int64(x[i]))
            else:
                y[i] = result(x[i])
    return convert


def cast(x: DeviceArray, y: DeviceArray) -> None:
    """y = x, as numbers of y's type."""
    launch(convert(x.dtype, y.dtype, y.dtype == np.bool_), cover(x.size), x, y, x.size)


LAUNCHES = {"strided_get": strided_get, "strided_set": strided_set, "fill": fill}
