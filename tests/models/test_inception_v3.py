"""Inception v3: layers and parameters counted by hand, outputs and gradients against torchvision's."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn
from minicnn.models.inception_v3 import InceptionOutputs, inception_v3_loss

PARAMETERS = {
    "Conv2d_1a_3x3": 928, "Conv2d_2a_3x3": 9_280, "Conv2d_2b_3x3": 18_560, "Conv2d_3b_1x1": 5_280,
    "Conv2d_4a_3x3": 138_624, "Mixed_5b": 255_904, "Mixed_5c": 277_472, "Mixed_5d": 285_152, "Mixed_6a": 1_153_280,
    "Mixed_6b": 1_297_408, "Mixed_6c": 1_691_008, "Mixed_6d": 1_691_008, "Mixed_6e": 2_141_952,
    "AuxLogits": 3_326_696, "Mixed_7a": 1_698_304, "Mixed_7b": 5_044_608, "Mixed_7c": 6_076_800, "fc": 2_049_000,
}  # fmt: skip


@pytest.fixture(autouse=True)
def drawn(undrawn, monkeypatch):
    """Starting weights stay 0, the truncated normal ones too. The list of what would have been drawn of those: (shape,
    mean, std)."""
    found = []

    def trunc_normal(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0):
        assert (a, b) == (-2, 2)
        found.append((tensor.shape, mean, std))
        return tensor

    monkeypatch.setattr(nn.init, "trunc_normal_", trunc_normal)
    return found


def count(module):
    return sum(p.numel() for p in module.parameters())


def random(*shape, dtype="f4"):
    return np.random.default_rng(5).standard_normal(shape).astype(dtype)


def first(array):
    """Our axes to PyTorch's."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def with_the_weights_of(model, theirs):
    """torchvision's module, float64."""
    import torch

    theirs.load_state_dict({key: torch.tensor(array) for key, array in model.state_dict(layout="torch").items()},
                           strict=False)
    return theirs.double().train(model.training)


def assert_gradients_are_those_of(theirs, model):
    expected = {key: parameter.grad.numpy() for key, parameter in theirs.named_parameters()}
    for parameter in model.parameters():
        with mc.no_grad():
            parameter.copy_(parameter.grad)
    gradients = model.state_dict(layout="torch")
    for key, gradient in expected.items():
        np.testing.assert_allclose(gradients[key], gradient, rtol=0, atol=1e-7 * np.abs(gradient).max(), err_msg=key)


def test_parameters():
    model = mc.models.create("inception_v3")
    assert {name: count(child) for name, child in model.named_children() if count(child)} == PARAMETERS
    assert count(model) == 27_161_264 and model.input_shape == (299, 299, 3)
    assert count(mc.models.create("inception_v3", aux_logits=False)) == 23_834_568


def test_names_are_torchvisions():
    names = list(mc.models.create("inception_v3").state_dict(layout="torch"))
    assert names[:3] == ["Conv2d_1a_3x3.conv.weight", "Conv2d_1a_3x3.bn.weight", "Conv2d_1a_3x3.bn.bias"]
    assert {"Mixed_5b.branch5x5_2.conv.weight", "Mixed_6e.branch7x7dbl_5.bn.running_var", "AuxLogits.conv1.conv.weight",
            "AuxLogits.fc.bias", "Mixed_7a.branch7x7x3_4.bn.bias", "Mixed_7c.branch3x3dbl_3b.bn.weight"} <= set(names)
    assert names[-2:] == ["fc.weight", "fc.bias"] and len(names) == 96 * 6 + 2 * 2  # of a convolution and its norm 6


def test_logits_are_torchvisions(filled):
    model = filled(mc.models.create("inception_v3"))
    with mc.no_grad():
        (logits,) = model(mc.tensor(random(1, 96, 96, 3))).numpy()
    # torchvision 0.28 in float64 with the weights of `fill`
    np.testing.assert_allclose(logits[:4], (0.1023214, 0.1489435, 0.0108604, -0.1642532), rtol=0, atol=1e-5)
    assert logits.shape == (1000,) and logits.argmax() == 439 and logits.std() == pytest.approx(0.163783, rel=2e-5)


def test_logits_are_those_of_the_torchvision_that_is_here(filled, torchvision):
    """Of pictures as small as they may be, and of ones that are not square; with other statistics too."""
    import torch

    model = filled(mc.models.create("inception_v3", transform_input=True))
    theirs = with_the_weights_of(model, torchvision("models.inception").Inception3(
        init_weights=False, transform_input=True))
    for x in (random(1, 75, 75, 3), random(1, 110, 83, 3)):
        with mc.no_grad(), torch.no_grad():
            got, want = model(mc.tensor(x)).numpy(), theirs(torch.tensor(first(x)).double()).numpy()
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * np.abs(want).max())


