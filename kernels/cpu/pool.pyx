"""Max and average pooling of pictures (N, H, W, C).

Work is shared out by rows of pictures, and a row is written by one thread alone, in one order: results do not depend on
the threads. The inner loops run over channels. They keep what they compute in local arrays of CHUNK numbers, a few
places of a row at a time (or part of one place, if it has more channels): a compiler sees that nothing else lies there,
and makes vector code of any number of channels. Positions in a window are handled as floats as wide as x for the same
reason, and turned from and into bytes in a loop of their own.
"""

include "common.pxi"

from cython.parallel cimport prange
from libc.math cimport INFINITY

include "max.pxi"

cdef enum:
    CHUNK = 1024
    NOWHERE = 255           # the position of a maximum whose gradient goes nowhere

# The positions in a window.
ctypedef fused place:
    uint8_t
    int32_t

# Sizes of x (height, width) and of y (rows, columns); pairs are (down, across).
cdef struct Pool:
    Py_ssize_t batch, height, width, channels, rows, columns
    Py_ssize_t kernel[2]
    Py_ssize_t stride[2]
    Py_ssize_t before[2]
    Py_ssize_t after[2]
    Py_ssize_t dilation[2]
    Py_ssize_t divisor
    bint count_padding
    bint rectified

# The taps of a window in one direction that lie inside x: first <= tap < end. Tap 0 is at `start`, inside or not.
cdef struct Span:
    Py_ssize_t start, first, end


cdef Pool describe(object x_shape, object y_shape, object kernel, object stride, object before,
                   object dilation=(1, 1), object after=(0, 0), Py_ssize_t divisor=0, bint count_padding=False):
    cdef Pool pool
    pool.batch, pool.height, pool.width, pool.channels = x_shape
    pool.rows, pool.columns = y_shape[1:3]
    pool.kernel[0], pool.kernel[1] = kernel
    pool.stride[0], pool.stride[1] = stride
    pool.before[0], pool.before[1] = before
    pool.after[0], pool.after[1] = after
    pool.dilation[0], pool.dilation[1] = dilation
    pool.divisor = divisor
    pool.count_padding = count_padding
    pool.rectified = False
    return pool


