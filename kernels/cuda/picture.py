"""Augmentation of pictures: mirroring, affine maps, brightness and contrast, blending. A thread makes one number of the
result, so that neighbouring threads write neighbouring addresses; what they read lies near each other too."""

from typing import Any

import numpy as np
from numba import cuda, int32, types, uint32
from numba.cuda import libdevice

from .axes import check_size
from .compiler import THREADS, kernel
from .define import device
from .indexing import FAULTS, check_indices, expect, wrong
from .intrinsics import WARP, divide, position, warp_sum
from .launcher import cover, launch
from .memory import DeviceArray, empty

# ----------------------------------------------------------------------------------------------------- mirroring


@kernel("x: item*, chosen: u8*, y: item*, rows: u32, length: u32, inner: u32, n: u32",
        variants=((np.uint8,), (np.uint32,)))
def mirrored(item):
    def mirrored(x, chosen, y, rows, length, inner, n):
        i = position()
        if i < n:
            place = divide(i, inner)
            row = divide(place, length)
            along = uint32(place - row * length)
            if chosen[divide(row, rows)]:
                along = uint32(length - 1 - along)
            y[i] = x[uint32((row * length + along) * inner + (i - place * inner))]
    return mirrored


def mirror(x: DeviceArray, chosen: DeviceArray, y: DeviceArray) -> None:
    """Items of a multiple of four bytes move four bytes at a time."""
    _, rows, length, inner = x.shape
    item, size = (np.uint32, 4) if inner % 4 == 0 else (np.uint8, 1)
    launch(mirrored(item), cover(x.size // size), x, chosen, y, rows, length, inner // size, x.size // size)


# --------------------------------------------------------------------------------------------------- affine maps


@kernel("x: real*, maps: real*, y: real*, height: u32, width: u32, channels: u32, high: u32, wide: u32, n: u32")
def affine(real):
    around = _around(real)

    def affine(x, maps, y, height, width, channels, high, wide, n):
        i = position()
        if i >= n:
            return
        pixel = divide(i, channels)
        line = divide(pixel, wide)
        picture = divide(line, high)
        p, q = real(uint32(line - picture * high)), real(uint32(pixel - line * wide))
        at = uint32(picture * 6)
        row, down = around(maps[at], maps[uint32(at + 1)], maps[uint32(at + 2)], p, q, height)
        column, right = around(maps[uint32(at + 3)], maps[uint32(at + 4)], maps[uint32(at + 5)], p, q, width)
        # In the last row and column, where the parts of the next ones are 0, a pixel stands for its neighbour too.
        below = uint32(width * channels) if uint32(row + 1) < height else uint32(0)
        beside = channels if uint32(column + 1) < width else uint32(0)
        upper = uint32(((picture * height + row) * width + column) * channels + (i - pixel * channels))
        lower = uint32(upper + below)
        above = x[upper] + right * (x[uint32(upper + beside)] - x[upper])
        under = x[lower] + right * (x[uint32(lower + beside)] - x[lower])
        y[i] = above + down * (under - above)
    return affine


def _around(real: Any) -> Any:
    """The place a p + b q + c, or the nearest one in 0..size-1, as a whole number and the rest. A place has more digits
    than a float32, which would have few left for the rest: it is a sum of two numbers (T. J. Dekker, 1971)."""
    fma, mul, floor = ((libdevice.fmaf, libdevice.fmul_rn, libdevice.floorf) if real == types.float32
                       else (libdevice.fma, libdevice.dmul_rn, libdevice.floor))

    @device
    def around(a, b, c, p, q, size):
        first, second = mul(a, p), mul(b, q)
        total, lost = _add(first, second)
        total, more = _add(total, c)
        lost += more + fma(a, p, -first) + fma(b, q, -second)
        place = total
        if lost == lost:  # else the place is infinite, or none
            place, lost = _add(total, lost)
        last = real(uint32(size - 1))
        if not place > real(0):
            return uint32(0), real(0)
        if place > last:
            return uint32(size - 1), real(0)
        whole = floor(place)
        rest = (place - whole) + lost
        if rest < real(0):  # it was rounded up to a whole number
            whole, rest = whole - real(1), rest + real(1)
        return uint32(int32(whole)), rest
    return around


@device
def _add(a, b):
    """a + b, and what is lost to rounding."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def affine_sample(x: DeviceArray, maps: DeviceArray, y: DeviceArray, size: tuple[int, int]) -> None:
    _, height, width, channels = x.shape
    check_size("affine_sample", x)
    launch(affine(x.dtype), cover(y.size), x, maps, y, height, width, channels, *size, y.size)


# ------------------------------------------------------------------------------------- brightness and contrast

EACH = 8  # elements of a thread
CHUNK = EACH * THREADS
WARPS = THREADS // WARP


@kernel("x: real*, brightness: real*, weights: real*, sums: real*, wrong: u8*, length: u32, chunks: u32")
def grey(real):
    """Of a chunk of a picture, a block: the sum of weights * bright, and whether a number is beyond 0..1. The chunks of
    the first picture come first: along x a grid has blocks for any number of pictures."""
    def grey(x, brightness, weights, sums, wrong, length, chunks):
        of_warps = cuda.shared.array(WARPS, real)
        picture = divide(uint32(cuda.blockIdx.x), chunks)
        factor, start = brightness[picture], uint32(picture * length)
        total, outside = real(0), False
        i = uint32((cuda.blockIdx.x - picture * chunks) * CHUNK + cuda.threadIdx.x)
        for _ in range(EACH):
            if i < length:
                value = x[uint32(start + i)]
                outside = outside or not (value >= real(0) and value <= real(1))
                bright = value * factor
                total += weights[i] * (real(1) if bright > real(1) else bright)
            i = uint32(i + THREADS)
        total = warp_sum(total)
        if cuda.threadIdx.x & (WARP - 1) == 0:
            of_warps[cuda.threadIdx.x >> 5] = total
        found = cuda.syncthreads_or(int32(outside))
        if cuda.threadIdx.x == 0:
            total = of_warps[0]
            for warp in range(1, WARPS):
                total += of_warps[warp]
            sums[cuda.blockIdx.x] = total
            wrong[cuda.blockIdx.x] = 1 if found else 0
    return grey


@kernel("x: real*, brightness: real*, contrast: real*, sums: real*, wrong: u8*, y: real*, inside: u8*, length: u32, "
        "chunks: u32")
def adjusted(real):
    """Blocks as for `grey`, whose sums each thread adds up for itself: there are few, and all read the same."""
    def adjusted(x, brightness, contrast, sums, wrong, y, inside, length, chunks):
        picture = divide(uint32(cuda.blockIdx.x), chunks)
        factor, share, start = brightness[picture], contrast[picture], uint32(picture * length)
        mean, outside = real(0), False
        first = uint32(picture * chunks)
        at, end = first, uint32(first + chunks)
        while at < end:
            mean += sums[at]
            outside = outside or wrong[at] != 0
            at = uint32(at + 1)
        if cuda.blockIdx.x == first and cuda.threadIdx.x == 0:
            inside[picture] = 0 if outside else 1
        i = uint32((cuda.blockIdx.x - first) * CHUNK + cuda.threadIdx.x)
        for _ in range(EACH):
            if i < length:
                bright = x[uint32(start + i)] * factor
                bright = real(1) if bright > real(1) else bright
                value = share * bright + (real(1) - share) * mean
                value = real(0) if value < real(0) else value
                y[uint32(start + i)] = real(1) if value > real(1) else value
            i = uint32(i + THREADS)
    return adjusted


def jitter(x: DeviceArray, brightness: DeviceArray, contrast: DeviceArray, weights: DeviceArray, y: DeviceArray,
           inside: DeviceArray) -> None:
    check_size("jitter", x)
    pictures, length = x.shape
    chunks = max(1, cover(length, CHUNK))  # a picture without numbers is inside too
    sums, wrong = empty((pictures * chunks,), x.dtype, x.device), empty((pictures * chunks,), np.uint8, x.device)
    blocks = pictures * chunks
    launch(grey(x.dtype), blocks, x, brightness, weights, sums, wrong, length, chunks)
    launch(adjusted(x.dtype), blocks, x, brightness, contrast, sums, wrong, y, inside, length, chunks)


# ------------------------------------------------------------------------------------------------------ blending


@kernel(f"x: real*, partner: i64*, share: real*, y: real*, pictures: u32, length: u32, n: u32, {FAULTS}")
def blended(real):
    def blended(x, partner, share, y, pictures, length, n, faults, check):
        i = position()
        if i < n:
            picture = divide(i, length)
            other = partner[picture]
            if not wrong(other, pictures, faults, check, picture):
                there = x[uint32(uint32(other) * length + (i - picture * length))]
                y[i] = x[i] + share[picture] * (there - x[i])
    return blended


def blend(x: DeviceArray, partner: DeviceArray, share: DeviceArray, y: DeviceArray) -> None:
    pictures, length = x.shape
    if length:
        launch(blended(x.dtype), cover(x.size), x, partner, share, y, pictures, length, x.size,
               *expect(partner, pictures, "blend"))
    else:
        check_indices(partner, pictures, "blend")


LAUNCHES = {"mirror": mirror, "affine_sample": affine_sample, "jitter": jitter, "blend": blend}
