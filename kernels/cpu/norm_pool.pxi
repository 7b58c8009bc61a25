# Normalisation, activation, max pooling and dropout in one pass, and the way back in two.
#
# The windows lie side by side. A row of them is cut into chunks, whole windows of all channels, or one window of some
# channels where they are many. The places of a chunk are normalised into a buffer in the L1 cache, as runs that lie
# one behind the other in x; what is known of the channels is laid out as in norm_apply.pxi and norm_grad.pxi.

cdef enum:
    PLACES = 2048           # most numbers in the windows of a chunk
    DROPPED = 255           # the position of what dropout took

# Sizes of x (N, H, W, C), of y (N, P, Q, C) and of a window.
cdef struct Windows:
    Py_ssize_t N, H, W, C, P, Q
    Py_ssize_t rows, columns
    Py_ssize_t at_once          # outputs of a chunk, at most

# `count` windows, and of them `width` channels from `channel` on; their first places in x and in y.
cdef struct Chunk:
    Py_ssize_t count, width, channel
    Py_ssize_t x, y
    Py_ssize_t runs, length     # of neighbours in x: together they are all of its places

# What dropout needs to know.
cdef struct Drop:
    uint64_t seed, start
    uint32_t threshold
    bint some, all              # may be dropped, are dropped
    double scale


