"""Batch normalisation: statistics of each channel, the normalisation with what follows it, and the way back. Group
normalisation, which takes each picture on its own, stands in norm_group.pxi.

A row of an array (M, C) is too short a loop for most numbers of channels, so several are read as one: (1024, 16) is
taken as 64 rows of 256 lanes, and what is known of a channel (its mean, its scale) is written out once for every lane.
M*C need not be a multiple of the lanes: a shorter row comes last, whose lanes still stand at the same channels.

An activation is applied to a row while it is in the L1 cache: a loop of its own over some hundred numbers costs little,
a pass over the whole array as much as the normalisation itself.

Sums are cut into parts, whose number follows from the shape alone, and put together in order: the result does not
depend on the threads.
"""

include "common.pxi"

from cython.parallel cimport prange
from libc.math cimport INFINITY, sqrt

cdef extern from "activations.h":
    ctypedef struct activation_entry:
        const char* name
        bint costly         # dearer to compute than to store
    const activation_entry* ACTIVATIONS
    void activate_f32(int activation, float* x, Py_ssize_t n) noexcept nogil
    void activate_f64(int activation, double* x, Py_ssize_t n) noexcept nogil
    void activation_grad_f32(int activation, const float* g, const float* x, float* dx, Py_ssize_t n) noexcept nogil
    void activation_grad_f64(int activation, const double* g, const double* x, double* dx, Py_ssize_t n) noexcept nogil

cdef enum:
    LANES = 256             # most columns of a sum: they stay in the L1 cache
    RUN = 64                # rows added up in the array's own precision before they go to a double
    SAMPLE = 32             # one row in so many gives a mean near enough to the true one to take the variance about
    PART_SIZE = 16384       # elements that make another part, or another task, worthwhile


cdef int number_of(str activation) except -1:
    """Its place in the table; 0 for none."""
    cdef int i = 0
    while ACTIVATIONS[i].name != NULL:
        if ACTIVATIONS[i].name.decode() == activation:
            return i
        i += 1
    raise ValueError(f"no activation {activation!r}")


cdef inline void activate(int activation, real* x, Py_ssize_t n) noexcept nogil:
    """In place."""
    if real is float:
        activate_f32(activation, x, n)
    else:
        activate_f64(activation, x, n)


cdef inline void activation_grad(int activation, const real* g, const real* x, real* dx, Py_ssize_t n) noexcept nogil:
    if real is float:
        activation_grad_f32(activation, g, x, dx, n)
    else:
        activation_grad_f64(activation, g, x, dx, n)


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


include "norm_stats.pxi"
include "norm_apply.pxi"
include "norm_grad.pxi"
include "norm_group.pxi"
include "random_words.pxi"
include "max.pxi"
include "norm_pool.pxi"
