import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

vis = mc.vis


def by_torch(pair, rule, classes):
    pair.twin.rule = rule
    inputs = pair.torch.tensor(np.moveaxis(pair.x, -1, 1).copy(), requires_grad=True)
    scores = pair.twin(inputs)[np.arange(len(pair.x)), classes]
    return np.moveaxis(pair.torch.autograd.grad(scores.sum(), inputs)[0].numpy(), 1, -1)


@pytest.mark.parametrize(("method", "rule"), [(vis.guided_backprop, "guided"), (vis.deconvnet, "deconvnet")])
def test_rules_hold_for_layers_functions_and_blocks(pair, method, rule):
    classes = [1, 3, 0]
    plain, wanted = by_torch(pair, "", classes), by_torch(pair, rule, classes)
    assert np.abs(plain - wanted).max() > 0.1 * np.abs(wanted).max()
    np.testing.assert_allclose(method(pair.own, pair.x, classes), wanted, atol=1e-12)
    np.testing.assert_allclose(vis.saliency(pair.own, pair.x, classes), plain, atol=1e-12)  # and only inside


@pytest.mark.parametrize(("method", "rule"), [(vis.guided_backprop, "guided"), (vis.deconvnet, "deconvnet")])
def test_an_outer_no_grad_and_fusion_change_nothing(pair, method, rule):
    wanted = by_torch(pair, rule, 2)
    with mc.no_grad():
        np.testing.assert_allclose(method(pair.own, pair.x, 2), wanted, atol=1e-12)
    with mc.fusion(False):
        np.testing.assert_allclose(method(pair.own, pair.x, 2), wanted, atol=1e-12)
        assert not mc.nn.fuse.fusion_enabled()
    assert mc.nn.fuse.fusion_enabled()


def weighing(weights, *layers):
    """A model whose score is the weighted sum of what the layers make of each value."""
    head = nn.Linear(len(weights), 1, bias=False)
    head.load_state_dict({"weight": np.array(weights, np.float32)[:, None]})
    return nn.Sequential(*layers, head)


@pytest.mark.parametrize("layers", [[nn.ReLU6()], [nn.ReLU6(), nn.Identity()]], ids=["layer", "more"])
def test_relu6_is_a_rectifier_too(layers):
    x = np.array([[-1.0, 3.0, 7.0, 3.0, 7.0]], np.float32)
    model = weighing([1, 2, 3, -4, -5], *layers)
    assert vis.saliency(model, x).tolist() == [[0, 2, 0, -4, 0]]
    assert vis.guided_backprop(model, x).tolist() == [[0, 2, 0, 0, 0]]
    assert vis.deconvnet(model, x).tolist() == [[1, 2, 3, 0, 0]]


@pytest.mark.parametrize("layer", [nn.LeakyReLU(0.5), nn.GELU(), nn.ELU()], ids=lambda layer: type(layer).__name__)
def test_other_activations_pass_back_their_derivative(layer):
    x = np.array([[-1.0, 3.0]], np.float32)
    model = weighing([1, -2], layer)
    np.testing.assert_array_equal(vis.guided_backprop(model, x), vis.saliency(model, x))
    np.testing.assert_array_equal(vis.deconvnet(model, x), vis.saliency(model, x))


def test_a_relu_whose_input_is_used_elsewhere():
    """The rule is for what comes through the ReLU alone: the other way keeps its gradient."""
    class Forked(nn.Module):
        def forward(self, x):
            return (nn.functional.relu(x) * 3 - x * 2).sum(dim=1)

    x = np.array([[-1.0, 2.0]])
    assert vis.guided_backprop(Forked(), x).tolist() == [[-2, 1]]
    assert vis.deconvnet(Forked(), x).tolist() == [[1, 1]]


def unpooled(pair, start):
    """The deconvnet from the pooled stem by hand: unpooling with switches, ReLU, the norm's factor, filters turned
    round."""
    torch, twin = pair.torch, pair.twin
    functional = torch.nn.functional
    with torch.no_grad():
        stem = twin.stem(torch.tensor(np.moveaxis(pair.x, -1, 1).copy())).clamp(min=0)
        _, switches = functional.max_pool2d(stem, 2, return_indices=True)
        y = functional.max_unpool2d(torch.tensor(np.moveaxis(start, -1, 1).copy()), switches, 2).clamp(min=0)
        norm = twin.stem[1]
        y = y * (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None, None]
        return np.moveaxis(functional.conv_transpose2d(y, twin.stem[0].weight, padding=1).numpy(), 1, -1)


