"""All poolings against PyTorch: values, indices and gradients; ties, infinities and NaN; what both refuse."""

from itertools import product

import numpy as np
import pytest

import minicnn as mc

from .against_torch import both_refuse, first, last, same_as_torch

F = mc.nn.functional
RNG = np.random.default_rng(0)
SIZES = {1: (2, 13, 3), 2: (2, 9, 8, 3), 3: (2, 6, 7, 5, 2)}
X = {axes: RNG.permutation(np.prod(size)).reshape(size) * 0.1 - 10 for axes, size in SIZES.items()}
TIED = {axes: RNG.integers(0, 3, size).astype(float) for axes, size in SIZES.items()}


def named(options):
    return ",".join(f"{k}={v}" for k, v in options.items()).replace(" ", "")


def along(axes, *values):
    """The first values, one for each axis."""
    return values[:axes]


def shared(axes):
    """Arguments that max and average pooling have in common."""
    yield {"kernel_size": 2}
    yield {"kernel_size": 3, "stride": 2, "padding": 1}
    yield {"kernel_size": 3, "stride": 1, "padding": 1}
    yield {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}
    yield {"kernel_size": 2, "stride": 3}
    yield {"kernel_size": 2, "stride": 3, "ceil_mode": True}
    yield {"kernel_size": 1, "stride": 2}
    yield {"kernel_size": along(axes, 3, 2, 4), "stride": along(axes, 1, 3, 2)}
    yield {"kernel_size": along(axes, 4, 2, 3), "stride": along(axes, 2, 1, 2), "padding": along(axes, 2, 0, 1)}
    yield {"kernel_size": along(axes, 4, 3, 2), "stride": 3, "padding": along(axes, 1, 1, 0), "ceil_mode": True}
    yield {"kernel_size": along(axes, 5, 5, 5), "stride": 4, "padding": 2, "ceil_mode": True}


def max_cases():
    for axes in (1, 2, 3):
        for options in shared(axes):
            yield axes, options
        yield axes, {"kernel_size": 2, "dilation": 2}
        yield axes, {"kernel_size": 2, "stride": 1, "dilation": 3}
        yield axes, {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2}
        yield axes, {"kernel_size": 2, "stride": 2, "padding": 1, "dilation": 3, "ceil_mode": True}
        yield axes, {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 3}
        yield axes, {"kernel_size": along(axes, 2, 3, 2), "stride": 1, "padding": 1, "dilation": along(axes, 3, 1, 2)}


def avg_cases():
    for axes in (1, 2, 3):
        for options, include in product(shared(axes), (True, False)):
            if include or "padding" in options or "ceil_mode" in options:
                yield axes, options | {"count_include_pad": include}
        if axes > 1:
            for divisor in (1, 7, -3):
                yield axes, {"kernel_size": 3, "stride": 2, "padding": 1, "divisor_override": divisor}
            yield axes, {"kernel_size": 3, "stride": 2, "ceil_mode": True, "divisor_override": 5}


def each(cases):
    cases = list(cases)
    return pytest.mark.parametrize("axes, options", cases, ids=[f"{a}d-{named(o)}" for a, o in cases])


@each(max_cases())
@pytest.mark.parametrize("values", ["apart", "tied"])
def test_max_pool(axes, options, values):
    name = f"max_pool{axes}d"
    same_as_torch(
        lambda x: getattr(F, name)(x, **options, return_indices=True),
        lambda T, x: tuple(map(last, getattr(T, name)(first(x), **options, return_indices=True))),
        (X if values == "apart" else TIED)[axes],
    )


@each(avg_cases())
def test_avg_pool(axes, options):
    name = f"avg_pool{axes}d"
    same_as_torch(
        lambda x: getattr(F, name)(x, **options), lambda T, x: last(getattr(T, name)(first(x), **options)), X[axes]
    )


LARGER = [  # than x, so that only ceil_mode has a place for them
    ("max_pool", {"kernel_size": 3, "stride": 2}), ("max_pool", {"kernel_size": 5, "stride": 3, "padding": 1}),
    ("max_pool", {"kernel_size": 2, "stride": 3, "dilation": 3}), ("avg_pool", {"kernel_size": 3, "stride": 2}),
    ("avg_pool", {"kernel_size": 5, "stride": 3, "padding": 1}),
    ("avg_pool", {"kernel_size": 5, "stride": 3, "padding": 1, "count_include_pad": False}),
    ("lp_pool", {"norm_type": 2, "kernel_size": 3, "stride": 2}),
]  # fmt: skip
BY_BOTH = [(axes, kind, options) for axes in (1, 2, 3) for kind, options in LARGER if axes < 3 or kind == "max_pool"]


