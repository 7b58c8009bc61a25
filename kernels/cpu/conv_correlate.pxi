# Correlation of a picture with filters: the forward convolution, and the gradient by the picture.
#
# The sums over taps and channels go in pieces of some channels: a panel's filters for those stay in the first-level
# cache while the tile goes over all pixels of a band, and the pixels' channels stay in the second. It is the blocking
# of matrix products (K. Goto, R. van de Geijn: Anatomy of High-Performance Matrix Multiplication, 2008).

cdef enum:
    BAND_BYTES = 262144         # input of a band, about: a share of the second-level cache
    BAND_PIXELS = 792           # outputs of a band, at most: 7 rows of 112, so that there is an even number of bands,
    LEAST_PIXELS = 192          # and at least, where they may be so few
    PIECE_STEPS = 384           # of a sum, at most: a panel of filters is a share of the first-level cache
    TASKS = 16                  # where there are fewer bands, their filters are shared out too

cdef struct Phase:              # outputs that see the same taps: a grid of P x Q, the first one at y
    Py_ssize_t P, Q, y
    Py_ssize_t R, S, dilation_h, dilation_w, top, left
    Py_ssize_t w, w_row, w_column   # where in w the first tap is, the steps to the next row and column of taps
    Py_ssize_t packed               # where the packed filters of the phase begin

cdef struct Layout:             # steps between channels, filters and groups in w; between the outputs of a phase in y
    Py_ssize_t channel, filter, group
    Steps y


cdef void pack_panel(const Layout* layout, const real* tap, Py_ssize_t filters, Py_ssize_t count,
                     real* to) noexcept nogil:
    """Pack `count` channels of one tap of a panel of filters as the tile reads them: [channels][width]."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), d, k
    if layout.filter == 1:
        copy_pieces(tap, layout.channel, to, width, filters, count)
        return
    for d in range(count):
        for k in range(filters):
            to[d * width + k] = tap[d * layout.channel + k * layout.filter]
        for k in range(filters, width):
            to[d * width + k] = 0


cdef void pack_taps(const Conv* c, const Phase* phase, const Layout* layout, const real* w, Py_ssize_t task,
                    real* packed) noexcept nogil:
    """Pack a piece of the channels of one tap of a group: [pieces][panels][R][S][channels][width]."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), panel
    cdef Py_ssize_t first = task % c.pieces * c.piece, count = min(c.piece, c.terms - first)
    cdef Py_ssize_t s = task // c.pieces % phase.S, r = task // (c.pieces * phase.S) % phase.R
    cdef Py_ssize_t group = task // (c.pieces * phase.S * phase.R)
    packed += (group * c.terms + first) * c.panels * phase.R * phase.S * width
    for panel in range(c.panels):
        pack_panel(layout,
                   w + (phase.w + r * phase.w_row + s * phase.w_column + group * layout.group + first * layout.channel
                        + panel * width * layout.filter),
                   min(width, c.F - panel * width), count,
                   packed + ((panel * phase.R + r) * phase.S + s) * count * width)


cdef object prepared_filters(kept, key):
    """The memory of filters that an earlier call has prepared; None if there is none.

    kept: the dict of a caller who promises that the filters stay what they are; None if there is no such promise.
    """
    return None if kept is None else kept.get(key)


cdef object room_to_prepare(kept, Py_ssize_t bytes):
    """Memory for filters that this call will leave to later ones; None if it doesn't."""
    return None if kept is None else np.empty(bytes + LINE, np.uint8)


cdef void pack_filters(const Conv* c, const Phase* phase, const Layout* layout, const real* w,
                       real* packed) noexcept nogil:
    cdef Py_ssize_t tasks = c.groups * phase.R * phase.S * c.pieces, task
    for task in prange(tasks, num_threads=threads(c.groups * phase.R * phase.S * c.terms * c.F)):
        pack_taps(c, phase, layout, w, task, packed + phase.packed)


