"""Batch normalisation of x (M, C): statistics of each channel, what is made of them, and the gradient.

The statistics and the sums of the gradient are reductions over M, laid out as layout.py says. What is done to each
element has the same layout, with nothing to put together: a thread stays in its column, so that it reads what belongs
to the channel once, keeps it in registers, and divides nothing. Where C is a multiple of 4, a column of float32 is four
channels wide there, and a thread reads and writes 16 bytes at once.
"""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numba import cuda, uint32

from ..contracts import ACTIVATIONS
from .activations import activation, activation_grad
from .compiler import THREADS, kernel
from .define import device
from .intrinsics import ALL_LANES, load4, position, store4
from .launcher import cover, launch
from .layout import SIZES, element, lanes_apart, layout, part, place, slots, sum_over
from .memory import DeviceArray, empty
from .reduce import FLOATS

Optional = DeviceArray | None

# ------------------------------------------------------------------------------------------------------ statistics
# What is passed on of some numbers is their count, their mean, and the sum of squares about it. A thread finds them in
# one walk, for 16 numbers at a time from sums of d = x - shift and d * d, with the first of them for the shift: sums of
# x and x * x would lose every digit that the mean has before the variance. As the shift is one of the 16,
# (mean - shift)^2 is at most 16 times their variance, whatever they are, and what is left of the squares is a 16th of
# them at least, so never below 0 while it is finite. Two such triples are put together by a formula of Chan, Golub &
# LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.

#: Numbers of a thread that have the same shift.
RUN = 16


@device
def _merged(n: Any, mean: Any, square: Any, n2: Any, mean2: Any, square2: Any) -> Any:
    """Count, mean and squares of both."""
    count = n + n2
    share = n2 / count if count > 0 else n2
    apart = mean2 - mean
    return count, mean + apart * share, square + square2 + apart * (n * share) * apart


@device
def moments_over(n: Any, mean: Any, square: Any, shared: Any, bits: Any, by_warp: Any) -> Any:
    """Those of all threads of a column, known to its first thread; as layout.together does it. shared: (3, 256)."""
    apart = uint32(16)
    while apart >= lanes_apart(bits, by_warp):
        n, mean, square = _merged(n, mean, square, cuda.shfl_xor_sync(ALL_LANES, n, apart),
                                  cuda.shfl_xor_sync(ALL_LANES, mean, apart),
                                  cuda.shfl_xor_sync(ALL_LANES, square, apart))
        apart = uint32(apart >> uint32(1))
    if not by_warp:
        mine, speaks, slot, step, end = slots(bits)
        if speaks:
            shared[0, mine], shared[1, mine], shared[2, mine] = n, mean, square
        cuda.syncthreads()
        n, mean, square = shared[0, slot], shared[1, slot], shared[2, slot]
        slot = uint32(slot + step)
        while slot < end:
            n, mean, square = _merged(n, mean, square, shared[0, slot], shared[1, slot], shared[2, slot])
            slot = uint32(slot + step)
    return n, mean, square


@device
def _square(square: Any, n: Any, eps: Any) -> Any:
    return square


@device
def _variance(square: Any, n: Any, eps: Any) -> Any:
    return square / n


@device
def _rstd(square: Any, n: Any, eps: Any) -> Any:
    return (n / n) / math.sqrt(square / n + eps)


#: What is to be made of the sum of squares.
RESULTS = {"square": _square, "variance": _variance, "rstd": _rstd}


@kernel(f"x: real*, means: real*, spreads: real*, eps: real, {SIZES}",
        variants=tuple(product(FLOATS, RESULTS, (True, False))))
