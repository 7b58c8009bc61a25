"""MobileNetV3: layers and parameters counted by hand, outputs and gradients against torchvision's."""

from math import sqrt

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

FEATURES = {  # parameters
    "mobilenet_v3_small": [464, 744, 3_864, 5_416, 13_736, 57_264, 57_264, 21_968, 29_800, 91_848, 294_096, 294_096,
                           56_448],
    "mobilenet_v3_large": [464, 464, 3_440, 4_440, 10_328, 20_992, 20_992, 32_080, 34_760, 31_992, 31_992, 214_424,
                           386_120, 429_224, 797_360, 797_360, 155_520],
}  # fmt: skip
CLASSIFIER = {"mobilenet_v3_small": (590_848, 1_025_000), "mobilenet_v3_large": (1_230_080, 1_281_000)}
PARAMETERS = {"mobilenet_v3_small": 2_542_856, "mobilenet_v3_large": 5_483_032}
KEYS = {"mobilenet_v3_small": 244, "mobilenet_v3_large": 312}
# torchvision 0.28 in float64, with the weights of `fill` of which those of convolutions and dense layers are multiplied
# by the first number, so that the logits depend on the picture: the first four, the highest's place, the deviation.
LOGITS = {
    "mobilenet_v3_small": (1.35, (0.5421647, 0.0132097, -0.2631721, 0.2977659), 917, 0.2243632),
    "mobilenet_v3_large": (1.2, (0.6749094, -0.3346787, 0.3203186, -0.3224779), 870, 0.4157175),
}


def count(module):
    return sum(p.numel() for p in module.parameters())


def louder(model, gain):
    for parameter in model.parameters():
        if parameter.ndim > 1:
            with mc.no_grad():
                parameter.copy_(parameter * gain)
    return model


@pytest.mark.parametrize("name", FEATURES)
def test_parameters(name, undrawn):
    model = mc.models.create(name)
    assert [count(part) for part in model.features] == FEATURES[name]
    assert (count(model.classifier[0]), count(model.classifier[3])) == CLASSIFIER[name]
    assert count(model) == PARAMETERS[name] and model.input_shape == (224, 224, 3)


@pytest.mark.parametrize("name", KEYS)
def test_names_are_torchvisions(name, undrawn):
    names = list(mc.models.create(name).state_dict(layout="torch"))
    assert names[:3] == ["features.0.0.weight", "features.0.1.weight", "features.0.1.bias"]
    assert {"features.1.block.0.0.weight", "features.2.block.2.1.running_var", "features.4.block.2.fc1.weight",
            "features.4.block.2.fc2.bias", "features.4.block.3.1.bias", "classifier.0.weight"} <= set(names)
    assert names[-2:] == ["classifier.3.weight", "classifier.3.bias"] and len(names) == KEYS[name]


@pytest.mark.parametrize("name", LOGITS)
def test_logits_are_torchvisions(name, filled):
    gain, first, highest, spread = LOGITS[name]
    model = louder(filled(mc.models.create(name)), gain)
    x = np.random.default_rng(5).standard_normal((1, 64, 64, 3)).astype("f4")
    with mc.no_grad():
        (logits,) = model(mc.tensor(x)).numpy()
    np.testing.assert_allclose(logits[:4], first, rtol=0, atol=1e-5)
    assert logits.shape == (1000,) and logits.argmax() == highest and logits.std() == pytest.approx(spread, rel=2e-5)


@pytest.mark.parametrize("name", PARAMETERS)
def test_training_is_torchvisions(name, filled, torchvision, trains_alike):
    model = filled(mc.models.create(name, classes=5, dropout=0.0))
    theirs = getattr(torchvision("models.mobilenetv3"), name)(num_classes=5, dropout=0.0)
    trains_alike(model, theirs, 65, 40)


# As torchvision counts them.
@pytest.mark.parametrize("width, small, large", [(0.5, 917_264, 1_734_576), (0.75, 1_653_920, 3_377_576),
                                                 (1.4, 4_373_824, 9_989_328)])
def test_width(width, small, large, undrawn):
    assert count(mc.models.create("mobilenet_v3_small", width=width)) == small
    assert count(mc.models.create("mobilenet_v3_large", width=width)) == large


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("options, message", [
    ({"width": 0}, "width must be a positive number of at most 8, got 0"),
    ({"width": "x"}, "width must be a positive number of at most 8, got 'x'"),
    ({"width": float("nan")}, "width must be a positive number of at most 8, got nan"),
    ({"dropout": 1.5}, "dropout must be a probability from 0 to 1, got 1.5"),
])
def test_options_that_make_no_sense_are_refused(name, options, message):
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        mc.models.create(name, **options)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_step_reaches_every_parameter(name, filled):
    model = filled(mc.models.create(name, classes=3, width=0.35, dropout=0.0)).train()
    logits = model(mc.tensor(np.random.default_rng(0).standard_normal((4, 40, 65, 3)).astype("f4")))
    assert logits.shape == (4, 3)
    nn.functional.cross_entropy(logits, mc.tensor([2, 0, 1, 1])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())


def test_dropout_and_norms(undrawn):
    model = mc.models.create("mobilenet_v3_small", dropout=0.3)
    assert model.classifier[2].p == 0.3 and mc.models.create("mobilenet_v3_large").classifier[2].p == 0.2
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 34 and {(norm.eps, norm.momentum) for norm in norms} == {(0.001, 0.01)}


def test_starting_weights(undrawn):
    model = mc.models.create("mobilenet_v3_small", classes=7)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    stds = [0.01 if isinstance(layer, nn.Linear) else sqrt(2 / (layer.kernel_size[0] ** 2 * layer.out_channels))
            for layer in layers]
    assert len(layers) == 54
    assert undrawn == [(layer.weight.shape, 0, pytest.approx(std)) for layer, std in zip(layers, stds, strict=True)]
    assert not any(layer.bias.numpy().any() for layer in layers if layer.bias is not None)


def test_it_can_be_saved_and_loaded(filled, tmp_path):
    model = filled(mc.models.create("mobilenet_v3_small", classes=2, width=0.5))
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    assert found.config == {"model": "mobilenet_v3_small", "options": {"classes": 2, "width": 0.5}}
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
