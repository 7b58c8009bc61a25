"""Convolutions of channels-last pictures: forward, the gradient by the picture, the gradient by the filters.

All of them come down to the register tile (tile.h). The output is cut into bands, rectangles of pixels whose input
fits the second-level cache. A task copies the input of its band into a buffer, with the zeros of the padding around it
(or reads it where it is, if there is no padding), lists where in it the pixels and the taps of the filter are, and
walks over it tile by tile:

    correlate      rows are pixels of the band, columns are filters, the sums go over the taps
    weight_grad    rows are taps, columns are filters, the sums go over the pixels of some bands

The gradient by the picture is a correlation as well: of dy with the filters turned around, channels and filters
swapped. With a stride, an input pixel meets only some of the taps, those that fit its phase, its place within the
stride: one correlation for each phase.

Algorithm "depthwise" is for one filter per channel: the same tile with a vector of channels in place of one number,
which reads everything where it lies (conv_depthwise.pxi).
Algorithm "winograd" is for 3x3 and 5x5 filters with stride 1 in float32: fewer products (conv_winograd.pxi).
Algorithm "joined" is for a convolution and a depthwise one behind it, without the picture between them
(conv_joined.pxi).

Results do not depend on the number of threads: an output of correlate is one sum in a fixed order, and the number of
partial sums in weight_grad follows from the shape.
"""

include "common.pxi"
include "tile.pxi"

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY

include "conv_bands.pxi"
include "conv_correlate.pxi"
include "conv_depthwise.pxi"
include "conv_joined.pxi"
include "conv_weight_grad.pxi"
include "conv_winograd.pxi"
include "conv_winograd_weight_grad.pxi"


cdef Conv describe(dtype, picture, out, kernel, stride, padding, dilation, Py_ssize_t groups, algorithm) except *:
    """The convolution that reads a picture of this shape and writes one of shape `out`."""
    cdef Conv c
    c.N, c.H, c.W, c.C = picture
    c.P, c.Q, c.K = out[1:]
    c.R, c.S = kernel
    c.stride_h, c.stride_w = stride
    c.dilation_h, c.dilation_w = dilation
    c.top, c.left = padding[0], padding[2]
    c.depthwise = algorithm == "depthwise"
    c.winograd = algorithm == "winograd"
    c.overlap = False
    if algorithm not in ("direct", "depthwise", "winograd"):
        raise ValueError(f"convolution: no algorithm {algorithm!r}, expected 'direct', 'depthwise' or 'winograd'")
    if c.depthwise and not (groups == c.C == c.K):
        raise ValueError(f"convolution: 'depthwise' is for one filter per channel, not for {c.C} channels, "
                         f"{c.K} filters and {groups} groups")
    if c.winograd and not (dtype == F32 and c.R == c.S and c.R in (3, 5)
                           and c.stride_h == c.stride_w == c.dilation_h == c.dilation_w == groups == 1):
        raise ValueError(f"convolution: 'winograd' is for 3x3 and 5x5 filters in float32, one group, no stride or "
                         f"dilation, not for {c.R}x{c.S} in {dtype}, {groups} groups, stride {stride}, "
                         f"dilation {dilation}")
    c.groups = 1 if c.depthwise else groups
    c.D, c.F = c.C // c.groups, c.K // c.groups
    c.terms = 1 if c.depthwise else c.D
    c.panels = c.chunks = c.piece = c.pieces = 0
    c.steps = whole_picture(c.H, c.W, c.C).steps
    return c


cdef void join_pixels(Conv* c) noexcept:
    """1x1 filters: where no pixel sees its neighbours, all of them may be in one row."""
    if c.R == c.S == c.stride_h == c.stride_w == 1 and c.P == c.H and c.Q == c.W:
        c.W = c.Q = c.N * c.P * c.Q
        c.N = c.H = c.P = 1
        c.steps = whole_picture(c.H, c.W, c.C).steps


cdef void skip_pixels(Conv* c) noexcept:
    """1x1 filters with a stride: to them the pixels in between are not there."""
    if (c.R == c.S == 1 and c.top == c.left == 0
            and (c.P - 1) * c.stride_h < c.H and (c.Q - 1) * c.stride_w < c.W):
        c.H, c.W = c.P, c.Q
        c.steps.row *= c.stride_h
        c.steps.pixel *= c.stride_w
        c.stride_h = c.stride_w = 1


