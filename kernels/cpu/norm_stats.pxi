# Statistics of each channel.
#
# Sums of d = x - shift and of d*d, with a shift near the mean: the difference S2 - S1*S1/n then loses nothing, where
# sums of x and x*x would lose every digit of the variance once the mean is a few thousand deviations. The shift is the
# mean of the first rows. However far they lie from the others, they are part of the variance themselves, so that
# (mean - shift)^2 is at most SAMPLE times the variance, and two of its digits are the most that can be lost.

cdef extern from *:
    void __builtin_prefetch(const void* address) noexcept nogil

cdef enum:
    AHEAD = 8192            # bytes from what is read to what will soon be
    LINE = 64               # bytes of a line of the cache


cdef inline void fetch_ahead(const real* x, Py_ssize_t n) noexcept nogil:
    """Ask for n elements that lie AHEAD of x. While it adds, the processor sees too few of the loads to come to keep the
    memory busy; told of them, it reads an array that is in no cache half as fast again."""
    cdef const char* there = <const char*>x + AHEAD
    cdef Py_ssize_t i
    for i in range((n * <Py_ssize_t>sizeof(real) + LINE - 1) // LINE):
        __builtin_prefetch(there + i * LINE)


cdef void add_moments(const real* x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width, const real* shift,
                      double* first, double* second) noexcept nogil:
    """Add the sums of d and of d*d down each column j < width <= LANES to first[j] and second[j]."""
    cdef real sum[LANES]
    cdef real square[LANES]
    cdef real a, b, c, d
    cdef const real* row = x
    cdef Py_ssize_t begin = 0, run, r, i, j
    while begin < rows:
        run = min(RUN, rows - begin)
        for j in range(width):
            sum[j] = 0
            square[j] = 0
        for r in range(run // 4):  # four at a time spare loads and stores of the sums
            for i in range(4):
                fetch_ahead(row + i * stride, width)
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


cdef void follow(const real* mean, const real* var, real* running_mean, real* running_var, real* rstd,
                 Py_ssize_t channels, double momentum, double unbias, double eps) noexcept nogil:
    cdef real rest = <real>(1 - momentum), share = <real>momentum, share_of_var = <real>(momentum * unbias)
    cdef Py_ssize_t c
    for c in range(channels):
        rstd[c] = 1 / <real>sqrt(var[c] + <real>eps)
    if running_mean != NULL:
        for c in range(channels):
            running_mean[c] = rest * running_mean[c] + share * mean[c]
    if running_var != NULL:
        for c in range(channels):
            running_var[c] = rest * running_var[c] + share_of_var * var[c]


def batch_norm_follow(mean, var, running_mean, running_var, rstd, double momentum, double unbias, double eps):
    cdef Py_ssize_t channels = mean.shape[0]
    cdef void* pm = data(mean)
    cdef void* pv = data(var)
    cdef void* rm = data(running_mean)
    cdef void* rv = data(running_var)
    cdef void* pr = data(rstd)
    if mean.dtype == F32:
        follow(<const float*>pm, <const float*>pv, <float*>rm, <float*>rv, <float*>pr, channels, momentum,
               unbias, eps)
    else:
        follow(<const double*>pm, <const double*>pv, <double*>rm, <double*>rv, <double*>pr, channels, momentum, unbias,
               eps)
