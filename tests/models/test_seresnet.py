"""The SE-ResNets: layers and parameters counted by hand, logits and training against timm's."""

from math import sqrt

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

COUNTS = {  # parameters; weights and statistics in timm's state dict; blocks a stage
    "seresnet18": (11_779_624, 134, (2, 2, 2, 2)),
    "seresnet34": (21_960_416, 246, (3, 4, 6, 3)),
    "seresnet50": (28_088_024, 331, (3, 4, 6, 3)),
    "seresnet101": (49_326_872, 654, (3, 4, 23, 3)),
    "seresnet152": (66_821_848, 977, (3, 8, 36, 3)),
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


@pytest.mark.parametrize("name, squeezes", [
    ("seresnet18", (1_096, 2_184, 8_464, 33_312)), ("seresnet50", (8_464, 33_312, 132_160, 526_464)),
])
def test_parameters_of_squeezes(name, squeezes, undrawn):
    model = mc.models.create(name)
    for stage, parameters in zip((model.layer1, model.layer2, model.layer3, model.layer4), squeezes, strict=True):
        assert {count(block.se) for block in stage} == {parameters}


def test_names_are_timms(undrawn):
    names = [name for name, _ in mc.models.create("seresnet50").named_parameters()]
    assert names[:3] == ["conv1.weight", "bn1.weight", "bn1.bias"] and names[-2:] == ["fc.weight", "fc.bias"]
    assert {"layer1.0.se.fc1.weight", "layer1.0.se.fc2.bias", "layer1.0.downsample.1.weight",
            "layer4.2.se.fc1.bias"} <= set(names)


# timm 1.0.31 in float64, with the weights of `fill`, for a picture of numpy.random.default_rng(5)
LOGITS = {  # the first four; their standard deviation; the place of the highest
    "seresnet18": ((0.0306313, 0.3141813, -2.0176607, 0.7709273), 0.7388103, 468),
    "seresnet50": ((0.6994771, -1.5509152, 1.5677734, 1.2739801), 1.0248135, 822),
}


@pytest.mark.parametrize("name", LOGITS)
def test_logits_are_timms(name, filled):
    model = filled(mc.models.create(name))
    x = np.random.default_rng(5).standard_normal((1, 64, 64, 3)).astype("f4")
    with mc.no_grad():
        (logits,) = model(mc.tensor(x)).numpy()
    first, spread, highest = LOGITS[name]
    np.testing.assert_allclose(logits[:4], first, rtol=0, atol=2e-5 * max(map(abs, first)))
    assert logits.shape == (1000,) and logits.argmax() == highest and logits.std() == pytest.approx(spread, rel=2e-5)


@pytest.mark.parametrize("name", ["seresnet18", "seresnet50"])
def test_training_is_timms(name, filled, timm, trains_alike):
    model = filled(mc.models.create(name, classes=5))
    theirs = timm.create_model(name, num_classes=5)
    trains_alike(model, theirs, 41, 33)


def test_a_step_reaches_every_parameter(filled):
    model = filled(mc.models.create("seresnet18", classes=3)).train()
    logits = model(mc.tensor(np.random.default_rng(0).standard_normal((2, 40, 33, 3)).astype("f4")))
    assert logits.shape == (2, 3)
    nn.functional.cross_entropy(logits, mc.tensor([2, 0])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())


def test_starting_weights():
    """As timm's: filters by fan_out, those of the squeezes too; the last norm of each block 0; of biases only those of
    the squeezes drawn, within 1 / sqrt(inputs)."""
    mc.manual_seed(1)
    model = mc.models.create("seresnet18", classes=2)
    block = model.layer4[0]
    for layer, fan_out in ((block.conv1, 9 * 512), (block.downsample[0], 512), (block.se.fc1, 32),
                           (block.se.fc2, 512)):
        assert layer.weight.numpy().std() == pytest.approx(sqrt(2 / fan_out), rel=0.05)
    assert [norm.weight.tolist() for norm in (block.bn1, block.bn2, block.downsample[1])] == [
        [1] * 512, [0] * 512, [1] * 512]
    for layer, inputs in ((block.se.fc1, 512), (block.se.fc2, 32)):
        bias = np.abs(layer.bias.numpy()) * sqrt(inputs)
        assert 0.9 < bias.max() <= 1 + 1e-6 and bias.mean() == pytest.approx(0.5, abs=0.2)


def test_blocks_start_as_their_shortcuts(undrawn):
    for name, last in (("seresnet18", "bn2"), ("seresnet50", "bn3")):
        model = mc.models.create(name)
        zero = {key for key, module in model.named_modules()
                if isinstance(module, nn.BatchNorm2d) and not module.weight.numpy().any()}
        assert zero == {f"layer{number}.{place}.{last}" for number in range(1, 5)
                        for place in range(len(getattr(model, f"layer{number}")))}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("classes", [0, "x"])
def test_classes_that_make_no_sense_are_refused(name, classes):
    with pytest.raises(ValueError, match=f"^{name}: classes must be a positive int, got {classes!r}"):
        mc.models.create(name, classes=classes)


def test_it_can_be_saved_and_loaded(filled, tmp_path):
    model = filled(mc.models.create("seresnet18", classes=2))
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    assert found.config == {"model": "seresnet18", "options": {"classes": 2}}
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
