# The gradient, in two passes: the sums of h and of h * (x - mean), then dx. Here h is the gradient of the activation's
# input, given g; without an activation it is g itself. The first pass leaves an h that is dear to compute in dx, for
# the second to take; any other is computed twice.
#
# What is known of the channels: mean, scale, bias as in norm_apply.pxi, then slope and shift, from the sums, with
# dx = scale * h - ((x - mean) * slope + shift).

cdef void slope_row(const real* g, const real* x, real* h, Py_ssize_t width, const real* mean, const real* scale,
                    const real* bias, int activation) noexcept nogil:
    """h of width <= LANES elements."""
    cdef real z[LANES]
    apply_row(x, &z[0], width, mean, scale, bias)
    activation_grad(activation, g, <const real*>z, h, width)


cdef void add_products(const real* g, const real* x, real* kept, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width,
                       const real* known, Py_ssize_t lanes, int activation, double* first,
                       double* second) noexcept nogil:
    """Add the sums of h and of h*(x - mean) down each column j < width <= LANES to first[j] and second[j].

    kept: where to leave h, or NULL.
    """
    cdef real sum[LANES]
    cdef real product[LANES]
    cdef real slopes[2 * LANES]
    cdef const real* mean = known
    cdef const real* h
    cdef real* made
    cdef Py_ssize_t begin = 0, run, r, k, j, rest, step
    while begin < rows:
        run = min(RUN, rows - begin)
        for j in range(width):
            sum[j] = 0
            product[j] = 0
        for r in range(begin, begin + run, 2):
            rest = min(2, begin + run - r)
            h = g + r * stride
            step = stride
            if activation != 0:
                made = kept + r * stride if kept != NULL else &slopes[0]
                step = stride if kept != NULL else width
                for k in range(rest):
                    slope_row(h + k * stride, x + (r + k) * stride, made + k * step, width, mean, known + lanes,
                              known + 2 * lanes, activation)
                h = made
            if rest == 2:
                add_two(h, h + step, x + r * stride, x + (r + 1) * stride, width, mean, &sum[0], &product[0])
            else:
                add_one(h, x + r * stride, width, mean, &sum[0], &product[0])
        for j in range(width):
            first[j] += sum[j]
            second[j] += product[j]
        begin += run


cdef inline void add_two(const real* h, const real* h2, const real* x, const real* x2, Py_ssize_t width,
                         const real* mean, real* sum, real* product) noexcept nogil:
    """Two rows at once spare loads and stores of the sums."""
    cdef Py_ssize_t j
    for j in range(width):
        sum[j] += h[j] + h2[j]
        product[j] += h[j] * (x[j] - mean[j]) + h2[j] * (x2[j] - mean[j])


cdef inline void add_one(const real* h, const real* x, Py_ssize_t width, const real* mean, real* sum,
                         real* product) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        sum[j] += h[j]
        product[j] += h[j] * (x[j] - mean[j])


