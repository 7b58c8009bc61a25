"""Resizing against PyTorch: every mode, up and down, by size and by factor."""

import numpy as np
import pytest

import minicnn as mc

from .against_torch import both_refuse, first, last, same_as_torch

F = mc.nn.functional
RNG = np.random.default_rng(2)
X = {1: RNG.standard_normal((2, 9, 3)), 2: RNG.standard_normal((2, 6, 7, 3)), 3: RNG.standard_normal((1, 4, 5, 6, 2))}

TARGETS = {
    1: [{"size": 1}, {"size": 4}, {"size": 9}, {"size": 10}, {"size": (23,)}, {"scale_factor": 2},
        {"scale_factor": 0.7}, {"scale_factor": 1.5}, {"scale_factor": 2.3}],
    2: [{"size": 1}, {"size": 3}, {"size": (6, 7)}, {"size": (12, 14)}, {"size": (13, 5)}, {"size": (5, 20)},
        {"scale_factor": 2}, {"scale_factor": (0.5, 3.0)}, {"scale_factor": 1.7}, {"scale_factor": (0.6, 1.1)}],
    3: [{"size": 3}, {"size": (4, 5, 6)}, {"size": (9, 2, 7)}, {"scale_factor": 2}, {"scale_factor": (0.5, 1.3, 2.6)}],
}  # fmt: skip
SMOOTH = {1: ["linear"], 2: ["bilinear", "bicubic"], 3: ["trilinear"]}


def cases():
    for axes, targets in TARGETS.items():
        for target in targets:
            for mode in ("nearest", "nearest-exact", "area", *SMOOTH[axes]):
                yield axes, target | {"mode": mode}
                if mode in SMOOTH[axes]:
                    yield axes, target | {"mode": mode, "align_corners": True}
            if "scale_factor" in target:
                yield axes, target | {"mode": SMOOTH[axes][0], "recompute_scale_factor": True}


CASES = list(cases())


@pytest.mark.parametrize("axes, options", CASES, ids=[f"{a}d-{o}".replace(" ", "") for a, o in CASES])
def test_interpolate(axes, options):
    same_as_torch(
        lambda x: F.interpolate(x, **options), lambda T, x: last(T.interpolate(first(x), **options)), X[axes]
    )


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_takes_the_same_places_for_all_sizes(mode):
    torch = pytest.importorskip("torch")
    for length in (1, 2, 3, 5, 7, 10, 16, 30, 49):
        x = np.arange(length, dtype=np.float64)  # in float32 PyTorch rounds a few whole numbers down
        for size in range(1, 100):
            got = F.interpolate(mc.tensor(x.reshape(1, length, 1)), size=size, mode=mode)
            want = torch.nn.functional.interpolate(torch.tensor(x).reshape(1, 1, length), size=size, mode=mode)
            assert np.array_equal(got.numpy().ravel(), want.numpy().ravel()), (length, size)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("shape, factor", [
    ((1, 19, 2), 1.05), ((1, 10, 2), 2.05), ((1, 19, 19, 2), 1.05), ((1, 10, 19, 2), (2.05, 1.05)),
    ((1, 19, 4, 2), (1.05, 2)), ((1, 3, 19, 4, 2), (1.0, 1.05, 1.1)), ((1, 3, 10, 10, 2), (2.1, 2.05, 1.5)),
], ids=str)  # fmt: skip
def test_a_factor_beside_the_ratio_of_the_sizes(shape, factor, mode):
    torch = pytest.importorskip("torch")
    x = RNG.standard_normal(shape)
    got = F.interpolate(mc.tensor(x), scale_factor=factor, mode=mode).numpy()
    # Values alone: the gradient of PyTorch's nearest takes the ratio of the sizes where its values take the factor.
    want = torch.nn.functional.interpolate(first(torch.tensor(x)), scale_factor=factor, mode=mode)
    np.testing.assert_allclose(got, last(want).numpy(), rtol=1e-12, atol=1e-12)


