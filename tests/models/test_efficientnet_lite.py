"""EfficientNet-Lite0: layers and parameters counted by hand, logits against timm's."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

NAMES = ("efficientnet_lite0", "tf_efficientnet_lite0")


def count(module):
    return sum(p.numel() for p in module.parameters())


def pictures(count, height, width):
    return mc.tensor(np.random.default_rng(5).standard_normal((count, height, width, 3)).astype("f4"))


@pytest.mark.parametrize("name", NAMES)
def test_parameters(name, undrawn):
    model = mc.models.create(name)
    assert [count(stage) for stage in model.blocks] == [
        896, 5_136 + 8_832, 13_472 + 26_240, 32_080 + 166_400, 106_304 + 340_480, 224_160 + 1_428_480, 605_440,
    ]  # fmt: skip
    assert {key: count(child) for key, child in model.named_children() if key != "blocks" and count(child)} == {
        "conv_stem": 864, "bn1": 64, "conv_head": 409_600, "bn2": 2_560, "classifier": 1_281_000}
    assert count(model) == 4_652_008 and model.input_shape == (224, 224, 3)


def test_names_are_timms(undrawn):
    names = list(mc.models.create("efficientnet_lite0").state_dict(layout="torch"))
    assert names[:2] == ["conv_stem.weight", "bn1.weight"] and names[-1] == "classifier.bias" and len(names) == 296
    assert {"blocks.0.0.conv_dw.weight", "blocks.0.0.conv_pw.weight", "blocks.0.0.bn2.running_var",
            "blocks.5.3.conv_pwl.weight", "blocks.6.0.bn3.bias", "conv_head.weight", "bn2.bias"} <= set(names)


# timm 1.0.31 in float64 with the weights of `fill`. TensorFlow pads an odd size alike on both sides, an even one not.
@pytest.mark.parametrize("name, first, deviation", [
    ("efficientnet_lite0", (-0.0076392, 0.1087978, 0.0517163, 0.3008921), 0.2595198),
    ("tf_efficientnet_lite0", (0.044484, 0.066332, 0.065185, 0.3203599), 0.2588657),
])
def test_logits_are_timms(name, first, deviation, filled):
    model = filled(mc.models.create(name))
    with mc.no_grad():
        (logits,) = model(pictures(1, 65, 64)).numpy()
    np.testing.assert_allclose(logits[:4], first, rtol=0, atol=1e-5)
    assert logits.shape == (1000,) and logits.argmax() == 296 and logits.std() == pytest.approx(deviation, rel=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_training_is_timms(name, filled, timm, trains_alike):
    theirs = timm.create_model(name, num_classes=5)
    trains_alike(filled(mc.models.create(name, classes=5, dropout=0.0)), theirs, 65, 40)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_reaches_every_parameter(name, filled):
    model = filled(mc.models.create(name, classes=3, dropout=0.0)).train()
    logits = model(pictures(4, 40, 65))
    assert logits.shape == (4, 3)
    nn.functional.cross_entropy(logits, mc.tensor([2, 0, 1, 1])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())


def test_starting_weights():
    mc.manual_seed(1)
    model = mc.models.create("efficientnet_lite0")
    for layer, deviation in ((model.conv_head, (2 / 1280) ** 0.5), (model.classifier, 0.01),
                             (model.blocks[6][0].conv_dw, (2 / (9 * 1152)) ** 0.5)):
        assert layer.weight.numpy().std() == pytest.approx(deviation, rel=0.05)
    assert not model.classifier.bias.numpy().any()


def test_norms(undrawn):
    """TensorFlow adds more to the variance."""
    for name, eps in zip(NAMES, (1e-5, 1e-3), strict=True):
        norms = [m for m in mc.models.create(name).modules() if isinstance(m, nn.BatchNorm2d)]
        assert len(norms) == 49 and {(norm.eps, norm.momentum) for norm in norms} == {(eps, 0.1)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("option", [{"classes": 0}, {"classes": 2.0}, {"dropout": -0.1}, {"dropout": "0"}], ids=str)
def test_options_that_make_no_sense_are_refused(name, option):
    with pytest.raises(ValueError, match=f"{name}: {next(iter(option))} must be a"):
        mc.models.create(name, **option)


def test_it_can_be_saved_and_loaded(filled, tmp_path):
    model = filled(mc.models.create("tf_efficientnet_lite0", classes=2))
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    assert found.config == {"model": "tf_efficientnet_lite0", "options": {"classes": 2}}
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