def strongest(outputs, channels):
    start = np.zeros_like(outputs)
    for one, values, channel in zip(start, outputs, channels, strict=True):
        h, w = divmod(int(values[:, :, channel].argmax()), values.shape[1])
        one[h, w, channel] = values[h, w, channel]
    return start


def test_from_the_strongest_activation_of_a_channel(pair):
    outputs = vis.activations(pair.own, pair.x, "pool")["pool"]
    for channel, channels in ((2, [2, 2, 2]), ([5, 0, 1], [5, 0, 1])):
        found = vis.deconvnet(pair.own, pair.x, layer="pool", channel=channel)
        np.testing.assert_allclose(found, unpooled(pair, strongest(outputs, channels)), atol=1e-12)
    highest = outputs.max(axis=(1, 2)).argmax(axis=1)
    np.testing.assert_allclose(vis.deconvnet(pair.own, pair.x, layer="pool"),
                               unpooled(pair, strongest(outputs, highest)), atol=1e-12)


def test_from_a_given_map(pair):
    start = np.random.default_rng(1).standard_normal((3, 8, 6, 6))
    wanted = unpooled(pair, start)
    np.testing.assert_allclose(vis.deconvnet(pair.own, pair.x, layer="pool", start=start), wanted, atol=1e-12)
    found = vis.deconvnet(pair.own, pair.x, layer="pool", start=mc.tensor(start), batch_size=2)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_from_a_layer_without_places(pair):
    found = vis.deconvnet(pair.own, pair.x, layer="head", channel=1)
    scores = vis.activations(pair.own, pair.x, "head")["head"][:, 1]
    np.testing.assert_allclose(found, by_torch_scaled(pair, scores), atol=1e-11)


def by_torch_scaled(pair, scores):
    """Each picture starts with its score in place of 1. Rectifiers let positive factors through."""
    pair.twin.rule = "deconvnet"
    inputs = pair.torch.tensor(np.moveaxis(pair.x, -1, 1).copy(), requires_grad=True)
    total = (pair.twin(inputs)[:, 1] * pair.torch.tensor(scores)).sum()
    return np.moveaxis(pair.torch.autograd.grad(total, inputs)[0].numpy(), 1, -1)


@pytest.mark.parametrize(("options", "message"), [
    ({"channel": 1}, "for a layer"), ({"start": 1}, "for a layer"), ({"target": 1, "layer": "pool"}, "both came"),
    ({"layer": "pol"}, "did you mean 'pool'"), ({"layer": "pool", "channel": 6}, "channel 6 is out of range"),
    ({"layer": "pool", "channel": -1}, "channel must be"), ({"layer": "pool", "channel": 0.5}, "channel must be"),
    ({"layer": "pool", "channel": [1, 2]}, "channel must be"), ({"layer": "pool", "channel": 1, "start": 1}, "both"),
    ({"layer": "pool", "start": np.ones((3, 8, 6, 5))}, "start has shape"),
    ({"layer": "pool", "start": np.ones((4, 8, 6, 6))}, "start has shape"),
])  # fmt: skip
def test_wrong_arguments(pair, options, message):
    with pytest.raises(ValueError, match=f"deconvnet: .*{message}"):
        vis.deconvnet(pair.own, pair.x, **options)
    assert pair.own.training and not any(m._forward_hooks for m in pair.own.modules())


def test_guided_grad_cam(pair):
    fine, coarse = vis.guided_backprop(pair.own, pair.x, 1), vis.grad_cam(pair.own, pair.x, 1, layer="block")
    nearest = coarse.repeat(4, axis=1).repeat(4, axis=2)[..., None]
    np.testing.assert_allclose(vis.guided_grad_cam(pair.own, pair.x, 1, "block"), fine * nearest, atol=1e-12)
    smooth = pair.torch.nn.functional.interpolate(pair.torch.tensor(coarse)[:, None], (16, 12), mode="bilinear")
    found = vis.guided_grad_cam(pair.own, pair.x, 1, "block", smooth=True)
    np.testing.assert_allclose(found, fine * np.moveaxis(smooth.numpy(), 1, -1), atol=1e-12)