def test_training_is_torchvisions(filled, torchvision):
    """The network without the auxiliary classifier, which only fits where pictures are large."""
    import torch

    model = filled(mc.models.create("inception_v3", classes=5, aux_logits=False, dropout=0.0)).train()
    theirs = with_the_weights_of(model, torchvision("models.inception").Inception3(
        num_classes=5, aux_logits=False, init_weights=False, dropout=0.0))
    x, labels = random(3, 107, 107, 3, dtype="f8"), np.array([4, 0, 2])
    got, want = model.to("float64")(mc.tensor(x)), theirs(torch.tensor(first(x)))
    np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=0, atol=1e-8)
    inception_v3_loss(got, mc.tensor(labels)).backward()
    torch.nn.functional.cross_entropy(want, torch.tensor(labels)).backward()
    assert_gradients_are_those_of(theirs, model)


def test_training_the_auxiliary_classifier_is_torchvisions(filled, torchvision):
    import torch

    whole = filled(mc.models.create("inception_v3", classes=5)).train()
    model = whole.AuxLogits
    theirs = with_the_weights_of(model, torchvision("models.inception").InceptionAux(768, 5))
    x = random(4, 17, 18, 768, dtype="f8")
    got, want = model.to("float64")(mc.tensor(x)), theirs(torch.tensor(first(x)))
    np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=0, atol=1e-8)
    (got * got).sum().backward()
    (want * want).sum().backward()
    assert_gradients_are_those_of(theirs, model)


def test_a_step_reaches_every_parameter(filled):
    model = filled(mc.models.create("inception_v3", classes=3, dropout=0.0)).train()
    outputs = model(mc.tensor(random(2, 299, 299, 3)))
    assert isinstance(outputs, InceptionOutputs) and [logits.shape for logits in outputs] == [(2, 3)] * 2
    inception_v3_loss(outputs, mc.tensor([2, 0])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())
    assert model.eval()(mc.tensor(random(1, 80, 75, 3))).shape == (1, 3)


def test_loss():
    main, auxiliary = (mc.tensor(np.random.default_rng(n).standard_normal((4, 3))) for n in range(2))
    labels = mc.tensor([0, 2, 1, 1])
    one, other = (nn.functional.cross_entropy(each, labels).item() for each in (main, auxiliary))
    assert inception_v3_loss(InceptionOutputs(main, auxiliary), labels).item() == pytest.approx(one + 0.4 * other)
    assert inception_v3_loss(InceptionOutputs(main, auxiliary), labels, weight=0).item() == pytest.approx(one)
    assert inception_v3_loss(main, labels).item() == pytest.approx(one)


def test_starting_weights(drawn):
    model = mc.models.create("inception_v3", classes=7)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 98
    # torchvision means its 0.01 for AuxLogits.conv1 too, but says so where it has no effect
    assert drawn == [(layer.weight.shape, 0, 0.001 if layer.weight.shape == (768, 7) else 0.1) for layer in layers]
    norm = model.Mixed_6e.branch7x7_2.bn
    assert norm.weight.tolist() == [1] * 192 and norm.bias.tolist() == [0] * 192
    assert (norm.eps, norm.momentum) == (0.001, 0.1)


def test_biases_start_as_those_of_linear_layers(monkeypatch):
    drawn = {}
    monkeypatch.setattr(nn.init, "uniform_", lambda tensor, a, b: drawn.setdefault(tensor.shape, (a, b)))
    mc.models.create("inception_v3", classes=7)
    assert drawn[(7,)] == pytest.approx((-1 / 768**0.5, 1 / 768**0.5))  # of the auxiliary classifier, which comes first


@pytest.mark.parametrize("option, value", [
    ("classes", 0), ("classes", 2.5), ("dropout", 1.5), ("dropout", "x"), ("dropout", float("nan"))])
def test_options_that_make_no_sense_are_refused(option, value):
    with pytest.raises(ValueError, match=rf"inception_v3: {option} must be .*, got {value!r}"):
        mc.models.create("inception_v3", **{option: value})


def test_it_can_be_saved_and_loaded(filled, tmp_path):
    model = filled(mc.models.create("inception_v3", classes=2, aux_logits=False))
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    (tmp_path / "net.safetensors").unlink()
    assert found.config == {"model": "inception_v3", "options": {"classes": 2, "aux_logits": False}}
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
