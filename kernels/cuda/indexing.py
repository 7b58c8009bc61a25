"""Taking by index, and the gradients of it; sums of a few weighted rows, the product with a sparse matrix.

Every index is looked at by the thread that uses it, which passes over a wrong one and notes it (faults.py): nobody
waits for an answer. Elements that are gathered have a thread each (or four neighbours do), and neighbouring threads
follow the innermost axis, along which memory is read in lines whatever the index is.

Where elements are scattered several may meet in one place, and floats must be added in the same order each time. There
a thread has a column, all that could meet, and walks down it; where columns are few and long they are cut into parts,
each added up in an array of its own, and the arrays are added up in order. Where the last one stays, all that matters
is which that is: integers may be compared in any order, so there each element has a thread.
"""

from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numba import cuda, int64, uint32, uint64

from .axes import check_size
from .compiler import THREADS, kernel
from .copy import ITEMS, fill, item_type
from .define import device
from .faults import Error
from .intrinsics import atomic_min, divide, load4, position, store4
from .launcher import MOST_BLOCKS, cover, launch
from .layout import BUSY, MANY
from .memory import DeviceArray, empty, to_numpy
from .reduce import FLOATS, reduce_sum

# ---------------------------------------------------------------------------------------------------- the checks

#: The parameters of a kernel that notes faults: what `Faults.expect` gives.
FAULTS = "faults: u64*, check: u64"


@device
def note(faults: Any, check: Any, place: Any) -> None:
    """Element `place` of the array that this check is about is wrong."""
    atomic_min(faults, uint32(0), uint64(check | uint64(place)))


@device
def wrong(index: Any, length: Any, faults: Any, check: Any, place: Any) -> Any:
    """Whether an index is not in 0..length-1, which is noted then. As unsigned numbers the negative are too large."""
    outside = uint64(index) >= uint64(length)
    if outside:
        note(faults, check, place)
    return outside


@kernel(f"index: i64*, length: u32, ignored: i64, n: u32, {FAULTS}", variants=((True,), (False,)))
def looked_at(some_ignored):
    def looked_at(index, length, ignored, n, faults, check):
        i = position()
        if i < n and not (some_ignored and index[i] == ignored):
            wrong(index[i], length, faults, check, i)
    return looked_at


def expect(index: DeviceArray, length: int, name: str, *errors: Error) -> tuple[Any, ...]:
    """The arguments for FAULTS of a kernel that looks at these indices: IndexError, naming the op. errors: for what
    else it checks."""
    return index.device.faults.expect(partial(_wrong, index, length, name), *errors)


def check_indices(index: DeviceArray, length: int, name: str, ignore: int | None = None) -> None:
    """Look at indices that no kernel uses: IndexError, naming the op, if one is neither in 0..length-1 nor `ignore`.
    It is raised when an array is read."""
    launch(looked_at(ignore is not None), cover(index.size), index, length, ignore or 0, index.size,
           *expect(index, length, name))


def _wrong(index: DeviceArray, length: int, name: str, place: int) -> IndexError:
    where = ", ".join(str(k) for k in np.unravel_index(place, index.shape))
    return IndexError(f"{name}: index[{where}] is {to_numpy(index).flat[place]}, expected 0 to {length - 1}")


# ------------------------------------------------------------------------------------------------------- reading


@kernel(f"x: item*, index: i64*, y: item*, length: u32, inner: u32, rows: u32, n: u32, {FAULTS}",
        variants=tuple((item, *way) for item in ITEMS.values() for way in ((1, True), (4, True), (1, False))))
def gathered(item, each, by_rows):
    """y[o,m,i] = x[o, place, i] with place = index[m] (by_rows) or index[o,m,i]; inner and n count units of `each`."""
    def gathered(x, index, y, length, inner, rows, n, faults, check):
        i = position()
        if i >= n:
            return
        row = divide(i, inner)
        outer = divide(row, rows)
        number = uint32(row - outer * rows) if by_rows else i
        place = index[number]
        if wrong(place, length, faults, check, number):
            return
        at = uint32((outer * length + uint32(place)) * inner + (i - row * inner))
        if each == 1:
            y[i] = x[at]
        else:
            a, b, c, d = load4(x, uint32(at * 4))
            store4(y, uint32(i * 4), a, b, c, d)
    return gathered


def _gather(name: str, x: DeviceArray, index: DeviceArray, y: DeviceArray, rows: int, by_rows: bool) -> None:
    _, length, inner = x.shape
    check_size(name, x, y)
    if not y.size:
        check_indices(index, length, name)
        return
    each = 4 if by_rows and inner % 4 == 0 else 1
    count = y.size // each
    launch(gathered(item_type(x), each, by_rows), cover(count), x, index, y, length, inner // each, rows, count,
           *expect(index, length, name))


def take(x: DeviceArray, index: DeviceArray, y: DeviceArray) -> None:
    _gather("take", x, index, y, y.shape[1], True)


