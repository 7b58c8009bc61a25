"""Batch normalisation, activation, max pooling and dropout in one pass, and its gradient.

The windows lie side by side, so that each element of x belongs to at most one: a thread takes one window after another
of its column of channels (norm.py). x is read once, and nothing is written in between; what the backward pass must know
of a window is a byte. The dropout's random words are made where they are needed (random.py).
"""

from typing import Any

from numba import cuda, uint8, uint32, uint64

from .activations import activation, activation_grad
from .compiler import THREADS, kernel
from .define import device
from .intrinsics import divide
from .launcher import launch
from .layout import SIZES, element, layout, part, place, sum_over
from .memory import DeviceArray, empty
from .norm import Optional, dx_maker, finished, reading, reading_if, sum_pairs, variants, width_of, writing
from .random import philox
from .reduce import FLOATS

#: The position that says that a window was dropped.
DROPPED = 255

#: The parameters of kernels that walk over windows: sizes of a picture, how many windows it has, and sizes of a window.
WINDOWS = "high: u32, wide: u32, windows_down: u32, windows_across: u32, rows: u32, columns: u32"


@device
def window(number: Any, windows_down: Any, windows_across: Any) -> Any:
    """The picture, row and column of a window."""
    line = divide(number, windows_across)
    picture = divide(line, windows_down)
    return picture, uint32(line - picture * windows_down), uint32(number - line * windows_across)


@device
def _better(best: Any, where: Any, value: Any, here: Any) -> Any:
    """The first of equals stays, the last NaN wins."""
    if value > best or value != value:
        return value, here
    return best, where


@device
def _dropped(value: Any, where: Any, word: Any, threshold: Any, scale: Any) -> Any:
    """Value and position after dropout."""
    if uint64(word) < threshold:
        return scale - scale, uint8(DROPPED)
    return value * scale, uint8(where)


@device
def _word(block: Any, i: Any, seed: Any) -> Any:
    """Word i of the stream from a block on."""
    w0, w1, w2, w3 = philox(uint64(block + uint64(i >> uint32(2))), seed)
    lane = uint32(i & uint32(3))
    low, high = w1 if lane == 1 else w0, w3 if lane == 3 else w2
    return high if lane > 1 else low


@kernel("x: real*, mean: real*, rstd: real*, weight: real*, bias: real*, y: real*, position: u8*, threshold: u64, "
        f"scale: real, block: u64, seed: u64, {WINDOWS}, {SIZES}",
        variants=(*variants(True), (FLOATS[0], "relu", True, True, 4, False)))
def pool_windows(real, name, weighted, biased, width, drops):
    """A window (a row of the column) a turn. block: of random words, for the first elements of y."""
    activate, read, write = activation(name, real), reading(width), writing(width)
    read_weight, read_bias = reading_if(weighted, real, 1, width), reading_if(biased, real, 0, width)
    lowest = float("-inf")

    def pool_windows(x, mean, rstd, weight, bias, y, position, threshold, scale, block, seed, high, wide, windows_down,
                     windows_across, rows, columns, outputs, length, inner, each, bits):
        column, number, threads = place(bits, False)
        turn, end = part(column, number, outputs, length, each)
        if turn >= end:
            return
        channel, channels = uint32(column * uint32(width)), uint32(inner * uint32(width))
        m0, m1, m2, m3 = read(mean, channel)
        s0, s1, s2, s3 = read(rstd, channel)
        w0, w1, w2, w3 = read_weight(weight, channel)
        s0, s1, s2, s3 = s0 * w0, s1 * w1, s2 * w2, s3 * w3
        b0, b1, b2, b3 = read_bias(bias, channel)
        places, to_next_row = uint32(rows * columns), uint32((wide - columns) * channels)
        while turn < end:
            picture, down, across = window(turn, windows_down, windows_across)
            at = uint32(((picture * high + down * rows) * wide + across * columns) * channels + channel)
            v0, v1, v2, v3 = real(lowest), real(lowest), real(lowest), real(lowest)
            p0, p1, p2, p3 = uint32(0), uint32(0), uint32(0), uint32(0)
            here = uint32(0)
            while here < places:
                stop = uint32(here + columns)
                while here < stop:
                    x0, x1, x2, x3 = read(x, at)
                    v0, p0 = _better(v0, p0, activate((x0 - m0) * s0 + b0), here)
                    v1, p1 = _better(v1, p1, activate((x1 - m1) * s1 + b1), here)
                    v2, p2 = _better(v2, p2, activate((x2 - m2) * s2 + b2), here)
                    v3, p3 = _better(v3, p3, activate((x3 - m3) * s3 + b3), here)
                    at, here = uint32(at + channels), uint32(here + uint32(1))
                at = uint32(at + to_next_row)
            to = uint32(turn * channels + channel)
            q0, q1, q2, q3 = uint8(p0), uint8(p1), uint8(p2), uint8(p3)
            if drops:
                if width == 4:
                    r0, r1, r2, r3 = philox(uint64(block + uint64(to >> uint32(2))), seed)
                else:
                    r0 = _word(block, to, seed)
                    r1, r2, r3 = r0, r0, r0
                v0, q0 = _dropped(v0, q0, r0, threshold, scale)
                v1, q1 = _dropped(v1, q1, r1, threshold, scale)
                v2, q2 = _dropped(v2, q2, r2, threshold, scale)
                v3, q3 = _dropped(v3, q3, r3, threshold, scale)
            write(y, to, v0, v1, v2, v3)
            write(position, to, q0, q1, q2, q3)
            turn = uint32(turn + threads)
    return pool_windows


