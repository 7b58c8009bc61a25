# Softmax, its logarithm, and the cross-entropy of classes.
#
# I = 1, the common case, goes along rows; otherwise blocks of columns go down together.

cdef enum:
    STEP = 16               # numbers of a row compared side by side
    BLOCK = 128             # columns that go down together


cdef inline real exponential(real x) noexcept nogil:
    if real is float:
        return m_exp(x)
    else:
        return exp(x)


cdef real row_max(const real* x, Py_ssize_t n) noexcept nogil:
    """The largest of a row. NaN may be passed over: the sum of exponentials finds it."""
    cdef real lane[STEP]
    cdef real best = -INFINITY
    cdef Py_ssize_t i, j
    for j in range(STEP):
        lane[j] = -INFINITY
    for i in range(n // STEP):
        for j in range(STEP):
            lane[j] = x[i * STEP + j] if x[i * STEP + j] > lane[j] else lane[j]
    for j in range(STEP):
        best = lane[j] if lane[j] > best else best
    for i in range(n // STEP * STEP, n):
        best = x[i] if x[i] > best else best
    return best


cdef void softmax_row(const real* x, real* y, Py_ssize_t n, bint logarithm) noexcept nogil:
    cdef real top = row_max(x, n), scale
    cdef double total
    cdef Py_ssize_t j
    for j in range(n):
        y[j] = exponential(x[j] - top)
    total = row_sum(<const real*>y, n)
    if logarithm:
        scale = <real>log(total)
        for j in range(n):
            y[j] = (x[j] - top) - scale
    else:
        scale = <real>(1 / total)
        for j in range(n):
            y[j] *= scale


cdef void softmax_columns(const real* x, real* y, Py_ssize_t n, Py_ssize_t inner, Py_ssize_t width,
                          bint logarithm) noexcept nogil:
    """The same for `width` neighbouring columns of n rows that are `inner` apart."""
    cdef real top[BLOCK]
    cdef real scale[BLOCK]
    cdef double total[BLOCK]
    cdef Py_ssize_t d, j
    for j in range(width):
        top[j] = -INFINITY
    for d in range(n):
        for j in range(width):
            top[j] = x[d * inner + j] if x[d * inner + j] > top[j] else top[j]
    for d in range(n):
        for j in range(width):
            y[d * inner + j] = exponential(x[d * inner + j] - top[j])
    column_sums(<const real*>y, n, inner, width, total)
    for j in range(width):
        scale[j] = <real>(log(total[j]) if logarithm else 1 / total[j])
    for d in range(n):
        for j in range(width):
            if logarithm:
                y[d * inner + j] = (x[d * inner + j] - top[j]) - scale[j]
            else:
                y[d * inner + j] *= scale[j]


cdef void softmax_grad_columns(const real* g, const real* y, real* dx, Py_ssize_t n, Py_ssize_t inner, Py_ssize_t width,
                               bint logarithm) noexcept nogil:
    """dx = y (g - sum g y), or with logarithm dx = g - exp(y) sum g, for `width` neighbouring columns."""
    cdef real shift[BLOCK]
    cdef double total[BLOCK]
    cdef Py_ssize_t d, j
    if logarithm:
        column_sums(g, n, inner, width, total)
    else:
        for d in range(n):
            for j in range(width):
                dx[d * inner + j] = g[d * inner + j] * y[d * inner + j]
        column_sums(<const real*>dx, n, inner, width, total)
    for j in range(width):
        shift[j] = <real>total[j]
    for d in range(n):
        for j in range(width):
            if logarithm:
                dx[d * inner + j] = g[d * inner + j] - exponential(y[d * inner + j]) * shift[j]
            else:
                dx[d * inner + j] = y[d * inner + j] * (g[d * inner + j] - shift[j])


cdef void softmax_grad_row(const real* g, const real* y, real* dx, Py_ssize_t n, bint logarithm) noexcept nogil:
    cdef double total
    cdef real shift
    cdef Py_ssize_t j
    if logarithm:
        total = row_sum(g, n)
        shift = <real>total
        for j in range(n):
            dx[j] = g[j] - exponential(y[j]) * shift
    else:
        for j in range(n):
            dx[j] = g[j] * y[j]
        total = row_sum(<const real*>dx, n)
        shift = <real>total
        for j in range(n):
            dx[j] = y[j] * (g[j] - shift)


cdef inline void softmax_task(const real* x, real* y, Py_ssize_t n, Py_ssize_t inner, bint logarithm,
                              Py_ssize_t task) noexcept nogil:
    """Task (o, block of columns)."""
    cdef Py_ssize_t blocks = (inner + BLOCK - 1) // BLOCK
    cdef Py_ssize_t column = task % blocks * BLOCK, at = task // blocks * n * inner + column
    if inner == 1:
        softmax_row(x + at, y + at, n, logarithm)
    else:
        softmax_columns(x + at, y + at, n, inner, min(BLOCK, inner - column), logarithm)


cdef inline void softmax_grad_task(const real* g, const real* y, real* dx, Py_ssize_t n, Py_ssize_t inner,
                                   bint logarithm, Py_ssize_t task) noexcept nogil:
    cdef Py_ssize_t blocks = (inner + BLOCK - 1) // BLOCK
    cdef Py_ssize_t column = task % blocks * BLOCK, at = task // blocks * n * inner + column
    if inner == 1:
        softmax_grad_row(g + at, y + at, dx + at, n, logarithm)
    else:
        softmax_grad_columns(g + at, y + at, dx + at, n, inner, min(BLOCK, inner - column), logarithm)


cdef void softmaxes(const real* x, real* y, Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner,
                    bint logarithm) noexcept nogil:
    cdef Py_ssize_t tasks = outer * ((inner + BLOCK - 1) // BLOCK), task
    for task in prange(tasks, num_threads=threads(outer * n * inner), schedule="guided"):
        softmax_task(x, y, n, inner, logarithm, task)


cdef void softmax_grads(const real* g, const real* y, real* dx, Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner,
                        bint logarithm) noexcept nogil:
    cdef Py_ssize_t tasks = outer * ((inner + BLOCK - 1) // BLOCK), task
    for task in prange(tasks, num_threads=threads(outer * n * inner), schedule="guided"):
        softmax_grad_task(g, y, dx, n, inner, logarithm, task)


cdef void forward(object x, object y, bint logarithm) except *:
    cdef Py_ssize_t outer = x.shape[0], n = x.shape[1], inner = x.shape[2]
    cdef void* px = data(x)
    cdef void* py = data(y)
    if x.dtype == F32:
        with nogil:
            softmaxes(<const float*>px, <float*>py, outer, n, inner, logarithm)
    else:
        with nogil:
            softmaxes(<const double*>px, <double*>py, outer, n, inner, logarithm)


cdef void backward(object g, object y, object dx, bint logarithm) except *:
    cdef Py_ssize_t outer = g.shape[0], n = g.shape[1], inner = g.shape[2]
    cdef void* pg = data(g)
    cdef void* py = data(y)
    cdef void* pd = data(dx)
    if g.dtype == F32:
        with nogil:
            softmax_grads(<const float*>pg, <const float*>py, <float*>pd, outer, n, inner, logarithm)
    else:
        with nogil:
            softmax_grads(<const double*>pg, <const double*>py, <double*>pd, outer, n, inner, logarithm)


def softmax(x, y):
    forward(x, y, False)


def log_softmax(x, y):
    forward(x, y, True)


def softmax_grad(g, y, dx):
    backward(g, y, dx, False)


def log_softmax_grad(g, y, dx):
    backward(g, y, dx, True)


# ------------------------------------------------------------------------------------------------- cross-entropy

cdef void losses(const real* x, const int64_t* index, real* y, real* log, Py_ssize_t rows, Py_ssize_t classes,
                 int64_t ignore) noexcept nogil:
    cdef Py_ssize_t m
    for m in prange(rows, num_threads=threads(rows * classes), schedule="guided"):
        softmax_row(x + m * classes, log + m * classes, classes, True)
        y[m] = 0 if index[m] == ignore else -log[m * classes + index[m]]


cdef void loss_grad_row(real g, const real* log, int64_t index, real* dx, Py_ssize_t classes) noexcept nogil:
    cdef Py_ssize_t d
    for d in range(classes):
        dx[d] = g * exponential(log[d])
    dx[index] -= g


cdef void loss_grads(const real* g, const real* log, const int64_t* index, real* dx, Py_ssize_t rows,
                     Py_ssize_t classes, int64_t ignore) noexcept nogil:
    cdef Py_ssize_t m
    for m in prange(rows, num_threads=threads(rows * classes), schedule="guided"):
        if index[m] == ignore:
            memset(dx + m * classes, 0, classes * sizeof(real))
        else:
            loss_grad_row(g[m], log + m * classes, index[m], dx + m * classes, classes)


cdef int check_classes(str kernel, const int64_t* index, Py_ssize_t rows, Py_ssize_t classes,
                       int64_t ignore) except -1:
    cdef Py_ssize_t m
    for m in range(rows):
        if (index[m] < 0 or index[m] >= classes) and index[m] != ignore:
            raise IndexError(f"{kernel}: target {index[m]} is not a class from 0 to {classes - 1}")


def cross_entropy(x, index, y, log, int64_t ignore):
    cdef Py_ssize_t rows = x.shape[0], classes = x.shape[1]
    cdef const int64_t* places = <const int64_t*>data(index)
    cdef void* px = data(x)
    cdef void* py = data(y)
    cdef void* pl = data(log)
    check_classes("cross_entropy", places, rows, classes, ignore)
    if x.dtype == F32:
        with nogil:
            losses(<const float*>px, places, <float*>py, <float*>pl, rows, classes, ignore)
    else:
        with nogil:
            losses(<const double*>px, places, <double*>py, <double*>pl, rows, classes, ignore)


def cross_entropy_grad(g, log, index, dx, int64_t ignore):
    cdef Py_ssize_t rows = log.shape[0], classes = log.shape[1]
    cdef const int64_t* places = <const int64_t*>data(index)
    cdef void* pg = data(g)
    cdef void* pl = data(log)
    cdef void* pd = data(dx)
    check_classes("cross_entropy_grad", places, rows, classes, ignore)
    if log.dtype == F32:
        with nogil:
            loss_grads(<const float*>pg, <const float*>pl, places, <float*>pd, rows, classes, ignore)
    else:
        with nogil:
            loss_grads(<const double*>pg, <const double*>pl, places, <double*>pd, rows, classes, ignore)
