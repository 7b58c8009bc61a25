# The gradient by the filters: every tap times every filter, summed over the pixels.
#
# Both sides are copied so that what a tile reads lies side by side: dy in panels, [panels][pixels][width], and x in
# planes of as many channels as the tile has rows, [planes][pixels][TILE_ROWS].

cdef enum:
    GRAD_PIXELS = 256           # pixels of a band: a panel of dy and the rows of a tile share the first-level cache
    GRAD_CHANNELS = 48          # channels of x that are read together
    GRAD_BYTES = 262144         # those of a band
    GRAD_NUMBERS = 4194304      # of all partial sums together
    TASK_PANELS = 16            # of filters, and
    TASK_BLOCKS = 3             # of GRAD_CHANNELS that a task takes, or the copies would not pay
    TURNED_PIXELS = 64          # fewer are not worth turning the result

cdef struct Pixels:             # where to read channels of x: steps, and from one plane of channels to the next
    Steps steps
    Py_ssize_t plane, depth     # channels of a plane


cdef const real* read_planes(const Conv* c, const real* x, const Picture* picture, const Window* window, bint in_place,
                             Py_ssize_t channel, Py_ssize_t channels, real* buffer, Pixels* pixels) noexcept nogil:
    """Where channels of a window can be read: in x itself, if that is allowed, or copied into planes."""
    cdef Py_ssize_t depth = channels if in_place or c.depthwise else min(channels, TILE_ROWS)
    pixels.depth = max(1, depth)
    pixels.plane = window.images * window.height * window.width * depth
    if in_place or c.depthwise:
        return read_window(x, picture, window, in_place, channel, depth, buffer, &pixels.steps)
    pixels.steps = Steps(window.height * window.width * depth, window.width * depth, depth)
    copy_window(x, picture, window, channel, channels, depth, pixels.plane, buffer)
    return buffer


cdef void add_taps(const Conv* c, const Share* share, const Walk* walk, bint add, const real* x, const Pixels* pixels,
                   Py_ssize_t channel, Py_ssize_t channels, const real* dy, Py_ssize_t next_panel, real* dw,
                   Py_ssize_t* taps) noexcept nogil:
    """dw (+)= the products of some channels in a band with its dy, panel by panel; `taps` has room for two lists."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), count = c.R * c.S * channels, panel, filter, r, s, i, t = 0
    cdef Py_ssize_t* places = taps + whole_tiles(count)
    cdef Store store = Store(0, 0, add, NULL)
    for r in range(c.R):
        for s in range(c.S):
            for i in range(channels):
                taps[t + i] = (r * c.dilation_h * pixels.steps.row + s * c.dilation_w * pixels.steps.pixel
                               + i // pixels.depth * pixels.plane + i % pixels.depth)
                places[t + i] = ((r * c.S + s) * c.terms + channel + i) * c.K
            t += channels
    for t in range(count, whole_tiles(count)):
        taps[t] = taps[0]
    for panel in range(share.first, share.last):
        filter = share.group * c.F + panel * width
        store.width = min(width, c.F - panel * width)
        for i in range(ceil_div(count, TILE_ROWS)):
            t = i * TILE_ROWS
            store.height = min(TILE_ROWS, count - t)
            tile(c.depthwise, walk, &store, x, taps + t, dy, <const real*>NULL, dw + filter, places + t)
        dy += next_panel
        if c.depthwise:
            x += width


cdef const real* read_dy(const Conv* c, const Share* share, const Window* window, const real* dy, real* buffer,
                         Walk* walk, Py_ssize_t* next_panel) noexcept nogil:
    """Where the tile reads dy: in place, or copied so that each panel is one piece, or (depthwise) all of them are."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), filter = share.first * width
    cdef Py_ssize_t size = window.images * window.height * window.width * width
    cdef bint one_piece = window.width == c.Q or window.images * window.height == 1
    cdef Picture picture = whole_picture(c.P, c.Q, c.K)
    cdef Steps steps
    if c.depthwise or (c.groups == 1 and c.K == width):
        dy = read_window(dy, &picture, window, one_piece and c.K % width == 0, share.first * width,
                         (share.last - share.first) * width, buffer, &steps)
        next_panel[0], walk.b_step = width, steps.pixel
        return dy
    copy_window(dy, &picture, window, share.group * c.F + filter, min(share.last * width, c.F) - filter, width, size,
                buffer)
    next_panel[0], walk.b_step = size, width
    return buffer


