# Winograd's convolution: 3x3 and 5x5 filters with stride 1. float only: it loses digits that float64 is there to check.
#
# The output is cut into squares of 4x4 pixels. Each is made from 6x6 inputs, or 8x8 for 5x5 filters, which are
# transformed into 36 or 64 numbers a channel, its points (winograd.h); so are the filters. What was a sum over taps and
# channels becomes a sum over channels for each point: a matrix product on the register tile, squares by filters. The
# products are transformed back into pixels.
#
# A picture of a few squares uses each filter but a few times: the time is that of reading the filters. Where they are
# many, it is cut into squares of 2x2 pixels, whose filters are 16 numbers.
#
# The gradient by the picture is the same with the filters turned around. Where that is much the larger picture, as it
# is if there was no padding around a small one, the output's gradient is what is cut into squares: 3x3 outputs of 5x5
# inputs are one square, the inputs would be four. Each square, transformed, multiplied and transformed back, is what
# its outputs add to the gradient of the 6x6 or 8x8 inputs that they were made from; those overlap, and are added up.
#
# The gradient by the filters is in conv_winograd_weight_grad.pxi.
#
# NaN and infinity spread: they may reach all outputs of the squares whose inputs they are among, and reach no other.

cdef extern from "winograd.h" nogil:
    void winograd_input(int points, Py_ssize_t channels, const float* x, Py_ssize_t row, Py_ssize_t pixel, float* to,
                        Py_ssize_t point)
    void winograd_output_grad(int points, Py_ssize_t channels, const float* dy, Py_ssize_t row, Py_ssize_t pixel,
                              float* to, Py_ssize_t point)
    void winograd_filters(int points, Py_ssize_t filters, const float* w, Py_ssize_t tap, float* to, Py_ssize_t point)
    void winograd_filter_grad(int points, Py_ssize_t filters, const float* source, Py_ssize_t point, float* dw,
                              Py_ssize_t tap)
    void winograd_output(int points, Py_ssize_t channels, const float* source, Py_ssize_t point, const float* bias,
                         const Finish* finish, float* y, Py_ssize_t height, Py_ssize_t width, Py_ssize_t row,
                         Py_ssize_t pixel)
    ctypedef struct Overlap:
        Py_ssize_t top, bottom, left, right, above, before
    void winograd_input_grad(int points, Py_ssize_t channels, const float* source, Py_ssize_t point,
                             const Overlap* overlap, float* dx, Py_ssize_t row, Py_ssize_t pixel)
    void winograd_product(Py_ssize_t count, Py_ssize_t channels, const float* squares, Py_ssize_t square,
                          const float* filters, float* m, Py_ssize_t m_square)

cdef enum:
    FEW_SQUARES = 4             # that many filters are not worth 36 numbers each
    MOST_OVERLAPPING = 128      # of a picture: one thread adds them up
    SQUARE_NUMBERS = 98304      # transformed squares that a thread works on: they fit the second-level cache
    BLOCK_SQUARES = 12          # of them, at least
    BLOCKS = 14                 # at least, for threads to take
    FILTER_NUMBERS = 1048576    # transformed filters, if they are not more, are made beforehand and kept
    POINT_NUMBERS = 65536       # of the squares of a point: they fit the second-level cache
    SHARED_NUMBERS = 4194304    # of the squares and products that all threads work on: a part of the third-level cache
    SHARED_SQUARES = 128        # that all threads work on if they take panels of filters
    GROUP = 2                   # of shared squares that a thread transforms at a time
    SUM_SQUARES = 96            # that are worth multiplying at a time
    TAP_CHANNELS = 32           # channels of filters that are packed at a time

cdef struct Squares:
    Py_ssize_t points           # along an axis: 4, 6 or 8
    Py_ssize_t products         # of points, along both axes
    Py_ssize_t side             # outputs along a side: 4 or 2
    Py_ssize_t rows, columns    # squares of a picture
    Py_ssize_t count            # of all pictures

cdef struct Source:             # what squares are read from: `reach` pixels a side, the first one at (-top, -left)
    const float* x
    Picture picture
    Py_ssize_t top, left, reach
    bint gradient               # by the output

cdef struct Spread:             # steps between points, panels of channels and squares in memory
    Py_ssize_t point, panel, square


