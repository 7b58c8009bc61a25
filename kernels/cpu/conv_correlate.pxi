# y = x correlated with filters: the forward convolution and the gradient by the picture.

cdef enum:
    BAND_BYTES = 524288         # input of a band, about: a share of the second-level cache
    BAND_PIXELS = 768           # outputs of a band, at most: the tile's lists of places stay small
    TASKS = 16                  # with fewer bands than this, tasks share a band's filters too
    PACK = 256                  # channels that are packed at a time

cdef struct Phase:              # a grid of P x Q outputs that all see the same taps
    Py_ssize_t P, Q, y          # y: where its first output is
    Py_ssize_t R, S, dilation_h, dilation_w, top, left
    Py_ssize_t w, w_row, w_column   # the first tap in w, and the steps to the next ones
    Py_ssize_t packed           # where its packed filters begin

cdef struct Layout:             # steps in w from channel to channel, filter to filter, group to group; in y between outputs
    Py_ssize_t channel, filter, group, y_image, y_row, y_column


cdef void pack_taps(const Conv* c, const Phase* phase, const Layout* layout, const real* w, Py_ssize_t task,
                    real* packed) noexcept nogil:
    """Pack some channels of one tap of one group as the tile reads them: [panels][R][S][depth][width], zeros at the end of
    a panel that is not full."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), blocks = ceil_div(c.depth, PACK), panel, filters, d, k
    cdef Py_ssize_t first = task % blocks * PACK, s = task // blocks % phase.S, r = task // (blocks * phase.S) % phase.R
    cdef Py_ssize_t group = task // (blocks * phase.S * phase.R)
    cdef const real* tap
    cdef real* to
    for panel in range(c.panels):
        tap = w + (phase.w + r * phase.w_row + s * phase.w_column + first * layout.channel + group * layout.group
                   + panel * width * layout.filter)
        to = packed + ((((group * c.panels + panel) * phase.R + r) * phase.S + s) * c.depth + first) * width
        filters = min(width, c.F - panel * width)
        if layout.filter == 1:
            copy_pieces(tap, layout.channel, to, width, filters, min(PACK, c.depth - first))
        else:
            for d in range(min(PACK, c.depth - first)):
                for k in range(filters):
                    to[d * width + k] = tap[d * layout.channel + k * layout.filter]
                for k in range(filters, width):
                    to[d * width + k] = 0


cdef void pack_filters(const Conv* c, const Phase* phase, const Layout* layout, const real* w, real* packed) noexcept nogil:
    cdef Py_ssize_t tasks = c.groups * phase.R * phase.S * ceil_div(c.depth, PACK), task
    for task in prange(tasks, num_threads=threads(tasks * min(c.depth, PACK) * c.F)):
        pack_taps(c, phase, layout, w, task, packed)


cdef void correlate_task(const Conv* c, const Cut* cut, const Phase* phases, Py_ssize_t count, const Layout* layout,
                         const real* x, const real* packed, const real* bias, real* y, Py_ssize_t task, real* buffer,
                         Py_ssize_t* table) noexcept nogil:
    """Some filters of one group for one band, in all phases."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), chunk = task % c.chunks, group = task // c.chunks % c.groups
    cdef Py_ssize_t first = c.panels * chunk // c.chunks, last = c.panels * (chunk + 1) // c.chunks
    cdef Band band = band_at(cut, task // (c.chunks * c.groups))
    # What is read: a group's channels, or if depthwise those that meet the filters.
    cdef Py_ssize_t channel = first * width if c.depthwise else group * c.D
    cdef Py_ssize_t depth = (last - first) * width if c.depthwise else c.D, row, image, i
    cdef const real* input
    if inside(cut, c.H, c.W) and c.groups == 1 and (not c.depthwise or c.C % width == 0):
        input = x + ((band.input.n * c.H + band.input.h) * c.W + band.input.w) * c.C + channel
        depth = c.C
        row = c.W * c.C
        image = c.H * row
    else:
        copy_window(x, c.H, c.W, c.C, &band.input, channel, min(depth, c.C - channel), depth, buffer)
        input = buffer
        row = band.input.width * depth
        image = band.input.height * row
    for i in range(count):
        correlate_phase(c, cut, phases + i, layout, &band.output, input, image, row, depth, packed, bias, y, group, first, last, table)


cdef void correlate_phase(const Conv* c, const Cut* cut, const Phase* phase, const Layout* layout, const Window* output,
                          const real* input, Py_ssize_t image, Py_ssize_t row, Py_ssize_t depth, const real* packed,
                          const real* bias, real* y, Py_ssize_t group, Py_ssize_t first, Py_ssize_t last,
                          Py_ssize_t* table) noexcept nogil:
    cdef Py_ssize_t width = tile_width(sizeof(real)), size = phase.R * phase.S * c.depth * width
    cdef Py_ssize_t rows = min(output.height, phase.P - output.h), columns = min(output.width, phase.Q - output.w)
    cdef Py_ssize_t pixels = output.images * rows * columns, panel, filter, n, i, j, m
    cdef Py_ssize_t* places = table + whole_tiles(pixels)
    cdef Py_ssize_t* starts = places + pixels
    cdef Walk walk
    cdef Store store
    if rows <= 0 or columns <= 0:
        return
    input += (cut.top - phase.top) * row + (cut.left - phase.left) * depth
    m = 0
    for n in range(output.images):
        for i in range(rows):
            for j in range(columns):
                table[m + j] = n * image + i * cut.stride_h * row + j * cut.stride_w * depth
                places[m + j] = ((output.n + n) * layout.y_image + (output.h + i) * layout.y_row
                                 + (output.w + j) * layout.y_column)
            m += columns
    for m in range(pixels, whole_tiles(pixels)):
        table[m] = table[0]
    walk.starts = starts
    walk.b_step = width
    walk.a_step = phase.dilation_w * depth if c.depthwise else 1
    if c.depthwise or phase.dilation_w == 1:    # a row of taps lies in one piece
        walk.runs = phase.R
        walk.length = phase.S * c.depth
        for i in range(phase.R):
            starts[i] = i * phase.dilation_h * row
    else:
        walk.runs = phase.R * phase.S
        walk.length = c.depth
        for i in range(phase.R * phase.S):
            starts[i] = i // phase.S * phase.dilation_h * row + i % phase.S * phase.dilation_w * depth
    store.add = False
    for panel in range(first, last):
        filter = group * c.F + panel * width
        store.width = min(width, c.F - panel * width)
        for i in range(ceil_div(pixels, TILE_ROWS)):
            m = i * TILE_ROWS
            store.height = min(TILE_ROWS, pixels - m)
            tile(c.depthwise, &walk, &store, input + ((panel - first) * width if c.depthwise else 0), table + m,
                 packed + phase.packed + (group * c.panels + panel) * size, bias + filter if bias else NULL,
                 y + phase.y + filter, places + m)


cdef int correlate(Conv* c, Phase* phases, Py_ssize_t count, const Layout* layout, const real* x, const real* w,
                   const real* bias, real* y) except -1:
    cdef Py_ssize_t width = tile_width(sizeof(real)), size = 0, taps = 0, tasks, task, numbers, entries, i
    cdef int team = threads(c.N * c.P * c.Q * c.K * c.R * c.S * c.depth)
    cdef Cut cut
    cut.N, cut.P, cut.Q, cut.stride_h, cut.stride_w = c.N, 0, 0, c.stride_h, c.stride_w
    cut.top, cut.left, cut.reach_h, cut.reach_w = phases.top, phases.left, 1, 1
    c.panels = ceil_div(c.F, width)
    for i in range(count):
        cut.P = max(cut.P, phases[i].P)
        cut.Q = max(cut.Q, phases[i].Q)
        cut.top = max(cut.top, phases[i].top)
        cut.left = max(cut.left, phases[i].left)
        taps = max(taps, phases[i].R * phases[i].S)
        phases[i].packed = size
        size += c.groups * c.panels * phases[i].R * phases[i].S * c.depth * width
    for i in range(count):
        cut.reach_h = max(cut.reach_h, cut.top - phases[i].top + (phases[i].R - 1) * phases[i].dilation_h + 1)
        cut.reach_w = max(cut.reach_w, cut.left - phases[i].left + (phases[i].S - 1) * phases[i].dilation_w + 1)
    if c.N * cut.P * cut.Q * c.K == 0:
        return 0
    choose_bands(&cut, BAND_PIXELS, BAND_BYTES // sizeof(real) // max(1, c.D))
    tasks = cut.bands * c.groups
    c.chunks = min(c.panels, ceil_div(TASKS, tasks))
    tasks *= c.chunks
    numbers = inputs_of_band(&cut) * (ceil_div(c.panels, c.chunks) * width if c.depthwise else c.D)
    entries = 2 * whole_tiles(outputs_of_band(&cut)) + taps
    cdef real* packed = <real*>allocate(size, sizeof(real))
    cdef real* buffers = <real*>allocate(team * numbers, sizeof(real))
    cdef Py_ssize_t* tables = <Py_ssize_t*>allocate(team * entries, sizeof(Py_ssize_t))
    with nogil:
        for i in range(count):
            pack_filters(c, phases + i, layout, w, packed + phases[i].packed)
        for task in prange(tasks, num_threads=team, schedule="dynamic"):
            correlate_task(c, &cut, phases, count, layout, x, packed, bias, y, task, buffers + threadid() * numbers,
                           tables + threadid() * entries)
    free(packed)
    free(buffers)
    free(tables)
    return 0
