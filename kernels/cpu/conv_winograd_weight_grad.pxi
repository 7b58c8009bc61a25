# Winograd's algorithm for the gradient by the filters: a product for each point, channels by filters, with sums over
# the squares (conv_winograd.pxi).

cdef enum:
    SUM_NUMBERS = 65536         # of squares and of the output's gradient that a thread sums up, for the second-level
    SHARED_SUMS = 1048576       # and that all threads sum up, for the third-level cache
    SUM_CHANNELS = 48           # channels of a unit of sums
    UNITS = 4                   # that are worth sharing out

cdef struct FilterGrad:
    const Conv* c
    Squares squares
    Source x, dy
    Spread x_spread, dy_spread          # panels of squares: [points][panels][squares][width]
    Py_ssize_t block                    # squares at a time
    Py_ssize_t panels, groups           # of filters; of up to SUM_CHANNELS channels
    Py_ssize_t point                    # steps between the points of a unit of sums: a panel's for a group
    Py_ssize_t taps, sums, dy_squares, x_squares, table, bytes      # as in Correlation


cdef void add_products(const FilterGrad* job, const float* x, const float* dy, Py_ssize_t count, Py_ssize_t unit,
                       bint add, float* sums, Py_ssize_t* table) noexcept nogil:
    """sums (+)= the products of some squares, of a group of channels and a panel of filters."""
    cdef Py_ssize_t width = tile_width(sizeof(float)), start = 0, channel = unit // job.panels * SUM_CHANNELS
    cdef Py_ssize_t channels = min(SUM_CHANNELS, job.c.C - channel), point, t, i
    cdef Py_ssize_t* places = table + whole_tiles(channels)
    cdef Walk walk = Walk(1, count, width, width, &start)
    cdef Store store = Store(0, width, add, NULL)
    dy += unit % job.panels * job.dy_spread.panel
    for i in range(whole_tiles(channels)):
        places[i] = min(i, channels - 1)
        table[i] = (channel + places[i]) // width * job.x_spread.panel + (channel + places[i]) % width
        places[i] *= width
    for point in range(job.squares.products):
        for t in range(ceil_div(channels, TILE_ROWS)):
            i = t * TILE_ROWS
            store.height = min(TILE_ROWS, channels - i)
            tile_float(&walk, &store, x + point * job.x_spread.point, table + i, dy + point * job.dy_spread.point, NULL,
                       sums + point * job.point, places + i)


cdef void write_taps(const FilterGrad* job, const float* sums, Py_ssize_t unit, bint add, float* dw,
                     float* taps) noexcept nogil:
    """dw (+)= the taps that a unit of sums stands for."""
    cdef const Conv* c = job.c
    cdef Py_ssize_t width = tile_width(sizeof(float)), first = unit // job.panels * SUM_CHANNELS
    cdef Py_ssize_t filter = unit % job.panels * width, filters = min(width, c.K - filter), channel, tap, k
    cdef float* to
    for channel in range(first, min(first + SUM_CHANNELS, c.C)):
        winograd_filter_grad(job.squares.points, width, sums + (channel - first) * width, job.point, taps, width)
        for tap in range(c.R * c.S):
            to = dw + (tap * c.C + channel) * c.K + filter
            for k in range(filters):
                to[k] = (to[k] if add else 0) + taps[tap * width + k]


