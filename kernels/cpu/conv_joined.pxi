# A convolution to many channels and the depthwise one behind it, as in the blocks of the mobile networks.
#
# One after the other they would write the wide picture to memory and read it again, which takes longer than their
# products. Here a task makes some rows of it, a panel of channels at a time, in a buffer that stays in a near cache, and
# filters them from there. In the buffer the zeros of the padding lie around the picture, so that all outputs see the
# same taps, and the channels of neighbouring pixels lie side by side. The rows that two bands of outputs share are made
# twice: bands are as high as the buffer allows.

cdef enum:
    JOINED_BYTES = 131072       # of the buffer, about: a share of the second-level cache

cdef struct Joined:
    const Conv* wide            # the convolution to many channels,
    const Phase* phase          # and its taps
    const Conv* deep            # the depthwise one
    Cut wide_cut, deep_cut      # their outputs, in bands of whole rows
    Py_ssize_t row              # numbers of the buffer from row to row
    Py_ssize_t buffer, inputs, table, own   # bytes of a thread: rows, copied inputs, lists of places; of all of it


cdef Cut cut_rows(const Conv* c, Py_ssize_t rows) noexcept nogil:
    """Bands of whole rows, `rows` of them at most, of one picture."""
    cdef Py_ssize_t high = max(1, even(c.P, rows))
    return Cut(c.N, c.P, c.Q, c.stride_h, c.stride_w, c.top, c.left, (c.R - 1) * c.dilation_h + 1,
               (c.S - 1) * c.dilation_w + 1, 1, high, c.Q, c.N, ceil_div(c.P, high), 1, c.N * ceil_div(c.P, high))


cdef Window inner_part(const Window* window, Py_ssize_t height, Py_ssize_t width) noexcept nogil:
    """What of a window lies inside its picture."""
    cdef Window part = window[0]
    part.h, part.w = max(0, window.h), max(0, window.w)
    part.height = max(0, min(height, window.h + window.height) - part.h)
    part.width = max(0, min(width, window.w + window.width) - part.w)
    return part


