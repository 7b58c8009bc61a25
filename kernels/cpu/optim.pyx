"""The optimizers' steps: one pass each over the parameters, their gradients and what the optimizer remembers.

Every formula is a loop of a line or two over neighbouring numbers, which becomes vector code; choices are made outside.
"""

include "common.pxi"

from cython.parallel cimport prange
from libc.math cimport pow, sqrt, sqrtf

cdef enum:
    GRAIN = 16384           # elements of a task


cdef inline real root(real x) noexcept nogil:
    if real is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline Py_ssize_t tasks(Py_ssize_t n) noexcept nogil:
    return (n + GRAIN - 1) // GRAIN


cdef inline Py_ssize_t length(Py_ssize_t n, Py_ssize_t begin) noexcept nogil:
    """Elements of the task that begins there."""
    return min(GRAIN, n - begin)


# ----------------------------------------------------------------------------------------------------------- SGD

cdef void sgd_plain(real* p, const real* g, Py_ssize_t n, real lr, real decay) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        p[i] -= lr * (g[i] + decay * p[i])


cdef void sgd_first(real* p, const real* g, real* v, Py_ssize_t n, real lr, real ahead, real decay) noexcept nogil:
    """The first step, which finds no velocity. ahead: the momentum for Nesterov's variant, else 0."""
    cdef real gradient
    cdef Py_ssize_t i
    for i in range(n):
        gradient = g[i] + decay * p[i]
        v[i] = gradient
        p[i] -= lr * (gradient + ahead * gradient)


cdef void sgd_momentum(real* p, const real* g, real* v, Py_ssize_t n, real lr, real momentum, real rest,
                       real decay) noexcept nogil:
    """rest: 1 - dampening."""
    cdef real velocity
    cdef Py_ssize_t i
    for i in range(n):
        velocity = momentum * v[i] + rest * (g[i] + decay * p[i])
        v[i] = velocity
        p[i] -= lr * velocity


cdef void sgd_nesterov(real* p, const real* g, real* v, Py_ssize_t n, real lr, real momentum, real rest,
                       real decay) noexcept nogil:
    cdef real gradient, velocity
    cdef Py_ssize_t i
    for i in range(n):
        gradient = g[i] + decay * p[i]
        velocity = momentum * v[i] + rest * gradient
        v[i] = velocity
        p[i] -= lr * (gradient + momentum * velocity)


cdef void sgd(real* p, const real* g, real* v, Py_ssize_t n, double lr, double momentum, double dampening, double decay,
              bint nesterov, bint first) noexcept nogil:
    cdef Py_ssize_t task, at
    cdef real rest = <real>(1 - dampening), ahead = <real>(momentum if nesterov else 0)
    for task in prange(tasks(n), num_threads=threads(n), schedule="guided"):
        at = task * GRAIN
        if v == NULL:
            sgd_plain(p + at, g + at, length(n, at), <real>lr, <real>decay)
        elif first:
            sgd_first(p + at, g + at, v + at, length(n, at), <real>lr, ahead, <real>decay)
        elif nesterov:
            sgd_nesterov(p + at, g + at, v + at, length(n, at), <real>lr, <real>momentum, rest, <real>decay)
        else:
            sgd_momentum(p + at, g + at, v + at, length(n, at), <real>lr, <real>momentum, rest, <real>decay)


def sgd_step(p, g, velocity, double lr, double momentum, double dampening, double weight_decay, bint nesterov,
             bint first):
    cdef Py_ssize_t n = p.size
    cdef void* pp = data(p)
    cdef void* pg = data(g)
    cdef void* pv = data(velocity)
    if p.dtype == F32:
        with nogil:
            sgd(<float*>pp, <const float*>pg, <float*>pv, n, lr, momentum, dampening, weight_decay, nesterov, first)
    else:
        with nogil:
            sgd(<double*>pp, <const double*>pg, <double*>pv, n, lr, momentum, dampening, weight_decay, nesterov, first)


# ---------------------------------------------------------------------------------------------------------- Adam

cdef void adam_some(real* p, const real* g, real* m, real* v, Py_ssize_t n, real size, real beta1, real rest1,
                    real beta2, real rest2, real unbias, real eps, real shrink, real decay) noexcept nogil:
    """size: lr / (1 - beta1^step). rest: 1 - beta. unbias: 1 / sqrt(1 - beta2^step). shrink: what decoupled decay
    leaves of p."""
    cdef real weight, gradient, mean, square
    cdef Py_ssize_t i
    for i in range(n):
        weight = shrink * p[i]
        gradient = g[i] + decay * p[i]
        mean = beta1 * m[i] + rest1 * gradient
        square = beta2 * v[i] + rest2 * (gradient * gradient)
        m[i] = mean
        v[i] = square
        p[i] = weight - size * (mean / (root(square) * unbias + eps))


cdef void adam(real* p, const real* g, real* m, real* v, Py_ssize_t n, double lr, double beta1, double beta2,
               double eps, double decay, bint decoupled, double step) noexcept nogil:
    cdef Py_ssize_t task, at
    cdef real size = <real>(lr / (1 - pow(beta1, step))), unbias = <real>(1 / sqrt(1 - pow(beta2, step)))
    cdef real shrink = <real>(1 - lr * decay if decoupled else 1), coupled = <real>(0 if decoupled else decay)
    cdef real rest1 = <real>(1 - beta1), rest2 = <real>(1 - beta2)
    for task in prange(tasks(n), num_threads=threads(n), schedule="guided"):
        at = task * GRAIN
        adam_some(p + at, g + at, m + at, v + at, length(n, at), size, <real>beta1, rest1, <real>beta2, rest2, unbias,
                  <real>eps, shrink, coupled)


