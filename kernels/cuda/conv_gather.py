"""Convolution forward and back to its input, as one matrix product whose left side is never made: implicit GEMM.

A line of the left side is what one output pixel sees, tap by tap and channel by channel; a column of the right side is a
filter. Channels are innermost in memory, so that a run of channels of one tap is a piece of a line, four numbers to a
read. Each thread finds the pixels of its lines before the loop, and in the loop carries the tap and channel along as a
number of three digits (row, column, channel), to which a step adds DEPTH: no division there.

The gradient by the input is the same product, with the roles of channels and filters exchanged: a pixel of dx sees those
outputs whose windows lay on it. With a stride these are every so many taps: pixels that see the same taps are a
*phase*, stride x stride of them, each a convolution of its own with stride 1, whose taps walk backwards. So no product is
made with zeros between outputs, and a pixel that no window lay on is a sum of nothing.

Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning"; Chetlur et al. 2014, "cuDNN".
"""

from math import gcd
from typing import Any

import numpy as np
from numba import cuda, njit
from numba import uint32 as u32

from .compiler import kernel
from .intrinsics import divide
from .launcher import cover, launch
from .memory import DeviceArray
from .tile import (
    DEPTH,
    TILES,
    Tile,
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
)

#: A row far outside of every picture, also with a tap's distance, or another such row, added.
FAR = 1 << 30

LARGE, MIDDLE, FEW = TILES[0][0], TILES[1][0], TILES[3][0]
VARIANTS = (*[(np.float32, tile, back, True, True) for tile, _ in TILES for back in (False, True)],
            (np.float32, FEW, False, False, True), (np.float32, LARGE, True, False, False),
            (np.float64, MIDDLE, False, True, True), (np.float64, MIDDLE, True, False, False))


@kernel("x: real*, w: real*, bias: real*, add: real*, y: real*, pictures: u32, height: u32, width: u32, depth: u32,"
        "channels: u32, high: u32, wide: u32, size: u32, filters: u32, taps_down: u32, taps_across: u32, stride_down: u32,"
        "stride_across: u32, top: u32, left: u32, dilation_down: u32, dilation_across: u32, every_down: u32,"
        "every_across: u32, low: real, most: real, biased: u32, added: u32",
        threads=lambda real, tile, *_: tile.threads, variants=VARIANTS)
