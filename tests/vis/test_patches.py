"""The parts of pictures that drive a filter most."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn, vis

RANDOM = np.random.default_rng(0)
DATA = RANDOM.random((30, 14, 12, 1), np.float32)


@pytest.fixture(scope="module")
def model():
    mc.manual_seed(7)
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, padding=1),
                         nn.ReLU(), nn.Flatten(), nn.Linear(168, 2))  # fmt: skip


def test_the_strongest_pictures_of_each_filter_come_first(model):
    top = vis.top_patches(model, DATA, "4", [2, 0], count=5, batch_size=7)
    with nn.evaluating(model):
        strength = nn.features(model, "4")(mc.tensor(DATA)).numpy().max(axis=(1, 2))
    assert top.channels.tolist() == [2, 0]
    for filter, channel in enumerate((2, 0)):
        best = np.argsort(-strength[:, channel], kind="stable")[:5]
        np.testing.assert_array_equal(top.numbers[filter], best)
        np.testing.assert_allclose(top.scores[filter], strength[best, channel], rtol=1e-6)


def test_patches_are_what_the_strongest_place_sees(model):
    """Each patch put back where it came from gives the same activation: nothing outside of it counts."""
    top = vis.top_patches(model, DATA, "4", 1, count=8)
    assert top.patches.shape == (1, 8, 8, 8, 1)  # a place sees 8 x 8 pixels: (3 + 1) of size 2
    layer = nn.features(model, "4")
    for number, box, patch, score in zip(top.numbers[0], top.boxes[0], top.patches[0], top.scores[0], strict=True):
        rows, columns = slice(box[0], box[2]), slice(box[1], box[3])
        alone = np.zeros_like(DATA[:1])
        alone[0, rows, columns] = DATA[number, rows, columns]
        with nn.evaluating(model):
            whole, cut = (layer(mc.tensor(x)).numpy()[0, ..., 1] for x in (DATA[number : number + 1], alone))
        place = np.unravel_index(whole.argmax(), whole.shape)
        assert cut[place] == pytest.approx(score, rel=1e-5)
        inside = patch[8 - (box[2] - box[0]) :] if box[0] == 0 else patch[: box[2] - box[0]]
        inside = inside[:, 8 - (box[3] - box[1]) :] if box[1] == 0 else inside[:, : box[3] - box[1]]
        np.testing.assert_array_equal(inside, DATA[number, rows, columns])
        assert np.count_nonzero(patch) == np.count_nonzero(inside)


def test_reconstructions_are_the_deconvnets(model):
    top = vis.top_patches(model, DATA, "4", [3], count=2)
    for k, number in enumerate(top.numbers[0]):
        whole = vis.deconvnet(model, DATA[number : number + 1], layer="4", channel=3)[0]
        top_, left, bottom, right = top.boxes[0, k]
        assert np.count_nonzero(whole) == np.count_nonzero(whole[top_:bottom, left:right]) > 0
        assert abs(top.reconstructions[0, k]).sum() == pytest.approx(abs(whole).sum(), rel=1e-5)


def test_data_sets_and_bytes(model):
    pictures = (DATA * 255).astype(np.uint8)
    plain = vis.top_patches(model, pictures, "4", 1, count=3)
    labelled = mc.data.ArrayDataset(pictures, np.arange(30))
    np.testing.assert_array_equal(plain.patches, vis.top_patches(model, labelled, "4", 1, count=3).patches)
    tensor = vis.top_patches(model, mc.tensor(pictures / np.float32(255)), "4", 1, count=3)
    np.testing.assert_array_equal(plain.numbers, tensor.numbers)
    rows = [(picture, 0) for picture in DATA[:4]]
    assert vis.top_patches(model, rows, "1", 0, count=4).patches.shape == (1, 4, 3, 3, 1)


def test_a_place_that_sees_everything_gives_the_whole_picture():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.GroupNorm(1, 2))
    top = vis.top_patches(model, DATA, "1", 0, count=2)
    np.testing.assert_array_equal(top.patches[0], DATA[top.numbers[0]])


def test_progress_counts_pictures_and_the_model_is_left_as_it_was(model):
    told = []
    model.train()
    vis.top_patches(model, DATA, "4", 0, batch_size=16, progress=lambda done, total: told.append((done, total)))
    assert told == [(16, 30), (30, 30)] and model.training
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("options, message", [
    ({"layer": "44"}, "has no layer '44'"),
    ({"layer": "5"}, "layer '5' gives no pictures"),
    ({"channel": 4}, "channel 4 is out of range, layer '4' has 4"),
    ({"channel": 0.5}, "channel must be an int of at least 0"),
    ({"count": 31}, "count must be an int from 1 to the number of pictures, 30"),
    ({"data": DATA.astype(int)}, "data must be pictures .N, H, W, C. of bytes or floats"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        vis.top_patches(model, **({"data": DATA, "layer": "4", "channel": 0} | options))