def moments(real, result, by_warp):
    """means, spreads (parts, outputs): the mean of each part of each column, and the result that its squares give."""
    finish = RESULTS[result]

    def moments(x, means, spreads, eps, outputs, length, inner, each, bits):
        shared = cuda.shared.array((3, THREADS), real)
        column, number, threads = place(bits, by_warp)
        row, end = part(column, number, outputs, length, each)
        at, step = element(column, row, length, inner), uint32(threads * inner)
        n, mean, square = real(0), real(0), real(0)
        while row < end:
            stop = min(end, uint32(row + uint32(RUN) * threads))
            shift, count, first, second = x[at], real(0), real(0), real(0)
            while uint32(row + threads) < stop:  # two loads on the way at once
                a, b = x[at] - shift, x[uint32(at + step)] - shift
                first += a + b
                second += a * a + b * b
                count += real(2)
                at, row = uint32(at + uint32(2) * step), uint32(row + uint32(2) * threads)
            if row < stop:
                a = x[at] - shift
                first += a
                second += a * a
                count += real(1)
                at, row = uint32(at + step), uint32(row + threads)
            away = first / count
            n, mean, square = _merged(n, mean, square, count, shift + away, second - first * away)
        n, mean, square = moments_over(n, mean, square, shared, bits, by_warp)
        if number == 0 and column < outputs:
            to = uint32(uint32(cuda.blockIdx.y) * outputs + column)
            means[to] = mean
            spreads[to] = finish(square, n, eps)
    return moments


@kernel(f"means: real*, squares: real*, mean: real*, spread: real*, eps: real, size: u32, total: u32, {SIZES}",
        variants=tuple(product(FLOATS, RESULTS, (True, False))))
def merge_moments(real, result, by_warp):
    """From columns of means and squares, of `size` numbers each but for the last, which has the rest of `total`."""
    finish = RESULTS[result]

    def merge_moments(means, squares, mean, spread, eps, size, total, outputs, length, inner, each, bits):
        shared = cuda.shared.array((3, THREADS), real)
        column, number, threads = place(bits, by_warp)
        row, end = part(column, number, outputs, length, each)
        at, step = element(column, row, length, inner), uint32(threads * inner)
        n, middle, square = real(0), real(0), real(0)
        while row < end:
            count = min(size, uint32(total - row * size))
            n, middle, square = _merged(n, middle, square, real(count), means[at], squares[at])
            at, row = uint32(at + step), uint32(row + threads)
        n, middle, square = moments_over(n, middle, square, shared, bits, by_warp)
        if number == 0 and column < outputs:
            mean[column] = middle
            spread[column] = finish(square, n, eps)
    return merge_moments


def column_moments(x: DeviceArray, mean: DeviceArray, spread: DeviceArray, result: str, eps: float = 0.0) -> None:
    """mean and spread (outer * inner) of x (outer, length, inner). result: what the spread is, one of RESULTS."""
    how = layout(x.shape)
    if how.parts == 1:
        launch(moments(x.dtype, result, how.by_warp), how.grid, x, mean, spread, eps, *how.sizes)
        return
    means, squares = (empty((1, how.parts, how.outputs), x.dtype, x.device) for _ in range(2))
    launch(moments(x.dtype, "square", how.by_warp), how.grid, x, means, squares, 0.0, *how.sizes)
    merge(means, squares, mean, spread, how.each, how.length, result, eps)


def merge(means: DeviceArray, squares: DeviceArray, mean: DeviceArray, spread: DeviceArray, size: int, total: int,
          result: str, eps: float = 0.0) -> None:
    """Put the moments (outer, length, inner) together down each column: of `size` numbers each, `total` in all."""
    how = layout(means.shape, split=False)
    launch(merge_moments(means.dtype, result, how.by_warp), how.grid, means, squares, mean, spread, eps, size, total,
           *how.sizes)


def batch_norm_stats(x: DeviceArray, mean: DeviceArray, var: DeviceArray) -> None:
    column_moments(x.reshape(1, *x.shape), mean, var, "variance")


@kernel("mean: real*, var: real*, running_mean: real*, running_var: real*, rstd: real*, share: real, "
        "share_of_var: real, eps: real, channels: u32", variants=tuple((real, True, True) for real in FLOATS))
def follow(real, with_mean, with_var):
    def follow(mean, var, running_mean, running_var, rstd, share, share_of_var, eps, channels):
        c = position()
        if c < channels:
            rstd[c] = real(1) / math.sqrt(var[c] + eps)
            if with_mean:
                running_mean[c] = (real(1) - share) * running_mean[c] + share * mean[c]
            if with_var:
                running_var[c] = (real(1) - share) * running_var[c] + share_of_var * var[c]
    return follow


