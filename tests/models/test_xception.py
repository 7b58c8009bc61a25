"""Xception: layers and parameters counted by hand, logits and training against timm's."""

from math import sqrt

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

PARAMETERS = {
    "conv1": 864, "bn1": 64, "conv2": 18_432, "bn2": 128, "block1": 35_264, "block2": 136_064, "block3": 915_944,
    **{f"block{number}": 1_613_976 for number in range(4, 12)}, "block12": 2_039_584,
    "conv3": 1_582_080, "bn3": 3_072, "conv4": 3_159_552, "bn4": 4_096, "fc": 2_049_000,
}  # fmt: skip


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters(undrawn):
    model = mc.models.create("xception")
    assert {name: count(child) for name, child in model.named_children() if count(child)} == PARAMETERS
    assert count(model) == 22_855_952 and model.input_shape == (299, 299, 3)


def test_names_are_timms(undrawn):
    names = list(mc.models.create("legacy_xception").state_dict(layout="torch"))
    assert names[0] == "conv1.weight" and names[-2:] == ["fc.weight", "fc.bias"] and len(names) == 276
    assert {"block1.rep.0.conv1.weight", "block1.rep.0.pointwise.weight", "block1.skip.weight", "block1.skipbn.bias",
            "block2.rep.1.conv1.weight", "block11.rep.7.pointwise.weight", "block12.rep.5.running_var",
            "conv3.conv1.weight", "conv4.pointwise.weight", "bn4.running_mean"} <= set(names)
    assert not any(name.startswith("block4.skip") for name in names)


def test_sizes_of_the_picture_on_its_way(undrawn):
    model = mc.models.create("xception", classes=2)
    at = {}
    for name in ("conv1", "conv2", "block1", "block2", "block3", "block11", "block12", "conv4"):
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: at.update({name: output.shape[1:3]}))
    with mc.no_grad():
        model.eval()(mc.zeros(1, 99, 131, 3))
    assert at == {"conv1": (49, 65), "conv2": (47, 63), "block1": (24, 32), "block2": (12, 16), "block3": (6, 8),
                  "block11": (6, 8), "block12": (3, 4), "conv4": (3, 4)}


def test_logits_are_timms(filled):
    model = filled(mc.models.create("xception"))
    x = np.random.default_rng(5).standard_normal((1, 75, 75, 3)).astype("f4")
    with mc.no_grad():
        (logits,) = model(mc.tensor(x)).numpy()
    # timm 1.0.31's legacy_xception in float64 with the weights of `fill`
    np.testing.assert_allclose(logits[:4], (-0.5031385, -0.2888704, 2.4113538, -1.8455482), rtol=0, atol=4e-5)
    assert logits.shape == (1000,) and logits.argmax() == 548 and logits.std() == pytest.approx(1.2271834, rel=2e-5)


def test_pictures_of_7_pixels_fit(filled):
    model = filled(mc.models.create("xception", classes=3))
    with mc.no_grad():
        logits = model(mc.ones(1, 7, 7, 3))
    assert logits.shape == (1, 3) and np.isfinite(logits.numpy()).all()


def test_training_is_timms(filled, timm, trains_alike):
    model = filled(mc.models.create("xception", classes=5, dropout=0.0))
    theirs = timm.create_model("legacy_xception", num_classes=5)
    trains_alike(model, theirs, 51, 40)


def test_a_step_reaches_every_parameter(filled):
    model = filled(mc.models.create("xception", classes=3)).train()
    logits = model(mc.tensor(np.random.default_rng(0).standard_normal((3, 40, 33, 3)).astype("f4")))
    assert logits.shape == (3, 3)
    nn.functional.cross_entropy(logits, mc.tensor([2, 0, 1])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())


def test_starting_weights(undrawn):
    model = mc.models.create("xception", dropout=0.5)
    drawn = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    expected = [(c.weight.shape, 0, pytest.approx(sqrt(2 / (c.kernel_size[0] ** 2 * c.out_channels)))) for c in drawn]
    assert len(drawn) == 2 + 2 * (2 * 4 + 3 * 8 + 2) + 4 and undrawn == expected  # the linear layer starts by itself
    assert model.dropout.p == 0.5 and model.bn4.weight.tolist() == [1] * 2048


@pytest.mark.parametrize("options, words", [
    ({"classes": 0}, "xception: classes must be a positive int, got 0"),
    ({"dropout": 2}, "xception: dropout must be a probability from 0 to 1, got 2"),
    ({"dropout": "x"}, "xception: dropout must be a probability from 0 to 1, got 'x'"),
])
def test_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        mc.models.create("xception", **options)


def test_it_can_be_saved_and_loaded(filled, tmp_path):
    model = filled(mc.models.create("xception", classes=2))
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    assert found.config == {"model": "xception", "options": {"classes": 2}}
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
