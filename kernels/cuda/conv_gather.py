"""Convolution forward and back to its input, as one matrix product whose left side is never made: implicit GEMM.

A line of the left side is what one output pixel sees, tap by tap and channel by channel; a column of the right side is
a filter. Channels are innermost in memory, so that four of one tap are one read. Each thread finds the pixels of its
lines before the loop, and in the loop carries the tap and channel along as a number of three digits (row, column,
channel), to which a step adds DEPTH: no division there. Where channels don't come by fours, as in pictures of three, it
reads number by number, of one tap and the next as they come: a step is as full as with many channels.

The gradient by the input is the same product, with the roles of channels and filters exchanged: a pixel of dx sees
those outputs whose windows lay on it. With a stride these are every so many taps: pixels that see the same taps are a
*phase*, stride x stride of them, each a convolution of its own with stride 1, whose taps walk backwards. So no product
is made with zeros between outputs, and a pixel that no window lay on is a sum of nothing.

Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning"; Chetlur et al. 2014, "cuDNN: Efficient
Primitives for Deep Learning".
"""

from math import gcd
from typing import Any

import numpy as np
from numba import cuda
from numba import uint32 as u32

from .compiler import kernel
from .define import device
from .intrinsics import divide
from .launcher import cover, launch
from .memory import DeviceArray
from .tile import (
    DEPTH,
    FEW_COLUMNS,
    LARGE,
    MIDDLE,
    Tile,
    add_four,
    along_depth,
    along_edge,
    choose_tile,
    corner,
    four,
    four_single,
    keep_along_depth,
    keep_along_edge,
    multiply,
    place,
    put,
    put_single,
    room,
    two_pieces,
)

#: A row outside of every picture, also where a tap's distance, or this once more, is added.
FAR = 1 << 30

VARIANTS = ((np.float32, LARGE, False, True, True), (np.float32, LARGE, True, True, True),
            (np.float32, FEW_COLUMNS, False, False, True), (np.float32, LARGE, True, False, False),
            (np.float64, MIDDLE, False, True, True), (np.float64, MIDDLE, True, False, False))


@kernel("x: real*, w: real*, bias: real*, add: real*, y: real*, pictures: u32, height: u32, width: u32, depth: u32,"
        "channels: u32, high: u32, wide: u32, size: u32, filters: u32, taps_down: u32, taps_across: u32,"
        "stride_down: u32, stride_across: u32, top: u32, left: u32, dilation_down: u32, dilation_across: u32,"
        "phases_down: u32, phases_across: u32, every_down: u32, every_across: u32, low: real, most: real, biased: u32,"
        "added: u32", threads=lambda real, tile, *_: tile.threads, variants=VARIANTS)
