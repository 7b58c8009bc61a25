"""Depthwise convolution: every filter sees one channel, so that there is no product of matrices to be made of it.

A number is read for every product or two: memory sets the pace, and what counts is to read whole lines of it. Channels
are innermost, so neighbouring threads take neighbouring channels of a pixel, four each where they come in fours; the
other pixels of a window, and the weights, are then found in the caches. There may be several filters to a channel
(channel = filter / multiplier): these threads take one filter, or one channel, each.

Howard et al. 2017, "MobileNets"; Chollet 2017, "Xception: Deep Learning with Depthwise Separable Convolutions".
"""

from math import gcd
from typing import Any

import numpy as np
from numba import cuda
from numba import uint32 as u32

from .compiler import THREADS, kernel
from .conv_gather import add_digits, axis_back, clip, digits
from .define import device
from .intrinsics import divide, load4, position, store4
from .launcher import cover, launch
from .matmul import add_up
from .memory import DeviceArray, empty
from .tile import MULTIPROCESSORS

VARIANTS = ((np.float32, 1), (np.float32, 4), (np.float64, 1), (np.float64, 4))


@device
def get_four(x: Any, index: Any, values: Any) -> None:
    values[0], values[1], values[2], values[3] = load4(x, index)


@device
def get_one(x: Any, index: Any, values: Any) -> None:
    values[0] = x[index]


@device
def set_four(y: Any, index: Any, values: Any) -> None:
    store4(y, index, values[0], values[1], values[2], values[3])


@device
def set_one(y: Any, index: Any, values: Any) -> None:
    y[index] = values[0]


@kernel("x: real*, w: real*, bias: real*, add: real*, y: real*, count: u32, height: u32, width: u32, channels: u32,"
        "high: u32, wide: u32, filters: u32, multiplier: u32, taps_down: u32, taps_across: u32, stride_down: u32,"
        "stride_across: u32, top: u32, left: u32, dilation_down: u32, dilation_across: u32, low: real, most: real,"
        "biased: u32, added: u32", variants=VARIANTS)
def depthwise(real: Any, lanes: int) -> Any:
    """y = the convolution of x and w; a thread makes `lanes` channels of an output. count: such threads."""
    get, put = (get_four, set_four) if lanes == 4 else (get_one, set_one)

    def depthwise(x, w, bias, add, y, count, height, width, channels, high, wide, filters, multiplier, taps_down,
                  taps_across, stride_down, stride_across, top, left, dilation_down, dilation_across, low, most, biased,
                  added):
        thread = position()
        if thread >= count:
            return
        sums, a, b = cuda.local.array(lanes, real), cuda.local.array(lanes, real), cuda.local.array(lanes, real)
        output = divide(thread, u32(divide(filters, u32(lanes))))
        k = u32(u32(thread * u32(lanes)) - output * filters)
        c = divide(k, multiplier)
        n, p, q = digits(output, high, wide)
        for lane in range(lanes):
            sums[lane] = real(0)
        for r in range(taps_down):
            i = u32(p * stride_down - top + u32(r) * dilation_down)
            if i < height:
                for s in range(taps_across):
                    j = u32(q * stride_across - left + u32(s) * dilation_across)
                    if j < width:
                        get(x, u32(u32(u32(n * height + i) * width + j) * channels + c), a)
                        get(w, u32(u32(u32(r) * taps_across + u32(s)) * filters + k), b)
                        for lane in range(lanes):
                            sums[lane] += a[lane] * b[lane]
        at = u32(thread * u32(lanes))
        if biased != u32(0):
            get(bias, k, a)
            for lane in range(lanes):
                sums[lane] += a[lane]
        if added != u32(0):
            get(add, at, a)
            for lane in range(lanes):
                sums[lane] += a[lane]
        for lane in range(lanes):
            sums[lane] = clip(sums[lane], low, most)
        put(y, at, sums)
    return depthwise


@kernel("dy: real*, w: real*, dx: real*, count: u32, height: u32, width: u32, channels: u32, high: u32, wide: u32,"
        "filters: u32, multiplier: u32, taps_down: u32, taps_across: u32, stride_down: u32, stride_across: u32,"
        "top: u32, left: u32, dilation_down: u32, dilation_across: u32, every_down: u32, every_across: u32",
        variants=VARIANTS)
