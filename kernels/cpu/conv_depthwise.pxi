# Correlation with one filter per channel: the forward convolution, and the gradient by the picture.
#
# There are so few products that a copy of the picture would cost as much as they do. So the picture and the filters are
# read where they lie, and instead of zeros around the picture there are fewer taps: outputs are taken together that see
# the same taps inside it, which are the rectangle in the middle, four edges and four corners, or more of them if the
# filters are larger. All channels of a few pixels come one after the other, as they are in memory.

cdef enum:
    DEPTHWISE_ROWS = 4          # of outputs in a task, at least: it reads some rows more than it writes

cdef struct Stretch:            # outputs first, ..., end - 1 along an axis, which see `taps` taps from `tap` on
    Py_ssize_t first, end, tap, taps


cdef Stretch stretch_from(Py_ssize_t first, Py_ssize_t end, Py_ssize_t stride, Py_ssize_t before, Py_ssize_t taps,
                          Py_ssize_t dilation, Py_ssize_t size) noexcept nogil:
    """The outputs from `first` on that see the same taps; output i and tap r meet at i*stride - before + r*dilation."""
    cdef Stretch stretch = Stretch(first, first, 0, 0)
    cdef Py_ssize_t start, tap, count
    while stretch.end < end:
        start = stretch.end * stride - before
        tap = min(taps, ceil_div(max(0, -start), dilation))
        count = max(0, min(taps, ceil_div(max(0, size - start), dilation)) - tap)
        if stretch.end == first:
            stretch.tap, stretch.taps = tap, count
        elif stretch.tap != tap or stretch.taps != count:
            break
        stretch.end += 1
    return stretch


cdef void depthwise_rectangle(const Conv* c, const Phase* phase, const Layout* layout, const Share* share,
                              Py_ssize_t n, const Stretch* high, const Stretch* wide, const real* x, const real* w,
                              const real* bias, const Finish* finish, real* y, Py_ssize_t* table) noexcept nogil:
    """Some channels of outputs of one phase that see the same taps; `table` has room for the lists of Taps."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), count = (high.end - high.first) * (wide.end - wide.first)
    cdef Py_ssize_t p = high.first, q = wide.first, group, height, panel, k, r, s, i
    cdef Py_ssize_t pixels[TILE_ROWS]
    cdef Py_ssize_t places[TILE_ROWS]
    cdef Taps taps = Taps(0, c.stride_h * c.stride_w, table, table + c.R * c.S, table + 2 * c.R * c.S)
    cdef Store store = Store(TILE_ROWS, min(width, c.K), False, NULL)
    cdef Finish there
    for r in range(high.tap, high.tap + high.taps):
        for s in range(wide.tap, wide.tap + wide.taps):
            table[taps.count] = r * phase.dilation_h * c.steps.row + s * phase.dilation_w * c.steps.pixel
            table[c.R * c.S + taps.count] = phase.w + r * phase.w_row + s * phase.w_column
            taps.count += 1
    for i in range(taps.news):      # what the next row of outputs reads and this one doesn't
        table[2 * c.R * c.S + i] = ((phase.R * phase.dilation_h + i // c.stride_w) * c.steps.row
                                    + ((phase.S - 1) * phase.dilation_w + i % c.stride_w) * c.steps.pixel)
    for group in range(ceil_div(count, TILE_ROWS)):
        height = min(TILE_ROWS, count - group * TILE_ROWS)
        for i in range(height):
            pixels[i] = (n * c.steps.image + (p * c.stride_h - phase.top) * c.steps.row
                         + (q * c.stride_w - phase.left) * c.steps.pixel)
            places[i] = phase.y + n * layout.y.image + p * layout.y.row + q * layout.y.pixel
            q += 1
            if q == wide.end:
                p, q = p + 1, wide.first
        for i in range(height, TILE_ROWS):      # repetitions
            pixels[i], places[i] = pixels[height - 1], places[height - 1]
        for panel in range(share.first, ceil_div(c.C, width) if share.last == c.panels else share.last):
            k = min(panel * width, c.C - width)     # the last panel does some channels again, if too few are left
            if finish:
                there = finish_at(finish, k * sizeof(real))
                store.finish = &there
            tile_depthwise(&taps, &store, x + k, pixels, w + k, bias + k if bias else NULL, y + k, places)


cdef void depthwise_task(const Conv* c, const Phase* phases, Py_ssize_t count, const Layout* layout, Py_ssize_t bands,
                         Py_ssize_t rows, const real* x, const real* w, const real* bias, const Finish* finish,
                         real* y, Py_ssize_t task, Py_ssize_t* table) noexcept nogil:
    """Some channels of some rows of a picture, in all phases."""
    cdef Share share = share_of(c, task)
    cdef Py_ssize_t first = share.index % bands * rows, last, i
    cdef const Phase* phase
    cdef Stretch high, wide
    for i in range(count):
        phase = phases + i
        last = min(first + rows, phase.P)
        high.end = first
        while high.end < last:
            high = stretch_from(high.end, last, c.stride_h, phase.top, phase.R, phase.dilation_h, c.H)
            wide.end = 0
            while wide.end < phase.Q:
                wide = stretch_from(wide.end, phase.Q, c.stride_w, phase.left, phase.S, phase.dilation_w, c.W)
                depthwise_rectangle(c, phase, layout, &share, share.index // bands, &high, &wide, x, w, bias, finish,
                                    y, table)


cdef Py_ssize_t widen(Conv* c, Phase* phases, Py_ssize_t count, const real** x, const real** w,
                      real* buffer) noexcept nogil:
    """Copy a picture and filters of fewer channels than the tile has columns, and fill them up; without a buffer, only
    count the numbers."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), pixels = c.N * c.H * c.W, taps = c.R * c.S, i
    cdef Picture picture = picture_of(c)
    cdef Window window = Window(0, c.N, 0, c.H, 0, c.W)
    if c.C >= width:
        return 0
    if buffer:
        copy_window(x[0], &picture, &window, 0, c.C, width, 0, buffer)
        copy_pieces(w[0], c.C, buffer + pixels * width, width, c.C, taps)
        x[0], w[0] = buffer, buffer + pixels * width
        for i in range(count):
            phases[i].w = phases[i].w // c.C * width
            phases[i].w_row = phases[i].w_row // c.C * width
            phases[i].w_column = phases[i].w_column // c.C * width
        c.C, c.steps = width, whole_picture(c.H, c.W, width).steps
    return (pixels + taps) * width


