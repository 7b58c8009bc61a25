"""Poolings of random shapes and arguments against their definitions, written out in NumPy."""

from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minicnn as mc

F = mc.nn.functional
QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
THOROUGH = settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))


# -------------------------------------------------------------------------------------------------- the definitions

def output_size(size, kernel, stride, padding, dilation, ceil_mode):
    """PyTorch's documentation: the windows that fit, or with ceil_mode those that begin in the input or before it."""
    last_start = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return last_start // stride + 1
    count = -(-last_start // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def windows(shape, window):
    """For each output place the places of its window that lie inside."""
    sizes = [output_size(s, *along, window["ceil_mode"]) for s, along in zip(shape, window["along"], strict=True)]
    for out in np.ndindex(*sizes):
        taps = [
            [at for at in (o * stride - padding + t * dilation for t in range(kernel)) if 0 <= at < size]
            for o, size, (kernel, stride, padding, dilation) in zip(out, shape, window["along"], strict=True)
        ]
        yield out, list(product(*taps))


def largest(values):
    """Which it is: the first of equals, but the last NaN."""
    nans = np.flatnonzero(np.isnan(values))
    return int(nans[-1] if len(nans) else np.argmax(values))


def max_pool(x, window):
    """Values, the place in each window that has them, and whether there is one."""
    shape = x.shape[1:-1]
    found = {}
    for out, places in windows(shape, window):
        for n, c in product(range(x.shape[0]), range(x.shape[-1])):
            values = [x[(n, *place, c)] for place in places]
            if not values:
                found[n, *out, c] = -np.inf, 0, False
                continue
            best = largest(values)
            found[n, *out, c] = values[best], np.ravel_multi_index(places[best], shape), True
    return found


def avg_pool(x, window, include, divisor):
    shape = x.shape[1:-1]
    found = {}
    for out, places in windows(shape, window):
        counts = [
            max(0, min(o * stride - padding + kernel, size + padding) - (o * stride - padding))
            for o, size, (kernel, stride, padding, _) in zip(out, shape, window["along"], strict=True)
        ]
        count = divisor or (int(np.prod(counts)) if include else len(places))
        for n, c in product(range(x.shape[0]), range(x.shape[-1])):
            total = sum(x[(n, *place, c)] for place in places)
            found[n, *out, c] = total / count if places else 0.0
    return found


def adaptive_windows(shape, sizes):
    for out in np.ndindex(*sizes):
        ranges = [range(o * s // k, -(-(o + 1) * s // k)) for o, s, k in zip(out, shape, sizes, strict=True)]
        yield out, list(product(*ranges))


# --------------------------------------------------------------------------------------------------- what is drawn

@st.composite
def pictures(draw, axes, largest):
    shape = draw(st.tuples(st.integers(1, 2), *[st.integers(1, largest)] * axes, st.integers(1, 3)))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    kind = draw(st.sampled_from(["normal", "tied", "special"]))
    if kind == "normal":
        return rng.standard_normal(shape)
    return rng.choice([0.0, 1.0, -1.0] if kind == "tied" else [0.0, 1.0, np.inf, -np.inf, np.nan], shape)


@st.composite
def pooled(draw, dilated):
    axes = draw(st.integers(1, 3))
    x = draw(pictures(axes, {1: 30, 2: 10, 3: 6}[axes]))
    along = []
    for size in x.shape[1:-1]:
        kernel = draw(st.integers(1, min(5, 2 * size)))
        dilation = draw(st.integers(1, 3)) if dilated else 1
        reach = dilation * (kernel - 1) + 1
        padding = draw(st.integers(0, kernel // 2))
        if reach > size + 2 * padding:
            kernel, dilation, padding = 1, 1, 0
        along.append((kernel, draw(st.integers(1, 4)), padding, dilation))
    return x, {"along": along, "ceil_mode": draw(st.booleans())}


def arguments(window, *names):
    """The window as our functions take it."""
    labels = ("kernel_size", "stride", "padding", "dilation")
    columns = dict(zip(labels, zip(*window["along"], strict=True), strict=True))
    return {name: columns[name] for name in names} | {"ceil_mode": window["ceil_mode"]}


def as_array(found, index=None):
    shape = np.max(list(found), axis=0) + 1
    made = np.empty(shape, {1: np.int64, 2: np.bool_}.get(index, np.float64))
    for place, value in found.items():
        made[place] = value if index is None else value[index]
    return made


def check_max(case):
    x, window = case
    function = getattr(F, f"max_pool{x.ndim - 2}d")
    options = arguments(window, "kernel_size", "stride", "padding", "dilation")
    y, indices = function(mc.tensor(x), **options, return_indices=True)
    expected = max_pool(x, window)
    np.testing.assert_array_equal(y.numpy(), as_array(expected, 0))
    inside = as_array(expected, 2)  # a window that lies in the padding has no place to name
    np.testing.assert_array_equal(indices.numpy()[inside], as_array(expected, 1)[inside])


def check_avg(case, include, divisor):
    x, window = case
    function = getattr(F, f"avg_pool{x.ndim - 2}d")
    options = arguments(window, "kernel_size", "stride", "padding")
    if x.ndim > 3:
        options["divisor_override"] = divisor
    y = function(mc.tensor(x), **options, count_include_pad=include)
    with np.errstate(invalid="ignore"):
        expected = as_array(avg_pool(x, window, include, divisor if x.ndim > 3 else None))
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)


def check_max_gradient(case, seed):
    """Every dy at the place of its maximum, added up; and the same walk back, for the second derivative."""
    x, window = case
    function = getattr(F, f"max_pool{x.ndim - 2}d")
    a = mc.tensor(x, requires_grad=True)
    y = function(a, **arguments(window, "kernel_size", "stride", "padding", "dilation"))
    dy = mc.tensor(np.random.default_rng(seed).standard_normal(y.shape), requires_grad=True)
    (dx,) = mc.grad(y, [a], dy, create_graph=True)
    expected = np.zeros(x.shape)
    source = {
        place: (place[0], *np.unravel_index(index, x.shape[1:-1]), place[-1])
        for place, (_, index, inside) in max_pool(x, window).items() if inside
    }
    for place, origin in source.items():
        expected[origin] += dy.numpy()[place]
    np.testing.assert_allclose(dx.numpy(), expected, atol=1e-12)
    again = np.random.default_rng(seed + 1).standard_normal(x.shape)
    (ddy,) = mc.grad(dx, [dy], mc.tensor(again))
    for place in np.ndindex(*dy.shape):
        assert ddy.numpy()[place] == (again[source[place]] if place in source else 0)


def check_adaptive(x, sizes):
    name = f"pool{x.ndim - 2}d"
    y, indices = getattr(F, f"adaptive_max_{name}")(mc.tensor(x), sizes, return_indices=True)
    mean = getattr(F, f"adaptive_avg_{name}")(mc.tensor(x), sizes).numpy()
    for out, places in adaptive_windows(x.shape[1:-1], sizes):
        for n, c in product(range(x.shape[0]), range(x.shape[-1])):
            values = np.array([x[(n, *place, c)] for place in places])
            best = largest(values)
            np.testing.assert_equal(y.numpy()[(n, *out, c)], values[best])
            assert indices.numpy()[(n, *out, c)] == np.ravel_multi_index(places[best], x.shape[1:-1])
            with np.errstate(invalid="ignore"):
                np.testing.assert_allclose(mean[(n, *out, c)], values.mean(), atol=1e-12)


def check_unpool(case):
    """Windows that overlap bring a maximum back to its place once; what wasn't one is 0."""
    x, window = case
    x = np.nan_to_num(x)
    kernel, stride, padding = ([a[i] for a in window["along"]] for i in range(3))
    pool, unpool = (getattr(F, f"max_{kind}{x.ndim - 2}d") for kind in ("pool", "unpool"))
    y, indices = pool(mc.tensor(x), kernel, stride, padding, return_indices=True)
    least = [(o - 1) * s - 2 * p + k for o, k, s, p in zip(y.shape[1:-1], kernel, stride, padding, strict=True)]
    if any(not m - s < size < m + s for m, s, size in zip(least, stride, x.shape[1:-1], strict=True)):
        return
    back = unpool(y, indices, kernel, stride, padding, output_size=x.shape[1:-1]).numpy()
    kept = np.zeros(x.shape, bool)
    for place in np.ndindex(*indices.shape):
        kept[(place[0], *np.unravel_index(indices.numpy()[place], x.shape[1:-1]), place[-1])] = True
    np.testing.assert_array_equal(back, np.where(kept, x, 0))


# ------------------------------------------------------------------------------------------------------- the tests

DIVISORS = st.sampled_from([None, None, 3, -2])
SEEDS = st.integers(0, 1 << 30)
ADAPTIVE = st.integers(1, 3).flatmap(
    lambda axes: st.tuples(pictures(axes, {1: 25, 2: 9, 3: 5}[axes]), st.tuples(*[st.integers(1, 8)] * axes)))
CHECKS = {
    "max_pool": (check_max, (pooled(dilated=True),)),
    "avg_pool": (check_avg, (pooled(dilated=False), st.booleans(), DIVISORS)),
    "gradients of max_pool": (check_max_gradient, (pooled(dilated=True), SEEDS)),
    "adaptive": (lambda both: check_adaptive(*both), (ADAPTIVE,)),
    "max_unpool": (check_unpool, (pooled(dilated=False),)),
}


def run(check, strategies, how):
    @how
    @given(st.tuples(*strategies))
    def holds(drawn):
        check(*drawn)

    holds()


@pytest.mark.parametrize("check", CHECKS)
def test_pools_do_what_their_definitions_say(check):
    run(*CHECKS[check], QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_pools_do_so_for_thousands_of_cases(check):
    run(*CHECKS[check], THOROUGH)
