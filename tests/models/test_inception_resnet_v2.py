"""Inception-ResNet-v2: layers and parameters counted by hand, outputs and gradients against timm's."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn
from minicnn.models.inception_resnet_v2 import Block8, Block17, Block35

PARAMETERS = {
    "conv2d_1a": 928, "conv2d_2a": 9_280, "conv2d_2b": 18_560, "conv2d_3b": 5_280, "conv2d_4a": 138_624,
    "mixed_5b": 268_320, "repeat": 10 * 123_168, "mixed_6a": 2_664_960, "repeat_1": 20 * 1_126_784,
    "mixed_7a": 3_880_960, "repeat_2": 9 * 2_035_424, "block8": 2_035_424, "conv2d_7b": 3_197_952,
    "classif": 1_537_000,
}  # fmt: skip

#: In training the norm of conv2d_7b takes away what this adds: its gradient is 0 but for rounding.
WITHOUT_EFFECT = "block8.conv2d.bias"


def undrawn(**options):
    with nn.init.undrawn():
        return mc.models.create("inception_resnet_v2", **options)


@pytest.fixture(scope="module")
def kept():
    """What `arrays` makes for the first test that asks."""
    return {}


@pytest.fixture
def arrays(filled, kept):
    """The weights of `fill`, which take a while, in PyTorch's layout."""
    if not kept:
        kept.update(filled(undrawn()).state_dict(layout="torch"))
    return kept


def loaded(arrays, **options):
    model = undrawn(**options)
    model.load_state_dict(arrays, layout="torch")
    return model.eval()


def count(module):
    return sum(p.numel() for p in module.parameters())


def random(*shape, dtype="f4"):
    return np.random.default_rng(5).standard_normal(shape).astype(dtype)


def test_parameters():
    model = undrawn()
    assert {name: count(child) for name, child in model.named_children() if count(child)} == PARAMETERS
    assert count(model) == 55_843_464 and model.input_shape == (299, 299, 3)


def test_names_are_timms():
    names = list(undrawn().state_dict(layout="torch"))
    assert names[:3] == ["conv2d_1a.conv.weight", "conv2d_1a.bn.weight", "conv2d_1a.bn.bias"]
    assert {"mixed_5b.branch3.1.conv.weight", "repeat.9.branch2.2.bn.bias", "repeat.0.conv2d.bias",
            "mixed_6a.branch1.2.bn.running_var", "repeat_1.19.conv2d.weight", "mixed_7a.branch2.2.conv.weight",
            "repeat_2.8.branch0.bn.weight", "block8.branch1.2.conv.weight"} <= set(names)
    assert names[-2:] == ["classif.weight", "classif.bias"]
    assert len(names) == 204 * 6 + 40 * 2 + 2  # of a convolution and its norm 6


def test_sizes_of_a_picture():
    """As the paper's figure 15 gives them."""
    x, sizes = mc.ones(1, 299, 299, 3), {}
    model = undrawn().eval()
    for name, part in model.named_children():
        part.register_forward_hook(lambda part, inputs, output, name=name: sizes.update({name: output.shape[1:]}))
    with mc.no_grad():
        model(x)
    assert sizes["conv2d_2b"] == (147, 147, 64) and sizes["maxpool_3a"] == (73, 73, 64)
    assert sizes["conv2d_4a"] == (71, 71, 192) and sizes["maxpool_5a"] == (35, 35, 192)
    assert sizes["mixed_5b"] == sizes["repeat"] == (35, 35, 320)
    assert sizes["mixed_6a"] == sizes["repeat_1"] == (17, 17, 1088)
    assert sizes["mixed_7a"] == sizes["repeat_2"] == sizes["block8"] == (8, 8, 2080)
    assert sizes["conv2d_7b"] == (8, 8, 1536)


@pytest.mark.parametrize("block, scale", [(Block35, 0.17), (Block17, 0.10), (Block8, 0.20)])
def test_what_a_block_adds_is_scaled(block, scale):
    with nn.init.undrawn():
        layer = block()  # its weights are 0: conv2d gives its bias
    nn.init.ones_(layer.conv2d.bias)
    x = np.full((1, 3, 3, layer.in_channels), 2, "f4")
    x[..., ::2] = -2
    np.testing.assert_allclose(layer(mc.tensor(x)).numpy(), np.where(x > 0, 2 + scale, 0), rtol=1e-6)