def conv2d_forward(x, w, bias, add, y, stride, padding, dilation, groups, low, high, algorithm, kept=None):
    cdef Conv c = describe(x.dtype, x.shape, y.shape, w.shape[:2], stride, padding, dilation, groups, algorithm)
    join_pixels(&c)
    skip_pixels(&c)
    cdef Py_ssize_t column = c.terms * c.K
    cdef Phase phase = Phase(c.P, c.Q, 0, c.R, c.S, c.dilation_h, c.dilation_w, c.top, c.left, 0, c.S * column, column,
                             0)
    cdef Layout layout = Layout(c.K, 1, c.F, Steps(c.P * c.Q * c.K, c.Q * c.K, c.K))
    cdef Finish epilogue = Finish(data(add), low, high)
    cdef const Finish* finish = &epilogue if add is not None or low > -INFINITY or high < INFINITY else NULL
    key = (algorithm, x.dtype.char, TILE_BYTES, groups, w.shape)    # what the prepared filters depend on
    if c.winograd:
        winograd_correlate(&c, &phase, &layout, <const float*>data(x), <const float*>data(w), <const float*>data(bias),
                           finish, <float*>data(y), kept, key)
    elif c.depthwise and x.dtype == F32:
        correlate_depthwise(&c, &phase, 1, &layout, <const float*>data(x), <const float*>data(w),
                            <const float*>data(bias), finish, <float*>data(y))
    elif c.depthwise:
        correlate_depthwise(&c, &phase, 1, &layout, <const double*>data(x), <const double*>data(w),
                            <const double*>data(bias), finish, <double*>data(y))
    elif x.dtype == F32:
        correlate(&c, &phase, 1, &layout, <const float*>data(x), <const float*>data(w), <const float*>data(bias),
                  finish, <float*>data(y), kept, key)
    else:
        correlate(&c, &phase, 1, &layout, <const double*>data(x), <const double*>data(w), <const double*>data(bias),
                  finish, <double*>data(y), kept, key)