def two_each_way(axes):
    return RNG.uniform(0.3, 2.0, (2, *(2,) * axes, 3))


@pytest.mark.parametrize("axes, kind, options", BY_BOTH, ids=[f"{a}d-{k}-{named(o)}" for a, k, o in BY_BOTH])
def test_ceil_mode_takes_windows_larger_than_x(axes, kind, options):
    name, given = f"{kind}{axes}d", options | {"ceil_mode": True}
    if kind == "max_pool":
        given["return_indices"] = True

    def theirs(T, x):  # noqa: N803 - torch.nn.functional
        pooled = getattr(T, name)(first(x), **given)
        return tuple(map(last, pooled)) if kind == "max_pool" else last(pooled)

    same_as_torch(lambda x: getattr(F, name)(x, **given), theirs, two_each_way(axes))


def test_ceil_mode_takes_windows_larger_than_a_volume():
    """PyTorch's average pooling refuses them in 3-D. Without padding what lies inside x counts, and that is all of x; a
    window of 5 reaches over the 2 and one place of padding at each end, so over 4 places along each axis."""
    x = two_each_way(3)
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    for options, share in (({"kernel_size": 3, "stride": 2}, 1), ({"kernel_size": 5, "stride": 3, "padding": 1}, 8)):
        got = F.avg_pool3d(mc.tensor(x), **options, ceil_mode=True).numpy()
        np.testing.assert_allclose(got, mean / share, atol=1e-12)


SIZES_WANTED = {
    1: [1, 2, 3, 5, 12, 13, 14, 30, (7,), None],
    2: [1, 2, 3, 4, 7, (9, 8), (5, 3), (1, 8), (None, 3), (2, None), (11, 20)],
    3: [1, 2, 3, 5, (6, 7, 5), (1, 3, 2), (4, None, 3), (None, None, 2), (8, 9, 7)],
}
WANTED = [(axes, size) for axes, sizes in SIZES_WANTED.items() for size in sizes]
by_size = pytest.mark.parametrize("axes, size", WANTED, ids=[f"{a}d-{s}".replace(" ", "") for a, s in WANTED])


def for_torch(axes, size):
    """PyTorch's one-dimensional functions take no None."""
    return SIZES[1][1] if axes == 1 and size is None else size


@by_size
def test_adaptive_avg_pool(axes, size):
    name = f"adaptive_avg_pool{axes}d"
    same_as_torch(
        lambda x: getattr(F, name)(x, size),
        lambda T, x: last(getattr(T, name)(first(x), for_torch(axes, size))),
        X[axes],
    )


@by_size
@pytest.mark.parametrize("values", ["apart", "tied"])
def test_adaptive_max_pool(axes, size, values):
    name = f"adaptive_max_pool{axes}d"
    same_as_torch(
        lambda x: getattr(F, name)(x, size, return_indices=True),
        lambda T, x: tuple(map(last, getattr(T, name)(first(x), for_torch(axes, size), return_indices=True))),
        (X if values == "apart" else TIED)[axes],
    )


def test_adaptive_pools_to_nothing():
    assert F.adaptive_avg_pool2d(mc.ones((2, 5, 6, 3)), 0).shape == (2, 0, 0, 3)
    assert F.adaptive_max_pool2d(mc.ones((2, 5, 6, 3)), (0, 2)).shape == (2, 0, 2, 3)


UNPOOLED = [
    (1, {"kernel_size": 2}, None), (1, {"kernel_size": 2}, (13,)),
    (1, {"kernel_size": 3, "stride": 2, "padding": 1}, None),
    (2, {"kernel_size": 2}, None), (2, {"kernel_size": 2}, (9, 8)), (2, {"kernel_size": 3, "stride": 2}, None),
    (2, {"kernel_size": 3, "stride": 2, "padding": 1}, None), (2, {"kernel_size": (3, 2), "stride": (3, 1)}, None),
    (3, {"kernel_size": 2}, (6, 7, 5)), (3, {"kernel_size": 3, "stride": 2}, None),
    (3, {"kernel_size": (1, 2, 2), "stride": (1, 2, 2)}, (6, 7, 5)),
]  # fmt: skip