def pick(x: DeviceArray, index: DeviceArray, y: DeviceArray) -> None:
    _gather("pick", x, index, y, 1, False)


def gather(x: DeviceArray, index: DeviceArray, y: DeviceArray) -> None:
    _gather("gather", x, index, y, y.shape[1], False)


# ------------------------------------------------------------------------------------------------------- writing


@kernel(f"x: real*, index: i64*, y: real*, length: u32, inner: u32, rows: u32, each: u32, columns: u32, {FAULTS}",
        variants=tuple(product(FLOATS, (True, False))))
def added_up(real, by_rows):
    """y[p, o, place, i] += x[o,m,i] with place = index[m] (by_rows) or index[o,m,i], in order of m, for the `each` rows
    m of part p (blockIdx.y). A thread has a column, one of all (o, i), of a part."""
    def added_up(x, index, y, length, inner, rows, each, columns, faults, check):
        column = position()
        if column >= columns:
            return
        outer = divide(column, inner)
        i = uint32(column - outer * inner)
        m = uint32(cuda.blockIdx.y * each)
        end = min(rows, uint32(m + each))
        at = uint32((outer * rows + m) * inner + i)
        to = uint32((uint32(cuda.blockIdx.y) * divide(columns, inner) + outer) * length * inner + i)
        while m < end:
            number = m if by_rows else at
            place = index[number]
            if not wrong(place, length, faults, check, number):
                there = uint32(to + uint32(place) * inner)
                y[there] = y[there] + x[at]
            m, at = uint32(m + 1), uint32(at + inner)
    return added_up


#: Elements that all parts together may have without a thought for their memory: 16 MB of float32.
ROOM = 2**22


