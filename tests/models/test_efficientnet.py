"""The EfficientNets: layers and parameters counted by hand, outputs and gradients against torchvision's."""

from functools import partial
from math import sqrt

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

# Size of the pictures, the blocks of each stage, parameters of each part of the features, of the dense layer, and keys.
NETWORKS = {
    "efficientnet_b0": (
        224, [1, 2, 2, 3, 3, 4, 1],
        [928, 1_448, 16_714, 46_640, 242_930, 543_148, 2_026_348, 717_232, 412_160], 1_281_000, 360),
    "efficientnet_b1": (
        240, [2, 3, 3, 4, 4, 5, 2],
        [928, 2_060, 27_424, 77_930, 345_830, 751_720, 2_614_300, 2_280_832, 412_160], 1_281_000, 508),
    "efficientnet_b2": (
        260, [2, 3, 3, 4, 4, 5, 2],
        [928, 2_060, 27_424, 103_134, 421_550, 862_768, 3_048_878, 2_735_820, 498_432], 1_409_000, 508),
    "efficientnet_b3": (
        300, [2, 3, 3, 5, 5, 6, 2],
        [1_160, 3_504, 48_118, 110_912, 638_700, 1_387_760, 4_628_964, 3_284_218, 592_896], 1_537_000, 574),
    "efficientnet_b4": (
        380, [2, 4, 4, 6, 6, 8, 2],
        [1_392, 4_146, 66_238, 197_586, 1_059_898, 2_306_724, 8_636_228, 4_470_004, 806_400], 1_793_000, 706),
    "efficientnet_b5": (
        456, [3, 5, 5, 7, 7, 9, 3],
        [1_392, 5_352, 122_846, 329_514, 1_632_464, 3_286_344, 12_165_292, 9_744_908, 1_052_672], 2_049_000, 854),
    "efficientnet_b6": (
        528, [3, 6, 6, 8, 8, 11, 3],
        [1_624, 8_094, 156_922, 493_444, 2_379_438, 4_840_930, 19_186_878, 12_336_662, 1_331_712], 2_305_000, 986),
    "efficientnet_b7": (
        600, [4, 7, 7, 10, 10, 13, 4],
        [1_856, 10_920, 253_424, 716_068, 3_721_660, 7_615_904, 28_390_712, 21_432_896, 1_643_520], 2_561_000, 1200),
    "efficientnet_v2_s": (
        384, [2, 4, 4, 6, 9, 15],
        [696, 10_464, 303_552, 589_184, 917_680, 3_463_840, 14_561_832, 330_240], 1_281_000, 782),
    "efficientnet_v2_m": (
        480, [3, 5, 5, 7, 14, 18, 5],
        [696, 15_696, 396_192, 1_126_048, 1_686_340, 6_650_852, 24_627_064, 17_697_548, 657_920], 1_281_000, 1120),
    "efficientnet_v2_l": (
        480, [4, 7, 7, 10, 19, 25, 7],
        [928, 37_120, 1_032_320, 2_390_336, 3_553_224, 14_501_728, 54_866_360, 40_030_496, 821_760], 1_281_000, 1548),
}  # fmt: skip
PARAMETERS = {  # as torchvision's documentation gives them
    "efficientnet_b0": 5_288_548, "efficientnet_b1": 7_794_184, "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232, "efficientnet_b4": 19_341_616, "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704, "efficientnet_b7": 66_347_960, "efficientnet_v2_s": 21_458_488,
    "efficientnet_v2_m": 54_139_356, "efficientnet_v2_l": 118_515_272,
}  # fmt: skip
# torchvision 0.28 in float64, with the weights of `fill` of which those of convolutions and dense layers are multiplied
# by the first number, so that the logits depend on the picture: the first four, the highest's place, the deviation.
LOGITS = {
    "efficientnet_b0": (1.45, (-0.3782304, 0.1708635, 0.829291, 0.6590565), 34, 0.8492278),
    "efficientnet_b5": (1.34, (-0.1741432, -0.254034, 0.1735908, -0.0988068), 886, 0.5818699),
    "efficientnet_v2_s": (1.1, (-0.1215216, 0.7291596, 0.4114633, -1.6484942), 719, 1.1716995),
}


