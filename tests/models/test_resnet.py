"""The ResNets, those with grouped and with wide bottlenecks too: layers and parameters counted by hand, logits and
training against torchvision's."""

from math import sqrt

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

COUNTS = {  # parameters; weights and statistics in torchvision's state dict; blocks a stage
    "resnet18": (11_689_512, 102, (2, 2, 2, 2)),
    "resnet34": (21_797_672, 182, (3, 4, 6, 3)),
    "resnet50": (25_557_032, 267, (3, 4, 6, 3)),
    "resnet101": (44_549_160, 522, (3, 4, 23, 3)),
    "resnet152": (60_192_808, 777, (3, 8, 36, 3)),
    "resnext50_32x4d": (25_028_904, 267, (3, 4, 6, 3)),
    "resnext101_32x8d": (88_791_336, 522, (3, 4, 23, 3)),
    "wide_resnet50_2": (68_883_240, 267, (3, 4, 6, 3)),
    "wide_resnet101_2": (126_886_696, 522, (3, 4, 23, 3)),
}


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_and_blocks(name, undrawn):
    model = mc.models.create(name)
    parameters, keys, blocks = COUNTS[name]
    assert count(model) == parameters and len([*model.named_parameters(), *model.named_buffers()]) == keys
    assert tuple(len(stage) for stage in (model.layer1, model.layer2, model.layer3, model.layer4)) == blocks
    assert model.input_shape == (224, 224, 3)


@pytest.mark.parametrize("name, stages", [
    ("resnext50_32x4d", (205_824, 1_197_056, 7_022_592, 14_544_896)),
    ("resnext101_32x8d", (420_864, 2_405_376, 55_160_832, 28_745_728)),
    ("wide_resnet50_2", (634_368, 3_482_624, 20_736_000, 41_971_712)),
])
def test_parameters_of_stages(name, stages, undrawn):
    model = mc.models.create(name)
    assert tuple(count(stage) for stage in (model.layer1, model.layer2, model.layer3, model.layer4)) == stages


def test_names_are_torchvisions(undrawn):
    names = [name for name, _ in mc.models.create("resnet18").named_parameters()]
    assert names[:4] == ["conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight"]
    assert names[-2:] == ["fc.weight", "fc.bias"] and len(names) == 62
    assert {"layer2.0.downsample.0.weight", "layer2.0.downsample.1.bias", "layer4.1.bn2.weight"} <= set(names)
    assert not any("downsample" in name for name in names if name.startswith(("layer1", "layer2.1")))
    deeper = dict(mc.models.create("resnet50").named_parameters())
    assert deeper["layer1.0.downsample.0.weight"].shape == (1, 1, 64, 256)
    assert deeper["layer4.2.conv3.weight"].shape == (1, 1, 512, 2048)


def test_shapes_of_groups_and_of_wide_filters(undrawn):
    shapes = {key: weight.shape for key, weight in mc.models.create("resnext101_32x8d").named_parameters()}
    assert shapes["layer1.0.conv2.weight"] == (3, 3, 8, 256) and shapes["layer4.2.conv2.weight"] == (3, 3, 64, 2048)
    assert shapes["layer4.2.conv3.weight"] == (1, 1, 2048, 2048)
    shapes = {key: weight.shape for key, weight in mc.models.create("wide_resnet50_2").named_parameters()}
    assert shapes["layer1.0.conv1.weight"] == (1, 1, 64, 128) and shapes["layer3.1.conv2.weight"] == (3, 3, 512, 512)


# torchvision 0.28 in float64, with the weights of `fill`, for a picture of numpy.random.default_rng(5)
LOGITS = {  # the first four; their standard deviation; the place of the highest
    "resnet18": ((0.8036508, 1.4337144, -4.2330434, 1.1440986), 1.6812422, 419),
    "resnet50": ((-0.7904272, -5.8511701, 6.1540923, 4.9579271), 3.4112800, 822),
    "resnext50_32x4d": ((-3.2520803, -3.844259, 2.9873217, 0.7462258), 3.229067, 384),
    "wide_resnet50_2": ((-6.4237975, -7.2973986, 4.6309603, 0.9065275), 3.7507991, 136),
}


@pytest.mark.parametrize("name", LOGITS)
def test_logits_are_torchvisions(name, filled):
    model = filled(mc.models.create(name))
    x = np.random.default_rng(5).standard_normal((1, 64, 64, 3)).astype("f4")
    with mc.no_grad():
        (logits,) = model(mc.tensor(x)).numpy()
    first, spread, highest = LOGITS[name]
    np.testing.assert_allclose(logits[:4], first, rtol=0, atol=2e-5 * max(map(abs, first)))
    assert logits.shape == (1000,) and logits.argmax() == highest and logits.std() == pytest.approx(spread, rel=2e-5)


def test_training_is_torchvisions(filled, torchvision, trains_alike):
    theirs = torchvision("models.resnet").resnext50_32x4d(num_classes=5)
    trains_alike(filled(mc.models.create("resnext50_32x4d", classes=5)), theirs, 41, 33)


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d"])
def test_a_step_reaches_every_parameter(name, filled):
    model = filled(mc.models.create(name, classes=3)).train()
    logits = model(mc.tensor(np.random.default_rng(0).standard_normal((2, 40, 33, 3)).astype("f4")))
    assert logits.shape == (2, 3)
    nn.functional.cross_entropy(logits, mc.tensor([2, 0])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())


@pytest.mark.parametrize("name, convolutions", [("resnet18", 20), ("resnext50_32x4d", 53)])
def test_starting_weights(name, convolutions, undrawn):
    model = mc.models.create(name)
    drawn = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    expected = [(c.weight.shape, 0, pytest.approx(sqrt(2 / (c.kernel_size[0] ** 2 * c.out_channels)))) for c in drawn]
    assert len(drawn) == convolutions and undrawn == expected  # no linear layer: those start as Linear itself does
    norm = model.layer3[0].downsample[1]
    assert norm.weight.tolist() == [1] * norm.weight.numel() and norm.bias.tolist() == [0] * norm.bias.numel()


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("classes", [0, "x"])
def test_classes_that_make_no_sense_are_refused(name, classes):
    with pytest.raises(ValueError, match=f"^{name}: classes must be a positive int, got {classes!r}"):
        mc.models.create(name, classes=classes)


def test_it_can_be_saved_and_loaded(filled, tmp_path):
    model = filled(mc.models.create("resnext50_32x4d", classes=2))
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    assert found.config == {"model": "resnext50_32x4d", "options": {"classes": 2}}
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
