"""Sums, and largest and smallest elements, over the middle axis of three. How threads share the work: layout.py."""

from typing import Any

import numpy as np
from numba import cuda, int32, int64, uint32

from .compiler import THREADS, kernel
from .define import device
from .intrinsics import ALL_LANES
from .launcher import launch
from .layout import SIZES, element, lanes_apart, layout, part, place, slots, sum_over
from .memory import DeviceArray, empty

FLOATS = (np.float32, np.float64)
#: For kernels with the settings (real, by_warp).
LAYOUTS = tuple((real, by_warp) for real in FLOATS for by_warp in (True, False))


@kernel(f"x: real*, y: real*, scale: real, {SIZES}", variants=(*LAYOUTS, (np.int64, True), (np.int64, False)))
def sums(real, by_warp):
    """y (parts, outputs) = scale * the sum of each part of each column."""
    def sums(x, y, scale, outputs, length, inner, each, bits):
        shared = cuda.shared.array(THREADS, real)
        column, number, threads = place(bits, by_warp)
        row, end = part(column, number, outputs, length, each)
        at, step = element(column, row, length, inner), uint32(threads * inner)
        total = real(0)
        # A thread waits for what it adds. Four loads on the way at once are four times the bandwidth.
        while uint32(row + uint32(3) * threads) < end:
            second, third = uint32(at + step), uint32(at + uint32(2) * step)
            total += (x[at] + x[second]) + (x[third] + x[uint32(third + step)])
            at, row = uint32(at + uint32(4) * step), uint32(row + uint32(4) * threads)
        while row < end:
            total += x[at]
            at, row = uint32(at + step), uint32(row + threads)
        total = sum_over(total, shared, bits, by_warp)
        if number == 0 and column < outputs:
            y[uint32(uint32(cuda.blockIdx.y) * outputs + column)] = total * scale
    return sums


def reduce_sum(x: DeviceArray, y: DeviceArray, scale: float) -> None:
    scale = int(scale) if x.dtype == np.int64 else scale
    how = layout(x.shape)
    if how.parts > 1:
        parts = empty((1, how.parts, how.outputs), x.dtype, x.device)
        launch(sums(x.dtype, how.by_warp), how.grid, x, parts, 1, *how.sizes)
        x, how = parts, layout(parts.shape, split=False)
    launch(sums(x.dtype, how.by_warp), how.grid, x, y, scale, *how.sizes)


@kernel(f"g: real*, dx: real*, scale: real, {SIZES}", variants=LAYOUTS)
def spread(real, by_warp):
    """Each element of a column of dx = scale * what g has for the column."""
    def spread(g, dx, scale, outputs, length, inner, each, bits):
        column, number, threads = place(bits, by_warp)
        row, end = part(column, number, outputs, length, each)
        at, step = element(column, row, length, inner), uint32(threads * inner)
        if row < end:
            value = g[column] * scale
            while row < end:
                dx[at] = value
                at, row = uint32(at + step), uint32(row + threads)
    return spread


def reduce_sum_grad(g: DeviceArray, dx: DeviceArray, length: int, scale: float) -> None:
    how = layout(dx.shape)
    launch(spread(g.dtype, how.by_warp), how.grid, g, dx, scale, *how.sizes)


# ------------------------------------------------------------------------------------------------- maximum, minimum

#: The place of a thread that has found nothing: after every other.
NOWHERE = 2**32 - 1


@device
def beats(value: Any, place: Any, other: Any, its_place: Any, largest: Any) -> Any:
    """Whether the other one is to be taken: NaN before any number, then the better value, then the first place."""
    if other != other or value != value:
        return other != other and (value == value or its_place < place)
    return (other > value if largest else other < value) or (other == value and its_place < place)


@device
def best_over(value: Any, place: Any, values: Any, places: Any, bits: Any, largest: Any, by_warp: Any) -> Any:
    """The best of the threads of a column, for all of them; as layout.together does it."""
    apart = uint32(16)
    while apart >= lanes_apart(bits, by_warp):
        other = cuda.shfl_xor_sync(ALL_LANES, value, apart)
        its_place = uint32(cuda.shfl_xor_sync(ALL_LANES, int32(place), apart))
        if beats(value, place, other, its_place, largest):
            value, place = other, its_place
        apart = uint32(apart >> uint32(1))
    if not by_warp:
        mine, speaks, slot, step, end = slots(bits)
        if speaks:
            values[mine], places[mine] = value, place
        cuda.syncthreads()
        while slot < end:
            if beats(value, place, values[slot], places[slot], largest):
                value, place = values[slot], places[slot]
            slot = uint32(slot + step)
    return value, place


@kernel(f"x: real*, found: i64*, y: real*, index: i64*, {SIZES}",
        variants=tuple((real, largest, by_warp, again) for real, largest, by_warp, again in (
            *((real, True, by_warp, False) for real in FLOATS for by_warp in (True, False)),
            *((real, False, False, again) for real in FLOATS for again in (True, False)))))
def best(real, largest, by_warp, again):
    """y, index (parts, outputs) = the best of each part of each column, and the row where it is found first.

    again: x holds the best of each part, and found the rows where they are.
    """
    worst = float("-inf") if largest else float("inf")

    def best(x, found, y, index, outputs, length, inner, each, bits):
        values, places = cuda.shared.array(THREADS, real), cuda.shared.array(THREADS, uint32)
        column, number, threads = place(bits, by_warp)
        row, end = part(column, number, outputs, length, each)
        at, step = element(column, row, length, inner), uint32(threads * inner)
        value, where = real(worst), uint32(NOWHERE)
        while row < end:
            if beats(value, where, x[at], row, largest):
                value, where = x[at], row
            at, row = uint32(at + step), uint32(row + threads)
        value, where = best_over(value, where, values, places, bits, largest, by_warp)
        if number == 0 and column < outputs:
            to = uint32(uint32(cuda.blockIdx.y) * outputs + column)
            y[to] = value
            index[to] = found[uint32(where * outputs + column)] if again else int64(where)
    return best


def _reduce_best(x: DeviceArray, y: DeviceArray, index: DeviceArray, largest: bool) -> None:
    how, found = layout(x.shape), None
    if how.parts > 1:
        shape = 1, how.parts, how.outputs
        parts, found = empty(shape, x.dtype, x.device), empty(shape, np.int64, x.device)
        launch(best(x.dtype, largest, how.by_warp, False), how.grid, x, None, parts, found, *how.sizes)
        x, how = parts, layout(shape, split=False)
    launch(best(x.dtype, largest, how.by_warp, found is not None), how.grid, x, found, y, index, *how.sizes)


def reduce_max(x: DeviceArray, y: DeviceArray, index: DeviceArray) -> None:
    _reduce_best(x, y, index, True)


def reduce_min(x: DeviceArray, y: DeviceArray, index: DeviceArray) -> None:
    _reduce_best(x, y, index, False)


LAUNCHES = {"reduce_sum": reduce_sum, "reduce_sum_grad": reduce_sum_grad, "reduce_max": reduce_max,
            "reduce_min": reduce_min}