def batch_norm_follow(mean: DeviceArray, var: DeviceArray, running_mean: Optional, running_var: Optional,
                      rstd: DeviceArray, momentum: float, unbias: float, eps: float) -> None:
    variant = follow(mean.dtype, running_mean is not None, running_var is not None)
    launch(variant, cover(mean.size), mean, var, running_mean, running_var, rstd, momentum, momentum * unbias, eps,
           mean.size)


# ---------------------------------------------------------------------------------------------- channels, four at once


@device
def _load1(x: Any, at: Any) -> Any:
    """One number as four: what is done to the others is the same, and so the compiler drops it."""
    return x[at], x[at], x[at], x[at]


@device
def _store1(y: Any, at: Any, a: Any, b: Any, c: Any, d: Any) -> None:
    y[at] = a


def reading(width: int) -> Callable[..., Any]:
    """What reads `width` numbers, 1 or 4, as a tuple of four."""
    return load4 if width == 4 else _load1


def writing(width: int) -> Callable[..., Any]:
    return store4 if width == 4 else _store1


def reading_if(given: bool, real: Any, otherwise: int, width: int) -> Callable[..., Any]:
    """What reads an array that may be absent, `otherwise` standing for it then."""
    @device
    def absent(x, at):
        return real(otherwise), real(otherwise), real(otherwise), real(otherwise)
    return reading(width) if given else absent


def width_of(x: DeviceArray) -> int:
    """How many channels a thread takes: four if they are 16 bytes, and all rows begin at a multiple of that."""
    return 4 if x.dtype == np.float32 and x.shape[-1] % 4 == 0 else 1


def variants(*more: Any) -> tuple[Any, ...]:
    """Settings of kernels that take (real, activation, weighted, biased, width), then `more`."""
    chosen = tuple((real, "relu", True, True, width, *more) for real, width in zip(FLOATS * 2, (1, 1, 4), strict=False))
    return (*chosen, *((FLOATS[0], name, True, True, 4, *more) for name in ("", *ACTIVATIONS) if name != "relu"))


@kernel(f"x: real*, mean: real*, rstd: real*, weight: real*, bias: real*, add: real*, y: real*, {SIZES}",
        variants=(*variants(False), (FLOATS[0], "relu", True, True, 4, True)))
def normalise(real, name, weighted, biased, width, added):
    """y = activation((x - mean) * rstd * weight + bias + add), a thread down a column `width` channels wide."""
    activate, read, write = activation(name, real), reading(width), writing(width)
    read_weight, read_bias = reading_if(weighted, real, 1, width), reading_if(biased, real, 0, width)
    read_add = reading_if(added, real, 0, width)

    def normalise(x, mean, rstd, weight, bias, add, y, outputs, length, inner, each, bits):
        column, number, threads = place(bits, False)
        row, end = part(column, number, outputs, length, each)
        if row < end:
            channel = uint32(column * uint32(width))
            m0, m1, m2, m3 = read(mean, channel)
            s0, s1, s2, s3 = read(rstd, channel)
            w0, w1, w2, w3 = read_weight(weight, channel)
            s0, s1, s2, s3 = s0 * w0, s1 * w1, s2 * w2, s3 * w3
            b0, b1, b2, b3 = read_bias(bias, channel)
            at = uint32(element(column, row, length, inner) * uint32(width))
            step = uint32(threads * inner * uint32(width))
            while row < end:
                x0, x1, x2, x3 = read(x, at)
                a0, a1, a2, a3 = read_add(add, at)
                write(y, at, activate((x0 - m0) * s0 + b0 + a0), activate((x1 - m1) * s1 + b1 + a1),
                      activate((x2 - m2) * s2 + b2 + a2), activate((x3 - m3) * s3 + b3 + a3))
                at, row = uint32(at + step), uint32(row + threads)
    return normalise