def _parts(rows: int, columns: int, size: int) -> int:
    """Into how many parts the rows of so many columns are cut, where the result has `size` elements: enough for a
    thread everywhere on a large GPU, unless parts get short, or all of them larger than what is added up."""
    wanted = cover(BUSY * THREADS, max(columns, 1))
    affordable = max(ROOM, rows * columns) // max(size, 1)
    return max(1, min(wanted, affordable, rows // MANY, MOST_BLOCKS[1]))


def _add_up(name: str, x: DeviceArray, index: DeviceArray, y: DeviceArray, by_rows: bool) -> None:
    (outer, length, inner), rows = y.shape, x.shape[1]
    parts = _parts(rows, outer * inner, y.size)
    sums = y if parts == 1 else empty((1, parts, y.size), y.dtype, y.device)
    check_size(name, x, sums)
    fill(sums, 0)
    each = max(1, cover(rows, parts))
    launch(added_up(x.dtype, by_rows), (cover(outer * inner), parts), x, index, sums, length, inner, rows, each,
           outer * inner, *expect(index, length, name))
    if parts > 1:
        reduce_sum(sums, y.reshape(1, y.size), 1.0)


def take_grad(g: DeviceArray, index: DeviceArray, dx: DeviceArray, length: int) -> None:
    if g.size:
        _add_up("take_grad", g, index, dx, True)
    else:
        fill(dx, 0)
        check_indices(index, length, "take_grad")


#: Of `latest`, where nobody writes: after every row, counted from the last.
NOBODY = 2**32 - 1


@kernel(f"index: i64*, latest: u32*, length: u32, inner: u32, rows: u32, n: u32, {FAULTS}", variants=((),))
def latest_rows():
    """latest[o, index[o,m,i], i] = rows - 1 - m of the last such row m."""
    def latest_rows(index, latest, length, inner, rows, n, faults, check):
        i = position()
        if i >= n:
            return
        row = divide(i, inner)
        outer = divide(row, rows)
        place = index[i]
        if not wrong(place, length, faults, check, i):
            there = uint32((outer * length + uint32(place)) * inner + (i - row * inner))
            atomic_min(latest, there, uint32(rows - 1 - (row - outer * rows)))
    return latest_rows


@kernel("x: real*, latest: u32*, y: real*, length: u32, inner: u32, rows: u32, n: u32")
def from_latest(real):
    """y[o,d,i] = x[o,m,i] of the row m that `latest` tells, or 0."""
    def from_latest(x, latest, y, length, inner, rows, n):
        i = position()
        if i >= n:
            return
        value = real(0)
        if latest[i] != NOBODY:
            row = divide(i, inner)
            m = uint32(rows - 1 - latest[i])
            value = x[uint32((divide(row, length) * rows + m) * inner + (i - row * inner))]
        y[i] = value
    return from_latest


def scatter(x: DeviceArray, index: DeviceArray, y: DeviceArray, length: int, add: bool) -> None:
    if add:
        _add_up("scatter", x, index, y, False)
        return
    check_size("scatter", x, y)
    rows, inner = x.shape[1:]
    latest = empty(y.shape, np.uint32, y.device)
    fill(latest, NOBODY)
    launch(latest_rows(), cover(x.size), index, latest, length, inner, rows, x.size, *expect(index, length, "scatter"))
    launch(from_latest(x.dtype), cover(y.size), x, latest, y, length, inner, rows, y.size)


@kernel(f"g: real*, index: i64*, dx: real*, length: u32, inner: u32, n: u32, {FAULTS}")
def put_back(real):
    """dx[o,d,i] = g[o,i] where d is index[o,i], else 0. The thread of d = 0 looks at the index for all of them."""
    def put_back(g, index, dx, length, inner, n, faults, check):
        i = position()
        if i >= n:
            return
        row = divide(i, inner)
        outer = divide(row, length)
        d, at = uint32(row - outer * length), uint32(outer * inner + (i - row * inner))
        place = index[at]
        if d == 0:
            wrong(place, length, faults, check, at)
        dx[i] = g[at] if place == int64(d) else real(0)
    return put_back


def pick_grad(g: DeviceArray, index: DeviceArray, dx: DeviceArray, length: int) -> None:
    check_size("pick_grad", dx)
    if dx.size:
        launch(put_back(g.dtype), cover(dx.size), g, index, dx, length, g.shape[1], dx.size,
               *expect(index, length, "pick_grad"))
    else:
        check_indices(index, length, "pick_grad")


# ----------------------------------------------------------------------------------------------- sparse matrices

CSR = ("x: real*, start: i64*, index: i64*, weight: real*, y: real*, length: u32, inner: u32, rows: u32, weights: u32, "
       f"n: u32, {FAULTS}, starts_check: u64")


@device
def row_of(m: Any, start: Any, rows: Any, weights: Any, faults: Any, check: Any) -> Any:
    """From which weight to which row m goes. It has none, and the fault is noted, if the starts aren't what they must
    be: 0 at first, never less than before, `weights` at last."""
    first, end = start[m], start[uint32(m + 1)]
    right = first <= end and first >= 0 and end <= int64(weights)
    right = right and (m > 0 or first == 0) and (uint32(m + 1) < rows or end == int64(weights))
    if not right:
        note(faults, check, m)
        return uint32(0), uint32(0)
    return uint32(first), uint32(end)


@kernel(CSR)
def csr_sums(real):
    """y[o,m,i] = sum over t from start[m] to start[m+1] of weight[t] * x[o, index[t], i]."""
    def csr_sums(x, start, index, weight, y, length, inner, rows, weights, n, faults, check, starts_check):
        i = position()
        if i >= n:
            return
        row = divide(i, inner)
        outer = divide(row, rows)
        m, column = uint32(row - outer * rows), uint32(i - row * inner)
        t, end = row_of(m, start, rows, weights, faults, starts_check)
        total = real(0)
        while t < end:
            if not wrong(index[t], length, faults, check, t):
                total += weight[t] * x[uint32((outer * length + uint32(index[t])) * inner + column)]
            t = uint32(t + 1)
        y[i] = total
    return csr_sums


@kernel(CSR)
def csr_sums_of_four(real):
    """The same for four neighbouring columns a thread, which share indices and weights; inner and n count fours."""
    def csr_sums_of_four(x, start, index, weight, y, length, inner, rows, weights, n, faults, check, starts_check):
        i = position()
        if i >= n:
            return
        row = divide(i, inner)
        outer = divide(row, rows)
        m, column = uint32(row - outer * rows), uint32(i - row * inner)
        t, end = row_of(m, start, rows, weights, faults, starts_check)
        a, b, c, d = real(0), real(0), real(0), real(0)
        while t < end:
            if not wrong(index[t], length, faults, check, t):
                x0, x1, x2, x3 = load4(x, uint32(((outer * length + uint32(index[t])) * inner + column) * 4))
                share = weight[t]
                a, b, c, d = a + share * x0, b + share * x1, c + share * x2, d + share * x3
            t = uint32(t + 1)
        store4(y, uint32(i * 4), a, b, c, d)
    return csr_sums_of_four


def csr_matmul(x: DeviceArray, start: DeviceArray, index: DeviceArray, weight: DeviceArray, y: DeviceArray) -> None:
    check_size("csr_matmul", x, y, weight)
    _, length, inner = x.shape
    sums, each = (csr_sums_of_four, 4) if inner % 4 == 0 else (csr_sums, 1)
    count = y.size // each

    def not_rising(_: int) -> ValueError:
        return ValueError(f"csr_matmul: start must rise from 0 to {index.size}, the number of weights")

    launch(sums(x.dtype), cover(count), x, start, index, weight, y, length, inner // each, y.shape[1], index.size,
           count, *expect(index, length, "csr_matmul", not_rising))


LAUNCHES = {"take": take, "take_grad": take_grad, "pick": pick, "pick_grad": pick_grad, "gather": gather,
            "scatter": scatter, "csr_matmul": csr_matmul}