def conv2d_depthwise(x, w, bias, filters, shift, y, stride, padding, dilation, low, high, deep_stride, deep_padding,
                     deep_dilation, deep_low, deep_high, algorithm, kept=None):
    if algorithm not in ("direct", "joined"):
        raise ValueError(f"conv2d_depthwise: no algorithm {algorithm!r}, expected 'direct' or 'joined'")
    cdef Py_ssize_t channels = w.shape[3]
    size = [max(0, (x.shape[1 + i] + padding[2 * i] + padding[2 * i + 1] - dilation[i] * (w.shape[i] - 1) - 1)
                // stride[i] + 1) for i in (0, 1)]
    between = (x.shape[0], *size, channels)
    if channels == 0:
        return
    if algorithm == "direct":
        wide_y = np.empty(between, x.dtype)
        for array in (x, w, bias, filters, shift, y):
            data(array)     # refuses what is not contiguous before anything is written
        conv2d_forward(x, w, bias, None, wide_y, stride, padding, dilation, 1, low, high, "direct")
        conv2d_forward(wide_y, filters, shift, None, y, deep_stride, deep_padding, deep_dilation, channels, deep_low,
                       deep_high, "depthwise" if channels > 1 else "direct")
        return
    cdef Conv wide = describe(x.dtype, x.shape, between, w.shape[:2], stride, padding, dilation, 1, "direct")
    cdef Conv deep = describe(x.dtype, between, y.shape, filters.shape[:2], deep_stride, deep_padding, deep_dilation,
                              channels, "depthwise")
    cdef Py_ssize_t column = wide.C * wide.K
    cdef Phase phase = Phase(wide.P, wide.Q, 0, wide.R, wide.S, wide.dilation_h, wide.dilation_w, wide.top, wide.left,
                             0, wide.S * column, column, 0)
    cdef Layout layout = Layout(wide.K, 1, wide.F, Steps(0, 0, 0))
    cdef Finish clip = Finish(NULL, low, high), finish = Finish(NULL, deep_low, deep_high)
    key = (algorithm, x.dtype.char, TILE_BYTES, w.shape, filters.shape)
    if x.dtype == F32:
        joined(&wide, &phase, &layout, &deep, <const float*>data(x), <const float*>data(w), <const float*>data(bias),
               &clip, <const float*>data(filters), <const float*>data(shift), &finish, <float*>data(y), kept, key)
    else:
        joined(&wide, &phase, &layout, &deep, <const double*>data(x), <const double*>data(w),
               <const double*>data(bias), &clip, <const double*>data(filters), <const double*>data(shift), &finish,
               <double*>data(y), kept, key)


cdef struct Axis:                   # a phase along one axis: pixels first, first + stride, ...
    Py_ssize_t first, count
    Py_ssize_t taps, last, step     # taps last, last - step, ... reach them
    Py_ssize_t dilation, before     # of the correlation that makes them


cdef Axis phase_axis(Py_ssize_t phase, Py_ssize_t size, Py_ssize_t taps, Py_ssize_t stride, Py_ssize_t dilation,
                     Py_ssize_t before):
    """The pixels h with (h + before) % stride == phase; dy[p] and tap r meet at h = p*stride - before + r*dilation."""
    cdef Axis axis = Axis(((phase - before) % stride + stride) % stride, 0, 0, 0, 1, 1, 0)
    cdef Py_ssize_t r
    if axis.first < size:
        axis.count = ceil_div(size - axis.first, stride)
    for r in range(taps):
        if r * dilation % stride == phase:
            axis.taps += 1
            axis.step = r - axis.last
            axis.last = r
    if axis.taps > 1:
        axis.dilation = axis.step * dilation // stride
    if axis.taps > 0:
        axis.before = (axis.last * dilation - axis.first - before) // stride
    return axis


def conv2d_input_grad(dy, w, dx, size, stride, padding, dilation, groups, algorithm):
    # dy is the picture that is read (c.H, c.W, c.C), dx the one that is written (c.P, c.Q, c.K).
    cdef Conv c = describe(dy.dtype, dy.shape, dx.shape, w.shape[:2], stride, padding, dilation, groups, algorithm)
    join_pixels(&c)
    cdef Py_ssize_t filters = w.shape[3], column = w.shape[2] * filters, row = c.S * column, i, count = 0
    cdef Layout layout = Layout(1, 1 if c.depthwise else filters, c.D,
                                Steps(c.P * c.Q * c.K, c.stride_h * c.Q * c.K, c.stride_w * c.K))
    cdef Axis high, wide
    cdef Phase* phases = <Phase*>allocate(c.stride_h * c.stride_w, sizeof(Phase))
    for i in range(c.stride_h * c.stride_w):
        high = phase_axis(i // c.stride_w, c.P, c.R, c.stride_h, c.dilation_h, c.top)
        wide = phase_axis(i % c.stride_w, c.Q, c.S, c.stride_w, c.dilation_w, c.left)
        if high.count * wide.count == 0:
            continue
        phases[count] = Phase(
            high.count, wide.count, (high.first * c.Q + wide.first) * c.K,
            high.taps if wide.taps else 0, wide.taps if high.taps else 0, high.dilation, wide.dilation, high.before,
            wide.before, high.last * row + wide.last * column, -high.step * row, -wide.step * column, 0)
        count += 1
    c.stride_h = c.stride_w = 1     # each phase is a correlation without a stride
    try:
        if count == 0:
            pass
        elif c.winograd:
            c.overlap = better_overlapping(&c)
            if c.overlap:
                phases.w, phases.w_row, phases.w_column = 0, row, column    # the filters as they are, not turned
            winograd_correlate(&c, phases, &layout, <const float*>data(dy), <const float*>data(w), NULL,
                               NULL, <float*>data(dx), None, None)
        elif c.depthwise and dy.dtype == F32:
            correlate_depthwise(&c, phases, count, &layout, <const float*>data(dy), <const float*>data(w),
                                <const float*>NULL, NULL, <float*>data(dx))
        elif c.depthwise:
            correlate_depthwise(&c, phases, count, &layout, <const double*>data(dy), <const double*>data(w),
                                <const double*>NULL, NULL, <double*>data(dx))
        elif dy.dtype == F32:
            correlate(&c, phases, count, &layout, <const float*>data(dy), <const float*>data(w), <const float*>NULL,
                      NULL, <float*>data(dx), None, None)
        else:
            correlate(&c, phases, count, &layout, <const double*>data(dy), <const double*>data(w), <const double*>NULL,
                      NULL, <double*>data(dx), None, None)
    finally:
        free(phases)


def conv2d_weight_grad(x, dy, dw, kernel, stride, padding, dilation, groups, algorithm):
    cdef Conv c = describe(x.dtype, x.shape, dy.shape, kernel, stride, padding, dilation, groups, algorithm)
    join_pixels(&c)
    skip_pixels(&c)
    if c.winograd:
        winograd_weight_grad(&c, <const float*>data(x), <const float*>data(dy), <float*>data(dw))
    elif better_turned(&c) and x.dtype == F32:
        turned_weight_grad(&c, <const float*>data(x), <const float*>data(dy), <float*>data(dw))
    elif better_turned(&c):
        turned_weight_grad(&c, <const double*>data(x), <const double*>data(dy), <double*>data(dw))
    elif x.dtype == F32:
        weight_grad(&c, <const float*>data(x), <const float*>data(dy), <float*>data(dw))
    else:
        weight_grad(&c, <const double*>data(x), <const double*>data(dy), <double*>data(dw))
