# What a convolution is to the loops, and how its output is cut into bands whose input fits a cache.

cdef struct Conv:
    Py_ssize_t N, H, W, C                               # the picture that is read
    Py_ssize_t P, Q, K                                  # the picture that is written
    Py_ssize_t R, S, stride_h, stride_w, dilation_h, dilation_w, top, left
    Py_ssize_t groups, D, F                             # groups of D channels and F filters
    bint depthwise                                      # one filter for each channel. To the loops that is one group
    Py_ssize_t depth                                    # channels that one filter sees: D, or 1 if depthwise
    Py_ssize_t panels, chunks                           # a group's filters: panels as wide as the tile, chunks of panels

cdef struct Cut:                                        # a cut of P x Q outputs of N pictures into bands
    Py_ssize_t N, P, Q
    Py_ssize_t stride_h, stride_w, top, left            # output (p, q) reads from row p*stride_h - top on, `reach_h` rows
    Py_ssize_t reach_h, reach_w
    Py_ssize_t images, rows, columns                    # of a band, at most
    Py_ssize_t bands_n, bands_p, bands_q, bands

cdef struct Window:                                     # pixels of a picture, some of which may lie outside
    Py_ssize_t n, images, h, height, w, width

cdef struct Band:
    Window output, input


cdef Py_ssize_t even(Py_ssize_t total, Py_ssize_t most) noexcept nogil:
    """The size of equal parts of `total`, each `most` or less."""
    return ceil_div(total, max(1, ceil_div(total, max(1, most))))


cdef void choose_bands(Cut* cut, Py_ssize_t pixels, Py_ssize_t input) noexcept nogil:
    """Bands of at most `pixels` outputs with about `input` pixels to read: whole rows and whole pictures where that can be."""
    cdef Py_ssize_t fit = (input // cut.reach_h - cut.reach_w) // cut.stride_w + 1, width
    cut.columns = even(cut.Q, min(pixels, max(fit, 2 * TILE_ROWS)))
    width = (cut.columns - 1) * cut.stride_w + cut.reach_w
    fit = (input // width - cut.reach_h) // cut.stride_h + 1
    cut.rows = even(cut.P, min(pixels // cut.columns, fit))
    cut.images = 1
    if cut.rows == cut.P and cut.columns == cut.Q:
        fit = input // (width * ((cut.rows - 1) * cut.stride_h + cut.reach_h))
        cut.images = even(cut.N, min(pixels // (cut.rows * cut.columns), fit))
    cut.bands_n = ceil_div(cut.N, cut.images)
    cut.bands_p = ceil_div(cut.P, cut.rows)
    cut.bands_q = ceil_div(cut.Q, cut.columns)
    cut.bands = cut.bands_n * cut.bands_p * cut.bands_q


cdef Band band_at(const Cut* cut, Py_ssize_t index) noexcept nogil:
    cdef Band band
    cdef Window* output = &band.output
    output.w = index % cut.bands_q * cut.columns
    output.h = index // cut.bands_q % cut.bands_p * cut.rows
    output.n = index // (cut.bands_q * cut.bands_p) * cut.images
    output.images = min(cut.images, cut.N - output.n)
    output.height = min(cut.rows, cut.P - output.h)
    output.width = min(cut.columns, cut.Q - output.w)
    band.input.n = output.n
    band.input.images = output.images
    band.input.h = output.h * cut.stride_h - cut.top
    band.input.w = output.w * cut.stride_w - cut.left
    band.input.height = (output.height - 1) * cut.stride_h + cut.reach_h
    band.input.width = (output.width - 1) * cut.stride_w + cut.reach_w
    return band


cdef Py_ssize_t outputs_of_band(const Cut* cut) noexcept nogil:
    return cut.images * cut.rows * cut.columns


cdef Py_ssize_t inputs_of_band(const Cut* cut) noexcept nogil:
    return (cut.images * ((cut.rows - 1) * cut.stride_h + cut.reach_h) * ((cut.columns - 1) * cut.stride_w + cut.reach_w))


cdef bint inside(const Cut* cut, Py_ssize_t H, Py_ssize_t W) noexcept nogil:
    """Whether every input pixel of every band lies in the picture."""
    return (cut.top <= 0 and cut.left <= 0 and (cut.P - 1) * cut.stride_h - cut.top + cut.reach_h <= H
            and (cut.Q - 1) * cut.stride_w - cut.left + cut.reach_w <= W)


cdef void copy_window(const real* x, Py_ssize_t H, Py_ssize_t W, Py_ssize_t C, const Window* window, Py_ssize_t channel,
                      Py_ssize_t channels, Py_ssize_t depth, real* to) noexcept nogil:
    """Copy channels of a window of x (N, H, W, C) into pixels of `depth` numbers; what lies outside is zero."""
    cdef Py_ssize_t n, i, h, row = window.width * depth
    cdef Py_ssize_t before = min(max(-window.w, 0), window.width), end = min(max(W - window.w, before), window.width)
    cdef const real* pixel
    for n in range(window.n, window.n + window.images):
        for i in range(window.height):
            h = window.h + i
            if h < 0 or h >= H or before == end:
                memset(to, 0, row * sizeof(real))
            else:
                pixel = x + ((n * H + h) * W + window.w + before) * C + channel
                memset(to, 0, before * depth * sizeof(real))
                if channels == C and depth == C:
                    memcpy(to + before * depth, pixel, (end - before) * depth * sizeof(real))
                else:
                    copy_pieces(pixel, C, to + before * depth, depth, channels, end - before)
                memset(to + end * depth, 0, (window.width - end) * depth * sizeof(real))
            to += row
