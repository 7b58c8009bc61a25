"""Copies along strided walks, and picking elements by index. Elements are moved by their size, whatever they mean."""

include "common.pxi"

from cython.parallel cimport prange

cdef enum:
    RANK = 32  # most axes of an array

ctypedef fused element:
    uint8_t
    uint32_t
    uint64_t


# A strided walk as flat numbers: axis 0 is the innermost; axes of size 1 are left out, neighbours that lie in one line
# are merged.
cdef struct Walk:
    int rank
    Py_ssize_t shape[RANK]
    Py_ssize_t step[RANK]
    Py_ssize_t offset
    Py_ssize_t rows     # how many times the innermost axis is run through


cdef Walk new_walk(tuple shape, tuple strides, Py_ssize_t offset) except *:
    cdef Walk walk
    cdef int axis
    cdef Py_ssize_t size, step
    walk.rank, walk.offset, walk.rows = 0, offset, 1
    for axis in range(len(shape) - 1, -1, -1):
        size, step = shape[axis], strides[axis]
        if size == 1:
            continue
        if walk.rank and step == walk.step[walk.rank - 1] * walk.shape[walk.rank - 1]:
            walk.shape[walk.rank - 1] *= size
            continue
        if walk.rank == RANK:
            raise ValueError(f"a walk has at most {RANK} axes")
        walk.shape[walk.rank], walk.step[walk.rank] = size, step
        walk.rank += 1
    if walk.rank == 0:
        walk.shape[0], walk.step[0], walk.rank = 1, 1, 1
    for axis in range(1, walk.rank):
        walk.rows *= walk.shape[axis]
    return walk


cdef Py_ssize_t row_start(const Walk* walk, Py_ssize_t row) noexcept nogil:
    """Where a row of the walk begins in the strided array."""
    cdef Py_ssize_t place = walk.offset
    cdef int axis
    for axis in range(1, walk.rank):
        place += row % walk.shape[axis] * walk.step[axis]
        row //= walk.shape[axis]
    return place


cdef void read_row(const element* x, element* y, Py_ssize_t count, Py_ssize_t step) noexcept nogil:
    cdef Py_ssize_t i
    if step == 1:
        memcpy(y, x, count * sizeof(element))
    else:
        for i in range(count):
            y[i] = x[i * step]


cdef void write_row(element* y, const element* x, Py_ssize_t count, Py_ssize_t step) noexcept nogil:
    cdef Py_ssize_t i
    if step == 1:
        memcpy(y, x, count * sizeof(element))
    else:
        for i in range(count):
            y[i * step] = x[i]


cdef void _get(const element* x, element* y, const Walk* walk) noexcept nogil:
    cdef Py_ssize_t width = walk.shape[0], row
    for row in prange(walk.rows, num_threads=threads(walk.rows * width), schedule="static"):
        read_row(x + row_start(walk, row), y + row * width, width, walk.step[0])


cdef void _set(element* y, const element* x, const Walk* walk) noexcept nogil:
    cdef Py_ssize_t width = walk.shape[0], row
    for row in prange(walk.rows, num_threads=threads(walk.rows * width), schedule="static"):
        write_row(y + row_start(walk, row), x + row * width, width, walk.step[0])


def strided_get(x, y, shape, strides, offset):
    cdef void* source = data(x)
    cdef void* target = data(y)
    cdef Walk walk = new_walk(tuple(shape), tuple(strides), offset)
    if y.size == 0:
        return
    if x.itemsize == 1:
        _get[uint8_t](<uint8_t*>source, <uint8_t*>target, &walk)
    elif x.itemsize == 4:
        _get[uint32_t](<uint32_t*>source, <uint32_t*>target, &walk)
    else:
        _get[uint64_t](<uint64_t*>source, <uint64_t*>target, &walk)


def strided_set(y, x, shape, strides, offset):
    cdef void* target = data(y)
    cdef void* source = data(x)
    cdef Walk walk = new_walk(tuple(shape), tuple(strides), offset)
    if x.size == 0:
        return
    if x.itemsize == 1:
        _set[uint8_t](<uint8_t*>target, <uint8_t*>source, &walk)
    elif x.itemsize == 4:
        _set[uint32_t](<uint32_t*>target, <uint32_t*>source, &walk)
    else:
        _set[uint64_t](<uint64_t*>target, <uint64_t*>source, &walk)


# ------------------------------------------------------------------------------------------------------------- fill

