"""Pooling, normalisation and resizing as layers: what they compute against PyTorch's, their weights, their refusals."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

RNG = np.random.default_rng(6)
X = {axes: RNG.standard_normal((2, *(9, 8, 7)[:axes], 4)).astype("f4") for axes in (1, 2, 3)}


def first(array):
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def last(array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def close(ours, theirs, tolerance=2e-5):
    np.testing.assert_allclose(ours.numpy(), last(theirs.detach().numpy()), rtol=tolerance, atol=tolerance)


LAYERS = [(f"{kind}{axes}d", axes, options) for axes in (1, 2, 3) for kind, options in (
    ("MaxPool", {"kernel_size": 2}), ("MaxPool", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("MaxPool", {"kernel_size": 2, "stride": 1, "dilation": 2}), ("AvgPool", {"kernel_size": 2}),
    ("AvgPool", {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    ("AdaptiveAvgPool", {"output_size": 3}), ("AdaptiveMaxPool", {"output_size": 3}),
)] + [
    ("AvgPool3d", 3, {"kernel_size": 2, "divisor_override": 3}), ("LPPool1d", 1, {"norm_type": 2, "kernel_size": 3}),
    ("LPPool2d", 2, {"norm_type": 2, "kernel_size": (3, 2), "stride": 2, "ceil_mode": True}),
    ("AdaptiveAvgPool2d", 2, {"output_size": (None, 3)}), ("PixelShuffle", 2, {"upscale_factor": 2}),
    ("PixelUnshuffle", 2, {"downscale_factor": 1}), ("Upsample", 2, {"scale_factor": 2}),
    ("Upsample", 2, {"size": (5, 12), "mode": "bilinear", "align_corners": True}),
    ("Upsample", 1, {"scale_factor": 1.5, "mode": "linear"}), ("Upsample", 3, {"size": 5, "mode": "trilinear"}),
    ("LocalResponseNorm", 2, {"size": 3, "alpha": 0.5, "beta": 0.6, "k": 2.0}),
    ("InstanceNorm2d", 2, {"num_features": 4, "eps": 0.01}),
]  # fmt: skip


@pytest.mark.parametrize("name, axes, options", LAYERS, ids=[f"{n}-{o}".replace(" ", "") for n, _, o in LAYERS])
def test_layers_without_weights(name, axes, options):
    torch = pytest.importorskip("torch")
    layer = getattr(nn, name)(**options)
    close(layer(mc.tensor(X[axes])), getattr(torch.nn, name)(**options)(torch.tensor(first(X[axes]))))
    assert name in repr(layer) and not list(layer.parameters())


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_unpooling_layers(axes):
    torch = pytest.importorskip("torch")
    size = X[axes].shape[1:-1]
    y, indices = getattr(nn, f"MaxPool{axes}d")(2, return_indices=True)(mc.tensor(X[axes]))
    theirs = getattr(torch.nn, f"MaxPool{axes}d")(2, return_indices=True)(torch.tensor(first(X[axes])))
    close(getattr(nn, f"MaxUnpool{axes}d")(2)(y, indices, output_size=size),
          getattr(torch.nn, f"MaxUnpool{axes}d")(2)(*theirs, output_size=size))


@pytest.mark.parametrize("name, arguments, shape", [
    ("LayerNorm", ((4,),), (2, 5, 4)), ("LayerNorm", (4, 1e-3), (3, 4)), ("GroupNorm", (2, 4), (2, 5, 3, 4)),
    ("GroupNorm", (4, 4, 1e-3), (2, 6, 4)), ("InstanceNorm1d", (4, 1e-3, 0.1, True), (2, 6, 4)),
    ("InstanceNorm2d", (4, 1e-3, 0.3, True, True), (3, 5, 3, 4)),
    ("InstanceNorm3d", (4, 1e-3, 0.1, True), (2, 3, 2, 4, 4)),
    ("BatchNorm3d", (4, 1e-3), (2, 3, 2, 4, 4)),
])  # fmt: skip
def test_norms_with_pytorchs_weights(name, arguments, shape):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, name)(*arguments)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.tensor(RNG.standard_normal(tuple(parameter.shape))))
    ours = getattr(nn, name)(*arguments)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()}, layout="torch")
    for training in (True, True, False):
        ours.train(training), theirs.train(training)
        x = RNG.standard_normal(shape).astype("f4") * 2 + 1
        if name == "LayerNorm":
            np.testing.assert_allclose(ours(mc.tensor(x)).numpy(), theirs(torch.tensor(x)).detach().numpy(), atol=2e-5)
        else:
            close(ours(mc.tensor(x)), theirs(torch.tensor(first(x))))
    state = ours.state_dict(layout="torch")
    for key, value in theirs.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_allclose(state[key], value.numpy(), rtol=1e-5, atol=1e-6)


def test_layer_norm_of_whole_pictures_with_pytorchs_weights():
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.LayerNorm((4, 3, 2)), nn.LayerNorm((3, 2, 4))
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(RNG.standard_normal((4, 3, 2))))
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()}, layout="torch")
    x = RNG.standard_normal((5, 3, 2, 4)).astype("f4")
    close(ours(mc.tensor(x)), theirs(torch.tensor(first(x))))
    np.testing.assert_array_equal(ours.state_dict(layout="torch")["weight"], theirs.weight.detach().numpy())


def test_what_stands_behind_these_layers_is_reordered_for_a_flatten():
    torch = pytest.importorskip("torch")

    def made(library):
        n = library
        return n.Sequential(
            n.Conv2d(3, 8, 3), n.GroupNorm(2, 8), n.PixelShuffle(2), n.InstanceNorm2d(2), n.AvgPool2d(2),
            n.AdaptiveMaxPool2d(3), n.LocalResponseNorm(2), n.Flatten(), n.LayerNorm(18), n.Linear(18, 5))

    theirs, ours = made(torch.nn), made(nn)
    with torch.no_grad():
        theirs[8].weight.copy_(torch.tensor(RNG.standard_normal(18)))
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()}, layout="torch")
    x = RNG.standard_normal((2, 9, 8, 3)).astype("f4")
    np.testing.assert_allclose(ours(mc.tensor(x)).numpy(), theirs(torch.tensor(first(x))).detach().numpy(), atol=1e-4)


BEHIND_A_FLATTEN = {
    "one group": lambda n: n.Sequential(n.Conv2d(1, 2, 1), n.Flatten(), n.GroupNorm(1, 30), n.Linear(30, 4)),
    "one group without weights": lambda n: n.Sequential(
        n.Conv2d(1, 2, 1), n.Flatten(), n.GroupNorm(1, 30, affine=False), n.Linear(30, 4)),
    "groups of a Linear": lambda n: n.Sequential(
        n.Conv2d(1, 2, 1), n.Flatten(), n.Linear(30, 6), n.GroupNorm(2, 6), n.Linear(6, 4)),
    "groups of channels": lambda n: n.Sequential(
        n.Conv2d(1, 4, 1), n.GroupNorm(2, 4), n.AdaptiveAvgPool2d(1), n.Flatten(), n.GroupNorm(2, 4), n.Linear(4, 4)),
    "upsampled": lambda n: n.Sequential(
        n.Conv2d(1, 2, 1), n.AdaptiveAvgPool2d(1), n.Upsample(size=2), n.Flatten(), n.Linear(8, 4)),
    "pooled to more": lambda n: n.Sequential(
        n.Conv2d(1, 2, 1), n.AdaptiveAvgPool2d(1), n.AdaptiveAvgPool2d((2, 3)), n.Flatten(), n.Linear(12, 4)),
    "padded to more": lambda n: n.Sequential(
        n.Conv2d(1, 2, 1), n.AdaptiveAvgPool2d(1), n.AvgPool2d(2, 1, 1), n.Flatten(), n.Linear(8, 4)),
    "one place still": lambda n: n.Sequential(
        n.Conv2d(1, 6, 1), n.AdaptiveMaxPool2d(1), n.AvgPool2d(1), n.Flatten(), n.Linear(6, 4)),
}  # fmt: skip


@pytest.mark.parametrize("net", BEHIND_A_FLATTEN)
def test_what_a_flatten_feeds_is_reordered(net):
    torch = pytest.importorskip("torch")
    theirs, ours = BEHIND_A_FLATTEN[net](torch.nn), BEHIND_A_FLATTEN[net](nn)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.tensor(RNG.standard_normal(tuple(parameter.shape))))
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state, layout="torch")
    x = RNG.standard_normal((2, 3, 5, 1)).astype("f4")
    np.testing.assert_allclose(ours(mc.tensor(x)).numpy(), theirs(torch.tensor(first(x))).detach().numpy(), atol=1e-4)
    back = ours.state_dict(layout="torch")
    assert all(np.array_equal(back[key], value) for key, value in state.items())


def test_a_global_pool_made_larger_is_reordered():
    torch = pytest.importorskip("torch")
    n = torch.nn
    theirs = n.Sequential(n.Conv2d(1, 2, 1), n.AdaptiveMaxPool2d(1), n.Upsample(size=2), n.Flatten(), n.Linear(8, 4))
    ours = nn.Sequential(nn.Conv2d(1, 2, 1), nn.GlobalMaxPool2d(), nn.Upsample(size=2), nn.Flatten(), nn.Linear(8, 4))
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()}, layout="torch")
    x = RNG.standard_normal((2, 3, 5, 1)).astype("f4")
    np.testing.assert_allclose(ours(mc.tensor(x)).numpy(), theirs(torch.tensor(first(x))).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
def test_groups_of_a_flattened_picture_cannot_be_converted(affine):
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.GroupNorm(2, 8, affine=affine), nn.Linear(8, 1))
    with pytest.raises(ValueError, match="2 groups takes other ones"):
        net.state_dict(layout="torch")
    with pytest.raises(ValueError, match="2 groups takes other ones"):
        net.load_state_dict(net.state_dict(), layout="torch", strict=False)
    with pytest.raises(ValueError, match="2 groups takes other ones"):
        net.state_dict(layout="torch", flatten={"2": 2})
    net.load_state_dict(net.state_dict())
    assert net.state_dict(layout="torch", flatten={"2": None})  # as the caller says


def test_a_pool_to_one_place_needs_no_reordering():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    net.load_state_dict(net.state_dict(layout="torch"), layout="torch")


def test_weighted_pooling_layer():
    weights = nn.functional.gaussian_weights(3)
    layer = nn.WeightedAvgPool2d(weights, stride=2)
    expected = nn.functional.weighted_avg_pool2d(mc.tensor(X[2]), weights, 2)
    np.testing.assert_array_equal(layer(mc.tensor(X[2])).numpy(), expected.numpy())
    assert set(layer.state_dict()) == {"weights"} and not list(layer.parameters()) and "(3, 3)" in repr(layer)
    for table in ([[1.0, 2.0]], [[1, 2]], np.array([[1.0, 2.0]]), mc.tensor([[1, 2]])):
        layer = nn.WeightedAvgPool2d(table)
        assert layer.weights.dtype == np.float32 and layer(mc.tensor(X[2])).shape == (2, 9, 4, 4)


def test_pyramid_layer_lets_a_classifier_take_any_picture():
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.SpatialPyramidPool2d((3, 1)), nn.Linear(60, 2))
    assert {net(mc.ones((2, h, w, 3))).shape for h, w in ((3, 3), (20, 11), (5, 64))} == {(2, 2)}


def test_starting_weights_and_defaults():
    for layer in (nn.LayerNorm((3, 4)), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.BatchNorm3d(4)):
        layer.weight.fill_(7) if not layer.weight.requires_grad else layer.weight.detach().fill_(7)
        layer.reset_parameters()
        assert (layer.weight.numpy() == 1).all() and (layer.bias.numpy() == 0).all()
    assert nn.LayerNorm(3, bias=False).bias is None and nn.LayerNorm(3, elementwise_affine=False).weight is None
    assert nn.GroupNorm(2, 4, affine=False).weight is None and nn.InstanceNorm2d(4).weight is None


@pytest.mark.parametrize("make, match", [
    (lambda: nn.MaxPool1d(0), "MaxPool1d: kernel_size"), (lambda: nn.MaxPool3d((2, 2)), "MaxPool3d: kernel_size"),
    (lambda: nn.MaxPool3d(2, dilation=0), "MaxPool3d: dilation"), (lambda: nn.AvgPool1d(2, 0), "AvgPool1d: stride"),
    (lambda: nn.AvgPool3d(2, divisor_override=0), "AvgPool3d: divisor_override"),
    (lambda: nn.MaxUnpool2d(2, padding=-1), "MaxUnpool2d: padding"), (lambda: nn.LPPool2d(0, 2), "LPPool2d: norm_type"),
    (lambda: nn.LPPool1d(float("nan"), 2), "LPPool1d: norm_type"),
    (lambda: nn.LPPool2d(float("inf"), 2), "LPPool2d: norm_type"),
    (lambda: nn.WeightedAvgPool2d([1.0, 2.0]), "WeightedAvgPool2d: weights must have shape"),
    (lambda: nn.WeightedAvgPool2d([[0, 0]]), "WeightedAvgPool2d: weights sum to 0"),
    (lambda: nn.WeightedAvgPool2d([[1, -1]]), "WeightedAvgPool2d: weights sum to 0"),
    (lambda: nn.BatchNorm2d(4, eps=float("nan")), "BatchNorm2d: eps"), (lambda: nn.BatchNorm1d(4, True), "1d: eps"),
    (lambda: nn.BatchNorm2d(4, momentum=True), "BatchNorm2d: momentum"),
    (lambda: nn.GroupNorm(2, 4, eps=float("nan")), "GroupNorm: eps"),
    (lambda: nn.SpatialPyramidPool2d([2, True]), "SpatialPyramidPool2d: levels"),
    (lambda: nn.SpatialPyramidPool2d([]), "SpatialPyramidPool2d: levels"),
    (lambda: nn.AdaptiveAvgPool2d((1, 2, 3)), "AdaptiveAvgPool2d: output_size"),
    (lambda: nn.AdaptiveMaxPool1d(-1), "AdaptiveMaxPool1d: output_size"),
    (lambda: nn.LayerNorm(()), "LayerNorm: normalized_shape"), (lambda: nn.LayerNorm(4, eps=-1), "LayerNorm: eps"),
    (lambda: nn.GroupNorm(3, 4), "GroupNorm: num_groups"),
    (lambda: nn.InstanceNorm1d(0), "InstanceNorm1d: num_features"),
    (lambda: nn.LocalResponseNorm(0), "LocalResponseNorm: size"), (lambda: nn.PixelShuffle(0), "PixelShuffle: upscale"),
    (lambda: nn.LayerNorm(None), "LayerNorm: normalized_shape"),
    (lambda: nn.LayerNorm((4.0,)), "LayerNorm: normalized_shape"),
    (lambda: nn.LayerNorm((4, 0)), "LayerNorm: normalized_shape must be an int or several, at least 1"),
    (lambda: nn.Upsample(scale_factor=-2), "Upsample: scale_factor"), (lambda: nn.Upsample("a"), "Upsample: size"),
    (lambda: nn.Upsample((2, 2), mode="linear"), "Upsample: size must be one positive number or 1 of them"),
    (lambda: nn.Upsample((2, 2, 2, 2)), "Upsample: size must be one positive number or 1 or 2 or 3 of them"),
    (lambda: nn.Upsample(2, mode="nearest", align_corners=True), "Upsample: align_corners is for linear"),
    (lambda: nn.Upsample(2, recompute_scale_factor=True), "Upsample: recompute_scale_factor is for scale_factor"),
    (lambda: nn.Upsample(), "Upsample: one of size"), (lambda: nn.Upsample(size=3, mode="foo"), "Upsample: mode"),
])  # fmt: skip
def test_what_layers_refuse_to_be(make, match):
    with pytest.raises((ValueError, TypeError), match=match):
        make()


def test_sizes_of_a_layer_norm_may_be_numpys():
    for size in (np.int64(4), [np.int32(4)], np.array([4])):
        assert nn.LayerNorm(size).normalized_shape == (4,)
        y = nn.functional.layer_norm(mc.tensor([[1.0, 1.0, 3.0, 3.0]]), size, eps=0.0)
        assert y.tolist() == [[-1, -1, 1, 1]]


@pytest.mark.parametrize("layer, shape, match", [
    (nn.BatchNorm3d(4), (2, 3, 3, 4), "BatchNorm3d: x must"),
    (nn.InstanceNorm1d(4), (2, 3, 3, 4), "InstanceNorm1d: x must"),
    (nn.InstanceNorm2d(5), (2, 3, 3, 4), "InstanceNorm2d: x must"),
    (nn.GroupNorm(5, 10), (2, 3, 3, 5), "GroupNorm: x must"),
    (nn.MaxPool1d(2), (2, 3, 3, 4), "max_pool1d: x must"), (nn.PixelShuffle(2), (2, 4), "pixel_shuffle: x must"),
])  # fmt: skip
def test_what_layers_refuse_to_take(layer, shape, match):
    with pytest.raises(ValueError, match=match):
        layer(mc.ones(shape))
