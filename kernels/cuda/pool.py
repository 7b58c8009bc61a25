"""Max and average pooling of pictures (N, H, W, C).

A thread makes one place of the result, in 4 neighbouring channels where their number divides by 4 (`lanes`): to find
out which place that is takes several divisions, and windows are small. Channels are innermost, so neighbouring threads
read neighbouring addresses, 16 bytes each. A gradient is gathered, not scattered: who makes a place of dx looks at all
windows that reach it, in their order; no two threads write to one place, and sums come out the same every time.

Places are unsigned. One that lies before the picture wraps round to a huge number, so that `h < height` is all that has
to be asked at either edge.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numba import cuda, uint32

from .compiler import kernel
from .define import device
from .intrinsics import divide, load4, position, store4
from .launcher import cover, launch
from .memory import DeviceArray

Pair = tuple[int, int]
Edges = tuple[int, int, int, int]

FLOATS = (np.float32, np.float64)
POSITIONS = (np.uint8, np.int32)  # of windows of at most 256 places, and of larger ones
LANES = (1, 4)
NOWHERE = 255  # the position of a maximum whose gradient goes nowhere
NONE = 0xFFFFFFFF

#: What every kernel is told: the sizes of x and of y (`channels` in groups of lanes), how many threads have work, and
#: the size of a window, its step, and how far before x the first one begins.
WINDOWS = ("height: u32, width: u32, rows: u32, columns: u32, channels: u32, count: u32, "
           "high: u32, wide: u32, down: u32, across: u32, top: u32, left: u32")
#: From a tap of a window to the next, down and across: its dilation.
HOLES = "hole_down: u32, hole_across: u32"


@device
def place(i: Any, rows: Any, columns: Any, channels: Any) -> Any:
    """Element i of an array (N, rows, columns, channels) as (n, row, column, channel)."""
    pixel = divide(i, channels)
    line = divide(pixel, columns)
    picture = divide(line, rows)
    return picture, uint32(line - picture * rows), uint32(pixel - line * columns), uint32(i - pixel * channels)


@device
def element(n: Any, row: Any, column: Any, c: Any, rows: Any, columns: Any, channels: Any) -> Any:
    """The way back."""
    return uint32(((n * rows + row) * columns + column) * channels + c)


@device
def load(source: Any, group: Any, lanes: Any, target: Any) -> None:
    """The `lanes` neighbouring numbers of a group, into registers: a local array whose indices the compiler knows."""
    if lanes == 4:
        target[0], target[1], target[2], target[3] = load4(source, uint32(group * uint32(4)))
    else:
        target[0] = source[group]


@device
def store(target: Any, group: Any, lanes: Any, source: Any) -> None:
    """And back into memory."""
    if lanes == 4:
        store4(target, uint32(group * uint32(4)), source[0], source[1], source[2], source[3])
    else:
        target[group] = source[0]


@device
def windows_over(h: Any, before: Any, length: Any, step: Any, windows: Any) -> Any:
    """The windows along one axis that may reach place h, as (first, end). length: of a window, its holes included."""
    reach = uint32(h + before)
    first = divide(uint32(reach - length + step), step) if reach >= length else uint32(0)
    return first, min(windows, uint32(divide(reach, step) + uint32(1)))


def windows(x_shape: Any, y_shape: Any, count: int, kernel: Pair, stride: Pair, before: Iterable[int],
            widest: int = 4) -> tuple[int, ...]:
    """The lanes, then what WINDOWS lists. count: the elements to be made."""
    channels = y_shape[3]
    lanes = widest if channels % widest == 0 else 1
    return lanes, *x_shape[1:3], *y_shape[1:3], channels // lanes, count // lanes, *kernel, *stride, *before


# --------------------------------------------------------------------------------------------------- max pooling


@kernel(f"x: real*, y: real*, found: byte*, {WINDOWS}, {HOLES}, rectified: u32",
        variants=tuple((real, byte, lanes) for real in FLOATS for byte in POSITIONS for lanes in LANES))
def max_windows(real, byte, lanes):
    def max_windows(x, y, found, height, width, rows, columns, channels, count, high, wide, down, across, top, left,
                    hole_down, hole_across, rectified):
        i = position()
        if i >= count:
            return
        n, p, q, c = place(i, rows, columns, channels)
        value, best = cuda.local.array(lanes, real), cuda.local.array(lanes, real)
        where, places = cuda.local.array(lanes, uint32), cuda.local.array(lanes, byte)
        for lane in range(lanes):
            best[lane] = real(-np.inf)
            where[lane] = uint32(NONE)
        first_h, first_w, tap = uint32(p * down - top), uint32(q * across - left), uint32(0)
        end_h, end_w = uint32(first_h + high * hole_down), uint32(first_w + wide * hole_across)
        h = first_h
        while h != end_h:
            w = first_w
            while w != end_w:
                if h < height and w < width:
                    load(x, element(n, h, w, c, height, width, channels), lanes, value)
                    for lane in range(lanes):
                        new = value[lane]
                        # the first place wins whatever stands there; then larger ones, and NaN
                        if new > best[lane] or new != new or where[lane] == uint32(NONE):
                            best[lane] = new
                            where[lane] = tap
                tap = uint32(tap + uint32(1))
                w = uint32(w + hole_across)
            h = uint32(h + hole_down)
        for lane in range(lanes):
            if rectified and not best[lane] > real(0):
                where[lane] = uint32(NOWHERE)
            places[lane] = byte(uint32(0) if where[lane] == uint32(NONE) else where[lane])
        store(y, i, lanes, best)
        store(found, i, lanes, places)
    return max_windows


@kernel(f"dy: real*, found: byte*, dx: real*, {WINDOWS}, {HOLES}",
        variants=tuple((real, byte, lanes) for real in FLOATS for byte in POSITIONS for lanes in LANES))
def max_gather(real, byte, lanes):
    def max_gather(dy, found, dx, height, width, rows, columns, channels, count, high, wide, down, across, top, left,
                   hole_down, hole_across):
        i = position()
        if i >= count:
            return
        n, h, w, c = place(i, height, width, channels)
        value, total = cuda.local.array(lanes, real), cuda.local.array(lanes, real)
        places = cuda.local.array(lanes, byte)
        for lane in range(lanes):
            total[lane] = real(0)
        length_h = uint32((high - uint32(1)) * hole_down + uint32(1))
        length_w = uint32((wide - uint32(1)) * hole_across + uint32(1))
        p, end_p = windows_over(h, top, length_h, down, rows)
        first_q, end_q = windows_over(w, left, length_w, across, columns)
        while p < end_p:
            row = uint32(h + top - p * down)  # from the window's first
            r = divide(row, hole_down)
            q = first_q
            while q < end_q:
                column = uint32(w + left - q * across)
                s = divide(column, hole_across)
                if r * hole_down == row and s * hole_across == column:  # on a tap, not in a hole
                    at = element(n, p, q, c, rows, columns, channels)
                    load(dy, at, lanes, value)
                    load(found, at, lanes, places)
                    tap = uint32(r * wide + s)
                    for lane in range(lanes):
                        total[lane] += value[lane] if uint32(places[lane]) == tap else real(0)
                q = uint32(q + uint32(1))
            p = uint32(p + uint32(1))
        store(dx, i, lanes, total)
    return max_gather


@device
def tap_place(tap: Any, first_h: Any, first_w: Any, high: Any, wide: Any, hole_down: Any, hole_across: Any) -> Any:
    """The place in x of a position in a window that begins at (first_h, first_w); a huge one if it is in no window."""
    r = divide(tap, wide)
    s = uint32(tap - r * wide)
    return uint32(first_h + r * hole_down) if r < high else uint32(NONE), uint32(first_w + s * hole_across)


@kernel(f"x: real*, found: byte*, y: real*, {WINDOWS}, {HOLES}",
        variants=tuple((real, byte) for real in FLOATS for byte in POSITIONS))
def max_pick(real, byte):
    def max_pick(x, found, y, height, width, rows, columns, channels, count, high, wide, down, across, top, left,
                 hole_down, hole_across):
        i = position()
        if i >= count:
            return
        n, p, q, c = place(i, rows, columns, channels)
        h, w = tap_place(uint32(found[i]), uint32(p * down - top), uint32(q * across - left), high, wide, hole_down,
                         hole_across)
        y[i] = x[element(n, h, w, c, height, width, channels)] if h < height and w < width else real(0)
    return max_pick


@kernel(f"found: byte*, index: i64*, {WINDOWS}, {HOLES}", variants=tuple((byte,) for byte in POSITIONS))
def max_index(byte):
    def max_index(found, index, height, width, rows, columns, channels, count, high, wide, down, across, top, left,
                  hole_down, hole_across):
        i = position()
        if i >= count:
            return
        _, p, q, _ = place(i, rows, columns, channels)
        h, w = tap_place(uint32(found[i]), uint32(p * down - top), uint32(q * across - left), high, wide, hole_down,
                         hole_across)
        index[i] = uint32(h * width + w) if h < height and w < width else uint32(0)
    return max_index


def max_pool2d(x: DeviceArray, y: DeviceArray, found: DeviceArray, kernel: Pair, stride: Pair, padding: Pair,
               dilation: Pair, size: Pair, rectified: bool) -> None:
    lanes, *sizes = windows(x.shape, y.shape, y.size, kernel, stride, padding)
    launch(max_windows(x.dtype, found.dtype, lanes), cover(y.size // lanes), x, y, found, *sizes, *dilation,
           bool(rectified))


def max_pool2d_grad(dy: DeviceArray, found: DeviceArray, dx: DeviceArray, size: Pair, kernel: Pair, stride: Pair,
                    padding: Pair, dilation: Pair) -> None:
    lanes, *sizes = windows(dx.shape, dy.shape, dx.size, kernel, stride, padding)
    launch(max_gather(dx.dtype, found.dtype, lanes), cover(dx.size // lanes), dy, found, dx, *sizes, *dilation)


def max_pool2d_pick(x: DeviceArray, found: DeviceArray, y: DeviceArray, kernel: Pair, stride: Pair, padding: Pair,
                    dilation: Pair) -> None:
    _, *sizes = windows(x.shape, y.shape, y.size, kernel, stride, padding, widest=1)
    launch(max_pick(x.dtype, found.dtype), cover(y.size), x, found, y, *sizes, *dilation)


def max_pool2d_index(found: DeviceArray, index: DeviceArray, size: Pair, kernel: Pair, stride: Pair, padding: Pair,
                     dilation: Pair) -> None:
    _, *sizes = windows((1, *size, 1), index.shape, index.size, kernel, stride, padding, widest=1)
    launch(max_index(found.dtype), cover(index.size), found, index, *sizes, *dilation)


# ----------------------------------------------------------------------------------------------- average pooling

#: What a sum is divided by; 0: by how many places of the window count. Those lie in a rectangle, x or x with its
#: padding, which begins skip_top rows below the first window's first and skip_left columns to the right.
COUNTED = "divisor: real, skip_top: u32, skip_left: u32, counted_rows: u32, counted_columns: u32"


@device
def overlap(start: Any, length: Any, size: Any) -> Any:
    """How many of the `length` places from `start` on lie among 0..size-1."""
    if start < size:
        return min(length, uint32(size - start))
    skipped = uint32(uint32(0) - start)  # those before 0; where `start` is behind size, more than there are
    return min(uint32(length - skipped), size) if skipped < length else uint32(0)


@device
def counting(row: Any, column: Any, high: Any, wide: Any, rows: Any, columns: Any) -> Any:
    """How many places of a window count; 1 where none does: its sum is 0."""
    return max(uint32(overlap(row, high, rows) * overlap(column, wide, columns)), uint32(1))


@kernel(f"x: real*, y: real*, {WINDOWS}, {COUNTED}",
        variants=tuple((real, lanes) for real in FLOATS for lanes in LANES))
def average_windows(real, lanes):
    def average_windows(x, y, height, width, rows, columns, channels, count, high, wide, down, across, top, left,
                        divisor, skip_top, skip_left, counted_rows, counted_columns):
        i = position()
        if i >= count:
            return
        n, p, q, c = place(i, rows, columns, channels)
        value, total = cuda.local.array(lanes, real), cuda.local.array(lanes, real)
        for lane in range(lanes):
            total[lane] = real(0)
        first_h, first_w = uint32(p * down - top), uint32(q * across - left)
        end_h, end_w = uint32(first_h + high), uint32(first_w + wide)
        h = first_h
        while h != end_h:
            w = first_w
            while w != end_w:
                if h < height and w < width:
                    load(x, element(n, h, w, c, height, width, channels), lanes, value)
                    for lane in range(lanes):
                        total[lane] += value[lane]
                w = uint32(w + uint32(1))
            h = uint32(h + uint32(1))
        if divisor == real(0):
            divisor = real(counting(uint32(p * down - skip_top), uint32(q * across - skip_left), high, wide,
                                    counted_rows, counted_columns))
        for lane in range(lanes):
            total[lane] /= divisor
        store(y, i, lanes, total)
    return average_windows


@kernel(f"dy: real*, dx: real*, {WINDOWS}, {COUNTED}",
        variants=tuple((real, lanes) for real in FLOATS for lanes in LANES))
def average_gather(real, lanes):
    def average_gather(dy, dx, height, width, rows, columns, channels, count, high, wide, down, across, top, left,
                       divisor, skip_top, skip_left, counted_rows, counted_columns):
        i = position()
        if i >= count:
            return
        n, h, w, c = place(i, height, width, channels)
        value, total = cuda.local.array(lanes, real), cuda.local.array(lanes, real)
        for lane in range(lanes):
            total[lane] = real(0)
        p, end_p = windows_over(h, top, high, down, rows)
        first_q, end_q = windows_over(w, left, wide, across, columns)
        while p < end_p:
            q = first_q
            while q < end_q:
                share = divisor
                if divisor == real(0):
                    share = real(counting(uint32(p * down - skip_top), uint32(q * across - skip_left), high, wide,
                                          counted_rows, counted_columns))
                load(dy, element(n, p, q, c, rows, columns, channels), lanes, value)
                for lane in range(lanes):
                    total[lane] += value[lane] / share
                q = uint32(q + uint32(1))
            p = uint32(p + uint32(1))
        store(dx, i, lanes, total)
    return average_gather


def avg_pool2d(x: DeviceArray, y: DeviceArray, kernel: Pair, stride: Pair, padding: Edges, size: Pair,
               count_include_pad: bool, divisor: int) -> None:
    lanes, *sizes = windows(x.shape, y.shape, y.size, kernel, stride, padding[::2])
    launch(average_windows(x.dtype, lanes), cover(y.size // lanes), x, y, *sizes, divisor,
           *counted(x.shape, padding, count_include_pad))


def avg_pool2d_grad(dy: DeviceArray, dx: DeviceArray, size: Pair, kernel: Pair, stride: Pair, padding: Edges,
                    count_include_pad: bool, divisor: int) -> None:
    lanes, *sizes = windows(dx.shape, dy.shape, dx.size, kernel, stride, padding[::2])
    launch(average_gather(dx.dtype, lanes), cover(dx.size // lanes), dy, dx, *sizes, divisor,
           *counted(dx.shape, padding, count_include_pad))


def counted(x_shape: Any, padding: Edges, count_include_pad: bool) -> Edges:
    """The rectangle of the places that count, as COUNTED lists it."""
    top, bottom, left, right = padding
    height, width = x_shape[1:3]
    return (0, 0, height + top + bottom, width + left + right) if count_include_pad else (top, left, height, width)


LAUNCHES = {
    "max_pool2d": max_pool2d, "max_pool2d_grad": max_pool2d_grad, "max_pool2d_pick": max_pool2d_pick,
    "max_pool2d_index": max_pool2d_index, "avg_pool2d": avg_pool2d, "avg_pool2d_grad": avg_pool2d_grad,
}
