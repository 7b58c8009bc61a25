# Gathering and scattering: an index for every element; and sums of few weighted rows, the product with a sparse matrix.

cdef enum:
    CHUNK = 512             # columns of a sum that are kept in a local array


cdef void gather_all(const item* x, const int64_t* index, item* y, Py_ssize_t outer, Py_ssize_t length,
                     Py_ssize_t inner, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t row
    for row in prange(outer * n, num_threads=threads(outer * n * inner), schedule="guided"):
        pick_row(x + row // n * length * inner, index + row * inner, y + row * inner, inner)


def gather(x, index, y):
    cdef Py_ssize_t outer = x.shape[0], length = x.shape[1], inner = x.shape[2], n = index.shape[1]
    cdef void* px = data(x)
    cdef void* py = data(y)
    cdef const int64_t* place = <const int64_t*>data(index)
    cdef int size = item_size(x)
    check_index("gather", index, length)
    if size == 1:
        with nogil:
            gather_all(<const uint8_t*>px, place, <uint8_t*>py, outer, length, inner, n)
    elif size == 4:
        with nogil:
            gather_all(<const uint32_t*>px, place, <uint32_t*>py, outer, length, inner, n)
    else:
        with nogil:
            gather_all(<const uint64_t*>px, place, <uint64_t*>py, outer, length, inner, n)


cdef void scatter_block(const real* x, const int64_t* index, real* y, Py_ssize_t length, Py_ssize_t inner,
                        Py_ssize_t n, bint add, Py_ssize_t task) noexcept nogil:
    """Task (outer index, block of columns): what meets in a place does so in order."""
    cdef Py_ssize_t blocks = (inner + BLOCK - 1) // BLOCK, o = task // blocks, column = task % blocks * BLOCK
    cdef Py_ssize_t width = min(BLOCK, inner - column), d, m, i, at
    y += o * length * inner + column
    for d in range(length):
        memset(y + d * inner, 0, width * sizeof(real))
    for m in range(n):
        at = (o * n + m) * inner + column
        if add:
            for i in range(width):
                y[index[at + i] * inner + i] += x[at + i]
        else:
            for i in range(width):
                y[index[at + i] * inner + i] = x[at + i]


cdef void scatter_all(const real* x, const int64_t* index, real* y, Py_ssize_t outer, Py_ssize_t length,
                      Py_ssize_t inner, Py_ssize_t n, bint add) noexcept nogil:
    cdef Py_ssize_t task
    cdef int team = threads(outer * (length + n) * inner)
    for task in prange(outer * ((inner + BLOCK - 1) // BLOCK), num_threads=team, schedule="guided"):
        scatter_block(x, index, y, length, inner, n, add, task)


def scatter(x, index, y, Py_ssize_t length, bint add):
    cdef Py_ssize_t outer = y.shape[0], inner = y.shape[2], n = index.shape[1]
    cdef void* px = data(x)
    cdef void* py = data(y)
    cdef const int64_t* place = <const int64_t*>data(index)
    check_index("scatter", index, length)
    if x.dtype == F32:
        with nogil:
            scatter_all(<const float*>px, place, <float*>py, outer, length, inner, n, add)
    else:
        with nogil:
            scatter_all(<const double*>px, place, <double*>py, outer, length, inner, n, add)


# --------------------------------------------------------------------------------------------- sparse matrices by rows

cdef inline void sum_of_rows(const real* x, const int64_t* index, const real* weight, Py_ssize_t taps, real* y,
                             Py_ssize_t inner, Py_ssize_t width) noexcept nogil:
    """y = the sum of weight[t] times row index[t] of x, `width` columns of each; two rows at a time spare loads and
    stores of the sums, and two are all that linear interpolation has."""
    cdef real total[CHUNK]
    cdef Py_ssize_t t = 0, i
    cdef const real* row
    cdef const real* other
    cdef real share, rest
    if taps >= 2:
        row, other, share, rest, t = x + index[0] * inner, x + index[1] * inner, weight[0], weight[1], 2
        for i in range(width):
            total[i] = share * row[i] + rest * other[i]
    else:
        for i in range(width):
            total[i] = 0
    while t + 2 <= taps:
        row, other, share, rest, t = x + index[t] * inner, x + index[t + 1] * inner, weight[t], weight[t + 1], t + 2
        for i in range(width):
            total[i] += share * row[i] + rest * other[i]
    if t < taps:
        row, share = x + index[t] * inner, weight[t]
        for i in range(width):
            total[i] += share * row[i]
    memcpy(y, total, width * sizeof(real))


cdef void csr_row(const real* x, const int64_t* index, const real* weight, Py_ssize_t taps, real* y,
                  Py_ssize_t inner) noexcept nogil:
    """One row of the product. x: the matrix on the right, y: the row."""
    cdef Py_ssize_t column = 0, t
    cdef real total = 0
    if inner == 1:
        for t in range(taps):
            total += weight[t] * x[index[t]]
        y[0] = total
        return
    if taps == 1:  # the nearest pixel: no sum to keep
        x, total = x + index[0] * inner, weight[0]
        for column in range(inner):
            y[column] = total * x[column]
        return
    while column < inner:
        sum_of_rows(x + column, index, weight, taps, y + column, inner, min(CHUNK, inner - column))
        column += CHUNK


cdef void csr_all(const real* x, const int64_t* start, const int64_t* index, const real* weight, real* y,
                  Py_ssize_t outer, Py_ssize_t length, Py_ssize_t inner, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t task, m
    for task in prange(outer * n, num_threads=threads(outer * (n + start[n]) * inner), schedule="guided"):
        m = task % n
        csr_row(x + task // n * length * inner, index + start[m], weight + start[m], start[m + 1] - start[m],
                y + task * inner, inner)


cdef int check_starts(const int64_t* start, Py_ssize_t n, Py_ssize_t weights) except -1:
    cdef Py_ssize_t m
    cdef bint rise = start[0] == 0 and start[n] == weights
    for m in range(n):
        rise = rise and start[m] <= start[m + 1]
    if not rise:
        raise ValueError(f"csr_matmul: start must rise from 0 to {weights}, the number of weights")
    return 0


def csr_matmul(x, start, index, weight, y):
    cdef Py_ssize_t outer = x.shape[0], length = x.shape[1], inner = x.shape[2], n = y.shape[1]
    cdef void* px = data(x)
    cdef void* pw = data(weight)
    cdef void* py = data(y)
    cdef const int64_t* first = <const int64_t*>data(start)
    cdef const int64_t* place = <const int64_t*>data(index)
    check_starts(first, n, index.shape[0])
    check_index("csr_matmul", index, length)
    if x.dtype == F32:
        with nogil:
            csr_all(<const float*>px, first, place, <const float*>pw, <float*>py, outer, length, inner, n)
    else:
        with nogil:
            csr_all(<const double*>px, first, place, <const double*>pw, <double*>py, outer, length, inner, n)