def conv2d_tiles(real: Any, tile: Tile, back: bool, aligned: bool, aligned_out: bool) -> Any:
    """y = the convolution of x and w, or back: y is dx, and x what we call dy; of which a block makes a tile of pixels x channels.

    pictures: N. height, width, depth: of x, depth being that of a group; channels: of all groups. high, wide, size,
    filters: the same of y. taps, stride, top, left, dilation: of the convolution. every: of so many taps a phase has one.
    aligned, aligned_out: depth, and size, are multiples of four.
    """
    rows, columns, thread_rows, thread_columns, threads = (tile.rows, tile.columns, tile.thread_rows, tile.thread_columns,
                                                           tile.threads)
    share, turns_x, turns_w = tile.share, tile.turns(rows), tile.turns(columns)
    room_x, room_w, fetched_x, fetched_w = tile.room(rows), tile.room(columns), 4 * turns_x, 4 * turns_w
    lanes, fetch = (1, fetch_four) if aligned else (4, fetch_one)
    fetch_filters, store = (four, put) if aligned_out else (four_single, put_single)
    keep_w = keep_along_depth if back else keep_along_edge

    def conv2d_tiles(x, w, bias, add, y, pictures, height, width, depth, channels, high, wide, size, filters, taps_down,
                     taps_across, stride_down, stride_across, top, left, dilation_down, dilation_across, every_down,
                     every_across, low, most, biased, added):
        of_x, of_w = cuda.shared.array(room_x, real, 16), cuda.shared.array(room_w, real, 16)
        sums, column, row = (cuda.local.array(share, real), cuda.local.array(thread_rows, real),
                             cuda.local.array(thread_columns, real))
        from_x, from_w = cuda.local.array(fetched_x, real), cuda.local.array(fetched_w, real)
        start, down, across = (cuda.local.array(turns_x, u32), cuda.local.array(turns_x, u32),
                               cuda.local.array(turns_x, u32))
        start_w = cuda.local.array(turns_w, u32)
        for i in range(share):
            sums[i] = real(0)
        group = u32(cuda.blockIdx.z)
        # Forward, output (i, j) lies at (stride * i - top, ...), and tap r is r * dilation further down.
        first_i, first_j, first_r, first_s = u32(0), u32(0), u32(0), u32(0)
        outs_i, outs_j, taps_i, taps_j = high, wide, taps_down, taps_across
        step_i, step_j, base_i, base_j = stride_down, stride_across, u32(u32(0) - top), u32(u32(0) - left)
        tap_i, tap_j = dilation_down, dilation_across
        if back:
            phases = u32(stride_down * stride_across)
            group = divide(u32(cuda.blockIdx.z), phases)
            phase = u32(cuda.blockIdx.z - group * phases)
            first_i = divide(phase, stride_across)
            first_j = u32(phase - first_i * stride_across)
            first_r, taps_i, base_i = phase_taps(first_i, top, stride_down, dilation_down, every_down, taps_down)
            first_s, taps_j, base_j = phase_taps(first_j, left, stride_across, dilation_across, every_across, taps_across)
            outs_i = divide(u32(room(first_i, high) + stride_down - u32(1)), stride_down)
            outs_j = divide(u32(room(first_j, wide) + stride_across - u32(1)), stride_across)
            step_i = step_j = u32(1)
            tap_i = u32(u32(0) - divide(u32(every_down * dilation_down), stride_down))
            tap_j = u32(u32(0) - divide(u32(every_across * dilation_across), stride_across))

        pixels = u32(pictures * outs_i * outs_j)
        first_pixel, first_out = u32(cuda.blockIdx.x * u32(rows)), u32(cuda.blockIdx.y * u32(columns))
        if first_pixel >= pixels:  # a phase of fewer pixels than the largest
            return
        for turn in range(turns_x):
            line, at = along_depth(turn, threads)
            n, i, j = digits(u32(first_pixel + at), outs_i, outs_j)
            down[turn], across[turn] = u32(i * step_i + base_i), u32(j * step_j + base_j)
            start[turn] = u32(u32(u32(n * height + down[turn]) * width + across[turn]) * channels + group * depth)
            if at >= u32(rows) or u32(first_pixel + at) >= pixels:
                down[turn] = u32(FAR)
        for turn in range(turns_w):
            line, at = along_depth(turn, threads)
            start_w[turn] = u32(u32(first_out + at) * channels + group * depth)

        line, at = along_depth(0, threads)
        total = u32(taps_i * taps_j * depth)
        if total == u32(0):  # nothing to sum: no row of taps to look at, and no division by none
            taps_i, taps_j, depth = u32(0), u32(1), u32(1)
        r, s, c = digits(line, taps_j, depth)
        more_r, more_s, more_c = digits(u32(DEPTH), taps_j, depth)
        k, stage = u32(0), u32(0)
        for step in range(divide(u32(total + u32(DEPTH - 1)), u32(DEPTH)) + 1):
            lane_r, lane_s, lane_c = r, s, c
            for lane in range(lanes):
                below = u32(lane_r * tap_i) if lane_r < taps_i else u32(FAR)
                beside = u32(lane_s * tap_j)
                over = u32(u32(below * width + beside) * channels + lane_c)
                for turn in range(turns_x):
                    inside = u32(down[turn] + below) < height and u32(across[turn] + beside) < width
                    fetch(x, u32(start[turn] + over), inside, from_x, turn, lane, real(0))
                if back:
                    tap = u32(u32(first_r + lane_r * every_down) * taps_across + first_s + lane_s * every_across)
                    over = u32(tap * size * channels + lane_c)
                    for turn in range(turns_w):
                        deep, at = along_depth(turn, threads)
                        inside = lane_r < taps_i and u32(first_out + at) < size
                        fetch(w, u32(start_w[turn] + over), inside, from_w, turn, lane, real(0))
                lane_r, lane_s, lane_c = add_digits(lane_r, lane_s, lane_c, u32(0), u32(0), u32(1), taps_j, depth)
            if not back:
                for turn in range(turns_w):
                    deep, at = along_edge(turn, threads, columns)
                    deep, at = u32(k + deep), u32(first_out + at)
                    there = room(at, size) if deep < total else u32(0)
                    fetch_filters(w, u32(deep * filters + group * size + at), there, from_w, turn, real(0))
            r, s, c = add_digits(r, s, c, more_r, more_s, more_c, taps_j, depth)
            if step > 0:
                multiply(of_x, of_w, stage, sums, column, row, rows, columns, thread_rows, thread_columns)
            stage = u32(stage ^ u32(1))
            keep_along_depth(of_x, stage, rows, threads, turns_x, from_x)
            keep_w(of_w, stage, columns, threads, turns_w, from_w)
            cuda.syncthreads()
            k = u32(k + u32(DEPTH))

        corner_i, corner_j = corner(columns, thread_columns)
        for i in range(thread_rows):
            pixel = u32(first_pixel + corner_i + place(i, rows, thread_rows))
            if pixel < pixels:
                if back:
                    n, oi, oj = digits(pixel, outs_i, outs_j)
                    pixel = u32(u32(n * high + first_i + oi * stride_down) * wide + first_j + oj * stride_across)
                for j in range(0, thread_columns, 4):
                    out = u32(first_out + corner_j + place(j, columns, thread_columns))
                    there, at = room(out, size), u32(pixel * filters + group * size + out)
                    if biased != u32(0):
                        fetch_filters(bias, u32(group * size + out), there, row, 0, real(0))
                        for lane in range(4):
                            sums[i * thread_columns + j + lane] += row[lane]
                    if added != u32(0):
                        fetch_filters(add, at, there, row, 0, real(0))
                        for lane in range(4):
                            sums[i * thread_columns + j + lane] += row[lane]
                    m = i * thread_columns + j
                    store(y, at, there, clip(sums[m], low, most), clip(sums[m + 1], low, most),
                          clip(sums[m + 2], low, most), clip(sums[m + 3], low, most))
    return conv2d_tiles


