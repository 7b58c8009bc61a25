"""The pre-activation ResNets: layers and parameters counted by hand, values and training against a PyTorch rendering,
logits against timm's."""

from math import sqrt

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

COUNTS = {  # parameters; weights and statistics in the state dict of timm's resnetv2; blocks a stage
    "preresnet18": (11_687_720, 90, (2, 2, 2, 2)),
    "preresnet34": (21_795_880, 170, (3, 4, 6, 3)),
    "preresnet50": (25_549_352, 251, (3, 4, 6, 3)),
    "preresnet101": (44_541_480, 506, (3, 4, 23, 3)),
    "preresnet152": (60_185_128, 761, (3, 8, 36, 3)),
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
    ("preresnet34", (221_952, 1_116_032, 6_821_632, 13_112_832)),
    ("preresnet101", (214_912, 1_218_048, 26_087_424, 14_958_592)),
])
def test_parameters_of_stages(name, stages, undrawn):
    model = mc.models.create(name)
    assert tuple(count(stage) for stage in (model.layer1, model.layer2, model.layer3, model.layer4)) == stages


def test_names(undrawn):
    names = [name for name, _ in mc.models.create("preresnet50").named_parameters()]
    assert names[:3] == ["conv1.weight", "layer1.0.bn1.weight", "layer1.0.bn1.bias"]
    assert names[-4:] == ["bn.weight", "bn.bias", "fc.weight", "fc.bias"]
    assert {"layer2.0.downsample.weight", "layer4.2.bn3.bias", "layer4.2.conv3.weight"} <= set(names)


# timm 1.0.31's resnetv2_18 and resnetv2_50 in float64, with the weights of `fill` for the names that they have here,
# for a picture of numpy.random.default_rng(5)
LOGITS = {  # the first four; their standard deviation; the place of the highest
    "preresnet18": ((1.9513578, 2.5063168, -2.4210079, 1.4959434), 1.8897814, 8),
    "preresnet50": ((1.5982692, -0.1616493, -0.6103572, 1.8123623), 2.207228, 445),
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


# --------------------------------------------------------------------------------------------------------- training


def rendering(torch, kernels, counts, classes):
    """kernels: of a block's convolutions, (3, 3) or (1, 3, 1). counts: how many blocks each stage has."""
    expansion = 4 if len(kernels) == 3 else 1

    class Block(torch.nn.Module):
        def __init__(self, inputs, channels, stride):
            super().__init__()
            before = inputs
            for number, kernel in enumerate(kernels, 1):
                outputs = expansion * channels if number == len(kernels) else channels
                step = stride if number == kernels.index(3) + 1 else 1  # on the first 3x3
                self.add_module(f"bn{number}", torch.nn.BatchNorm2d(before))
                conv = torch.nn.Conv2d(before, outputs, kernel, step, kernel // 2, bias=False)
                self.add_module(f"conv{number}", conv)
                before = outputs
            if stride > 1 or inputs != before:
                self.downsample = torch.nn.Conv2d(inputs, before, 1, stride, bias=False)

        def forward(self, x):
            active = self.bn1(x).relu()
            y = self.conv2(self.bn2(self.conv1(active)).relu())
            y = self.conv3(self.bn3(y).relu()) if len(kernels) == 3 else y
            return y + (self.downsample(active) if hasattr(self, "downsample") else x)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            inputs = 64
            for number, (channels, count) in enumerate(zip((64, 128, 256, 512), counts, strict=True), 1):
                stage = torch.nn.Sequential()
                for place in range(count):
                    stage.append(Block(inputs, channels, 2 if number > 1 and place == 0 else 1))
                    inputs = expansion * channels
                self.add_module(f"layer{number}", stage)
            self.bn, self.fc = torch.nn.BatchNorm2d(inputs), torch.nn.Linear(inputs, classes)

        def forward(self, x):
            x = torch.nn.functional.max_pool2d(self.conv1(x), 3, 2, 1)
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(self.bn(x).relu().mean((2, 3)))

    return Net()


@pytest.mark.parametrize("name, kernels", [("preresnet18", (3, 3)), ("preresnet50", (1, 3, 1))])
def test_training_is_pytorchs(name, kernels, filled, trains_alike):
    torch = pytest.importorskip("torch")
    model = filled(mc.models.create(name, classes=5))
    theirs = rendering(torch, kernels, COUNTS[name][2], classes=5)
    trains_alike(model, theirs, 49, 40)


def test_a_step_reaches_every_parameter(filled):
    model = filled(mc.models.create("preresnet18", classes=3)).train()
    logits = model(mc.tensor(np.random.default_rng(0).standard_normal((2, 40, 33, 3)).astype("f4")))
    assert logits.shape == (2, 3)
    nn.functional.cross_entropy(logits, mc.tensor([2, 0])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())


def test_starting_weights(undrawn):
    model = mc.models.create("preresnet18")
    drawn = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    expected = [(c.weight.shape, 0, pytest.approx(sqrt(2 / (c.kernel_size[0] ** 2 * c.out_channels)))) for c in drawn]
    assert len(drawn) == 20 and undrawn == expected  # no linear layer: those start as Linear itself does
    assert model.bn.weight.tolist() == [1] * 512 and model.bn.bias.tolist() == [0] * 512


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("classes", [0, "x"])
def test_classes_that_make_no_sense_are_refused(name, classes):
    with pytest.raises(ValueError, match=f"^{name}: classes must be a positive int, got {classes!r}"):
        mc.models.create(name, classes=classes)


def test_it_can_be_saved_and_loaded(filled, tmp_path):
    model = filled(mc.models.create("preresnet18", classes=2))
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    assert found.config == {"model": "preresnet18", "options": {"classes": 2}}
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
