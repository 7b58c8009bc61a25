"""Painted pictures: the canvas, moving pictures about, priors, and the ascent itself."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn, vis
from minicnn.vis.canvas import Canvas
from minicnn.vis.sampling import moved

RANDOM = np.random.default_rng(0)


def canvas(shape=(2, 6, 9, 3), fourier=True, colours="decorrelated", value_range=(0.0, 1.0)):
    return Canvas(shape, fourier, colours, value_range, np.dtype(np.float64), "cpu")


@pytest.fixture(scope="module")
def model():
    mc.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 4))  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ canvas


@pytest.mark.parametrize("fourier", [True, False])
@pytest.mark.parametrize("colours", ["decorrelated", "plain", [[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.2, 2.0]]])
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-2.0, 3.0)])
def test_what_is_painted_is_what_is_seen(fourier, colours, value_range):
    low, high = value_range
    pictures = RANDOM.uniform(low + 0.01 * (high - low), high - 0.01 * (high - low), (2, 6, 9, 3))
    own = canvas(fourier=fourier, colours=colours, value_range=value_range)
    own.paint(pictures)
    np.testing.assert_allclose(own.pictures().numpy(), pictures, atol=1e-9)


def test_pixels_stay_in_the_range_however_far_the_numbers_go():
    own = canvas(value_range=(-1.0, 2.0))
    own.scatter([RANDOM, RANDOM], 1e4)
    pictures = own.pictures().numpy()
    assert pictures.min() >= -1 and pictures.max() <= 2 and pictures.min() < -0.99 and pictures.max() > 1.99


def test_grey_pictures_have_equal_channels():
    own = canvas(colours="grey")
    own.scatter([RANDOM, RANDOM], 1.0)
    pictures = own.pictures().numpy()
    assert (pictures[..., :1] == pictures).all() and pictures.std() > 0


def test_numbers_are_amplitudes_of_frequencies_that_fall_as_in_natural_pictures():
    """Each number alone makes a wave of its own frequency, by NumPy's Fourier transform, and of strength 1 / f."""
    own = canvas((1, 8, 12, 1), colours="plain")
    for row, column in [(0, 1), (3, 0), (4, 7), (7, 11)]:
        values = np.zeros((1, 1, 8, 12))
        values[0, 0, row, column] = 1.0
        own._set(values)
        picture = own.pictures().numpy()[0, :, :, 0]
        logits = np.log(picture / (1 - picture))
        strength = abs(np.fft.fft2(logits, norm="ortho"))
        down, right = np.unravel_index(strength.argmax(), strength.shape)
        frequency = np.hypot(min(down, 8 - down) / 8, min(right, 12 - right) / 12)
        assert frequency == pytest.approx(np.hypot((row + 1) // 2 / 8, (column + 1) // 2 / 12))
        assert np.linalg.norm(logits) == pytest.approx(0.25 / frequency)


@pytest.mark.parametrize("fourier", [True, False])
def test_blur_is_a_gaussian_around_the_edges(fourier):
    from scipy.ndimage import gaussian_filter

    own = canvas((1, 20, 24, 1), fourier, "plain")
    own.scatter([RANDOM], 0.5)

    def logits():
        picture = own.pictures().numpy()[0, :, :, 0]
        return np.log(picture / (1 - picture))

    before = logits()
    own.blur(1.5)
    np.testing.assert_allclose(logits(), gaussian_filter(before, 1.5, mode="wrap", truncate=8), atol=2e-4)


@pytest.mark.parametrize("colours", ["natural", np.eye(2), np.full((3, 3), np.nan)])
def test_colours_that_do_not_fit_are_refused(colours):
    with pytest.raises(ValueError, match="colours: expected"):
        canvas(colours=colours)
    with pytest.raises(ValueError, match="'decorrelated'"):
        canvas((1, 4, 4, 1))  # of one channel


# ---------------------------------------------------------------------------------------------------------- sampling


@pytest.mark.parametrize("shift, angle, scale", [((2.0, -3.0), 0.0, 1.0), ((0.0, 0.0), 33.0, 1.0),
                                                 ((0.0, 0.0), 0.0, 1.4), ((1.5, -0.25), -20.0, 0.8)])  # fmt: skip
def test_pictures_are_moved_as_scipy_does(shift, angle, scale):
    from scipy.ndimage import affine_transform

    pictures = RANDOM.random((2, 9, 7, 2))
    found = moved(mc.tensor(pictures), shift, angle, scale).numpy()
    turn, middle = np.deg2rad(angle), np.array([4.0, 3.0])
    back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / scale
    for picture, result in zip(pictures, found, strict=True):
        for channel in range(2):
            expected = affine_transform(picture[..., channel], back, middle - back @ (middle + shift), order=1,
                                        mode="mirror")
            np.testing.assert_allclose(result[..., channel], expected, atol=1e-9)


def test_a_turn_of_90_degrees_and_a_picture_of_one_row():
    picture = RANDOM.random((1, 5, 5, 1))
    assert np.allclose(moved(mc.tensor(picture), angle=90).numpy()[0], np.rot90(picture[0], -1))
    row = RANDOM.random((1, 1, 6, 1))
    assert np.allclose(moved(mc.tensor(row), (0, 1)).numpy()[0, 0, 1:], row[0, 0, :-1])


def test_gradients_go_back_through_a_move():
    x = mc.tensor(RANDOM.random((1, 4, 5, 2)), requires_grad=True)
    assert mc.gradcheck(lambda a: moved(a, (0.7, -1.2), 15.0, 1.1), [x])


# ------------------------------------------------------------------------------------------------------------ ascent


def test_pixels_follow_the_weights_of_a_linear_model():
    weights = RANDOM.standard_normal((48, 1)).astype(np.float32)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(48, 1))
    linear.load_state_dict({"1.weight": weights, "1.bias": np.zeros(1, np.float32)})
    options = {"size": (4, 4, 3), "max_iter": 100, "lr": 0.4, "jitter": 0, "rotate": 0, "scale": 0}
    found = vis.maximize_activation(linear, fourier=False, colours="plain", **options)
    best = weights[weights > 0].sum()
    assert 0.9 * best < found.scores[0] < best
    np.testing.assert_array_equal(found.pictures.ravel() > 0.5, weights.ravel() > 0)
    fourier = vis.maximize_activation(linear, **options)
    assert 0.7 * best < fourier.scores[0] < best


def test_a_picture_for_each_of_several_classes(model):
    found = vis.maximize_activation(model, [2, 0, 3, 1], size=(12, 12, 3), max_iter=60)
    assert found.pictures.shape == (4, 12, 12, 3) and found.pictures.dtype == found.scores.dtype == np.float32
    with nn.evaluating(model):
        logits = model(mc.tensor(found.pictures)).numpy()
        faint = model(mc.tensor(np.full((1, 12, 12, 3), 0.5, np.float32))).numpy()[0]
    np.testing.assert_allclose(found.scores, logits[range(4), [2, 0, 3, 1]], rtol=1e-5)
    assert (found.scores > faint[[2, 0, 3, 1]]).all()


def test_results_do_not_depend_on_the_batch_and_follow_the_seed(model):
    options = {"size": (10, 10, 3), "max_iter": 5}
    whole = vis.maximize_activation(model, [0, 1, 2], **options, frames=2)
    parts = vis.maximize_activation(model, [0, 1, 2], **options, frames=2, batch_size=2)
    np.testing.assert_allclose(whole.pictures, parts.pictures, atol=1e-5)
    np.testing.assert_allclose(whole.frames, parts.frames, atol=1e-5)
    np.testing.assert_array_equal(whole.pictures, vis.maximize_activation(model, [0, 1, 2], **options).pictures)
    assert (whole.pictures != vis.maximize_activation(model, [0, 1, 2], **options, seed=1).pictures).any()


def test_a_filter_several_or_a_layer(model):
    for channel, wanted in ((2, [2]), ([5, 0], [5, 0])):
        found = vis.maximize_activation(model, layer="4", channel=channel, size=(9, 9, 3), max_iter=20)
        outputs = vis.activations(model, found.pictures, ["4"])["4"]
        strength = outputs.mean(axis=(1, 2))[range(len(wanted)), wanted]
        np.testing.assert_allclose(found.scores, strength, rtol=1e-5)
    found = vis.maximize_activation(model, layer="2", size=(9, 9, 3), max_iter=20)
    outputs = vis.activations(model, found.pictures, ["2"])["2"]
    np.testing.assert_allclose(found.scores, [(outputs**2).mean()], rtol=1e-5)


def test_a_function_of_the_outputs_and_one_of_a_start(model):
    start = RANDOM.random((10, 10, 3)).astype(np.float32)
    found = vis.maximize_activation(model, lambda outputs: outputs[:, 1] - outputs[:, 0], start=start, max_iter=30)
    with nn.evaluating(model):
        before, after = (model(mc.tensor(x)).numpy()[0] for x in (start[None], found.pictures))
    assert after[1] - after[0] > before[1] - before[0]
    one = vis.maximize_activation(model, [0, 1], start=np.stack([start, 1 - start]), max_iter=1, lr=1e-6)
    np.testing.assert_allclose(one.pictures, [start.clip(1e-3, 1 - 1e-3), (1 - start).clip(1e-3, 1 - 1e-3)], atol=1e-3)


def roughness(pictures):
    return abs(np.diff(pictures, axis=1)).mean() + abs(np.diff(pictures, axis=2)).mean()


def test_each_prior_does_what_it_says(model):
    options = {"size": (16, 16, 3), "max_iter": 40, "fourier": False}
    plain = vis.maximize_activation(model, 1, **options).pictures
    assert roughness(vis.maximize_activation(model, 1, **options, tv=50.0).pictures) < 0.5 * roughness(plain)
    assert roughness(vis.maximize_activation(model, 1, **options, blur=1.0).pictures) < 0.8 * roughness(plain)
    tame = vis.maximize_activation(model, 1, **options, l2=50.0).pictures
    assert ((tame - 0.5) ** 2).mean() < 0.5 * ((plain - 0.5) ** 2).mean()


def test_frames_callback_and_progress(model):
    steps, told = [], []

    def callback(step, pictures, scores):
        steps.append((step, pictures.shape, scores.shape))
        return np.bool_(step == 6)

    found = vis.maximize_activation(model, 0, size=(8, 8, 3), max_iter=10, frames=3, callback=callback,
                                    progress=lambda done, total: told.append((done, total)))  # fmt: skip
    assert steps == [(step, (1, 8, 8, 3), (1,)) for step in range(7)]
    assert told == [(step, 10) for step in range(1, 8)]
    assert found.frames.shape == (4, 1, 8, 8, 3)  # of the steps 0, 3 and 6, and finished
    np.testing.assert_array_equal(found.frames[-1], found.pictures)
    assert len(vis.maximize_activation(model, 0, size=(8, 8, 3), max_iter=2).frames) == 0


def test_the_model_is_left_as_it_was(model):
    def fail(*_):
        raise RuntimeError("in the middle")

    before = model.train().state_dict()
    with pytest.raises(RuntimeError, match="in the middle"):
        vis.maximize_activation(model, 0, size=(8, 8, 3), callback=fail)
    vis.maximize_activation(model, layer="3", channel=0, size=(8, 8, 3), max_iter=2)
    assert all((before[name] == value).all() for name, value in model.state_dict().items())
    assert model.training and not any(module._forward_hooks for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def told_of_silent(method, *arguments, **options):
    """What a method gives that warns of filters which a ReLU keeps silent."""
    with pytest.warns(UserWarning, match="nothing drives picture"):
        return method(*arguments, **options)


def test_filter_sheets_are_sorted(model):
    sheet = told_of_silent(vis.filter_sheet, model, "4", 5, size=(8, 8, 3), max_iter=10, batch_size=3)
    assert sheet.pictures.shape == (5, 8, 8, 3) and len(set(sheet.channels.tolist())) == 5
    every = told_of_silent(vis.maximize_activation, model, layer="4", channel=range(8), size=(8, 8, 3), max_iter=10)
    np.testing.assert_allclose(sheet.scores, np.sort(every.scores)[::-1][:5], rtol=1e-4)
    np.testing.assert_allclose(sheet.pictures, every.pictures[sheet.channels], atol=1e-4)
    assert len(told_of_silent(vis.filter_sheet, model, "4", size=(8, 8, 3), max_iter=1).channels) == 8  # all there are
    begun = vis.filter_sheet(model, "3", 2, start=np.full((8, 8, 3), 0.5), max_iter=1)  # a start says its size
    assert begun.pictures.shape == (2, 8, 8, 3)
    with pytest.raises(TypeError, match="filter_sheet: channel is not an option"):
        vis.filter_sheet(model, "4", channel=1)


@pytest.mark.parametrize("options, message", [
    ({}, "several classes: say as target which"),
    ({"target": 4}, "target 4 is out of range"),
    ({"target": 0.5}, "target must be an int of at least 0"),
    ({"target": 0, "layer": "3"}, "either a target or a layer is driven"),
    ({"channel": 0}, "of which layer"),
    ({"layer": "3", "channel": 8}, "channel 8 is out of range, layer '3' has 8"),
    ({"layer": "33"}, "has no layer '33': did you mean '3'"),
    ({"target": 0, "size": 12}, "size must be .H, W, C. where the model doesn't say it"),
    ({"target": 0, "max_iter": 0}, "max_iter must be an int of at least 1"),
    ({"target": 0, "jiter": 3}, "there is no option 'jiter': did you mean 'jitter'"),
    ({"target": 0, "tv": -1}, "tv must be a number of at least 0"),
    ({"target": 0, "value_range": (1, 0)}, "value_range must rise"),
    ({"target": [0, 1, 2], "size": None, "start": np.zeros((2, 8, 8, 3))}, "3 goals for the 2 pictures of start"),
    ({"target": 0, "size": None, "start": np.zeros((8, 8, 3), np.uint8)}, "start must be float pictures"),
    ({"target": 0, "size": None, "start": np.full((8, 8, 3), 2.0)}, "start has values from 2.0 to 2.0"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(model, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        vis.maximize_activation(model, **({"size": (8, 8, 3)} | options))


@pytest.mark.parametrize("priors", [{}, {"tv": 1.0}])
def test_a_channel_that_is_silent_all_the_way_is_told(priors):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    _ = model[0].bias.detach().copy_([1.0, -100.0, 1.0, -100.0])
    with pytest.warns(UserWarning, match="maximize_activation: nothing drives picture 1, 3: .* behind a ReLU"):
        vis.maximize_activation(model, layer="1", channel=range(4), size=(8, 8, 3), max_iter=2, batch_size=3, **priors)
    with pytest.raises(ValueError, match="maximize_activation: seed must be an int"):
        vis.maximize_activation(model, layer="1", size=(8, 8, 3), seed=None)