cdef Walk walk_taps(const Phase* phase, Py_ssize_t channels, Py_ssize_t width, const Steps* steps,
                    Py_ssize_t* starts) noexcept nogil:
    """Where the taps of a phase are in a picture, in packed filters one behind the other; starts: room for R * S."""
    cdef Py_ssize_t i
    if phase.dilation_w == 1:   # a row of taps is one run
        for i in range(phase.R):
            starts[i] = i * phase.dilation_h * steps.row
        return Walk(phase.R, phase.S * channels, 1, width, starts)
    for i in range(phase.R * phase.S):
        starts[i] = i // phase.S * phase.dilation_h * steps.row + i % phase.S * phase.dilation_w * steps.pixel
    return Walk(phase.R * phase.S, channels, 1, width, starts)


cdef void correlate_phase(const Conv* c, const Cut* cut, const Phase* phase, const Layout* layout, const Share* share,
                          Py_ssize_t piece, const Window* output, const real* input, const Steps* steps,
                          const real* packed, const real* bias, const Finish* finish, real* y,
                          Py_ssize_t* pixels) noexcept nogil:
    """A piece of the sums of one phase in a band; `pixels` has room for the places of inputs, outputs and taps."""
    cdef Py_ssize_t channels = min(c.piece, c.terms - piece * c.piece), width = tile_width(sizeof(real))
    cdef Py_ssize_t size = phase.R * phase.S * channels * width
    cdef Py_ssize_t rows = min(output.height, phase.P - output.h), columns = min(output.width, phase.Q - output.w)
    cdef Py_ssize_t count = output.images * rows * columns, n, i, j, m = 0
    cdef Py_ssize_t* places = pixels + whole_tiles(count)
    cdef Py_ssize_t* starts = places + whole_tiles(count)
    cdef Py_ssize_t filter = share.first * width
    cdef Block block = Block(count, min(share.last * width, c.F) - filter, size, piece > 0, NULL)
    cdef Finish there
    cdef Walk walk
    if rows <= 0 or columns <= 0:
        return
    for n in range(output.images):
        for i in range(rows):
            for j in range(columns):
                pixels[m + j] = n * steps.image + i * cut.stride_h * steps.row + j * cut.stride_w * steps.pixel
                places[m + j] = ((output.n + n) * layout.y.image + (output.h + i) * layout.y.row
                                 + (output.w + j) * layout.y.pixel)
            m += columns
    for m in range(count, whole_tiles(count)):  # the last tile is filled up with repetitions
        pixels[m], places[m] = pixels[count - 1], places[count - 1]
    walk = walk_taps(phase, channels, width, steps, starts)
    input += (cut.top - phase.top) * steps.row + (cut.left - phase.left) * steps.pixel
    packed += phase.packed + (share.group * c.terms + piece * c.piece) * c.panels * phase.R * phase.S * width
    filter += share.group * c.F
    if finish and piece == c.pieces - 1:
        there = finish_at(finish, (phase.y + filter) * sizeof(real))
        block.finish = &there
    tile_block(&walk, &block, input, pixels, packed + share.first * size, bias + filter if bias else NULL,
               y + phase.y + filter, places)


cdef void correlate_task(const Conv* c, const Cut* cut, const Phase* phases, Py_ssize_t count, const Layout* layout,
                         const real* x, const real* packed, const real* bias, const Finish* finish, real* y,
                         Py_ssize_t task, real* buffer, Py_ssize_t* table) noexcept nogil:
    """Some filters of one group, in one band: a piece of its input is read once for all phases."""
    cdef Py_ssize_t piece, channel, depth, i
    cdef bint in_place = inside(cut, c.H, c.W) and (c.C == c.piece or c.R == c.S == 1)
    cdef Share share = share_of(c, task)
    cdef Band band = band_at(cut, share.index)
    cdef Picture picture = picture_of(c)
    cdef Steps steps
    cdef const real* input
    for piece in range(c.pieces):
        channel, depth = share.group * c.D + piece * c.piece, min(c.piece, c.D - piece * c.piece)
        input = read_window(x, &picture, &band.input, in_place, channel, depth, buffer, &steps)
        for i in range(count):
            correlate_phase(c, cut, phases + i, layout, &share, piece, &band.output, input, &steps, packed, bias,
                            finish, y, table)


