"""Convolutions and transposed convolutions over one, two and three axes with random shapes and arguments, against
their definitions in NumPy: values and gradients."""

from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minicnn as mc

F = mc.nn.functional


class Geometry(NamedTuple):
    """A convolution's input size and how its filters move, a number (or a pair, for padding) for each axis."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def outputs(self):
        return tuple((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(*self[:5], strict=True))

    def taps(self):
        """Each tap of the kernel, and where in the padded input it meets the outputs."""
        for tap in np.ndindex(*self.kernel):
            yield tap, (slice(None), *(
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, s, n in zip(tap, self.dilation, self.stride, self.outputs, strict=True)))

    def channels(self, per_input, per_output):
        """Channels of the input and of the output that belong together."""
        for g in range(self.groups):
            yield slice(g * per_input, (g + 1) * per_input), slice(g * per_output, (g + 1) * per_output)

    def padded(self, x):
        return np.pad(x, ((0, 0), *self.padding, (0, 0)))

    def cropped(self, x):
        return x[(slice(None), *(slice(p[0], p[0] + n) for p, n in zip(self.padding, self.size, strict=True)))]


def convolution(x, w, move):
    """y from x and w: each output is the sum over the taps of what they meet."""
    x, y = move.padded(x), np.zeros((len(x), *move.outputs, w.shape[-1]))
    for (tap, where), (read, made) in product(move.taps(), move.channels(w.shape[-2], w.shape[-1] // move.groups)):
        y[..., made] += x[where][..., read] @ w[tap][:, made]
    return y


def back_to_input(dy, w, move):
    """The transposed map: every product runs back to where it came from."""
    dx = move.padded(np.zeros((len(dy), *move.size, w.shape[-2] * move.groups)))
    for (tap, where), (read, made) in product(move.taps(), move.channels(w.shape[-2], w.shape[-1] // move.groups)):
        dx[where][..., read] += dy[..., made] @ w[tap][:, made].T
    return move.cropped(dx)


def back_to_weight(x, dy, shape, move):
    x, dw = move.padded(x), np.zeros(shape)
    for (tap, where), (read, made) in product(move.taps(), move.channels(shape[-2], shape[-1] // move.groups)):
        seen, gradient = x[where][..., read], dy[..., made]
        dw[tap][:, made] += seen.reshape(-1, seen.shape[-1]).T @ gradient.reshape(-1, gradient.shape[-1])
    return dw


@st.composite
def geometries(draw):
    axes = draw(st.integers(1, 3))

    def each(strategy):
        return tuple(draw(strategy) for _ in range(axes))

    kernel = each(st.integers(1, 4))
    stride, dilation = each(st.integers(1, 4)), each(st.integers(1, 3))
    padding = each(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    least = [max(1, d * (k - 1) + 1 - sum(p)) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    size = tuple(n + draw(st.integers(0, 7 - axes)) for n in least)
    return Geometry(size, kernel, stride, padding, dilation, draw(st.integers(1, 4)))


CHANNELS = st.sampled_from([1, 1, 2, 3, 4, 5, 8, 9, 16, 17])
DTYPES = st.sampled_from([np.float32, np.float64])


def close(got, want, magnitude):
    """magnitude: the same of absolute values, in proportion to which rounding goes."""
    tolerance = 1e-12 if got.dtype == np.float64 else 2e-6
    assert got.shape == want.shape
    assert np.abs(got - want).max(initial=0) <= tolerance * max(1.0, magnitude.max(initial=0))


def arrays(seed, dtype, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype).astype(float) for shape in shapes]


def check_convolution(move, per_input, per_output, n, dtype, seed):
    shape = (*move.kernel, per_input, per_output * move.groups)
    x, w, b, dy = arrays(seed, dtype, (n, *move.size, per_input * move.groups), shape, shape[-1:],
                         (n, *move.outputs, shape[-1]))
    ours = [mc.tensor(a, dtype, requires_grad=True) for a in (x, w, b)]
    y = getattr(F, f"conv{len(move.size)}d")(*ours, move.stride, move.padding, move.dilation, move.groups)
    y.backward(mc.tensor(dy, dtype))
    dx, dw, db = (t.grad.numpy() for t in ours)
    ax, aw, ady = map(np.abs, (x, w, dy))
    close(y.numpy(), convolution(x, w, move) + b, convolution(ax, aw, move))
    close(dx, back_to_input(dy, w, move), back_to_input(ady, aw, move))
    close(dw, back_to_weight(x, dy, shape, move), back_to_weight(ax, ady, shape, move))
    close(db, dy.sum(tuple(range(dy.ndim - 1))), ady.sum(tuple(range(dy.ndim - 1))))


def check_transposed(move, per_input, per_output, n, dtype, seed):
    """The transposed of the convolution that move describes, from its outputs back to its input."""
    shape = (*move.kernel, per_input, per_output * move.groups)
    x, w, dy = arrays(seed, dtype, (n, *move.outputs, shape[-1]), shape, (n, *move.size, per_input * move.groups))
    least = [(m - 1) * s + d * (k - 1) + 1 - sum(p) for m, k, s, p, d in zip(move.outputs, *move[1:5], strict=True)]
    extra = tuple(size - small for size, small in zip(move.size, least, strict=True))  # what the strides left over
    ours = [mc.tensor(a, dtype, requires_grad=True) for a in (x, w)]
    y = getattr(F, f"conv_transpose{len(move.size)}d")(*ours, None, move.stride, move.padding, extra, move.groups,
                                                       move.dilation)
    y.backward(mc.tensor(dy, dtype))
    dx, dw = (t.grad.numpy() for t in ours)
    ax, aw, ady = map(np.abs, (x, w, dy))
    close(y.numpy(), back_to_input(x, w, move), back_to_input(ax, aw, move))
    close(dx, convolution(dy, w, move), convolution(ady, aw, move))
    close(dw, back_to_weight(dy, x, shape, move), back_to_weight(ady, ax, shape, move))


arguments = given(geometries(), CHANNELS, CHANNELS, st.integers(0, 3), DTYPES, st.integers(0, 99))
few = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
many = settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
test_convolutions = few(arguments(check_convolution))
test_transposed_convolutions = few(arguments(check_transposed))
test_many_convolutions = pytest.mark.slow(many(arguments(check_convolution)))
test_many_transposed_convolutions = pytest.mark.slow(many(arguments(check_transposed)))
