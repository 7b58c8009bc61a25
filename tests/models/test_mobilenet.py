"""MobileNetV2: layers and parameters counted by hand, logits against torchvision's."""

from math import sqrt

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn


def sizes(model):
    return {name: sum(p.numel() for p in part.parameters()) for name, part in model.features._modules.items()}


def test_parameters(undrawn):
    model = mc.models.create("mobilenet_v2")
    assert list(sizes(model).values()) == [
        928, 896, 5_136, 8_832, 10_000, 14_848, 14_848, 21_056, 54_272, 54_272, 54_272, 66_624, 118_272, 118_272,
        155_264, 320_000, 320_000, 473_920, 412_160,
    ]  # fmt: skip
    assert sum(p.numel() for p in model.parameters()) == 3_504_872
    assert model.input_shape == (224, 224, 3)


def test_names_are_torchvisions(undrawn):
    names = [name for name, _ in mc.models.create("mobilenet_v2").named_parameters()]
    assert names[:3] == ["features.0.0.weight", "features.0.1.weight", "features.0.1.bias"]
    assert {"features.1.conv.0.0.weight", "features.1.conv.1.weight", "features.1.conv.2.bias",
            "features.2.conv.1.0.weight", "features.2.conv.3.weight", "features.18.1.bias"} <= set(names)
    assert names[-2:] == ["classifier.1.weight", "classifier.1.bias"] and len(names) == 158


def test_logits_are_torchvisions(filled):
    model = filled(mc.models.create("mobilenet_v2"))
    x = np.random.default_rng(5).standard_normal((1, 64, 64, 3)).astype("f4")
    with mc.no_grad():
        (logits,) = model(mc.tensor(x)).numpy()
    # torchvision 0.28 in float64 with the weights of `fill`
    np.testing.assert_allclose(logits[:4], (-0.0762983, 0.1666963, -0.0961941, 0.1997674), rtol=0, atol=1e-5)
    assert logits.shape == (1000,) and logits.argmax() == 650 and logits.std() == pytest.approx(0.2662705, rel=2e-5)


# Parameters as torchvision counts them.
@pytest.mark.parametrize("width, parameters, last", [(0.35, 1_677_128, 1280), (1.4, 6_108_776, 1792)])
def test_width(width, parameters, last, undrawn):
    model = mc.models.create("mobilenet_v2", width=width)
    assert model.features[18].out_channels == last
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("width", [0, -1, "1", float("nan"), float("inf")])
def test_a_width_that_makes_no_sense_is_refused(width):
    with pytest.raises(ValueError, match="mobilenet_v2: width must be a positive number of at most 8, got"):
        mc.models.create("mobilenet_v2", width=width)


def test_a_step_reaches_every_parameter(filled):
    model = filled(mc.models.create("mobilenet_v2", classes=3, width=0.35, dropout=0.0)).train()
    logits = model(mc.tensor(np.random.default_rng(0).standard_normal((4, 40, 65, 3)).astype("f4")))
    assert logits.shape == (4, 3)
    nn.functional.cross_entropy(logits, mc.tensor([2, 0, 1, 1])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())


def test_starting_weights():
    mc.manual_seed(1)
    model = mc.models.create("mobilenet_v2", width=0.35)
    for layer, std in ((model.features[18][0], sqrt(2 / 1280)), (model.classifier[1], 0.01),
                       (model.features[17].conv[1][0], sqrt(2 / (9 * 336)))):  # depthwise: 9 * 336, as in torchvision
        assert layer.weight.numpy().std() == pytest.approx(std, rel=0.05)
    assert not model.classifier[1].bias.numpy().any()


def test_it_can_be_saved_and_loaded(filled, tmp_path):
    model = filled(mc.models.create("mobilenet_v2", classes=2, width=0.35))
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    assert found.config == {"model": "mobilenet_v2", "options": {"classes": 2, "width": 0.35}}
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
