# What the loops know about a convolution, and how its output is cut into bands whose input fits a cache.

cdef struct Steps:                                      # from image to image, row to row, pixel to pixel, in elements
    Py_ssize_t image, row, pixel

cdef struct Picture:
    Py_ssize_t H, W, C
    Steps steps

cdef struct Conv:
    Py_ssize_t N, H, W, C                               # the picture that is read,
    Steps steps                                         # which need not be all of what is in memory
    Py_ssize_t P, Q, K                                  # the picture that is written
    Py_ssize_t R, S, stride_h, stride_w, dilation_h, dilation_w, top, left
    Py_ssize_t groups, D, F                             # groups of D channels and F filters
    bint winograd                                       # by squares of outputs: conv_winograd.pxi
    bint overlap                                        # or by squares of what is read, whose outputs overlap
    bint depthwise                                      # one filter for each channel; to the loops that is one group
    Py_ssize_t terms                                    # channels that a filter sees at a tap: D, or 1 if depthwise
    Py_ssize_t panels, chunks                           # of a group's filters: as wide as the tile, and some of those
    Py_ssize_t piece, pieces                            # channels (of the terms) that are summed up at a time

cdef struct Cut:                                        # a cut of N x P x Q outputs into bands
    Py_ssize_t N, P, Q
    Py_ssize_t stride_h, stride_w, top, left            # output (p, q) reads from row p*stride_h - top on
    Py_ssize_t reach_h, reach_w                         # that many rows and columns
    Py_ssize_t images, rows, columns                    # outputs of a band, at most
    Py_ssize_t bands_n, bands_p, bands_q, bands

cdef struct Window:                                     # pixels of a picture, some of which may lie outside
    Py_ssize_t n, images, h, height, w, width

cdef struct Band:
    Window output, input

cdef struct Share:                                      # what one task does
    Py_ssize_t index, group, first, last                # panels first..last of a group, for the index-th band or part


cdef Share share_of(const Conv* c, Py_ssize_t task) noexcept nogil:
    cdef Py_ssize_t chunk = task % c.chunks
    return Share(task // (c.chunks * c.groups), task // c.chunks % c.groups, c.panels * chunk // c.chunks,
                 c.panels * (chunk + 1) // c.chunks)


cdef Picture whole_picture(Py_ssize_t H, Py_ssize_t W, Py_ssize_t C) noexcept nogil:
    return Picture(H, W, C, Steps(H * W * C, W * C, C))


cdef Picture picture_of(const Conv* c) noexcept nogil:
    return Picture(c.H, c.W, c.C, c.steps)


cdef Py_ssize_t even(Py_ssize_t total, Py_ssize_t most) noexcept nogil:
    """The size of equal parts of `total`, each `most` or less."""
    return ceil_div(total, max(1, ceil_div(total, max(1, most))))


cdef void choose_bands(Cut* cut, Py_ssize_t outputs, Py_ssize_t inputs) noexcept nogil:
    """Bands of at most `outputs` pixels that read about `inputs` pixels: whole rows, whole pictures if they fit."""
    cdef Py_ssize_t fit = (inputs // cut.reach_h - cut.reach_w) // cut.stride_w + 1, width
    cut.columns = even(cut.Q, min(outputs, max(fit, 2 * TILE_ROWS)))
    if cut.P == 1:      # only the last tile of the row is to have fewer rows
        cut.columns = min(cut.Q, whole_tiles(cut.columns))
    width = (cut.columns - 1) * cut.stride_w + cut.reach_w
    fit = (inputs // width - cut.reach_h) // cut.stride_h + 1
    cut.rows = even(cut.P, min(outputs // cut.columns, fit))
    cut.images = 1
    if cut.rows == cut.P and cut.columns == cut.Q:
        fit = inputs // (width * ((cut.rows - 1) * cut.stride_h + cut.reach_h))
        cut.images = even(cut.N, min(outputs // (cut.rows * cut.columns), fit))
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
    band.input = Window(output.n, output.images,
                        output.h * cut.stride_h - cut.top, (output.height - 1) * cut.stride_h + cut.reach_h,
                        output.w * cut.stride_w - cut.left, (output.width - 1) * cut.stride_w + cut.reach_w)
    return band


cdef Py_ssize_t most_outputs(const Cut* cut) noexcept nogil:
    """Output pixels of the largest band."""
    return cut.images * cut.rows * cut.columns


cdef Py_ssize_t most_inputs(const Cut* cut) noexcept nogil:
    return cut.images * ((cut.rows - 1) * cut.stride_h + cut.reach_h) * ((cut.columns - 1) * cut.stride_w + cut.reach_w)


cdef bint inside(const Cut* cut, Py_ssize_t H, Py_ssize_t W) noexcept nogil:
    """Whether no band reads outside its picture."""
    return (cut.top <= 0 and cut.left <= 0 and (cut.P - 1) * cut.stride_h - cut.top + cut.reach_h <= H
            and (cut.Q - 1) * cut.stride_w - cut.left + cut.reach_w <= W)


cdef void zero_planes(real* to, Py_ssize_t plane, Py_ssize_t planes, Py_ssize_t numbers) noexcept nogil:
    cdef Py_ssize_t i
    if numbers > 0:
        for i in range(planes):
            memset(to + i * plane, 0, numbers * sizeof(real))


cdef void copy_window(const real* x, const Picture* picture, const Window* window, Py_ssize_t channel,
                      Py_ssize_t channels, Py_ssize_t depth, Py_ssize_t plane, real* to) noexcept nogil:
    """Copy channels of a window of a picture into planes of `depth` channels; what lies outside is zero."""
    cdef Py_ssize_t planes = ceil_div(channels, max(1, depth))
    cdef Py_ssize_t n, i, h, row = window.width * depth, before = min(max(-window.w, 0), window.width)
    cdef Py_ssize_t end = min(max(picture.W - window.w, before), window.width)
    cdef const real* pixel
    for n in range(window.n, window.n + window.images):
        for i in range(window.height):
            h = window.h + i
            if h < 0 or h >= picture.H or before == end:
                zero_planes(to, plane, planes, row)
            else:
                pixel = x + (n * picture.steps.image + h * picture.steps.row
                             + (window.w + before) * picture.steps.pixel + channel)
                zero_planes(to, plane, planes, before * depth)
                if channels == depth == picture.steps.pixel:
                    memcpy(to + before * depth, pixel, (end - before) * depth * sizeof(real))
                elif planes == 1:
                    copy_pieces(pixel, picture.steps.pixel, to + before * depth, depth, channels, end - before)
                else:
                    copy_planes(pixel, picture.steps.pixel, to + before * depth, depth, plane, channels, end - before)
                zero_planes(to + end * depth, plane, planes, (window.width - end) * depth)
            to += row


cdef const real* read_window(const real* x, const Picture* picture, const Window* window, bint in_place,
                             Py_ssize_t channel, Py_ssize_t depth, real* buffer, Steps* steps) noexcept nogil:
    """Where `depth` channels of a window can be read: in x itself, if that is allowed, or copied into the buffer."""
    if in_place:
        steps[0] = picture.steps
        return x + window.n * steps.image + window.h * steps.row + window.w * steps.pixel + channel
    steps[0] = Steps(window.height * window.width * depth, window.width * depth, depth)
    copy_window(x, picture, window, channel, min(depth, picture.C - channel), depth, 0, buffer)
    return buffer
