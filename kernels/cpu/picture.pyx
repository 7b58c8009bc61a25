"""Augmentation of pictures: mirroring, affine maps, brightness and contrast, blending.

These kernels stay on the thread that calls them, which prepares batches while the others train the network.
"""

include "common.pxi"

cdef enum:
    RUN = 128               # places in a row that are worked out together
    LANES = 64              # partial sums of a grey, so that they can be vectors


# --------------------------------------------------------------------------------------------------- mirroring

cdef inline void reverse(const uint8_t* x, uint8_t* y, Py_ssize_t length, Py_ssize_t size) noexcept nogil:
    """A row of `length` items of `size` bytes, the last one first."""
    cdef Py_ssize_t i
    for i in range(length):
        memcpy(y + i * size, x + (length - 1 - i) * size, size)


cdef void reverse_rows(const uint8_t* x, uint8_t* y, Py_ssize_t rows, Py_ssize_t length,
                       Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t row
    for row in range(rows):
        if size == 3:  # a pixel of three bytes, or of three floats: a size that the compiler knows is not worth a call
            reverse(x, y, length, 3)
        elif size == 12:
            reverse(x, y, length, 12)
        elif size == 4:
            reverse(x, y, length, 4)
        elif size == 1:
            reverse(x, y, length, 1)
        else:
            reverse(x, y, length, size)
        x += length * size
        y += length * size


def mirror(x, chosen, y):
    cdef Py_ssize_t pictures = x.shape[0], rows = x.shape[1], length = x.shape[2], size = x.shape[3], n
    cdef Py_ssize_t whole = rows * length * size
    cdef const uint8_t* px = <const uint8_t*>data(x)
    cdef const uint8_t* taken = <const uint8_t*>data(chosen)
    cdef uint8_t* py = <uint8_t*>data(y)
    with nogil:
        for n in range(pictures):
            if taken[n]:
                reverse_rows(px + n * whole, py + n * whole, rows, length, size)
            else:
                memcpy(py + n * whole, px + n * whole, whole)


# ------------------------------------------------------------------------------------------------- affine maps

cdef struct Size:
    Py_ssize_t height, width, channels


cdef inline double nearest(double place, Py_ssize_t size) noexcept nogil:
    """The nearest place in 0..size-1; 0 for NaN."""
    place = place if place > 0 else 0
    return place if place < size - 1 else size - 1


cdef void find(const real* map, Py_ssize_t p, Py_ssize_t first, Py_ssize_t count, Size size, int32_t* row,
               int32_t* column, real* down, real* right) noexcept nogil:
    """Where row p of the result comes from, from column `first` on: pixels, and how far below and right of them."""
    cdef double y0 = <double>map[0] * p + map[2], x0 = <double>map[3] * p + map[5], yx = map[1], xx = map[4], y, x
    cdef Py_ssize_t j
    for j in range(count):
        y = nearest(y0 + yx * <int32_t>(first + j), size.height)
        x = nearest(x0 + xx * <int32_t>(first + j), size.width)
        row[j] = <int32_t>y
        column[j] = <int32_t>x
        down[j] = <real>(y - row[j])
        right[j] = <real>(x - column[j])


cdef inline void interpolate(const real* x, Py_ssize_t count, Size size, Py_ssize_t channels, const int32_t* row,
                             const int32_t* column, const real* down, const real* right, real* y) noexcept nogil:
    """Pixels between the four around each place. In the last row and column, where the parts of the next ones are 0,
    a pixel stands for its neighbour too."""
    cdef Py_ssize_t j, c, beside
    cdef const real* upper
    cdef const real* lower
    cdef real above, below
    for j in range(count):
        upper = x + (row[j] * size.width + column[j]) * channels
        lower = upper + (size.width * channels if row[j] + 1 < size.height else 0)
        beside = channels if column[j] + 1 < size.width else 0
        for c in range(channels):
            above = upper[c] + right[j] * (upper[beside + c] - upper[c])
            below = lower[c] + right[j] * (lower[beside + c] - lower[c])
            y[j * channels + c] = above + down[j] * (below - above)


cdef void resample(const real* x, const real* map, real* y, Size size, Py_ssize_t high, Py_ssize_t wide) noexcept nogil:
    """One picture."""
    cdef int32_t row[RUN]
    cdef int32_t column[RUN]
    cdef real down[RUN]
    cdef real right[RUN]
    cdef Py_ssize_t p, run, count
    for p in range(high):
        for run in range((wide + RUN - 1) // RUN):
            count = min(RUN, wide - run * RUN)
            find(map, p, run * RUN, count, size, row, column, down, right)
            if size.channels == 3:  # a number that the compiler knows spares the loop over them
                interpolate(x, count, size, 3, row, column, down, right, y)
            elif size.channels == 1:
                interpolate(x, count, size, 1, row, column, down, right, y)
            else:
                interpolate(x, count, size, size.channels, row, column, down, right, y)
            y += count * size.channels


cdef void resample_all(const real* x, const real* maps, real* y, Py_ssize_t pictures, Size size, Py_ssize_t high,
                       Py_ssize_t wide) noexcept nogil:
    cdef Py_ssize_t n
    for n in range(pictures):
        resample(x + n * size.height * size.width * size.channels, maps + n * 6, y + n * high * wide * size.channels,
                 size, high, wide)


def affine_sample(x, maps, y, size):
    cdef Size given = Size(x.shape[1], x.shape[2], x.shape[3])
    cdef Py_ssize_t pictures = x.shape[0], high = y.shape[1], wide = y.shape[2]
    cdef void* px = data(x)
    cdef void* pm = data(maps)
    cdef void* py = data(y)
    if x.dtype == F32:
        with nogil:
            resample_all(<const float*>px, <const float*>pm, <float*>py, pictures, given, high, wide)
    else:
        with nogil:
            resample_all(<const double*>px, <const double*>pm, <double*>py, pictures, given, high, wide)


# ------------------------------------------------------------------------------------- brightness and contrast

cdef inline void brighten(const real* x, Py_ssize_t count, real factor, const real* weights, real* y, real* grey,
                          real* outside) noexcept nogil:
    """`count` <= LANES numbers; a lane of `outside` becomes 1 once a number is not in [0, 1]."""
    cdef real value
    cdef Py_ssize_t j
    for j in range(count):
        outside[j] = outside[j] if (x[j] >= 0) & (x[j] <= 1) else 1
        value = x[j] * factor
        value = 1 if value > 1 else value
        y[j] = value
        grey[j] += weights[j] * value


cdef bint adjust(const real* x, Py_ssize_t count, real brightness, real contrast, const real* weights,
                 real* y) noexcept nogil:
    """One picture; whether all of it lies in [0, 1]."""
    cdef real grey[LANES]
    cdef real outside[LANES]
    cdef real value
    cdef Py_ssize_t j, i, whole = count // LANES * LANES
    for j in range(LANES):
        grey[j] = 0
        outside[j] = 0
    for i in range(count // LANES):
        brighten(x + i * LANES, LANES, brightness, weights + i * LANES, y + i * LANES, grey, outside)
    brighten(x + whole, count - whole, brightness, weights + whole, y + whole, grey, outside)
    for j in range(1, LANES):
        grey[0] += grey[j]
        outside[0] += outside[j]
    for j in range(count):
        value = contrast * y[j] + (1 - contrast) * grey[0]
        value = 0 if value < 0 else value
        y[j] = 1 if value > 1 else value
    return outside[0] == 0


cdef void adjust_all(const real* x, const real* brightness, const real* contrast, const real* weights, real* y,
                     uint8_t* inside, Py_ssize_t pictures, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t n
    for n in range(pictures):
        inside[n] = adjust(x + n * count, count, brightness[n], contrast[n], weights, y + n * count)


def jitter(x, brightness, contrast, weights, y, inside):
    cdef Py_ssize_t pictures = x.shape[0], count = x.shape[1]
    cdef void* px = data(x)
    cdef void* pb = data(brightness)
    cdef void* pc = data(contrast)
    cdef void* pw = data(weights)
    cdef void* py = data(y)
    cdef uint8_t* within = <uint8_t*>data(inside)
    if x.dtype == F32:
        with nogil:
            adjust_all(<const float*>px, <const float*>pb, <const float*>pc, <const float*>pw, <float*>py, within,
                       pictures, count)
    else:
        with nogil:
            adjust_all(<const double*>px, <const double*>pb, <const double*>pc, <const double*>pw, <double*>py,
                       within, pictures, count)


# ---------------------------------------------------------------------------------------------------- blending

cdef void blend_all(const real* x, const int64_t* partner, const real* share, real* y, Py_ssize_t pictures,
                    Py_ssize_t count) noexcept nogil:
    cdef const real* own
    cdef const real* other
    cdef Py_ssize_t n, j
    for n in range(pictures):
        own = x + n * count
        other = x + partner[n] * count
        for j in range(count):
            y[n * count + j] = own[j] + share[n] * (other[j] - own[j])


def blend(x, partner, share, y):
    cdef Py_ssize_t pictures = x.shape[0], count = x.shape[1], n
    cdef const int64_t* partners = <const int64_t*>data(partner)
    cdef void* px = data(x)
    cdef void* ps = data(share)
    cdef void* py = data(y)
    for n in range(pictures):
        if not 0 <= partners[n] < pictures:
            raise IndexError(f"partner {partners[n]}, expected 0 to {pictures - 1}")
    if x.dtype == F32:
        with nogil:
            blend_all(<const float*>px, partners, <const float*>ps, <float*>py, pictures, count)
    else:
        with nogil:
            blend_all(<const double*>px, partners, <const double*>ps, <double*>py, pictures, count)
