"""Every kernel of `contracts.py` as plain loops, in the same order: the text to read first to see what one computes.

It is also the oracle: the tests hold every faster backend against these functions, run in float64. So they are
written to be seen to be right, not to be fast. A loop says which number goes where, and only inside it does NumPy
work on a few numbers at once: a row, or the channels of one place.

They are called as all kernels are, `kernel(*inputs, *outputs, *params)`. Arrays are channels last, the outputs have
been allocated by the caller and hold garbage, and every element of them is written.
"""

from collections.abc import Callable, Iterator
from functools import cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from .contracts import CONTRACTS, PHILOX_MULTIPLIERS, PHILOX_ROUNDS, PHILOX_WEYL, conv2d_outputs
from .formula import numpy_function

Array = npt.NDArray[Any]
Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


@cache
def kernel(name: str) -> Callable[..., None]:
    """The reference of the contract called `name`; KeyError if there is no such contract."""
    return elementwise(name) if CONTRACTS[name].formula else globals()[name]


# ---------------------------------------------------------------------------------------------------- elementwise

def elementwise(name: str) -> Callable[..., None]:
    """The kernel of an elementwise contract: its formula, evaluated by NumPy on inputs that broadcast."""
    contract = CONTRACTS[name]
    function = numpy_function(contract.formula, [*(argument.name for argument in contract.inputs), *contract.params])

    def run(*arguments: Any) -> None:
        inputs, y, params = arguments[:len(contract.inputs)], arguments[len(contract.inputs)], \
            arguments[len(contract.inputs) + 1:]
        with np.errstate(all="ignore"):  # `where` evaluates both sides, so one may overflow where it isn't asked for
            y[...] = function(*inputs, *params)

    return run


# ------------------------------------------------------------------------------------------- copies and indexing