cdef void part_products(const real* g, const real* x, real* kept, Py_ssize_t rows, Py_ssize_t channels,
                        Py_ssize_t width, const real* known, Py_ssize_t lanes, int activation, double* first,
                        double* second) noexcept nogil:
    cdef double a[LANES]
    cdef double b[LANES]
    cdef Py_ssize_t together = rows_in_one(channels), columns = together * width, j
    cdef Py_ssize_t whole = rows // together * columns
    for j in range(columns):
        a[j] = 0
        b[j] = 0
    add_products(g, x, kept, rows // together, together * channels, columns, known, lanes, activation, a, b)
    add_products(g + whole, x + whole, kept + whole if kept != NULL else NULL, 1, 0, rows % together * width, known,
                 lanes, activation, a, b)
    fold(a, width, together)
    fold(b, width, together)
    for j in range(width):
        first[j] = a[j]
        second[j] = b[j]


cdef void products_task(const real* g, const real* x, real* kept, const real* known, int activation, Py_ssize_t rows,
                        Py_ssize_t channels, Py_ssize_t parts, double* first, double* second,
                        Py_ssize_t task) noexcept nogil:
    """Task (part, block of channels); first and second are (parts, C)."""
    cdef Py_ssize_t blocks = (channels + LANES - 1) // LANES
    cdef Py_ssize_t part = task // blocks, column = task % blocks * LANES
    cdef Py_ssize_t begin = rows * part // parts, end = rows * (part + 1) // parts, to = part * channels + column
    cdef Py_ssize_t at = begin * channels + column
    part_products(g + at, x + at, kept + at if kept != NULL else NULL, end - begin, channels,
                  min(LANES, channels - column), known + column, rows_in_one(channels) * channels, activation,
                  first + to, second + to)


cdef void finish_sums(const real* rstd, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t parts, const double* firsts,
                      const double* seconds, real* dweight, real* dbias, real* known) noexcept nogil:
    """Put the parts together and write slope and shift."""
    cdef Py_ssize_t together = rows_in_one(channels), lanes = together * channels, part, c
    cdef double first, second, scale
    for c in range(channels):
        first = 0
        second = 0
        for part in range(parts):
            first += firsts[part * channels + c]
            second += seconds[part * channels + c]
        second *= rstd[c]
        dbias[c] = <real>first
        dweight[c] = <real>second
        scale = known[lanes + c]
        known[3 * lanes + c] = <real>(scale * rstd[c] * second / max(1, rows))
        known[4 * lanes + c] = <real>(scale * first / max(1, rows))
    spread(known + 3 * lanes, channels, together)
    spread(known + 4 * lanes, channels, together)


cdef inline void grad_row(const real* h, const real* x, real* dx, Py_ssize_t width, const real* mean, const real* scale,
                          const real* slope, const real* shift) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        dx[j] = scale[j] * h[j] - ((x[j] - mean[j]) * slope[j] + shift[j])


cdef inline void rectify_row(const real* x, real* dx, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        dx[j] = dx[j] if x[j] > 0 else 0


cdef void grad_piece(const real* g, const real* x, real* dx, Py_ssize_t width, const real* known, Py_ssize_t lanes,
                     int activation, bint kept, bint rectified) noexcept nogil:
    """width <= LANES elements of a row. kept: h lies in dx."""
    cdef real slopes[LANES]
    cdef const real* h = g
    if kept:
        memcpy(slopes, dx, width * sizeof(real))  # a loop that reads where it writes would not become vector code
        h = slopes
    elif activation != 0:
        slope_row(g, x, &slopes[0], width, known, known + lanes, known + 2 * lanes, activation)
        h = slopes
    grad_row(h, x, dx, width, known, known + lanes, known + 3 * lanes, known + 4 * lanes)
    if rectified:
        rectify_row(x, dx, width)


cdef void grad_rows(const real* g, const real* x, real* dx, Py_ssize_t size, Py_ssize_t lanes, Py_ssize_t begin,
                    Py_ssize_t end, const real* known, int activation, bint kept, bint rectified) noexcept nogil:
    """Rows begin..end of flat arrays of `size` as rows of `lanes`."""
    cdef Py_ssize_t at = begin * lanes, stop = min(size, end * lanes), column = 0, width
    while at < stop:
        width = min(LANES, lanes - column, stop - at)
        grad_piece(g + at, x + at, dx + at, width, known + column, lanes, activation, kept, rectified)
        at += width
        column = (column + width) % lanes


cdef void grad(const real* g, const real* x, const real* mean, const real* rstd, const real* weight, const real* bias,
               real* dx, real* dweight, real* dbias, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t parts,
               double* sums, real* known, int activation, bint rectified) noexcept nogil:
    """sums: room for two numbers a part and channel."""
    cdef Py_ssize_t lanes = rows_in_one(channels) * channels, size = rows * channels
    cdef Py_ssize_t count = (size + lanes - 1) // max(1, lanes), per = max(1, PART_SIZE // max(1, lanes)), task
    cdef double* seconds = sums + parts * channels
    cdef int team = threads(size)
    cdef bint keep = ACTIVATIONS[activation].costly
    cdef real* kept = dx if keep else NULL
    write_known(mean, rstd, weight, bias, channels, known)
    for task in prange(parts * ((channels + LANES - 1) // LANES), num_threads=team, schedule="guided"):
        products_task(g, x, kept, <const real*>known, activation, rows, channels, parts, sums, seconds, task)
    finish_sums(rstd, rows, channels, parts, <const double*>sums, <const double*>seconds, dweight, dbias, known)
    for task in prange((count + per - 1) // per, num_threads=team, schedule="guided"):
        grad_rows(g, x, dx, size, lanes, task * per, min(count, (task + 1) * per), <const real*>known, activation,
                  keep, rectified)


def batch_norm_grad(g, x, mean, rstd, weight, bias, dx, dweight, dbias, activation, rectified):
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1]
    cdef Py_ssize_t parts = count_parts(rows, channels), sums = 2 * parts * channels
    cdef int number = number_of(activation)
    cdef bint only_positive = rectified
    cdef void* pg = data(g)
    cdef void* px = data(x)
    cdef void* pm = data(mean)
    cdef void* pr = data(rstd)
    cdef void* pw = data(weight)
    cdef void* pb = data(bias)
    cdef void* pd = data(dx)
    cdef void* pdw = data(dweight)
    cdef void* pdb = data(dbias)
    cdef double* work = <double*>allocate(sums + 5 * rows_in_one(channels) * channels, sizeof(double))
    cdef void* known = work + sums
    if x.dtype == F32:
        with nogil:
            grad(<const float*>pg, <const float*>px, <const float*>pm, <const float*>pr, <const float*>pw,
                 <const float*>pb, <float*>pd, <float*>pdw, <float*>pdb, rows, channels, parts, work, <float*>known,
                 number, only_positive)
    else:
        with nogil:
            grad(<const double*>pg, <const double*>px, <const double*>pm, <const double*>pr, <const double*>pw,
                 <const double*>pb, <double*>pd, <double*>pdw, <double*>pdb, rows, channels, parts, work,
                 <double*>known, number, only_positive)
    free(work)