cdef Squares squares_of(const Conv* c, Py_ssize_t points, Py_ssize_t height, Py_ssize_t width) noexcept nogil:
    """Squares of pictures of this size."""
    cdef Py_ssize_t side = points + 1 - c.R, rows = ceil_div(height, side), columns = ceil_div(width, side)
    return Squares(points, points * points, side, rows, columns, c.N * rows * columns)


cdef Squares large_squares(const Conv* c) noexcept nogil:
    """Squares of the picture that is written."""
    return squares_of(c, 6 if c.R == 3 else 8, c.P, c.Q)


cdef Squares best_squares(const Conv* c) noexcept nogil:
    """Squares to correlate."""
    cdef Squares squares = large_squares(c)
    if c.overlap:
        return squares_of(c, squares.points, c.H, c.W)
    if c.R == 3 and squares.count <= FEW_SQUARES and squares.products * c.C * c.K > FILTER_NUMBERS:
        return squares_of(c, 4, c.P, c.Q)
    return squares


cdef bint better_overlapping(const Conv* c) noexcept nogil:
    """Whether the gradient by the picture is rather added up from squares of the output's, the picture that is read:
    where they are fewer by a sixth, as each has more to write."""
    cdef Squares written = best_squares(c), read = squares_of(c, written.points, c.H, c.W)
    return (written.side == 4 and 0 < 6 * read.count <= 5 * written.count
            and read.rows * read.columns <= MOST_OVERLAPPING)


cdef Py_ssize_t whole_vectors(Py_ssize_t channels) noexcept nogil:
    return ceil_div(channels * sizeof(float), TILE_BYTES) * TILE_BYTES // sizeof(float)


cdef Py_ssize_t odd_lines(Py_ssize_t numbers) noexcept nogil:
    """So many numbers or some more: an odd number of cache lines. At steps of a power of two the numbers that a
    transform writes would compete for the same places of the cache."""
    return (ceil_div(numbers * sizeof(float), LINE) | 1) * LINE // sizeof(float)


cdef void transform_squares(const Squares* squares, const Source* source, Py_ssize_t first, Py_ssize_t count, float* to,
                            const Spread* spread, float* buffer) noexcept nogil:
    """Transform squares first, first + 1, ... of a picture or of the output's gradient."""
    cdef Py_ssize_t width = tile_width(sizeof(float)), depth = whole_vectors(source.picture.C), reach = source.reach
    cdef Py_ssize_t index, panel, channels
    cdef bint in_place
    cdef Window window
    cdef Steps steps
    cdef const float* pixels
    for index in range(first, first + count):
        window = Window(index // (squares.rows * squares.columns), 1,
                        index // squares.columns % squares.rows * squares.side - source.top, reach,
                        index % squares.columns * squares.side - source.left, reach)
        in_place = (depth == source.picture.C and window.h >= 0 and window.h + reach <= source.picture.H
                    and window.w >= 0 and window.w + reach <= source.picture.W)
        pixels = read_window(source.x, &source.picture, &window, in_place, 0, depth, buffer, &steps)
        for panel in range(ceil_div(depth, width)):
            channels = min(width, depth - panel * width)
            if not source.gradient:
                winograd_input(squares.points, channels, pixels + panel * width, steps.row, steps.pixel,
                               to + panel * spread.panel, spread.point)
            else:
                winograd_output_grad(squares.points, channels, pixels + panel * width, steps.row, steps.pixel,
                                     to + panel * spread.panel, spread.point)
        to += spread.square


cdef void transform_shared(const Squares* squares, const Source* source, Py_ssize_t first, Py_ssize_t count, float* to,
                           const Spread* spread, char* start, Py_ssize_t bytes, int team) noexcept nogil:
    """The same, shared out among the threads."""
    cdef Py_ssize_t group
    for group in prange(ceil_div(count, GROUP), num_threads=team, schedule="dynamic"):
        transform_squares(squares, source, first + group * GROUP, min(GROUP, count - group * GROUP),
                          to + group * GROUP * spread.square, spread, <float*>(start + threadid() * bytes))


# ------------------------------------------------------------------- the convolution, and the gradient by the picture