def batch_norm_apply(x: DeviceArray, mean: DeviceArray, rstd: DeviceArray, weight: Optional, bias: Optional,
                     add: Optional, y: DeviceArray, activation: str) -> None:
    rows, channels = x.shape
    width = width_of(x)
    variant = normalise(x.dtype, activation, weight is not None, bias is not None, width, add is not None)
    how = layout((1, rows, channels // width), warps=False)
    launch(variant, how.grid, x, mean, rstd, weight, bias, add, y, *how.sizes)


# -------------------------------------------------------------------------------------------------------- gradient
# Two passes: the sums of h and of h * xhat, then dx = scale * h - ((x - mean) * slope + shift). Here h is the gradient
# of the activation's input. Each pass makes it anew, which costs less than to write and read it.


@kernel("g: real*, x: real*, mean: real*, rstd: real*, weight: real*, bias: real*, firsts: real*, seconds: real*, "
        f"{SIZES}", variants=(*((real, "relu", True, True) for real in FLOATS), (FLOATS[0], "", False, False)))
def slope_sums(real, name, weighted, biased):
    """firsts, seconds (parts, C): the sums of h and of h * xhat over each part of each channel."""
    slope = activation_grad(name, real)
    read_weight, read_bias = reading_if(weighted, real, 1, 1), reading_if(biased, real, 0, 1)

    def slope_sums(g, x, mean, rstd, weight, bias, firsts, seconds, outputs, length, inner, each, bits):
        shared, shared2 = cuda.shared.array(THREADS, real), cuda.shared.array(THREADS, real)
        column, number, threads = place(bits, False)
        row, end = part(column, number, outputs, length, each)
        first, second = real(0), real(0)
        if row < end:
            middle, inverse = mean[column], rstd[column]
            scale, shift = inverse * read_weight(weight, column)[0], read_bias(bias, column)[0]
            at, step = element(column, row, length, inner), uint32(threads * inner)
            while uint32(row + threads) < end:  # four loads on the way at once
                after = uint32(at + step)
                a, b = x[at] - middle, x[after] - middle
                h, h2 = slope(g[at], a * scale + shift), slope(g[after], b * scale + shift)
                first += h + h2
                second += h * a + h2 * b
                at, row = uint32(after + step), uint32(row + uint32(2) * threads)
            if row < end:
                a = x[at] - middle
                h = slope(g[at], a * scale + shift)
                first += h
                second += h * a
            second *= inverse
        first = sum_over(first, shared, bits, False)
        second = sum_over(second, shared2, bits, False)
        if number == 0 and column < outputs:
            to = uint32(uint32(cuda.blockIdx.y) * outputs + column)
            firsts[to] = first
            seconds[to] = second
    return slope_sums


def dx_maker(real: Any, name: str, rectified: bool) -> Callable[..., Any]:
    """Make the device function that gives dx from what `finished` makes of a channel."""
    slope_of = activation_grad(name, real)

    @device
    def dx_of(g, x, mean, scale, bias, slope, shift):
        away = x - mean
        dx = scale * slope_of(g, away * scale + bias) - (away * slope + shift)
        return dx if not rectified or x > 0 else real(0)
    return dx_of


@device
def finished(rstd: Any, weight: Any, dweight: Any, dbias: Any, share: Any) -> Any:
    """scale, slope and shift of a channel (see above). share: 1 / M."""
    scale = rstd * weight
    return scale, scale * rstd * (dweight * share), scale * (dbias * share)


@kernel("g: real*, x: real*, mean: real*, rstd: real*, weight: real*, bias: real*, dweight: real*, dbias: real*, "
        f"dx: real*, share: real, {SIZES}", variants=(*variants(False), (FLOATS[0], "relu", True, True, 4, True)))
def slopes(real, name, weighted, biased, width, rectified):
    """dx, given the sums. A thread down a column `width` channels wide."""
    dx_of, read, write = dx_maker(real, name, rectified), reading(width), writing(width)
    read_weight, read_bias = reading_if(weighted, real, 1, width), reading_if(biased, real, 0, width)

    def slopes(g, x, mean, rstd, weight, bias, dweight, dbias, dx, share, outputs, length, inner, each, bits):
        column, number, threads = place(bits, False)
        row, end = part(column, number, outputs, length, each)
        if row < end:
            channel = uint32(column * uint32(width))
            m0, m1, m2, m3 = read(mean, channel)
            r0, r1, r2, r3 = read(rstd, channel)
            w0, w1, w2, w3 = read_weight(weight, channel)
            b0, b1, b2, b3 = read_bias(bias, channel)
            p0, p1, p2, p3 = read(dweight, channel)
            q0, q1, q2, q3 = read(dbias, channel)
            s0, k0, l0 = finished(r0, w0, p0, q0, share)
            s1, k1, l1 = finished(r1, w1, p1, q1, share)
            s2, k2, l2 = finished(r2, w2, p2, q2, share)
            s3, k3, l3 = finished(r3, w3, p3, q3, share)
            at = uint32(element(column, row, length, inner) * uint32(width))
            step = uint32(threads * inner * uint32(width))
            while row < end:
                g0, g1, g2, g3 = read(g, at)
                x0, x1, x2, x3 = read(x, at)
                write(dx, at, dx_of(g0, x0, m0, s0, b0, k0, l0), dx_of(g1, x1, m1, s1, b1, k1, l1),
                      dx_of(g2, x2, m2, s2, b2, k2, l2), dx_of(g3, x3, m3, s3, b3, k3, l3))
                at, row = uint32(at + step), uint32(row + threads)
    return slopes


@kernel(f"firsts: real*, seconds: real*, first: real*, second: real*, {SIZES}")
def pair_sums(real):
    """first, second (parts, outputs): the sums of each part of each column of two arrays, in one launch."""
    def pair_sums(firsts, seconds, first, second, outputs, length, inner, each, bits):
        shared, shared2 = cuda.shared.array(THREADS, real), cuda.shared.array(THREADS, real)
        column, number, threads = place(bits, False)
        row, end = part(column, number, outputs, length, each)
        at, step = element(column, row, length, inner), uint32(threads * inner)
        total, total2 = real(0), real(0)
        while uint32(row + threads) < end:  # four loads on the way at once
            after = uint32(at + step)
            total += firsts[at] + firsts[after]
            total2 += seconds[at] + seconds[after]
            at, row = uint32(after + step), uint32(row + uint32(2) * threads)
        if row < end:
            total += firsts[at]
            total2 += seconds[at]
        total = sum_over(total, shared, bits, False)
        total2 = sum_over(total2, shared2, bits, False)
        if number == 0 and column < outputs:
            to = uint32(uint32(cuda.blockIdx.y) * outputs + column)
            first[to] = total
            second[to] = total2
    return pair_sums


def sum_pairs(firsts: DeviceArray, seconds: DeviceArray, first: DeviceArray, second: DeviceArray) -> None:
    """Add up two arrays (length, sums) down their columns."""
    how = layout((1, *firsts.shape), warps=False)
    if how.parts > 1:
        parts = [empty((how.parts, how.outputs), first.dtype, first.device) for _ in range(2)]
        launch(pair_sums(first.dtype), how.grid, firsts, seconds, *parts, *how.sizes)
        firsts, seconds = parts
        how = layout((1, *firsts.shape), split=False, warps=False)
    launch(pair_sums(first.dtype), how.grid, firsts, seconds, first, second, *how.sizes)


def batch_norm_grad(g: DeviceArray, x: DeviceArray, mean: DeviceArray, rstd: DeviceArray, weight: Optional,
                    bias: Optional, dx: DeviceArray, dweight: DeviceArray, dbias: DeviceArray, activation: str,
                    rectified: bool) -> None:
    rows, channels = x.shape
    known, given = (mean, rstd, weight, bias), (weight is not None, bias is not None)
    how, firsts, seconds = layout((1, rows, channels), warps=False), dbias, dweight
    if how.parts > 1:
        firsts, seconds = (empty((how.parts, channels), x.dtype, x.device) for _ in range(2))
    launch(slope_sums(x.dtype, activation, *given), how.grid, g, x, *known, firsts, seconds, *how.sizes)
    if how.parts > 1:
        sum_pairs(firsts, seconds, dbias, dweight)
    width = width_of(x)
    how = layout((1, rows, channels // width), warps=False)
    launch(slopes(x.dtype, activation, *given, width, bool(rectified)), how.grid, g, x, *known, dweight, dbias, dx,
           1 / max(rows, 1), *how.sizes)


LAUNCHES = {"batch_norm_stats": batch_norm_stats, "batch_norm_follow": batch_norm_follow,
            "batch_norm_apply": batch_norm_apply, "batch_norm_grad": batch_norm_grad}
