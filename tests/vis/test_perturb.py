"""Occlusion and feature ablation, against their definitions in plain loops."""

import math

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn, vis


@pytest.fixture(scope="module")
def model():
    mc.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5),
                         nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5))  # fmt: skip


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).standard_normal((2, 13, 10, 3)).astype(np.float32)


def scores(model, x, classes):
    with nn.evaluating(model):
        return np.take_along_axis(model(mc.tensor(x)).numpy(), np.reshape(classes, (-1, 1)), 1)[:, 0].astype(float)


def by_definition(model, x, classes, window, stride, baseline):
    """Window by window: the mean of the drops of those that cover a pixel."""
    (high, wide), (down, right) = window, stride
    whole = scores(model, x, classes)
    total, count = np.zeros(x.shape[:3]), np.zeros(x.shape[1:3])
    for row in range(math.ceil((x.shape[1] - high) / down) + 1):
        for column in range(math.ceil((x.shape[2] - wide) / right) + 1):
            box = (slice(row * down, row * down + high), slice(column * right, column * right + wide))
            covered = x.copy()
            covered[:, *box] = np.broadcast_to(baseline, x.shape)[:, *box]
            total[:, *box] += (whole - scores(model, covered, classes))[:, None, None]
            count[box] += 1
    return np.repeat((total / count)[..., None], 3, axis=-1)


@pytest.mark.parametrize("window, stride", [((4, 4), (2, 2)), ((7, 3), (4, 2)), ((5, 5), (5, 5)), ((13, 10), (1, 1))])
@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_occlusion_is_the_mean_drop_of_the_windows_over_a_pixel(model, x, window, stride, batch_size):
    found = vis.occlusion(model, x, [1, 4], window, stride, 0.5, batch_size=batch_size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_definition(model, x, [1, 4], window, stride, 0.5), atol=1e-6)


def test_a_window_that_sticks_out_is_cut_off_not_moved_back():
    """Windows of 7 with stride 4 start at 0, 4 ... 28 on 32 pixels: the last covers only 4, 28 to 31."""
    picked = nn.Sequential(nn.Flatten(), nn.Linear(32, 1, bias=False))
    weight = np.zeros((32, 1), np.float32)
    weight[24] = 1.0
    picked.load_state_dict({"1.weight": weight})
    found = vis.occlusion(picked, np.ones((1, 32, 1), np.float32), window=7, stride=4)[0, :, 0]
    covering = [[start for start in range(0, 29, 4) if start <= pixel < start + 7] for pixel in range(32)]
    expected = np.array([np.mean([float(start <= 24 < start + 7) for start in starts]) for starts in covering])
    np.testing.assert_allclose(found, expected)


def test_the_target_of_the_whole_picture_counts_for_the_covered_ones(model, x):
    best = model.eval()(mc.tensor(x)).numpy().argmax(axis=1)
    np.testing.assert_array_equal(vis.occlusion(model, x), vis.occlusion(model, x, best))


def test_a_baseline_may_be_a_picture(model, x):
    other = np.random.default_rng(1).standard_normal(x.shape[1:]).astype(np.float32)
    found = vis.occlusion(model, x, 2, 4, 3, other)
    np.testing.assert_allclose(found, by_definition(model, x, [2, 2], (4, 4), (3, 3), other), atol=1e-6)


def test_a_baseline_may_be_each_pictures_own_mean_or_blur(model, x):
    from scipy.ndimage import gaussian_filter

    blurred = np.stack([np.stack([gaussian_filter(picture[..., channel], 13 / 16, mode="nearest")
                                  for channel in range(3)], axis=-1) for picture in x])
    for name, other in (("mean", x.mean(axis=(1, 2), keepdims=True)), ("blur", blurred)):
        found = vis.occlusion(model, x, 2, 4, 3, name)
        np.testing.assert_allclose(found, by_definition(model, x, [2, 2], (4, 4), (3, 3), other), atol=1e-6)


