"""GoogLeNet: layers and parameters counted by hand, outputs and gradients against torchvision's."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn
from minicnn.models.googlenet import GoogLeNetOutputs, googlenet_loss

PARAMETERS = {
    "conv1": 9_536, "conv2": 4_224, "conv3": 110_976, "inception3a": 155_872, "inception3b": 340_224,
    "inception4a": 364_512, "inception4b": 425_232, "inception4c": 486_192, "inception4d": 573_312,
    "inception4e": 803_840, "inception5a": 978_944, "inception5b": 1_347_040, "fc": 1_025_000,
    "aux1": 3_188_968, "aux2": 3_191_016,
}  # fmt: skip


def count(module):
    return sum(p.numel() for p in module.parameters())


def pictures(count, size, dtype="f4"):
    return np.random.default_rng(5).standard_normal((count, size, size, 3)).astype(dtype)


def first(array):
    """Our axes to PyTorch's."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def theirs_with_the_weights_of(model, torchvision, **options):
    """torchvision's network, float64."""
    import torch

    theirs = torchvision("models.googlenet").GoogLeNet(init_weights=False, dropout=0.0, dropout_aux=0.0, **options)
    theirs.load_state_dict({key: torch.tensor(array) for key, array in model.state_dict(layout="torch").items()})
    return theirs.double().train(model.training)


def test_parameters(undrawn):
    model = mc.models.create("googlenet")
    assert {name: count(child) for name, child in model.named_children() if count(child)} == PARAMETERS
    assert count(model) == 13_004_888 and model.input_shape == (224, 224, 3)
    assert count(mc.models.create("googlenet", aux_logits=False)) == 6_624_904


def test_names_are_torchvisions(undrawn):
    names = list(mc.models.create("googlenet").state_dict(layout="torch"))
    assert names[:3] == ["conv1.conv.weight", "conv1.bn.weight", "conv1.bn.bias"]
    assert {"inception3a.branch1.conv.weight", "inception4e.branch2.1.bn.running_mean", "inception5b.branch4.1.bn.bias",
            "aux1.conv.conv.weight", "aux2.fc2.bias"} <= set(names)
    assert names[-2:] == ["fc.weight", "fc.bias"] and len(names) == 364
    assert len(mc.models.create("googlenet", aux_logits=False).state_dict(layout="torch")) == 344


def test_pictures_of_28_pixels_fit(filled):
    model = filled(mc.models.create("googlenet", classes=10, aux_logits=False))
    with mc.no_grad():
        logits = model(mc.tensor(pictures(1, 28)))
    assert logits.shape == (1, 10) and np.isfinite(logits.numpy()).all()


def test_logits_are_torchvisions(filled):
    model = filled(mc.models.create("googlenet"))
    with mc.no_grad():
        (logits,) = model(mc.tensor(pictures(1, 64))).numpy()
    # torchvision 0.28 in float64 with the weights of `fill`
    np.testing.assert_allclose(logits[:4], (-0.0403858, 0.1907933, -0.287861, 0.035581), rtol=0, atol=1e-5)
    assert logits.shape == (1000,) and logits.argmax() == 227 and logits.std() == pytest.approx(0.1833846, rel=2e-5)


@pytest.mark.parametrize("size", [28, 64, 225])
def test_logits_are_those_of_the_torchvision_that_is_here(size, filled, torchvision):
    import torch

    model = filled(mc.models.create("googlenet"))
    theirs, x = theirs_with_the_weights_of(model, torchvision), pictures(1, size)
    with mc.no_grad(), torch.no_grad():
        got, want = model(mc.tensor(x)).numpy(), theirs(torch.tensor(first(x)).double()).numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * np.abs(want).max())


def test_training_is_torchvisions(filled, torchvision):
    """All three outputs, and the gradients of all parameters from all three."""
    import torch

    model = filled(mc.models.create("googlenet", classes=5, dropout=0.0, dropout_aux=0.0)).train()
    theirs, x = theirs_with_the_weights_of(model, torchvision, num_classes=5), pictures(3, 65, "f8")
    got, want = model.to("float64")(mc.tensor(x)), theirs(torch.tensor(first(x)))
    for own, other in zip(got, want, strict=True):
        np.testing.assert_allclose(own.numpy(), other.detach().numpy(), rtol=0, atol=1e-8)
    labels = np.array([4, 0, 2])
    googlenet_loss(got, mc.tensor(labels)).backward()
    losses = [torch.nn.functional.cross_entropy(logits, torch.tensor(labels)) for logits in want]
    (losses[0] + 0.3 * losses[1] + 0.3 * losses[2]).backward()
    expected = {key: parameter.grad.numpy() for key, parameter in theirs.named_parameters()}
    for parameter in model.parameters():
        with mc.no_grad():
            parameter.copy_(parameter.grad)
    gradients = model.state_dict(layout="torch")
    for key, gradient in expected.items():
        np.testing.assert_allclose(gradients[key], gradient, rtol=0, atol=1e-7 * np.abs(gradient).max(), err_msg=key)


def test_pictures_with_other_statistics(filled, torchvision):
    import torch

    model = filled(mc.models.create("googlenet", aux_logits=False, transform_input=True)).to("float64")
    theirs = theirs_with_the_weights_of(model, torchvision, aux_logits=False, transform_input=True)
    x = pictures(1, 40, "f8")
    with mc.no_grad(), torch.no_grad():
        got, want = model(mc.tensor(x)).numpy(), theirs(torch.tensor(first(x))).numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-10 * np.abs(want).max())


def test_what_comes_out(filled):
    x = mc.tensor(pictures(2, 33))
    model = filled(mc.models.create("googlenet", classes=3)).train()
    outputs = model(x)
    assert isinstance(outputs, GoogLeNetOutputs) and [logits.shape for logits in outputs] == [(2, 3)] * 3
    assert model.eval()(x).shape == (2, 3)
    assert mc.models.create("googlenet", classes=3, aux_logits=False).train()(x).shape == (2, 3)


def test_loss():
    logits = [mc.tensor(np.random.default_rng(n).standard_normal((4, 3))) for n in range(3)]
    labels = mc.tensor([0, 2, 1, 1])
    main, second, one = (nn.functional.cross_entropy(each, labels).item() for each in logits)
    assert googlenet_loss(GoogLeNetOutputs(*logits), labels).item() == pytest.approx(main + 0.3 * (second + one))
    assert googlenet_loss(GoogLeNetOutputs(*logits), labels, weight=0).item() == pytest.approx(main)
    assert googlenet_loss(logits[0], labels).item() == pytest.approx(main)


def test_starting_weights(undrawn):
    model = mc.models.create("googlenet")
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 3 + 9 * 6 + 2 * 3 + 1 and undrawn == [(layer.weight.shape, 0, 0.01) for layer in layers]
    norm = model.inception3a.branch2[1].bn
    assert norm.weight.tolist() == [1] * 128 and norm.bias.tolist() == [0] * 128 and norm.eps == 0.001


def test_it_can_be_saved_and_loaded(filled, tmp_path):
    model = filled(mc.models.create("googlenet", classes=2, aux_logits=False))
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    assert found.config == {"model": "googlenet", "options": {"classes": 2, "aux_logits": False}}
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