cdef struct Correlation:
    const Conv* c
    const Phase* phase
    const Layout* layout
    const float* w
    const float* bias
    const Finish* finish
    float* y
    Squares squares
    Py_ssize_t unit                     # squares that one thread must write: 1, or all of a picture if they overlap
    Source source
    Spread spread                       # of the transformed squares of a block
    Py_ssize_t block, chunk             # squares that are transformed, and those that are multiplied, at a time
    Py_ssize_t panels                   # of filters
    Spread filter                       # steps between the points and panels of the transformed filters
    Spread m                            # and of the products
    const float* filters                # all transformed filters; NULL: a panel is transformed when it is needed
    # where in a thread's workspace, behind a window, they begin; its end
    Py_ssize_t taps, transformed, multiplied, bytes


cdef void transform_filters(const Correlation* job, Py_ssize_t panel, float* to, float* taps) noexcept nogil:
    """Transform a panel of filters: [points][C][width]."""
    cdef const Conv* c = job.c
    cdef const Phase* phase = job.phase
    cdef Py_ssize_t width = tile_width(sizeof(float)), first, channels, i, r, s
    cdef const float* w = job.w + phase.w + panel * width * job.layout.filter
    for i in range(ceil_div(c.C, TAP_CHANNELS)):
        first = i * TAP_CHANNELS
        channels = min(TAP_CHANNELS, c.C - first)
        for r in range(c.R):
            for s in range(c.S):
                pack_panel(job.layout, w + r * phase.w_row + s * phase.w_column + first * job.layout.channel,
                           min(width, c.K - panel * width), channels, taps + (r * c.S + s) * channels * width)
        winograd_filters(job.squares.points, channels * width, taps, channels * width, to + first * width,
                         job.filter.point)


cdef void write_square(const Correlation* job, Py_ssize_t n, Py_ssize_t i, Py_ssize_t j, Py_ssize_t filter,
                       Py_ssize_t filters, const float* m) noexcept nogil:
    """Transform the products of a square, the i-th down and the j-th across, into pixels of the output."""
    cdef const Conv* c = job.c
    cdef Py_ssize_t side = job.squares.side, p = i * side, q = j * side
    cdef Py_ssize_t place = ((n * c.P + p) * c.Q + q) * c.K + filter
    cdef Finish finish
    if job.finish:
        finish = finish_at(job.finish, place * sizeof(float))
    winograd_output(job.squares.points, filters, m, job.m.point, job.bias + filter if job.bias else NULL,
                    &finish if job.finish else NULL, job.y + place, min(side, c.P - p), min(side, c.Q - q), c.Q * c.K,
                    c.K)


cdef void add_square(const Correlation* job, Py_ssize_t n, Py_ssize_t i, Py_ssize_t j, Py_ssize_t filter,
                     Py_ssize_t filters, const float* m) noexcept nogil:
    """The same for a square of the output's gradient: add what it contributes to the picture's. The squares of the
    picture come row by row."""
    cdef const Conv* c = job.c
    cdef Py_ssize_t points = job.squares.points, side = job.squares.side
    cdef Py_ssize_t p = i * side + job.phase.top + 1 - c.R, q = j * side + job.phase.left + 1 - c.S
    cdef Overlap overlap = Overlap(max(0, -p), min(points, c.P - p), max(0, -q), min(points, c.Q - q),
                                   c.R - 1 if i > 0 else 0, c.S - 1 if j > 0 else 0)
    winograd_input_grad(points, filters, m, job.m.point, &overlap, job.y + ((n * c.P + p) * c.Q + q) * c.K + filter,
                        c.Q * c.K, c.K)


cdef void write_outputs(const Correlation* job, Py_ssize_t first, Py_ssize_t count, Py_ssize_t panel,
                        Py_ssize_t panels, const float* m) noexcept nogil:
    """Transform the products of some squares and panels of filters into pixels of the output."""
    cdef Py_ssize_t width = tile_width(sizeof(float)), filter = panel * width, index, n, i, j
    cdef Py_ssize_t filters = min(panels * width, job.c.K - filter)
    for index in range(first, first + count):
        n = index // (job.squares.rows * job.squares.columns)
        i = index // job.squares.columns % job.squares.rows
        j = index % job.squares.columns
        if job.c.overlap:
            add_square(job, n, i, j, filter, filters, m)
        else:
            write_square(job, n, i, j, filter, filters, m)
        m += job.m.square


