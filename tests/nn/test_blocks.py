"""The blocks: against PyTorch renderings of them with the same weights, against numeric differences, and fused against
one layer at a time; names, shapes, parameters by hand; refusals."""

import copy
import importlib.util
from pathlib import Path

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

_spec = importlib.util.spec_from_file_location("blocks_table", Path(__file__).with_name("blocks_table.py"))
table = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(table)
CASES, PARAMETERS = table.CASES, table.PARAMETERS

RNG = np.random.default_rng(11)
by_name = pytest.mark.parametrize("name", CASES)
in_both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def first(array):
    """Our axes to PyTorch's."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def last(array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def drawn(shape, rng=RNG):
    """Weights that let signals through, and statistics that are none's."""
    if len(shape) == 1:
        return rng.uniform(0.5, 1.5, shape)
    return rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))


def pictures(name, rng=RNG):
    case = CASES[name]
    return rng.standard_normal((2, *case.size, case.inputs))


# ------------------------------------------------------------------------------------------------- against PyTorch


def pair_of(name, torchvision):
    """Our block and PyTorch's with the same weights, float64."""
    theirs = CASES[name].rendering(torchvision).double()
    import torch

    for key, value in theirs.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            value.copy_(torch.tensor(drawn(value.shape)))
    ours = CASES[name].own().to("float64")
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()}, layout="torch")
    return ours, theirs


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "one by one"])
@in_both_modes
@by_name
def test_values_and_gradients_are_pytorchs(name, training, fused, torchvision):
    ours, theirs = pair_of(name, torchvision)
    import torch

    ours.train(training), theirs.train(training)
    x = pictures(name)
    own_x, their_x = mc.tensor(x, requires_grad=True), torch.tensor(first(x), requires_grad=True)
    want = theirs(their_x)
    with mc.fusion(fused):
        got = ours(own_x)
        grad = RNG.standard_normal(got.shape)
        got.backward(mc.tensor(grad))
    want.backward(torch.tensor(first(grad)))

    np.testing.assert_allclose(got.numpy(), last(want.detach().numpy()), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(own_x.grad.numpy(), last(their_x.grad.numpy()), rtol=1e-9, atol=1e-9)
    gradients = {key: parameter.grad.numpy() for key, parameter in ours.named_parameters()}
    for key, parameter in theirs.named_parameters():
        expected = parameter.grad.numpy()
        expected = np.moveaxis(expected, (0, 1), (-1, -2)) if expected.ndim == 4 else expected
        np.testing.assert_allclose(gradients.pop(key), expected, rtol=1e-9, atol=1e-9, err_msg=key)
    assert not gradients
    statistics = {key: value.numpy() for key, value in theirs.named_buffers() if "running" in key}
    assert statistics.keys() == dict(ours.named_buffers()).keys()
    for key, buffer in ours.named_buffers():
        np.testing.assert_allclose(buffer.numpy(), statistics[key], rtol=1e-10, err_msg=key)


@by_name
def test_inference_is_pytorchs(name, torchvision):
    """Where nothing is recorded norms become part of the filters."""
    ours, theirs = pair_of(name, torchvision)
    import torch

    x = pictures(name)
    with mc.no_grad(), torch.no_grad():
        got, want = ours.eval()(mc.tensor(x)), theirs.eval()(torch.tensor(first(x)))
    np.testing.assert_allclose(got.numpy(), last(want.numpy()), rtol=1e-10, atol=1e-10)


# ------------------------------------------------------------------------------- fused against one layer at a time


def block_of(name):
    """Our block with weights drawn from its name, float64."""
    rng = np.random.default_rng(sum(map(ord, name)))
    block = CASES[name].own().to("float64")
    with mc.no_grad():
        for tensor in (*block.parameters(), *block.buffers()):
            tensor.copy_(drawn(tensor.shape, rng) if tensor.ndim == 1 else drawn(tensor.shape[::-1], rng).T)
    return block, pictures(name, rng)


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "not recorded"])
@in_both_modes
@by_name
def test_fused_and_one_by_one_agree_to_rounding(name, training, recorded):
    def run(fused):
        block, x = block_of(name)
        x = mc.tensor(x, requires_grad=recorded)
        with mc.fusion(fused), mc.enable_grad() if recorded else mc.no_grad():
            y = block.train(training)(x)
            if recorded:
                (y * y).sum().backward()
        gradients = [x.grad, *(p.grad for p in block.parameters())] if recorded else []
        return [tensor.numpy() for tensor in (y, *gradients, *block.buffers())]

    for fused, single in zip(run(True), run(False), strict=True):
        np.testing.assert_allclose(fused, single, rtol=0, atol=1e-12 * max(1, np.abs(single).max()))


