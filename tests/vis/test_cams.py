"""Against the formulas of pytorch-grad-cam in plain loops over PyTorch's activations and gradients."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

vis = mc.vis
GRADIENT_CAMS = (vis.grad_cam, vis.grad_cam_plus_plus, vis.xgrad_cam, vis.hires_cam, vis.layer_cam)
CAMS = (*GRADIENT_CAMS, vis.score_cam, vis.ablation_cam, vis.eigen_cam)
CLASSES = [1, 3, 0]
PLACES = [("block", "block_output"), ("stem", "stem_relu")]


def pictures(pair, x=None):
    return pair.torch.tensor(np.moveaxis(pair.x if x is None else x, -1, 1).copy())


def inside(pair, place):
    """Activations (N, C, h, w) and the gradients by them."""
    pair.twin.rule = ""
    scores = pair.twin(pictures(pair).requires_grad_())[[0, 1, 2], CLASSES].sum()
    output = getattr(pair.twin, place)
    return output.detach().numpy(), pair.torch.autograd.grad(scores, output)[0].numpy()


def channel_weight(method, a, g):
    """The weight of one channel, a and g its (h, w)."""
    if method is vis.grad_cam:
        return g.mean()
    if method is vis.xgrad_cam:
        return (g * a / (a.sum() + 1e-7)).sum()
    alpha = np.where(g == 0, 0, g**2 / (2 * g**2 + a.sum() * g**3 + 1e-6))
    return (np.maximum(g, 0) * alpha).sum()


def expected(method, a, g):
    """The map of one picture, a and g (C, h, w)."""
    if method is vis.hires_cam:
        return sum(gc * ac for gc, ac in zip(g, a, strict=True))
    if method is vis.layer_cam:
        return sum(np.maximum(gc, 0) * ac for gc, ac in zip(g, a, strict=True))
    return sum(channel_weight(method, ac, gc) * ac for gc, ac in zip(g, a, strict=True))


@pytest.mark.parametrize("method", GRADIENT_CAMS, ids=lambda m: m.__name__)
def test_by_gradient(pair, method):
    activations, slopes = inside(pair, "block_output")
    wanted = np.stack([expected(method, a, g) for a, g in zip(activations, slopes, strict=True)])
    signed = method(pair.own, pair.x, CLASSES, layer="block", relu=False)
    np.testing.assert_allclose(signed, wanted, atol=1e-12)
    np.testing.assert_array_equal(method(pair.own, pair.x, CLASSES), np.maximum(signed, 0))  # block is the default


def test_grad_cam_plus_plus_without_epsilon(pair):
    a, g = inside(pair, "block_output")
    alpha = np.divide(g**2, 2 * g**2 + a.sum(axis=(2, 3), keepdims=True) * g**3, out=np.zeros_like(g), where=g != 0)
    weights = (np.maximum(g, 0) * alpha).sum(axis=(2, 3))
    found = vis.grad_cam_plus_plus(pair.own, pair.x, CLASSES, "block", epsilon=0)
    np.testing.assert_allclose(found, np.einsum("nchw,nc->nhw", a, weights), atol=1e-12)


def test_score_cam(pair):
    torch, (activations, _) = pair.torch, inside(pair, "block_output")
    for softmax in (True, False):
        wanted = []
        for picture, a, k in zip(pair.x, activations, CLASSES, strict=True):
            scores = []
            for channel in a:
                mask = torch.nn.UpsamplingBilinear2d((16, 12))(torch.tensor(channel)[None, None])
                mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
                scores.append(pair.twin(pictures(pair, picture[None]) * mask)[0, k].item())
            nothing = pair.twin(pictures(pair, np.zeros_like(picture)[None]))[0, k].item()
            shares = np.exp(scores) / np.exp(scores).sum()
            weights = shares if softmax else np.array(scores) - nothing
            wanted.append(np.einsum("chw,c->hw", a, weights))
        found = vis.score_cam(pair.own, pair.x, CLASSES, "block", relu=False, softmax=softmax)
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_ablation_cam(pair):
    activations, _ = inside(pair, "block_output")
    scores = pair.twin(pictures(pair)).detach().numpy()
    classes = scores.argmin(axis=1)
    whole = scores[[0, 1, 2], classes]
    lost = np.zeros((3, 8))
    for channel in range(8):
        keep = pair.torch.ones(8, 1, 1)
        keep[channel] = 0
        pair.twin.change = lambda output, keep=keep: output * keep
        lost[:, channel] = whole - pair.twin(pictures(pair)).detach().numpy()[[0, 1, 2], classes]
    assert (whole < 0).any()  # where the weights change their sign
    for relative in (True, False):
        weights = lost / whole[:, None] if relative else lost
        found = vis.ablation_cam(pair.own, pair.x, classes, "block", relu=False, relative=relative)
        np.testing.assert_allclose(found, np.einsum("nchw,nc->nhw", activations, weights), atol=1e-12)


def test_ablation_cam_of_a_score_of_zero():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 1))
    for parameter in model.parameters():
        parameter.detach().fill_(0)
    assert not vis.ablation_cam(model, np.ones((1, 2, 2, 1)), layer="0", relu=False).any()


def test_eigen_cam(pair):
    activations, _ = inside(pair, "block_output")
    for centre in (True, False):
        for found, a in zip(vis.eigen_cam(pair.own, pair.x, relu=False, centre=centre), activations, strict=True):
            rows = a.reshape(8, -1).T
            rows = rows - rows.mean(axis=0) if centre else rows
            values, vectors = np.linalg.eigh(rows.T @ rows)
            wanted = (rows @ vectors[:, -1]).reshape(4, 3)
            assert values[-1] > 1.05 * values[-2]
            sign = np.sign(np.corrcoef(wanted.ravel(), a.sum(axis=0).ravel())[0, 1])
            np.testing.assert_allclose(found, sign * wanted, atol=1e-9)


def test_sizes_and_scales(pair):
    """As pytorch-grad-cam's results: scaled, resized, scaled again."""
    def scaled(maps):
        maps = maps - maps.min(axis=(1, 2), keepdims=True)
        return maps / (1e-7 + maps.max(axis=(1, 2), keepdims=True))

    def resized(maps):
        torch = pair.torch
        return torch.nn.functional.interpolate(torch.tensor(maps)[:, None], (16, 12), mode="bilinear").numpy()[:, 0]

    coarse = vis.grad_cam(pair.own, pair.x, CLASSES)
    np.testing.assert_allclose(vis.grad_cam(pair.own, pair.x, CLASSES, upsample=True), resized(coarse), atol=1e-12)
    np.testing.assert_allclose(vis.grad_cam(pair.own, pair.x, CLASSES, normalize=True), scaled(coarse), atol=1e-12)
    found = vis.grad_cam(pair.own, pair.x, CLASSES, upsample=True, normalize=True)
    np.testing.assert_allclose(found, scaled(resized(scaled(coarse))), atol=1e-12)


