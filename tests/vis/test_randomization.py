"""The randomisation check: likeness of maps, and weights that come back whatever happens."""

import warnings

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn, vis
from minicnn.vis.randomization import rank_correlation, structural_similarity


@pytest.fixture
def model():
    mc.manual_seed(5)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 4))
    net(mc.tensor(np.random.default_rng(1).random((16, 8, 8, 3), np.float32)))  # moves the running statistics
    return net


@pytest.fixture
def x():
    return np.random.default_rng(0).random((3, 8, 8, 3), np.float32)


def picture_itself(model, x, target):
    return x


def test_a_map_that_ignores_the_model_fails_and_one_that_explains_it_passes(model, x):
    for independent in (False, True):
        blind = vis.randomization_check(model, x, picture_itself, independent=independent)
        assert blind.layers == ("4", "1", "0") and not blind.passed and blind.kept == pytest.approx(1)
        np.testing.assert_allclose(blind.ssim, 1)
    found = vis.randomization_check(model, x, vis.saliency)
    assert found.passed and (found.rank_correlation < 0.5).all() and found.ssim.shape == (3, 3)


def test_cascading_goes_on_and_independent_starts_again(model, x):
    """The second layer's turn: with the first one drawn anew too, or as trained."""
    seen = []

    def note(model, x, target):
        seen.append([module.weight.numpy().copy() for module in (model[0], model[1], model[4])])
        return x

    vis.randomization_check(model, x, note)
    cascade = [[not np.array_equal(a, b) for a, b in zip(seen[0], later, strict=True)] for later in seen]
    assert [changed[2] for changed in cascade] == [False, True, True, True] and cascade[3][0]
    seen.clear()
    vis.randomization_check(model, x, note, independent=True)
    alone = [[not np.array_equal(a, b) for a, b in zip(seen[0], later, strict=True)] for later in seen]
    assert [changed[2] for changed in alone] == [False, True, False, False]
    assert [changed[0] for changed in alone] == [False, False, False, True]


@pytest.mark.parametrize("fails", [False, True])
def test_weights_statistics_modes_and_random_stream_come_back(model, x, fails):
    before, stream = model.state_dict(), mc.random.get_state()
    model[2].eval()
    calls = []

    def method(model, x, target):
        calls.append(target)
        if fails and len(calls) == 3:
            raise RuntimeError("in the middle")
        return vis.saliency(model, x, target)

    if fails:
        with pytest.raises(RuntimeError, match="in the middle"):
            vis.randomization_check(model, x, method)
    else:
        vis.randomization_check(model, x, method)
    after = model.state_dict()
    assert all((before[name] == after[name]).all() for name in before)
    assert mc.random.get_state() == stream
    assert model.training and not model[2].training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_the_class_is_that_of_the_trained_model(model, x):
    targets = []
    vis.randomization_check(model, x, lambda model, x, target: targets.append(target) or x)
    with nn.evaluating(model):
        best = model(mc.tensor(x)).numpy().argmax(axis=1)
    assert len(targets) == 4 and all((target == best).all() for target in targets)


def test_the_same_seed_draws_the_same_weights(model, x):
    first, again, other = (vis.randomization_check(model, x, vis.saliency, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.ssim, again.ssim)
    assert (first.ssim != other.ssim).any()


def test_a_layer_of_the_users_own_is_drawn_too(x):
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factors = nn.Parameter(np.linspace(-1, 1, 192).astype(np.float32))

        def forward(self, x):
            return (x.reshape((len(x), -1)) * self.factors).sum(dim=1, keepdim=True)

    found = vis.randomization_check(Scale(), x, vis.saliency)
    assert found.layers == ("",) and (abs(found.rank_correlation) < 0.3).all()


def test_warnings_about_the_trained_model_alone_are_shown(model, x):
    calls = []

    def method(model, x, target):
        calls.append(1)
        warnings.warn(f"call {len(calls)}", stacklevel=2)
        return x

    with pytest.warns(UserWarning) as shown:
        vis.randomization_check(model, x, method)
    assert [str(warning.message) for warning in shown] == ["call 1"]


def test_progress_counts_layers(model, x):
    told = []
    vis.randomization_check(model, x, picture_itself, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_what_does_not_fit_is_refused(model, x):
    with pytest.raises(ValueError, match="no parameters to draw anew"):
        vis.randomization_check(nn.Flatten(), x, picture_itself, lambda outputs: outputs.sum(dim=1))
    with pytest.raises(ValueError, match="the method gave an array of shape"):
        vis.randomization_check(model, x, lambda model, x, target: np.zeros(3))


def test_a_map_that_only_changes_its_sign_stays(model, x):
    signs = iter([1, -1, 1, -1])
    found = vis.randomization_check(model, x, lambda model, x, target: x * next(signs))
    assert found.rank_correlation[0] == pytest.approx(-1) and found.kept == pytest.approx(1) and not found.passed


def test_constant_maps_are_counted_and_those_of_the_trained_model_left_out(model, x):
    with pytest.raises(ValueError, match="one value everywhere for the .* picture 0, 1, 2: there is none"):
        vis.randomization_check(model, x, lambda model, x, target: np.zeros_like(x))
    calls = []

    def partly(model, x, target):
        calls.append(1)
        maps = x.copy()
        maps[1] = 0.0  # of all models
        maps[2] *= len(calls) == 1  # the trained one alone has a map
        return maps

    with pytest.warns(UserWarning, match="trained model, in picture 1: left out"):
        found = vis.randomization_check(model, x, partly)
    assert found.constant.tolist() == [[False, True, False]] + [[False, True, True]] * 3
    assert found.kept == pytest.approx(0.5)  # one map stays, one goes


def test_rank_correlation_is_spearmans():
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    a, b = random.integers(0, 9, (7, 8)).astype(float), random.random((7, 8))
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
    assert rank_correlation(b, np.exp(b)) == pytest.approx(1) and rank_correlation(b, -b) == pytest.approx(-1)
    assert rank_correlation(b, np.ones_like(b)) == 0


def test_structural_similarity_by_its_definition_window_by_window():
    random = np.random.default_rng(1)
    a, b = random.random((14, 13)), random.random((14, 13))
    weights = np.exp(-np.arange(-5, 6) ** 2 / (2 * 1.5**2))
    weights = np.outer(weights, weights) / weights.sum() ** 2
    around_a, around_b = (np.pad(picture, 5, mode="symmetric") for picture in (a, b))
    values = []
    for row in range(14):
        for column in range(13):
            p, q = (around[row : row + 11, column : column + 11] for around in (around_a, around_b))
            mean_p, mean_q = (weights * p).sum(), (weights * q).sum()
            var_p, var_q = (weights * (p - mean_p) ** 2).sum(), (weights * (q - mean_q) ** 2).sum()
            covariance = (weights * (p - mean_p) * (q - mean_q)).sum()
            values.append((2 * mean_p * mean_q + 1e-4) * (2 * covariance + 9e-4)
                          / ((mean_p**2 + mean_q**2 + 1e-4) * (var_p + var_q + 9e-4)))
    assert structural_similarity(a, b) == pytest.approx(np.mean(values))
    assert structural_similarity(a, a) == pytest.approx(1)