cdef Windows describe(x_shape, y_shape, kernel) except *:
    cdef Windows w
    w.N, w.H, w.W, w.C = x_shape
    w.P, w.Q = y_shape[1:3]
    w.rows, w.columns = kernel
    w.at_once = min(LANES, PLACES // (w.rows * w.columns))
    return w


cdef Drop describe_drop(double p, seed, offset) except *:
    cdef Drop drop
    cdef uint64_t limit = round(p * 2**32)
    drop.seed, drop.start = seed, offset
    drop.some, drop.all = p > 0, limit == 2**32
    drop.threshold = 0 if drop.all else <uint32_t>limit
    drop.scale = 0 if p == 1 else 1 / (1 - p)
    return drop


cdef inline Py_ssize_t channel_blocks(const Windows* w) noexcept nogil:
    return (w.C + w.at_once - 1) // w.at_once


cdef inline Py_ssize_t chunks_in_row(const Windows* w) noexcept nogil:
    """Of each block of channels."""
    cdef Py_ssize_t count = max(1, w.at_once // max(1, w.C))
    return (w.Q + count - 1) // count


cdef Chunk chunk_at(const Windows* w, Py_ssize_t row, Py_ssize_t block, Py_ssize_t place) noexcept nogil:
    """Chunk `place` of a block of channels in row n * P + p of the windows."""
    cdef Chunk chunk
    cdef Py_ssize_t most = max(1, w.at_once // w.C), q = place * most
    cdef Py_ssize_t line = row // w.P * w.H + row % w.P * w.rows
    chunk.count = min(most, w.Q - q)
    chunk.channel = block * w.at_once
    chunk.width = min(w.at_once, w.C - chunk.channel)
    chunk.x = (line * w.W + q * w.columns) * w.C + chunk.channel
    chunk.y = (row * w.Q + q) * w.C + chunk.channel
    if chunk.width == w.C:
        chunk.runs = w.rows
        chunk.length = chunk.count * w.columns * w.C
    else:
        chunk.runs = w.rows * w.columns
        chunk.length = chunk.width
    return chunk


cdef inline Py_ssize_t run_at(const Windows* w, const Chunk* chunk, Py_ssize_t run) noexcept nogil:
    """Where in x a run of places begins."""
    if chunk.width == w.C:
        return chunk.x + run * w.W * w.C
    return chunk.x + (run // w.columns * w.W + run % w.columns) * w.C


# ------------------------------------------------------------------------------------------------------- forward

cdef void normalise_places(const real* x, real* z, const Windows* w, const Chunk* chunk, const real* known,
                           Py_ssize_t lanes) noexcept nogil:
    """The places of a chunk, as an array (row in the window, window, column in the window, channel)."""
    cdef const real* mean = known + chunk.channel
    cdef Py_ssize_t run, at, done
    for run in range(chunk.runs):
        at = run_at(w, chunk, run)
        done = 0
        while done < chunk.length:
            apply_row(x + at + done, z + run * chunk.length + done, min(lanes, chunk.length - done), mean,
                      mean + lanes, mean + 2 * lanes)
            done += lanes


cdef void largest_places(const real* z, const Windows* w, const Chunk* chunk, real* best,
                         real* where) noexcept nogil:
    """The maximum of each window and channel, and its place."""
    cdef Py_ssize_t width = chunk.width, q
    cdef MaxTaps taps = MaxTaps(0, w.rows, 0, w.columns, w.columns, chunk.count * w.columns * width, width)
    for q in range(chunk.count):
        max_of_window(z + q * w.columns * width, &taps, width, best + q * width, where + q * width)


cdef inline void drop_places(real* best, real* where, Py_ssize_t n, const uint32_t* words, uint32_t threshold,
                             real scale) noexcept nogil:
    cdef Py_ssize_t j
    cdef bint stays
    for j in range(n):
        stays = words[j] >= threshold
        best[j] = best[j] * scale if stays else 0
        where[j] = where[j] if stays else DROPPED


cdef void drop_chunk(real* best, real* where, Py_ssize_t n, const Drop* drop, Py_ssize_t at) noexcept nogil:
    """n elements of y from `at` on."""
    cdef uint32_t words[LANES]
    cdef Py_ssize_t j
    if drop.all:
        for j in range(n):
            best[j] = 0
            where[j] = DROPPED
        return
    make_words(drop.seed, drop.start + at, n, words)
    drop_places(best, where, n, <const uint32_t*>words, drop.threshold, <real>drop.scale)


cdef inline void write_positions(const real* where, Py_ssize_t n, uint8_t* position) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        position[j] = <uint8_t><int32_t>where[j]


cdef void pool_chunk(const real* x, real* y, uint8_t* position, const Windows* w, const Chunk* chunk,
                     const real* known, int activation, const Drop* drop) noexcept nogil:
    cdef real z[PLACES]
    cdef real best[LANES]
    cdef real where[LANES]
    cdef Py_ssize_t n = chunk.count * chunk.width
    normalise_places(x, &z[0], w, chunk, known, rows_in_one(w.C) * w.C)
    activate(activation, &z[0], chunk.runs * chunk.length)
    largest_places(<const real*>z, w, chunk, &best[0], &where[0])
    if drop.some:
        drop_chunk(&best[0], &where[0], n, drop, chunk.y)
    memcpy(y + chunk.y, best, n * sizeof(real))
    write_positions(<const real*>where, n, position + chunk.y)


cdef void pool_row(const real* x, real* y, uint8_t* position, const Windows* w, const real* known, int activation,
                   const Drop* drop, Py_ssize_t row) noexcept nogil:
    cdef Py_ssize_t block, place
    cdef Chunk chunk
    for block in range(channel_blocks(w)):
        for place in range(chunks_in_row(w)):
            chunk = chunk_at(w, row, block, place)
            pool_chunk(x, y, position, w, &chunk, known, activation, drop)


cdef void pool(const real* x, const real* mean, const real* rstd, const real* weight, const real* bias, real* y,
               uint8_t* position, const Windows* w, real* known, int activation, const Drop* drop) noexcept nogil:
    cdef Py_ssize_t row
    write_known(mean, rstd, weight, bias, w.C, known)
    for row in prange(w.N * w.P, num_threads=threads(w.N * w.H * w.W * w.C), schedule="guided"):
        pool_row(x, y, position, w, <const real*>known, activation, drop, row)


def batch_norm_pool(x, mean, rstd, weight, bias, y, position, kernel, activation, p, seed, offset):
    cdef Windows w = describe(x.shape, y.shape, kernel)
    cdef Drop drop = describe_drop(p, seed, offset)
    cdef int number = number_of(activation)
    cdef void* px = data(x)
    cdef void* pm = data(mean)
    cdef void* pr = data(rstd)
    cdef void* pw = data(weight)
    cdef void* pb = data(bias)
    cdef void* py = data(y)
    cdef uint8_t* pp = <uint8_t*>data(position)
    cdef void* known = allocate(3 * rows_in_one(w.C) * w.C, sizeof(double))
    if x.dtype == F32:
        with nogil:
            pool(<const float*>px, <const float*>pm, <const float*>pr, <const float*>pw, <const float*>pb, <float*>py,
                 pp, &w, <float*>known, number, &drop)
    else:
        with nogil:
            pool(<const double*>px, <const double*>pm, <const double*>pr, <const double*>pw, <const double*>pb,
                 <double*>py, pp, &w, <double*>known, number, &drop)
    free(known)


# ------------------------------------------------------------------------------------------------------ backward
# The sums need only the places that g comes from. Nothing reaches the others: their h is 0. An h that is dear to compute
# waits for the second pass in dx, where the first run of its chunk will be.

cdef inline void read_positions(const uint8_t* position, Py_ssize_t n, real* where) noexcept nogil:
    """Positions as numbers as wide as x."""
    cdef Py_ssize_t j
    for j in range(n):
        where[j] = <real><int32_t>position[j]


cdef inline void scale_gradient(const real* g, const real* where, Py_ssize_t n, real scale,
                                real* scaled) noexcept nogil:
    """g * scale, 0 where it was dropped."""
    cdef Py_ssize_t j
    for j in range(n):
        scaled[j] = g[j] * scale if where[j] != DROPPED else 0


cdef inline void pick_of_4(const real* x, Py_ssize_t down, Py_ssize_t across, Py_ssize_t width, const real* where,
                           real* picked) noexcept nogil:
    """Of a 2x2 window. All four are read, whichever is picked: vector code knows no other way."""
    cdef real first, second, third, fourth, place
    cdef Py_ssize_t c
    for c in range(width):
        first, second, third, fourth = x[c], x[across + c], x[down + c], x[down + across + c]
        place = where[c]
        first = first if place == 0 else second
        third = third if place == 2 else fourth
        picked[c] = first if place < 2 else third


cdef void pick_places(const real* x, const Windows* w, const Chunk* chunk, const real* where,
                      real* picked) noexcept nogil:
    """x at the positions; at some place of the window where there is none."""
    cdef Py_ssize_t down = w.W * w.C, q, r, s, c, to
    cdef const real* corner
    cdef real value
    for q in range(chunk.count):
        corner = x + chunk.x + q * w.columns * w.C
        to = q * chunk.width
        if w.rows == 2 and w.columns == 2:
            pick_of_4(corner, down, w.C, chunk.width, where + to, picked + to)
            continue
        for c in range(chunk.width):
            picked[to + c] = corner[c]
        for r in range(w.rows):
            for s in range(w.columns):
                for c in range(chunk.width):
                    value = corner[r * down + s * w.C + c]
                    picked[to + c] = value if where[to + c] == r * w.columns + s else picked[to + c]


cdef void slope_chunk(const real* g, const uint8_t* position, const real* x, const Windows* w, const Chunk* chunk,
                      const real* known, int activation, real scale, bint pick, real* h, real* where,
                      real* picked) noexcept nogil:
    """h of each window's place, and x there, if asked for: without an activation, h does not depend on it."""
    cdef real scaled[LANES]
    cdef Py_ssize_t n = chunk.count * chunk.width, lanes = rows_in_one(w.C) * w.C
    cdef const real* mean = known + chunk.channel
    cdef real* first = h if activation == 0 else &scaled[0]
    read_positions(position + chunk.y, n, where)
    scale_gradient(g + chunk.y, <const real*>where, n, scale, first)
    if pick or activation != 0:
        pick_places(x, w, chunk, <const real*>where, picked)
    if activation != 0:
        slope_row(<const real*>scaled, <const real*>picked, h, n, mean, mean + lanes, mean + 2 * lanes, activation)


cdef void window_products(const real* g, const uint8_t* position, const real* x, real* kept, const Windows* w,
                          const real* known, int activation, real scale, Py_ssize_t begin, Py_ssize_t end,
                          Py_ssize_t block, double* first, double* second) noexcept nogil:
    """The sums of h and of h*(x - mean) over rows begin..end of the windows, for a block of channels."""
    cdef real h[LANES]
    cdef real where[LANES]
    cdef real picked[LANES]
    cdef real sum[LANES]
    cdef real product[LANES]
    cdef double a[LANES]
    cdef double b[LANES]
    cdef Py_ssize_t width = min(w.at_once, w.C - block * w.at_once), together = max(1, w.at_once // w.C)
    cdef Py_ssize_t columns = together * width, added = 0, row, place, j
    cdef Chunk chunk
    for j in range(columns):
        a[j] = b[j] = 0
        sum[j] = product[j] = 0
    for row in range(begin, end):
        for place in range(chunks_in_row(w)):
            chunk = chunk_at(w, row, block, place)
            slope_chunk(g, position, x, w, &chunk, known, activation, scale, True, &h[0], &where[0], &picked[0])
            if kept != NULL:
                memcpy(kept + chunk.x, h, chunk.count * width * sizeof(real))
            add_one(<const real*>h, <const real*>picked, chunk.count * width, known + chunk.channel, &sum[0],
                    &product[0])
            added += 1
            if added % RUN == 0 or (row == end - 1 and place == chunks_in_row(w) - 1):
                for j in range(columns):
                    a[j] += sum[j]
                    b[j] += product[j]
                    sum[j] = product[j] = 0
    fold(a, width, together)
    fold(b, width, together)
    for j in range(width):
        first[j] = a[j]
        second[j] = b[j]


cdef void window_products_task(const real* g, const uint8_t* position, const real* x, real* kept, const Windows* w,
                               const real* known, int activation, real scale, Py_ssize_t parts, double* first,
                               double* second, Py_ssize_t task) noexcept nogil:
    """Task (part, block of channels); first and second are (parts, C)."""
    cdef Py_ssize_t blocks = channel_blocks(w), rows = w.N * w.P, part = task // blocks, block = task % blocks
    cdef Py_ssize_t to = part * w.C + block * w.at_once
    window_products(g, position, x, kept, w, known, activation, scale, rows * part // parts,
                    rows * (part + 1) // parts, block, first + to, second + to)


cdef inline void scatter_of_4(const real* h, const real* where, Py_ssize_t down, Py_ssize_t across, Py_ssize_t width,
                              real* e) noexcept nogil:
    """To the places of a 2x2 window."""
    cdef real value, place
    cdef Py_ssize_t c
    for c in range(width):
        value, place = h[c], where[c]
        e[c] = value if place == 0 else 0
        e[across + c] = value if place == 1 else 0
        e[down + c] = value if place == 2 else 0
        e[down + across + c] = value if place == 3 else 0


cdef void scatter_places(const real* h, const real* where, const Windows* w, const Chunk* chunk,
                         real* e) noexcept nogil:
    """h at its place in each window, 0 at the others; an array as in normalise_places."""
    cdef Py_ssize_t across = chunk.width, down = chunk.count * w.columns * across, q, r, s, c, to
    cdef real* corner
    cdef real value
    for q in range(chunk.count):
        corner = e + q * w.columns * across
        to = q * across
        if w.rows == 2 and w.columns == 2:
            scatter_of_4(h + to, where + to, down, across, across, corner)
            continue
        for r in range(w.rows):
            for s in range(w.columns):
                for c in range(across):
                    value = h[to + c]
                    corner[r * down + s * across + c] = value if where[to + c] == r * w.columns + s else 0


cdef void grad_chunk(const real* g, const uint8_t* position, const real* x, real* dx, const Windows* w,
                     const Chunk* chunk, const real* known, int activation, real scale, bint kept,
                     bint rectified) noexcept nogil:
    cdef real h[LANES]
    cdef real where[LANES]
    cdef real picked[LANES]
    cdef real e[PLACES]
    cdef Py_ssize_t lanes = rows_in_one(w.C) * w.C, n = chunk.count * chunk.width, run, at
    if kept:
        read_positions(position + chunk.y, n, &where[0])
        memcpy(h, dx + chunk.x, n * sizeof(real))
    else:
        slope_chunk(g, position, x, w, chunk, known, activation, scale, False, &h[0], &where[0], &picked[0])
    scatter_places(<const real*>h, <const real*>where, w, chunk, &e[0])
    for run in range(chunk.runs):
        at = run_at(w, chunk, run)
        grad_run(<const real*>e + run * chunk.length, x + at, dx + at, chunk.length, known + chunk.channel, lanes,
                 rectified)


cdef void grad_run(const real* h, const real* x, real* dx, Py_ssize_t n, const real* known, Py_ssize_t lanes,
                   bint rectified) noexcept nogil:
    """n neighbours, the first in the first lane."""
    cdef Py_ssize_t done = 0
    while done < n:
        grad_row(h + done, x + done, dx + done, min(lanes, n - done), known, known + lanes, known + 3 * lanes,
                 known + 4 * lanes)
        done += lanes
    if rectified:
        rectify_row(x, dx, n)


cdef void grad_rest(const real* x, real* dx, Py_ssize_t pixels, const Windows* w, const real* known,
                    bint rectified) noexcept nogil:
    """Neighbours that are in no window."""
    cdef real zeros[LANES]
    cdef Py_ssize_t lanes = rows_in_one(w.C) * w.C, n = pixels * w.C, at = 0, column = 0, width
    memset(zeros, 0, LANES * sizeof(real))
    while at < n:
        width = min(LANES, lanes - column, n - at)
        grad_run(<const real*>zeros, x + at, dx + at, width, known + column, lanes, rectified)
        at += width
        column = (column + width) % lanes


cdef void grad_line(const real* g, const uint8_t* position, const real* x, real* dx, const Windows* w,
                    const real* known, int activation, real scale, bint kept, bint rectified,
                    Py_ssize_t line) noexcept nogil:
    """What a row of windows covers, or the rest below the last of them."""
    cdef Py_ssize_t lines = w.P + (1 if w.P * w.rows < w.H else 0), n = line // lines, p = line % lines
    cdef Py_ssize_t first = n * w.H + p * w.rows, covered = w.Q * w.columns, block, place, r, at
    cdef Chunk chunk
    if p == w.P:
        grad_rest(x + first * w.W * w.C, dx + first * w.W * w.C, (w.H - p * w.rows) * w.W, w, known, rectified)
        return
    for block in range(channel_blocks(w)):
        for place in range(chunks_in_row(w)):
            chunk = chunk_at(w, n * w.P + p, block, place)
            grad_chunk(g, position, x, dx, w, &chunk, known, activation, scale, kept, rectified)
    for r in range(w.rows):
        at = ((first + r) * w.W + covered) * w.C
        grad_rest(x + at, dx + at, w.W - covered, w, known, rectified)


cdef void pool_grad(const real* g, const uint8_t* position, const real* x, const real* mean, const real* rstd,
                    const real* weight, const real* bias, real* dx, real* dweight, real* dbias, const Windows* w,
                    Py_ssize_t parts, double* sums, real* known, int activation, real scale,
                    bint rectified) noexcept nogil:
    """sums: room for two numbers a part and channel."""
    cdef double* seconds = sums + parts * w.C
    cdef int team = threads(w.N * w.H * w.W * w.C)
    cdef Py_ssize_t lines = w.N * (w.P + (1 if w.P * w.rows < w.H else 0)), task
    cdef bint keep = ACTIVATIONS[activation].costly
    cdef real* kept = dx if keep else NULL
    write_known(mean, rstd, weight, bias, w.C, known)
    for task in prange(parts * channel_blocks(w), num_threads=team, schedule="guided"):
        window_products_task(g, position, x, kept, w, <const real*>known, activation, scale, parts, sums, seconds, task)
    finish_sums(rstd, w.N * w.H * w.W, w.C, parts, <const double*>sums, <const double*>seconds, dweight, dbias, known)
    for task in prange(lines, num_threads=team, schedule="guided"):
        grad_line(g, position, x, dx, w, <const real*>known, activation, scale, keep, rectified, task)


def batch_norm_pool_grad(g, position, x, mean, rstd, weight, bias, dx, dweight, dbias, kernel, activation, p,
                         rectified):
    cdef Windows w = describe(x.shape, g.shape, kernel)
    cdef Py_ssize_t parts = max(1, min(PARTS, w.N * w.P, g.size // PART_SIZE)), sums = 2 * parts * w.C
    cdef int number = number_of(activation)
    cdef bint only_positive = rectified
    cdef double scale = 0 if p == 1 else 1 / (1 - p)
    cdef void* pg = data(g)
    cdef const uint8_t* pp = <const uint8_t*>data(position)
    cdef void* px = data(x)
    cdef void* pm = data(mean)
    cdef void* pr = data(rstd)
    cdef void* pw = data(weight)
    cdef void* pb = data(bias)
    cdef void* pd = data(dx)
    cdef void* pdw = data(dweight)
    cdef void* pdb = data(dbias)
    cdef double* work = <double*>allocate(sums + 5 * rows_in_one(w.C) * w.C, sizeof(double))
    cdef void* known = work + sums
    if x.dtype == F32:
        with nogil:
            pool_grad(<const float*>pg, pp, <const float*>px, <const float*>pm, <const float*>pr, <const float*>pw,
                      <const float*>pb, <float*>pd, <float*>pdw, <float*>pdb, &w, parts, work, <float*>known, number,
                      <float>scale, only_positive)
    else:
        with nogil:
            pool_grad(<const double*>pg, pp, <const double*>px, <const double*>pm, <const double*>pr,
                      <const double*>pw, <const double*>pb, <double*>pd, <double*>pdw, <double*>pdb, &w, parts, work,
                      <double*>known, number, scale, only_positive)
    free(work)