def adam_step(p, g, m, v, double lr, double beta1, double beta2, double eps, double weight_decay, bint decoupled,
              double step):
    cdef Py_ssize_t n = p.size
    cdef void* pp = data(p)
    cdef void* pg = data(g)
    cdef void* pm = data(m)
    cdef void* pv = data(v)
    if p.dtype == F32:
        with nogil:
            adam(<float*>pp, <const float*>pg, <float*>pm, <float*>pv, n, lr, beta1, beta2, eps, weight_decay,
                 decoupled, step)
    else:
        with nogil:
            adam(<double*>pp, <const double*>pg, <double*>pm, <double*>pv, n, lr, beta1, beta2, eps, weight_decay,
                 decoupled, step)


# ------------------------------------------------------------------------------------------------------- RMSprop

cdef void rmsprop_some(real* p, const real* g, real* square, real* mean, real* velocity, Py_ssize_t n, real lr,
                       real alpha, real rest, real eps, real decay, real momentum) noexcept nogil:
    """The loop is cut into its choices by the compiler: mean and velocity are NULL for all elements or for none."""
    cdef real gradient, variance, change
    cdef Py_ssize_t i
    for i in range(n):
        gradient = g[i] + decay * p[i]
        variance = alpha * square[i] + rest * (gradient * gradient)
        square[i] = variance
        if mean != NULL:
            mean[i] = alpha * mean[i] + rest * gradient
            variance -= mean[i] * mean[i]
        change = gradient / (root(variance) + eps)
        if velocity != NULL:
            change += momentum * velocity[i]
            velocity[i] = change
        p[i] -= lr * change


cdef inline real* behind(real* array, Py_ssize_t at) noexcept nogil:
    """Element `at` of an array that may be absent."""
    return array + at if array != NULL else array


cdef void rmsprop(real* p, const real* g, real* square, real* mean, real* velocity, Py_ssize_t n, double lr,
                  double alpha, double eps, double decay, double momentum) noexcept nogil:
    cdef Py_ssize_t task, at
    cdef real rest = <real>(1 - alpha)
    for task in prange(tasks(n), num_threads=threads(n), schedule="guided"):
        at = task * GRAIN
        rmsprop_some(p + at, g + at, square + at, behind(mean, at), behind(velocity, at), length(n, at), <real>lr,
                     <real>alpha, rest, <real>eps, <real>decay, <real>momentum)


def rmsprop_step(p, g, square, mean, velocity, double lr, double alpha, double eps, double weight_decay,
                 double momentum):
    cdef Py_ssize_t n = p.size
    cdef void* pp = data(p)
    cdef void* pg = data(g)
    cdef void* ps = data(square)
    cdef void* pm = data(mean)
    cdef void* pv = data(velocity)
    if p.dtype == F32:
        with nogil:
            rmsprop(<float*>pp, <const float*>pg, <float*>ps, <float*>pm, <float*>pv, n, lr, alpha, eps, weight_decay,
                    momentum)
    else:
        with nogil:
            rmsprop(<double*>pp, <const double*>pg, <double*>ps, <double*>pm, <double*>pv, n, lr, alpha, eps,
                    weight_decay, momentum)


# ------------------------------------------------------------------------------------------------------- Adagrad

cdef void adagrad_some(real* p, const real* g, real* total, Py_ssize_t n, real lr, real eps, real decay) noexcept nogil:
    cdef real gradient, sum
    cdef Py_ssize_t i
    for i in range(n):
        gradient = g[i] + decay * p[i]
        sum = total[i] + gradient * gradient
        total[i] = sum
        p[i] -= lr * (gradient / (root(sum) + eps))


cdef void adagrad(real* p, const real* g, real* total, Py_ssize_t n, double lr, double eps,
                  double decay) noexcept nogil:
    cdef Py_ssize_t task, at
    for task in prange(tasks(n), num_threads=threads(n), schedule="guided"):
        at = task * GRAIN
        adagrad_some(p + at, g + at, total + at, length(n, at), <real>lr, <real>eps, <real>decay)


def adagrad_step(p, g, total, double lr, double eps, double weight_decay):
    cdef Py_ssize_t n = p.size
    cdef void* pp = data(p)
    cdef void* pg = data(g)
    cdef void* pt = data(total)
    if p.dtype == F32:
        with nogil:
            adagrad(<float*>pp, <const float*>pg, <float*>pt, n, lr, eps, weight_decay)
    else:
        with nogil:
            adagrad(<double*>pp, <const double*>pg, <double*>pt, n, lr, eps, weight_decay)


# ----------------------------------------------------------------------------------------------- running averages

cdef void average_some(real* p, const real* value, Py_ssize_t n, real rest, real share) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        p[i] = rest * p[i] + share * value[i]


cdef void average(real* p, const real* value, Py_ssize_t n, double rate, double scale) noexcept nogil:
    cdef Py_ssize_t task
    for task in prange(tasks(n), num_threads=threads(n), schedule="static"):
        average_some(p + task * GRAIN, value + task * GRAIN, length(n, task * GRAIN), <real>(1 - rate),
                     <real>(rate * scale))


def average_step(p, value, double rate, double scale):
    if p.dtype == F32:
        average[float](<float*>data(p), <float*>data(value), p.size, rate, scale)
    else:
        average[double](<double*>data(p), <double*>data(value), p.size, rate, scale)
