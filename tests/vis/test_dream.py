"""DeepDream: sizes, tiles, and a layer that responds more."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn, vis
from minicnn.tape import enable_grad
from minicnn.vis.dream import _slope
from minicnn.vis.goal import Goal

RANDOM = np.random.default_rng(0)
PHOTO = RANDOM.random((48, 61, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    """For pictures of 16 x 16; its first layers take any."""
    mc.manual_seed(2)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 2))


@pytest.mark.parametrize("channel", [None, 1])
def test_the_layer_responds_more(model, channel):
    dreamt = vis.deep_dream(model, PHOTO, "3", channel, octaves=2, steps=5)
    assert dreamt.shape == PHOTO.shape and dreamt.dtype == np.float32 and 0 <= dreamt.min() and dreamt.max() <= 1
    before, after = (nn.features(model, "3")(mc.tensor(x[None])).numpy() for x in (PHOTO, dreamt))
    strength = (lambda a: (a**2).mean()) if channel is None else (lambda a: a[..., channel].mean())
    assert strength(after) > 1.2 * strength(before)


def test_octaves_end_at_the_size_of_the_photo_and_small_ones_are_left_out(model):
    for photo, expected in ((PHOTO, [(34, 44), (48, 61)]), (PHOTO[:20], [(20, 61)])):  # 48 / 1.4^2 is 24
        sizes = []
        vis.deep_dream(model, photo, "1", octaves=4, steps=1, callback=lambda o, s, x, to=sizes: to.append(x.shape[:2]))
        assert sizes == expected


@pytest.mark.parametrize("tile", [None, 7, 20])
def test_tiles_and_rolling_change_nothing_where_pixels_stand_alone(tile):
    """With filters of one pixel, the gradient of each pixel is its own, wherever the tiles lie."""
    mc.manual_seed(0)
    pointwise, goal = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), Goal("test", None, "1", None)
    with goal.look(pointwise, PHOTO[None]) as look, enable_grad():
        found = _slope(look, goal, PHOTO, 9, tile, np.random.default_rng(3))
        plain = _slope(look, goal, PHOTO, 0, None, np.random.default_rng(3))
    np.testing.assert_allclose(found, plain, atol=1e-5 * abs(plain).max())


def test_steps_are_as_long_as_they_say(model):
    pictures = []
    vis.deep_dream(model, np.full((40, 40, 3), 0.5), "1", octaves=1, steps=2, lr=0.02,
                   callback=lambda octave, step, picture: pictures.append(picture))  # fmt: skip
    assert abs(pictures[0] - 0.5).mean() == pytest.approx(0.02, rel=1e-4)
    assert abs(pictures[1] - pictures[0]).mean() == pytest.approx(0.02, rel=1e-4)


def test_bytes_are_floats_in_255_steps_and_the_seed_decides(model):
    photo = (PHOTO * 255).astype(np.uint8)
    options = {"layer": "1", "octaves": 1, "steps": 2}
    first = vis.deep_dream(model, photo, **options)
    np.testing.assert_array_equal(first, vis.deep_dream(model, (photo / np.float32(255)), **options))
    assert (first != vis.deep_dream(model, photo, **options, seed=1)).any()
    wide = vis.deep_dream(model, photo, **options, value_range=(-1.0, 1.0))
    assert wide.min() < -0.5 and wide.max() <= 1


def test_the_model_is_left_as_it_was_and_progress_counts_steps(model):
    told = []
    model.train()
    vis.deep_dream(model, PHOTO, "1", octaves=2, steps=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert model.training and not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("options, message", [
    ({"layer": "9"}, "has no layer '9'"),
    ({"channel": [0, 1]}, "deep_dream: channel must be an int"),
    ({"value_range": (1, 0)}, "deep_dream: value_range must rise, got"),
    ({"channel": 5}, "channel 5 is out of range"),
    ({"photo": PHOTO[None]}, "photo must have shape .H, W, C., got"),
    ({"photo": PHOTO * 255}, "photo must be bytes, or floats from 0.0 to 1.0, got float32 from"),
    ({"octaves": 0}, "octaves must be an int of at least 1"),
    ({"tile": -1}, "tile must be an int of at least 1"),
    ({"octave_scale": 1}, "octave_scale must be above 1"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        vis.deep_dream(model, **({"photo": PHOTO, "layer": "1"} | options))