def count(module):
    return sum(p.numel() for p in module.parameters())


def louder(model, gain):
    for parameter in model.parameters():
        if parameter.ndim > 1:
            with mc.no_grad():
                parameter.copy_(parameter * gain)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_names(name, undrawn):
    model = mc.models.create(name)
    size, blocks, features, dense, keys = NETWORKS[name]
    assert model.input_shape == (size, size, 3)
    assert [len(stage) for stage in list(model.features)[1:-1]] == blocks
    assert [count(part) for part in model.features] == features
    assert count(model.classifier[1]) == dense and count(model) == PARAMETERS[name]
    names = list(model.state_dict(layout="torch"))
    assert names[:3] == ["features.0.0.weight", "features.0.1.weight", "features.0.1.bias"]
    assert names[-2:] == ["classifier.1.weight", "classifier.1.bias"] and len(names) == keys


def test_names_in_blocks_are_torchvisions(undrawn):
    assert {"features.1.0.block.0.0.weight", "features.1.0.block.1.fc1.bias", "features.2.0.block.2.fc2.weight",
            "features.2.1.block.3.1.running_mean", "features.8.1.bias",
            } <= set(mc.models.create("efficientnet_b0").state_dict(layout="torch"))
    assert {"features.1.1.block.0.1.weight", "features.2.3.block.1.0.weight", "features.4.5.block.2.fc2.bias",
            "features.6.14.block.3.1.running_var", "features.7.1.bias",
            } <= set(mc.models.create("efficientnet_v2_s").state_dict(layout="torch"))


@pytest.mark.parametrize("name", LOGITS)
def test_logits_are_torchvisions(name, filled):
    gain, first, highest, spread = LOGITS[name]
    model = louder(filled(mc.models.create(name)), gain)
    x = np.random.default_rng(5).standard_normal((1, 64, 64, 3)).astype("f4")
    with mc.no_grad():
        (logits,) = model(mc.tensor(x)).numpy()
    np.testing.assert_allclose(logits[:4], first, rtol=0, atol=2e-5)
    assert logits.shape == (1000,) and logits.argmax() == highest and logits.std() == pytest.approx(spread, rel=2e-5)


def b0(torchvision):
    """EfficientNet-B0 and torchvision's."""
    return (mc.models.create("efficientnet_b0", classes=5, dropout=0.0, stochastic_depth=0.0),
            torchvision("models").efficientnet_b0(num_classes=5, dropout=0.0, stochastic_depth_prob=0.0))


def a_short_v2(torchvision):
    """An EfficientNetV2 of three stages, of both kinds of blocks, and torchvision's."""
    import torch

    from minicnn.models.efficientnet import Stage, build_efficientnet

    parts = torchvision("models.efficientnet")
    stages = [Stage(nn.FusedMBConv, 1, 3, 1, 24, 2), Stage(nn.FusedMBConv, 4, 3, 2, 32, 2),
              Stage(nn.MBConv, 4, 3, 2, 48, 2)]
    theirs = [parts.FusedMBConvConfig(1, 3, 1, 24, 24, 2), parts.FusedMBConvConfig(4, 3, 2, 24, 32, 2),
              parts.MBConvConfig(4, 3, 2, 32, 48, 2)]
    return (build_efficientnet(stages, 24, 96, 5, 0.0, 0.0, partial(nn.BatchNorm2d, eps=0.001)),
            parts.EfficientNet(theirs, 0.0, 0.0, 5, partial(torch.nn.BatchNorm2d, eps=0.001), 96))


