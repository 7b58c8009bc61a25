"""Batch normalisation of arrays (M, C): statistics of each channel, the normalisation, and its gradient.

A row is too short a loop for most numbers of channels, so several are read as one: (1024, 16) is taken as 64 rows of
256 lanes, and what is known of a channel (its mean, its scale) is written out once for every lane. M*C need not be a
multiple of the lanes: a shorter row comes last, whose lanes still stand at the same channels.

Sums are cut into parts, whose number follows from the shape alone, and put together in order: the result does not
depend on the threads.
"""

include "common.pxi"

from cython.parallel cimport prange

cdef enum:
    LANES = 256             # most columns of a sum: they stay in the L1 cache
    RUN = 64                # rows added up in the array's own precision before they go to a double
    SAMPLE = 32             # one row in so many gives a mean near enough to the true one to take the variance about
    PART_SIZE = 16384       # elements that make another part, or another task, worthwhile


cdef inline Py_ssize_t rows_in_one(Py_ssize_t channels) noexcept nogil:
    """How many rows to read as one."""
    return max(1, LANES // max(1, channels))


cdef inline Py_ssize_t count_parts(Py_ssize_t rows, Py_ssize_t channels) noexcept nogil:
    return max(1, min(PARTS, rows * channels // PART_SIZE, rows // RUN))


cdef void spread(real* lane, Py_ssize_t channels, Py_ssize_t together) noexcept nogil:
    """Repeat the first `channels` lanes for each of the rows that are read as one."""
    cdef Py_ssize_t j
    for j in range(channels, together * channels):
        lane[j] = lane[j - channels]


cdef void fold(double* lane, Py_ssize_t channels, Py_ssize_t together) noexcept nogil:
    """The way back for sums: add up the lanes of each channel."""
    cdef Py_ssize_t k, j
    for k in range(1, together):
        for j in range(channels):
            lane[j] += lane[k * channels + j]


# ---------------------------------------------------------------------------------------------------- statistics
# Sums of d = x - shift and of d*d, with a shift near the mean: the difference S2 - S1*S1/n then loses nothing, where
# sums of x and x*x would lose every digit of the variance once the mean is a few thousand deviations. The shift is the
# mean of the first rows. However far they lie from the others, they are part of the variance themselves, so that
# (mean - shift)^2 is at most SAMPLE times the variance, and two of its digits are the most that can be lost.

cdef void add_moments(const real* x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width, const real* shift,
                      double* first, double* second) noexcept nogil:
    """Add the sums of d and of d*d down each column j < width <= LANES to first[j] and second[j]."""
    cdef real sum[LANES]
    cdef real square[LANES]
    cdef real a, b, c, d
    cdef const real* row = x
    cdef Py_ssize_t begin = 0, run, r, j
    while begin < rows:
        run = min(RUN, rows - begin)
        for j in range(width):
            sum[j] = 0
            square[j] = 0
        for r in range(run // 4):  # four at a time spare loads and stores of the sums
            for j in range(width):
                a = row[j] - shift[j]
                b = row[stride + j] - shift[j]
                c = row[2 * stride + j] - shift[j]
                d = row[3 * stride + j] - shift[j]
                sum[j] += (a + b) + (c + d)
                square[j] += (a * a + b * b) + (c * c + d * d)
            row += 4 * stride
        for r in range(run % 4):
            for j in range(width):
                a = row[j] - shift[j]
                sum[j] += a
                square[j] += a * a
            row += stride
        for j in range(width):
            first[j] += sum[j]
            second[j] += square[j]
        begin += run


cdef void sample_mean(const real* x, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t width, real* mean) noexcept nogil:
    """The mean of the first rows of columns j < width."""
    cdef Py_ssize_t count = rows // SAMPLE + 1, r, j
    cdef double sum[LANES]
    for j in range(width):
        sum[j] = 0
    for r in range(count):
        for j in range(width):
            sum[j] += x[r * channels + j]
    for j in range(width):
        mean[j] = <real>(sum[j] / count)
        if mean[j] - mean[j] != 0:
            mean[j] = 0  # an infinite shift would make NaN of a mean that is infinite


cdef void part_stats(const real* x, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t width, double* mean,
                     double* square) noexcept nogil:
    """Mean, and sum of squares about it, of columns j < width of some rows."""
    cdef real shift[LANES]
    cdef double first[LANES]
    cdef double second[LANES]
    cdef Py_ssize_t together = rows_in_one(channels), lanes = together * width, j
    sample_mean(x, rows, channels, width, shift)
    spread(shift, width, together)
    for j in range(lanes):
        first[j] = 0
        second[j] = 0
    add_moments(x, rows // together, together * channels, lanes, shift, first, second)
    add_moments(x + rows // together * lanes, 1, 0, rows % together * width, shift, first, second)
    fold(first, width, together)
    fold(second, width, together)
    for j in range(width):
        mean[j] = shift[j] + first[j] / rows
        square[j] = second[j] - first[j] * (first[j] / rows)


cdef void stats_task(const real* x, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t parts, double* mean,
                     double* square, Py_ssize_t task) noexcept nogil:
    """Task (part, block of channels); mean and square are (parts, C)."""
    cdef Py_ssize_t blocks = (channels + LANES - 1) // LANES
    cdef Py_ssize_t part = task // blocks, column = task % blocks * LANES
    cdef Py_ssize_t begin = rows * part // parts, end = rows * (part + 1) // parts, to = part * channels + column
    part_stats(x + begin * channels + column, end - begin, channels, min(LANES, channels - column), mean + to,
               square + to)


cdef void stats(const real* x, real* mean, real* var, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t parts,
                double* means, double* squares) noexcept nogil:
    cdef Py_ssize_t tasks = parts * ((channels + LANES - 1) // LANES), task, part, c, count
    cdef int team = threads(rows * channels)
    cdef double middle, square, distance
    for task in prange(tasks, num_threads=team, schedule="guided"):
        stats_task(x, rows, channels, parts, means, squares, task)
    for c in range(channels):
        middle = 0
        square = 0
        for part in range(parts):
            count = rows * (part + 1) // parts - rows * part // parts
            middle += means[part * channels + c] * count / rows
        for part in range(parts):
            count = rows * (part + 1) // parts - rows * part // parts
            distance = means[part * channels + c] - middle
            square += squares[part * channels + c] + distance * distance * count
        mean[c] = <real>middle
        var[c] = <real>(0 if square < 0 else square / rows)


def batch_norm_stats(x, mean, var):
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1]
    cdef Py_ssize_t parts = count_parts(rows, channels)
    cdef void* px = data(x)
    cdef void* pm = data(mean)
    cdef void* pv = data(var)
    cdef double* sums = <double*>allocate(2 * parts * channels, sizeof(double))
    if x.dtype == F32:
        with nogil:
            stats(<const float*>px, <float*>pm, <float*>pv, rows, channels, parts, sums, sums + parts * channels)
    else:
        with nogil:
            stats(<const double*>px, <double*>pm, <double*>pv, rows, channels, parts, sums, sums + parts * channels)
    free(sums)


# ------------------------------------------------------------------------------------------------- normalisation

cdef inline void apply_row(const real* x, real* y, Py_ssize_t width, const real* mean, const real* scale,
                           const real* bias) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        y[j] = (x[j] - mean[j]) * scale[j] + bias[j]


cdef void apply_rows(const real* x, real* y, Py_ssize_t size, Py_ssize_t lanes, Py_ssize_t begin, Py_ssize_t end,
                     const real* known) noexcept nogil:
    """Rows begin..end of a flat array of `size` as rows of `lanes`; known is (mean, scale, bias) of each lane."""
    cdef Py_ssize_t r
    for r in range(begin, end):
        apply_row(x + r * lanes, y + r * lanes, min(lanes, size - r * lanes), known, known + lanes, known + 2 * lanes)


cdef void apply(const real* x, const real* mean, const real* rstd, const real* weight, const real* bias, real* y,
                Py_ssize_t rows, Py_ssize_t channels, real* known) noexcept nogil:
    cdef Py_ssize_t together = rows_in_one(channels), lanes = together * channels, size = rows * channels
    cdef Py_ssize_t count = (size + lanes - 1) // max(1, lanes), per = max(1, PART_SIZE // max(1, lanes)), task, c
    for c in range(channels):
        known[c] = mean[c]
        known[lanes + c] = rstd[c] * weight[c] if weight != NULL else rstd[c]
        known[2 * lanes + c] = bias[c] if bias != NULL else 0
    for c in range(3):
        spread(known + c * lanes, channels, together)
    for task in prange((count + per - 1) // per, num_threads=threads(size), schedule="guided"):
        apply_rows(x, y, size, lanes, task * per, min(count, (task + 1) * per), known)


def batch_norm_apply(x, mean, rstd, weight, bias, y):
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1]
    cdef void* px = data(x)
    cdef void* pm = data(mean)
    cdef void* pr = data(rstd)
    cdef void* pw = data(weight)
    cdef void* pb = data(bias)
    cdef void* py = data(y)
    cdef void* known = allocate(3 * rows_in_one(channels) * channels, sizeof(double))
    if x.dtype == F32:
        with nogil:
            apply(<const float*>px, <const float*>pm, <const float*>pr, <const float*>pw, <const float*>pb, <float*>py,
                  rows, channels, <float*>known)
    else:
        with nogil:
            apply(<const double*>px, <const double*>pm, <const double*>pr, <const double*>pw, <const double*>pb,
                  <double*>py, rows, channels, <double*>known)
    free(known)


# ------------------------------------------------------------------------------------------------------ gradient

cdef void add_products(const real* g, const real* x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width,
                       const real* mean, double* first, double* second) noexcept nogil:
    """Add the sums of g and of g*(x - mean) down each column j < width <= LANES to first[j] and second[j]."""
    cdef real sum[LANES]
    cdef real product[LANES]
    cdef Py_ssize_t begin = 0, run, r, j
    cdef const real* u = g
    cdef const real* v = x
    while begin < rows:
        run = min(RUN, rows - begin)
        for j in range(width):
            sum[j] = 0
            product[j] = 0
        for r in range(run // 2):
            for j in range(width):
                sum[j] += u[j] + u[stride + j]
                product[j] += u[j] * (v[j] - mean[j]) + u[stride + j] * (v[stride + j] - mean[j])
            u += 2 * stride
            v += 2 * stride
        if run % 2:
            for j in range(width):
                sum[j] += u[j]
                product[j] += u[j] * (v[j] - mean[j])
            u += stride
            v += stride
        for j in range(width):
            first[j] += sum[j]
            second[j] += product[j]
        begin += run


cdef void part_products(const real* g, const real* x, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t width,
                        const real* mean, double* first, double* second) noexcept nogil:
    cdef real middle[LANES]
    cdef double a[LANES]
    cdef double b[LANES]
    cdef Py_ssize_t together = rows_in_one(channels), lanes = together * width, whole = rows // together * lanes, j
    for j in range(width):
        middle[j] = mean[j]
    spread(middle, width, together)
    for j in range(lanes):
        a[j] = 0
        b[j] = 0
    add_products(g, x, rows // together, together * channels, lanes, middle, a, b)
    add_products(g + whole, x + whole, 1, 0, rows % together * width, middle, a, b)
    fold(a, width, together)
    fold(b, width, together)
    for j in range(width):
        first[j] = a[j]
        second[j] = b[j]


cdef void products_task(const real* g, const real* x, const real* mean, Py_ssize_t rows, Py_ssize_t channels,
                        Py_ssize_t parts, double* first, double* second, Py_ssize_t task) noexcept nogil:
    """Task (part, block of channels); first and second are (parts, C)."""
    cdef Py_ssize_t blocks = (channels + LANES - 1) // LANES
    cdef Py_ssize_t part = task // blocks, column = task % blocks * LANES
    cdef Py_ssize_t begin = rows * part // parts, end = rows * (part + 1) // parts, to = part * channels + column
    cdef Py_ssize_t at = begin * channels + column
    part_products(g + at, x + at, end - begin, channels, min(LANES, channels - column), mean + column, first + to,
                  second + to)


cdef inline void grad_row(const real* g, const real* x, real* dx, Py_ssize_t width, const real* mean, const real* scale,
                          const real* slope, const real* shift) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        dx[j] = scale[j] * g[j] - ((x[j] - mean[j]) * slope[j] + shift[j])


cdef void grad_rows(const real* g, const real* x, real* dx, Py_ssize_t size, Py_ssize_t lanes, Py_ssize_t begin,
                    Py_ssize_t end, const real* known) noexcept nogil:
    """Rows begin..end of flat arrays of `size` as rows of `lanes`; known is mean, scale, slope, shift of each lane."""
    cdef Py_ssize_t r, at
    for r in range(begin, end):
        at = r * lanes
        grad_row(g + at, x + at, dx + at, min(lanes, size - at), known, known + lanes, known + 2 * lanes,
                 known + 3 * lanes)


cdef void grad(const real* g, const real* x, const real* mean, const real* rstd, const real* weight, real* dx,
               real* dweight, real* dbias, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t parts, double* firsts,
               double* seconds, real* known) noexcept nogil:
    cdef Py_ssize_t together = rows_in_one(channels), lanes = together * channels, size = rows * channels
    cdef Py_ssize_t count = (size + lanes - 1) // max(1, lanes), per = max(1, PART_SIZE // max(1, lanes))
    cdef Py_ssize_t task, part, c
    cdef int team = threads(size)
    cdef double first, second, scale
    for task in prange(parts * ((channels + LANES - 1) // LANES), num_threads=team, schedule="guided"):
        products_task(g, x, mean, rows, channels, parts, firsts, seconds, task)
    for c in range(channels):
        first = 0
        second = 0
        for part in range(parts):
            first += firsts[part * channels + c]
            second += seconds[part * channels + c]
        second *= rstd[c]
        dbias[c] = <real>first
        dweight[c] = <real>second
        scale = rstd[c] * weight[c] if weight != NULL else rstd[c]
        known[c] = mean[c]
        known[lanes + c] = <real>scale
        known[2 * lanes + c] = <real>(scale * rstd[c] * second / max(1, rows))
        known[3 * lanes + c] = <real>(scale * first / max(1, rows))
    for c in range(4):
        spread(known + c * lanes, channels, together)
    for task in prange((count + per - 1) // per, num_threads=team, schedule="guided"):
        grad_rows(g, x, dx, size, lanes, task * per, min(count, (task + 1) * per), known)


def batch_norm_grad(g, x, mean, rstd, weight, dx, dweight, dbias):
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1]
    cdef Py_ssize_t parts = count_parts(rows, channels), sums = parts * channels
    cdef void* pg = data(g)
    cdef void* px = data(x)
    cdef void* pm = data(mean)
    cdef void* pr = data(rstd)
    cdef void* pw = data(weight)
    cdef void* pd = data(dx)
    cdef void* pdw = data(dweight)
    cdef void* pdb = data(dbias)
    cdef double* work = <double*>allocate(2 * sums + 4 * rows_in_one(channels) * channels, sizeof(double))
    cdef void* known = work + 2 * sums
    if x.dtype == F32:
        with nogil:
            grad(<const float*>pg, <const float*>px, <const float*>pm, <const float*>pr, <const float*>pw, <float*>pd,
                 <float*>pdw, <float*>pdb, rows, channels, parts, work, work + sums, <float*>known)
    else:
        with nogil:
            grad(<const double*>pg, <const double*>px, <const double*>pm, <const double*>pr, <const double*>pw,
                 <double*>pd, <double*>pdw, <double*>pdb, rows, channels, parts, work, work + sums, <double*>known)
    free(work)
