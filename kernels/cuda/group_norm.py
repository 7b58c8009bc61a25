"""Normalisation of x (N, M, C) over groups: the M places of a picture, and C / G channels that lie side by side.

What a group needs is found in two steps, each a reduction as layout.py has it: over the places, for each picture and
channel, then over the channels of the group. Where a group lies in one piece (G or M is 1, as in layer norm) one step
is enough for the statistics. What is done to each element follows the columns of the first step: a thread stays in its
group.
"""

from itertools import product
from typing import Any

from numba import cuda, uint32

from .compiler import THREADS, kernel
from .define import device
from .intrinsics import divide
from .launcher import launch
from .layout import SIZES, element, layout, part, place, sum_over
from .memory import DeviceArray, empty
from .norm import Optional, column_moments, merge, reading, reading_if, sum_pairs, width_of, writing
from .reduce import FLOATS, LAYOUTS

#: Settings (real, weighted, biased, width).
VARIANTS = ((FLOATS[0], True, True, 1), (FLOATS[0], True, True, 4), (FLOATS[0], False, False, 4),
            (FLOATS[1], True, True, 1))


def _width(x: DeviceArray, groups: int) -> int:
    """How many channels a thread takes; those of one group."""
    return width_of(x) if x.shape[2] // groups % 4 == 0 else 1


