"""How threads share out a reduction, and how they put together what each of them found.

Everything that is reduced here is an array (outer, length, inner); each of its outer * inner columns has one result.
Two layouts cover all proportions; both are of blocks of 256 threads, several of them to a column:

* a warp a column, eight columns a block, for rows of middling length in one piece (inner = 1). Neighbouring lanes read
  neighbouring elements, and the shuffles of a warp need neither shared memory nor a barrier;
* a tile a block: 2^bits columns side by side, and 256 / 2^bits threads down each. Where inner is large, neighbouring
  threads stand in neighbouring columns, 32 being what a warp reads at once, and where columns are short too, up to 256;
  where inner is 1 and rows are long, the tile is one row and the whole block walks down it.

Where there are fewer columns than keep a GPU busy, the length is cut into parts as well, along the grid's y axis; a
second launch puts the parts together. How many there are follows from the shape alone, and so does the order in which
things are added up: results depend neither on the GPU nor on which block came first.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import cuda, uint32

from .compiler import THREADS
from .define import device
from .intrinsics import ALL_LANES, WARP, divide
from .launcher import cover

#: Blocks that keep a large GPU busy: eight for each of its multiprocessors, of which an H100 has 132.
BUSY = 1024
#: Elements that a thread should find in its column before more threads are given to it.
FEW = 4
#: Elements that a thread should find in its part before the length is cut into more parts.
MANY = 16
#: Longest rows that a warp takes: 32 elements a lane. A block takes longer ones, or several of them.
LONGEST_OF_WARP = 1024
#: Elements of an array for which indices, and what a step adds to the last of them, are uint32.
MOST_ELEMENTS = 2**32 - 2**16

#: The parameters that a kernel takes of a Layout.
SIZES = "outputs: u32, length: u32, inner: u32, each: u32, bits: u32"


class Layout(NamedTuple):
    """by_warp: a warp a column. bits: 2^bits columns a block. parts: of the length, `each` elements or the rest."""

    by_warp: bool
    bits: int
    parts: int
    each: int
    outputs: int
    length: int
    inner: int

    @property
    def grid(self) -> tuple[int, int]:
        return cover(self.outputs, 1 << self.bits), self.parts

    @property
    def sizes(self) -> tuple[int, ...]:
        """The arguments for SIZES."""
        return self.outputs, self.length, self.inner, self.each, self.bits


def layout(shape: tuple[int, ...], split: bool = True, warps: bool = True) -> Layout:
    """The layout for an array (outer, length, inner); ValueError if it is too large.

    split: whether the length may be cut into parts. warps: whether a warp may take a column.
    """
    outer, length, inner = shape
    outputs = outer * inner
    if outputs * length > MOST_ELEMENTS:
        raise ValueError(f"an array of {outer} x {length} x {inner} elements, expected at most {MOST_ELEMENTS}")
    if warps and inner == 1 and FEW * FEW < length <= LONGEST_OF_WARP:
        return Layout(True, _log2(THREADS // WARP), 1, length, outputs, length, inner)
    across = min((max(inner, 1) - 1).bit_length(), _log2(WARP))
    bits = max(across, _log2(THREADS) - _log2(max(length // FEW, 1)))
    most = length // (MANY * (THREADS >> bits)) if split else 1
    parts = max(1, min(most, BUSY // max(1, cover(outputs, 1 << bits))))
    each = max(1, cover(length, parts))
    return Layout(False, bits, max(1, cover(length, each)), each, outputs, length, inner)


def _log2(n: int) -> int:
    return n.bit_length() - 1


# --------------------------------------------------------------------------------------------------- device code


@device
def place(bits: Any, by_warp: Any) -> Any:
    """The column of this thread, its number among the threads of the column, and how many these are."""
    thread, first = uint32(cuda.threadIdx.x), uint32(uint32(cuda.blockIdx.x) << bits)
    threads = uint32(uint32(THREADS) >> bits)
    if by_warp:
        return uint32(first + (thread >> uint32(5))), uint32(thread & uint32(31)), threads
    return uint32(first + (thread & uint32((uint32(1) << bits) - uint32(1)))), uint32(thread >> bits), threads


@device
def part(column: Any, number: Any, outputs: Any, length: Any, each: Any) -> Any:
    """The first element of its column that a thread looks at, and where the block's part of the length ends.

    From the first it goes on in steps of the number of threads in the column. A column beyond the last is empty.
    """
    begin = uint32(uint32(cuda.blockIdx.y) * each)
    end = min(length, uint32(begin + each))
    return uint32(begin + number), end if column < outputs else uint32(0)


@device
def element(column: Any, row: Any, length: Any, inner: Any) -> Any:
    """Where an element of a column lies in the array."""
    outer = divide(column, inner)
    return uint32((outer * length + row) * inner + uint32(column - outer * inner))


@device
def lanes_apart(bits: Any, by_warp: Any) -> Any:
    """The least distance of two lanes of the same column."""
    return uint32(1) if by_warp else uint32(uint32(1) << bits)


@device
def slots(bits: Any) -> Any:
    """How the warps of a tile leave what they know for each other: in which slot this thread does, whether it does, the
    first slot of its column, their distance, and where they end.

    By then, in a tile of less than 32 columns, a warp's first lanes speak for the others.
    """
    thread, width = uint32(cuda.threadIdx.x), uint32(uint32(1) << bits)
    lane, speaking = uint32(thread & uint32(31)), min(width, uint32(32))
    mine = uint32((thread >> uint32(5)) * speaking + lane)
    return mine, lane < speaking, uint32(thread & uint32(width - uint32(1))), width, uint32(speaking * uint32(8))


def together(combine: Callable[..., Any]) -> Callable[..., Any]:
    """Make the device function that combines the values of the threads of a column, always in the same order, and gives
    the result to all of them. combine(a, b): the same as combine(b, a).

    The function's `shared` is an array of 256 in shared memory that the kernel uses for nothing else.
    """
    @device
    def over_column(value, shared, bits, by_warp):
        apart = uint32(16)
        while apart >= lanes_apart(bits, by_warp):
            value = combine(value, cuda.shfl_xor_sync(ALL_LANES, value, apart))
            apart = uint32(apart >> uint32(1))
        if not by_warp:
            mine, speaks, slot, step, end = slots(bits)
            if speaks:
                shared[mine] = value
            cuda.syncthreads()
            value = shared[slot]
            slot = uint32(slot + step)
            while slot < end:
                value = combine(value, shared[slot])
                slot = uint32(slot + step)
        return value
    return over_column


@device
def _added(a: Any, b: Any) -> Any:
    return a + b


@device
def larger(a: Any, b: Any) -> Any:
    """NaN if either is."""
    return a if a > b or a != a else b


sum_over = together(_added)
max_over = together(larger)
