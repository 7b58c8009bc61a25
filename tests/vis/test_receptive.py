"""Receptive fields, against the known ones of known networks and against changing pixels one by one."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn, vis

SIZE = (20, 17, 2)


class Branches(nn.Module):
    """A shortcut, two branches side by side, a gate, and the switch from one size to another."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.left = nn.Conv2d(4, 4, (1, 5), padding=(0, 2))
        self.right = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.pool = nn.MaxPool2d(3, 1, 1)
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        x = mc.nn.functional.relu(self.norm(self.stem(x)))
        x = mc.concat([self.left(x) + x, self.pool(self.right(x))], dim=-1)
        return self.last(x * mc.nn.functional.sigmoid(x))


def by_changing_pixels(model, place, layer=None):
    """The box of pixels any of which changes the place, found by trying each (on inputs that switch all ways)."""
    random, seen = np.random.default_rng(0), np.zeros(SIZE[:2], bool)
    read = model if layer is None else nn.features(model, layer)
    with nn.evaluating(model):
        for _ in range(6):
            x = random.standard_normal((1, *SIZE))
            before = read(mc.tensor(x)).numpy()[0, *place]
            many = np.repeat(x, SIZE[0] * SIZE[1], axis=0).reshape(*SIZE[:2], *SIZE)
            rows, columns = np.indices(SIZE[:2])
            many[rows, columns, rows, columns] += 20 * random.standard_normal(SIZE)
            after = read(mc.tensor(many.reshape(-1, *SIZE))).numpy()[:, *place]
            seen |= (abs(after - before).max(axis=-1) > 1e-9).reshape(SIZE[:2])
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]


@pytest.mark.parametrize("make", [
    Branches,
    lambda: nn.Sequential(nn.Conv2d(2, 3, 5, padding=2), nn.ReLU(), nn.BatchNorm2d(3), nn.MaxPool2d(2),
                          nn.Conv2d(3, 3, 3), nn.GELU()),
    lambda: nn.Sequential(nn.Conv2d(2, 3, (4, 2), stride=(1, 2)), nn.AvgPool2d(2), nn.Upsample(scale_factor=2)),
    lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ConvTranspose2d(3, 2, 3, stride=2), nn.ReLU6()),
])  # fmt: skip
def test_a_place_sees_the_pixels_that_change_it(make):
    mc.manual_seed(4)
    model = make().to(np.float64)
    with nn.evaluating(model):
        high, wide = model(mc.tensor(np.zeros((1, *SIZE)))).shape[1:3]
    last = dict(model.named_children())["last"] if isinstance(model, Branches) else None
    layer = "last" if last is not None else str(len(model) - 1)
    places = [(high // 2, wide // 2), (0, 0), (high - 1, wide - 1), (1, wide - 2)]
    found = vis.receptive_field(model, layer, places, SIZE)
    assert found.tolist() == [by_changing_pixels(model, place) for place in places]


@pytest.mark.parametrize("name, layer, extent", [
    ("resnet18", "maxpool", 11), ("resnet18", "layer1", 43), ("resnet18", "layer2", 99), ("resnet18", "layer3", 211),
    ("mobilenet_v2", "features.3", 19),
])  # fmt: skip
def test_known_networks(name, layer, extent):
    """Araujo, Norris & Sim, "Computing Receptive Fields of Convolutional Neural Networks" (2019), gives the formula."""
    with nn.init.undrawn():
        model = mc.models.create(name)
    (top, left, bottom, right) = vis.receptive_field(model, layer)[0]
    assert (bottom - top, right - left) == (extent, extent)


def test_a_norm_over_places_or_a_gate_sees_everything():
    for around in (nn.GroupNorm(1, 4), nn.SqueezeExcitation(4, 2)):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), around)
        assert vis.receptive_field(model, "0", [(5, 5)], (12, 12, 3)).tolist() == [[5, 5, 8, 8]]
        assert vis.receptive_field(model, "1", [(5, 5)], (12, 12, 3)).tolist() == [[0, 0, 12, 12]]


def test_many_places_at_once_and_none():
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    places = np.stack(np.meshgrid(range(6), range(5), indexing="ij"), -1).reshape(-1, 2)
    found = vis.receptive_field(model, "0", places, (8, 7, 1))
    np.testing.assert_array_equal(found, np.concatenate([places, places + 3], axis=1))
    assert vis.receptive_field(model, "0", [], (8, 7, 1)).shape == (0, 4)
    assert vis.receptive_field(model, "0", size=(8, 7, 1)).tolist() == [[3, 2, 6, 5]]


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout())
    vis.receptive_field(model, "0", size=(8, 8, 1))
    assert model.training and all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("options, message", [
    ({"layer": "4"}, "has no layer '4'"),
    ({"layer": "1"}, "layer '1' gives no pictures"),
    ({"places": [(0, 6)]}, "rows below 6 and columns below 6, of layer '0'"),
    ({"places": [(-1, 0)]}, "rows below 6"),
    ({"size": None}, "size must be .H, W, C. where the model doesn't say it"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(options, message):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    with pytest.raises(ValueError, match=message):
        vis.receptive_field(model, **({"layer": "0", "size": (8, 8, 1)} | options))
