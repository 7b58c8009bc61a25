"""Random words and dropout, from the generator that kernels/contracts.py states.

Its blocks have no state, so a thread makes any of them from their numbers alone: what comes out does not depend on who
makes it.
"""

include "common.pxi"

from cython.parallel cimport prange

include "random_words.pxi"

cdef enum:
    CHUNK = 1024            # words made at a time: they stay in the L1 cache until they are used
    GRAIN = 16384           # elements of a task


cdef void fill_words(uint64_t seed, uint64_t start, Py_ssize_t count, uint32_t* words) noexcept nogil:
    cdef Py_ssize_t task
    for task in prange((count + GRAIN - 1) // GRAIN, num_threads=threads(count), schedule="guided"):
        make_words(seed, start + task * GRAIN, min(GRAIN, count - task * GRAIN), words + task * GRAIN)


def random_bits(y, count, seed, offset):
    cdef uint32_t* words = <uint32_t*>data(y)
    cdef uint64_t key = seed, start = offset
    cdef Py_ssize_t n = count
    with nogil:
        fill_words(key, start, n, words)


# ------------------------------------------------------------------------------------------------------- dropout

cdef inline void keep_some(const real* x, real* y, Py_ssize_t n, const uint32_t* words, uint32_t threshold,
                           real scale) noexcept nogil:
    """Multiply by scale where the word is at least the threshold; 0 elsewhere, whatever x is there."""
    cdef real value
    cdef Py_ssize_t j
    for j in range(n):
        value = x[j] * scale
        y[j] = value if words[j] >= threshold else 0


cdef void drop_elements(const real* x, real* y, Py_ssize_t n, uint64_t seed, uint64_t start, uint32_t threshold,
                        real scale) noexcept nogil:
    """Neighbouring elements have neighbouring words."""
    cdef uint32_t words[CHUNK]
    cdef Py_ssize_t done = 0, count
    while done < n:
        count = min(CHUNK, n - done)
        make_words(seed, start + done, count, words)
        keep_some(x + done, y + done, count, <const uint32_t*>words, threshold, scale)
        done += count


cdef void dropout_elements(const real* x, real* y, Py_ssize_t n, uint64_t seed, uint64_t start, uint32_t threshold,
                           real scale) noexcept nogil:
    cdef Py_ssize_t task
    for task in prange((n + GRAIN - 1) // GRAIN, num_threads=threads(n), schedule="guided"):
        drop_elements(x + task * GRAIN, y + task * GRAIN, min(GRAIN, n - task * GRAIN), seed, start + task * GRAIN,
                      threshold, scale)


cdef void drop_channels(const real* x, real* y, Py_ssize_t places, Py_ssize_t channels, const uint32_t* words,
                        uint32_t threshold, real scale) noexcept nogil:
    """Some places of one picture, which share its words: one a channel."""
    cdef Py_ssize_t i
    for i in range(places):
        keep_some(x + i * channels, y + i * channels, channels, words, threshold, scale)


cdef void dropout_channels(const real* x, real* y, Py_ssize_t pictures, Py_ssize_t places, Py_ssize_t channels,
                           const uint32_t* words, uint32_t threshold, real scale) noexcept nogil:
    cdef Py_ssize_t grain = max(1, GRAIN // max(1, channels)), blocks = (places + grain - 1) // grain, task, n, at
    for task in prange(pictures * blocks, num_threads=threads(pictures * places * channels), schedule="guided"):
        n = task // blocks
        at = task % blocks * grain
        drop_channels(x + (n * places + at) * channels, y + (n * places + at) * channels, min(grain, places - at),
                      channels, words + n * channels, threshold, scale)


def dropout(x, y, p, seed, offset):
    cdef Py_ssize_t pictures = x.shape[0], places = x.shape[1], channels = x.shape[2]
    cdef void* px = data(x)
    cdef void* py = data(y)
    cdef uint64_t key = seed, start = offset, limit = round(p * 2**32)
    cdef double scale = 1 / (1 - p) if limit < 2**32 else 0
    cdef uint32_t threshold = <uint32_t>limit
    cdef uint32_t* words
    if limit == 2**32:  # no word is as large: nothing is kept
        memset(py, 0, x.nbytes)
        return
    if places == 1:
        if x.dtype == F32:
            with nogil:
                dropout_elements(<const float*>px, <float*>py, pictures * channels, key, start, threshold, <float>scale)
        else:
            with nogil:
                dropout_elements(<const double*>px, <double*>py, pictures * channels, key, start, threshold, scale)
        return
    words = <uint32_t*>allocate(pictures * channels, sizeof(uint32_t))
    with nogil:
        fill_words(key, start, pictures * channels, words)
    if x.dtype == F32:
        with nogil:
            dropout_channels(<const float*>px, <float*>py, pictures, places, channels, words, threshold, <float>scale)
    else:
        with nogil:
            dropout_channels(<const double*>px, <double*>py, pictures, places, channels, words, threshold, scale)
    free(words)
