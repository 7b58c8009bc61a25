"""The gradient of a convolution by its filters, as one matrix product whose left side is never made: implicit GEMM.

A line of the left side is one weight of a filter, tap and channel; along it lie the pixels of x that this weight met,
output by output. A column of the right side is a filter's dy. The sums are as long as there are outputs, the results as
few as there are weights: blocks share each sum, and the parts are added up in a fixed order (matmul.py).

Here the lines cross the sums in memory: four weights to a read. Each thread finds the taps of its weights before the
loop, and in the loop carries its outputs along as numbers of three digits (picture, row, column).
"""

from typing import Any

import numpy as np
from numba import cuda
from numba import uint32 as u32

from .compiler import kernel
from .conv_gather import FAR, add_digits, digits, fetch_four, fetch_one
from .intrinsics import divide
from .launcher import cover, launch
from .matmul import add_up
from .memory import DeviceArray, empty
from .tile import (
    DEPTH,
    FEW_COLUMNS,
    LARGE,
    MIDDLE,
    Tile,
    along_edge,
    choose_tile,
    corner,
    four,
    four_single,
    keep_along_edge,
    multiply,
    place,
    put,
    put_single,
    room,
    two_pieces,
)

VARIANTS = ((np.float32, LARGE, True, True), (np.float32, FEW_COLUMNS, False, True), (np.float32, LARGE, False, False),
            (np.float64, MIDDLE, True, True))


@kernel("x: real*, dy: real*, dw: real*, height: u32, width: u32, depth: u32, channels: u32, high: u32, wide: u32,"
        "size: u32, filters: u32, taps_down: u32, taps_across: u32, stride_down: u32, stride_across: u32, top: u32,"
        "left: u32, dilation_down: u32, dilation_across: u32, outputs: u32, part: u32, pieces: u32",
        threads=lambda real, tile, *_: tile.threads, variants=VARIANTS)