@pytest.mark.parametrize("networks", [b0, a_short_v2])
def test_training_is_torchvisions(networks, filled, torchvision, trains_alike):
    ours, theirs = networks(torchvision)
    trains_alike(filled(ours), theirs, 33, 40)


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_v2_s"])
def test_a_step_reaches_every_parameter(name, filled):
    model = filled(mc.models.create(name, classes=3, dropout=0.0, stochastic_depth=0.0)).train()
    logits = model(mc.tensor(np.random.default_rng(0).standard_normal((4, 40, 65, 3)).astype("f4")))
    assert logits.shape == (4, 3)
    nn.functional.cross_entropy(logits, mc.tensor([2, 0, 1, 1])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())


@pytest.mark.parametrize("name, dropout, eps, momentum", [
    ("efficientnet_b0", 0.2, 1e-5, 0.1), ("efficientnet_b1", 0.2, 1e-5, 0.1), ("efficientnet_b2", 0.3, 1e-5, 0.1),
    ("efficientnet_b3", 0.3, 1e-5, 0.1), ("efficientnet_b4", 0.4, 1e-5, 0.1), ("efficientnet_b5", 0.4, 1e-3, 0.01),
    ("efficientnet_b6", 0.5, 1e-3, 0.01), ("efficientnet_b7", 0.5, 1e-3, 0.01), ("efficientnet_v2_s", 0.2, 1e-3, 0.1),
    ("efficientnet_v2_m", 0.3, 1e-3, 0.1), ("efficientnet_v2_l", 0.4, 1e-3, 0.1),
])  # fmt: skip
def test_dropout_norms_and_stochastic_depth_are_torchvisions(name, dropout, eps, momentum, undrawn):
    model = mc.models.create(name, classes=2)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert model.classifier[0].p == dropout and {(norm.eps, norm.momentum) for norm in norms} == {(eps, momentum)}
    passed = [m.p for m in model.modules() if isinstance(m, nn.StochasticDepth)]
    blocks = sum(NETWORKS[name][1])
    assert passed == pytest.approx([0.2 * number / blocks for number in range(blocks)])


def test_options_reach_the_layers(undrawn):
    model = mc.models.create("efficientnet_b0", classes=7, dropout=0.1, stochastic_depth=0.8)
    assert model.classifier[0].p == 0.1 and model.classifier[1].bias.shape == (7,)
    assert model.features[1][0].stochastic_depth.p == 0 and model.features[3][0].stochastic_depth.p == 0.8 * 3 / 16


@pytest.mark.parametrize("name", ["efficientnet_b4", "efficientnet_v2_s"])
@pytest.mark.parametrize("options, message", [
    ({"dropout": 1.5}, "dropout must be a probability from 0 to 1, got 1.5"),
    ({"dropout": "x"}, "dropout must be a probability from 0 to 1, got 'x'"),
    ({"stochastic_depth": -0.1}, "stochastic_depth must be a probability from 0 to 1, got -0.1"),
    ({"stochastic_depth": "x"}, "stochastic_depth must be a probability from 0 to 1, got 'x'"),
    ({"stochastic_depth": float("nan")}, "stochastic_depth must be a probability from 0 to 1, got nan"),
])  # fmt: skip
def test_options_that_make_no_sense_are_refused(name, options, message):
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        mc.models.create(name, **options)


def test_starting_weights(undrawn):
    model = mc.models.create("efficientnet_b0", classes=7)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 81
    assert undrawn == [(c.weight.shape, 0, pytest.approx(sqrt(2 / (c.kernel_size[0] ** 2 * c.out_channels))))
                       for c in convolutions]
    norm = model.features[2][0].block[3][1]
    assert norm.weight.tolist() == [1] * 24 and norm.bias.tolist() == [0] * 24


def test_the_dense_layer_starts_by_its_outputs():
    weight = mc.models.create("efficientnet_b0", classes=25).classifier[1].weight.numpy()
    assert 0.19 < weight.max() <= 0.2 and weight.std() == pytest.approx(0.2 / sqrt(3), rel=0.02)


def test_it_can_be_saved_and_loaded(filled, tmp_path):
    options = {"classes": 2, "stochastic_depth": 0.1}
    model = filled(mc.models.create("efficientnet_b0", **options))
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    assert found.config == {"model": "efficientnet_b0", "options": options}
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
