# dw: every tap times every filter, summed over the pixels.

cdef enum:
    GRAD_BYTES = 262144         # x of a band
    GRAD_PIXELS = 256           # pixels of a band: panels of x and dy that share the first-level cache
    GRAD_CHANNELS = 48          # channels of x in such a panel
    GRAD_NUMBERS = 4194304      # of all partial sums together


cdef void weight_grad_task(const Conv* c, const Cut* cut, const real* x, const real* dy, real* partial, Py_ssize_t parts,
                           Py_ssize_t task, real* x_buffer, real* dy_buffer, Py_ssize_t* table) noexcept nogil:
    """One of `parts` partial sums, over some of the bands, for some filters of one group."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), chunk = task % c.chunks, group = task // c.chunks % c.groups
    cdef Py_ssize_t first = c.panels * chunk // c.chunks, last = c.panels * (chunk + 1) // c.chunks
    cdef Py_ssize_t part = task // (c.chunks * c.groups), begin = cut.bands * part // parts, end = cut.bands * (part + 1) // parts
    cdef Py_ssize_t index, panel, pixels, d, depth, taps, row, image, filter, t, r, s, i, n, block, b_panel, channels
    cdef Py_ssize_t* starts = table
    cdef Py_ssize_t* rows = starts + cut.images * cut.rows
    cdef Py_ssize_t* places
    cdef const real* a
    cdef const real* b
    cdef Band band
    cdef Walk walk
    cdef Store store
    partial += part * c.R * c.S * c.depth * c.K
    walk.starts = starts
    for index in range(begin, end):
        band = band_at(cut, index)
        pixels = band.output.images * band.output.height * band.output.width
        store.add = index > begin
        walk.runs = band.output.images * band.output.height
        walk.length = band.output.width
        # dy, panel by panel
        if c.groups == 1 and c.K % width == 0 and (c.depthwise or c.K == width) and (
                band.output.width == c.Q or walk.runs == 1):
            b = dy + ((band.output.n * c.P + band.output.h) * c.Q + band.output.w) * c.K + first * width
            b_panel, walk.b_step = width, c.K
        elif c.depthwise:
            walk.b_step, b_panel = (last - first) * width, width
            copy_window(dy, c.P, c.Q, c.K, &band.output, first * width, min(walk.b_step, c.K - first * width), walk.b_step, dy_buffer)
            b = dy_buffer
        else:
            for panel in range(first, last):
                copy_window(dy, c.P, c.Q, c.K, &band.output, group * c.F + panel * width, min(width, c.F - panel * width),
                            width, dy_buffer + (panel - first) * pixels * width)
            b_panel, walk.b_step = pixels * width, width
            b = dy_buffer
        for block in range(1 if c.depthwise else ceil_div(c.D, GRAD_CHANNELS)):
            # x, some channels at a time
            if c.depthwise:
                d = first * width
                depth = (last - first) * width
                channels = 1
            else:
                d = group * c.D + block * GRAD_CHANNELS
                depth = channels = min(GRAD_CHANNELS, c.D - block * GRAD_CHANNELS)
            if inside(cut, c.H, c.W) and (c.C % width == 0 if c.depthwise else c.C <= GRAD_CHANNELS and c.groups == 1):
                a = x + ((band.input.n * c.H + band.input.h) * c.W + band.input.w) * c.C + d
                depth = c.C
                row = c.W * c.C
                image = c.H * row
            else:
                copy_window(x, c.H, c.W, c.C, &band.input, d, min(depth, c.C - d), depth, x_buffer)
                a = x_buffer
                row = band.input.width * depth
                image = band.input.height * row
            walk.a_step = c.stride_w * depth
            for n in range(band.output.images):
                for i in range(band.output.height):
                    starts[n * band.output.height + i] = n * image + i * c.stride_h * row
            taps = c.R * c.S * channels
            places = rows + whole_tiles(taps)
            t = 0
            for r in range(c.R):
                for s in range(c.S):
                    for i in range(channels):
                        rows[t + i] = r * c.dilation_h * row + s * c.dilation_w * depth + i
                        places[t + i] = ((r * c.S + s) * c.depth + block * GRAD_CHANNELS + i) * c.K
                    t += channels
            for t in range(taps, whole_tiles(taps)):
                rows[t] = rows[0]
            for panel in range(first, last):
                filter = group * c.F + panel * width
                store.width = min(width, c.F - panel * width)
                for i in range(ceil_div(taps, TILE_ROWS)):
                    t = i * TILE_ROWS
                    store.height = min(TILE_ROWS, taps - t)
                    tile(c.depthwise, &walk, &store, a + ((panel - first) * width if c.depthwise else 0), rows + t,
                         b + (panel - first) * b_panel, <const real*>NULL, partial + filter, places + t)


cdef void add_parts(const real* partial, Py_ssize_t parts, Py_ssize_t size, real* total) noexcept nogil:
    cdef Py_ssize_t block, part, i
    for block in prange(ceil_div(size, 1024), num_threads=threads(parts * size)):
        for i in range(block * 1024, min((block + 1) * 1024, size)):
            total[i] = partial[i]
        for part in range(1, parts):
            for i in range(block * 1024, min((block + 1) * 1024, size)):
                total[i] += partial[part * size + i]


cdef int weight_grad(Conv* c, const real* x, const real* dy, real* dw) except -1:
    cdef Py_ssize_t width = tile_width(sizeof(real)), size = c.R * c.S * c.depth * c.K
    cdef Py_ssize_t parts, tasks, task, x_numbers, numbers, entries, x_depth
    cdef int team = threads(c.N * c.P * c.Q * size)
    cdef Cut cut
    if c.N * c.P * c.Q * size == 0:
        memset(dw, 0, size * sizeof(real))
        return 0
    cut.N, cut.P, cut.Q, cut.stride_h, cut.stride_w, cut.top, cut.left = c.N, c.P, c.Q, c.stride_h, c.stride_w, c.top, c.left
    cut.reach_h = (c.R - 1) * c.dilation_h + 1
    cut.reach_w = (c.S - 1) * c.dilation_w + 1
    c.panels = ceil_div(c.F, width)
    choose_bands(&cut, GRAD_PIXELS, GRAD_BYTES // sizeof(real) // (c.D if c.depthwise else min(c.D, GRAD_CHANNELS)))
    parts = max(1, min(min(cut.bands, PARTS), GRAD_NUMBERS // size))
    c.chunks = min(c.panels, ceil_div(TASKS, parts * c.groups))
    tasks = parts * c.groups * c.chunks
    x_depth = ceil_div(c.panels, c.chunks) * width if c.depthwise else min(c.D, GRAD_CHANNELS)
    x_numbers = inputs_of_band(&cut) * x_depth
    numbers = x_numbers + outputs_of_band(&cut) * width * ceil_div(c.panels, c.chunks)
    entries = cut.images * cut.rows + 2 * whole_tiles(c.R * c.S * min(c.depth, GRAD_CHANNELS))
    cdef real* partial = dw if parts == 1 else <real*>allocate(parts * size, sizeof(real))
    cdef real* buffers = <real*>allocate(team * numbers, sizeof(real))
    cdef Py_ssize_t* tables = <Py_ssize_t*>allocate(team * entries, sizeof(Py_ssize_t))
    with nogil:
        for task in prange(tasks, num_threads=team, schedule="dynamic"):
            weight_grad_task(c, &cut, x, dy, partial, parts, task, buffers + threadid() * numbers,
                             buffers + threadid() * numbers + x_numbers, tables + threadid() * entries)
        if parts > 1:
            add_parts(partial, parts, size, dw)
    if parts > 1:
        free(partial)
    free(buffers)
    free(tables)
    return 0