def depthwise_input_grad(real: Any, lanes: int) -> Any:
    """dx; a thread makes `lanes` channels of a pixel. height, width, channels: of dx. every: as in conv2d_tiles."""
    one_filter, get, put = (True, get_four, set_four) if lanes == 4 else (False, get_one, set_one)

    def depthwise_input_grad(dy, w, dx, count, height, width, channels, high, wide, filters, multiplier, taps_down,
                             taps_across, stride_down, stride_across, top, left, dilation_down, dilation_across,
                             every_down, every_across):
        thread = position()
        if thread >= count:
            return
        sums, a, b = cuda.local.array(lanes, real), cuda.local.array(lanes, real), cuda.local.array(lanes, real)
        pixel = divide(thread, u32(divide(channels, u32(lanes))))
        c = u32(u32(thread * u32(lanes)) - pixel * channels)
        several = u32(1) if one_filter else multiplier
        n, i, j = digits(pixel, height, width)
        _, _, base_i, taps_i, first_r, tap_i = axis_back(
            i, high, top, stride_down, dilation_down, every_down, taps_down)
        _, _, base_j, taps_j, first_s, tap_j = axis_back(
            j, wide, left, stride_across, dilation_across, every_across, taps_across)
        for lane in range(lanes):
            sums[lane] = real(0)
        for r in range(taps_i):
            p = u32(base_i + u32(r) * tap_i)
            if p < high:
                for s in range(taps_j):
                    q = u32(base_j + u32(s) * tap_j)
                    if q < wide:
                        tap = u32(u32(first_r + u32(r) * every_down) * taps_across + first_s + u32(s) * every_across)
                        at = u32(u32(u32(n * high + p) * wide + q) * filters + c * several)
                        weight = u32(tap * filters + c * several)
                        for k in range(several):
                            get(dy, u32(at + u32(k)), a)
                            get(w, u32(weight + u32(k)), b)
                            for lane in range(lanes):
                                sums[lane] += a[lane] * b[lane]
        put(dx, u32(thread * u32(lanes)), sums)
    return depthwise_input_grad


#: Channels that a block of the gradient by the weights sums: 128 bytes of float32 to a line.
ACROSS = 32


@kernel("x: real*, dy: real*, dw: real*, outputs: u32, part: u32, height: u32, width: u32, channels: u32, high: u32,"
        "wide: u32, filters: u32, multiplier: u32, taps_across: u32, stride_down: u32, stride_across: u32, top: u32,"
        "left: u32, dilation_down: u32, dilation_across: u32", variants=VARIANTS)
