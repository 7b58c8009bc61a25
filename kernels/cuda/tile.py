"""Tiles: how a block of threads multiplies two matrices, for the matrix product and for the convolutions.

A block makes a tile of the result, rows x columns, in steps of DEPTH products each. For a step its threads read the
piece that they need of either side from global memory, four numbers at a time, and put it in shared memory, the left
side turned, so that both lie there as DEPTH lines along an edge of the tile. Then each thread reads some numbers of the
left piece and some of the right one and adds all their products to its share of the tile, which it holds in registers:
so many products for so few reads are what lets arithmetic, not memory, set the pace.

Shared memory holds two pieces of each side. While one is multiplied, the numbers of the next are on their way from
global memory to registers, and are then put beside it: a step takes one barrier, and nobody stands waiting for memory.

    for each step and one more:
        fetch this step's numbers            (behind the last step there are none: zeros)
        multiply the step before             (before the first there is none)
        keep what was fetched; barrier
    store

Kernels differ in how they find the numbers and where they store; the rest is here.
"""

from dataclasses import dataclass
from typing import Any

from numba import cuda
from numba import uint32 as u32

from .define import device
from .intrinsics import divide, load4, load4_shared, store4, store4_shared

#: Products of a step: enough work to hide a read from memory behind, and four 16-byte vectors.
DEPTH = 16
#: Unused numbers between the lines in shared memory. Threads that write one number to each of several lines would hit
#: few banks without them; with them each bank is hit twice at most. A multiple of four: vectors stay aligned.
GAP = 4