@pytest.mark.parametrize("method", CAMS, ids=lambda m: m.__name__)
def test_sequences_and_volumes(method):
    mc.manual_seed(0)
    rng = np.random.default_rng(0)
    sequence = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2))
    assert method(sequence, rng.random((2, 8, 2)), 0, relu=False).shape == (2, 6)
    assert method(sequence, rng.random((2, 8, 2)), 0, relu=False, upsample=True).shape == (2, 8)
    volume = nn.Sequential(nn.Conv3d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2))
    assert method(volume, rng.random((2, 4, 4, 4, 2)), 0, relu=False, upsample=True).shape == (2, 4, 4, 4)


def test_a_map_without_anything_above_zero():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(4, 1))
    model.load_state_dict({"0.weight": np.ones((1, 1, 1, 1), "f4"), "0.bias": np.zeros(1, "f4"),
                           "2.weight": np.full((4, 1), -1, "f4"), "2.bias": np.zeros(1, "f4")})
    x = np.array([1.0, -1.0]).reshape(2, 1, 1, 1) * np.ones((2, 2, 2, 1))
    with pytest.warns(UserWarning, match="grad_cam: nothing in layer '0' .* picture 0: ") as warned:
        found = vis.grad_cam(model, x, normalize=True)
    assert warned[0].filename == __file__
    assert not found[0].any() and found.dtype == np.float32
    assert (vis.grad_cam(model, x, relu=False)[0] < 0).all()


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"layer": "blok"}, ValueError, "did you mean 'block'"), ({"layer": ""}, ValueError, "no layer ''"),
    ({"layer": 3}, TypeError, "layer must be"), ({"layer": "head"}, ValueError, "before the picture is flattened"),
    ({"layer": "block.relu"}, ValueError, "runs 2 times"), ({"target": 4}, ValueError, "out of range"),
    ({"scale": 1}, TypeError, "no option is called 'scale'"),
])  # fmt: skip
@pytest.mark.parametrize("method", [vis.grad_cam, vis.score_cam, vis.ablation_cam], ids=lambda m: m.__name__)
def test_wrong_arguments(pair, method, options, error, message):
    with pytest.raises(error, match=f"{method.__name__}: .*{message}"):
        method(pair.own, pair.x, **options)
    assert pair.own.training and not any(m._forward_hooks for m in pair.own.modules())


def test_no_convolution():
    with pytest.raises(ValueError, match="eigen_cam: Sequential has no convolution"):
        vis.eigen_cam(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), np.ones((1, 2, 2, 1)))


def test_a_mistyped_option_and_many_silent_maps_are_told_briefly():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    x = np.ones((20, 8, 8, 3), np.float32)
    with pytest.raises(TypeError, match="no option is called 'normalise': did you mean 'normalize'"):
        vis.grad_cam(model, x, normalise=True)
    _ = model[0].bias.detach().copy_([-100.0] * 4)
    with pytest.warns(UserWarning, match="in picture 0, 1, 2, 3, 4, 5, 6, 7 and 12 more: the map"):
        vis.grad_cam(model, x, 1)


@pytest.mark.parametrize("method", [vis.score_cam, vis.ablation_cam, vis.eigen_cam])
def test_a_few_pictures_at_a_time_give_the_same_maps(method):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    x, told = np.random.default_rng(0).random((5, 8, 8, 3), np.float32), []
    whole = method(model, x, 1, relu=False)
    parts = method(model, x, 1, relu=False, batch_size=2, progress=lambda *done: told.append(done))
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    if method is not vis.eigen_cam:  # a pass for each of 4 channels
        assert told == [(done, 20) for done in range(2, 21, 2)]
