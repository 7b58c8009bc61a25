"""Softmax, its logarithm, and the loss made of it, over the middle axis of three (layout.py: how).

A row is read three times: for its maximum, for the sum of exp(x - max), and for the result. The first read brings it
into a cache; what comes after costs no bandwidth of the memory, unless rows are longer than the cache.
"""

import math

from numba import cuda, uint32

from .compiler import THREADS, kernel
from .indexing import FAULTS, expect, note, wrong
from .intrinsics import divide, position
from .launcher import cover, launch
from .layout import SIZES, element, layout, max_over, part, place, sum_over
from .memory import DeviceArray
from .reduce import LAYOUTS

#: For kernels with the settings (real, logarithm, by_warp).
VARIANTS = tuple((real, logarithm, by_warp) for real, by_warp in LAYOUTS for logarithm in (True, False))


@kernel(f"x: real*, y: real*, {SIZES}", variants=VARIANTS)
def normalised_exp(real, logarithm, by_warp):
    """y = exp(x) / the sum of exp(x) over each column; or the logarithm of that."""
    def normalised_exp(x, y, outputs, length, inner, each, bits):
        largests, sums = cuda.shared.array(THREADS, real), cuda.shared.array(THREADS, real)
        column, number, threads = place(bits, by_warp)
        first, end = part(column, number, outputs, length, each)
        start, step = element(column, first, length, inner), uint32(threads * inner)

        largest, row, at = real(-math.inf), first, start
        while row < end:
            value = x[at]
            if value > largest or value != value:
                largest = value
            at, row = uint32(at + step), uint32(row + threads)
        largest = max_over(largest, largests, bits, by_warp)

        total, row, at = real(0), first, start
        while row < end:
            total += math.exp(x[at] - largest)  # at most 1: it can't overflow
            at, row = uint32(at + step), uint32(row + threads)
        total = sum_over(total, sums, bits, by_warp)

        shift, row, at = math.log(total), first, start
        while row < end:
            value = x[at] - largest
            y[at] = value - shift if logarithm else math.exp(value) / total
            at, row = uint32(at + step), uint32(row + threads)
    return normalised_exp


@kernel(f"g: real*, y: real*, dx: real*, {SIZES}", variants=VARIANTS)
def normalised_exp_grad(real, logarithm, by_warp):
    """dx = y * (g - the sum of g * y); of the logarithm: g - exp(y) * the sum of g."""
    def normalised_exp_grad(g, y, dx, outputs, length, inner, each, bits):
        sums = cuda.shared.array(THREADS, real)
        column, number, threads = place(bits, by_warp)
        first, end = part(column, number, outputs, length, each)
        start, step = element(column, first, length, inner), uint32(threads * inner)

        total, row, at = real(0), first, start
        while row < end:
            total += g[at] if logarithm else g[at] * y[at]
            at, row = uint32(at + step), uint32(row + threads)
        total = sum_over(total, sums, bits, by_warp)

        row, at = first, start
        while row < end:
            dx[at] = g[at] - math.exp(y[at]) * total if logarithm else y[at] * (g[at] - total)
            at, row = uint32(at + step), uint32(row + threads)
    return normalised_exp_grad


def softmax(x: DeviceArray, y: DeviceArray) -> None:
    how = layout(x.shape, split=False)
    launch(normalised_exp(x.dtype, False, how.by_warp), how.grid, x, y, *how.sizes)


def log_softmax(x: DeviceArray, y: DeviceArray) -> None:
    how = layout(x.shape, split=False)
    launch(normalised_exp(x.dtype, True, how.by_warp), how.grid, x, y, *how.sizes)


def softmax_grad(g: DeviceArray, y: DeviceArray, dx: DeviceArray) -> None:
    how = layout(y.shape, split=False)
    launch(normalised_exp_grad(g.dtype, False, how.by_warp), how.grid, g, y, dx, *how.sizes)


def log_softmax_grad(g: DeviceArray, y: DeviceArray, dx: DeviceArray) -> None:
    how = layout(y.shape, split=False)
    launch(normalised_exp_grad(g.dtype, True, how.by_warp), how.grid, g, y, dx, *how.sizes)


# ------------------------------------------------------------------------------------------------------- the loss


@kernel(f"log: real*, index: i64*, y: real*, ignore: i64, classes: u32, count: u32, {FAULTS}")
def chosen_loss(real):
    """y[m] = -log[m, index[m]], or 0 where index is `ignore`."""
    def chosen_loss(log, index, y, ignore, classes, count, faults, check):
        m = position()
        if m < count:
            chosen = index[m]
            loss = real(0)
            if chosen != ignore and not wrong(chosen, classes, faults, check, m):
                loss = -log[uint32(m * classes + uint32(chosen))]
            y[m] = loss
    return chosen_loss


@kernel("g: real*, log: real*, index: i64*, dx: real*, ignore: i64, classes: u32, count: u32")
def chosen_loss_grad(real):
    """dx[m, d] = g[m] * (exp(log[m, d]) - (d == index[m])), or 0 where index is `ignore`: a thread each."""
    def chosen_loss_grad(g, log, index, dx, ignore, classes, count):
        i = position()
        if i < count:
            m = divide(i, classes)
            chosen, slope = index[m], real(0)
            if chosen != ignore:
                hit = real(1) if uint32(i - m * classes) == uint32(chosen) else real(0)
                slope = g[m] * (math.exp(log[i]) - hit)
            dx[i] = slope
    return chosen_loss_grad


def cross_entropy(x: DeviceArray, index: DeviceArray, y: DeviceArray, log: DeviceArray, ignore: int) -> None:
    rows, classes = x.shape
    log_softmax(x.reshape(rows, classes, 1), log.reshape(rows, classes, 1))
    launch(chosen_loss(x.dtype), cover(rows), log, index, y, ignore, classes, rows,
           *expect(index, classes, "cross_entropy"))


def cross_entropy_grad(g: DeviceArray, log: DeviceArray, index: DeviceArray, dx: DeviceArray, ignore: int) -> None:
    launch(chosen_loss_grad(g.dtype), cover(dx.size), g, log, index, dx, ignore, dx.shape[1], dx.size)


@kernel(f"x: real*, n: u32, {FAULTS}")
def from_0_to_1(real):
    def from_0_to_1(x, n, faults, check):
        i = position()
        if i < n and not (x[i] >= real(0) and x[i] <= real(1)):
            note(faults, check, i)
    return from_0_to_1


def check_probabilities(x: DeviceArray, name: str) -> None:
    """Look at all of x: ValueError, naming the op, if one is not from 0 to 1. It is raised when an array is read."""
    def not_one(_: int) -> ValueError:
        return ValueError(f"{name}: input must be probabilities from 0 to 1")

    launch(from_0_to_1(x.dtype), cover(x.size), x, x.size, *x.device.faults.expect(not_one))


LAUNCHES = {"softmax": softmax, "softmax_grad": softmax_grad, "log_softmax": log_softmax,
            "log_softmax_grad": log_softmax_grad, "cross_entropy": cross_entropy,
            "cross_entropy_grad": cross_entropy_grad}