def walk(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Iterator[tuple[int, int]]:
    """Yield (n, place): the n-th element, in row-major order, of a view of `shape` lies at `place` in flat memory.

    This is all that a slice, a transpose, a flip (negative stride) or an expansion (stride 0) is. Counted in elements.
    """
    for n, index in enumerate(np.ndindex(*shape)):
        yield n, offset + sum(i * stride for i, stride in zip(index, strides, strict=True))


def strided_get(x: Array, y: Array, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> None:
    for n, place in walk(shape, strides, offset):
        y[n] = x[place]


def strided_set(y: Array, x: Array, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> None:
    for n, place in walk(shape, strides, offset):
        y[place] = x[n]


def fill(y: Array, value: float) -> None:
    y[...] = value


def _check_index(index: Array, length: int) -> None:
    if index.size and (index.min() < 0 or index.max() >= length):
        raise IndexError(f"index from {index.min()} to {index.max()}, expected 0 to {length - 1}")


def take(x: Array, index: Array, y: Array) -> None:
    _check_index(index, x.shape[1])
    for m, d in enumerate(index):
        y[:, m] = x[:, d]


def take_grad(g: Array, index: Array, dx: Array, length: int) -> None:
    _check_index(index, length)
    dx[...] = 0
    for m, d in enumerate(index):
        dx[:, d] += g[:, m]  # what was taken twice gets two gradients


def pick(x: Array, index: Array, y: Array) -> None:
    _check_index(index, x.shape[1])
    for o, i in np.ndindex(*index.shape):
        y[o, i] = x[o, index[o, i], i]


def pick_grad(g: Array, index: Array, dx: Array, length: int) -> None:
    _check_index(index, length)
    dx[...] = 0
    for o, i in np.ndindex(*index.shape):
        dx[o, index[o, i], i] = g[o, i]


def gather(x: Array, index: Array, y: Array) -> None:
    _check_index(index, x.shape[1])
    for o, m, i in np.ndindex(*index.shape):
        y[o, m, i] = x[o, index[o, m, i], i]


def scatter(x: Array, index: Array, y: Array, length: int, add: bool) -> None:
    _check_index(index, length)
    y[...] = 0
    for o, m, i in np.ndindex(*index.shape):
        place = o, index[o, m, i], i
        y[place] = x[o, m, i] + (y[place] if add else 0)


def csr_matmul(x: Array, start: Array, index: Array, weight: Array, y: Array) -> None:
    """A sparse matrix by rows ("compressed sparse row"): of row m only the columns index[t] are kept that are not 0,
    with their weight[t], from t = start[m] on."""
    _check_index(index, x.shape[1])
    if start[0] != 0 or start[-1] != len(index) or (np.diff(start) < 0).any():
        raise ValueError(f"start must rise from 0 to {len(index)}, the number of weights")
    y[...] = 0
    for m in range(len(start) - 1):
        for t in range(start[m], start[m + 1]):
            y[:, m] += weight[t] * x[:, index[t]]


# -------------------------------------------------------------------------------------------------- reductions
# Any axes to reduce come as the middle one of three: (outer, reduced, inner).

def reduce_sum(x: Array, y: Array, scale: float) -> None:
    y[...] = 0
    for r in range(x.shape[1]):
        y += x[:, r]
    if scale != 1:
        y *= scale


def reduce_sum_grad(g: Array, dx: Array, length: int, scale: float) -> None:
    for r in range(length):
        dx[:, r] = scale * g


def _reduce_best(x: Array, y: Array, index: Array, better: Callable[[Array, Array], Array]) -> None:
    y[...] = x[:, 0]
    index[...] = 0
    for r in range(1, x.shape[1]):
        # `better` is strict, so that the first of equals stays; a NaN beats all but an earlier NaN.
        wins = better(x[:, r], y) | (np.isnan(x[:, r]) & ~np.isnan(y))
        y[wins] = x[:, r][wins]
        index[wins] = r


def reduce_max(x: Array, y: Array, index: Array) -> None:
    _reduce_best(x, y, index, np.greater)


def reduce_min(x: Array, y: Array, index: Array) -> None:
    _reduce_best(x, y, index, np.less)


def _rows(x: Array) -> Iterator[tuple[int, slice, int]]:
    """Yield what selects each row along the middle axis."""
    for o, i in np.ndindex(x.shape[0], x.shape[2]):
        yield o, slice(None), i


def softmax(x: Array, y: Array) -> None:
    for row in _rows(x):
        # exp(x - max) / sum is the same ratio as exp(x) / sum, but cannot overflow: its largest term is exp(0).
        exponentials = np.exp(x[row] - x[row].max(initial=-np.inf))
        y[row] = exponentials / exponentials.sum()


def softmax_grad(g: Array, y: Array, dx: Array) -> None:
    for row in _rows(y):
        dx[row] = y[row] * (g[row] - (g[row] * y[row]).sum())


def log_softmax(x: Array, y: Array) -> None:
    for row in _rows(x):
        shifted = x[row] - x[row].max(initial=-np.inf)
        y[row] = shifted - np.log(np.exp(shifted).sum())


def log_softmax_grad(g: Array, y: Array, dx: Array) -> None:
    for row in _rows(y):
        dx[row] = g[row] - np.exp(y[row]) * g[row].sum()


def cross_entropy(x: Array, index: Array, y: Array, log: Array, ignore: int) -> None:
    _check_index(index[index != ignore], x.shape[1])
    log_softmax(x[:, :, None], log[:, :, None])
    for m, place in enumerate(index):
        y[m] = 0 if place == ignore else -log[m, place]


def cross_entropy_grad(g: Array, log: Array, index: Array, dx: Array, ignore: int) -> None:
    for m, place in enumerate(index):
        dx[m] = 0
        if place != ignore:
            dx[m] = g[m] * np.exp(log[m])
            dx[m, place] -= g[m]


# ------------------------------------------------------------------------------------- products and convolutions

def matmul(a: Array, b: Array, bias: Array | None, y: Array, transpose_a: bool, transpose_b: bool) -> None:
    for n in range(len(a)):
        left = a[n].T if transpose_a else a[n]
        right = b[n if len(b) > 1 else 0]  # one b may serve every a
        right = right.T if transpose_b else right
        for row, column in np.ndindex(*y[n].shape):
            y[n, row, column] = left[row] @ right[:, column]
            if bias is not None:
                y[n, row, column] += bias[column]


def window(out: Pair, size: Pair, kernel: Pair, stride: Pair, before: Pair,
           dilation: Pair = (1, 1)) -> Iterator[tuple[Pair, Pair]]:
    """Yield (tap, place): tap (r, s) of the window of output `out` lies on `place` (h, w) of the input.

    size: (H, W) of the input. before: padding (top, left). Places outside the input are left out: padding is not
    stored anywhere, it is what a window doesn't visit. Convolution and pooling are all loops over such windows.
    """
    for tap in np.ndindex(*kernel):
        h, w = (out[i] * stride[i] - before[i] + tap[i] * dilation[i] for i in (0, 1))
        if 0 <= h < size[0] and 0 <= w < size[1]:
            yield tap, (h, w)


def _groups(channels: int, filters: int, groups: int) -> list[tuple[slice, slice]]:
    """The channels and the filters of each group. Convolution knows no others: a filter sees only its own group."""
    d, k = channels // groups, filters // groups
    return [(slice(g * d, (g + 1) * d), slice(g * k, (g + 1) * k)) for g in range(groups)]


# The three kernels of a convolution visit the same products of an x, a w and a y, and differ only in which of the
# three they add to: y += x w gives the output, dx += dy w and dw += x dy give back the gradients.

def conv2d_forward(x: Array, w: Array, bias: Array | None, add: Array | None, y: Array, stride: Pair, padding: Padding,
                   dilation: Pair, groups: int, low: float, high: float) -> None:
    """Convolution as networks mean it, that is cross-correlation: the filter is not flipped. What usually comes behind
    it in a network is done on the way out: a bias, another branch to add, a bound at either side (ReLU: 0 and inf)."""
    pairs = _groups(x.shape[3], w.shape[3], groups)
    y[...] = 0 if bias is None else bias
    for out in np.ndindex(*y.shape[1:3]):
        for tap, place in window(out, x.shape[1:3], w.shape[:2], stride, padding[::2], dilation):
            for channels, filters in pairs:
                y[:, *out, filters] += x[:, *place, channels] @ w[*tap, :, filters]
    if add is not None:
        y += add
    y[...] = np.where(y < low, low, np.where(y > high, high, y))  # NaN is neither, and stays


def conv2d_depthwise(x: Array, w: Array, bias: Array | None, filters: Array, shift: Array | None, y: Array,
                     stride: Pair, padding: Padding, dilation: Pair, low: float, high: float, deep_stride: Pair,
                     deep_padding: Padding, deep_dilation: Pair, deep_low: float, deep_high: float) -> None:
    """A picture is made and read again: that is what a kernel which does both at once can save."""
    moves = {"stride": stride, "padding": padding, "dilation": dilation}
    size = conv2d_outputs(x.shape[1], x.shape[2], w.shape[0], w.shape[1], moves)
    wide = np.empty((len(x), *size, w.shape[3]), x.dtype)
    conv2d_forward(x, w, bias, None, wide, stride, padding, dilation, 1, low, high)
    conv2d_forward(wide, filters, shift, None, y, deep_stride, deep_padding, deep_dilation, w.shape[3], deep_low,
                   deep_high)


def conv2d_input_grad(dy: Array, w: Array, dx: Array, size: Pair, stride: Pair, padding: Padding, dilation: Pair,
                      groups: int) -> None:
    pairs = _groups(dx.shape[3], w.shape[3], groups)
    dx[...] = 0
    for out in np.ndindex(*dy.shape[1:3]):
        for tap, place in window(out, size, w.shape[:2], stride, padding[::2], dilation):
            for channels, filters in pairs:
                dx[:, *place, channels] += dy[:, *out, filters] @ w[*tap, :, filters].T


def conv2d_weight_grad(x: Array, dy: Array, dw: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair,
                       groups: int) -> None:
    pairs = _groups(x.shape[3], dw.shape[3], groups)
    dw[...] = 0
    for out in np.ndindex(*dy.shape[1:3]):
        for tap, place in window(out, x.shape[1:3], kernel, stride, padding[::2], dilation):
            for channels, filters in pairs:
                dw[*tap, :, filters] += x[:, *place, channels].T @ dy[:, *out, filters]


# ----------------------------------------------------------------------------------------------------- pooling

def max_pool2d(x: Array, y: Array, position: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair,
               size: Pair, rectified: bool) -> None:
    """A window without any place inside x gives -infinity at position 0."""
    y[...] = -np.inf
    position[...] = 0
    for out in np.ndindex(*size):
        for n, (tap, place) in enumerate(window(out, x.shape[1:3], kernel, stride, padding, dilation)):
            value, best = x[:, *place], y[:, *out]
            # The first place wins even with -infinity; later ones must be strictly larger, or NaN.
            wins = (value > best) | np.isnan(value) | (n == 0)
            y[:, *out] = np.where(wins, value, best)
            position[:, *out] = np.where(wins, tap[0] * kernel[1] + tap[1], position[:, *out])
    if rectified:
        position[...] = np.where(y > 0, position, 255)


def max_pool2d_grad(dy: Array, position: Array, dx: Array, size: Pair, kernel: Pair, stride: Pair, padding: Pair,
                    dilation: Pair) -> None:
    dx[...] = 0
    for out in np.ndindex(*dy.shape[1:3]):
        for tap, place in window(out, size, kernel, stride, padding, dilation):
            came_from_here = position[:, *out] == tap[0] * kernel[1] + tap[1]
            dx[:, *place] += np.where(came_from_here, dy[:, *out], 0)


def max_pool2d_pick(x: Array, position: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair,
                    dilation: Pair) -> None:
    """A position that lies outside x gives 0, as its gradient is dropped in `max_pool2d_grad`."""
    y[...] = 0
    for out in np.ndindex(*y.shape[1:3]):
        for tap, place in window(out, x.shape[1:3], kernel, stride, padding, dilation):
            came_from_here = position[:, *out] == tap[0] * kernel[1] + tap[1]
            y[:, *out] = np.where(came_from_here, x[:, *place], y[:, *out])


def max_pool2d_index(position: Array, index: Array, size: Pair, kernel: Pair, stride: Pair, padding: Pair,
                     dilation: Pair) -> None:
    """A position that lies outside the plane gives 0."""
    index[...] = 0
    for out in np.ndindex(*position.shape[1:3]):
        for tap, (h, w) in window(out, size, kernel, stride, padding, dilation):
            came_from_here = position[:, *out] == tap[0] * kernel[1] + tap[1]
            index[:, *out] = np.where(came_from_here, h * size[1] + w, index[:, *out])


def _average_over(out: Pair, size: Pair, kernel: Pair, stride: Pair, padding: Padding, count_include_pad: bool,
                  divisor: int) -> int:
    """What the sum in the window of `out` is divided by."""
    if divisor:
        return divisor
    top, bottom, left, right = padding
    if count_include_pad:  # places count as if the padding were part of a larger picture
        counted = window(out, (size[0] + top + bottom, size[1] + left + right), kernel, stride, (0, 0))
    else:
        counted = window(out, size, kernel, stride, (top, left))
    return max(1, sum(1 for _ in counted))  # a window in which nothing counts has sum 0 and average 0


def avg_pool2d(x: Array, y: Array, kernel: Pair, stride: Pair, padding: Padding, size: Pair, count_include_pad: bool,
               divisor: int) -> None:
    y[...] = 0
    for out in np.ndindex(*size):
        for _, place in window(out, x.shape[1:3], kernel, stride, padding[::2]):
            y[:, *out] += x[:, *place]
        y[:, *out] /= _average_over(out, x.shape[1:3], kernel, stride, padding, count_include_pad, divisor)


def avg_pool2d_grad(dy: Array, dx: Array, size: Pair, kernel: Pair, stride: Pair, padding: Padding,
                    count_include_pad: bool, divisor: int) -> None:
    dx[...] = 0
    for out in np.ndindex(*dy.shape[1:3]):
        share = dy[:, *out] / _average_over(out, size, kernel, stride, padding, count_include_pad, divisor)
        for _, place in window(out, size, kernel, stride, padding[::2]):
            dx[:, *place] += share


# ----------------------------------------------------------------------------------------------- normalisation
# Ioffe & Szegedy, "Batch Normalization", 2015. M is everything but the channels: batch, height and width.

def batch_norm_stats(x: Array, mean: Array, var: Array) -> None:
    mean[...] = 0
    for row in x:
        mean += row
    mean /= len(x)
    # A second pass over x. E[x^2] - E[x]^2 would take one, and lose every digit that the mean has before the variance.
    var[...] = 0
    for row in x:
        var += (row - mean) ** 2
    var /= len(x)


def batch_norm_follow(mean: Array, var: Array, running_mean: Array | None, running_var: Array | None, rstd: Array,
                      momentum: float, unbias: float, eps: float) -> None:
    rstd[...] = 1 / np.sqrt(var + eps)
    for running, value in ((running_mean, mean), (running_var, unbias * var)):
        if running is not None:
            running += momentum * (value - running)


def activate(activation: str, z: Array) -> Array:
    """activation: one of `contracts.ACTIVATIONS`, or "" for none."""
    if not activation:
        return z
    y = np.empty_like(z)
    kernel(activation)(z, y)
    return y


def activation_grad(activation: str, g: Array, z: Array) -> Array:
    """The gradient of an activation of z, given g, the gradient of its output."""
    if not activation:
        return g
    name, dz = f"{activation}_grad", np.empty_like(z)
    takes_output = CONTRACTS[name].inputs[1].name == "y"
    kernel(name)(g, activate(activation, z) if takes_output else z, dz)
    return dz


def batch_norm_apply(x: Array, mean: Array, rstd: Array, weight: Array | None, bias: Array | None, add: Array | None,
                     y: Array, activation: str) -> None:
    """rstd: 1 / sqrt(var + eps)."""
    for m in range(len(x)):
        z = (x[m] - mean) * rstd
        if weight is not None:
            z *= weight
        if bias is not None:
            z += bias
        if add is not None:
            z += add[m]
        y[m] = activate(activation, z)


def batch_norm_grad(g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None, bias: Array | None, dx: Array,
                    dweight: Array, dbias: Array, activation: str, rectified: bool) -> None:
    """The mean and the variance depend on every x of the channel; the last two terms of dx are what that gives."""
    z, h = np.empty_like(x), np.empty_like(x)
    batch_norm_apply(x, mean, rstd, weight, bias, None, z, "")
    dweight[...] = 0
    dbias[...] = 0
    for m in range(len(x)):
        h[m] = activation_grad(activation, g[m], z[m])
        dbias += h[m]
        dweight += h[m] * (x[m] - mean) * rstd
    for m in range(len(x)):
        xhat = (x[m] - mean) * rstd
        dx[m] = rstd * (h[m] - dbias / len(x) - xhat * dweight / len(x))
        if weight is not None:
            dx[m] *= weight
        if rectified:
            dx[m] = np.where(x[m] > 0, dx[m], 0)


def group_norm(x: Array, weight: Array | None, bias: Array | None, y: Array, mean: Array, rstd: Array, groups: int,
               eps: float) -> None:
    """Wu & He, "Group Normalization", 2018. Each picture is normalised on its own, some channels at a time."""
    for n, group in np.ndindex(*mean.shape):
        values = x[n, :, _of_group(group, x.shape[2] // groups)]
        mean[n, group] = values.mean()
        rstd[n, group] = 1 / np.sqrt(values.var() + eps)
        y[n, :, _of_group(group, x.shape[2] // groups)] = (values - mean[n, group]) * rstd[n, group]
    if weight is not None:
        y *= weight
    if bias is not None:
        y += bias


def _of_group(group: int, channels: int) -> slice:
    return slice(group * channels, (group + 1) * channels)


def group_norm_grad(g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None, dx: Array, dweight: Array,
                    dbias: Array) -> None:
    """As in `batch_norm_grad`, the mean and the variance depend on every x of the group."""
    dweight[...] = 0
    dbias[...] = 0
    for n, group in np.ndindex(*mean.shape):
        channels = _of_group(group, x.shape[2] // mean.shape[1])
        xhat = (x[n, :, channels] - mean[n, group]) * rstd[n, group]
        h = g[n, :, channels] if weight is None else g[n, :, channels] * weight[channels]
        dbias[channels] += g[n, :, channels].sum(axis=0)
        dweight[channels] += (g[n, :, channels] * xhat).sum(axis=0)
        dx[n, :, channels] = rstd[n, group] * (h - h.mean() - xhat * (h * xhat).mean())


DROPPED = 255  # among the positions


def batch_norm_pool(x: Array, mean: Array, rstd: Array, weight: Array | None, bias: Array | None, y: Array,
                    position: Array, kernel: Pair, activation: str, p: float, seed: int, offset: int) -> None:
    rows, largest, bits = (prod(x.shape[:3]), x.shape[3]), np.empty_like(y), np.empty(y.size, np.uint32)
    z = np.empty_like(x)
    batch_norm_apply(x.reshape(rows), mean, rstd, weight, bias, None, z.reshape(rows), activation)
    max_pool2d(z, largest, position, kernel, kernel, (0, 0), (1, 1), y.shape[1:3], rectified=False)
    dropout(largest.reshape(1, 1, -1), y.reshape(1, 1, -1), p, seed, offset)
    random_bits(bits, y.size, seed, offset)
    position[bits.reshape(y.shape) < round(p * 2**32)] = DROPPED


def batch_norm_pool_grad(g: Array, position: Array, x: Array, mean: Array, rstd: Array, weight: Array | None,
                         bias: Array | None, dx: Array, dweight: Array, dbias: Array, kernel: Pair, activation: str,
                         p: float, rectified: bool) -> None:
    """Where the output was dropped, no place of the window is the one it came from."""
    rows, dz = (prod(x.shape[:3]), x.shape[3]), np.empty_like(x)
    scale = 1 / (1 - p) if p < 1 else 0
    max_pool2d_grad(g * scale, position, dz, x.shape[1:3], kernel, kernel, (0, 0), (1, 1))
    batch_norm_grad(dz.reshape(rows), x.reshape(rows), mean, rstd, weight, bias, dx.reshape(rows), dweight, dbias,
                    activation, rectified)


# ------------------------------------------------------------------------------------------------ random numbers

LOW_32 = 0xFFFFFFFF


def philox(counter: tuple[Any, Any, Any, Any], key: Pair) -> tuple[Any, Any, Any, Any]:
    """Four random 32-bit words from a counter of four words and a key of two: Philox4x32-10.

    A block cipher, cut down to what statistical tests need: each round multiplies two words by constants, and mixes
    the high halves of the products with the other words and a key that a Weyl sequence changes from round to round.
    It has no state, so the millionth word is as quickly made as the first. Source: see `contracts.py`.
    The words may be Python ints, or uint64 arrays to make many blocks at once.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(PHILOX_ROUNDS):
        product0, product2 = c0 * PHILOX_MULTIPLIERS[0], c2 * PHILOX_MULTIPLIERS[1]  # 32 by 32 bits make 64
        c0, c1 = (product2 >> 32) ^ c1 ^ k0, product2 & LOW_32
        c2, c3 = (product0 >> 32) ^ c3 ^ k1, product0 & LOW_32
        k0, k1 = (k0 + PHILOX_WEYL[0]) & LOW_32, (k1 + PHILOX_WEYL[1]) & LOW_32
    return c0, c1, c2, c3


def random_bits(y: Array, count: int, seed: int, offset: int) -> None:
    """Words offset .. offset+count-1 of the stream: the counter is the number of the block of four they are in."""
    block = np.arange(offset // 4, (offset + count + 3) // 4, dtype=np.uint64)
    zero = np.zeros_like(block)
    words = philox((block & LOW_32, block >> 32, zero, zero), (seed & LOW_32, seed >> 32 & LOW_32))
    y[...] = np.stack(words, axis=1).reshape(-1)[offset % 4:][:count]


def dropout(x: Array, y: Array, p: float, seed: int, offset: int) -> None:
    """Srivastava et al., "Dropout", 2014. What stays is made larger, so that the expected value stays the same."""
    n, _, c = x.shape
    bits = np.empty(n * c, np.uint32)
    random_bits(bits, n * c, seed, offset)
    stays = (bits >= round(p * 2**32)).reshape(n, c)  # a word is below p * 2^32 with probability p
    y[...] = 0
    for i in range(n):
        y[i][:, stays[i]] = x[i][:, stays[i]] / (1 - p)


# -------------------------------------------------------------------------------------------------- optimizers

def sgd_step(p: Array, g: Array, velocity: Array | None, lr: float, momentum: float, dampening: float,
             weight_decay: float, nesterov: bool, first: bool) -> None:
    """Momentum: Polyak 1964; Nesterov's as in Sutskever et al. 2013. velocity: None without momentum."""
    g = g + weight_decay * p
    if velocity is None:
        p -= lr * g
        return
    velocity[...] = g if first else momentum * velocity + (1 - dampening) * g
    p -= lr * (g + momentum * velocity if nesterov else velocity)


def adam_step(p: Array, g: Array, m: Array, v: Array, lr: float, beta1: float, beta2: float, eps: float,
              weight_decay: float, decoupled: bool, step: int) -> None:
    """Kingma & Ba, "Adam", 2015; decoupled: AdamW, Loshchilov & Hutter 2019. step counts from 1."""
    if decoupled:
        p *= 1 - lr * weight_decay
    else:
        g = g + weight_decay * p
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    # m and v started at 0 and are that much too small in the first steps.
    unbiased_m, unbiased_v = m / (1 - beta1**step), v / (1 - beta2**step)
    p -= lr * unbiased_m / (np.sqrt(unbiased_v) + eps)


def rmsprop_step(p: Array, g: Array, square: Array, mean: Array | None, velocity: Array | None, lr: float, alpha: float,
                 eps: float, weight_decay: float, momentum: float) -> None:
    """Tieleman & Hinton, lecture 6.5, 2012; with a mean (the centred variant) as in Graves 2013."""
    g = g + weight_decay * p
    square[...] = alpha * square + (1 - alpha) * g**2
    if mean is None:
        variance = square
    else:
        mean[...] = alpha * mean + (1 - alpha) * g
        variance = square - mean**2
    step = g / (np.sqrt(variance) + eps)
    if velocity is None:
        p -= lr * step
    else:
        velocity[...] = momentum * velocity + step
        p -= lr * velocity


def average_step(p: Array, value: Array, rate: float, scale: float) -> None:
    """A running average: each new value moves it by a share (an exponential moving average)."""
    p[...] = (1 - rate) * p + rate * scale * value


def adagrad_step(p: Array, g: Array, total: Array, lr: float, eps: float, weight_decay: float) -> None:
    """Duchi, Hazan & Singer, "Adaptive Subgradient Methods", 2011."""
    g = g + weight_decay * p
    total += g**2
    p -= lr * g / (np.sqrt(total) + eps)


# ------------------------------------------------------------------------------------------------- augmentation

def mirror(x: Array, chosen: Array, y: Array) -> None:
    for n in range(len(x)):
        y[n] = x[n, :, ::-1] if chosen[n] else x[n]


def _around(place: float, size: int) -> tuple[int, int, float]:
    """The two pixels nearest to a place along an axis, and how far it lies on the way from the first to the second."""
    place = min(max(0.0, place), size - 1)  # `max` keeps its first argument where the other is NaN
    return int(place), min(int(place) + 1, size - 1), place - int(place)


def affine_sample(x: Array, maps: Array, y: Array, size: Pair) -> None:
    for n in range(len(x)):
        for place in np.ndindex(*size):
            row, column = maps[n] @ (*place, 1)
            top, bottom, down = _around(row, x.shape[1])
            left, right, across = _around(column, x.shape[2])
            above = x[n, top, left] + across * (x[n, top, right] - x[n, top, left])
            below = x[n, bottom, left] + across * (x[n, bottom, right] - x[n, bottom, left])
            y[(n, *place)] = above + down * (below - above)


def jitter(x: Array, brightness: Array, contrast: Array, weights: Array, y: Array, inside: Array) -> None:
    for n, picture in enumerate(x):
        bright = np.minimum(brightness[n] * picture, 1)
        grey = (weights * bright).sum()
        y[n] = np.clip(contrast[n] * bright + (1 - contrast[n]) * grey, 0, 1)
        inside[n] = ((picture >= 0) & (picture <= 1)).all()


def blend(x: Array, partner: Array, share: Array, y: Array) -> None:
    _check_index(partner, len(x))
    for n, other in enumerate(partner):
        y[n] = x[n] + share[n] * (x[other] - x[n])