def batch_norm_pool(x: DeviceArray, mean: DeviceArray, rstd: DeviceArray, weight: Optional, bias: Optional,
                    y: DeviceArray, position: DeviceArray, kernel: tuple[int, int], activation: str, p: float,
                    seed: int, offset: int) -> None:
    pictures, down, across, channels = y.shape
    width = width_of(x)
    variant = pool_windows(x.dtype, activation, weight is not None, bias is not None, width, p > 0)
    how = layout((1, pictures * down * across, channels // width), warps=False)
    launch(variant, how.grid, x, mean, rstd, weight, bias, y, position, round(p * 2**32), _scale(p), offset // 4, seed,
           *x.shape[1:3], down, across, *kernel, *how.sizes)


def _scale(p: float) -> float:
    """What is kept is made larger."""
    return 1 / (1 - p) if p < 1 else 0.0


# -------------------------------------------------------------------------------------------------------- gradient
# As in norm.py; g reaches one place of each window, and the sums are over these places alone.


@kernel("g: real*, position: u8*, x: real*, mean: real*, rstd: real*, weight: real*, bias: real*, firsts: real*, "
        f"seconds: real*, factor: real, {WINDOWS}, {SIZES}",
        variants=(*((real, "relu", True, True) for real in FLOATS), (FLOATS[0], "", False, False)))
def pool_sums(real, name, weighted, biased):
    """firsts, seconds (parts, C): the sums of h and of h * xhat over each part of the windows, for each channel."""
    slope = activation_grad(name, real)
    read_weight, read_bias = reading_if(weighted, real, 1, 1), reading_if(biased, real, 0, 1)

    def pool_sums(g, position, x, mean, rstd, weight, bias, firsts, seconds, factor, high, wide, windows_down,
                  windows_across, rows, columns, outputs, length, inner, each, bits):
        shared, shared2 = cuda.shared.array(THREADS, real), cuda.shared.array(THREADS, real)
        column, number, threads = place(bits, False)
        turn, end = part(column, number, outputs, length, each)
        first, second = real(0), real(0)
        if turn < end:
            middle, inverse = mean[column], rstd[column]
            scale, shift = inverse * read_weight(weight, column)[0], read_bias(bias, column)[0]
            at, step = element(column, turn, length, inner), uint32(threads * inner)
            while turn < end:
                where = uint32(position[at])
                if where != DROPPED:
                    picture, down, across = window(turn, windows_down, windows_across)
                    row = divide(where, columns)
                    line = uint32(picture * high + down * rows + row)
                    pixel = uint32(line * wide + across * columns + uint32(where - row * columns))
                    away = x[uint32(pixel * inner + column)] - middle
                    h = slope(g[at] * factor, away * scale + shift)
                    first += h
                    second += h * away
                at, turn = uint32(at + step), uint32(turn + threads)
            second *= inverse
        first = sum_over(first, shared, bits, False)
        second = sum_over(second, shared2, bits, False)
        if number == 0 and column < outputs:
            to = uint32(uint32(cuda.blockIdx.y) * outputs + column)
            firsts[to] = first
            seconds[to] = second
    return pool_sums


@kernel("g: real*, position: u8*, x: real*, mean: real*, rstd: real*, weight: real*, bias: real*, dweight: real*, "
        f"dbias: real*, dx: real*, factor: real, share: real, down: u32, across: u32, {WINDOWS}, {SIZES}",
        variants=(*variants(False), (FLOATS[0], "relu", True, True, 4, True)))
def pool_slopes(real, name, weighted, biased, width, rectified):
    """dx, given the sums: a window a turn.

    down, across: the windows of a picture with those that its edges cut off, which are none to g.
    """
    dx_of, read, write = dx_maker(real, name, rectified), reading(width), writing(width)
    read_weight, read_bias = reading_if(weighted, real, 1, width), reading_if(biased, real, 0, width)

    @device
    def came_from(g, where, here):
        return g if where == here else real(0)

    def pool_slopes(g, position, x, mean, rstd, weight, bias, dweight, dbias, dx, factor, share, down, across, high,
                    wide, windows_down, windows_across, rows, columns, outputs, length, inner, each, bits):
        column, number, threads = place(bits, False)
        turn, end = part(column, number, outputs, length, each)
        if turn >= end:
            return
        channel, channels = uint32(column * uint32(width)), uint32(inner * uint32(width))
        m0, m1, m2, m3 = read(mean, channel)
        s0, s1, s2, s3 = read(rstd, channel)
        w0, w1, w2, w3 = read_weight(weight, channel)
        b0, b1, b2, b3 = read_bias(bias, channel)
        k0, k1, k2, k3 = read(dweight, channel)
        l0, l1, l2, l3 = read(dbias, channel)
        s0, k0, l0 = finished(s0, w0, k0, l0, share)
        s1, k1, l1 = finished(s1, w1, k1, l1, share)
        s2, k2, l2 = finished(s2, w2, k2, l2, share)
        s3, k3, l3 = finished(s3, w3, k3, l3, share)
        while turn < end:
            picture, y, z = window(turn, down, across)
            g0, g1, g2, g3 = real(0), real(0), real(0), real(0)
            p0, p1, p2, p3 = uint8(0), uint8(0), uint8(0), uint8(0)
            if y < windows_down and z < windows_across:
                known = uint32(((picture * windows_down + y) * windows_across + z) * channels + channel)
                g0, g1, g2, g3 = read(g, known)
                g0, g1, g2, g3 = g0 * factor, g1 * factor, g2 * factor, g3 * factor
                p0, p1, p2, p3 = read(position, known)
            first_row, first_column = uint32(y * rows), uint32(z * columns)
            last_row, last_column = min(uint32(first_row + rows), high), min(uint32(first_column + columns), wide)
            for row in range(first_row, last_row):
                here = uint32((row - first_row) * columns)
                at = uint32(((picture * high + row) * wide + first_column) * channels + channel)
                for _ in range(first_column, last_column):
                    x0, x1, x2, x3 = read(x, at)
                    write(dx, at, dx_of(came_from(g0, p0, here), x0, m0, s0, b0, k0, l0),
                          dx_of(came_from(g1, p1, here), x1, m1, s1, b1, k1, l1),
                          dx_of(came_from(g2, p2, here), x2, m2, s2, b2, k2, l2),
                          dx_of(came_from(g3, p3, here), x3, m3, s3, b3, k3, l3))
                    at, here = uint32(at + channels), uint32(here + uint32(1))
            turn = uint32(turn + threads)
    return pool_slopes


def batch_norm_pool_grad(g: DeviceArray, position: DeviceArray, x: DeviceArray, mean: DeviceArray, rstd: DeviceArray,
                         weight: Optional, bias: Optional, dx: DeviceArray, dweight: DeviceArray, dbias: DeviceArray,
                         kernel: tuple[int, int], activation: str, p: float, rectified: bool) -> None:
    pictures, high, wide, channels = x.shape
    sizes = high, wide, *g.shape[1:3], *kernel
    known, given = (mean, rstd, weight, bias), (weight is not None, bias is not None)
    how = layout((1, pictures * g.shape[1] * g.shape[2], channels), warps=False)
    firsts, seconds = dbias, dweight
    if how.parts > 1:
        firsts, seconds = (empty((how.parts, channels), x.dtype, x.device) for _ in range(2))
    launch(pool_sums(x.dtype, activation, *given), how.grid, g, position, x, *known, firsts, seconds, _scale(p), *sizes,
           *how.sizes)
    if how.parts > 1:
        sum_pairs(firsts, seconds, dbias, dweight)
    width, down, across = width_of(x), -(-high // kernel[0]), -(-wide // kernel[1])
    how = layout((1, pictures * down * across, channels // width), warps=False)
    launch(pool_slopes(x.dtype, activation, *given, width, bool(rectified)), how.grid, g, position, x, *known, dweight,
           dbias, dx, _scale(p), 1 / max(pictures * high * wide, 1), down, across, *sizes, *how.sizes)


LAUNCHES = {"batch_norm_pool": batch_norm_pool, "batch_norm_pool_grad": batch_norm_pool_grad}