def _statistics(x: DeviceArray, mean: DeviceArray, rstd: DeviceArray, eps: float) -> None:
    pictures, places, channels = x.shape
    groups = mean.shape[1]
    if groups == 1 or places == 1:
        column_moments(x.reshape(pictures * groups, places * channels // groups, 1), mean, rstd, "rstd", eps)
    elif groups == channels:
        column_moments(x, mean, rstd, "rstd", eps)
    else:
        means, squares = (empty((pictures * groups, channels // groups, 1), x.dtype, x.device) for _ in range(2))
        column_moments(x, means, squares, "square")
        merge(means, squares, mean, rstd, places, places * channels // groups, "rstd", eps)


@device
def belonging(column: Any, inner: Any, width: Any, groups: Any) -> Any:
    """The first channel of a column that is `width` channels wide, and the number of its picture's group."""
    picture = divide(column, inner)
    channel = uint32((column - picture * inner) * width)
    return channel, uint32(picture * groups + divide(channel, divide(uint32(inner * width), groups)))


@kernel(f"x: real*, mean: real*, rstd: real*, weight: real*, bias: real*, y: real*, groups: u32, {SIZES}",
        variants=VARIANTS)
def normalise_groups(real, weighted, biased, width):
    """y = (x - mean) * rstd * weight + bias, a thread down a column."""
    read, write = reading(width), writing(width)
    read_weight, read_bias = reading_if(weighted, real, 1, width), reading_if(biased, real, 0, width)

    def normalise_groups(x, mean, rstd, weight, bias, y, groups, outputs, length, inner, each, bits):
        column, number, threads = place(bits, False)
        row, end = part(column, number, outputs, length, each)
        if row < end:
            channel, group = belonging(column, inner, uint32(width), groups)
            middle, inverse = mean[group], rstd[group]
            w0, w1, w2, w3 = read_weight(weight, channel)
            w0, w1, w2, w3 = w0 * inverse, w1 * inverse, w2 * inverse, w3 * inverse
            b0, b1, b2, b3 = read_bias(bias, channel)
            at = uint32(element(column, row, length, inner) * uint32(width))
            step = uint32(threads * inner * uint32(width))
            while row < end:
                x0, x1, x2, x3 = read(x, at)
                write(y, at, (x0 - middle) * w0 + b0, (x1 - middle) * w1 + b1, (x2 - middle) * w2 + b2,
                      (x3 - middle) * w3 + b3)
                at, row = uint32(at + step), uint32(row + threads)
    return normalise_groups


def group_norm(x: DeviceArray, weight: Optional, bias: Optional, y: DeviceArray, mean: DeviceArray, rstd: DeviceArray,
               groups: int, eps: float) -> None:
    _statistics(x, mean, rstd, eps)
    pictures, places, channels = x.shape
    width = _width(x, groups)
    variant = normalise_groups(x.dtype, weight is not None, bias is not None, width)
    how = layout((pictures, places, channels // width), warps=False)
    launch(variant, how.grid, x, mean, rstd, weight, bias, y, groups, *how.sizes)


# -------------------------------------------------------------------------------------------------------- gradient
# From the sums of g and of g * xhat over the places, of each picture and channel: added up over the pictures they are
# dbias and dweight; times the weights, and added up over the channels of a group, they are what dx takes off.


@kernel(f"g: real*, x: real*, mean: real*, rstd: real*, firsts: real*, seconds: real*, groups: u32, {SIZES}")
def place_sums(real):
    """firsts, seconds (parts, N * C): the sums of g and of g * xhat over each part of the places."""
    def place_sums(g, x, mean, rstd, firsts, seconds, groups, outputs, length, inner, each, bits):
        shared, shared2 = cuda.shared.array(THREADS, real), cuda.shared.array(THREADS, real)
        column, number, threads = place(bits, False)
        row, end = part(column, number, outputs, length, each)
        first, second = real(0), real(0)
        if row < end:
            _, group = belonging(column, inner, uint32(1), groups)
            middle = mean[group]
            at, step = element(column, row, length, inner), uint32(threads * inner)
            while row < end:
                h = g[at]
                first += h
                second += h * (x[at] - middle)
                at, row = uint32(at + step), uint32(row + threads)
            second *= rstd[group]
        first = sum_over(first, shared, bits, False)
        second = sum_over(second, shared2, bits, False)
        if number == 0 and column < outputs:
            to = uint32(uint32(cuda.blockIdx.y) * outputs + column)
            firsts[to] = first
            seconds[to] = second
    return place_sums


@kernel(f"firsts: real*, seconds: real*, weight: real*, first: real*, second: real*, groups: u32, {SIZES}",
        variants=tuple((real, weighted, by_warp) for (real, by_warp), weighted in product(LAYOUTS, (True, False))))
def channel_sums(real, weighted, by_warp):
    """first, second (N * G): the sums of firsts * weight and of seconds * weight over the channels of each group."""
    read_weight = reading_if(weighted, real, 1, 1)

    def channel_sums(firsts, seconds, weight, first, second, groups, outputs, length, inner, each, bits):
        shared, shared2 = cuda.shared.array(THREADS, real), cuda.shared.array(THREADS, real)
        group, number, threads = place(bits, by_warp)
        row, end = part(group, number, outputs, length, each)
        at, channel = uint32(group * length + row), uint32((group - divide(group, groups) * groups) * length + row)
        total, total2 = real(0), real(0)
        while row < end:
            factor = read_weight(weight, channel)[0]
            total += firsts[at] * factor
            total2 += seconds[at] * factor
            at, channel, row = uint32(at + threads), uint32(channel + threads), uint32(row + threads)
        total = sum_over(total, shared, bits, by_warp)
        total2 = sum_over(total2, shared2, bits, by_warp)
        if number == 0 and group < outputs:
            first[group] = total
            second[group] = total2
    return channel_sums


@kernel("g: real*, x: real*, mean: real*, rstd: real*, weight: real*, first: real*, second: real*, dx: real*, "
        f"share: real, groups: u32, {SIZES}", variants=tuple((*chosen[:2], chosen[3]) for chosen in VARIANTS))
def group_slopes(real, weighted, width):
    """dx, given the sums over each group; share: 1 / how many numbers that is. A thread down a column."""
    read, write, read_weight = reading(width), writing(width), reading_if(weighted, real, 1, width)

    def group_slopes(g, x, mean, rstd, weight, first, second, dx, share, groups, outputs, length, inner, each, bits):
        column, number, threads = place(bits, False)
        row, end = part(column, number, outputs, length, each)
        if row < end:
            channel, group = belonging(column, inner, uint32(width), groups)
            middle, inverse = mean[group], rstd[group]
            shift, slope = inverse * (first[group] * share), inverse * inverse * (second[group] * share)
            w0, w1, w2, w3 = read_weight(weight, channel)
            w0, w1, w2, w3 = w0 * inverse, w1 * inverse, w2 * inverse, w3 * inverse
            at = uint32(element(column, row, length, inner) * uint32(width))
            step = uint32(threads * inner * uint32(width))
            while row < end:
                g0, g1, g2, g3 = read(g, at)
                x0, x1, x2, x3 = read(x, at)
                write(dx, at, g0 * w0 - ((x0 - middle) * slope + shift), g1 * w1 - ((x1 - middle) * slope + shift),
                      g2 * w2 - ((x2 - middle) * slope + shift), g3 * w3 - ((x3 - middle) * slope + shift))
                at, row = uint32(at + step), uint32(row + threads)
    return group_slopes


def group_norm_grad(g: DeviceArray, x: DeviceArray, mean: DeviceArray, rstd: DeviceArray, weight: Optional,
                    dx: DeviceArray, dweight: DeviceArray, dbias: DeviceArray) -> None:
    pictures, places, channels = x.shape
    groups = mean.shape[1]
    firsts, seconds = _place_sums(g, x, mean, rstd)
    sum_pairs(firsts, seconds, dbias, dweight)

    first, second = (empty(mean.shape, x.dtype, x.device) for _ in range(2))
    how = layout((pictures * groups, channels // groups, 1), split=False)
    variant = channel_sums(x.dtype, weight is not None, how.by_warp)
    launch(variant, how.grid, firsts, seconds, weight, first, second, groups, *how.sizes)

    width = _width(x, groups)
    how = layout((pictures, places, channels // width), warps=False)
    launch(group_slopes(x.dtype, weight is not None, width), how.grid, g, x, mean, rstd, weight, first, second, dx,
           groups / (places * channels), groups, *how.sizes)


def _place_sums(g: DeviceArray, x: DeviceArray, mean: DeviceArray, rstd: DeviceArray) -> tuple[DeviceArray, ...]:
    """The sums of g and of g * xhat over the places: (N, C)."""
    pictures, _, channels = x.shape
    how = layout(x.shape, warps=False)
    sums = [empty((how.parts, how.outputs), x.dtype, x.device) for _ in range(2)]
    launch(place_sums(x.dtype), how.grid, g, x, mean, rstd, *sums, mean.shape[1], *how.sizes)
    if how.parts == 1:
        return tuple(one.reshape(pictures, channels) for one in sums)
    whole = [empty((pictures, channels), x.dtype, x.device) for _ in range(2)]
    sum_pairs(*sums, *whole)
    return tuple(whole)


LAUNCHES = {"group_norm": group_norm, "group_norm_grad": group_norm_grad}