@njit(inline="always")
def digits(number: Any, middle: Any, last: Any) -> tuple[Any, Any, Any]:
    """number as (a, b, c) with number = (a * middle + b) * last + c."""
    upper = divide(number, last)
    first = divide(upper, middle)
    return first, u32(upper - first * middle), u32(number - upper * last)


@njit(inline="always")
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


@njit(inline="always")
def phase_taps(first: Any, before: Any, stride: Any, dilation: Any, every: Any, taps: Any) -> tuple[Any, Any, Any]:
    """Along one axis, for the phase of pixel `first`: its first tap, how many it has, and which output that lies on.

    Tap r joins pixel h to output p where p * stride + r * dilation = h + before.
    """
    r = u32(0)
    far = u32(taps * dilation)  # in strides: keeps what is divided positive
    while r < every and r < taps:
        reach = u32(first + before + far * stride - r * dilation)
        if divide(reach, stride) * stride == reach:
            break
        r = u32(r + u32(1))
    count = divide(u32(room(r, taps) + every - u32(1)), every) if r < every else u32(0)
    return r, count, u32(divide(u32(first + before + far * stride - r * dilation), stride) - far)


@njit(inline="always")
def fetch_four(x: Any, index: Any, inside: Any, values: Any, turn: Any, lane: Any, zero: Any) -> None:
    """Fetch x[index .. index + 3] for a turn if that is inside the picture, else zeros."""
    four(x, index, u32(4) if inside else u32(0), values, turn, zero)


@njit(inline="always")
def fetch_one(x: Any, index: Any, inside: Any, values: Any, turn: Any, lane: Any, zero: Any) -> None:
    """The same of one number, the lane'th of four."""
    values[4 * turn + lane] = x[index] if inside else zero


@njit(inline="always")
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
    tile = tile or choose_tile(pixels, size, w.shape[0] * w.shape[1] * depth, groups, y.dtype.itemsize)[0]
    variant = conv2d_tiles(y.dtype.type, tile, False, depth % 4 == 0, size % 4 == 0)
    launch(variant, (cover(pixels, tile.rows), cover(size, tile.columns), groups), x, w, bias, add, y, n, height, width,
           depth, channels, y.shape[1], y.shape[2], size, y.shape[3], *w.shape[:2], *stride, padding[0], padding[2],
           *dilation, 1, 1, low, high, bias is not None, add is not None)


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
    launch(variant, (cover(pixels, tile.rows), cover(channels, tile.columns), phases), dy, w, None, None, dx, n, height,
           width, depth, filters, *size, channels, dx.shape[3], *w.shape[:2], *stride, padding[0], padding[2], *dilation,
           *every, -np.inf, np.inf, False, False)