cdef void cover_phases(const Conv* c, const Phase* phases, Py_ssize_t count, Cut* cut) noexcept nogil:
    """One cut for all phases: outputs are those of the largest grid, inputs reach as far as any phase does."""
    cdef Py_ssize_t i
    cut.N, cut.P, cut.Q, cut.stride_h, cut.stride_w = c.N, 0, 0, c.stride_h, c.stride_w
    cut.top, cut.left, cut.reach_h, cut.reach_w = phases.top, phases.left, 1, 1
    for i in range(count):
        cut.P, cut.Q = max(cut.P, phases[i].P), max(cut.Q, phases[i].Q)
        cut.top, cut.left = max(cut.top, phases[i].top), max(cut.left, phases[i].left)
    for i in range(count):
        cut.reach_h = max(cut.reach_h, cut.top - phases[i].top + (phases[i].R - 1) * phases[i].dilation_h + 1)
        cut.reach_w = max(cut.reach_w, cut.left - phases[i].left + (phases[i].S - 1) * phases[i].dilation_w + 1)


cdef int correlate(Conv* c, Phase* phases, Py_ssize_t count, const Layout* layout, const real* x, const real* w,
                   const real* bias, const Finish* finish, real* y, kept, key) except -1:
    cdef Py_ssize_t width = tile_width(sizeof(real)), filters = 0, taps = 0, outputs = BAND_PIXELS, tasks, task, i
    cdef int team = threads_for_products(c.N * c.P * c.Q * c.K * c.R * c.S * c.terms)
    cdef Cut cut
    if c.N * c.P * c.Q * c.K == 0:
        return 0
    c.panels = ceil_div(c.F, width)
    for i in range(count):
        taps = max(taps, phases[i].R * phases[i].S)
        phases[i].packed = filters
        filters += c.groups * c.panels * phases[i].R * phases[i].S * c.terms * width
    c.piece = even(c.terms, PIECE_STEPS // max(1, taps))
    if c.piece > 16:
        c.piece = ceil_div(c.piece, 8) * 8      # whole vectors are copied faster
    c.piece = min(c.piece, c.terms)
    c.pieces = max(1, ceil_div(c.terms, max(1, c.piece)))  # a sum of nothing is 0, and is written too
    cover_phases(c, phases, count, &cut)
    if cut.N == cut.P == 1:     # one row may be cut anywhere: better enough bands than few of them and chunks
        outputs = min(BAND_PIXELS, max(LEAST_PIXELS, ceil_div(cut.Q, TASKS)))
    choose_bands(&cut, outputs, BAND_BYTES // sizeof(real) // max(1, c.piece))
    c.chunks = min(c.panels, ceil_div(TASKS, cut.bands * c.groups))
    tasks = cut.bands * c.groups * c.chunks
    # the workspace: for each thread a buffer and a table of places; and packed filters, unless the caller keeps them
    cdef Py_ssize_t packed_bytes = whole_lines(filters * sizeof(real))
    cdef Py_ssize_t buffer_bytes = whole_lines(most_inputs(&cut) * c.piece * sizeof(real))
    cdef Py_ssize_t table_bytes = whole_lines((2 * whole_tiles(most_outputs(&cut)) + taps) * sizeof(Py_ssize_t))
    prepared = prepared_filters(kept, key)
    cdef bint ready = prepared is not None
    if not ready:
        prepared = room_to_prepare(kept, packed_bytes)
    cdef Py_ssize_t own_bytes = buffer_bytes + table_bytes
    cdef Workspace workspace = take_workspace(team * own_bytes + (packed_bytes if kept is None else 0))
    cdef char* start = first_line(workspace.block)
    cdef char* packed = start + team * own_bytes if kept is None else first_line(data(prepared))
    cdef char* buffer
    with nogil:
        if not ready:
            for i in range(count):
                pack_filters(c, phases + i, layout, w, <real*>packed)
        for task in prange(tasks, num_threads=team, schedule="dynamic"):
            buffer = start + threadid() * own_bytes
            correlate_task(c, &cut, phases, count, layout, x, <const real*>packed, bias, finish, y, task,
                           <real*>buffer, <Py_ssize_t*>(buffer + buffer_bytes))
    give_back(workspace)
    if kept is not None:
        kept[key] = prepared
    return 0