def test_features_are_blocks_or_whatever_the_user_numbers(model, x):
    """Blocks are windows that don't overlap; halves are numbered by hand, with a number left out."""
    np.testing.assert_array_equal(vis.feature_ablation(model, x, 1, 4), vis.occlusion(model, x, 1, 4, 4))
    halves = np.zeros((13, 10), int)
    halves[:, 6:] = 9
    found = vis.feature_ablation(model, x, 1, halves, baseline=1.0)
    for part in (0, 9):
        without = np.where((halves == part)[..., None], np.float32(1), x)
        drop = scores(model, x, [1, 1]) - scores(model, without, [1, 1])
        inside = found[:, halves == part]
        np.testing.assert_allclose(inside, np.broadcast_to(drop[:, None, None], inside.shape), atol=1e-6)


@pytest.mark.parametrize("sizes", [(11,), (5, 6, 4)])
def test_sequences_and_volumes_are_occluded_along_all_axes(sizes):
    """Of a sum of pixels, each window takes as many as it covers; the last is cut off."""
    total = nn.Sequential(nn.Flatten(), nn.Linear(2 * math.prod(sizes), 1))
    total.load_state_dict({"1.weight": np.ones((2 * math.prod(sizes), 1), np.float32), "1.bias": np.zeros(1, "f4")})
    found = vis.occlusion(total, np.ones((1, *sizes, 2), np.float32), window=3, stride=3)
    lengths = [np.array([min(3, size - at // 3 * 3) for at in range(size)]) for size in sizes]
    covered = 2.0 * math.prod(np.ix_(*lengths))
    np.testing.assert_allclose(found, np.repeat(covered[None, ..., None], 2, axis=-1), rtol=1e-5)


def test_the_pictures_are_untouched_and_the_model_too(model, x):
    model.train()
    before = x.copy()
    vis.occlusion(model, x, 1)
    assert model.training and (x == before).all()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_progress_counts_passes(model, x):
    told = []
    vis.occlusion(model, x, 1, 8, 8, batch_size=4, progress=lambda done, total: told.append((done, total)))
    assert told == [(4, 10), (8, 10), (10, 10)]  # 2 x 2 windows and the whole picture, of two pictures


@pytest.mark.parametrize("options, message", [
    ({"window": 0}, "window must be one or 2 ints of at least 1"),
    ({"window": (4, 4, 4)}, "window must be one or 2 ints"),
    ({"window": 4, "stride": 5}, "stride 5 is above window 4"),
    ({"baseline": np.zeros((5, 5))}, "baseline of shape .5, 5. does not broadcast"),
    ({"window": 4.0}, "window must be one or 2 ints of at least 1, got 4.0"),
    ({"window": True}, "window must be one or 2 ints"),
    ({"baseline": float("nan")}, "baseline holds values that are infinite or not a number"),
    ({"baseline": "black"}, "baseline must be a number, an array, 'mean' or"),
    ({"target": 5}, "target 5 is out of range"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(model, x, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        vis.occlusion(model, x, **options)


def test_features_must_fit_the_picture(model, x):
    with pytest.raises(ValueError, match="features must be the size of a block or ints of shape .13, 10."):
        vis.feature_ablation(model, x, features=np.zeros((4, 4), int))
    with pytest.raises(ValueError, match="a block must have at least 1 pixel"):
        vis.feature_ablation(model, x, features=0)
    with pytest.raises(ValueError, match="features must be the size of a block"):
        vis.feature_ablation(model, x, features=True)
    np.testing.assert_array_equal(vis.feature_ablation(model, x, 1, np.int64(4)), vis.feature_ablation(model, x, 1, 4))
    np.testing.assert_array_equal(vis.occlusion(model, x, 1, np.int64(4)), vis.occlusion(model, x, 1, 4))


def test_rows_of_numbers_have_no_places():
    linear = nn.Linear(6, 2)
    for method in (vis.occlusion, vis.feature_ablation):
        with pytest.raises(ValueError, match=f"{method.__name__}: x must be pictures .* got shape .3, 6."):
            method(linear, np.ones((3, 6), np.float32), 1)
    with pytest.raises(ValueError, match="baseline 'mean' is for pictures"):
        vis.integrated_gradients(linear, np.ones((3, 6), np.float32), 1, baseline="mean")
