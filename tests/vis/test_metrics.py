"""Deletion and insertion curves, ROAD and its imputation, on models whose scores are counted by hand."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn, vis
from minicnn.vis.imputation import impute
from minicnn.vis.metrics import ranks


def weighing(weights, bias=0.0):
    """A model whose logits are weighted sums of the pixels. weights: (H, W) or (H, W, classes)."""
    weights = np.asarray(weights, np.float32)
    columns = weights.reshape(weights.shape[0] * weights.shape[1], -1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(*columns.shape))
    model.load_state_dict({"1.weight": columns, "1.bias": np.full(columns.shape[1], bias, np.float32)})
    return model


WEIGHTS = np.array([[4.0, 1.0], [3.0, 2.0]])
ONES = np.ones((1, 2, 2, 1), np.float32)


def test_deletion_takes_the_highest_first():
    curve = vis.deletion_curve(weighing(WEIGHTS), ONES, WEIGHTS[None], steps=4, probability=False)
    assert curve.scores.tolist() == [[10.0, 6.0, 3.0, 1.0, 0.0]]
    assert curve.areas.tolist() == [(10 / 2 + 6 + 3 + 1 + 0) / 4]
    worst = vis.deletion_curve(weighing(WEIGHTS), ONES, -WEIGHTS[None], steps=4, probability=False)
    assert worst.areas[0] > curve.areas[0]


def test_insertion_brings_the_highest_first():
    curve = vis.insertion_curve(weighing(WEIGHTS), ONES, WEIGHTS[None], steps=2, baseline=0.0, probability=False)
    assert curve.shares.tolist() == [0.0, 0.5, 1.0] and curve.scores.tolist() == [[0.0, 7.0, 10.0]]


def test_scores_are_probabilities_unless_logits_are_asked_for():
    curve = vis.deletion_curve(weighing(WEIGHTS, bias=-5), ONES, WEIGHTS[None], steps=1)
    np.testing.assert_allclose(curve.scores[0], 1 / (1 + np.exp([-5.0, 5.0])), rtol=1e-6)
    two = np.stack([WEIGHTS, np.zeros((2, 2))], axis=-1)
    for target in (0, 1):
        found = vis.deletion_curve(weighing(two), ONES, WEIGHTS[None], target, steps=1).scores[0]
        shares = np.array([[np.exp(10.0), 1], [1, 1]]) / [[np.exp(10.0) + 1], [2]]
        np.testing.assert_allclose(found, shares[:, target], rtol=1e-5)


def test_a_target_function_gives_its_own_values():
    curve = vis.deletion_curve(weighing(WEIGHTS), ONES, WEIGHTS[None], lambda outputs: outputs[:, 0] * 2, steps=1)
    assert curve.scores.tolist() == [[20.0, 0.0]]


def test_the_class_is_that_of_the_whole_picture():
    """The highest of two classes changes when the first pixel goes; the curve stays with the first."""
    two = np.stack([[[4.0, 0.0]], [[0.0, 1.0]]], axis=-1)
    pictures = np.ones((1, 1, 2, 1), np.float32)
    curve = vis.deletion_curve(weighing(two), pictures, np.array([[[2.0, 1.0]]]), steps=2, probability=False)
    assert curve.scores.tolist() == [[4.0, 0.0, 0.0]]


def test_results_do_not_depend_on_the_batch():
    random = np.random.default_rng(0)
    model, x, maps = weighing(random.random((8, 8))), random.random((3, 8, 8, 1), np.float32), random.random((3, 8, 8))
    for method in (vis.deletion_curve, vis.insertion_curve):
        whole = method(model, x, maps, steps=5)
        np.testing.assert_allclose(whole.scores, method(model, x, maps, steps=5, batch_size=4).scores, rtol=1e-6)
        np.testing.assert_allclose(whole.scores[1:2], method(model, x[1:2], maps[1:2], steps=5).scores, rtol=1e-6)


def test_maps_of_all_channels_are_added_up_and_small_ones_scaled():
    assert ranks("x", np.array([[[[1.0, 5.0], [2.0, 2.0]]]]), (1, 1, 2, 2)).tolist() == [[[0, 1]]]
    small = ranks("x", np.array([[[4.0, 3.0], [2.0, 1.0]]]), (1, 8, 8, 3))[0]
    assert small[:2, :2].max() < 5 and small[-2:, -2:].min() > 58


def test_ties_are_broken_by_chance_but_always_the_same():
    first = ranks("x", np.zeros((2, 8, 8)), (2, 8, 8, 3))
    assert sorted(first[0].ravel()) == list(range(64)) and first[0].ravel().tolist() != list(range(64))
    np.testing.assert_array_equal(first, ranks("x", np.zeros((2, 8, 8)), (2, 8, 8, 3)))
    np.testing.assert_array_equal(first[0], first[1])


def test_missing_pixels_are_the_weighted_means_of_their_neighbours():
    """The equations of the paper, set up pixel by pixel and solved by NumPy."""
    random = np.random.default_rng(1)
    picture, missing = random.random((6, 5, 2)), random.random((6, 5)) < 0.6
    places = [tuple(place) for place in np.argwhere(missing)]
    system, known = np.zeros((len(places), len(places))), np.zeros((len(places), 2))
    for equation, (row, column) in enumerate(places):
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                other = (row + down, column + right)
                if (down, right) != (0, 0) and 0 <= other[0] < 6 and 0 <= other[1] < 5:
                    share = 1 / 12 if down and right else 1 / 6
                    system[equation, equation] += share
                    if missing[other]:
                        system[equation, places.index(other)] -= share
                    else:
                        known[equation] += share * picture[other]
    filled = impute(picture, missing, 0.0, random)
    np.testing.assert_allclose(filled[missing], np.linalg.solve(system, known), rtol=1e-9)
    np.testing.assert_array_equal(filled[~missing], picture[~missing])


def test_noise_is_added_to_missing_pixels_alone():
    picture, missing = np.full((40, 40, 1), 0.5), np.zeros((40, 40), bool)
    missing[:, :20] = True
    filled = impute(picture, missing, 0.1, np.random.default_rng(0))[..., 0]
    assert (filled[:, 20:] == 0.5).all() and 0.09 < (filled[:, :20] - 0.5).std() < 0.11


def test_road_prefers_the_map_that_knows_the_weights():
    random = np.random.default_rng(2)
    weights = np.zeros((8, 8))
    weights[2:5, 2:5] = 1.0
    model, x = weighing(weights), random.random((4, 8, 8, 1), np.float32)
    x[:, 2:5, 2:5] += 1
    knows = vis.road(model, x, np.repeat(weights[None], 4, 0), probability=False)
    guesses = vis.road(model, x, random.random((4, 8, 8)), probability=False)
    assert knows.most.shape == knows.least.shape == (4, 9)
    assert (knows.score > guesses.score).all() and (knows.score > 0).all()
    np.testing.assert_allclose(knows.score, (knows.least - knows.most).mean(axis=1))


def test_road_is_the_same_for_the_same_seed():
    random = np.random.default_rng(3)
    model, x, maps = weighing(random.random((6, 6))), random.random((2, 6, 6, 1), np.float32), random.random((2, 6, 6))
    np.testing.assert_array_equal(vis.road(model, x, maps).most, vis.road(model, x, maps).most)
    assert (vis.road(model, x, maps).most != vis.road(model, x, maps, seed=1).most).any()


@pytest.mark.parametrize("call, message", [
    (lambda m, x: vis.deletion_curve(m, x, np.zeros((2, 2, 2))), "maps must be floats of shape"),
    (lambda m, x: vis.deletion_curve(m, x, np.zeros((1, 2, 2), int)), "maps must be floats"),
    (lambda m, x: vis.deletion_curve(m, x, np.full((1, 2, 2), np.nan)), "infinite or not a number"),
    (lambda m, x: vis.deletion_curve(m, x, WEIGHTS[None], steps=0), "steps must be an int of at least 1"),
    (lambda m, x: vis.insertion_curve(m, x, WEIGHTS[None], target=1), "target 1 is out of range"),
    (lambda m, x: vis.road(m, x, WEIGHTS[None], shares=(0.5, 1.0)), "above 0 and below 1"),
    (lambda m, x: impute(x[0], np.ones((2, 2), bool), 0.0, np.random.default_rng(0)), "all pixels are missing"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(weighing(WEIGHTS), ONES)


def test_curves_run_on_models_with_several_kinds_of_layers():
    mc.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(4, 3), nn.Softmax())  # fmt: skip
    x = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    curve = vis.deletion_curve(model, x, x, steps=3)
    with nn.evaluating(model):
        shares = model(mc.tensor(x)).numpy()
    np.testing.assert_allclose(curve.scores[:, 0], shares.max(axis=1), rtol=1e-5)  # the softmax once, not twice
    assert model.training


def test_roads_noise_of_a_picture_does_not_depend_on_the_others():
    random = np.random.default_rng(3)
    model, x, maps = weighing(random.random((6, 6))), random.random((1, 6, 6, 1), np.float32), random.random((1, 6, 6))
    alone = vis.road(model, x, maps, noise=0.1)
    found = vis.road(model, np.concatenate([x, 1 - x]), np.concatenate([maps, -maps]), noise=0.1)
    np.testing.assert_allclose(found.most[:1], alone.most, rtol=1e-6)
    np.testing.assert_allclose(found.least[:1], alone.least, rtol=1e-6)
    for options in ({"noise": "a"}, {"noise": -1}, {"seed": None}):
        with pytest.raises(ValueError, match=f"road: {next(iter(options))} must be"):
            vis.road(model, x, maps, **options)
