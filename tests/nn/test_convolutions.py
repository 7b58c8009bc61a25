"""Convolutions over one and three axes and transposed ones as layers, against PyTorch's with the same weights."""

import itertools

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

RNG = np.random.default_rng(3)
INPUTS = {1: (2, 9, 4), 2: (2, 6, 5, 4), 3: (2, 4, 5, 3, 4)}  # (N, ..., C)


def first(array):
    """Our axes to PyTorch's."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def last(array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def picture(axes):
    return RNG.standard_normal(INPUTS[axes]).astype("f4")


LAYERS = {
    "Conv1d": ("Conv1d", (4, 6, 3), {}),
    "Conv1d in order": ("Conv1d", (4, 6, 3, 2, 1, 2, 2, False), {}),
    "Conv1d same": ("Conv1d", (4, 6, (5,)), {"padding": "same", "dilation": (2,)}),
    "Conv1d depthwise": ("Conv1d", (4, 8, 3), {"groups": 4, "padding": (1,)}),
    "Conv3d": ("Conv3d", (4, 6, 3), {}),
    "Conv3d in order": ("Conv3d", (4, 6, (1, 3, 2), (2, 1, 1), (1, 0, 2), (1, 2, 1), 2, False), {}),
    "Conv3d same": ("Conv3d", (4, 5, 3), {"padding": "same"}),
    "ConvTranspose1d": ("ConvTranspose1d", (4, 6, 3), {}),
    "ConvTranspose1d in order": ("ConvTranspose1d", (4, 6, 3, 2, 1, 1, 2, False, 2), {}),
    "ConvTranspose2d": ("ConvTranspose2d", (4, 6, (3, 2)), {"stride": (1, 2), "output_padding": (0, 1)}),
    "ConvTranspose2d in order": ("ConvTranspose2d", (4, 6, 3, 2, 1, 1, 2, False, 2), {}),
    "ConvTranspose3d": ("ConvTranspose3d", (4, 6, 2), {"stride": 2}),
    "ConvTranspose3d in order": ("ConvTranspose3d", (4, 6, 3, 2, (1, 0, 1), (1, 0, 1), 2, False, (1, 2, 1)), {}),
}


@pytest.mark.parametrize("name, arguments, options", LAYERS.values(), ids=LAYERS)
def test_layers_with_pytorchs_weights_and_back(name, arguments, options):
    torch = pytest.importorskip("torch")
    theirs, ours = getattr(torch.nn, name)(*arguments, **options), getattr(nn, name)(*arguments, **options)
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state, layout="torch")
    x = picture(int(name[-2]))
    np.testing.assert_allclose(ours(mc.tensor(x)).numpy(), last(theirs(torch.tensor(first(x))).detach().numpy()),
                               rtol=1e-5, atol=1e-5)
    back = ours.state_dict(layout="torch")
    assert set(back) == set(state) and all(np.array_equal(back[k], v) for k, v in state.items())


@pytest.mark.parametrize("name", ["Conv1d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"])
def test_weights_start_as_in_pytorch(name):
    torch = pytest.importorskip("torch")
    mc.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = getattr(nn, name)(32, 48, 3, groups=2), getattr(torch.nn, name)(32, 48, 3, groups=2)
    weight, bias = ours.weight.numpy(), ours.bias.numpy()
    bound = theirs.weight.abs().max().item()
    assert weight.max() == pytest.approx(bound, rel=0.01) and weight.min() == pytest.approx(-bound, rel=0.01)
    assert weight.std() == pytest.approx(theirs.weight.std().item(), rel=0.05) and weight.dtype == np.float32
    assert 0.7 * bound < np.abs(bias).max() <= 1.01 * bound and bias.shape == theirs.bias.shape


def test_the_order_behind_a_flatten_is_known():
    torch = pytest.importorskip("torch")

    def build(layers):
        return layers.Sequential(layers.Conv3d(4, 3, 2), layers.ConvTranspose3d(3, 2, 2), layers.Flatten(),
                                 layers.Linear(4 * 5 * 3 * 2, 6))

    theirs, ours = build(torch.nn), build(nn)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()}, layout="torch")
    x = picture(3)
    np.testing.assert_allclose(ours(mc.tensor(x)).numpy(), theirs(torch.tensor(first(x))).detach().numpy(), rtol=1e-4,
                               atol=1e-5)


# ------------------------------------------------------------------------------------------------- output_size

@pytest.mark.parametrize("size", [(11, 10), (12, 10), (13, 12), (2, 13, 11, 3)], ids=str)
def test_a_transposed_convolution_gives_the_size_asked_for(size):
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.ConvTranspose2d(4, 3, 3, (2, 3), (1, 2)), nn.ConvTranspose2d(4, 3, 3, (2, 3), (1, 2))
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()}, layout="torch")
    x = RNG.standard_normal((2, 6, 4, 4)).astype("f4")
    spatial = size if len(size) == 2 else size[1:-1]
    try:
        want = last(theirs(torch.tensor(first(x)), output_size=list(spatial)).detach().numpy())
    except ValueError:
        with pytest.raises(ValueError, match=r"output_size must be from \(11, 8\) to \(12, 10\) .* got"):
            ours(mc.tensor(x), size)
        return
    got = ours(mc.tensor(x), output_size=size).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_going_there_and_back_gives_the_size_one_came_from():
    down, up = nn.Conv2d(4, 3, 3, 2, 1), nn.ConvTranspose2d(3, 4, 3, 2, 1)
    for rows, columns in ((6, 5), (7, 8)):
        x = mc.ones(1, rows, columns, 4)
        assert up(down(x), output_size=x.shape).shape == x.shape


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, (4, 3)])
def test_with_tf_same_just_the_sizes_that_come_back_are_taken(kernel):
    stride, x = (2, 3), mc.tensor(RNG.standard_normal((1, 4, 2, 3)))
    up = nn.ConvTranspose2d(3, 2, kernel, stride, "tf_same", bias=False).to(np.float64)
    for rows, columns in itertools.product(range(6, 10), range(3, 8)):
        z = mc.tensor(RNG.standard_normal((1, rows, columns, 2)))
        down = nn.functional.conv2d(z, up.weight, None, stride, "tf_same")
        if down.shape == x.shape:  # <down(z), x> = <z, up(x)> is what makes it the transpose
            assert (down * x).sum().item() == pytest.approx((z * up(x, (rows, columns))).sum().item())
        else:
            with pytest.raises(ValueError, match=r"output_size must be from \(7, 4\) to \(8, 6\)"):
                up(x, (rows, columns))


@pytest.mark.parametrize("call, words", [
    (lambda: nn.ConvTranspose2d(4, 3, 3)(mc.ones(1, 5, 5, 4), [6]), "output_size must be 2 ints, or the shape"),
    (lambda: nn.ConvTranspose2d(4, 3, 3)(mc.ones(1, 5, 4), [7, 7]), r"x must have shape \(N, H, W, C_in\), got"),
    (lambda: nn.ConvTranspose1d(4, 3, 3)(mc.ones(1, 5, 4), [8]), r"must be from \(7,\) to \(7,\)"),
])
def test_wrong_output_sizes_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ------------------------------------------------------------------------------------------------------ the rest

def test_keras_kernels():
    """Keras keeps (k, in, out), a depthwise (k, C, multiplier), a transposed convolution's (kH, kW, out, in)."""
    one = nn.Conv1d(4, 8, 3, groups=4)
    assert one.state_dict(layout="keras")["weight"].shape == (3, 4, 2)
    kernel = RNG.standard_normal((3, 4, 2)).astype("f4")
    one.load_state_dict({"weight": kernel, "bias": np.zeros(8)}, layout="keras")
    assert np.array_equal(one.weight.numpy(), kernel.reshape(3, 1, 8))
    up = nn.ConvTranspose2d(4, 3, 2)
    assert up.state_dict(layout="keras")["weight"].shape == up.weight.shape == (2, 2, 3, 4)