cdef void _fill(element* y, element value, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in prange(count, num_threads=threads(count), schedule="static"):
        y[i] = value


def fill(y, value):
    cdef void* target = data(y)
    one = np.array([value]).astype(y.dtype)
    cdef void* bits = data(one)
    if y.itemsize == 1:
        _fill[uint8_t](<uint8_t*>target, (<uint8_t*>bits)[0], y.size)
    elif y.itemsize == 4:
        _fill[uint32_t](<uint32_t*>target, (<uint32_t*>bits)[0], y.size)
    else:
        _fill[uint64_t](<uint64_t*>target, (<uint64_t*>bits)[0], y.size)


# ---------------------------------------------------------------------------------------------------------- indices

cdef int check_indices(object index, Py_ssize_t length, str name) except -1:
    """Every index is inside before anything is written."""
    cdef const int64_t* places = <const int64_t*>data(index)
    cdef Py_ssize_t count = index.size, i
    for i in range(count):
        if places[i] < 0 or places[i] >= length:
            raise IndexError(f"{name}: index {places[i]} is outside 0..{length - 1}")
    return 0


cdef void _take(const char* x, const int64_t* index, char* y, Py_ssize_t outer, Py_ssize_t length, Py_ssize_t count,
                Py_ssize_t width) noexcept nogil:
    """Widths in bytes."""
    cdef Py_ssize_t k
    for k in prange(outer * count, num_threads=threads(outer * count * width), schedule="static"):
        memcpy(y + k * width, x + (k // count * length + index[k % count]) * width, width)


def take(x, index, y):
    check_indices(index, x.shape[1], "take")
    if y.size:
        _take(<const char*>data(x), <const int64_t*>data(index), <char*>data(y), x.shape[0], x.shape[1], index.shape[0],
              x.shape[2] * x.itemsize)
    else:
        data(x), data(y)


cdef void _take_grad(const real* g, const int64_t* index, real* dx, Py_ssize_t outer, Py_ssize_t length, Py_ssize_t count,
                     Py_ssize_t width) noexcept nogil:
    """Each thread owns whole outer slices, or columns of the only one, so that sums run in the order of m."""
    cdef Py_ssize_t o, m, i, block, blocks = (width + 63) // 64, begin, end
    cdef real* target
    cdef const real* source
    memset(dx, 0, outer * length * width * sizeof(real))
    for block in prange(outer * blocks, num_threads=threads(outer * count * width), schedule="static"):
        o = block // blocks
        begin = block % blocks * 64
        end = min(begin + 64, width)
        for m in range(count):
            target = dx + (o * length + index[m]) * width
            source = g + (o * count + m) * width
            for i in range(begin, end):
                target[i] += source[i]


def take_grad(g, index, dx, length):
    check_indices(index, length, "take_grad")
    if g.dtype == F32:
        _take_grad[float](<float*>data(g), <const int64_t*>data(index), <float*>data(dx), g.shape[0], length, g.shape[1],
                          g.shape[2])
    else:
        _take_grad[double](<double*>data(g), <const int64_t*>data(index), <double*>data(dx), g.shape[0], length,
                           g.shape[1], g.shape[2])


cdef void _pick(const element* x, const int64_t* index, element* y, Py_ssize_t outer, Py_ssize_t length,
                Py_ssize_t inner) noexcept nogil:
    cdef Py_ssize_t k
    for k in prange(outer * inner, num_threads=threads(outer * inner), schedule="static"):
        y[k] = x[(k // inner * length + index[k]) * inner + k % inner]


def pick(x, index, y):
    check_indices(index, x.shape[1], "pick")
    cdef void* source = data(x)
    cdef void* target = data(y)
    cdef const int64_t* places = <const int64_t*>data(index)
    if x.itemsize == 1:
        _pick[uint8_t](<uint8_t*>source, places, <uint8_t*>target, x.shape[0], x.shape[1], x.shape[2])
    elif x.itemsize == 4:
        _pick[uint32_t](<uint32_t*>source, places, <uint32_t*>target, x.shape[0], x.shape[1], x.shape[2])
    else:
        _pick[uint64_t](<uint64_t*>source, places, <uint64_t*>target, x.shape[0], x.shape[1], x.shape[2])


cdef void _pick_grad(const real* g, const int64_t* index, real* dx, Py_ssize_t outer, Py_ssize_t length,
                     Py_ssize_t inner) noexcept nogil:
    cdef Py_ssize_t k
    memset(dx, 0, outer * length * inner * sizeof(real))
    for k in prange(outer * inner, num_threads=threads(outer * inner), schedule="static"):
        dx[(k // inner * length + index[k]) * inner + k % inner] = g[k]


def pick_grad(g, index, dx, length):
    check_indices(index, length, "pick_grad")
    if g.dtype == F32:
        _pick_grad[float](<float*>data(g), <const int64_t*>data(index), <float*>data(dx), g.shape[0], length, g.shape[1])
    else:
        _pick_grad[double](<double*>data(g), <const int64_t*>data(index), <double*>data(dx), g.shape[0], length,
                           g.shape[1])
