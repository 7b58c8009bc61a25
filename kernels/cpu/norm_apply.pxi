# y = activation((x - mean) * scale + bias + add), with scale = rstd * weight.
#
# What is known of the channels comes as rows of `lanes` numbers one behind the other: mean, scale, bias.

cdef void write_known(const real* mean, const real* rstd, const real* weight, const real* bias, Py_ssize_t channels,
                      real* known) noexcept nogil:
    cdef Py_ssize_t together = rows_in_one(channels), lanes = together * channels, c
    for c in range(channels):
        known[c] = mean[c]
        known[lanes + c] = rstd[c] * weight[c] if weight != NULL else rstd[c]
        known[2 * lanes + c] = bias[c] if bias != NULL else 0
    for c in range(3):
        spread(known + c * lanes, channels, together)


cdef inline void apply_row(const real* x, real* y, Py_ssize_t width, const real* mean, const real* scale,
                           const real* bias) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        y[j] = (x[j] - mean[j]) * scale[j] + bias[j]


cdef inline void apply_add_row(const real* x, const real* add, real* y, Py_ssize_t width, const real* mean,
                               const real* scale, const real* bias) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        y[j] = (x[j] - mean[j]) * scale[j] + bias[j] + add[j]


cdef void apply_rows(const real* x, const real* add, real* y, Py_ssize_t size, Py_ssize_t lanes, Py_ssize_t begin,
                     Py_ssize_t end, const real* known, int activation) noexcept nogil:
    """Rows begin..end of a flat array of `size` as rows of `lanes`."""
    cdef const real* mean = known
    cdef const real* scale = known + lanes
    cdef const real* bias = known + 2 * lanes
    cdef Py_ssize_t r, at, width
    for r in range(begin, end):
        at = r * lanes
        width = min(lanes, size - at)
        if add != NULL:
            apply_add_row(x + at, add + at, y + at, width, mean, scale, bias)
        else:
            apply_row(x + at, y + at, width, mean, scale, bias)
        activate(activation, y + at, width)


cdef void apply(const real* x, const real* mean, const real* rstd, const real* weight, const real* bias,
                const real* add, real* y, Py_ssize_t rows, Py_ssize_t channels, real* known,
                int activation) noexcept nogil:
    cdef Py_ssize_t lanes = rows_in_one(channels) * channels, size = rows * channels
    cdef Py_ssize_t count = (size + lanes - 1) // max(1, lanes), per = max(1, PART_SIZE // max(1, lanes)), task
    write_known(mean, rstd, weight, bias, channels, known)
    for task in prange((count + per - 1) // per, num_threads=threads(size), schedule="guided"):
        apply_rows(x, add, y, size, lanes, task * per, min(count, (task + 1) * per), known, activation)


def batch_norm_apply(x, mean, rstd, weight, bias, add, y, activation):
    cdef Py_ssize_t rows = x.shape[0], channels = x.shape[1]
    cdef int number = number_of(activation)
    cdef void* px = data(x)
    cdef void* pm = data(mean)
    cdef void* pr = data(rstd)
    cdef void* pw = data(weight)
    cdef void* pb = data(bias)
    cdef void* pa = data(add)
    cdef void* py = data(y)
    cdef void* known = allocate(3 * rows_in_one(channels) * channels, sizeof(double))
    if x.dtype == F32:
        with nogil:
            apply(<const float*>px, <const float*>pm, <const float*>pr, <const float*>pw, <const float*>pb,
                  <const float*>pa, <float*>py, rows, channels, <float*>known, number)
    else:
        with nogil:
            apply(<const double*>px, <const double*>pm, <const double*>pr, <const double*>pw, <const double*>pb,
                  <const double*>pa, <double*>py, rows, channels, <double*>known, number)
    free(known)