@pytest.mark.parametrize("make, words", [
    (lambda: nn.Conv1d(3, 4, (1, 2)), r"Conv1d: kernel_size must be an int or a tuple of one, .* got \(1, 2\)"),
    (lambda: nn.Conv3d(3, 4, (1, 2)), r"Conv3d: kernel_size must be an int or three ints, at least 1, got \(1, 2\)"),
    (lambda: nn.Conv3d(3, 4, 3, padding=(1, 1)), "Conv3d: padding must be a non-negative int, three of them"),
    (lambda: nn.Conv1d(3, 4, 3, padding="full", stride=0), "Conv1d: stride must be"),
    (lambda: nn.Conv3d(3, 4, 3, groups=2), "in_channels 3 and out_channels 4 must divide into groups=2"),
    (lambda: nn.ConvTranspose2d(3, 4, 3, output_padding=-1), "ConvTranspose2d: output_padding must be"),
    (lambda: nn.ConvTranspose2d(3, 4, 3, 2, "tf_same", 1), "ConvTranspose2d: output_padding must be 0 with padding="),
    (lambda: nn.ConvTranspose1d(3, 0, 3), "ConvTranspose1d: out_channels must be a positive int"),
])
def test_wrong_arguments_are_refused_when_the_layer_is_made(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("layer, text", [
    (nn.Conv1d(3, 4, 3), "Conv1d(3, 4, kernel_size=(3,), stride=(1,))"),
    (nn.Conv3d(3, 4, 3, 2, 1), "Conv3d(3, 4, kernel_size=(3, 3, 3), stride=(2, 2, 2), padding=1)"),
    (nn.ConvTranspose2d(3, 4, 3, 2, 1, 1, bias=False),
     "ConvTranspose2d(3, 4, kernel_size=(3, 3), stride=(2, 2), padding=1, bias=False, output_padding=(1, 1))"),
])
def test_reprs(layer, text):
    assert repr(layer) == text