cdef void weight_grad_task(const Conv* c, const Cut* cut, const real* x, const real* dy, real* partial,
                           Py_ssize_t parts, Py_ssize_t task, real* x_buffer, real* dy_buffer,
                           Py_ssize_t* starts) noexcept nogil:
    """One of `parts` partial sums: some channels and some filters of one group, over some of the bands."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), index, block, offset, channel, depth, n, i, next_panel
    cdef Py_ssize_t* taps = starts + cut.images * cut.rows
    cdef Py_ssize_t blocks = task % c.pieces        # which of the pieces that the blocks of channels are shared out in
    cdef Share share = share_of(c, task // c.pieces)
    cdef Picture picture = picture_of(c)
    cdef Py_ssize_t begin = cut.bands * share.index // parts, end = cut.bands * (share.index + 1) // parts
    cdef bint in_place = inside(cut, c.H, c.W) and (
        c.C % width == 0 if c.depthwise else c.groups == 1 and c.D <= GRAD_CHANNELS)
    cdef Band band
    cdef Pixels pixels
    cdef Walk walk
    cdef const real* panels
    cdef const real* planes
    partial += share.index * c.R * c.S * c.terms * c.K
    for index in range(begin, end):
        band = band_at(cut, index)
        walk = Walk(band.output.images * band.output.height, band.output.width, 0, 0, starts)
        panels = read_dy(c, &share, &band.output, dy, dy_buffer, &walk, &next_panel)
        for block in range(c.piece * blocks // c.pieces, c.piece * (blocks + 1) // c.pieces):
            offset = block * GRAD_CHANNELS
            if c.depthwise:     # the channels that meet the filters
                channel, depth = share.first * width, (share.last - share.first) * width
            else:               # some channels of the group
                channel, depth = share.group * c.D + offset, min(GRAD_CHANNELS, c.D - offset)
            planes = read_planes(c, x, &picture, &band.input, in_place, channel, depth, x_buffer, &pixels)
            walk.a_step = c.stride_w * pixels.steps.pixel
            for n in range(band.output.images):
                for i in range(band.output.height):
                    starts[n * band.output.height + i] = n * pixels.steps.image + i * c.stride_h * pixels.steps.row
            add_taps(c, &share, &walk, index > begin, planes, &pixels, offset, 1 if c.depthwise else depth, panels,
                     next_panel, partial, taps)


cdef void add_parts(const real* partial, Py_ssize_t parts, Py_ssize_t size, real* total) noexcept nogil:
    cdef Py_ssize_t block, part, i
    for block in prange(ceil_div(size, 1024), num_threads=threads(parts * size)):
        for i in range(block * 1024, min((block + 1) * 1024, size)):
            total[i] = partial[i]
        for part in range(1, parts):
            for i in range(block * 1024, min((block + 1) * 1024, size)):
                total[i] += partial[part * size + i]


cdef int weight_grad(Conv* c, const real* x, const real* dy, real* dw) except -1:
    cdef Py_ssize_t width = tile_width(sizeof(real)), size = c.R * c.S * c.terms * c.K
    cdef Py_ssize_t parts, tasks, task, panels, depth
    cdef int team = threads_for_products(c.N * c.P * c.Q * size)
    cdef Cut cut
    if c.N * c.P * c.Q * size == 0:
        memset(dw, 0, size * sizeof(real))
        return 0
    cut.N, cut.P, cut.Q = c.N, c.P, c.Q
    cut.stride_h, cut.stride_w, cut.top, cut.left = c.stride_h, c.stride_w, c.top, c.left
    cut.reach_h = (c.R - 1) * c.dilation_h + 1
    cut.reach_w = (c.S - 1) * c.dilation_w + 1
    depth = c.D if c.depthwise else min(c.D, GRAD_CHANNELS)
    choose_bands(&cut, GRAD_PIXELS, GRAD_BYTES // sizeof(real) // depth)
    # Tasks are shares of the result where that is large, else partial sums of it, and small shares if those are few.
    c.panels = ceil_div(c.F, width)
    c.piece = 1 if c.depthwise else ceil_div(c.D, GRAD_CHANNELS)    # blocks of channels,
    c.pieces = max(1, c.piece // TASK_BLOCKS)                       # shared out in so many pieces
    c.chunks = max(1, c.panels // TASK_PANELS)
    parts = max(1, min(min(cut.bands, GRAD_NUMBERS // size), ceil_div(TASKS, c.groups * c.pieces * c.chunks)))
    c.chunks = max(c.chunks, min(c.panels, ceil_div(TASKS, parts * c.groups * c.pieces)))
    tasks = parts * c.groups * c.pieces * c.chunks
    panels = ceil_div(c.panels, c.chunks)
    depth = panels * width if c.depthwise else ceil_div(depth, TILE_ROWS) * TILE_ROWS
    # the workspace: partial sums, and for each thread buffers for x and dy and a table of places
    cdef Py_ssize_t partial_bytes = whole_lines(parts * size * sizeof(real)) if parts > 1 else 0
    cdef Py_ssize_t x_bytes = whole_lines(most_inputs(&cut) * depth * sizeof(real))
    cdef Py_ssize_t dy_bytes = whole_lines(most_outputs(&cut) * panels * width * sizeof(real))
    cdef Py_ssize_t table_bytes = whole_lines(sizeof(Py_ssize_t) * (
        cut.images * cut.rows + 2 * whole_tiles(c.R * c.S * min(c.terms, GRAD_CHANNELS))))
    cdef Workspace workspace = take_workspace(partial_bytes + team * (x_bytes + dy_bytes + table_bytes))
    cdef char* start = first_line(workspace.block)
    cdef real* partial = <real*>start if parts > 1 else dw
    cdef char* buffer
    with nogil:
        for task in prange(tasks, num_threads=team, schedule="dynamic"):
            buffer = start + partial_bytes + threadid() * (x_bytes + dy_bytes + table_bytes)
            weight_grad_task(c, &cut, x, dy, partial, parts, task, <real*>buffer, <real*>(buffer + x_bytes),
                             <Py_ssize_t*>(buffer + x_bytes + dy_bytes))
        if parts > 1:
            add_parts(partial, parts, size, dw)
    give_back(workspace)
    return 0


cdef bint better_turned(const Conv* c) noexcept nogil:
    """Whether this is a product of matrices, x^T dy, better made as dy^T x and turned around: rows of tiles cost more
    to copy than columns, so the side that has more numbers should give the columns."""
    cdef bint product = (c.groups == c.R == c.S == c.N == c.H == c.P == c.stride_h == c.stride_w == 1 and c.W == c.Q
                         and c.top == c.left == 0 and c.steps.pixel == c.C and not c.depthwise)
    return product and c.K < c.C and c.Q > TURNED_PIXELS


cdef int turned_weight_grad(const Conv* c, const real* x, const real* dy, real* dw) except -1:
    """The same as weight_grad, with x and dy in each other's place."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), block, channel, filter
    cdef Conv turned = c[0]
    cdef Workspace workspace = take_workspace(c.C * c.K * sizeof(real))
    cdef real* result = <real*>first_line(workspace.block)
    turned.C = turned.D = turned.terms = c.K
    turned.K = turned.F = c.C
    turned.steps = whole_picture(1, c.Q, c.K).steps
    try:
        weight_grad(&turned, dy, x, result)
    except MemoryError:
        give_back(workspace)
        raise
    for block in prange(ceil_div(c.C, width), nogil=True, num_threads=threads(c.C * c.K)):
        for filter in range(c.K):
            for channel in range(block * width, min((block + 1) * width, c.C)):
                dw[channel * c.K + filter] = result[filter * c.C + channel]
    give_back(workspace)
    return 0