# ---------------------------------------------------------------------------------------------------- other devices


@by_name
def test_gpus_agree_with_the_cpu(name, gpu):
    block, x = block_of(name)

    def run(device):
        own, own_x = copy.deepcopy(block).to("float32").to(device), mc.tensor(x, "float32", device, requires_grad=True)
        mc.manual_seed(3)
        y = own(own_x)
        (y * y).sum().backward()
        assert {t.device for t in (y, own_x.grad, *own.buffers())} == {device}
        return [t.numpy() for t in (y, own_x.grad, *(p.grad for p in own.parameters()), *own.buffers())]

    for there, here in zip(run(gpu), run("cpu"), strict=True):
        np.testing.assert_allclose(there, here, rtol=0, atol=1e-4 * max(1, np.abs(here).max()))


# --------------------------------------------------------------------------------------------------- derivatives


def along_a_line(name, training):
    """The block, weighed and summed, as a function of one number: how far its input and all its parameters have gone
    in directions drawn at random."""
    block, x = block_of(name)
    block.train(training)
    rng = np.random.default_rng(2)

    def direction(shape):
        return mc.tensor(rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1])))

    places = [(module, key, mc.tensor(parameter.numpy()), direction(parameter.shape))
              for module in block.modules() for key, parameter in module._parameters.items() if parameter is not None]
    start, way = mc.tensor(x), direction(x.shape)
    weights = direction(block(start).shape)
    for module, key, *_ in places:
        delattr(module, key)  # what is assigned below is no Parameter then but a plain tensor

    def function(step):
        for module, key, value, way_of_it in places:
            setattr(module, key, value + step * way_of_it)
        return (block(start + step * way) * weights).sum()

    return function, mc.tensor(0.0, dtype="float64", requires_grad=True)


@in_both_modes
@by_name
def test_first_and_second_derivatives(name, training):
    function, start = along_a_line(name, training)
    mc.gradcheck(function, start, rtol=1e-5)
    mc.gradgradcheck(function, start, rtol=1e-5)


# ------------------------------------------------------------------------------------------------ stochastic depth


def test_stochastic_depth_drops_whole_examples():
    mc.manual_seed(3)
    x = mc.tensor(RNG.standard_normal((400, 2, 3, 2)), requires_grad=True)
    y = nn.StochasticDepth(0.3)(x)
    y.sum().backward()
    kept = (y.numpy() != 0).reshape(400, -1)
    assert (kept.all(1) | ~kept.any(1)).all() and kept.all(1).mean() == pytest.approx(0.7, abs=0.08)
    np.testing.assert_allclose(y.numpy(), x.numpy() * kept.all(1)[:, None, None, None] / 0.7)
    np.testing.assert_allclose(x.grad.numpy(), np.broadcast_to((kept.all(1) / 0.7)[:, None, None, None], x.shape))


def test_stochastic_depth_drops_whole_batches():
    mc.manual_seed(3)
    layer = nn.StochasticDepth(0.5, "batch")
    means = [layer(mc.ones(3, 2)).numpy() for _ in range(200)]
    assert all(mean.min() == mean.max() for mean in means)
    assert {mean.max() for mean in means} == {0, 2} and np.mean(means) == pytest.approx(1, abs=0.2)


def test_stochastic_depth_follows_the_seed():
    def drawn_with(seed):
        mc.manual_seed(seed)
        return nn.StochasticDepth(0.5)(mc.ones(64, 1)).numpy()

    assert np.array_equal(drawn_with(5), drawn_with(5)) and not np.array_equal(drawn_with(5), drawn_with(6))


def test_stochastic_depth_outside_training_and_at_the_ends():
    x, layer = mc.ones(4, 2), nn.StochasticDepth(0.5)
    state = mc.random.get_state()
    assert layer.eval()(x) is x and nn.StochasticDepth(0)(x) is x and mc.random.get_state() == state
    assert not nn.StochasticDepth(1)(x).numpy().any()
    assert repr(layer) == "StochasticDepth(p=0.5, mode='row')"


@pytest.mark.parametrize("kind", [nn.MBConv, nn.FusedMBConv])
def test_a_block_that_is_passed_over_is_the_identity(kind):
    block, x = kind(4, 4, stochastic_depth=1.0), mc.tensor(RNG.standard_normal((3, 5, 5, 4)).astype("f4"))
    assert np.array_equal(block(x).numpy(), x.numpy())
    assert not np.array_equal(block.eval()(x).numpy(), x.numpy())
    other = kind(4, 5, stochastic_depth=1.0)  # without a shortcut nothing would be left
    assert np.abs(other(x).numpy()).max() > 0