def conv2d_tiles(real: Any, tile: Tile, back: bool, aligned: bool, aligned_out: bool) -> Any:
    """y = the convolution of x and w; or, back, its gradient by the input: x is what is called dy elsewhere, y is dx.
    A block makes a tile of pixels x channels of y.

    pictures: N. height, width, channels: of x; depth: channels of a group. high, wide, filters: of y; size: filters of
    a group. taps, stride, top, left, dilation: of the convolution. phases: 1 forward, back the stride. every: of so
    many taps a phase has one. aligned: depth is a multiple of four. aligned_out: size is.
    """
    rows, columns, thread_rows, thread_columns = tile.rows, tile.columns, tile.thread_rows, tile.thread_columns
    threads, share, turns_x, turns_w = tile.threads, tile.share, tile.turns(rows), tile.turns(columns)
    room_x, room_w, fetched_x, fetched_w = two_pieces(rows), two_pieces(columns), 4 * turns_x, 4 * turns_w
    lanes, fetch = (1, fetch_four) if aligned else (4, fetch_one)
    fetch_out, store = (four, put) if aligned_out else (four_single, put_single)
    axis, keep_w = (axis_back, keep_along_depth) if back else (axis_forward, keep_along_edge)

    def conv2d_tiles(x, w, bias, add, y, pictures, height, width, depth, channels, high, wide, size, filters, taps_down,
                     taps_across, stride_down, stride_across, top, left, dilation_down, dilation_across, phases_down,
                     phases_across, every_down, every_across, low, most, biased, added):
        of_x, of_w = cuda.shared.array(room_x, real, 16), cuda.shared.array(room_w, real, 16)
        sums, from_x, from_w = (cuda.local.array(share, real), cuda.local.array(fetched_x, real),
                                cuda.local.array(fetched_w, real))
        column, row = cuda.local.array(thread_rows, real), cuda.local.array(thread_columns, real)
        start, down, across = (cuda.local.array(turns_x, u32), cuda.local.array(turns_x, u32),
                               cuda.local.array(turns_x, u32))
        for i in range(share):
            sums[i] = real(0)
        group, phase_i, phase_j = digits(u32(cuda.blockIdx.z), phases_down, phases_across)
        outs_i, step_i, base_i, taps_i, first_r, tap_i = axis(
            phase_i, high, top, stride_down, dilation_down, every_down, taps_down)
        outs_j, step_j, base_j, taps_j, first_s, tap_j = axis(
            phase_j, wide, left, stride_across, dilation_across, every_across, taps_across)

        # The pixels of this thread's lines: where in x their first tap lies, and the index of that.
        pixels = u32(pictures * outs_i * outs_j)
        first_pixel, first_out = u32(cuda.blockIdx.x * u32(rows)), u32(cuda.blockIdx.y * u32(columns))
        if first_pixel >= pixels:  # a phase of fewer pixels than the largest
            return
        for turn in range(turns_x):
            line, at = along_depth(turn, threads)
            n, p, q = digits(u32(first_pixel + at), outs_i, outs_j)
            down[turn], across[turn] = u32(p * step_i + base_i), u32(q * step_j + base_j)
            start[turn] = u32(u32(u32(n * height + down[turn]) * width + across[turn]) * channels + group * depth)
            if at >= u32(rows) or u32(first_pixel + at) >= pixels:
                down[turn] = u32(FAR)

        # The tap and channel of this thread's vector (r, s, c), and what a step adds to them.
        total = u32(taps_i * taps_j * depth)
        if total == u32(0):  # nothing to sum: no row of taps to look at, and no division by none
            taps_i, taps_j, depth = u32(0), u32(1), u32(1)
        line, at = along_depth(0, threads)
        r, s, c = digits(line, taps_j, depth)
        more_r, more_s, more_c = digits(u32(DEPTH), taps_j, depth)
        k, stage = u32(0), u32(0)
        for step in range(divide(u32(total + u32(DEPTH - 1)), u32(DEPTH)) + 1):
            lane_r, lane_s, lane_c = r, s, c
            for lane in range(lanes):
                below, beside = u32(lane_r * tap_i) if lane_r < taps_i else u32(FAR), u32(lane_s * tap_j)
                over = u32(u32(below * width + beside) * channels + lane_c)
                for turn in range(turns_x):
                    inside = u32(down[turn] + below) < height and u32(across[turn] + beside) < width
                    fetch(x, u32(start[turn] + over), inside, from_x, turn, lane, real(0))
                if back:  # a filter's weights for a channel lie apart, those of a channel for all filters together
                    tap = u32(u32(first_r + lane_r * every_down) * taps_across + first_s + lane_s * every_across)
                    for turn in range(turns_w):
                        line, at = along_depth(turn, threads)
                        inside = lane_r < taps_i and u32(first_out + at) < size
                        over = u32(u32(tap * size + first_out + at) * channels + group * depth + lane_c)
                        fetch(w, over, inside, from_w, turn, lane, real(0))
                lane_r, lane_s, lane_c = add_digits(lane_r, lane_s, lane_c, u32(0), u32(0), u32(1), taps_j, depth)
            if not back:
                for turn in range(turns_w):
                    line, at = along_edge(turn, threads, columns)
                    line, at = u32(k + line), u32(first_out + at)
                    there = room(at, size) if line < total else u32(0)
                    fetch_out(w, u32(line * filters + group * size + at), there, from_w, turn, real(0))
            r, s, c = add_digits(r, s, c, more_r, more_s, more_c, taps_j, depth)
            if step > 0:
                multiply(of_x, of_w, stage, sums, column, row, rows, columns, thread_rows, thread_columns)
            stage = u32(stage ^ u32(1))
            keep_along_depth(of_x, stage, rows, threads, turns_x, from_x)
            keep_w(of_w, stage, columns, threads, turns_w, from_w)
            cuda.syncthreads()
            k = u32(k + u32(DEPTH))

        below, beside = corner(columns, thread_columns)
        for i in range(thread_rows):
            pixel = u32(first_pixel + below + place(i, rows, thread_rows))
            if pixel < pixels:
                if back:
                    n, p, q = digits(pixel, outs_i, outs_j)
                    pixel = u32(u32(n * high + phase_i + p * phases_down) * wide + phase_j + q * phases_across)
                for j in range(0, thread_columns, 4):
                    out, m = u32(first_out + beside + place(j, columns, thread_columns)), i * thread_columns + j
                    there, at = room(out, size), u32(pixel * filters + group * size + out)
                    if biased != u32(0):
                        fetch_out(bias, u32(group * size + out), there, row, 0, real(0))
                        add_four(sums, m, row)
                    if added != u32(0):
                        fetch_out(add, at, there, row, 0, real(0))
                        add_four(sums, m, row)
                    store(y, at, there, clip(sums[m], low, most), clip(sums[m + 1], low, most),
                          clip(sums[m + 2], low, most), clip(sums[m + 3], low, most))
    return conv2d_tiles


# Along one axis: (how many of y's pixels a phase has, how far apart in x two of them look, where in x the first one's
# first tap lies, how many taps, the first tap, how far apart in x two taps lie). "Where" wraps around below 0.

