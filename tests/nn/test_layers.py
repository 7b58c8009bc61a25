"""Each layer: what it computes against PyTorch with the same weights, its repr, its refusals."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

RNG = np.random.default_rng(3)
PICTURE = RNG.standard_normal((2, 6, 5, 4)).astype(np.float32)  # (N, H, W, C)
ROWS = RNG.standard_normal((5, 4)).astype(np.float32)


def first(array):
    """Our axes to PyTorch's."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def last(array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def close(ours, theirs, tolerance=1e-5):
    array = ours.numpy() if isinstance(ours, mc.Tensor) else ours
    np.testing.assert_allclose(array, theirs, rtol=tolerance, atol=tolerance)


# ------------------------------------------------------------------------------------------ against PyTorch

CONVOLUTIONS = {
    "plain": ((4, 6, 3), {}),
    "strided": ((4, 6, (3, 2), (2, 1), (1, 0)), {}),
    "dilated": ((4, 6, 3), {"dilation": 2, "padding": "same"}),
    "grouped": ((4, 6, 3), {"groups": 2, "bias": False}),
    "depthwise": ((4, 8, 3), {"groups": 4, "padding": 1}),
    "valid": ((4, 2, 1), {"padding": "valid"}),
}


@pytest.mark.parametrize("arguments, options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_conv2d_with_pytorchs_weights(arguments, options):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Conv2d(*arguments, **options)
    ours = nn.Conv2d(*arguments, **options)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()}, layout="torch")
    close(ours(mc.tensor(PICTURE)), last(theirs(torch.tensor(first(PICTURE))).detach().numpy()))


