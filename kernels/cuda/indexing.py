"""Taking by index, and the gradients of it; sums of a few weighted rows, the product with a sparse matrix.

Indices are looked at before anything is read through them: a kernel finds the first wrong one, and the processor waits
for its answer. Elements that are gathered have a thread each (or four neighbours do), and neighbouring threads follow
the innermost axis, along which memory is read in lines whatever the index is. Where elements are scattered, several may
meet in one place, and must do so in order: there a thread has a column, all that could meet, and walks down it. Where
rows are, which all columns have in common, each place adds up its own.
"""

from itertools import product

import numpy as np
from numba import uint32

from .axes import check_size
from .compiler import Variant, kernel
from .copy import ITEMS, fill, item_type
from .intrinsics import atomic_min, divide, load4, position, store4
from .launcher import cover, launch
from .memory import DeviceArray, empty, to_device, to_numpy

#: The place of the first wrong index where there is none.
NOWHERE = 2**32 - 1


# ---------------------------------------------------------------------------------------------------- the checks


@kernel("index: i64*, first: u32*, length: i64, ignored: i64, n: u32", variants=((),))
def first_outside():
    """first[0] = the least i for which index[i] is neither in 0..length-1 nor the ignored number."""
    def first_outside(index, first, length, ignored, n):
        i = position()
        if i < n:
            place = index[i]
            if (place < 0 or place >= length) and place != ignored:
                atomic_min(first, uint32(0), i)
    return first_outside


@kernel("start: i64*, first: u32*, weights: i64, n: u32", variants=((),))
def first_not_rising():
    """first[0] = the least i for which start[i] isn't as it must be: 0 at first, never less than before, `weights` at
    last."""
    def first_not_rising(start, first, weights, n):
        i = position()
        if i < n:
            here = start[i]
            before = start[uint32(i - 1)] if i > 0 else 0
            if here < before or (i == 0 and here != 0) or (uint32(i + 1) == n and here != weights):
                atomic_min(first, uint32(0), i)
    return first_not_rising


def outside(index: DeviceArray, length: int, ignore: int | None = None) -> int:
    """The place, in flat order, of the first index that is not in 0..length-1, nor `ignore`; -1 if there is none.

    What a GPU finds out must come back before one can raise: this waits for all that was started before.
    """
    if ignore is None:
        if length == 0:
            return 0 if index.size else -1
        ignore = 0  # which is no wrong index
    return _first_found(first_outside(), index, length, ignore)


def _first_found(search: Variant, array: DeviceArray, *expected: int) -> int:
    """What the kernel finds in the array; -1 if nothing."""
    first = to_device(np.array([NOWHERE], np.uint32), array.device)
    launch(search, cover(array.size), array, first, *expected, array.size)
    found = int(to_numpy(first)[0])
    return -1 if found == NOWHERE else found


def check_indices(index: DeviceArray, length: int, name: str, ignore: int | None = None) -> None:
    """IndexError, naming the kernel, if an index is neither in 0..length-1 nor `ignore`."""
    found = outside(index, length, ignore)
    if found >= 0:
        raise _wrong(to_numpy(index), found, length, name)


def _wrong(index: np.ndarray, found: int, length: int, name: str) -> IndexError:
    where = ", ".join(str(k) for k in np.unravel_index(found, index.shape))
    return IndexError(f"{name}: index[{where}] is {index.flat[found]}, expected 0 to {length - 1}")


# ------------------------------------------------------------------------------------------------------- reading


@kernel("x: item*, index: i64*, y: item*, length: u32, inner: u32, rows: u32, n: u32",
        variants=tuple((item, *way) for item in ITEMS.values() for way in ((1, True), (4, True), (1, False))))
def gathered(item, each, by_rows):
    """y[o,m,i] = x[o, place, i] with place = index[m] (by_rows) or index[o,m,i]; inner and n count units of `each`."""
    def gathered(x, index, y, length, inner, rows, n):
        i = position()
        if i >= n:
            return
        row = divide(i, inner)
        outer = divide(row, rows)
        place = uint32(index[uint32(row - outer * rows)] if by_rows else index[i])
        at = uint32((outer * length + place) * inner + (i - row * inner))
        if each == 1:
            y[i] = x[at]
        else:
            a, b, c, d = load4(x, uint32(at * 4))
            store4(y, uint32(i * 4), a, b, c, d)
    return gathered