def conv2d_weight_tiles(real: Any, tile: Tile, aligned: bool, aligned_out: bool) -> Any:
    """dw of which a block makes a tile of weights x filters, or its sum over a part of the outputs.

    Sizes as in conv2d_tiles (conv_gather.py), but size: filters of a group. outputs: N * high * wide; part: how many of
    them a block sums; pieces: by how many blocks.
    """
    rows, columns, thread_rows, thread_columns = tile.rows, tile.columns, tile.thread_rows, tile.thread_columns
    threads, share, turns_x, turns_dy = tile.threads, tile.share, tile.turns(rows), tile.turns(columns)
    room_x, room_dy, fetched_x, fetched_dy = two_pieces(rows), two_pieces(columns), 4 * turns_x, 4 * turns_dy
    lanes, fetch = (1, fetch_four) if aligned else (4, fetch_one)
    fetch_dy, store = (four, put) if aligned_out else (four_single, put_single)

    def conv2d_weight_tiles(x, dy, dw, height, width, depth, channels, high, wide, size, filters, taps_down,
                            taps_across, stride_down, stride_across, top, left, dilation_down, dilation_across, outputs,
                            part, pieces):
        of_x, of_dy = cuda.shared.array(room_x, real, 16), cuda.shared.array(room_dy, real, 16)
        sums, column, row = (cuda.local.array(share, real), cuda.local.array(thread_rows, real),
                             cuda.local.array(thread_columns, real))
        from_x, from_dy = cuda.local.array(fetched_x, real), cuda.local.array(fetched_dy, real)
        below, beside, over = cuda.local.array(lanes, u32), cuda.local.array(lanes, u32), cuda.local.array(lanes, u32)
        picture, down, across = (cuda.local.array(turns_x, u32), cuda.local.array(turns_x, u32),
                                 cuda.local.array(turns_x, u32))
        for i in range(share):
            sums[i] = real(0)
        group = divide(u32(cuda.blockIdx.z), pieces)
        number = u32(cuda.blockIdx.z - group * pieces)
        weights = u32(taps_down * taps_across * depth)
        first_weight, first_filter = u32(cuda.blockIdx.x * u32(rows)), u32(cuda.blockIdx.y * u32(columns))
        k = u32(number * part)
        end = min(u32(k + part), outputs)

        line, at = along_edge(0, threads, rows)
        for lane in range(lanes):  # a thread's vectors lie below each other: the same weights each turn
            weight = u32(first_weight + at + u32(lane))
            r, s, c = digits(weight, taps_across, depth)
            below[lane] = u32(r * dilation_down) if weight < weights else u32(FAR)
            beside[lane] = u32(s * dilation_across)
            over[lane] = u32(u32(below[lane] * width + beside[lane]) * channels + group * depth + c)
        for turn in range(turns_x):
            line, at = along_edge(turn, threads, rows)
            picture[turn], down[turn], across[turn] = digits(u32(k + line), high, wide)
        more_n, more_i, more_j = digits(u32(DEPTH), high, wide)

        stage = u32(0)
        for step in range(divide(u32(room(k, end) + u32(DEPTH - 1)), u32(DEPTH)) + 1):
            for turn in range(turns_x):
                line, at = along_edge(turn, threads, rows)
                i = u32(down[turn] * stride_down - top) if u32(k + line) < end else u32(FAR)
                j = u32(across[turn] * stride_across - left)
                start = u32(u32(u32(picture[turn] * height + i) * width + j) * channels)
                for lane in range(lanes):
                    inside = u32(i + below[lane]) < height and u32(j + beside[lane]) < width
                    fetch(x, u32(start + over[lane]), inside, from_x, turn, lane, real(0))
                picture[turn], down[turn], across[turn] = add_digits(
                    picture[turn], down[turn], across[turn], more_n, more_i, more_j, high, wide)
            for turn in range(turns_dy):
                line, at = along_edge(turn, threads, columns)
                output, at = u32(k + line), u32(first_filter + at)
                there = room(at, size) if output < end else u32(0)
                fetch_dy(dy, u32(output * filters + group * size + at), there, from_dy, turn, real(0))
            if step > 0:
                multiply(of_x, of_dy, stage, sums, column, row, rows, columns, thread_rows, thread_columns)
            stage = u32(stage ^ u32(1))
            keep_along_edge(of_x, stage, rows, threads, turns_x, from_x)
            keep_along_edge(of_dy, stage, columns, threads, turns_dy, from_dy)
            cuda.syncthreads()
            k = u32(k + u32(DEPTH))

        corner_i, corner_j = corner(columns, thread_columns)
        for i in range(thread_rows):
            weight = u32(first_weight + corner_i + place(i, rows, thread_rows))
            if weight < weights:
                for j in range(0, thread_columns, 4):
                    at = u32(first_filter + corner_j + place(j, columns, thread_columns))
                    m, index = i * thread_columns + j, u32(u32(number * weights + weight) * filters + group * size + at)
                    store(dw, index, room(at, size), sums[m], sums[m + 1], sums[m + 2], sums[m + 3])
    return conv2d_weight_tiles


def weight_grad(x: DeviceArray, dy: DeviceArray, dw: DeviceArray, kernel: Any, stride: Any, padding: Any, dilation: Any,
                groups: int, *, tile: Tile | None = None, pieces: int = 0) -> None:
    """The contract conv2d_weight_grad. tile, pieces (of the sums): None and 0: by the sizes."""
    n, height, width, channels = x.shape
    high, wide, filters = dy.shape[1:]
    depth, size, outputs = channels // groups, filters // groups, n * high * wide
    weights = kernel[0] * kernel[1] * depth
    best, several = choose_tile(weights, size, outputs, groups, dw.dtype.itemsize)
    tile, pieces = tile or best, pieces or several
    part = cover(outputs, pieces * DEPTH) * DEPTH
    parts = dw if pieces == 1 else empty((pieces, *dw.shape), dw.dtype, dw.device)
    variant = conv2d_weight_tiles(dw.dtype.type, tile, depth % 4 == 0, size % 4 == 0)
    launch(variant, (cover(weights, tile.rows), cover(size, tile.columns), groups * pieces), x, dy, parts, height,
           width, depth, channels, max(high, 1), max(wide, 1), size, filters, *kernel, *stride, padding[0], padding[2],
           *dilation, outputs, part, pieces)
    if pieces > 1:
        add_up(parts, None, dw)
