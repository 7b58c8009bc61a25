"""Matrix products: batches of them, either side turned, with a bias; in tiles (tile.py).

Where a result is small and its sums are long, as in the gradient of a fully connected layer's weights, its few tiles
would leave most of the GPU idle. The sums are made in parts then, each by a block of its own, and a second kernel adds
the parts up, always in the same order.
"""

from typing import Any

import numpy as np
from numba import cuda
from numba import uint32 as u32

from .compiler import kernel
from .define import device
from .intrinsics import divide, position
from .launcher import cover, launch
from .memory import DeviceArray, empty
from .tile import (
    DEPTH,
    LARGE,
    MIDDLE,
    TILES,
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

VARIANTS = (*[(np.float32, tile, False, False, True) for tile in TILES], (np.float32, LARGE, True, True, True),
            (np.float32, LARGE, False, False, False), (np.float64, MIDDLE, False, False, True),
            (np.float64, MIDDLE, True, True, False))


@kernel("a: real*, b: real*, bias: real*, y: real*, rows: u32, columns: u32, inner: u32, part: u32, batches: u32,"
        "step_b: u32, lines: u32, biased: u32", threads=lambda real, tile, *_: tile.threads, variants=VARIANTS)
def matmul_tiles(real: Any, tile: Tile, turned_a: bool, turned_b: bool, aligned: bool) -> Any:
    """y = a b + bias, of which a block makes one tile of one product, or of a part of its sums.

    part: products of a part; batches: of a, and of y's parts; step_b: from one b to the next; lines: of tiles, from
    top to bottom of all products and parts. aligned: in all three matrices lines begin at multiples of four.
    """
    high, wide, thread_rows, thread_columns = tile.rows, tile.columns, tile.thread_rows, tile.thread_columns
    threads, share, turns_a, turns_b = tile.threads, tile.share, tile.turns(high), tile.turns(wide)
    room_a, room_b, fetched_a, fetched_b = two_pieces(high), two_pieces(wide), 4 * turns_a, 4 * turns_b
    find_a, keep_a = (find_along_edge, keep_along_edge) if turned_a else (find_along_depth, keep_along_depth)
    find_b, keep_b = (find_along_depth, keep_along_depth) if turned_b else (find_along_edge, keep_along_edge)
    fetch, store = (four, put) if aligned else (four_single, put_single)

    def matmul_tiles(a, b, bias, y, rows, columns, inner, part, batches, step_b, lines, biased):
        left, right = cuda.shared.array(room_a, real, 16), cuda.shared.array(room_b, real, 16)
        sums, from_a, from_b = (cuda.local.array(share, real), cuda.local.array(fetched_a, real),
                                cuda.local.array(fetched_b, real))
        column, row = cuda.local.array(thread_rows, real), cuda.local.array(thread_columns, real)
        for i in range(share):
            sums[i] = real(0)

        # First come the tiles of a column from top to bottom, for each product, for each part; then the next column.
        tall, right_of = divide(u32(rows + u32(high - 1)), u32(high)), divide(u32(cuda.blockIdx.x), lines)
        line_of = u32(cuda.blockIdx.x - right_of * lines)
        number = divide(line_of, tall)
        top, first = u32(u32(line_of - number * tall) * u32(high)), u32(right_of * u32(wide))
        piece = divide(number, batches)
        batch, k = u32(number - piece * batches), u32(piece * part)
        end = min(u32(k + part), inner)
        at_a, at_b = u32(batch * rows * inner), u32(batch * step_b)

        stage = u32(0)
        for step in range(divide(u32(room(k, end) + u32(DEPTH - 1)), u32(DEPTH)) + 1):
            for turn in range(turns_a):
                at, there = find_a(turn, threads, high, k, end, inner, top, rows)
                fetch(a, u32(at_a + at), there, from_a, turn, real(0))
            for turn in range(turns_b):
                at, there = find_b(turn, threads, wide, k, end, inner, first, columns)
                fetch(b, u32(at_b + at), there, from_b, turn, real(0))
            if step > 0:
                multiply(left, right, stage, sums, column, row, high, wide, thread_rows, thread_columns)
            stage = u32(stage ^ u32(1))
            keep_a(left, stage, high, threads, turns_a, from_a)
            keep_b(right, stage, wide, threads, turns_b, from_b)
            cuda.syncthreads()
            k = u32(k + u32(DEPTH))

        down, over = corner(wide, thread_columns)
        for i in range(thread_rows):
            line = u32(top + down + place(i, high, thread_rows))
            if line < rows:
                for j in range(0, thread_columns, 4):
                    at, n = u32(first + over + place(j, wide, thread_columns)), i * thread_columns + j
                    there, index = room(at, columns), u32(u32(number * rows + line) * columns + at)
                    if biased != u32(0):
                        fetch(bias, at, there, row, 0, real(0))
                        add_four(sums, n, row)
                    store(y, index, there, sums[n], sums[n + 1], sums[n + 2], sums[n + 3])
    return matmul_tiles


@device
def find_along_depth(turn: Any, threads: Any, edge: Any, k: Any, end: Any, inner: Any, first: Any, size: Any) -> Any:
    """Where this thread's vector is, of a matrix whose lines are sums of `inner` products, and how much of it is there.

    k, end: the first product of this step, and the last one's next. first, size: of the tile's rows, and of the
    matrix's (or columns).
    """
    deep, at = along_depth(turn, threads)
    deep, at = u32(k + deep), u32(first + at)
    return u32(at * inner + deep), room(deep, end) if at < size else u32(0)


@device
def find_along_edge(turn: Any, threads: Any, edge: Any, k: Any, end: Any, inner: Any, first: Any, size: Any) -> Any:
    """The same of a matrix whose lines cross the sums, `size` of them."""
    deep, at = along_edge(turn, threads, edge)
    deep, at = u32(k + deep), u32(first + at)
    return u32(deep * size + at), room(at, size) if deep < end else u32(0)


@kernel("parts: real*, bias: real*, y: real*, count: u32, columns: u32, pieces: u32, biased: u32")
def add_parts(real: Any) -> Any:
    """y = the sum of so many pieces of `count` numbers each, from the first to the last, + bias."""
    def add_parts(parts, bias, y, count, columns, pieces, biased):
        i = position()
        if i < count:
            total, at = real(0), i
            for _ in range(pieces):
                total += parts[at]
                at = u32(at + count)
            if biased != u32(0):
                total += bias[u32(i - divide(i, columns) * columns)]
            y[i] = total
    return add_parts


def matmul(a: DeviceArray, b: DeviceArray, bias: DeviceArray | None, y: DeviceArray, transpose_a: bool,
           transpose_b: bool, *, tile: Tile | None = None, pieces: int = 0) -> None:
    """The contract matmul. tile, pieces (of the sums): None and 0: by the sizes."""
    batch, rows, columns = y.shape
    inner = a.shape[1] if transpose_a else a.shape[2]
    if b.shape[0] == 1 and not transpose_a:  # one b for all: one product with more rows
        batch, rows = 1, batch * rows
    best, several = choose_tile(rows, columns, inner, batch, y.dtype.itemsize)
    tile, pieces = tile or best, pieces or several
    part = cover(inner, pieces * DEPTH) * DEPTH
    parts, added = (y, bias) if pieces == 1 else (empty((pieces, *y.shape), y.dtype, y.device), None)
    lines = rows if transpose_a else inner, inner if transpose_b else columns, columns
    variant = matmul_tiles(y.dtype.type, tile, transpose_a, transpose_b, not any(length % 4 for length in lines))
    lines_of_tiles = cover(rows, tile.rows) * batch * pieces
    blocks = lines_of_tiles * cover(columns, tile.columns)
    step_b = 0 if b.shape[0] == 1 else inner * columns
    launch(variant, blocks, a, b, added, parts, rows, columns, inner, part, batch, step_b, lines_of_tiles,
           added is not None)
    if pieces > 1:
        add_up(parts, bias, y)


def add_up(parts: DeviceArray, bias: DeviceArray | None, y: DeviceArray) -> None:
    """y = the sum over the pieces, one for each y along axis 0, + bias along y's last axis."""
    launch(add_parts(y.dtype.type), cover(y.size), parts, bias, y, y.size, y.shape[-1], parts.shape[0],
           bias is not None)


LAUNCHES = {"matmul": matmul}
