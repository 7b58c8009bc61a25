"""Optimizer steps: one streaming pass over parameter, gradient and state, in place."""

include "common.pxi"

from cython.parallel cimport prange
from libc.math cimport pow, sqrt, sqrtf

cdef enum:
    GRAIN = 16384  # elements a thread takes at a time


cdef inline real root(real x) noexcept nogil:
    if real is float:
        return sqrtf(x)
    else:
        return sqrt(x)


# ---------------------------------------------------------------------------------------------------------------- SGD

cdef void sgd_part(real* p, const real* g, real* velocity, Py_ssize_t count, real lr, real momentum, real taken,
                   real weight_decay, bint nesterov, bint first) noexcept nogil:
    cdef Py_ssize_t i
    cdef real d, v
    if velocity == NULL:
        for i in range(count):
            p[i] -= lr * (g[i] + weight_decay * p[i])
        return
    for i in range(count):
        d = g[i] + weight_decay * p[i]
        v = d if first else momentum * velocity[i] + taken * d
        velocity[i] = v
        p[i] -= lr * (d + momentum * v if nesterov else v)


cdef void _sgd(real* p, const real* g, real* velocity, Py_ssize_t count, real lr, real momentum, real taken,
               real weight_decay, bint nesterov, bint first) noexcept nogil:
    cdef Py_ssize_t block, begin
    for block in prange((count + GRAIN - 1) // GRAIN, num_threads=threads(count), schedule="static"):
        begin = block * GRAIN
        sgd_part(p + begin, g + begin, velocity + begin if velocity != NULL else NULL, min(GRAIN, count - begin), lr,
                 momentum, taken, weight_decay, nesterov, first)


def sgd_step(p, g, velocity, lr, momentum, dampening, weight_decay, nesterov, first):
    if p.dtype == F32:
        _sgd[float](<float*>data(p), <float*>data(g), <float*>data(velocity), p.size, lr, momentum, 1 - dampening,
                    weight_decay, nesterov, first)
    else:
        _sgd[double](<double*>data(p), <double*>data(g), <double*>data(velocity), p.size, lr, momentum, 1 - dampening,
                     weight_decay, nesterov, first)


# --------------------------------------------------------------------------------------------------------------- Adam

cdef void adam_part(real* p, const real* g, real* m, real* v, Py_ssize_t count, real beta1, real beta2, real eps,
                    real decay, real shrink, real rate, real scale) noexcept nogil:
    """decay: weight decay added to the gradient; shrink: what the decoupled one leaves of p; rate: lr over the first
    moment's bias correction; scale: one over the root of the second's."""
    cdef Py_ssize_t i
    cdef real d, q, rest1 = 1 - beta1, rest2 = 1 - beta2
    for i in range(count):
        q = p[i] * shrink
        d = g[i] + decay * q
        m[i] = beta1 * m[i] + rest1 * d
        v[i] = beta2 * v[i] + rest2 * d * d
        p[i] = q - rate * m[i] / (root(v[i]) * scale + eps)


cdef void _adam(real* p, const real* g, real* m, real* v, Py_ssize_t count, real beta1, real beta2, real eps,
                real decay, real shrink, real rate, real scale) noexcept nogil:
    cdef Py_ssize_t block, begin
    for block in prange((count + GRAIN - 1) // GRAIN, num_threads=threads(count), schedule="static"):
        begin = block * GRAIN
        adam_part(p + begin, g + begin, m + begin, v + begin, min(GRAIN, count - begin), beta1, beta2, eps, decay,
                  shrink, rate, scale)


def adam_step(p, g, m, v, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    cdef double rate = lr / (1 - pow(beta1, step))
    cdef double scale = 1 / sqrt(1 - pow(beta2, step))
    cdef double decay = 0 if decoupled else weight_decay
    cdef double shrink = 1 - lr * weight_decay if decoupled else 1
    if p.dtype == F32:
        _adam[float](<float*>data(p), <float*>data(g), <float*>data(m), <float*>data(v), p.size, beta1, beta2, eps,
                     decay, shrink, rate, scale)
    else:
        _adam[double](<double*>data(p), <double*>data(g), <double*>data(m), <double*>data(v), p.size, beta1, beta2, eps,
                      decay, shrink, rate, scale)


# ------------------------------------------------------------------------------------------------------------ RMSprop

cdef void rmsprop_part(real* p, const real* g, real* square, real* mean, real* velocity, Py_ssize_t count, real lr,
                       real alpha, real eps, real weight_decay, real momentum) noexcept nogil:
    cdef Py_ssize_t i
    cdef real d, s, u, rest = 1 - alpha
    for i in range(count):
        d = g[i] + weight_decay * p[i]
        s = alpha * square[i] + rest * d * d
        square[i] = s
        if mean != NULL:
            u = alpha * mean[i] + rest * d
            mean[i] = u
            s = s - u * u
        d = d / (root(s) + eps)
        if velocity != NULL:
            d = momentum * velocity[i] + d
            velocity[i] = d
        p[i] -= lr * d


cdef void _rmsprop(real* p, const real* g, real* square, real* mean, real* velocity, Py_ssize_t count, real lr,
                   real alpha, real eps, real weight_decay, real momentum) noexcept nogil:
    cdef Py_ssize_t block, begin
    for block in prange((count + GRAIN - 1) // GRAIN, num_threads=threads(count), schedule="static"):
        begin = block * GRAIN
        rmsprop_part(p + begin, g + begin, square + begin, mean + begin if mean != NULL else NULL,
                     velocity + begin if velocity != NULL else NULL, min(GRAIN, count - begin), lr, alpha, eps,
                     weight_decay, momentum)


def rmsprop_step(p, g, square, mean, velocity, lr, alpha, eps, weight_decay, momentum):
    if p.dtype == F32:
        _rmsprop[float](<float*>data(p), <float*>data(g), <float*>data(square), <float*>data(mean),
                        <float*>data(velocity), p.size, lr, alpha, eps, weight_decay, momentum)
    else:
        _rmsprop[double](<double*>data(p), <double*>data(g), <double*>data(square), <double*>data(mean),
                         <double*>data(velocity), p.size, lr, alpha, eps, weight_decay, momentum)


# ------------------------------------------------------------------------------------------------------------ Adagrad

cdef void adagrad_part(real* p, const real* g, real* total, Py_ssize_t count, real lr, real eps,
                       real weight_decay) noexcept nogil:
    cdef Py_ssize_t i
    cdef real d, t
    for i in range(count):
        d = g[i] + weight_decay * p[i]
        t = total[i] + d * d
        total[i] = t
        p[i] -= lr * d / (root(t) + eps)


cdef void _adagrad(real* p, const real* g, real* total, Py_ssize_t count, real lr, real eps,
                   real weight_decay) noexcept nogil:
    cdef Py_ssize_t block, begin
    for block in prange((count + GRAIN - 1) // GRAIN, num_threads=threads(count), schedule="static"):
        begin = block * GRAIN
        adagrad_part(p + begin, g + begin, total + begin, min(GRAIN, count - begin), lr, eps, weight_decay)


def adagrad_step(p, g, total, lr, eps, weight_decay):
    if p.dtype == F32:
        _adagrad[float](<float*>data(p), <float*>data(g), <float*>data(total), p.size, lr, eps, weight_decay)
    else:
        _adagrad[double](<double*>data(p), <double*>data(g), <double*>data(total), p.size, lr, eps, weight_decay)
