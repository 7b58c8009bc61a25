"""The VGGs: layers and parameters counted by hand."""

import pytest

import minicnn as mc
from minicnn import nn
from minicnn.nn.layout import flatten_orders

COUNTS = {
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters(name, undrawn):
    model = mc.models.create(name)
    assert sum(p.numel() for p in model.parameters()) == COUNTS[name]
    assert model.input_shape == (224, 224, 3)


@pytest.mark.parametrize("name, places", [
    ("vgg16", [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]),
    ("vgg16_bn", [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]),
])
def test_layers_stand_where_torchvision_has_them(name, places, undrawn):
    model = mc.models.create(name)
    kinds = [type(layer).__name__ for layer in model.features]
    assert [place for place, kind in enumerate(kinds) if kind == "Conv2d"] == places
    block = ["Conv2d", "BatchNorm2d", "ReLU"] if name.endswith("bn") else ["Conv2d", "ReLU"]
    pooled = [*block, *block, "MaxPool2d"], [*block, *block, *block, "MaxPool2d"]
    assert kinds == [*pooled[0] * 2, *pooled[1] * 3]
    dense = ["Linear", "ReLU", "Dropout"]
    assert [type(layer).__name__ for layer in model.classifier] == [*dense, *dense, "Linear"]
    assert list(model._modules) == ["features", "avgpool", "flatten", "classifier"]


def test_the_dense_layers_are_known_to_read_a_flattened_picture(undrawn):
    orders, unclear = flatten_orders(mc.models.create("vgg11"), None)
    assert orders == {"classifier.0": 512, "classifier.3": 1, "classifier.6": 1} and not unclear


def test_options_and_starting_weights(undrawn):
    model = mc.models.create("vgg11", classes=10, dropout=0.25)
    assert model.classifier[6].weight.shape == (4096, 10)
    assert [layer.p for layer in model.classifier if isinstance(layer, nn.Dropout)] == [0.25, 0.25]
    assert undrawn[-3:] == [((7 * 7 * 512, 4096), 0, 0.01), ((4096, 4096), 0, 0.01), ((4096, 10), 0, 0.01)]
    assert undrawn[0] == ((3, 3, 3, 64), 0, pytest.approx((2 / (9 * 64)) ** 0.5))
