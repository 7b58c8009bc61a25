"""Sums, maxima and softmax over the middle axis of arrays (O, R, I).

A reduction is cut into tasks: one outer index, one part of the rows, one block of the columns. How many parts there are
follows from the shape alone, and they are put together in order, so the result does not depend on the threads.
Within a task a row is a short vector of "lanes" that are added up side by side; where rows are narrow (I = 1 is a sum
over the last axis), several make one: (1024, 16) is read as (256, 64), whose 64 lanes fold to 16 in the end.
"""

include "common.pxi"

from cython.parallel cimport prange
from libc.math cimport INFINITY, exp, log

cdef extern from "vecmath.h":
    float m_exp(float x) noexcept nogil

cdef enum:
    LANES = 512             # columns of a task: their sums stay in the L1 cache
    SPAN = 64               # columns whose sums stay in registers
    RUN = 128               # rows added up in the array's own precision before they go to a double
    PART_SIZE = 16384       # elements that make another part worthwhile
    SPREAD = 8192           # elements of a task that writes the same numbers again and again


cdef inline Py_ssize_t count_parts(Py_ssize_t outer, Py_ssize_t rows, Py_ssize_t inner) noexcept nogil:
    """Parts that the rows are cut into: more than one only where there is little else to share out."""
    cdef Py_ssize_t others = outer * ((inner + LANES - 1) // LANES)
    if others >= PARTS:
        return 1
    return max(1, min(PARTS, rows * inner // PART_SIZE))


cdef inline Py_ssize_t rows_in_one(Py_ssize_t rows, Py_ssize_t inner) noexcept nogil:
    """How many rows of `inner` columns to read as one: a span if they fill it exactly, else as many as there are lanes
    (if four such rows remain)."""
    cdef Py_ssize_t together = SPAN // inner if SPAN % inner == 0 else LANES // inner
    while together * 4 > rows and together > 1:
        together = together // 2
    return max(together, 1)


# ---------------------------------------------------------------------------------------------------------- sums

cdef inline void add_span(const real* x, Py_ssize_t rows, real* sum) noexcept nogil:
    """sum[j] = the sum over r of x[r*SPAN + j], j < SPAN: the fixed number lets the compiler keep it in registers."""
    cdef real lane[SPAN]
    cdef Py_ssize_t r, j
    for j in range(SPAN):
        lane[j] = 0
    for r in range(rows):
        for j in range(SPAN):
            lane[j] += x[r * SPAN + j]
    for j in range(SPAN):
        sum[j] = lane[j]


cdef inline void add_lanes(const real* x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width,
                           real* sum) noexcept nogil:
    """sum[j] = the sum over r of x[r*stride + j], j < width <= LANES: four rows at a time spare loads and stores."""
    cdef Py_ssize_t r = 0, j
    for j in range(width):
        sum[j] = 0
    while r + 4 <= rows:
        for j in range(width):
            sum[j] += (x[j] + x[stride + j]) + (x[2 * stride + j] + x[3 * stride + j])
        x += 4 * stride
        r += 4
    while r < rows:
        for j in range(width):
            sum[j] += x[j]
        x += stride
        r += 1


cdef void add_rows(const real* x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width, double* total) noexcept nogil:
    """total[j] += the sum over r of x[r*stride + j], for j < width <= LANES."""
    cdef real sum[LANES]
    cdef Py_ssize_t begin = 0, run, j
    while begin < rows:
        run = min(RUN, rows - begin)
        if width == SPAN and stride == SPAN:
            add_span(x + begin * stride, run, sum)
        else:
            add_lanes(x + begin * stride, run, stride, width, sum)
        for j in range(width):
            total[j] += sum[j]
        begin += run


cdef double row_sum(const real* x, Py_ssize_t n) noexcept nogil:
    """The sum of n neighbours."""
    cdef real lane[SPAN]
    cdef real eight[8]
    cdef double total = 0
    cdef Py_ssize_t i = 0, spans, j, k
    for j in range(8):
        eight[j] = 0
    while n - i >= SPAN:
        spans = min(RUN, (n - i) // SPAN)
        add_span(x + i, spans, lane)
        for j in range(8):
            for k in range(1, SPAN // 8):
                lane[j] += lane[8 * k + j]
        for j in range(8):
            total += lane[j]
        i += spans * SPAN
    while n - i >= 8:
        for j in range(8):
            eight[j] += x[i + j]
        i += 8
    while i < n:
        eight[0] += x[i]
        i += 1
    return total + (((eight[0] + eight[1]) + (eight[2] + eight[3])) + ((eight[4] + eight[5]) + (eight[6] + eight[7])))


cdef void column_sums(const real* x, Py_ssize_t rows, Py_ssize_t inner, Py_ssize_t width, double* total) noexcept nogil:
    """total[j] = the sum over r of x[r*inner + j], for j < width <= LANES; width is inner unless that is wider."""
    cdef double lane[LANES]
    cdef Py_ssize_t together = rows_in_one(rows, inner) if width == inner else 1
    cdef Py_ssize_t whole = rows // together * together, j, k
    if inner == 1:
        total[0] = row_sum(x, rows)
        return
    for j in range(together * width):
        lane[j] = 0
    add_rows(x, rows // together, together * inner, together * width, lane)
    for j in range(width):
        total[j] = lane[j]
    for k in range(1, together):
        for j in range(width):
            total[j] += lane[k * width + j]
    add_rows(x + whole * inner, rows - whole, inner, width, total)


cdef void sum_task(const real* x, real* y, double* partial, Py_ssize_t rows, Py_ssize_t inner, Py_ssize_t parts,
                   double scale, Py_ssize_t task) noexcept nogil:
    """Task (o, part, block of columns): to `partial`, or to y where there is only one part."""
    cdef double total[LANES]
    cdef Py_ssize_t blocks = (inner + LANES - 1) // LANES
    cdef Py_ssize_t column = task % blocks * LANES, part = task // blocks % parts, o = task // (blocks * parts)
    cdef Py_ssize_t width = min(LANES, inner - column)
    cdef Py_ssize_t begin = rows * part // parts, end = rows * (part + 1) // parts, j
    column_sums(x + (o * rows + begin) * inner + column, end - begin, inner, width, total)
    for j in range(width):
        if parts == 1:
            y[o * inner + column + j] = <real>(scale * total[j])
        else:
            partial[(o * parts + part) * inner + column + j] = total[j]


cdef void sums(const real* x, real* y, double* partial, Py_ssize_t outer, Py_ssize_t rows, Py_ssize_t inner,
               Py_ssize_t parts, double scale) noexcept nogil:
    cdef Py_ssize_t tasks = outer * parts * ((inner + LANES - 1) // LANES), task, o, part, i
    cdef int team = threads(outer * rows * inner)
    cdef double total
    if inner == 1 and parts == 1:
        for o in prange(outer, num_threads=team, schedule="guided"):
            y[o] = <real>(scale * row_sum(x + o * rows, rows))
        return
    for task in prange(tasks, num_threads=team, schedule="guided"):
        sum_task(x, y, partial, rows, inner, parts, scale, task)
    if parts > 1:
        for o in range(outer):
            for i in range(inner):
                total = 0
                for part in range(parts):
                    total += partial[(o * parts + part) * inner + i]
                y[o * inner + i] = <real>(scale * total)


cdef void sums_int64(const int64_t* x, int64_t* y, Py_ssize_t outer, Py_ssize_t rows, Py_ssize_t inner) noexcept nogil:
    cdef Py_ssize_t o, r, i
    memset(y, 0, outer * inner * sizeof(int64_t))
    for o in range(outer):
        for r in range(rows):
            for i in range(inner):
                y[o * inner + i] += x[(o * rows + r) * inner + i]


def reduce_sum(x, y, double scale):
    cdef Py_ssize_t outer = x.shape[0], rows = x.shape[1], inner = x.shape[2]
    cdef Py_ssize_t parts = count_parts(outer, rows, inner)
    cdef double* partial
    cdef void* px = data(x)
    cdef void* py = data(y)
    if x.dtype == I64:
        if scale != 1:
            raise ValueError(f"reduce_sum: scale is {scale}, expected 1 for int64")
        with nogil:
            sums_int64(<int64_t*>px, <int64_t*>py, outer, rows, inner)
        return
    partial = <double*>allocate(outer * parts * inner if parts > 1 else 0, sizeof(double))
    if x.dtype == F32:
        with nogil:
            sums(<const float*>px, <float*>py, partial, outer, rows, inner, parts, scale)
    else:
        with nogil:
            sums(<const double*>px, <double*>py, partial, outer, rows, inner, parts, scale)
    free(partial)


cdef void spread_rows(const real* g, real* dx, Py_ssize_t rows, Py_ssize_t inner, real scale) noexcept nogil:
    cdef Py_ssize_t row, i
    cdef real value = scale * g[0] if inner == 1 else 0
    if inner == 1:
        for row in range(rows):
            dx[row] = value
        return
    for row in range(rows):
        for i in range(inner):
            dx[row * inner + i] = scale * g[i]


cdef void spread(const real* g, real* dx, Py_ssize_t outer, Py_ssize_t rows, Py_ssize_t inner,
                 real scale) noexcept nogil:
    """Each row of g, times scale, as so many rows of dx; some of these are a task."""
    cdef Py_ssize_t some = max(1, SPREAD // max(1, inner)), blocks = (rows + some - 1) // some, task
    for task in prange(outer * blocks, num_threads=threads(outer * rows * inner), schedule="static"):
        spread_rows(g + task // blocks * inner, dx + (task // blocks * rows + task % blocks * some) * inner,
                    min(some, rows - task % blocks * some), inner, scale)


def reduce_sum_grad(g, dx, Py_ssize_t length, double scale):
    cdef Py_ssize_t outer = dx.shape[0], inner = dx.shape[2]
    cdef void* pg = data(g)
    cdef void* pd = data(dx)
    if g.dtype == F32:
        with nogil:
            spread(<const float*>pg, <float*>pd, outer, length, inner, <float>scale)
    else:
        with nogil:
            spread(<const double*>pg, <double*>pd, outer, length, inner, scale)


# --------------------------------------------------------------------------------------------- maxima and minima
# A minimum is the maximum of -x: `sign` is 1 or -1 and multiplies every x.

cdef inline bint beats(real value, real best) noexcept nogil:
    """Whether a later value takes the place of the best so far: it is larger or NaN, and no NaN came before."""
    return (not value <= best) & (best == best)


cdef void max_rows(const real* x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width, real sign, real* best,
                   int64_t* place) noexcept nogil:
    """best[j] = the largest sign * x[r*stride + j], place[j] = its r; starts at -infinity, row 0."""
    cdef real lane[LANES]
    cdef real where[LANES]  # the row in the run: numbers as wide as x keep the vectors simple
    cdef real value, number
    cdef Py_ssize_t begin = 0, r, j
    cdef bint better
    for j in range(width):
        best[j] = -INFINITY
        place[j] = 0
    while begin < rows:
        for j in range(width):
            lane[j] = best[j]
            where[j] = -1
        for r in range(min(RUN, rows - begin)):
            number = <real>r
            for j in range(width):
                value = sign * x[(begin + r) * stride + j]
                better = beats(value, lane[j])
                lane[j] = value if better else lane[j]
                where[j] = number if better else where[j]
        for j in range(width):
            best[j] = lane[j]
            if where[j] >= 0:
                place[j] = begin + <int64_t>where[j]
        begin += RUN


cdef void column_maxima(const real* x, Py_ssize_t rows, Py_ssize_t inner, Py_ssize_t width, real sign, real* best,
                        int64_t* place) noexcept nogil:
    """As max_rows for stride inner, several rows read as one where they are narrow."""
    cdef real lane[LANES]
    cdef int64_t where[LANES]
    cdef Py_ssize_t together = rows_in_one(rows, inner) if width == inner else 1
    cdef Py_ssize_t full = rows // together, j, k
    cdef int64_t row
    cdef real value
    max_rows(x, full, together * inner, together * width, sign, lane, where)
    for j in range(width):
        best[j] = lane[j]
        place[j] = where[j] * together
    for k in range(1, together):
        for j in range(width):
            value = lane[k * width + j]
            row = where[k * width + j] * together + k
            if beats(value, best[j]) or (row < place[j] and (value == best[j] or value != value)):
                best[j] = value
                place[j] = row
    for row in range(full * together, rows):
        for j in range(width):
            value = sign * x[row * inner + j]
            if beats(value, best[j]):
                best[j] = value
                place[j] = row


cdef void max_task(const real* x, real* best, int64_t* place, Py_ssize_t rows, Py_ssize_t inner, Py_ssize_t parts,
                   real sign, Py_ssize_t task) noexcept nogil:
    """Task (o, part, block of columns): best and place are (O, parts, I)."""
    cdef Py_ssize_t blocks = (inner + LANES - 1) // LANES
    cdef Py_ssize_t column = task % blocks * LANES, part = task // blocks % parts, o = task // (blocks * parts)
    cdef Py_ssize_t width = min(LANES, inner - column)
    cdef Py_ssize_t begin = rows * part // parts, end = rows * (part + 1) // parts, j
    cdef Py_ssize_t to = (o * parts + part) * inner + column
    column_maxima(x + (o * rows + begin) * inner + column, end - begin, inner, width, sign, best + to, place + to)
    for j in range(width):
        place[to + j] += begin


cdef void maxima(const real* x, real* y, int64_t* index, real* best, int64_t* place, Py_ssize_t outer, Py_ssize_t rows,
                 Py_ssize_t inner, Py_ssize_t parts, real sign) noexcept nogil:
    cdef Py_ssize_t tasks = outer * parts * ((inner + LANES - 1) // LANES), task, o, part, i, at, to
    cdef int team = threads(outer * rows * inner)
    for task in prange(tasks, num_threads=team, schedule="guided"):
        max_task(x, best, place, rows, inner, parts, sign, task)
    for o in range(outer):
        for i in range(inner):
            at = o * parts * inner + i
            for part in range(1, parts):
                to = (o * parts + part) * inner + i
                if beats(best[to], best[at]):
                    at = to
            y[o * inner + i] = sign * best[at]
            index[o * inner + i] = place[at]


cdef void extremes(object x, object y, object index, int sign) except *:
    cdef Py_ssize_t outer = x.shape[0], rows = x.shape[1], inner = x.shape[2]
    cdef Py_ssize_t parts = count_parts(outer, rows, inner)
    cdef void* px = data(x)
    cdef void* py = data(y)
    cdef int64_t* pi = <int64_t*>data(index)
    bests = np.empty(outer * parts * inner, x.dtype)
    places = np.empty(outer * parts * inner, np.int64)
    cdef void* best = data(bests)
    cdef int64_t* place = <int64_t*>data(places)
    if x.dtype == F32:
        with nogil:
            maxima(<const float*>px, <float*>py, pi, <float*>best, place, outer, rows, inner, parts, <float>sign)
    else:
        with nogil:
            maxima(<const double*>px, <double*>py, pi, <double*>best, place, outer, rows, inner, parts, <double>sign)


def reduce_max(x, y, index):
    extremes(x, y, index, 1)


def reduce_min(x, y, index):
    extremes(x, y, index, -1)


include "reduce_softmax.pxi"