cdef void correlate_panel(const Correlation* job, const float* squares, Py_ssize_t first, Py_ssize_t count,
                          Py_ssize_t panel, char* own) noexcept nogil:
    """The outputs of some squares, transformed already, for a panel of filters."""
    cdef const float* filters = job.filters + panel * job.filter.panel
    cdef float* m = <float*>(own + job.multiplied)
    cdef Py_ssize_t point
    if job.filters == NULL:
        filters = <const float*>(own + job.transformed)
        transform_filters(job, panel, <float*>filters, <float*>(own + job.taps))
    for point in range(job.squares.products):
        winograd_product(count, job.c.C, squares + point * job.spread.point, job.spread.square,
                         filters + point * job.filter.point, m + point * job.m.point, job.m.square)
    write_outputs(job, first, count, panel, 1, m)


cdef void correlate_block(const Correlation* job, Py_ssize_t first, float* transformed, char* own) noexcept nogil:
    """All outputs of a block of squares."""
    cdef Py_ssize_t count = min(job.block, job.squares.count - first), panel
    transform_squares(&job.squares, &job.source, first, count, transformed, &job.spread, <float*>own)
    for panel in range(job.panels):
        correlate_panel(job, transformed, first, count, panel, own)


cdef void transform_all_filters(const Correlation* job, float* filters, char* start, int team) noexcept nogil:
    cdef Py_ssize_t panel
    for panel in prange(job.panels, num_threads=team, schedule="dynamic"):
        transform_filters(job, panel, filters + panel * job.filter.panel,
                          <float*>(start + threadid() * job.bytes + job.taps))


cdef void share_out_squares(const Correlation* job, char* start, int team) noexcept nogil:
    """Each thread takes blocks of squares."""
    cdef Py_ssize_t task
    cdef char* own
    for task in prange(ceil_div(job.squares.count, job.block), num_threads=team, schedule="dynamic"):
        own = start + threadid() * job.bytes
        correlate_block(job, task * job.block, <float*>(own + job.transformed), own)


