"""Inception v4: layers and parameters counted by hand, outputs and gradients against timm's."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn
from minicnn.models.inception_v4 import pooled

PARAMETERS = [928, 9_280, 18_560, 55_488, 189_312, 332_160, *[317_632] * 4, 2_306_112, *[2_936_256] * 7, 2_747_392,
              *[4_553_088] * 3]  # fmt: skip


def undrawn(**options):
    with nn.init.undrawn():
        return mc.models.create("inception_v4", **options)


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
    assert [count(part) for part in model.features] == PARAMETERS
    assert count(model.last_linear) == 1_537_000 and count(model) == 42_679_816
    assert model.input_shape == (299, 299, 3)


def test_names_are_timms():
    names = list(undrawn().state_dict(layout="torch"))
    assert names[:3] == ["features.0.conv.weight", "features.0.bn.weight", "features.0.bn.bias"]
    assert {"features.3.conv.bn.bias", "features.4.branch1.3.conv.weight", "features.6.branch3.1.bn.running_mean",
            "features.10.branch1.2.conv.weight", "features.18.branch0.1.bn.weight",
            "features.21.branch2_3b.conv.weight"} <= set(names)
    assert names[-2:] == ["last_linear.weight", "last_linear.bias"]
    assert len(names) == 149 * 6 + 2  # of a convolution and its norm 6


def test_sizes_of_a_picture():
    """As the paper's figures 3 and 9 give them."""
    x, sizes = mc.ones(1, 299, 299, 3), {}
    model = undrawn().eval()
    for number, part in enumerate(model.features):
        part.register_forward_hook(lambda part, inputs, output, number=number: sizes.update({number: output.shape[1:]}))
    with mc.no_grad():
        model(x)
    assert [sizes[i] for i in range(6)] == [(149, 149, 32), (147, 147, 32), (147, 147, 64), (73, 73, 160),
                                            (71, 71, 192), (35, 35, 384)]
    assert {sizes[i] for i in range(6, 10)} == {(35, 35, 384)}
    assert {sizes[i] for i in range(10, 18)} == {(17, 17, 1024)}
    assert {sizes[i] for i in range(18, 22)} == {(8, 8, 1536)}
    assert all(part.out_channels == sizes[number][2] for number, part in enumerate(model.features))


def test_average_pools_leave_the_padding_out():
    assert set(pooled(2, 3)[0](mc.ones(1, 4, 4, 2)).reshape(-1).tolist()) == {1}


def test_logits_are_timms(arrays):
    with mc.no_grad():
        (logits,) = loaded(arrays)(mc.tensor(random(1, 96, 96, 3))).numpy()
    # timm 1.0.31 in float64 with the weights of `fill`
    np.testing.assert_allclose(logits[:4], (-0.3533431, -0.1171925, 0.0108233, -0.1669405), rtol=0, atol=1e-5)
    assert logits.shape == (1000,) and logits.argmax() == 618 and logits.std() == pytest.approx(0.156914, rel=2e-5)


def test_training_is_that_of_the_timm_that_is_here(arrays, torchvision):
    """Logits and gradients of three pictures that are not square."""
    import torch

    torchvision("models")  # which timm imports
    timm = pytest.importorskip("timm")
    with torch.device("meta"):  # no weights are drawn for nothing
        theirs = timm.create_model("inception_v4")
    theirs.load_state_dict({key: torch.tensor(array) for key, array in arrays.items()}, assign=True)
    theirs.double().train()
    model = loaded(arrays, dropout=0.0).to("float64").train()
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
        np.testing.assert_allclose(gradients[key], gradient, rtol=0, atol=1e-7 * np.abs(gradient).max(), err_msg=key)


def test_a_step_reaches_every_parameter(arrays):
    model = loaded(arrays).train()
    nn.functional.cross_entropy(model(mc.tensor(random(3, 96, 91, 3))), mc.tensor([2, 0, 1])).backward()
    assert all(np.abs(p.grad.numpy()).max() > 1e-6 for p in model.parameters())


def test_starting_weights():
    """timm leaves PyTorch's: uniform within 1 / sqrt(fan_in)."""
    mc.manual_seed(1)
    model = mc.models.create("inception_v4", classes=10)
    for weight, fan_in in ((model.features[11].branch2[2].conv.weight, 7 * 192), (model.last_linear.weight, 1536),
                           (model.features[19].branch1_0.conv.weight, 1536)):
        assert np.abs(weight.numpy()).max() == pytest.approx(fan_in**-0.5, rel=1e-3)
        assert weight.numpy().std() == pytest.approx((3 * fan_in) ** -0.5, rel=0.02)
    norm = model.features[3].conv.bn
    assert norm.weight.tolist() == [1] * 96 and norm.bias.tolist() == [0] * 96
    assert (norm.eps, norm.momentum) == (0.001, 0.1)


@pytest.mark.parametrize("option, value", [
    ("classes", 0), ("classes", "x"), ("dropout", -0.1), ("dropout", None)])
def test_options_that_make_no_sense_are_refused(option, value):
    with pytest.raises(ValueError, match=rf"inception_v4: {option} must be .*, got {value!r}"):
        mc.models.create("inception_v4", **{option: value})


def test_it_can_be_saved_and_loaded(arrays, tmp_path):
    model = loaded(arrays, dropout=0.2)
    mc.save(model, tmp_path / "net.safetensors")
    found = mc.load(tmp_path / "net.safetensors")
    (tmp_path / "net.safetensors").unlink()
    assert found.config == {"model": "inception_v4", "options": {"dropout": 0.2}} and found.head_drop.p == 0.2
    ours, theirs = model.state_dict(), found.state_dict()
    assert list(ours) == list(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)