cdef void zero_around(const Joined* job, const Window* window, const Window* made, real* buffer) noexcept nogil:
    """The padding of a band of the wide picture, of which a panel overwrites what is `made`."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), before = (made.w - window.w) * width, i
    cdef Py_ssize_t behind = before + made.width * width
    for i in range(window.height):
        if made.width == 0 or i < made.h - window.h or i >= made.h - window.h + made.height:
            memset(buffer + i * job.row, 0, job.row * sizeof(real))
        else:
            memset(buffer + i * job.row, 0, before * sizeof(real))
            memset(buffer + i * job.row + behind, 0, (job.row - behind) * sizeof(real))


cdef void list_grid(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t row, Py_ssize_t column,
                    Py_ssize_t* places) noexcept nogil:
    """Where the pixels of some rows are, and repetitions of the last that fill up the last tile."""
    cdef Py_ssize_t i, j, count = rows * columns
    for i in range(rows):
        for j in range(columns):
            places[i * columns + j] = i * row + j * column
    for i in range(count, whole_tiles(count)):
        places[i] = places[count - 1]


cdef bint in_rows(const Conv* deep) noexcept nogil:
    """Whether there is a faster loop for whole panels, which needs no lists of places."""
    return deep.R == deep.S == 3 and deep.dilation_w == 1 and deep.stride_w <= 2


cdef void filter_rows(const Joined* job, const Taps* taps, const Window* output, const real* buffer,
                      const real* filters, const real* bias, const Finish* finish, real* y, Py_ssize_t panel,
                      const Py_ssize_t* pixels, const Py_ssize_t* places) noexcept nogil:
    """The outputs of a band from a panel of the wide picture."""
    cdef const Conv* deep = job.deep
    cdef Py_ssize_t width = tile_width(sizeof(real)), i
    cdef Store store = Store(TILE_ROWS, min(width, deep.K - panel * width), False, finish)
    cdef Row row = Row(output.width, deep.dilation_h * job.row, deep.K, deep.stride_w)
    if in_rows(deep) and store.width == width:
        for i in range(output.height):
            depthwise_row(&row, finish, buffer + i * deep.stride_h * job.row, filters,
                          bias + panel * width if bias else NULL, y + i * deep.Q * deep.K + panel * width)
        return
    for i in range(ceil_div(output.height * output.width, TILE_ROWS)):
        tile_depthwise(taps, &store, buffer, pixels + i * TILE_ROWS, filters, bias + panel * width if bias else NULL,
                       y + panel * width, places + i * TILE_ROWS)


cdef void joined_task(const Joined* job, const real* x, const real* packed, const real* bias, const Finish* clip,
                      const real* filters, const real* deep_bias, const Finish* finish, real* y, Py_ssize_t task,
                      char* own) noexcept nogil:
    """Some channels of some rows of the output."""
    cdef const Conv* wide = job.wide
    cdef const Conv* deep = job.deep
    cdef Py_ssize_t width = tile_width(sizeof(real)), size = wide.R * wide.S * wide.C * width, panel, i
    cdef Share share = share_of(wide, task)
    cdef Band band = band_at(&job.deep_cut, share.index), source
    cdef Window* output = &band.output
    cdef Window made = inner_part(&band.input, deep.H, deep.W)
    cdef Picture picture = picture_of(wide)
    cdef real* buffer = <real*>own
    cdef real* first = buffer + (made.h - band.input.h) * job.row + (made.w - band.input.w) * width
    cdef const real* input
    cdef Steps steps
    cdef Py_ssize_t* starts = <Py_ssize_t*>(own + job.buffer + job.inputs)
    cdef Py_ssize_t* taps_a = starts + wide.R * wide.S
    cdef Py_ssize_t* taps_b = taps_a + deep.R * deep.S
    cdef Py_ssize_t* pixels = taps_b + deep.R * deep.S
    cdef Py_ssize_t* places = pixels + whole_tiles(made.height * made.width)
    cdef Py_ssize_t* deep_pixels = places + whole_tiles(made.height * made.width)
    cdef Py_ssize_t* deep_places = deep_pixels + whole_tiles(output.height * output.width)
    cdef Walk walk
    cdef Taps taps = Taps(deep.R * deep.S, 0, taps_a, taps_b, NULL)
    cdef Block block = Block(made.height * made.width, 0, size, False, clip)
    zero_around(job, &band.input, &made, buffer)
    source.input = Window(made.n, 1, made.h * wide.stride_h - wide.top,
                          (made.height - 1) * wide.stride_h + job.wide_cut.reach_h, made.w * wide.stride_w - wide.left,
                          (made.width - 1) * wide.stride_w + job.wide_cut.reach_w)
    input = read_window(x, &picture, &source.input, inside(&job.wide_cut, wide.H, wide.W), 0, wide.C,
                        <real*>(own + job.buffer), &steps)
    list_grid(made.height, made.width, wide.stride_h * steps.row, wide.stride_w * steps.pixel, pixels)
    list_grid(made.height, made.width, job.row, width, places)
    if not in_rows(deep) or share.last * width > deep.K:
        list_grid(output.height, output.width, deep.stride_h * job.row, deep.stride_w * width, deep_pixels)
        list_grid(output.height, output.width, deep.Q * deep.K, deep.K, deep_places)
    walk = walk_taps(job.phase, wide.C, width, &steps, starts)
    for i in range(deep.R * deep.S):
        taps_a[i] = i // deep.S * deep.dilation_h * job.row + i % deep.S * deep.dilation_w * width
        taps_b[i] = i * width
    y += (output.n * deep.P + output.h) * deep.Q * deep.K
    for panel in range(share.first, share.last):
        block.columns = min(width, wide.K - panel * width)
        tile_block(&walk, &block, input, pixels, packed + panel * size, bias + panel * width if bias else NULL, first,
                   places)
        filter_rows(job, &taps, output, buffer, filters + panel * deep.R * deep.S * width, deep_bias, finish, y, panel,
                    deep_pixels, deep_places)


cdef int joined(Conv* wide, Phase* phase, const Layout* layout, Conv* deep, const real* x, const real* w,
                const real* bias, const Finish* clip, const real* v, const real* deep_bias, const Finish* finish,
                real* y, kept, key) except -1:
    cdef Py_ssize_t width = tile_width(sizeof(real)), taps = deep.R * deep.S, high, rows, tasks, task, panel, size
    cdef int team = threads_for_products(deep.N * deep.H * deep.W * deep.K * wide.R * wide.S * wide.C)
    cdef Joined job
    if deep.N * deep.P * deep.Q * deep.K == 0:
        return 0
    job.wide, job.phase, job.deep = wide, phase, deep
    job.deep_cut = cut_rows(deep, 1)
    job.row = ((deep.Q - 1) * deep.stride_w + job.deep_cut.reach_w) * width
    high = JOINED_BYTES // (job.row * sizeof(real))
    job.deep_cut = cut_rows(deep, max(1, (high - job.deep_cut.reach_h) // deep.stride_h + 1))
    rows = (job.deep_cut.rows - 1) * deep.stride_h + job.deep_cut.reach_h
    job.wide_cut = cut_rows(wide, 1)
    job.wide_cut.rows = min(rows, wide.P)
    wide.panels, wide.piece, wide.pieces = ceil_div(wide.K, width), wide.C, 1
    wide.chunks = min(wide.panels, ceil_div(TASKS, job.deep_cut.bands))
    wide.chunks = ceil_div(wide.panels, wide.panels // wide.chunks)     # of the same size
    tasks = job.deep_cut.bands * wide.chunks
    size = wide.panels * wide.R * wide.S * wide.C * width
    # the workspace: for each thread what Joined lists; and packed filters, unless the caller keeps them
    job.buffer = whole_lines(rows * job.row * sizeof(real))
    job.inputs = 0
    if not inside(&job.wide_cut, wide.H, wide.W):
        job.inputs = whole_lines(max(0, most_inputs(&job.wide_cut)) * wide.C * sizeof(real))
    job.table = whole_lines(sizeof(Py_ssize_t) * (wide.R * wide.S + 2 * taps + 2 * whole_tiles(rows * wide.Q)
                                                  + 2 * whole_tiles(job.deep_cut.rows * deep.Q)))
    job.own = job.buffer + job.inputs + job.table
    cdef Py_ssize_t packed_bytes = whole_lines((size + wide.panels * taps * width) * sizeof(real))
    prepared = prepared_filters(kept, key)
    cdef bint ready = prepared is not None
    if not ready:
        prepared = room_to_prepare(kept, packed_bytes)
    cdef Workspace workspace = take_workspace(team * job.own + (packed_bytes if kept is None else 0))
    cdef char* start = first_line(workspace.block)
    cdef real* packed = <real*>(start + team * job.own if kept is None else first_line(data(prepared)))
    with nogil:
        if not ready:
            pack_filters(wide, phase, layout, w, packed)
            for panel in range(wide.panels):
                copy_pieces(v + panel * width, deep.K, packed + size + panel * taps * width, width,
                            min(width, deep.K - panel * width), taps)
        for task in prange(tasks, num_threads=team, schedule="dynamic"):
            joined_task(&job, x, <const real*>packed, bias, clip, <const real*>packed + size, deep_bias, finish, y,
                        task, start + threadid() * job.own)
    give_back(workspace)
    if kept is not None:
        kept[key] = prepared
    return 0
