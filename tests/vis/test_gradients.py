import numpy as np
import pytest

import minicnn as mc

vis = mc.vis


def last(array):
    return np.moveaxis(np.asarray(array), 1, -1)


def slopes_by_torch(pair, x, classes):
    inputs = pair.torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    scores = pair.twin(inputs)[np.arange(len(x)), classes]
    return last(pair.torch.autograd.grad(scores.sum(), inputs)[0])


def test_saliency(pair):
    wanted = slopes_by_torch(pair, pair.x, [2, 2, 2])
    np.testing.assert_allclose(vis.saliency(pair.own, pair.x, 2), wanted, atol=1e-12)
    np.testing.assert_allclose(vis.saliency(pair.own, pair.x, 2, absolute=True), np.abs(wanted), atol=1e-12)
    np.testing.assert_allclose(vis.saliency(pair.own, pair.x, 2, positive=True), np.where(wanted > 0, wanted, 0),
                               atol=1e-12)
    np.testing.assert_allclose(vis.input_x_gradient(pair.own, pair.x, 2), wanted * pair.x, atol=1e-12)
    with pytest.raises(ValueError, match="absolute and positive"):
        vis.saliency(pair.own, pair.x, absolute=True, positive=True)


def test_integrated_gradients(pair):
    start = np.full_like(pair.x, 0.25)
    nodes, weights = np.polynomial.legendre.leggauss(7)
    total = sum(w / 2 * slopes_by_torch(pair, start + (1 + n) / 2 * (pair.x - start), [1, 3, 0])
                for n, w in zip(nodes, weights, strict=True))
    found, error = vis.integrated_gradients(pair.own, pair.x, [1, 3, 0], steps=7, baseline=0.25, return_error=True)
    np.testing.assert_allclose(found, (pair.x - start) * total, atol=1e-12)
    ends = [pair.twin(pair.torch.tensor(np.moveaxis(x, -1, 1).copy())).detach().numpy()[[0, 1, 2], [1, 3, 0]]
            for x in (pair.x, start)]
    np.testing.assert_allclose(error, found.sum(axis=(1, 2, 3)) - (ends[0] - ends[1]), atol=1e-12)
    for baseline in (np.full(3, 0.25), start):
        np.testing.assert_array_equal(vis.integrated_gradients(pair.own, pair.x, [1, 3, 0], 7, baseline), found)


def test_the_error_of_completeness_gets_small(pair):
    errors = [np.abs(vis.integrated_gradients(pair.own, pair.x, 3, steps=n, baseline=1.0, return_error=True)[1]).max()
              for n in (1, 30, 900)]
    assert errors[0] > 10 * errors[1] > 50 * errors[2]


def test_the_class_is_that_of_the_picture_and_not_of_the_baseline(pair):
    highest = vis.activations(pair.own, pair.x, "head")["head"].argmax(axis=1)
    np.testing.assert_array_equal(vis.integrated_gradients(pair.own, pair.x, steps=3),
                                  vis.integrated_gradients(pair.own, pair.x, highest, steps=3))


def test_smooth_and_var_grad(pair):
    """By hand: the noise is that of default_rng((seed, number of the copy)) for every picture."""
    spread = 0.3 * (pair.x.max(axis=(1, 2, 3)) - pair.x.min(axis=(1, 2, 3)))
    slopes = [slopes_by_torch(pair, pair.x + spread[:, None, None, None]
                              * np.random.default_rng((5, k)).standard_normal(pair.x.shape[1:]), 1) for k in range(4)]
    found = vis.smooth_grad(pair.own, pair.x, 1, samples=4, noise=0.3, seed=5)
    np.testing.assert_allclose(found, np.mean(slopes, axis=0), atol=1e-12)
    found = vis.var_grad(pair.own, pair.x, 1, samples=4, noise=0.3, seed=5)
    np.testing.assert_allclose(found, np.var(slopes, axis=0), atol=1e-12)
    assert (vis.smooth_grad(pair.own, pair.x, 1, 4, seed=6) != vis.smooth_grad(pair.own, pair.x, 1, 4, seed=5)).any()


@pytest.mark.parametrize("method", [vis.saliency, vis.integrated_gradients, vis.smooth_grad, vis.guided_backprop,
                                    vis.deconvnet, vis.grad_cam, vis.score_cam, vis.ablation_cam],
                         ids=lambda m: m.__name__)
def test_the_batch_changes_nothing(pair, method):
    options = {"relu": False} if method.__name__.endswith("cam") else {}
    whole = method(pair.own, pair.x, [1, 3, 0], **options)
    np.testing.assert_allclose(method(pair.own, pair.x, [1, 3, 0], batch_size=2, **options), whole, atol=1e-12)
    np.testing.assert_allclose(method(pair.own, pair.x[1:2], 3, **options), whole[1:2], atol=1e-12)


@pytest.mark.parametrize(("method", "options", "passes"), [
    (vis.saliency, {}, 3), (vis.integrated_gradients, {"steps": 5}, 15), (vis.var_grad, {"samples": 2}, 6),
    (vis.deconvnet, {"layer": "pool"}, 3), (vis.guided_backprop, {}, 3), (vis.score_cam, {"relu": False}, 24),
])  # fmt: skip
def test_progress(pair, method, options, passes):
    told = []
    method(pair.own, pair.x, batch_size=4, progress=lambda done, total: told.append((done, total)), **options)
    assert told == [(min(done, passes), passes) for done in range(4, passes + 4, 4)]


@pytest.mark.parametrize(("method", "options", "message"), [
    (vis.integrated_gradients, {"steps": 0}, "steps must be"),
    (vis.integrated_gradients, {"steps": 2.0}, "steps must be"),
    (vis.integrated_gradients, {"baseline": np.zeros(7)}, "baseline of shape .* does not broadcast"),
    (vis.smooth_grad, {"samples": 0}, "samples must be"),
    (vis.integrated_gradients, {"baseline": float("nan")}, "baseline holds values that are infinite or not a number"),
    (vis.var_grad, {"noise": -0.1}, "noise must be"),
    (vis.var_grad, {"noise": "a"}, "noise must be a number of at least 0, got 'a'"),
    (vis.smooth_grad, {"seed": None}, "seed must be an int of at least 0, got None"),
    (vis.smooth_grad, {"noise": float("nan")}, "noise must be"),
])  # fmt: skip
def test_wrong_arguments(method, options, message):
    model = mc.nn.Sequential(mc.nn.Flatten(), mc.nn.Linear(12, 1))
    with pytest.raises(ValueError, match=f"{method.__name__}: {message}"):
        method(model, np.ones((2, 2, 2, 3)), **options)


@pytest.mark.parametrize("baseline", [None, "1", "black"])
def test_a_baseline_that_is_no_number_is_refused(baseline):
    model = mc.nn.Sequential(mc.nn.Flatten(), mc.nn.Linear(12, 1))
    with pytest.raises(TypeError, match="integrated_gradients: baseline must be a number"):
        vis.integrated_gradients(model, np.ones((1, 2, 2, 3), np.float32), baseline=baseline)
