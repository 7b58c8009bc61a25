"""The blocks: against PyTorch renderings of them with the same weights; names, shapes, parameters by hand; refusals."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

RNG = np.random.default_rng(11)


def first(array):
    """Our axes to PyTorch's."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def last(array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


# ---------------------------------------------------------------------------------------------- PyTorch renderings

def conv_norm(torch, inputs, outputs, kernel=3, stride=1, groups=1):
    padding = (kernel - 1) // 2
    return [torch.nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            torch.nn.BatchNorm2d(outputs)]


def conv_norm_activation(torch, inputs, outputs, kernel=3, stride=1):
    return torch.nn.Sequential(*conv_norm(torch, inputs, outputs, kernel, stride), torch.nn.ReLU())


def residual(torch, inputs, sizes, stride):
    """A residual block of convolutions (channels, kernel, stride), the shortcut projected where it has to be."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            channels = inputs
            for number, (outputs, kernel, step) in enumerate(sizes, 1):
                conv, norm = conv_norm(torch, channels, outputs, kernel, step)
                self.add_module(f"conv{number}", conv)
                self.add_module(f"bn{number}", norm)
                channels = outputs
            if stride != 1 or inputs != channels:
                self.downsample = torch.nn.Sequential(*conv_norm(torch, inputs, channels, 1, stride))

        def forward(self, x):
            y = x
            for number in range(1, len(sizes) + 1):
                y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
                y = y.relu() if number < len(sizes) else y
            return (y + (self.downsample(x) if hasattr(self, "downsample") else x)).relu()

    return Block()


def basic_block(torch, inputs, channels, stride=1):
    return residual(torch, inputs, [(channels, 3, stride), (channels, 3, 1)], stride)


def bottleneck(torch, inputs, channels, stride=1):
    return residual(torch, inputs, [(channels, 1, 1), (channels, 3, stride), (4 * channels, 1, 1)], stride)


def inverted_residual(torch, inputs, outputs, stride, expand_ratio):
    inner = inputs * expand_ratio

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            parts = [(inner, inner, 3, stride, inner)]
            if expand_ratio != 1:
                parts.insert(0, (inputs, inner, 1))
            layers = [torch.nn.Sequential(*conv_norm(torch, *part), torch.nn.ReLU6()) for part in parts]
            self.conv = torch.nn.Sequential(*layers, *conv_norm(torch, inner, outputs, 1))

        def forward(self, x):
            return self.conv(x) + x if stride == 1 and inputs == outputs else self.conv(x)

    return Block()


BLOCKS = {  # ours, theirs, arguments of both
    "basic": (nn.BasicBlock, basic_block, (6, 6)),
    "basic, strided": (nn.BasicBlock, basic_block, (6, 6, 2)),
    "basic, wider": (nn.BasicBlock, basic_block, (4, 6)),
    "bottleneck": (nn.Bottleneck, bottleneck, (12, 3)),
    "bottleneck, strided": (nn.Bottleneck, bottleneck, (12, 3, 2)),
    "bottleneck, wider": (nn.Bottleneck, bottleneck, (5, 3)),
    "inverted": (nn.InvertedResidual, inverted_residual, (4, 4, 1, 3)),
    "inverted, strided": (nn.InvertedResidual, inverted_residual, (4, 4, 2, 3)),
    "inverted, wider": (nn.InvertedResidual, inverted_residual, (4, 5, 1, 3)),
    "inverted, not expanded": (nn.InvertedResidual, inverted_residual, (4, 4, 1, 1)),
    "convolution": (nn.ConvNormActivation, conv_norm_activation, (4, 6, 3, 2)),
    "convolution, 5x5": (nn.ConvNormActivation, conv_norm_activation, (4, 6, 5)),
}


def pair_of(torch, name):
    """Our block and PyTorch's with the same weights, float64."""
    own, theirs, arguments = BLOCKS[name]
    ours, theirs = own(*arguments).to("float64"), theirs(torch, *arguments).double()
    for key, value in theirs.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            drawn = RNG.uniform(0.5, 1.5, value.shape) if value.ndim == 1 else RNG.standard_normal(value.shape)
            value.copy_(torch.tensor(drawn))
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()}, layout="torch")
    return ours, theirs


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "one by one"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", BLOCKS)
def test_values_and_gradients_are_pytorchs(name, training, fused):
    torch = pytest.importorskip("torch")
    ours, theirs = pair_of(torch, name)
    ours.train(training), theirs.train(training)
    x = RNG.standard_normal((2, 7, 5, BLOCKS[name][2][0]))
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


# --------------------------------------------------------------------------------------- names, shapes, parameters

@pytest.mark.parametrize("block, parameters", [
    (nn.BasicBlock(64, 64), 73_984), (nn.BasicBlock(64, 128, 2), 230_144),
    (nn.Bottleneck(256, 64), 70_400), (nn.Bottleneck(64, 64), 75_008),
    (nn.InvertedResidual(24, 24, 1, 6), 8_832), (nn.InvertedResidual(32, 16, 1, 1), 896),
    (nn.ConvNormActivation(3, 32), 928),
])
def test_parameters_counted_by_hand(block, parameters):
    assert sum(p.numel() for p in block.parameters()) == parameters


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


@pytest.mark.parametrize("block, channels", [
    (nn.BasicBlock(3, 5, 2), 5), (nn.Bottleneck(3, 5, 2), 20), (nn.InvertedResidual(3, 5, 2, 2), 5),
    (nn.ConvNormActivation(3, 5, 3, 2), 5), (nn.ConvNormActivation(3, 5, (5, 1), (2, 2)), 5),
])
def test_stride_halves_and_rounds_up(block, channels):
    assert block(mc.ones(2, 9, 6, 3)).shape == (2, 5, 3, channels) and block.out_channels == channels


def test_a_stride_may_be_a_pair():
    assert nn.BasicBlock(4, 4, (1, 1)).downsample is None and nn.InvertedResidual(4, 4, (1, 1), 2).has_shortcut
    assert nn.BasicBlock(4, 4, (2, 1))(mc.ones(2, 4, 4, 4)).shape == (2, 2, 4, 4)


def test_a_linear_layer_behind_a_block_reads_pytorchs_order():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(basic_block(torch, 3, 4), torch.nn.Flatten(), torch.nn.Linear(4 * 6 * 5, 2)).eval()
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
    (lambda: nn.InvertedResidual(3, 4, "2", 6), "InvertedResidual: stride must be .* got '2'"),
    (lambda: nn.InvertedResidual(3, 4, 1, 0), "InvertedResidual: expand_ratio must be a positive number, got 0"),
    (lambda: nn.InvertedResidual(3, 4, 1, "6"), "InvertedResidual: expand_ratio must be a positive number, got '6'"),
    (lambda: nn.InvertedResidual(2.5, 4, 1, 6), "InvertedResidual: in_channels must be a positive int, got 2.5"),
    (lambda: nn.ConvNormActivation(3, 4, 0), "ConvNormActivation: kernel_size must be .* at least 1, got 0"),
])
def test_wrong_arguments_are_refused_when_the_block_is_made(make, words):
    with pytest.raises(ValueError, match=words):
        make()