def test_the_last_block_is_not_scaled_and_has_no_relu():
    last = undrawn().block8
    nn.init.ones_(last.conv2d.bias)
    assert set(last(mc.ones(1, 2, 2, 2080) * -2).reshape(-1).tolist()) == {-1}


def test_logits_are_timms(arrays):
    with mc.no_grad():
        (logits,) = loaded(arrays)(mc.tensor(random(1, 96, 96, 3))).numpy()
    # timm 1.0.31 in float64 with the weights of `fill`
    np.testing.assert_allclose(logits[:4], (0.7293756, 0.0923691, -0.714336, 0.8699956), rtol=0, atol=1e-5)
    assert logits.shape == (1000,) and logits.argmax() == 826 and logits.std() == pytest.approx(0.4709572, rel=2e-5)


def test_training_is_that_of_the_timm_that_is_here(arrays, torchvision):
    """Logits and gradients of three pictures that are not square."""
    import torch

    torchvision("models")  # which timm imports
    timm = pytest.importorskip("timm")
    with torch.device("meta"):  # no weights are drawn for nothing
        theirs = timm.create_model("inception_resnet_v2")
    theirs.load_state_dict({key: torch.tensor(array) for key, array in arrays.items()}, assign=True)
    model = loaded(arrays, dropout=0.0)
    for network in (model, theirs):  # fewer blocks of each kind, as the others are like them
        network.repeat, network.repeat_1 = network.repeat[:3], network.repeat_1[:3]
        network.repeat_2 = network.repeat_2[:2]
    theirs.double().train()
    model.to("float64").train()
    x, labels = random(3, 107, 91, 3, dtype="f8"), np.array([999, 0, 27])
    got, want = model(mc.tensor(x)), theirs(torch.tensor(np.ascontiguousarray(np.moveaxis(x, -1, 1))))
    np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=0, atol=1e-8)
    nn.functional.cross_entropy(got, mc.tensor(labels)).backward()
    torch.nn.functional.cross_entropy(want, torch.tensor(labels)).backward()
    for parameter in model.parameters():
        with mc.no_grad():
            parameter.copy_(parameter.grad)
    gradients = model.state_dict(layout="torch")
    for key, parameter in theirs.named_parameters():
        gradient = parameter.grad.numpy()
        if key != WITHOUT_EFFECT:
            np.testing.assert_allclose(gradients[key], gradient, rtol=0, atol=1e-7 * np.abs(gradient).max(),
                                       err_msg=key)


def test_a_step_reaches_every_parameter(arrays):
    model = loaded(arrays).train()
    nn.functional.cross_entropy(model(mc.tensor(random(3, 96, 91, 3))), mc.tensor([2, 0, 1])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 1e-6 for name, p in model.named_parameters() if name != WITHOUT_EFFECT)


def test_starting_weights():
    """timm leaves PyTorch's: uniform within 1 / sqrt(fan_in)."""
    mc.manual_seed(1)
    model = mc.models.create("inception_resnet_v2", classes=10)
    for weight, fan_in in ((model.repeat_1[4].branch1[1].conv.weight, 7 * 128), (model.classif.weight, 1536),
                           (model.repeat_2[0].conv2d.weight, 448), (model.repeat_2[0].conv2d.bias, 448)):
        assert np.abs(weight.numpy()).max() == pytest.approx(fan_in**-0.5, rel=2e-3)
        assert weight.numpy().std() == pytest.approx((3 * fan_in) ** -0.5, rel=0.04)
    norm = model.conv2d_2b.bn
    assert norm.weight.tolist() == [1] * 64 and norm.bias.tolist() == [0] * 64
    assert (norm.eps, norm.momentum) == (0.001, 0.1)


@pytest.mark.parametrize("option, value", [
    ("classes", 0), ("classes", "x"), ("dropout", -0.1), ("dropout", None)])
def test_options_that_make_no_sense_are_refused(option, value):
    with pytest.raises(ValueError, match=rf"inception_resnet_v2: {option} must be .*, got {value!r}"):
        mc.models.create("inception_resnet_v2", **{option: value})


def test_it_can_be_saved_and_loaded(arrays, tmp_path):
    model = loaded(arrays, dropout=0.2)
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    (tmp_path / "net.safetensors").unlink()
    assert found.config == {"model": "inception_resnet_v2", "options": {"dropout": 0.2}} and found.head_drop.p == 0.2
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