def test_stochastic_depth_is_called_where_somebody_listens():
    block, seen = nn.MBConv(4, 4).eval(), []
    block.stochastic_depth.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    block(mc.ones(2, 5, 5, 4))
    assert seen == [(2, 5, 5, 4)]


# --------------------------------------------------------------------------------------- names, shapes, parameters


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_counted_by_hand(name):
    make, parameters = PARAMETERS[name]
    with nn.init.undrawn():
        assert sum(p.numel() for p in make().parameters()) == parameters


def test_children_have_torchvisions_names():
    def children(block):
        return [name for name, module in block.named_modules() if not module._modules]

    assert children(nn.BasicBlock(4, 4)) == ["conv1", "bn1", "relu", "conv2", "bn2"]
    assert children(nn.Bottleneck(4, 4)) == ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "relu", "downsample.0",
                                             "downsample.1"]
    assert children(nn.InvertedResidual(4, 4, 1, 2)) == ["conv.0.0", "conv.0.1", "conv.0.2", "conv.1.0", "conv.1.1",
                                                         "conv.1.2", "conv.2", "conv.3"]
    assert children(nn.InvertedResidual(4, 4, 1, 1)) == ["conv.0.0", "conv.0.1", "conv.0.2", "conv.1", "conv.2"]
    assert children(nn.ConvNormActivation(4, 4, activation=None)) == ["0", "1"]
    assert children(nn.MBConv(4, 4))[6:12] == ["block.2.avgpool", "block.2.fc1", "block.2.fc2", "block.2.activation",
                                               "block.2.scale_activation", "block.3.0"]


@pytest.mark.parametrize("block, channels", [
    (nn.BasicBlock(3, 5, 2), 5), (nn.Bottleneck(3, 5, 2), 20), (nn.InvertedResidual(3, 5, 2, 2), 5),
    (nn.PreActBasicBlock(3, 5, 2), 5), (nn.PreActBottleneck(3, 5, 2), 20), (nn.SEBasicBlock(3, 5, 2), 5),
    (nn.SEBottleneck(3, 5, 2), 20), (nn.DepthwiseSeparable(3, 5, 2), 5), (nn.XceptionBlock(3, (4, 5), 2), 5),
    (nn.MBConv(3, 5, 5, 2), 5), (nn.MobileNetV3Block(3, 8, 5, 5, 2), 5), (nn.FusedMBConv(3, 5, 3, 2), 5),
    (nn.ConvNormActivation(3, 5, 3, 2), 5), (nn.ConvNormActivation(3, 5, (5, 1), (2, 2)), 5),
    (nn.Bottleneck(3, 5, 2, groups=4, width=32), 20),
])
def test_stride_halves_and_rounds_up(block, channels):
    assert block(mc.ones(2, 9, 6, 3)).shape == (2, 5, 3, channels) and block.out_channels == channels


@pytest.mark.parametrize("make, size, channels", [
    (lambda: nn.Inception(3, 2, 1, 4, 1, 5, 6), (9, 6), 17), (lambda: nn.InceptionA(3, 5), (9, 6), 229),
    (lambda: nn.InceptionB(3), (4, 2), 483), (lambda: nn.InceptionC(3, 4), (9, 6), 768),
    (lambda: nn.InceptionD(3), (4, 2), 515), (lambda: nn.InceptionE(3), (9, 6), 2048),
])
def test_shapes_of_inception_blocks(make, size, channels):
    with nn.init.undrawn():
        block = make()
    assert block(mc.ones(2, 9, 6, 3)).shape == (2, *size, channels) and block.out_channels == channels


def test_a_stride_may_be_a_pair():
    assert nn.BasicBlock(4, 4, (1, 1)).downsample is None and nn.InvertedResidual(4, 4, (1, 1), 2).has_shortcut
    assert nn.BasicBlock(4, 4, (2, 1))(mc.ones(2, 4, 4, 4)).shape == (2, 2, 4, 4)


def test_a_linear_layer_behind_a_block_reads_pytorchs_order():
    torch = pytest.importorskip("torch")
    block = table.residual(torch, *table.of_two(3, 4))
    theirs = torch.nn.Sequential(block, torch.nn.Flatten(), torch.nn.Linear(4 * 6 * 5, 2)).eval()
    ours = nn.Sequential(nn.BasicBlock(3, 4), nn.Flatten(), nn.Linear(4 * 6 * 5, 2)).eval()
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()}, layout="torch")
    x = RNG.standard_normal((2, 6, 5, 3)).astype("f4")
    np.testing.assert_allclose(ours(mc.tensor(x)).numpy(), theirs(torch.tensor(first(x))).detach().numpy(), atol=1e-5)