def depthwise_weight_grad(real: Any, lanes: int) -> Any:
    """dw, of which a block makes one tap of ACROSS filters, or its sum over a part of the outputs: its threads stand
    ACROSS / lanes abreast, and each line of them sums every so many outputs; then the lines are added up by halves."""
    get, lines, room = (get_four if lanes == 4 else get_one), THREADS * lanes // ACROSS, THREADS * lanes

    def depthwise_weight_grad(x, dy, dw, outputs, part, height, width, channels, high, wide, filters, multiplier,
                              taps_across, stride_down, stride_across, top, left, dilation_down, dilation_across):
        shared = cuda.shared.array(room, real, 16)
        sums, a, b = cuda.local.array(lanes, real), cuda.local.array(lanes, real), cuda.local.array(lanes, real)
        thread = u32(cuda.threadIdx.x)
        line = divide(thread, u32(ACROSS // lanes))
        over = u32(u32(thread - line * u32(ACROSS // lanes)) * u32(lanes))
        k = u32(cuda.blockIdx.x * u32(ACROSS) + over)
        tap = u32(cuda.blockIdx.y)
        r = divide(tap, taps_across)
        s = u32(tap - r * taps_across)
        for lane in range(lanes):
            sums[lane] = real(0)
        if k < filters:
            c = divide(k, multiplier)
            output = u32(cuda.blockIdx.z * part + line)
            end = min(u32(u32(cuda.blockIdx.z + u32(1)) * part), outputs)
            n, p, q = digits(output, high, wide)
            more_n, more_p, more_q = digits(u32(lines), high, wide)
            while output < end:
                i = u32(p * stride_down - top + r * dilation_down)
                j = u32(q * stride_across - left + s * dilation_across)
                if i < height and j < width:
                    get(x, u32(u32(u32(n * height + i) * width + j) * channels + c), a)
                    get(dy, u32(output * filters + k), b)
                    for lane in range(lanes):
                        sums[lane] += a[lane] * b[lane]
                n, p, q = add_digits(n, p, q, more_n, more_p, more_q, high, wide)
                output = u32(output + u32(lines))
        at = u32(line * u32(ACROSS) + over)
        for lane in range(lanes):
            shared[u32(at + u32(lane))] = sums[lane]
        cuda.syncthreads()
        half = u32(lines // 2)
        while half > u32(0):
            if line < half:
                for lane in range(lanes):
                    shared[u32(at + u32(lane))] += shared[u32(at + u32(lane) + half * u32(ACROSS))]
            cuda.syncthreads()
            half = u32(half >> u32(1))
        if line == u32(0) and k < filters:
            first = u32(u32(cuda.blockIdx.z * cuda.gridDim.y + tap) * filters + k)
            for lane in range(lanes):
                dw[u32(first + u32(lane))] = shared[u32(at + u32(lane))]
    return depthwise_weight_grad


def forward(x: DeviceArray, w: DeviceArray, bias: DeviceArray | None, add: DeviceArray | None, y: DeviceArray,
            stride: Any, padding: Any, dilation: Any, groups: int, low: float, high: float) -> None:
    """The contract conv2d_forward where each group has one channel."""
    height, width, channels = x.shape[1:]
    filters = y.shape[3]
    lanes = _lanes(channels, filters)
    count = y.size // lanes
    launch(depthwise(y.dtype.type, lanes), cover(count), x, w, bias, add, y, count, height, width, channels,
           *y.shape[1:], filters // channels, *w.shape[:2], *stride, padding[0], padding[2], *dilation, low, high,
           bias is not None, add is not None)


def input_grad(dy: DeviceArray, w: DeviceArray, dx: DeviceArray, size: Any, stride: Any, padding: Any, dilation: Any,
               groups: int) -> None:
    """The contract conv2d_input_grad where each group has one channel."""
    channels, filters = dx.shape[3], dy.shape[3]
    lanes = _lanes(channels, filters)
    every = [s // gcd(s, d) for s, d in zip(stride, dilation, strict=True)]
    count = dx.size // lanes
    launch(depthwise_input_grad(dx.dtype.type, lanes), cover(count), dy, w, dx, count, *dx.shape[1:], *dy.shape[1:],
           filters // channels, *w.shape[:2], *stride, padding[0], padding[2], *dilation, *every)


def weight_grad(x: DeviceArray, dy: DeviceArray, dw: DeviceArray, kernel: Any, stride: Any, padding: Any, dilation: Any,
                groups: int) -> None:
    """The contract conv2d_weight_grad where each group has one channel."""
    height, width, channels = x.shape[1:]
    n, high, wide, filters = dy.shape
    lanes, outputs, taps = _lanes(channels, filters), n * high * wide, kernel[0] * kernel[1]
    blocks, lines = cover(filters, ACROSS) * taps, THREADS * lanes // ACROSS
    parts = max(1, min(8 * MULTIPROCESSORS // max(blocks, 1), outputs // (16 * lines)))
    sums = dw if parts == 1 else empty((parts, *dw.shape), dw.dtype, dw.device)
    launch(depthwise_weight_grad(dw.dtype.type, lanes), (cover(filters, ACROSS), taps, parts), x, dy, sums, outputs,
           cover(outputs, parts), height, width, channels, max(high, 1), max(wide, 1), filters,
           filters // max(channels, 1), kernel[1], *stride, padding[0], padding[2], *dilation)
    if parts > 1:
        add_up(sums, None, dw)


def _lanes(channels: int, filters: int) -> int:
    return 4 if channels == filters and channels % 4 == 0 else 1