@pytest.mark.parametrize("axes, options, size", UNPOOLED)
def test_max_unpool(axes, options, size):
    pool, unpool = f"max_pool{axes}d", f"max_unpool{axes}d"
    keep = SIZES[axes] if size is None else (SIZES[axes][0], *size, SIZES[axes][-1])
    x = X[axes][tuple(slice(0, s) for s in keep)]

    def ours(a):
        y, indices = getattr(F, pool)(a, **options, return_indices=True)
        return getattr(F, unpool)(y * 2, indices, **options, output_size=size or x.shape)

    def theirs(T, a):  # noqa: N803 - torch.nn.functional
        y, indices = getattr(T, pool)(first(a), **options, return_indices=True)
        return last(getattr(T, unpool)(y * 2, indices, **options, output_size=size or x.shape[1:-1]))

    same_as_torch(ours, theirs, x)


def test_max_unpool_without_a_size():
    def ours(a):
        return F.max_unpool2d(*F.max_pool2d(a, 2, return_indices=True), 2)

    def theirs(T, a):  # noqa: N803
        return last(T.max_unpool2d(*T.max_pool2d(first(a), 2, return_indices=True), 2))

    same_as_torch(ours, theirs, X[2][:, :8])


LP = [
    (axes, p, options)
    for axes in (1, 2)
    for p in (1, 2, 3, 1.5, -1)
    for options in ({"kernel_size": 2}, {"kernel_size": 3, "stride": 2},
                    {"kernel_size": 3, "stride": 2, "ceil_mode": True})
]


@pytest.mark.parametrize("axes, p, options", LP, ids=[f"{a}d-{p}-{named(o)}" for a, p, o in LP])
def test_lp_pool(axes, p, options):
    name = f"lp_pool{axes}d"
    same_as_torch(
        lambda x: getattr(F, name)(x, p, **options),
        lambda T, x: last(getattr(T, name)(first(x), p, **options)),
        RNG.uniform(0.3, 2.0, SIZES[axes]),
    )


def test_lp_pool_of_zeros_has_no_gradient():
    x = np.zeros((1, 4, 4, 2))
    x[0, 0, 0] = 3
    same_as_torch(lambda a: F.lp_pool2d(a, 2, 2), lambda T, a: last(T.lp_pool2d(first(a), 2, 2)), x)


@pytest.mark.parametrize("stride", [None, 1, (2, 1)])
def test_weighted_avg_pool(stride):
    def theirs(T, x, w):  # noqa: N803
        filters = (w / w.sum()).expand(x.shape[-1], 1, *w.shape)
        return last(T.conv2d(first(x), filters, stride=stride or tuple(w.shape), groups=x.shape[-1]))

    weights = np.array([[0.5, 1.0], [2.0, 0.3], [0.7, 4.0]])
    same_as_torch(lambda x, w: F.weighted_avg_pool2d(x, w, stride), theirs, X[2], weights)


def test_equal_weights_are_the_plain_mean():
    x = mc.tensor(X[2])
    plain = F.avg_pool2d(x, (3, 2), 2).numpy()
    np.testing.assert_allclose(F.weighted_avg_pool2d(x, mc.tensor(np.full((3, 2), 7.0)), 2).numpy(), plain, atol=1e-12)


@pytest.mark.parametrize("kernel_size, sigma", [(5, 1.2), ((3, 6), 0.8), (4, None)])
def test_gaussian_weights(kernel_size, sigma):
    weights = F.gaussian_weights(kernel_size, sigma, np.float64).numpy()
    rows, columns = weights.shape
    assert weights.sum() == pytest.approx(1) and np.array_equal(weights, weights[::-1, ::-1])
    middle, width = ((rows - 1) / 2, (columns - 1) / 2), sigma or max(rows, columns) / 4
    for (r, c), weight in np.ndenumerate(weights):
        nearer = middle[0] ** 2 + middle[1] ** 2 - (r - middle[0]) ** 2 - (c - middle[1]) ** 2
        assert weight == pytest.approx(weights[0, 0] * np.exp(nearer / (2 * width**2)))


@pytest.mark.parametrize("levels", [(1,), (4, 2, 1), [3, 3], (6, 10)])
def test_spatial_pyramid(levels):
    torch = pytest.importorskip("torch")
    same_as_torch(
        lambda x: F.spatial_pyramid_pool2d(x, levels),
        lambda T, x: torch.cat([last(T.adaptive_max_pool2d(first(x), n)).flatten(1) for n in levels], 1),
        X[2],
    )


def test_spatial_pyramid_takes_any_size():
    shapes = {F.spatial_pyramid_pool2d(mc.ones((2, h, w, 5)), (4, 2, 1)).shape for h, w in ((4, 4), (31, 17), (224, 3))}
    assert shapes == {(2, 21 * 5)}