cdef int correlate_depthwise(Conv* c, Phase* phases, Py_ssize_t count, const Layout* layout, const real* x,
                             const real* w, const real* bias, const Finish* finish, real* y) except -1:
    cdef Py_ssize_t bands, rows = 0, tasks, task, i
    cdef int team = threads_for_products(c.N * c.P * c.Q * c.K * c.R * c.S)
    if c.N * c.P * c.Q * c.K == 0:
        return 0
    for i in range(count):
        rows = max(rows, phases[i].P)
    bands = max(ceil_div(TASKS, c.N), ceil_div(c.H * c.W * c.C * sizeof(real), 2 * BAND_BYTES))
    bands = max(1, min(rows // DEPTHWISE_ROWS, bands))
    rows = ceil_div(rows, bands)
    c.panels = max(1, c.C // tile_width(sizeof(real)))
    c.chunks = min(c.panels, ceil_div(TASKS, c.N * bands))
    tasks = c.N * bands * c.chunks
    # the workspace: for each thread where the taps are, and the widened picture and filters
    cdef Py_ssize_t table_bytes = whole_lines((2 * c.R * c.S + c.stride_h * c.stride_w) * sizeof(Py_ssize_t))
    cdef Workspace workspace = take_workspace(team * table_bytes
                                              + widen(c, phases, count, &x, &w, <real*>NULL) * sizeof(real))
    cdef char* start = first_line(workspace.block)
    with nogil:
        widen(c, phases, count, &x, &w, <real*>(start + team * table_bytes))
        for task in prange(tasks, num_threads=team, schedule="dynamic"):
            depthwise_task(c, phases, count, layout, bands, rows, x, w, bias, finish, y, task,
                           <Py_ssize_t*>(start + threadid() * table_bytes))
    give_back(workspace)
    return 0
