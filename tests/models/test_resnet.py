"""The ResNets: layers and parameters counted by hand, logits against torchvision's."""

from math import sqrt

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

COUNTS = {  # parameters; blocks a stage
    "resnet18": (11_689_512, (2, 2, 2, 2)),
    "resnet34": (21_797_672, (3, 4, 6, 3)),
    "resnet50": (25_557_032, (3, 4, 6, 3)),
    "resnet101": (44_549_160, (3, 4, 23, 3)),
    "resnet152": (60_192_808, (3, 8, 36, 3)),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_and_blocks(name, undrawn):
    model = mc.models.create(name)
    parameters, blocks = COUNTS[name]
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert tuple(len(stage) for stage in (model.layer1, model.layer2, model.layer3, model.layer4)) == blocks
    assert model.input_shape == (224, 224, 3)


def test_names_are_torchvisions(undrawn):
    names = [name for name, _ in mc.models.create("resnet18").named_parameters()]
    assert names[:4] == ["conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight"]
    assert names[-2:] == ["fc.weight", "fc.bias"] and len(names) == 62
    assert {"layer2.0.downsample.0.weight", "layer2.0.downsample.1.bias", "layer4.1.bn2.weight"} <= set(names)
    assert not any("downsample" in name for name in names if name.startswith(("layer1", "layer2.1")))
    deeper = dict(mc.models.create("resnet50").named_parameters())
    assert deeper["layer1.0.downsample.0.weight"].shape == (1, 1, 64, 256)
    assert deeper["layer4.2.conv3.weight"].shape == (1, 1, 512, 2048)


# torchvision 0.28 in float64, with the weights of `fill`, for a picture of numpy.random.default_rng(5)
LOGITS = {  # the first four; their standard deviation; the place of the highest
    "resnet18": ((0.8036508, 1.4337144, -4.2330434, 1.1440986), 1.6812422, 419),
    "resnet50": ((-0.7904272, -5.8511701, 6.1540923, 4.9579271), 3.4112800, 822),
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


def test_a_step_reaches_every_parameter(filled):
    model = filled(mc.models.create("resnet18", classes=3)).train()
    logits = model(mc.tensor(np.random.default_rng(0).standard_normal((2, 40, 33, 3)).astype("f4")))
    assert logits.shape == (2, 3)
    nn.functional.cross_entropy(logits, mc.tensor([2, 0])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())


def test_starting_weights(undrawn):
    model = mc.models.create("resnet18")
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    expected = [(c.weight.shape, 0, pytest.approx(sqrt(2 / (c.kernel_size[0] ** 2 * c.out_channels))))
                for c in convolutions]
    assert len(convolutions) == 20 and undrawn == expected  # no linear layer: those start as Linear itself does
    norm = model.layer3[0].downsample[1]
    assert norm.weight.tolist() == [1] * 256 and norm.bias.tolist() == [0] * 256