cdef void share_out_filters(const Correlation* job, float* transformed, char* start, int team) noexcept nogil:
    """All threads on one block, then on the next: first they transform its squares, then each takes panels."""
    cdef Py_ssize_t chunks = ceil_div(job.block, job.chunk), first = 0, count, task, chunk
    cdef char* own
    while first < job.squares.count:
        count = min(job.block, job.squares.count - first)
        transform_shared(&job.squares, &job.source, first, count, transformed, &job.spread, start, job.bytes, team)
        for task in prange(job.panels * chunks, num_threads=team, schedule="dynamic"):
            chunk = task % chunks * job.chunk
            own = start + threadid() * job.bytes
            if chunk < count:
                correlate_panel(job, transformed + chunk * job.spread.square, first + chunk,
                                min(job.chunk, count - chunk), task // chunks, own)
        first += job.block


cdef void share_out_points(const Correlation* job, float* transformed, float* m, char* start, int team) noexcept nogil:
    """All threads on one block, then on the next: they transform its squares, then each takes points, then outputs.

    Filters are read once a block. The squares of a point stay in the second-level cache for all of its filters.
    """
    cdef Py_ssize_t first = 0, size = max(GROUP, job.unit), count, group, panel, point
    while first < job.squares.count:
        count = min(job.block, job.squares.count - first)
        transform_shared(&job.squares, &job.source, first, count, transformed, &job.spread, start, job.bytes, team)
        for point in prange(job.squares.products, num_threads=team, schedule="dynamic"):
            for panel in range(job.panels):
                winograd_product(count, job.c.C, transformed + point * job.spread.point, job.spread.square,
                                 job.filters + point * job.filter.point + panel * job.filter.panel,
                                 m + point * job.m.point + panel * job.m.panel, job.m.square)
        for group in prange(ceil_div(count, size), num_threads=team, schedule="dynamic"):
            write_outputs(job, first + group * size, min(size, count - group * size), 0, job.panels,
                          m + group * size * job.m.square)
        first += job.block


cdef int winograd_correlate(const Conv* c, const Phase* phase, const Layout* layout, const float* x, const float* w,
                            const float* bias, const Finish* finish, float* y, kept, key) except -1:
    cdef Py_ssize_t width = tile_width(sizeof(float)), depth = whole_vectors(c.C)
    cdef Py_ssize_t most
    cdef int team = threads_for_products(c.N * c.P * c.Q * c.K * c.R * c.S * c.C)
    cdef Correlation job
    cdef bint few_filters, keep_filters, by_squares, by_points
    if c.N * c.P * c.Q * c.K == 0:
        return 0
    job.c, job.phase, job.layout, job.w, job.bias, job.y = c, phase, layout, w, bias, y
    job.finish, job.filters = finish, NULL
    job.squares = best_squares(c)
    job.unit, job.source = 1, Source(x, picture_of(c), phase.top, phase.left, job.squares.points, False)
    if c.overlap:
        job.unit = job.squares.rows * job.squares.columns
        job.source = Source(x, picture_of(c), 0, 0, job.squares.side, True)
    job.panels = ceil_div(c.K, width)
    # Many squares and few filters: threads take blocks of squares. Otherwise they share the squares, and take points,
    # or if the filters are too many to be transformed beforehand, panels of them.
    few_filters = job.panels * job.squares.products * c.C * width <= FILTER_NUMBERS
    keep_filters = few_filters or kept is not None
    most = min(SQUARE_NUMBERS // (job.squares.products * max(1, depth)), job.squares.count // BLOCKS)
    by_squares = few_filters and most >= BLOCK_SQUARES
    by_points = keep_filters and not by_squares
    if by_points:
        most = min(POINT_NUMBERS // max(1, depth),
                   SHARED_NUMBERS // (job.squares.products * (depth + job.panels * width)))
    elif not by_squares:
        most = SHARED_SQUARES
    job.block = even(job.squares.count // job.unit, max(TILE_ROWS, most) // job.unit) * job.unit
    job.chunk = job.block
    if not keep_filters:
        job.chunk = ceil_div(job.block, min(ceil_div(TASKS, job.panels), ceil_div(job.block, SUM_SQUARES)))
        job.chunk = ceil_div(job.chunk, job.unit) * job.unit
    job.spread = Spread(odd_lines(job.block * depth), width, depth)
    if keep_filters:    # [points][panels][C][width]
        job.filter = Spread(odd_lines(job.panels * c.C * width), c.C * width, 0)
    else:               # a panel: [points][C][width]
        job.filter = Spread(odd_lines(c.C * width), 0, 0)
    if by_points:       # [points][squares][K]
        job.m = Spread(odd_lines(job.block * job.panels * width), width, job.panels * width)
    else:               # of a panel: [points][squares][width]
        job.m = Spread(odd_lines(job.chunk * width), 0, width)
    # the workspace: squares that are shared, and their products if they are; for each thread a window of the picture,
    # taps, transformed squares or a panel of filters of its own, products; and transformed filters, unless the caller
    # keeps them
    cdef Py_ssize_t squares_bytes = job.squares.products * job.spread.point * sizeof(float)
    cdef Py_ssize_t m_bytes = job.squares.products * job.m.point * sizeof(float)
    cdef Py_ssize_t filters_bytes = job.squares.products * job.filter.point * sizeof(float)
    cdef Py_ssize_t shared_bytes = 0 if by_squares else squares_bytes + (m_bytes if by_points else 0)
    job.taps = whole_lines(job.squares.products * depth * sizeof(float))
    job.transformed = job.taps + whole_lines(c.R * c.S * min(c.C, TAP_CHANNELS) * width * sizeof(float))
    job.multiplied = job.transformed + (squares_bytes if by_squares else 0 if keep_filters else filters_bytes)
    job.bytes = job.multiplied + (0 if by_points else m_bytes)
    if not keep_filters:
        filters_bytes = 0
    if kept is not None:
        key = *key, job.squares.points
    prepared = prepared_filters(kept, key)
    cdef bint ready = prepared is not None
    if not ready:
        prepared = room_to_prepare(kept, filters_bytes)
    cdef Workspace workspace = take_workspace(shared_bytes + team * job.bytes + (filters_bytes if kept is None else 0))
    cdef char* shared = first_line(workspace.block)
    cdef char* own = shared + shared_bytes
    cdef char* filters = own + team * job.bytes if kept is None else first_line(data(prepared))
    with nogil:
        if keep_filters:
            job.filters = <float*>filters
            if not ready:
                transform_all_filters(&job, <float*>filters, own, team)
        if by_squares:
            share_out_squares(&job, own, team)
        elif by_points:
            share_out_points(&job, <float*>shared, <float*>(shared + squares_bytes), own, team)
        else:
            share_out_filters(&job, <float*>shared, own, team)
    give_back(workspace)
    if kept is not None:
        kept[key] = prepared
    return 0