@pytest.mark.parametrize("name", ["global_avg_pool2d", "global_max_pool2d"])
def test_global_pools(name):
    kind = "avg" if "avg" in name else "max"
    for values in (X, TIED):
        same_as_torch(
            getattr(F, name), lambda T, x: last(getattr(T, f"adaptive_{kind}_pool2d")(first(x), 1)), values[2]
        )


# ------------------------------------------------------------------------------------------- what is not a number

def special(axes):
    """Infinities, and NaN, often several in a window."""
    return RNG.choice([0.0, 1.0, -1.0, np.inf, -np.inf, -np.inf, np.nan, np.nan], SIZES[axes])


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("options", [
    {"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}])
def test_max_pool_of_special_values(axes, options):
    name = f"max_pool{axes}d"
    same_as_torch(
        lambda x: getattr(F, name)(x, **options, return_indices=True),
        lambda T, x: tuple(map(last, getattr(T, name)(first(x), **options, return_indices=True))),
        special(axes),
    )


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_adaptive_max_pool_of_special_values(axes, size):
    name = f"adaptive_max_pool{axes}d"
    same_as_torch(
        lambda x: getattr(F, name)(x, size, return_indices=True),
        lambda T, x: tuple(map(last, getattr(T, name)(first(x), size, return_indices=True))),
        special(axes),
    )


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_averages_of_special_values_stay_in_their_windows(axes):
    for name, given in ((f"avg_pool{axes}d", {"kernel_size": 3, "stride": 2, "padding": 1}),
                        (f"adaptive_avg_pool{axes}d", {"output_size": 4})):
        x = RNG.standard_normal(SIZES[axes])
        x[(0,) * (axes + 1)], x[(1,) * (axes + 2)] = np.nan, np.inf
        same_as_torch(
            lambda a, name=name, given=given: getattr(F, name)(a, **given),
            lambda T, a, name=name, given=given: last(getattr(T, name)(first(a), **given)), x,
        )


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_empty_batches(axes):
    x = np.zeros((0, *SIZES[axes][1:]))
    for name, size in (("max_pool", 2), ("avg_pool", 2), ("adaptive_avg_pool", 2), ("adaptive_max_pool", 3)):
        same_as_torch(
            lambda a, name=name, size=size: getattr(F, f"{name}{axes}d")(a, size),
            lambda T, a, name=name, size=size: last(getattr(T, f"{name}{axes}d")(first(a), size)), x,
        )


# ------------------------------------------------------------------------------------------------------- refusals

WRONG = {
    "kernel of 0": ({"kernel_size": 0}, "kernel_size"),
    "negative kernel": ({"kernel_size": -1}, "kernel_size"),
    "stride of 0": ({"kernel_size": 2, "stride": 0}, "stride"),
    "negative padding": ({"kernel_size": 2, "padding": -1}, "padding"),
    "padding beyond half": ({"kernel_size": 3, "padding": 2}, "padding"),
    "window beyond x": ({"kernel_size": 40}, "window of 40 is larger"),
    "window beyond x by more than a step": ({"kernel_size": 20, "stride": 2, "ceil_mode": True}, "window of 20"),
    "too many sizes": ({"kernel_size": (2, 2, 2, 2)}, "kernel_size"),
    "kernel of a fraction": ({"kernel_size": 2.5}, "kernel_size"),
}


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_pools_refuse(axes, kind, wrong):
    options, match = WRONG[wrong]
    name, x = f"{kind}{axes}d", X[axes]
    both_refuse(
        lambda: getattr(F, name)(mc.tensor(x), **options),
        lambda torch: getattr(torch.nn.functional, name)(first(torch.tensor(x)), **options),
        f"{name}: .*{match}",
    )


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind, argument", [
    ("max_pool", 1), ("avg_pool", 1), ("adaptive_avg_pool", 2), ("adaptive_max_pool", 2)])
def test_what_shapes_pools_refuse(axes, kind, argument):
    name = f"{kind}{axes}d"
    for shape in (SIZES[axes][1:-1], (2, *[0] * axes, 3)):  # too few axes; nothing to pool
        both_refuse(
            lambda shape=shape: getattr(F, name)(mc.ones(shape), argument),
            lambda torch, shape=shape: getattr(torch.nn.functional, name)(first(torch.ones(shape)), argument),
            f"{name}: x must",
        )


REFUSED = {
    "padding beyond half, with dilation": ("max_pool2d", (2,), {"padding": 2, "dilation": 3}, "padding"),
    "padding beyond half of a sequence": ("max_pool1d", (3,), {"padding": 2, "dilation": 2}, "padding"),
    "padding beyond half of a volume": ("max_pool3d", (3,), {"padding": 2, "dilation": 2}, "padding"),
    "dilation of 0": ("max_pool2d", (2,), {"dilation": 0}, "dilation"),
    "divisor of 0": ("avg_pool2d", (2,), {"divisor_override": 0}, "divisor_override"),
    "divisor of 0 in 3d": ("avg_pool3d", (2,), {"divisor_override": 0}, "divisor_override"),
    "negative size": ("adaptive_avg_pool2d", (-1,), {}, "output_size"),
    "one size too few": ("adaptive_avg_pool3d", ((2, 2),), {}, "output_size"),
    "one size too many": ("adaptive_max_pool2d", ((2, 2, 2),), {}, "output_size"),
    "a size that is none": ("adaptive_max_pool1d", (2.5,), {}, "output_size"),
    "norm of 0": ("lp_pool2d", (0, 2), {}, "norm_type"),
    "norm pooling with a stride of 0": ("lp_pool2d", (2, 2, 0), {}, "stride"),
    "window beyond x": ("lp_pool2d", (2, 10), {}, "window"),
    "window beyond a sequence": ("lp_pool1d", (2, 20), {}, "window"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_else_is_refused(case):
    name, given, options, match = REFUSED[case]
    x = X[int(name[-2])]
    both_refuse(
        lambda: getattr(F, name)(mc.tensor(x), *given, **options),
        lambda torch: getattr(torch.nn.functional, name)(first(torch.tensor(x)), *given, **options),
        f"{name}: .*{match}",
    )


UNPOOL_REFUSED = {
    "an index outside": (lambda i: i + 90, {}, "indices"),
    "other shape": (lambda i: i[:, :2], {}, "indices"),
    "no indices": (lambda i: i.astype(np.float32), {}, "indices"),
    "size too far": (lambda i: i, {"output_size": (12, 8)}, "output_size"),
    "size too small": (lambda i: i, {"output_size": (6, 8)}, "output_size"),
    "size of other rank": (lambda i: i, {"output_size": (8, 8, 8)}, "output_size"),
    "size smaller than the indices": (lambda i: i, {"output_size": (7, 7)}, "indices"),
    "kernel of two axes too many": (lambda i: i, {"kernel_size": (2, 2, 2, 2)}, "kernel_size"),
}


@pytest.mark.parametrize("case", UNPOOL_REFUSED)
def test_what_unpooling_refuses(case):
    change, options, match = UNPOOL_REFUSED[case]
    y, indices = (t.numpy() for t in F.max_pool2d(mc.tensor(X[2]), 2, return_indices=True))
    options = {"kernel_size": 2} | options
    both_refuse(
        lambda: F.max_unpool2d(mc.tensor(y), mc.tensor(change(indices)), **options),
        lambda torch: torch.nn.functional.max_unpool2d(
            first(torch.tensor(y)), first(torch.tensor(change(indices))), **options),
        f"max_unpool2d: .*{match}",
    )


@pytest.mark.parametrize("call, match", [
    (lambda x: F.spatial_pyramid_pool2d(x, ()), "levels"), (lambda x: F.spatial_pyramid_pool2d(x, (2, 0)), "levels"),
    (lambda x: F.spatial_pyramid_pool2d(x, 3), "levels"),
    (lambda x: F.weighted_avg_pool2d(x, mc.ones((2, 2, 1))), "weights"),
    (lambda x: F.weighted_avg_pool2d(x, mc.tensor([[1.0, -1.0]])), "sum to 0"),
    (lambda x: F.weighted_avg_pool2d(x, mc.ones((20, 2))), "larger"),
    (lambda x: F.weighted_avg_pool2d(x, mc.tensor(np.ones((2, 2)))), "float64"),
    (lambda x: F.gaussian_weights(3, sigma=0), "sigma"), (lambda x: F.gaussian_weights(0), "kernel_size"),
    (lambda x: F.global_avg_pool2d(x[0]), "x must have shape"),
    (lambda x: F.lp_pool2d(x, float("inf"), 2), "norm_type"), (lambda x: F.lp_pool2d(x, float("nan"), 2), "norm_type"),
    (lambda x: F.lp_pool2d(x, True, 2), "norm_type"),
])
def test_what_our_own_pools_refuse(call, match):
    with pytest.raises((ValueError, TypeError), match=match):
        call(mc.ones((2, 9, 8, 3)))