@pytest.mark.parametrize("name, options", [
    ("MaxPool2d", {"kernel_size": 2}), ("MaxPool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("MaxPool2d", {"kernel_size": 2, "stride": 1, "dilation": 2}), ("AvgPool2d", {"kernel_size": (2, 3)}),
    ("AvgPool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    ("AvgPool2d", {"kernel_size": 2, "divisor_override": 3, "ceil_mode": True}),
    ("ReLU", {}), ("ReLU6", {}), ("LeakyReLU", {"negative_slope": 0.2}), ("ELU", {"alpha": 0.5}), ("GELU", {}),
    ("SiLU", {}), ("Hardswish", {}), ("Hardsigmoid", {}), ("Sigmoid", {}), ("Tanh", {}),
    ("Softplus", {"beta": 2.0, "threshold": 3.0}), ("Identity", {}),
])
def test_picture_layers(name, options):
    torch = pytest.importorskip("torch")
    x = PICTURE * 4
    theirs = getattr(torch.nn, name)(**options)(torch.tensor(first(x)))
    close(getattr(nn, name)(**options)(mc.tensor(x)), last(theirs.numpy()))


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
def test_softmax_layers(name):
    torch = pytest.importorskip("torch")
    close(getattr(nn, name)()(mc.tensor(ROWS)), getattr(torch.nn, name)(dim=-1)(torch.tensor(ROWS)).numpy())
    close(getattr(nn, name)(dim=0)(mc.tensor(ROWS)), getattr(torch.nn, name)(dim=0)(torch.tensor(ROWS)).numpy())


def test_defaults_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in ("LeakyReLU", "ELU", "Softplus", "Dropout", "Dropout2d", "Flatten"):
        ours, theirs = getattr(nn, name)(), getattr(torch.nn, name)()
        shared = [k for k in vars(ours) if k in vars(theirs) and not k.startswith("_")]
        assert len(shared) > 1 and all(getattr(ours, k) == getattr(theirs, k) for k in shared), name
    ours, theirs = nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    assert (ours.eps, ours.momentum, ours.affine) == (theirs.eps, theirs.momentum, theirs.affine)


LABELS = np.array([1, 0, 3, 2, 1])
CHANCES = RNG.random((5, 4)).astype(np.float32)
WEIGHT = np.array([1, 2, 0.5, 3], np.float32)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name, target, options", [
    ("CrossEntropyLoss", LABELS, {}), ("CrossEntropyLoss", LABELS, {"weight": WEIGHT, "label_smoothing": 0.1}),
    ("CrossEntropyLoss", LABELS, {"ignore_index": 1}), ("NLLLoss", LABELS, {"weight": WEIGHT, "ignore_index": 0}),
    ("BCELoss", CHANCES, {"weight": WEIGHT}), ("BCEWithLogitsLoss", CHANCES, {"pos_weight": WEIGHT}),
    ("BCEWithLogitsLoss", CHANCES, {"weight": WEIGHT}), ("MSELoss", CHANCES, {}), ("L1Loss", CHANCES, {}),
    ("SmoothL1Loss", CHANCES, {"beta": 0.5}), ("MultiMarginLoss", LABELS, {"p": 2, "margin": 0.5, "weight": WEIGHT}),
])
def test_losses(name, target, options, reduction):
    torch = pytest.importorskip("torch")
    x = CHANCES[::-1].copy() if name == "BCELoss" else ROWS
    values = {}
    for who, losses, make in (("ours", nn, mc.tensor), ("theirs", torch.nn, torch.tensor)):
        given = {k: make(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        values[who] = getattr(losses, name)(**given, reduction=reduction)(make(x), make(target))
    close(values["ours"], values["theirs"].numpy())


@pytest.mark.parametrize("name, shape", [
    ("BatchNorm2d", (4, 3, 5, 6)), ("BatchNorm1d", (7, 6)), ("BatchNorm1d", (4, 5, 6))])
@pytest.mark.parametrize("options", [
    {}, {"eps": 0.1, "momentum": 0.3}, {"affine": False}, {"track_running_stats": False}], ids=str)
def test_batch_norm_over_several_training_steps_and_after(name, shape, options):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(6, **options), getattr(torch.nn, name)(6, **options)
    into = first if len(shape) > 2 else np.copy
    back = last if len(shape) > 2 else np.copy
    if ours.weight is not None:
        weights = {"weight": RNG.standard_normal(6).astype("f4"), "bias": RNG.standard_normal(6).astype("f4")}
        ours.load_state_dict(weights, strict=False)
        theirs.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=False)
    for step in range(4):
        x = (RNG.standard_normal(shape) * (step + 1) + step).astype("f4")
        close(ours(mc.tensor(x)), back(theirs(torch.tensor(into(x))).detach().numpy()), 1e-4)
    for own, their in zip(ours.buffers(), theirs.buffers(), strict=False):  # PyTorch's last one is its counter
        close(own, their.numpy())
    ours.eval(), theirs.eval()
    close(ours(mc.tensor(x)), back(theirs(torch.tensor(into(x))).detach().numpy()), 1e-4)


# ------------------------------------------------------------------------------------------------ worked by hand

def test_linear_by_hand():
    layer = nn.Linear(2, 3)
    layer.load_state_dict({"weight": [[1, 2, 3], [4, 5, 6]], "bias": [10, 20, 30]})
    assert layer(mc.tensor([[1.0, 1.0], [2.0, 0.0]])).tolist() == [[15, 27, 39], [12, 24, 36]]
    assert layer(mc.ones(2, 5, 2)).shape == (2, 5, 3)
    assert nn.Linear(2, 3, bias=False).bias is None


def test_conv2d_by_hand():
    layer = nn.Conv2d(1, 1, 2, padding=((1, 0), (0, 0)))
    layer.load_state_dict({"weight": np.array([1, 2, 3, 4]).reshape(2, 2, 1, 1), "bias": [0.5]})
    x = mc.tensor(np.arange(1, 5, dtype="f4").reshape(1, 2, 2, 1))  # 1 2 / 3 4, below a row of zeros
    assert layer(x).tolist() == [[[[3 * 1 + 4 * 2 + 0.5]], [[1 + 2 * 2 + 3 * 3 + 4 * 4 + 0.5]]]]


@pytest.mark.parametrize("padding, stride, size", [
    ("same", 1, (6, 5)), ("tf_same", 2, (3, 3)), ("valid", 1, (4, 3)), ("full", 1, (8, 7)),
    (((1, 2), (3, 0)), 1, (7, 6))])
def test_conv2d_paddings(padding, stride, size):
    assert nn.Conv2d(4, 2, 3, stride, padding)(mc.tensor(PICTURE)).shape == (2, *size, 2)


def test_separable_conv2d_is_depthwise_then_pointwise():
    layer = nn.SeparableConv2d(4, 5, 3, stride=2, padding=1, depth_multiplier=2)
    assert {k: v.shape for k, v in layer.state_dict().items()} == {
        "depthwise.weight": (3, 3, 1, 8), "pointwise.weight": (1, 1, 8, 5), "pointwise.bias": (5,)}
    y = layer(mc.tensor(PICTURE))
    assert y.shape == (2, 3, 3, 5)
    state, x = layer.state_dict(), np.pad(PICTURE.astype("f8"), ((0, 0), (1, 1), (1, 1), (0, 0)))
    window = x[1, 2:5, 2:5]  # what the output at row 1, column 1 of picture 1 sees
    inner = np.array([(window[:, :, k // 2] * state["depthwise.weight"][:, :, 0, k]).sum() for k in range(8)])
    close(y.numpy()[1, 1, 1], inner @ state["pointwise.weight"][0, 0] + state["pointwise.bias"])
    assert nn.SeparableConv2d(4, 5, 3, bias=False).pointwise.bias is None


def test_global_pools_and_flatten():
    x = mc.tensor(PICTURE)
    close(nn.GlobalAvgPool2d()(x), PICTURE.mean((1, 2), keepdims=True))
    close(nn.GlobalMaxPool2d()(x), PICTURE.max((1, 2), keepdims=True))
    close(nn.Flatten()(x), PICTURE.reshape(2, -1))
    assert nn.Flatten(0, 1)(x).shape == (12, 5, 4)


def test_max_pool_returns_indices():
    y, index = nn.MaxPool2d(2, return_indices=True)(mc.tensor(PICTURE))
    plane = PICTURE.reshape(2, 30, 4)
    picked = np.take_along_axis(plane, index.numpy().reshape(2, -1, 4), 1)
    np.testing.assert_array_equal(picked.reshape(y.shape), y.numpy())


@pytest.mark.parametrize("layer", [nn.Dropout(0.4), nn.Dropout2d(0.4)], ids=["elements", "channels"])
def test_dropout_works_in_training_only(layer):
    mc.manual_seed(1)
    x = mc.ones(8, 5, 5, 16)
    y = layer(x).numpy()
    assert set(np.unique(y)) == {0, np.float32(1 / 0.6)} and y.mean() == pytest.approx(1, abs=0.15)
    whole = (y == y[:, :1, :1]).all()
    assert whole == isinstance(layer, nn.Dropout2d)
    assert layer.eval()(x) is x
    layer.train()


def test_batch_norm_by_hand():
    layer = nn.BatchNorm1d(1, eps=0, momentum=0.5)
    y = layer(mc.tensor([[1.0], [3.0]]))  # mean 2, variance 1, without bias 2
    assert y.tolist() == [[-1], [1]] and layer.running_mean.item() == 1 and layer.running_var.item() == 1.5
    assert layer.eval()(mc.tensor([[1.0]])).item() == 0
    layer.reset_parameters()
    assert (layer.running_mean.item(), layer.running_var.item()) == (0, 1)


def test_loss_weights_are_buffers():
    loss = nn.CrossEntropyLoss(mc.tensor(WEIGHT))
    assert [name for name, _ in loss.named_buffers()] == ["weight"] and not list(loss.parameters())


def test_a_training_step_lowers_the_loss():
    mc.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.Flatten(),
                          nn.Linear(3 * 2 * 8, 4))
    optimizer = mc.optim.SGD(model.parameters(), lr=0.1)
    x, t, loss = mc.tensor(PICTURE), mc.tensor([1, 3]), nn.CrossEntropyLoss()
    before = loss(model(x), t)
    before.backward()
    optimizer.step()
    assert loss(model(x), t).item() < before.item()


# ------------------------------------------------------------------------------------------------------- refusals

@pytest.mark.parametrize("make, words", [
    (lambda: nn.Linear(0, 3), "Linear: in_features must be a positive int, got 0"),
    (lambda: nn.Linear(3, 2.5), "Linear: out_features must be a positive int, got 2.5"),
    (lambda: nn.Conv2d(3, 4, 0), "Conv2d: kernel_size must be an int or a pair of ints, at least 1, got 0"),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), "in_channels 3 and out_channels 4 must divide into groups=2"),
    (lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same"), "Conv2d: padding='same' needs stride 1"),
    (lambda: nn.Conv2d(3, 4, 3, padding="some"), "Conv2d: padding must be .* got 'some'"),
    (lambda: nn.Conv2d(3, 4, 3, padding=-1), "Conv2d: padding must be a non-negative int"),
    (lambda: nn.SeparableConv2d(3, 4, 3, depth_multiplier=0), "depth_multiplier must be a positive int, got 0"),
    (lambda: nn.MaxPool2d(0), "MaxPool2d: kernel_size"),
    (lambda: nn.AvgPool2d(2, stride=0), "AvgPool2d: stride"),
    (lambda: nn.BatchNorm2d(0), "BatchNorm2d: num_features must be a positive int, got 0"),
    (lambda: nn.BatchNorm2d(3, momentum=None), "momentum must be a number from 0 to 1, got None"),
    (lambda: nn.BatchNorm1d(3, eps=-1), "BatchNorm1d: eps must be a number that is not negative, got -1"),
    (lambda: nn.Dropout(1.5), "Dropout: p must be a probability from 0 to 1, got 1.5"),
    (lambda: nn.MSELoss(reduction="max"), "MSELoss: reduction must be 'mean', 'sum' or 'none', got 'max'"),
    (lambda: nn.SmoothL1Loss(beta=-1), "SmoothL1Loss: beta must not be negative"),
    (lambda: nn.MultiMarginLoss(p=3), "MultiMarginLoss: p must be 1 or 2, got 3"),
])
def test_wrong_arguments_are_refused_when_the_layer_is_made(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_softmax_dim_must_be_an_int():
    with pytest.raises(TypeError, match="Softmax: dim must be an int, got None"):
        nn.Softmax(dim=None)


@pytest.mark.parametrize("layer, shape, words", [
    (nn.BatchNorm2d(4), (3, 4), r"BatchNorm2d: x must have shape \(N, H, W, C\), got \(3, 4\)"),
    (nn.BatchNorm1d(4), (1, 2, 3, 4), r"BatchNorm1d: x must have shape \(N, C\) or \(N, L, C\), got \(1, 2, 3, 4\)"),
    (nn.BatchNorm1d(5), (3, 4), r"running_mean has shape \(5,\), expected \(4,\)"),
    (nn.BatchNorm1d(4), (1, 4), "at least two values a channel"),
    (nn.Conv2d(3, 4, 3), (1, 6, 5, 4), "x has 4 channels, .* expects 3"),
    (nn.Linear(3, 4), (2, 5), "linear: x"),
])
def test_wrong_inputs_are_refused(layer, shape, words):
    with pytest.raises(ValueError, match=words):
        layer(mc.ones(shape))


@pytest.mark.parametrize("layer, text", [
    (nn.Conv2d(3, 4, 3, 2, 1, 1, 1, False), "Conv2d(3, 4, kernel_size=(3, 3), stride=(2, 2), padding=1, bias=False)"),
    (nn.Conv2d(4, 4, 3, dilation=2, groups=4),
     "Conv2d(4, 4, kernel_size=(3, 3), stride=(1, 1), dilation=(2, 2), groups=4)"),
    (nn.MaxPool2d(2), "MaxPool2d(kernel_size=2, stride=2, padding=0, ceil_mode=False, dilation=1)"),
    (nn.Dropout(0.1), "Dropout(p=0.1)"), (nn.Softmax(), "Softmax(dim=-1)"), (nn.ELU(), "ELU(alpha=1.0)"),
    (nn.LeakyReLU(), "LeakyReLU(negative_slope=0.01)"), (nn.Softplus(), "Softplus(beta=1.0, threshold=20.0)"),
    (nn.BatchNorm2d(3), "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"),
])
def test_reprs(layer, text):
    assert repr(layer) == text