@dataclass(frozen=True)
class Tile:
    """What a block makes, and what a thread of it makes: squares of 4x4, spread over the tile, so that neighbouring
    threads read neighbouring vectors of shared memory, and store neighbouring ones."""

    rows: int
    columns: int
    thread_rows: int
    thread_columns: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"

    @property
    def threads(self) -> int:
        return self.rows // self.thread_rows * (self.columns // self.thread_columns)

    @property
    def share(self) -> int:
        return self.thread_rows * self.thread_columns

    def turns(self, edge: int) -> int:
        """How many vectors of a piece along an edge each thread fetches."""
        return -(-edge * DEPTH // (4 * self.threads))


def two_pieces(edge: int) -> int:
    """Numbers in shared memory for two pieces along an edge."""
    return 2 * DEPTH * (edge + GAP)


# A thread's share of 8x4 is 32 products for three reads of four numbers from shared memory. In a warp, sixteen threads
# side by side read 256 bytes of a line, and the two rows of them each the same number, which costs one read. A larger
# share would read less, but then a thread's registers let only one block onto a multiprocessor.
LARGE, MIDDLE, FEW_COLUMNS = Tile(128, 64, 8, 4), Tile(64, 64, 4, 4), Tile(128, 16, 4, 4)

#: The tiles, and what part of the GPU's speed each may reach, as estimated from the reads from shared memory that go
#: with a product. A large tile of float64 would take more shared memory than a block has.
TILES = {LARGE: 1.0, MIDDLE: 0.8, Tile(128, 32, 8, 4): 0.8, FEW_COLUMNS: 0.6, Tile(32, 32, 4, 4): 0.5}
LARGEST_FLOAT64 = 64 * 64

#: Multiprocessors of a GPU, about. Not asked of the GPU at hand: the choice decides in what order sums are made, and
#: results are to be the same on every one.
MULTIPROCESSORS = 100
#: Products that a part of a sum has at least, where a sum is split between blocks: the parts have to be added up again.
SHORTEST_PART = 256


def choose_tile(rows: int, columns: int, depth: int, batch: int, itemsize: int) -> tuple[Tile, int]:
    """The tile for a product, and in how many parts its sums are made.

    The tile that takes least time if each multiprocessor makes one tile after the other. Where there are fewer tiles
    than multiprocessors and the sums are long, as in the gradient of a filter, a sum is made in parts, by a block each.
    """
    def blocks(tile: Tile) -> int:
        return -(-rows // tile.rows) * -(-columns // tile.columns) * batch

    def parts(tile: Tile) -> int:
        return max(1, min(2 * MULTIPROCESSORS // max(1, blocks(tile)), depth // SHORTEST_PART))

    def time(tile: Tile) -> float:
        turns = -(-blocks(tile) * parts(tile) // MULTIPROCESSORS)
        return turns * tile.rows * tile.columns / TILES[tile] / parts(tile)

    best = min((tile for tile in TILES if itemsize == 4 or tile.rows * tile.columns <= LARGEST_FLOAT64), key=time)
    return best, parts(best)


# ------------------------------------------------------------------------------- from global to shared memory

# How the threads of a block share out a piece: one vector each, then, turn by turn, what lies `threads` vectors
# further. Where a matrix lies along depth in memory, four neighbours read the 64 bytes of one line of it; where it lies
# along the edge, edge / 4 of them read a line.

@device
def along_depth(turn: Any, threads: Any) -> tuple[Any, Any]:
    """Where this thread's vector begins: in depth, and at the edge."""
    thread = u32(cuda.threadIdx.x)
    return u32((thread & u32(3)) << u32(2)), u32((thread >> u32(2)) + u32(turn * (threads >> 2)))


@device
def along_edge(turn: Any, threads: Any, edge: Any) -> tuple[Any, Any]:
    thread = u32(cuda.threadIdx.x)
    line = divide(thread, u32(edge >> 2))
    return u32(line + u32(turn * (threads // (edge >> 2)))), u32(u32(thread - line * u32(edge >> 2)) << u32(2))


@device
def four(x: Any, index: Any, room: Any, values: Any, turn: Any, zero: Any) -> None:
    """Fetch x[index .. index + 3] for a turn, zeros where there is no room: room, like index, is a multiple of four."""
    a = b = c = d = zero
    if room > u32(0):
        a, b, c, d = load4(x, index)
    values[4 * turn], values[4 * turn + 1], values[4 * turn + 2], values[4 * turn + 3] = a, b, c, d


@device
def four_single(x: Any, index: Any, room: Any, values: Any, turn: Any, zero: Any) -> None:
    """The same, one by one: of any index, and any room."""
    for lane in range(4):
        values[4 * turn + lane] = x[u32(index + u32(lane))] if u32(lane) < room else zero


@device
def room(at: Any, end: Any) -> Any:
    """How many numbers there are from `at` on."""
    return u32(end - at) if at < end else u32(0)


@device
def keep_along_depth(shared: Any, stage: Any, edge: Any, threads: Any, turns: Any, values: Any) -> None:
    """Put what this thread has fetched in shared memory, at stage 0 or 1: each vector crosswise to the lines."""
    for turn in range(turns):
        line, place = along_depth(turn, threads)
        if place < u32(edge):
            at = u32(u32(u32(stage * u32(DEPTH)) + line) * u32(edge + GAP) + place)
            for lane in range(4):
                shared[u32(at + u32(lane * (edge + GAP)))] = values[4 * turn + lane]


@device
def keep_along_edge(shared: Any, stage: Any, edge: Any, threads: Any, turns: Any, values: Any) -> None:
    """The same for vectors that lie along the lines."""
    for turn in range(turns):
        line, place = along_edge(turn, threads, edge)
        if line < u32(DEPTH):
            at = u32(u32(u32(stage * u32(DEPTH)) + line) * u32(edge + GAP) + place)
            first = 4 * turn
            store4_shared(shared, at, values[first], values[first + 1], values[first + 2], values[first + 3])


# ------------------------------------------------------------------------------------------------ the product

@device
def corner(columns: Any, thread_columns: Any) -> tuple[Any, Any]:
    """The first row and column of this thread's share of the tile."""
    thread, across = u32(cuda.threadIdx.x), u32(columns // thread_columns)
    row = divide(thread, across)
    return u32(row << u32(2)), u32(u32(thread - row * across) << u32(2))


@device
def place(number: Any, edge: Any, of_thread: Any) -> Any:
    """How far a row (or column) of a thread's share lies from its first: they come by fours, spread over the tile."""
    return u32((number >> 2) * 4 * (edge // of_thread) + (number & 3))


@device
def multiply(left: Any, right: Any, stage: Any, sums: Any, column: Any, row: Any,
             rows: Any, columns: Any, thread_rows: Any, thread_columns: Any) -> None:
    """Add a step's products to `sums`, the thread's share of the tile, row by row.

    left, right: the pieces in shared memory. column, row: registers for thread_rows and thread_columns numbers.
    Four lines at a time: what lies at a constant distance needs no instruction to find it.
    """
    top, first = corner(columns, thread_columns)
    at_left = u32(stage * u32(DEPTH * (rows + GAP)) + top)
    at_right = u32(stage * u32(DEPTH * (columns + GAP)) + first)
    for _ in range(DEPTH // 4):
        line(left, at_left, right, at_right, sums, column, row, 0, rows, columns, thread_rows, thread_columns)
        line(left, at_left, right, at_right, sums, column, row, 1, rows, columns, thread_rows, thread_columns)
        line(left, at_left, right, at_right, sums, column, row, 2, rows, columns, thread_rows, thread_columns)
        line(left, at_left, right, at_right, sums, column, row, 3, rows, columns, thread_rows, thread_columns)
        at_left, at_right = u32(at_left + u32(4 * (rows + GAP))), u32(at_right + u32(4 * (columns + GAP)))


@device
def line(left: Any, at_left: Any, right: Any, at_right: Any, sums: Any, column: Any, row: Any, k: Any,
         rows: Any, columns: Any, thread_rows: Any, thread_columns: Any) -> None:
    """All products of line k of both pieces: thread_rows x thread_columns of them, for a few reads of four numbers."""
    for i in range(0, thread_rows, 4):
        over = u32(k * (rows + GAP)) + place(i, rows, thread_rows)
        column[i], column[i + 1], column[i + 2], column[i + 3] = load4_shared(left, at_left, u32(over))
    for j in range(0, thread_columns, 4):
        over = u32(k * (columns + GAP)) + place(j, columns, thread_columns)
        row[j], row[j + 1], row[j + 2], row[j + 3] = load4_shared(right, at_right, u32(over))
    for i in range(thread_rows):
        for j in range(thread_columns):
            sums[i * thread_columns + j] += column[i] * row[j]


@device
def add_four(sums: Any, at: Any, values: Any) -> None:
    """sums[at .. at + 3] += values[0 .. 3]."""
    for lane in range(4):
        sums[at + lane] += values[lane]


@device
def put(y: Any, index: Any, room: Any, a: Any, b: Any, c: Any, d: Any) -> None:
    """y[index .. index + 3] = a, b, c, d as far as there is room, which, like index, is a multiple of four."""
    if room > u32(0):
        store4(y, index, a, b, c, d)


@device
def put_single(y: Any, index: Any, room: Any, a: Any, b: Any, c: Any, d: Any) -> None:
    """The same, one by one: at any index, and any room."""
    if room > u32(0):
        y[index] = a
    if room > u32(1):
        y[u32(index + u32(1))] = b
    if room > u32(2):
        y[u32(index + u32(2))] = c
    if room > u32(3):
        y[u32(index + u32(3))] = d
