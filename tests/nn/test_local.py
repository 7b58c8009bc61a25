"""Locally connected and tiled convolutions: what they have in common with a convolution, and their layers."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

F = nn.functional
RNG = np.random.default_rng(5)
X = RNG.standard_normal((2, 7, 6, 3))
MOVES = {"plain": {}, "strided": {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2)}}


def tensors(*arrays):
    return [mc.tensor(a, requires_grad=True) for a in arrays]


def everything(function, *arrays, **options):
    """The value, and the gradients of its weighted sum."""
    inputs = tensors(*arrays)
    y = function(*inputs, **options)
    (y * mc.tensor(np.cos(np.arange(y.numel())).reshape(y.shape))).sum().backward()
    return [y.numpy(), *(t.grad.numpy() for t in inputs)]


@pytest.mark.parametrize("options", MOVES.values(), ids=MOVES)
def test_one_tile_is_a_convolution(options):
    w, b = RNG.standard_normal((1, 1, 3, 2, 3, 4)), RNG.standard_normal(4)
    tiled, plain = everything(F.tiled_conv2d, X, w, b, **options), everything(F.conv2d, X, w[0, 0], b, **options)
    for got, want in zip(tiled, plain, strict=True):
        assert np.allclose(got.reshape(want.shape), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("tiles", [0, 3], ids=["just as many", "more"])
def test_as_many_tiles_as_places_are_locally_connected(options, tiles):
    rows, columns = F.conv2d(mc.tensor(X), mc.zeros(3, 2, 3, 4, dtype=np.float64), **options).shape[1:3]
    w = RNG.standard_normal((rows + tiles, columns + tiles, 3, 2, 3, 4))
    b = RNG.standard_normal((rows + tiles, columns + tiles, 4))
    tiled = everything(F.tiled_conv2d, X, w, b, **options)
    own = everything(F.locally_connected2d, X, w[:rows, :columns], b[:rows, :columns], **options)
    for got, want in zip(tiled, own, strict=True):
        used = got if got.ndim == 4 else got[:rows, :columns]  # kernels and biases beyond the picture have no gradient
        assert np.array_equal(used, want) and np.count_nonzero(got) == np.count_nonzero(want)


@pytest.mark.parametrize("options", MOVES.values(), ids=MOVES)
def test_the_same_kernel_at_every_place_is_a_convolution(options):
    w, b = RNG.standard_normal((3, 2, 3, 4)), RNG.standard_normal(4)
    y = F.conv2d(*tensors(X, w, b), **options)
    places = y.shape[1:3]
    own = F.locally_connected2d(*tensors(X, np.broadcast_to(w, (*places, *w.shape)), np.broadcast_to(b, (*places, 4))),
                                **options)
    assert np.allclose(own.numpy(), y.numpy(), rtol=0, atol=1e-12)


def test_two_kernels_in_turn_by_hand():
    x = mc.tensor(np.arange(1.0, 6.0).reshape(1, 1, 5, 1))
    y = F.tiled_conv2d(x, mc.tensor(np.array([1.0, 10.0]).reshape(1, 2, 1, 1, 1, 1)))
    assert y.numpy().ravel().tolist() == [1, 20, 3, 40, 5]


def test_a_batch_of_none():
    for function, shape in ((F.tiled_conv2d, (2, 2, 3, 2, 3, 4)), (F.locally_connected2d, (5, 5, 3, 2, 3, 4))):
        x, w = mc.zeros(0, 7, 6, 3, requires_grad=True), mc.ones(shape, requires_grad=True)
        y = function(x, w)
        y.sum().backward()
        assert y.shape == (0, 5, 5, 4) and x.grad.shape == x.shape and not w.grad.numpy().any()


# ------------------------------------------------------------------------------------------------------- layers

@pytest.mark.parametrize("layer, size, shapes", [
    (nn.LocallyConnected1d(3, 4, 3, 9, 2, 1), (9,), {"weight": (5, 3, 3, 4), "bias": (5, 4)}),
    (nn.LocallyConnected2d(3, 4, (3, 2), (7, 6), bias=False), (7, 6), {"weight": (5, 5, 3, 2, 3, 4)}),
    (nn.LocallyConnected2d(3, 4, 3, 6, padding="same"), (6, 6), {"weight": (6, 6, 3, 3, 3, 4), "bias": (6, 6, 4)}),
    (nn.TiledConv2d(3, 4, 3, (2, 3), padding=1), (7, 6), {"weight": (2, 3, 3, 3, 3, 4), "bias": (2, 3, 4)}),
    (nn.TiledConv2d(3, 4, 3, 2, 2, 1, 2, False), (7, 6), {"weight": (2, 2, 3, 3, 3, 4)}),
])
def test_layers(layer, size, shapes):
    assert {k: v.shape for k, v in layer.state_dict().items()} == shapes
    x = mc.tensor(RNG.standard_normal((2, *size, 3)), np.float32)
    names = {nn.LocallyConnected1d: "locally_connected1d", nn.LocallyConnected2d: "locally_connected2d"}
    function = getattr(F, names.get(type(layer), "tiled_conv2d"))
    y = layer(x)
    want = function(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation)
    assert np.array_equal(y.numpy(), want.numpy())
    bound = 1 / np.sqrt(np.prod(layer.weight.shape[-2 - len(size):-1]))
    for parameter in layer.parameters():
        assert 0.8 * bound < np.abs(parameter.numpy()).max() <= bound * (1 + 1e-6)


def test_a_flatten_behind_one_is_reordered_for_pytorch():
    layer = nn.LocallyConnected2d(3, 4, 3, (5, 4))
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(3 * 2 * 4, 2))
    state = model.state_dict(layout="torch")
    assert np.array_equal(state["0.weight"], layer.weight.numpy())
    assert np.array_equal(state["2.weight"].T.reshape(4, 6, 2), model[2].weight.numpy().reshape(6, 4, 2).swapaxes(0, 1))


@pytest.mark.parametrize("layer, text", [
    (nn.LocallyConnected1d(3, 4, 3, 9, 2, 1), "LocallyConnected1d(3, 4, kernel_size=(3,), stride=(2,), padding=1, "
                                              "input_size=(9,))"),
    (nn.TiledConv2d(3, 4, 3, 2, dilation=2, bias=False),
     "TiledConv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), dilation=(2, 2), bias=False, tiles=(2, 2))"),
])
def test_reprs(layer, text):
    assert repr(layer) == text


# ------------------------------------------------------------------------------------------------------ refusals

def ones(*shape):
    return mc.ones(shape)


@pytest.mark.parametrize("call, words", [
    (lambda: nn.LocallyConnected2d(3, 4, 5, 4), "LocallyConnected2d: a kernel of 5 .* padded input of 4 along H"),
    (lambda: nn.LocallyConnected2d(3, 4, 3, (6, 0)), "LocallyConnected2d: input_size must be .* at least 1"),
    (lambda: nn.LocallyConnected1d(0, 4, 3, 6), "LocallyConnected1d: in_channels must be a positive int"),
    (lambda: nn.TiledConv2d(3, 4, 3, 0), "TiledConv2d: tiles must be an int or a pair of ints, at least 1, got 0"),
    (lambda: nn.TiledConv2d(3, 4, 3, 2, padding=-1), "TiledConv2d: padding must be"),
    (lambda: nn.LocallyConnected2d(3, 4, 3, 6)(ones(1, 6, 5, 3)), r"x has \(H, W\) = \(6, 5\), expected \(6, 6\)"),
    (lambda: F.locally_connected2d(ones(1, 6, 5, 3), ones(4, 4, 3, 3, 3, 2)),
     r"locally_connected2d: weight of shape .* has kernels for \(4, 4\) places, expected \(4, 3\)"),
    (lambda: F.locally_connected2d(ones(1, 6, 5, 3), ones(4, 3, 3, 3, 3, 2), ones(2)), "bias has shape"),
    (lambda: F.locally_connected1d(ones(1, 6, 3), ones(4, 3, 2, 2)), "x has 3 channels, .* expects 2"),
    (lambda: F.locally_connected1d(ones(1, 6, 3, 1), ones(4, 3, 3, 2)), r"x must have shape \(N, L, C_in\)"),
    (lambda: F.tiled_conv2d(ones(1, 6, 5, 3), ones(3, 3, 3, 2)), r"weight must have shape \(t_h, t_w, kH, kW, C_in, C"),
    (lambda: F.tiled_conv2d(ones(1, 6, 5, 3), ones(0, 2, 3, 3, 3, 2)), "tiled_conv2d: weight .* holds no kernels"),
    (lambda: F.tiled_conv2d(ones(1, 6, 5, 3), ones(2, 2, 3, 3, 3, 2), ones(2, 1, 2)), "tiled_conv2d: bias has shape"),
    (lambda: F.tiled_conv2d(ones(1, 6, 5, 3), ones(2, 2, 7, 3, 3, 2)), "tiled_conv2d: a kernel of 7 .* of 6 along H"),
])
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_dtypes_must_agree():
    with pytest.raises(TypeError, match="tiled_conv2d: weight is float64, but x is float32"):
        F.tiled_conv2d(ones(1, 6, 5, 3), mc.ones(2, 2, 3, 3, 3, 2, dtype=np.float64))