@device
def axis_forward(phase: Any, outs: Any, before: Any, stride: Any, dilation: Any, every: Any, taps: Any) -> Any:
    """Tap r of output p lies on p * stride + r * dilation - before."""
    return outs, stride, u32(u32(0) - before), taps, u32(0), dilation


@device
def axis_back(phase: Any, outs: Any, before: Any, stride: Any, dilation: Any, every: Any, taps: Any) -> Any:
    """Tap r joins pixel h to output p where p * stride + r * dilation = h + before. Of the phase's pixels, that is of
    `phase` and every `stride`th behind it."""
    far = u32(taps * dilation)  # outputs, added while dividing, which then needs no signs
    r = u32(0)
    reach = u32(phase + before + far * stride)
    p = divide(reach, stride)
    while r < every and p * stride != reach:  # the first tap that falls on an output; the next is `every` taps on
        r = u32(r + u32(1))
        reach = u32(reach - dilation)
        p = divide(reach, stride)
    count = divide(u32(room(r, taps) + every - u32(1)), every) if r < every else u32(0)
    size = divide(u32(room(phase, outs) + stride - u32(1)), stride)
    return size, u32(1), u32(p - far), count, r, u32(u32(0) - divide(u32(every * dilation), stride))


@device
def digits(number: Any, middle: Any, last: Any) -> tuple[Any, Any, Any]:
    """number as (a, b, c) with number = (a * middle + b) * last + c."""
    upper = divide(number, last)
    first = divide(upper, middle)
    return first, u32(upper - first * middle), u32(number - upper * last)


@device
def add_digits(a: Any, b: Any, c: Any, more_a: Any, more_b: Any, more_c: Any, middle: Any, last: Any) -> Any:
    """The sum of two such numbers, digit by digit as on paper."""
    c = u32(c + more_c)
    b = u32(b + more_b)
    a = u32(a + more_a)
    if c >= last:
        c = u32(c - last)
        b = u32(b + u32(1))
    if b >= middle:
        b = u32(b - middle)
        a = u32(a + u32(1))
    return a, b, c


@device
def fetch_four(x: Any, index: Any, inside: Any, values: Any, turn: Any, lane: Any, zero: Any) -> None:
    """Fetch x[index .. index + 3] for a turn if that is inside the picture, else zeros."""
    four(x, index, u32(4) if inside else u32(0), values, turn, zero)


@device
def fetch_one(x: Any, index: Any, inside: Any, values: Any, turn: Any, lane: Any, zero: Any) -> None:
    """The same of one number, the lane'th of four."""
    values[4 * turn + lane] = x[index] if inside else zero


@device
def clip(value: Any, low: Any, high: Any) -> Any:
    """value, but at least low and at most high; NaN is neither, and stays."""
    value = low if value < low else value
    return high if value > high else value


def forward(x: DeviceArray, w: DeviceArray, bias: DeviceArray | None, add: DeviceArray | None, y: DeviceArray,
            stride: Any, padding: Any, dilation: Any, groups: int, low: float, high: float, *,
            tile: Tile | None = None) -> None:
    """The contract conv2d_forward. tile: None: by the sizes."""
    n, height, width, channels = x.shape
    size, depth = y.shape[3] // groups, channels // groups
    pixels = n * y.shape[1] * y.shape[2]
    tile = tile or choose_tile(pixels, size, 0, groups, y.dtype.itemsize)[0]  # 0: sums are made in one part here
    variant = conv2d_tiles(y.dtype.type, tile, False, depth % 4 == 0, size % 4 == 0)
    launch(variant, (cover(pixels, tile.rows), cover(size, tile.columns), groups), x, w, bias, add, y, n, height, width,
           depth, channels, *y.shape[1:3], size, y.shape[3], *w.shape[:2], *stride, padding[0], padding[2],
           *dilation, 1, 1, 1, 1, low, high, bias is not None, add is not None)


def input_grad(dy: DeviceArray, w: DeviceArray, dx: DeviceArray, size: Any, stride: Any, padding: Any, dilation: Any,
               groups: int, *, tile: Tile | None = None) -> None:
    """The contract conv2d_input_grad. tile: None: by the sizes."""
    n, height, width, filters = dy.shape
    depth, channels = filters // groups, dx.shape[3] // groups
    every = [s // gcd(s, d) for s, d in zip(stride, dilation, strict=True)]
    pixels = n * cover(size[0], stride[0]) * cover(size[1], stride[1])  # of the largest phase
    taps = cover(w.shape[0], every[0]) * cover(w.shape[1], every[1])
    phases = groups * stride[0] * stride[1]
    tile = tile or choose_tile(pixels, channels, taps * depth, phases, dx.dtype.itemsize)[0]
    variant = conv2d_tiles(dx.dtype.type, tile, True, depth % 4 == 0, channels % 4 == 0)
    launch(variant, (cover(pixels, tile.rows), cover(channels, tile.columns), phases), dy, w, None, None, dx, n,
           height, width, depth, filters, *size, channels, dx.shape[3], *w.shape[:2], *stride, padding[0], padding[2],
           *dilation, *stride, *every, -np.inf, np.inf, False, False)