def test_nearest_by_a_factor_that_keeps_the_size():
    x = mc.tensor(np.arange(10.0).reshape(1, 10, 1))
    assert F.interpolate(x, scale_factor=1.05).flatten().tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_nearest_is_exact_where_float32_is_not():
    x = np.arange(224, dtype=np.float32)
    y = F.interpolate(mc.tensor(x.reshape(1, 224, 1)), size=96).flatten().tolist()
    assert y == [i * 7 // 3 for i in range(96)] and y[27] == 63
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional.interpolate(torch.tensor(x).reshape(1, 1, 224), size=96).flatten().tolist()
    assert max(abs(a - b) for a, b in zip(y, theirs, strict=True)) <= 1


def test_an_empty_batch():
    for mode in ("nearest", "bilinear", "bicubic", "area"):
        same_as_torch(
            lambda x, mode=mode: F.interpolate(x, size=(3, 9), mode=mode),
            lambda T, x, mode=mode: last(T.interpolate(first(x), size=(3, 9), mode=mode)), X[2][:0],
        )


def test_what_is_not_a_number_touches_its_neighbours_only():
    x = RNG.standard_normal((1, 8, 8, 2))
    x[0, 2, 5, 1], x[0, 6, 1, 0] = np.nan, np.inf
    y = F.interpolate(mc.tensor(x), scale_factor=2, mode="bilinear").numpy()
    rows, columns = np.nonzero(~np.isfinite(y[0, :, :, 1]))
    assert set(rows) == {3, 4, 5, 6} and set(columns) == {9, 10, 11, 12}
    assert np.isnan(y[0, :, :, 0]).sum() == 0 and np.isinf(y[0, :, :, 0]).sum() == 16


@pytest.mark.parametrize("r", [1, 2, 3])
def test_pixel_shuffle(r):
    x = RNG.standard_normal((2, 3, 4, 2 * r * r))
    same_as_torch(lambda a: F.pixel_shuffle(a, r), lambda T, a: last(T.pixel_shuffle(first(a), r)), x)
    y = F.pixel_shuffle(mc.tensor(x), r)
    assert np.array_equal(F.pixel_unshuffle(y, r).numpy(), x)
    same_as_torch(lambda a: F.pixel_unshuffle(a, r), lambda T, a: last(T.pixel_unshuffle(first(a), r)), y.numpy())


REFUSED = {
    "nothing": ({}, "size and scale_factor"), "both": ({"size": 3, "scale_factor": 2}, "size and scale_factor"),
    "too few": ({"size": (3,)}, "size"), "no size": ({"size": 0}, "size"), "a fraction": ({"size": 2.5}, "size"),
    "negative": ({"scale_factor": -1.0}, "scale_factor"), "to nothing": ({"scale_factor": 0.1}, "scale_factor"),
    "too few factors": ({"scale_factor": (2.0,)}, "scale_factor"),
    "recomputed size": ({"size": 3, "recompute_scale_factor": True}, "recompute_scale_factor is for scale_factor"),
    "corners of nearest": ({"size": 3, "align_corners": True}, "align_corners"),
    "mode of a sequence": ({"size": 3, "mode": "linear"}, "mode"), "unknown": ({"size": 3, "mode": "foo"}, "mode"),
    "mode of a volume": ({"size": 3, "mode": "trilinear"}, "mode"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_interpolate_refuses(case):
    options, match = REFUSED[case]
    both_refuse(
        lambda: F.interpolate(mc.tensor(X[2]), **options),
        lambda torch: torch.nn.functional.interpolate(first(torch.tensor(X[2])), **options), f"interpolate: .*{match}",
    )


@pytest.mark.parametrize("shape", [(2, 3), (2, 0, 4, 3), (1, 2, 2, 2, 2, 2)])
def test_what_shapes_interpolate_refuses(shape):
    both_refuse(
        lambda: F.interpolate(mc.ones(shape), size=2),
        lambda torch: torch.nn.functional.interpolate(first(torch.ones(shape)), size=2), "interpolate: x must have",
    )


@pytest.mark.parametrize("name, shape, factor, match", [
    ("pixel_shuffle", (1, 2, 2, 6), 2, "channels"), ("pixel_shuffle", (1, 2, 2, 4), 0, "upscale_factor"),
    ("pixel_shuffle", (2, 4), 2, "x must have shape"), ("pixel_unshuffle", (1, 5, 4, 3), 2, "downscale_factor"),
    ("pixel_unshuffle", (1, 4, 4, 3), 0, "downscale_factor"),
])  # fmt: skip
def test_what_shuffles_refuse(name, shape, factor, match):
    both_refuse(
        lambda: getattr(F, name)(mc.ones(shape), factor),
        lambda torch: getattr(torch.nn.functional, name)(first(torch.ones(shape)), factor), f"{name}: .*{match}",
    )