def test_layers_inside_can_be_looked_at():
    block = nn.BasicBlock(3, 4).eval()
    x = mc.tensor(RNG.standard_normal((1, 5, 5, 3)).astype("f4"))
    inner = nn.features(block, "bn1")(x)
    assert inner.shape == (1, 5, 5, 4) and (inner.numpy() < 0).any()
    np.testing.assert_allclose(inner.numpy(), block.bn1(block.conv1(x)).numpy(), atol=1e-6)


# ------------------------------------------------------------------------------------------------------- refusals

@pytest.mark.parametrize("make, words", [
    (lambda: nn.BasicBlock(3, 4, 0), "BasicBlock: stride must be an int or a pair of ints, at least 1, got 0"),
    (lambda: nn.Bottleneck(3, 0), "Bottleneck: channels must be a positive int, got 0"),
    (lambda: nn.Bottleneck(3, 4, groups=0), "Bottleneck: groups must be a positive int, got 0"),
    (lambda: nn.Bottleneck(3, 4, groups="2"), "Bottleneck: groups must be a positive int, got '2'"),
    (lambda: nn.Bottleneck(3, 4, width=0), "Bottleneck: width must be a positive int, got 0"),
    (lambda: nn.Bottleneck(3, 4, width=15), r"Bottleneck: channels \* width // 64 must be at least 1, got 4 \* 15"),
    (lambda: nn.InvertedResidual(3, 4, "2", 6), "InvertedResidual: stride must be .* got '2'"),
    (lambda: nn.InvertedResidual(3, 4, 1, 0), "InvertedResidual: expand_ratio must be a positive number, got 0"),
    (lambda: nn.InvertedResidual(3, 4, 1, "6"), "InvertedResidual: expand_ratio must be a positive number, got '6'"),
    (lambda: nn.InvertedResidual(2.5, 4, 1, 6), "InvertedResidual: in_channels must be a positive int, got 2.5"),
    (lambda: nn.Inception(3, 1, 1, 1, 1, 1, 1, kernel5x5=4), "Inception: kernel5x5 must be odd, .* got 4"),
    (lambda: nn.Inception(0, 1, 1, 1, 1, 1, 1), "Inception: in_channels must be a positive int, got 0"),
    (lambda: nn.InceptionC(3, 0), "Conv2d: out_channels must be a positive int, got 0"),
    (lambda: nn.SqueezeExcitation(4, 0), "SqueezeExcitation: squeeze_channels must be a positive int, got 0"),
    (lambda: nn.SEBasicBlock(4, 4, reduction=0), "SEBasicBlock: reduction must be a positive int, got 0"),
    (lambda: nn.XceptionBlock(4, ()), r"XceptionBlock: channels must be a sequence of at least one, got \(\)"),
    (lambda: nn.XceptionBlock(4, 8), "XceptionBlock: channels must be a sequence of at least one, got 8"),
    (lambda: nn.MBConv(4, 4, expand_ratio=-1), "MBConv: expand_ratio must be a positive number, got -1"),
    (lambda: nn.MBConv(4, 4, expand_ratio=0.1), "MBConv: expand_ratio 0.1 leaves nothing of 4 channels"),
    (lambda: nn.MBConv(4, 4, squeeze_channels=-1), "SqueezeExcitation: squeeze_channels must be .* got -1"),
    (lambda: nn.FusedMBConv(4, 4, stride=0), "FusedMBConv: stride must be .* at least 1, got 0"),
    (lambda: nn.FusedMBConv(4, 4, stochastic_depth=2), "StochasticDepth: p must be a probability from 0 to 1, got 2"),
    (lambda: nn.StochasticDepth(0.1, "rows"), "StochasticDepth: mode must be 'row' or 'batch', got 'rows'"),
    (lambda: nn.functional.stochastic_depth(mc.ones(2), 0.1, "rows"), "stochastic_depth: mode must be .* got 'rows'"),
    (lambda: nn.functional.stochastic_depth(mc.tensor(1.0), 0.1, "row"), r"stochastic_depth: x must .* got \(\)"),
    (lambda: nn.functional.stochastic_depth(mc.ones(2), -1, "row"), "stochastic_depth: p must be .* got -1"),
    (lambda: nn.ConvNormActivation(3, 4, 0), "ConvNormActivation: kernel_size must be .* at least 1, got 0"),
])
def test_wrong_arguments_are_refused_when_the_block_is_made(make, words):
    with pytest.raises(ValueError, match=words):
        make()