def _gather(name: str, x: DeviceArray, index: DeviceArray, y: DeviceArray, rows: int, by_rows: bool) -> None:
    _, length, inner = x.shape
    check_indices(index, length, name)
    check_size(name, x, y)
    each = 4 if by_rows and inner % 4 == 0 else 1
    count = y.size // each
    launch(gathered(item_type(x), each, by_rows), cover(count), x, index, y, length, inner // each, rows, count)


def take(x: DeviceArray, index: DeviceArray, y: DeviceArray) -> None:
    _gather("take", x, index, y, y.shape[1], True)


def pick(x: DeviceArray, index: DeviceArray, y: DeviceArray) -> None:
    _gather("pick", x, index, y, 1, False)


def gather(x: DeviceArray, index: DeviceArray, y: DeviceArray) -> None:
    _gather("gather", x, index, y, y.shape[1], False)


# ------------------------------------------------------------------------------------------------------- writing


@kernel("x: real*, index: i64*, y: real*, length: u32, inner: u32, rows: u32, columns: u32",
        variants=tuple(product((np.float32, np.float64), (False, True))))
def scattered(real, add):
    """y[o, index[o,m,i], i] = (add: +=) x[o,m,i] in order of m. A column is one of all (o, i)."""
    def scattered(x, index, y, length, inner, rows, columns):
        column = position()
        if column >= columns:
            return
        outer = divide(column, inner)
        i = uint32(column - outer * inner)
        at, m = uint32(outer * rows * inner + i), uint32(0)
        to = uint32(outer * length * inner + i)
        while m < rows:
            place = uint32(to + uint32(index[at]) * inner)
            y[place] = y[place] + x[at] if add else x[at]
            m, at = uint32(m + 1), uint32(at + inner)
    return scattered


def _scatter(name: str, x: DeviceArray, index: DeviceArray, y: DeviceArray, rows: int, add: bool) -> None:
    outer, length, inner = y.shape
    check_indices(index, length, name)
    check_size(name, x, y)
    fill(y, 0)
    launch(scattered(x.dtype, add), cover(outer * inner), x, index, y, length, inner, rows, outer * inner)


def pick_grad(g: DeviceArray, index: DeviceArray, dx: DeviceArray, length: int) -> None:
    _scatter("pick_grad", g, index, dx, 1, False)


def scatter(x: DeviceArray, index: DeviceArray, y: DeviceArray, length: int, add: bool) -> None:
    _scatter("scatter", x, index, y, x.shape[1], bool(add))


# ----------------------------------------------------------------------------------------------- sparse matrices


CSR = "x: real*, start: i64*, index: i64*, weight: real*, y: real*, length: u32, inner: u32, rows: u32, n: u32"


@kernel(CSR)
def csr_sums(real):
    """y[o,m,i] = sum over t from start[m] to start[m+1] of weight[t] * x[o, index[t], i]."""
    def csr_sums(x, start, index, weight, y, length, inner, rows, n):
        i = position()
        if i >= n:
            return
        row = divide(i, inner)
        outer = divide(row, rows)
        m, column = uint32(row - outer * rows), uint32(i - row * inner)
        t, end, total = uint32(start[m]), uint32(start[uint32(m + 1)]), real(0)
        while t < end:
            total += weight[t] * x[uint32((outer * length + uint32(index[t])) * inner + column)]
            t = uint32(t + 1)
        y[i] = total
    return csr_sums


@kernel(CSR)
def csr_sums_of_four(real):
    """The same for four neighbouring columns a thread, which share indices and weights; inner and n count fours."""
    def csr_sums_of_four(x, start, index, weight, y, length, inner, rows, n):
        i = position()
        if i >= n:
            return
        row = divide(i, inner)
        outer = divide(row, rows)
        m, column = uint32(row - outer * rows), uint32(i - row * inner)
        t, end = uint32(start[m]), uint32(start[uint32(m + 1)])
        a, b, c, d = real(0), real(0), real(0), real(0)
        while t < end:
            x0, x1, x2, x3 = load4(x, uint32(((outer * length + uint32(index[t])) * inner + column) * 4))
            share = weight[t]
            a, b, c, d = a + share * x0, b + share * x1, c + share * x2, d + share * x3
            t = uint32(t + 1)
        store4(y, uint32(i * 4), a, b, c, d)
    return csr_sums_of_four


def _multiply(start: DeviceArray, index: DeviceArray, weight: DeviceArray, x: DeviceArray, y: DeviceArray) -> None:
    _, length, inner = x.shape
    sums, each = (csr_sums_of_four, 4) if inner % 4 == 0 else (csr_sums, 1)
    count = y.size // each
    launch(sums(x.dtype), cover(count), x, start, index, weight, y, length, inner // each, y.shape[1], count)


def csr_matmul(x: DeviceArray, start: DeviceArray, index: DeviceArray, weight: DeviceArray, y: DeviceArray) -> None:
    if _first_found(first_not_rising(), start, index.size) >= 0:
        raise ValueError(f"csr_matmul: start must rise from 0 to {index.size}, the number of weights")
    check_indices(index, x.shape[1], "csr_matmul")
    check_size("csr_matmul", x, y, weight)
    _multiply(start, index, weight, x, y)


def take_grad(g: DeviceArray, index: DeviceArray, dx: DeviceArray, length: int) -> None:
    """The product with the sparse matrix that has a 1 where a row was taken: so a place adds up what it is due itself,
    in order of m, however few columns there are to work on at once. The processor, which has to look at the indices
    before anything is read through them, sorts them as well."""
    check_size("take_grad", g, dx)
    places = to_numpy(index)
    wrong = np.flatnonzero((places < 0) | (places >= length))
    if wrong.size:
        raise _wrong(places, int(wrong[0]), length, "take_grad")
    start = np.zeros(length + 1, np.int64)
    np.cumsum(np.bincount(places, minlength=length), out=start[1:])
    order = np.argsort(places, kind="stable")
    ones = empty(index.shape, g.dtype, g.device)
    fill(ones, 1)
    _multiply(to_device(start, g.device), to_device(order, g.device), ones, g, dx)


CONTRACTS = {"take": take, "take_grad": take_grad, "pick": pick, "pick_grad": pick_grad, "gather": gather,
             "scatter": scatter, "csr_matmul": csr_matmul}
