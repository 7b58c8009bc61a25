"""AlexNet: layers and parameters counted by hand, logits and training against torchvision's."""

from math import sqrt

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

PARAMETERS = {
    "features.0": 23_296, "features.3": 307_392, "features.6": 663_936, "features.8": 884_992, "features.10": 590_080,
    "classifier.1": 37_752_832, "classifier.4": 16_781_312, "classifier.6": 4_097_000,
}  # fmt: skip


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_and_names(undrawn):
    model = mc.models.create("alexnet")
    names = [f"{layer}.{kind}" for layer in PARAMETERS for kind in ("weight", "bias")]
    assert list(model.state_dict()) == names
    assert {layer: count(model.get_submodule(layer)) for layer in PARAMETERS} == PARAMETERS
    assert count(model) == 61_100_840 and model.input_shape == (224, 224, 3)


# torchvision 0.28 in float64, with the weights of `fill`, for pictures of numpy.random.default_rng(5)
LOGITS = {  # by the size of the picture: the first four; their standard deviation
    67: ((-0.474384, 0.0272533, -0.0237439, 0.0722882), 0.3039384),
    224: ((-0.2282243, -0.0890661, -0.1823666, -0.0272422), 0.3503739),
}


def test_logits_are_torchvisions(filled):
    model = filled(mc.models.create("alexnet"))
    for size, (first, spread) in LOGITS.items():
        x = np.random.default_rng(5).standard_normal((1, size, size, 3)).astype("f4")
        with mc.no_grad():
            (logits,) = model(mc.tensor(x)).numpy()
        np.testing.assert_allclose(logits[:4], first, rtol=0, atol=1e-5)
        assert logits.shape == (1000,) and logits.argmax() == 310 and logits.std() == pytest.approx(spread, rel=2e-5)


def narrowed(network, linear):
    """With dense layers of few channels, which take less time."""
    for place, inputs, outputs in ((1, 9216, 20), (4, 20, 10), (6, 10, 5)):
        network.classifier[place] = linear(inputs, outputs)
    return network


def test_training_is_torchvisions(undrawn, torchvision):
    """Logits, and the gradients of all parameters."""
    import torch

    model = narrowed(mc.models.create("alexnet", dropout=0.0), nn.Linear)
    theirs = narrowed(torchvision("models.alexnet").alexnet(dropout=0.0), torch.nn.Linear)
    model.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()}, layout="torch")
    model, theirs = model.to("float64"), theirs.double()
    x, labels = np.random.default_rng(5).standard_normal((2, 70, 99, 3)), np.array([4, 0])
    got, want = model(mc.tensor(x)), theirs(torch.tensor(np.ascontiguousarray(np.moveaxis(x, -1, 1))))
    np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=0, atol=1e-9)
    nn.functional.cross_entropy(got, mc.tensor(labels)).backward()
    torch.nn.functional.cross_entropy(want, torch.tensor(labels)).backward()
    with mc.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.grad)
    gradients = model.state_dict(layout="torch")
    for key, parameter in theirs.named_parameters():
        wanted = parameter.grad.numpy()
        assert np.abs(wanted).max() > 0
        np.testing.assert_allclose(gradients[key], wanted, rtol=0, atol=1e-8 * np.abs(wanted).max(), err_msg=key)


def test_a_step_reaches_every_parameter(filled):
    model = filled(narrowed(mc.models.create("alexnet", dropout=0.0), nn.Linear)).train()
    logits = model(mc.tensor(np.random.default_rng(0).standard_normal((4, 63, 70, 3)).astype("f4")))
    assert logits.shape == (4, 5)
    nn.functional.cross_entropy(logits, mc.tensor([2, 0, 1, 4])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())


def test_starting_weights():
    """As PyTorch's layers start: weights and biases uniform within 1 / sqrt(inputs)."""
    mc.manual_seed(1)
    model = mc.models.create("alexnet", classes=100)
    for layer, inputs in ((model.features[0], 11 * 11 * 3), (model.features[8], 9 * 384), (model.classifier[6], 4096)):
        for tensor in (layer.weight, layer.bias):
            values = np.abs(tensor.numpy()) * sqrt(inputs)
            assert 0.9 < values.max() <= 1 + 1e-6 and values.mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("options, words", [
    ({"classes": 0}, "alexnet: classes must be a positive int, got 0"),
    ({"dropout": -1}, "alexnet: dropout must be a probability from 0 to 1, got -1"),
    ({"dropout": "x"}, "alexnet: dropout must be a probability from 0 to 1, got 'x'"),
])
def test_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        mc.models.create("alexnet", **options)


def test_options_and_files(undrawn, tmp_path):
    model = mc.models.create("alexnet", classes=2, dropout=0.25)
    assert [layer.p for layer in model.classifier if isinstance(layer, nn.Dropout)] == [0.25, 0.25]
    with mc.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.fill_(number + 0.5)
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    assert found.config == {"model": "alexnet", "options": {"classes": 2, "dropout": 0.25}}
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