cdef void weight_grad_part(const FilterGrad* job, Py_ssize_t part, Py_ssize_t parts, float* dw,
                           char* own) noexcept nogil:
    """One of `parts` partial sums: over some of the blocks."""
    cdef Py_ssize_t blocks = ceil_div(job.squares.count, job.block), size = job.squares.products * job.point
    cdef Py_ssize_t begin = blocks * part // parts, index, first, count, unit
    cdef float* sums = <float*>(own + job.sums)
    cdef float* x = <float*>(own + job.x_squares)
    cdef float* dy = <float*>(own + job.dy_squares)
    for index in range(begin, blocks * (part + 1) // parts):
        first = index * job.block
        count = min(job.block, job.squares.count - first)
        transform_squares(&job.squares, &job.x, first, count, x, &job.x_spread, <float*>own)
        transform_squares(&job.squares, &job.dy, first, count, dy, &job.dy_spread, <float*>own)
        for unit in range(job.groups * job.panels):
            add_products(job, x, dy, count, unit, index > begin, sums + unit * size, <Py_ssize_t*>(own + job.table))
    for unit in range(job.groups * job.panels):
        write_taps(job, sums + unit * size, unit, False, dw, <float*>(own + job.taps))


cdef void share_out_units(const FilterGrad* job, float* x, float* dy, float* dw, char* start, int team) noexcept nogil:
    """All threads on one block, then on the next: first they transform its squares, then each takes units."""
    cdef Py_ssize_t first = 0, count, unit
    cdef char* own
    while first < job.squares.count:
        count = min(job.block, job.squares.count - first)
        transform_shared(&job.squares, &job.x, first, count, x, &job.x_spread, start, job.bytes, team)
        transform_shared(&job.squares, &job.dy, first, count, dy, &job.dy_spread, start, job.bytes, team)
        for unit in prange(job.groups * job.panels, num_threads=team, schedule="dynamic"):
            own = start + threadid() * job.bytes
            add_products(job, x, dy, count, unit, False, <float*>(own + job.sums), <Py_ssize_t*>(own + job.table))
            write_taps(job, <const float*>(own + job.sums), unit, first > 0, dw, <float*>(own + job.taps))
        first += job.block


cdef int winograd_weight_grad(const Conv* c, const float* x, const float* dy, float* dw) except -1:
    cdef Py_ssize_t width = tile_width(sizeof(float)), size = c.R * c.S * c.C * c.K
    cdef Py_ssize_t x_panels = ceil_div(c.C, width), products, square, most, parts, part
    cdef int team = threads_for_products(c.N * c.P * c.Q * size)
    cdef FilterGrad job
    cdef bint by_squares
    if c.N * c.P * c.Q * size == 0:
        memset(dw, 0, size * sizeof(float))
        return 0
    job.c = c
    job.squares = large_squares(c)
    products = job.squares.products
    job.x = Source(x, picture_of(c), c.top, c.left, job.squares.points, False)
    job.dy = Source(dy, whole_picture(c.P, c.Q, c.K), 0, 0, job.squares.side, True)
    job.panels = ceil_div(c.K, width)
    job.groups = ceil_div(c.C, SUM_CHANNELS)
    job.point = odd_lines(min(c.C, SUM_CHANNELS) * width)
    # Few sums: each thread has its own and takes blocks of squares. Otherwise they take sums, and share the squares.
    by_squares = job.groups * job.panels < UNITS
    square = products * (x_panels + job.panels) * width
    most = max(BLOCK_SQUARES, SUM_NUMBERS // square) if by_squares else max(SUM_SQUARES, SHARED_SUMS // square)
    job.block = whole_tiles(even(job.squares.count, most))
    parts = min(PARTS, ceil_div(job.squares.count, job.block)) if by_squares else 1
    job.x_spread = Spread(odd_lines(x_panels * job.block * width), job.block * width, width)
    job.dy_spread = Spread(odd_lines(job.panels * job.block * width), job.block * width, width)
    # the workspace: partial sums or squares that are shared; and for each thread a window of the picture, taps, units
    # of sums, squares of its own, a table of places
    cdef Py_ssize_t x_bytes = products * job.x_spread.point * sizeof(float)
    cdef Py_ssize_t dy_bytes = products * job.dy_spread.point * sizeof(float)
    cdef Py_ssize_t partial = whole_lines(parts * size * sizeof(float)) if parts > 1 else 0
    cdef Py_ssize_t shared = partial if by_squares else x_bytes + dy_bytes
    job.taps = whole_lines(products * max(whole_vectors(c.C), whole_vectors(c.K)) * sizeof(float))
    job.sums = job.taps + whole_lines(c.R * c.S * width * sizeof(float))
    job.x_squares = job.sums + products * job.point * sizeof(float) * (job.groups * job.panels if by_squares else 1)
    job.dy_squares = job.x_squares + (x_bytes if by_squares else 0)
    job.table = job.dy_squares + (dy_bytes if by_squares else 0)
    job.bytes = job.table + whole_lines(2 * whole_tiles(min(c.C, SUM_CHANNELS)) * sizeof(Py_ssize_t))
    cdef Workspace workspace = take_workspace(shared + team * job.bytes)
    cdef char* start = first_line(workspace.block)
    cdef float* total
    with nogil:
        if by_squares:
            for part in prange(parts, num_threads=team, schedule="dynamic"):
                total = <float*>start + part * size if parts > 1 else dw
                weight_grad_part(&job, part, parts, total, start + shared + threadid() * job.bytes)
            if parts > 1:
                add_parts(<const float*>start, parts, size, dw)
        else:
            share_out_units(&job, <float*>start, <float*>(start + x_bytes), dw, start + shared, team)
    give_back(workspace)
    return 0
