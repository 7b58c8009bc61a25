"""MobileNet: layers and parameters counted by hand, outputs and gradients against the same network in PyTorch."""

from math import sqrt

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

FEATURES = [928, 2_528, 9_152, 18_048, 34_688, 68_864, 134_912, *[268_800] * 5, 531_968, 1_061_888]
CHANNELS = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
STRIDES = [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]


def count(module):
    return sum(p.numel() for p in module.parameters())


def in_pytorch(classes):
    from torch import nn as torch_nn

    def part(inputs, outputs, size, stride=1, groups=1):
        return torch_nn.Sequential(
            torch_nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
            torch_nn.BatchNorm2d(outputs), torch_nn.ReLU(),
        )  # fmt: skip

    blocks = [torch_nn.Sequential(part(inputs, inputs, 3, stride, inputs), part(inputs, outputs, 1))
              for inputs, outputs, stride in zip(CHANNELS, CHANNELS[1:], STRIDES[1:], strict=False)]
    model = torch_nn.Sequential()
    model.add_module("features", torch_nn.Sequential(part(3, 32, 3, 2), *blocks))
    model.add_module("avgpool", torch_nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", torch_nn.Flatten())
    model.add_module("classifier", torch_nn.Sequential(torch_nn.Identity(), torch_nn.Linear(1024, classes)))
    return model


def test_parameters(undrawn):
    model = mc.models.create("mobilenet_v1")
    assert [count(part) for part in model.features] == FEATURES
    assert count(model.classifier) == 1_025_000
    assert count(model) == 4_231_976  # of the 4,253,864 that Keras counts, 21,888 are running statistics
    assert model.input_shape == (224, 224, 3) and model.classifier[0].p == 0.001


# As the collection imgclsmob counts them.
@pytest.mark.parametrize("width, parameters", [(0.75, 2_585_560), (0.5, 1_331_592), (0.25, 470_072)])
def test_width(width, parameters, undrawn):
    assert count(mc.models.create("mobilenet_v1", width=width)) == parameters


def test_names(undrawn):
    names = list(mc.models.create("mobilenet_v1").state_dict(layout="torch"))
    assert names[:3] == ["features.0.0.weight", "features.0.1.weight", "features.0.1.bias"]
    assert {"features.1.0.0.weight", "features.1.1.1.bias", "features.13.1.1.running_var"} <= set(names)
    assert names[-2:] == ["classifier.1.weight", "classifier.1.bias"] and len(names) == 27 * 6 + 2


def test_strides(undrawn):
    model = mc.models.create("mobilenet_v1", width=0.25)
    sizes = []
    for part in model.features:
        part.register_forward_hook(lambda _, __, y: sizes.append(y.shape[1]))
    with mc.no_grad():
        model.eval()(mc.zeros(1, 224, 224, 3))
    assert sizes == [112, 112, 56, 56, 28, 28, 14, 14, 14, 14, 14, 14, 7, 7]


def test_logits_are_timms(filled):
    model = filled(mc.models.create("mobilenet_v1"))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            with mc.no_grad():
                parameter.copy_(parameter * 1.4)
    x = np.random.default_rng(5).standard_normal((1, 64, 64, 3)).astype("f4")
    with mc.no_grad():
        (logits,) = model(mc.tensor(x)).numpy()
    # timm 1.0.31 in float64, mobilenetv1_100 with act_layer=ReLU and the weights of `fill`, here named as minicnn's,
    # of which those of convolutions and the dense layer are multiplied by 1.4 so that the logits depend on the picture
    np.testing.assert_allclose(logits[:4], (0.759314, -0.1666045, -0.3119902, 1.5530551), rtol=0, atol=2e-5)
    assert logits.shape == (1000,) and logits.argmax() == 180 and logits.std() == pytest.approx(1.5238741, rel=2e-5)


def test_training_is_pytorchs(filled, trains_alike):
    trains_alike(filled(mc.models.create("mobilenet_v1", classes=5, dropout=0.0)), in_pytorch(5), 33, 40)


@pytest.mark.parametrize("options, message", [
    ({"width": 0}, "width must be a positive number of at most 8, got 0"),
    ({"width": "x"}, "width must be a positive number of at most 8, got 'x'"),
    ({"dropout": 2}, "dropout must be a probability from 0 to 1, got 2"),
])  # fmt: skip
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=f"mobilenet_v1: {message}"):
        mc.models.create("mobilenet_v1", **options)


def test_a_step_reaches_every_parameter(filled):
    model = filled(mc.models.create("mobilenet_v1", classes=3, width=0.25, dropout=0.0)).train()
    logits = model(mc.tensor(np.random.default_rng(0).standard_normal((4, 40, 65, 3)).astype("f4")))
    assert logits.shape == (4, 3)
    nn.functional.cross_entropy(logits, mc.tensor([2, 0, 1, 1])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())


def test_starting_weights(undrawn):
    model = mc.models.create("mobilenet_v1", classes=7)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    expected = [(c.weight.shape, 0, pytest.approx(sqrt(2 / (c.kernel_size[0] ** 2 * c.out_channels))))
                for c in convolutions]
    assert len(convolutions) == 27 and undrawn == [*expected, ((1024, 7), 0, 0.01)]


def test_it_can_be_saved_and_loaded(filled, tmp_path):
    model = filled(mc.models.create("mobilenet_v1", classes=2, width=0.25))
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    assert found.config == {"model": "mobilenet_v1", "options": {"classes": 2, "width": 0.25}}
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