cdef inline Span span(const Pool* pool, int axis, Py_ssize_t output) noexcept nogil:
    """Where the window of an output row (axis 0) or column (axis 1) lies."""
    cdef Py_ssize_t size = pool.width if axis else pool.height, step = pool.dilation[axis]
    cdef Span found
    found.start = output * pool.stride[axis] - pool.before[axis]
    found.first = 0
    found.end = pool.kernel[axis]
    if found.start < 0:
        found.first = min(found.end, (step - 1 - found.start) // step)
    if found.start + (found.end - 1) * step >= size:
        found.end = max(found.first, (size - found.start + step - 1) // step if found.start < size else 0)
    return found


cdef inline bint is_whole(const Pool* pool, const Span* rows, const Span* columns) noexcept nogil:
    """Whether all of a window lies inside x."""
    return rows.end - rows.first == pool.kernel[0] and columns.end - columns.first == pool.kernel[1]


cdef inline Py_ssize_t places_at_once(const Pool* pool) noexcept nogil:
    return max(1, CHUNK // max(1, pool.channels))


cdef inline Py_ssize_t operations(const Pool* pool) noexcept nogil:
    return pool.batch * pool.rows * pool.columns * pool.channels * pool.kernel[0] * pool.kernel[1]


# --------------------------------------------------------------------------------------------------- max pooling

cdef inline void max_places(const real* x, real* y, place* position, const Pool* pool, const Span* rows, Py_ssize_t q0,
                            Py_ssize_t count, Py_ssize_t width) noexcept nogil:
    """`count` windows from column q0 on. x: the picture, y and position: the first window, from the same channel."""
    cdef real best[CHUNK]
    cdef real where[CHUNK]
    cdef Py_ssize_t q, corner, i
    cdef Span columns
    cdef MaxTaps taps
    for q in range(count):
        columns = span(pool, 1, q0 + q)
        corner = (rows.start * pool.width + columns.start) * pool.channels
        taps = MaxTaps(rows.first, rows.end, columns.first, columns.end, pool.kernel[1],
                       pool.dilation[0] * pool.width * pool.channels, pool.dilation[1] * pool.channels)
        max_of_window(x + corner, &taps, width, best + q * width, where + q * width)
    memcpy(y, best, count * width * sizeof(real))
    if pool.rectified:
        for i in range(count * width):
            where[i] = where[i] if best[i] > 0 else NOWHERE
    for i in range(count * width):
        position[i] = <place><int32_t>where[i]


cdef void max_row(const real* x, real* y, place* position, const Pool* pool, Py_ssize_t row) noexcept nogil:
    """Row p of picture n of y; row = n * P + p."""
    cdef Py_ssize_t picture = row // pool.rows * pool.height * pool.width * pool.channels
    cdef Py_ssize_t q = 0, count, c, width, at
    cdef Span rows = span(pool, 0, row % pool.rows)
    while q < pool.columns:
        count = min(places_at_once(pool), pool.columns - q)
        c = 0
        while c < pool.channels:
            width = min(CHUNK, pool.channels - c)
            at = (row * pool.columns + q) * pool.channels + c
            max_places(x + picture + c, y + at, position + at, pool, &rows, q, count, width)
            c += width
        q += count


cdef void max_rows(const real* x, real* y, place* position, const Pool* pool) noexcept nogil:
    cdef Py_ssize_t row
    for row in prange(pool.batch * pool.rows, num_threads=threads(operations(pool)), schedule="guided"):
        max_row(x, y, position, pool, row)


cdef void max_pool(const real* x, real* y, void* position, bint narrow, const Pool* pool) noexcept nogil:
    if narrow:
        max_rows(x, y, <uint8_t*>position, pool)
    else:
        max_rows(x, y, <int32_t*>position, pool)


def max_pool2d(x, y, position, kernel, stride, padding, dilation, size, bint rectified):
    cdef Pool pool = describe(x.shape, y.shape, kernel, stride, padding, dilation)
    pool.rectified = rectified
    cdef bint narrow = position.itemsize == 1
    cdef void* px = data(x)
    cdef void* py = data(y)
    cdef void* pp = data(position)
    if x.dtype == F32:
        with nogil:
            max_pool(<const float*>px, <float*>py, pp, narrow, &pool)
    else:
        with nogil:
            max_pool(<const double*>px, <double*>py, pp, narrow, &pool)


# ------------------------------------------------------------------------------- what positions of maxima are for

cdef Py_ssize_t* tap_offsets(const Pool* pool, Py_ssize_t across) except NULL:
    """How far each tap of a window lies behind tap 0, if neighbouring columns are `across` apart; free() it."""
    cdef Py_ssize_t taps = pool.kernel[0] * pool.kernel[1], tap, r, s
    cdef Py_ssize_t* offset = <Py_ssize_t*>allocate(taps, sizeof(Py_ssize_t))
    for tap in range(taps):
        r = tap // pool.kernel[1] * pool.dilation[0]
        s = tap % pool.kernel[1] * pool.dilation[1]
        offset[tap] = (r * pool.width + s) * across
    return offset


cdef inline bint is_inside(const Pool* pool, const Span* rows, const Span* columns, Py_ssize_t tap) noexcept nogil:
    """Whether a tap of a window over the edge lies inside x."""
    cdef Py_ssize_t r = tap // pool.kernel[1], s = tap % pool.kernel[1]
    return rows.first <= r < rows.end and columns.first <= s < columns.end


cdef inline void clear(real* dx, const Pool* pool, Py_ssize_t c0, Py_ssize_t c1) noexcept nogil:
    """Set channels c0 <= c < c1 of a row of dx to 0."""
    cdef Py_ssize_t w
    if c1 - c0 == pool.channels:
        memset(dx, 0, pool.width * pool.channels * sizeof(real))
        return
    for w in range(pool.width):
        memset(dx + w * pool.channels + c0, 0, (c1 - c0) * sizeof(real))


cdef inline void scatter_place(const real* dy, const place* position, real* dx, Py_ssize_t corner, const Pool* pool,
                               const Span* rows, const Span* columns, const Py_ssize_t* offset, Py_ssize_t c0,
                               Py_ssize_t c1) noexcept nogil:
    """One window, its tap 0 at dx[corner]. dy and position: its first channel."""
    cdef Py_ssize_t taps = pool.kernel[0] * pool.kernel[1], c
    if is_whole(pool, rows, columns):
        for c in range(c0, c1):
            if position[c] < taps:      # NOWHERE is no tap
                dx[corner + offset[position[c]] + c] += dy[c]
    else:
        for c in range(c0, c1):
            if is_inside(pool, rows, columns, position[c]):
                dx[corner + offset[position[c]] + c] += dy[c]


cdef void scatter(const real* dy, const place* position, real* dx, const Pool* pool, const Py_ssize_t* offset,
                  Py_ssize_t n, Py_ssize_t c0, Py_ssize_t c1) noexcept nogil:
    """Add channels c0 <= c < c1 of picture n of dy to where they came from."""
    cdef Py_ssize_t line = pool.width * pool.channels, cleared = 0, p, q, at
    cdef Span rows, columns
    dx += n * pool.height * line
    for p in range(pool.rows):
        rows = span(pool, 0, p)
        # Rows of dx are cleared just before a window first reaches them, and are still in the cache when it does.
        while cleared < min(pool.height, rows.start + pool.kernel[0] * pool.dilation[0]):
            clear(dx + cleared * line, pool, c0, c1)
            cleared += 1
        for q in range(pool.columns):
            columns = span(pool, 1, q)
            at = ((n * pool.rows + p) * pool.columns + q) * pool.channels
            scatter_place(dy + at, position + at, dx, rows.start * line + columns.start * pool.channels, pool, &rows,
                          &columns, offset, c0, c1)
    while cleared < pool.height:
        clear(dx + cleared * line, pool, c0, c1)
        cleared += 1


cdef inline bint are_apart(const Pool* pool) noexcept nogil:
    """Whether no two windows share a place."""
    return (pool.stride[0] > (pool.kernel[0] - 1) * pool.dilation[0]
            and pool.stride[1] > (pool.kernel[1] - 1) * pool.dilation[1])


cdef inline bint are_everywhere(const Pool* pool) noexcept nogil:
    """Whether windows that are apart leave no place out."""
    return (pool.stride[0] == pool.kernel[0] and pool.rows * pool.stride[0] >= pool.height + pool.before[0]
            and pool.stride[1] == pool.kernel[1] and pool.columns * pool.stride[1] >= pool.width + pool.before[1])


cdef inline void spread_places(const real* dy, const place* position, real* dx, const Pool* pool, const Span* rows,
                               Py_ssize_t q0, Py_ssize_t count, Py_ssize_t width) noexcept nogil:
    """`count` windows from column q0 on write all their places. dy and position: the first of them, dx: the picture."""
    cdef real gradient[CHUNK]
    cdef real where[CHUNK]
    cdef Py_ssize_t r, s, q, c, i
    cdef Span columns
    cdef real tap, value
    cdef real* to
    memcpy(gradient, dy, count * width * sizeof(real))
    for i in range(count * width):
        where[i] = position[i]
    for r in range(rows.first, rows.end):
        for q in range(count):
            columns = span(pool, 1, q0 + q)
            for s in range(columns.first, columns.end):
                tap = <real>(r * pool.kernel[1] + s)
                to = dx + ((rows.start + r * pool.dilation[0]) * pool.width + columns.start
                           + s * pool.dilation[1]) * pool.channels
                for c in range(width):
                    value = gradient[q * width + c]
                    to[c] = value if where[q * width + c] == tap else 0


cdef void grad_band(const real* dy, const place* position, real* dx, const Pool* pool, Py_ssize_t row) noexcept nogil:
    """Row p of picture n of dy, to the rows of dx from its first taps to those of row p + 1; row = n * P + p."""
    cdef Py_ssize_t p = row % pool.rows, line = pool.width * pool.channels, q = 0, count, c, width, at
    cdef Py_ssize_t begin = p * pool.stride[0] - pool.before[0], end = begin + pool.stride[0]
    cdef Span rows = span(pool, 0, p)
    dx += row // pool.rows * pool.height * line
    begin = 0 if p == 0 else max(0, min(begin, pool.height))
    end = pool.height if p + 1 == pool.rows else max(0, min(end, pool.height))
    if not are_everywhere(pool):
        memset(dx + begin * line, 0, (end - begin) * line * sizeof(real))
    while q < pool.columns:
        count = min(places_at_once(pool), pool.columns - q)
        c = 0
        while c < pool.channels:
            width = min(CHUNK, pool.channels - c)
            at = (row * pool.columns + q) * pool.channels + c
            spread_places(dy + at, position + at, dx + c, pool, &rows, q, count, width)
            c += width
        q += count


cdef void grad_pictures(const real* dy, const place* position, real* dx, const Pool* pool,
                        const Py_ssize_t* offset) noexcept nogil:
    """Where windows are apart, each row of them has rows of dx of its own, and every place is written once, by a
    comparison. Otherwise (and where channels are too few for vectors) a picture, or some channels of it, is a task, and
    every dy is added to its place."""
    cdef Py_ssize_t slices = 1, task
    cdef int team = threads(operations(pool))
    if pool.rows > 0 and pool.channels >= 8 and are_apart(pool):
        for task in prange(pool.batch * pool.rows, num_threads=team, schedule="guided"):
            grad_band(dy, position, dx, pool, task)
    else:
        while pool.batch * slices < team and pool.channels // slices >= 64:
            slices *= 2
        for task in prange(pool.batch * slices, num_threads=team, schedule="guided"):
            scatter(dy, position, dx, pool, offset, task // slices, task % slices * pool.channels // slices,
                    (task % slices + 1) * pool.channels // slices)


cdef void max_pool_grad(const real* dy, const void* position, bint narrow, real* dx, const Pool* pool,
                        const Py_ssize_t* offset) noexcept nogil:
    if narrow:
        grad_pictures(dy, <const uint8_t*>position, dx, pool, offset)
    else:
        grad_pictures(dy, <const int32_t*>position, dx, pool, offset)


def max_pool2d_grad(dy, position, dx, size, kernel, stride, padding, dilation):
    cdef Pool pool = describe(dx.shape, dy.shape, kernel, stride, padding, dilation)
    cdef bint narrow = position.itemsize == 1
    cdef void* pg = data(dy)
    cdef void* pp = data(position)
    cdef void* pd = data(dx)
    cdef Py_ssize_t* offset = tap_offsets(&pool, pool.channels)
    if dy.dtype == F32:
        with nogil:
            max_pool_grad(<const float*>pg, pp, narrow, <float*>pd, &pool, offset)
    else:
        with nogil:
            max_pool_grad(<const double*>pg, pp, narrow, <double*>pd, &pool, offset)
    free(offset)


cdef void pick_row(const real* x, const place* position, real* y, const Pool* pool, const Py_ssize_t* offset,
                   Py_ssize_t row) noexcept nogil:
    """Row p of picture n of y: x at the positions, 0 for those outside x."""
    cdef Py_ssize_t line = pool.width * pool.channels, q, c, at, corner
    cdef Span rows = span(pool, 0, row % pool.rows), columns
    x += row // pool.rows * pool.height * line
    for q in range(pool.columns):
        columns = span(pool, 1, q)
        corner = rows.start * line + columns.start * pool.channels
        at = (row * pool.columns + q) * pool.channels
        for c in range(pool.channels):
            y[at + c] = 0
            if is_inside(pool, &rows, &columns, position[at + c]):
                y[at + c] = x[corner + offset[position[at + c]] + c]


cdef void pick_rows(const real* x, const void* position, bint narrow, real* y, const Pool* pool,
                    const Py_ssize_t* offset) noexcept nogil:
    cdef Py_ssize_t row
    for row in prange(pool.batch * pool.rows, num_threads=threads(operations(pool)), schedule="guided"):
        if narrow:
            pick_row(x, <const uint8_t*>position, y, pool, offset, row)
        else:
            pick_row(x, <const int32_t*>position, y, pool, offset, row)


def max_pool2d_pick(x, position, y, kernel, stride, padding, dilation):
    cdef Pool pool = describe(x.shape, y.shape, kernel, stride, padding, dilation)
    cdef bint narrow = position.itemsize == 1
    cdef void* px = data(x)
    cdef void* pp = data(position)
    cdef void* py = data(y)
    cdef Py_ssize_t* offset = tap_offsets(&pool, pool.channels)
    if x.dtype == F32:
        with nogil:
            pick_rows(<const float*>px, pp, narrow, <float*>py, &pool, offset)
    else:
        with nogil:
            pick_rows(<const double*>px, pp, narrow, <double*>py, &pool, offset)
    free(offset)


cdef void index_row(const place* position, int64_t* index, const Pool* pool, const Py_ssize_t* offset,
                    Py_ssize_t row) noexcept nogil:
    """Row p of picture n: positions in the plane, 0 for those outside it."""
    cdef Py_ssize_t q, c, at
    cdef Span rows = span(pool, 0, row % pool.rows), columns
    for q in range(pool.columns):
        columns = span(pool, 1, q)
        at = (row * pool.columns + q) * pool.channels
        for c in range(pool.channels):
            index[at + c] = 0
            if is_inside(pool, &rows, &columns, position[at + c]):
                index[at + c] = rows.start * pool.width + columns.start + offset[position[at + c]]


def max_pool2d_index(position, index, size, kernel, stride, padding, dilation):
    cdef Pool pool = describe((position.shape[0], *size, position.shape[3]), position.shape, kernel, stride, padding,
                              dilation)
    cdef bint narrow = position.itemsize == 1
    cdef void* pp = data(position)
    cdef int64_t* pi = <int64_t*>data(index)
    cdef Py_ssize_t* offset = tap_offsets(&pool, 1)
    cdef Py_ssize_t row
    for row in prange(pool.batch * pool.rows, nogil=True, num_threads=threads(operations(&pool)), schedule="guided"):
        if narrow:
            index_row(<const uint8_t*>pp, pi, &pool, offset, row)
        else:
            index_row(<const int32_t*>pp, pi, &pool, offset, row)
    free(offset)


# ----------------------------------------------------------------------------------------------- average pooling

cdef inline Py_ssize_t counted(const Pool* pool, int axis, const Span* taps) noexcept nogil:
    """How many rows (axis 0) or columns (axis 1) of a window count for the average."""
    cdef Py_ssize_t end = (pool.width if axis else pool.height) + pool.after[axis]
    if pool.count_padding:  # padding counts, places behind it (of windows that ceil_mode adds) don't
        return max(0, min(pool.kernel[axis], end - taps.start))
    return taps.end - taps.first


cdef inline double share(const Pool* pool, const Span* rows, const Span* columns) noexcept nogil:
    """What the sum in a window is divided by. A window in which nothing counts has sum 0 and average 0."""
    if pool.divisor != 0:
        return pool.divisor
    return max(1, counted(pool, 0, rows) * counted(pool, 1, columns))


cdef inline void average_place(const real* x, real* y, const Pool* pool, const Span* rows, const Span* columns,
                               Py_ssize_t width) noexcept nogil:
    """One window of `width` channels. x: the picture, y: the output, both from the same channel."""
    cdef real sum[CHUNK]
    cdef real divisor = <real>share(pool, rows, columns)
    cdef Py_ssize_t across = pool.channels, down = pool.width * across, r, s, c, at
    if pool.kernel[0] == 2 and pool.kernel[1] == 2 and is_whole(pool, rows, columns):
        x += rows.start * down + columns.start * across
        for c in range(width):
            sum[c] = (x[c] + x[across + c]) + (x[down + c] + x[down + across + c])
    else:
        for c in range(width):
            sum[c] = 0
        for r in range(rows.first, rows.end):
            s = columns.first
            while s + 3 <= columns.end:  # three at a time spare loads and stores of the sums
                at = (rows.start + r) * down + (columns.start + s) * across
                for c in range(width):
                    sum[c] += x[at + c] + (x[at + across + c] + x[at + 2 * across + c])
                s += 3
            while s < columns.end:
                at = (rows.start + r) * down + (columns.start + s) * across
                for c in range(width):
                    sum[c] += x[at + c]
                s += 1
    for c in range(width):
        y[c] = sum[c] / divisor


cdef void average_row(const real* x, real* y, const Pool* pool, Py_ssize_t row) noexcept nogil:
    """Row p of picture n of y; row = n * P + p."""
    cdef Py_ssize_t q, c
    cdef Span rows = span(pool, 0, row % pool.rows), columns
    x += row // pool.rows * pool.height * pool.width * pool.channels
    y += row * pool.columns * pool.channels
    for q in range(pool.columns):
        columns = span(pool, 1, q)
        c = 0
        while c < pool.channels:
            average_place(x + c, y + q * pool.channels + c, pool, &rows, &columns, min(CHUNK, pool.channels - c))
            c += CHUNK


cdef void average_rows(const real* x, real* y, const Pool* pool) noexcept nogil:
    cdef Py_ssize_t row
    for row in prange(pool.batch * pool.rows, num_threads=threads(operations(pool)), schedule="guided"):
        average_row(x, y, pool, row)


def avg_pool2d(x, y, kernel, stride, padding, size, count_include_pad, divisor):
    cdef Pool pool = describe(x.shape, y.shape, kernel, stride, padding[::2], (1, 1), padding[1::2], divisor,
                              count_include_pad)
    cdef void* px = data(x)
    cdef void* py = data(y)
    if x.dtype == F32:
        with nogil:
            average_rows(<const float*>px, <float*>py, &pool)
    else:
        with nogil:
            average_rows(<const double*>px, <double*>py, &pool)


cdef inline void average_back(const real* dy, real* dx, const Pool* pool, const Span* rows, const Span* columns,
                              Py_ssize_t width, bint add) noexcept nogil:
    """One window of `width` channels, to the row of dx given."""
    cdef real part[CHUNK]
    cdef real divisor = <real>share(pool, rows, columns)
    cdef Py_ssize_t s, c, at
    for c in range(width):
        part[c] = dy[c] / divisor
    for s in range(columns.first, columns.end):
        at = (columns.start + s) * pool.channels
        if add:
            for c in range(width):
                dx[at + c] += part[c]
        else:
            memcpy(dx + at, part, width * sizeof(real))


cdef void average_grad_row(const real* dy, real* dx, const Pool* pool, Py_ssize_t row) noexcept nogil:
    """Row h of picture n of dx, from every row of windows that reaches it; row = n * H + h."""
    cdef Py_ssize_t n = row // pool.height, h = row % pool.height, p, q, c
    cdef Py_ssize_t last = (h + pool.before[0]) // pool.stride[0], reach = h + pool.before[0] - pool.kernel[0] + 1
    cdef Span rows, columns
    cdef bint add = not (are_apart(pool) and are_everywhere(pool))
    dx += row * pool.width * pool.channels
    if add:
        memset(dx, 0, pool.width * pool.channels * sizeof(real))
    for p in range((reach + pool.stride[0] - 1) // pool.stride[0] if reach > 0 else 0, min(pool.rows, last + 1)):
        rows = span(pool, 0, p)
        for q in range(pool.columns):
            columns = span(pool, 1, q)
            c = 0
            while c < pool.channels:
                average_back(dy + ((n * pool.rows + p) * pool.columns + q) * pool.channels + c, dx + c, pool, &rows,
                             &columns, min(CHUNK, pool.channels - c), add)
                c += CHUNK


cdef void average_grad_rows(const real* dy, real* dx, const Pool* pool) noexcept nogil:
    cdef Py_ssize_t row
    for row in prange(pool.batch * pool.height, num_threads=threads(operations(pool)), schedule="guided"):
        average_grad_row(dy, dx, pool, row)


def avg_pool2d_grad(dy, dx, size, kernel, stride, padding, count_include_pad, divisor):
    cdef Pool pool = describe(dx.shape, dy.shape, kernel, stride, padding[::2], (1, 1), padding[1::2], divisor,
                              count_include_pad)
    cdef void* pg = data(dy)
    cdef void* pd = data(dx)
    if dy.dtype == F32:
        with nogil:
            average_grad_rows(<const float*>pg, <float*>pd, &pool)
    else:
        with nogil:
            average_grad_rows(<const double*>pg, <double*>pd, &pool)
