import numpy as np
import pytest

import minicnn as mc


def test_every_layer_by_name():
    mc.manual_seed(0)
    nn = mc.nn
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 2))
    model[2].eval()
    x = mc.tensor(np.random.default_rng(0).random((2, 6, 6, 3), np.float32))
    found = mc.vis.activations(model, x)
    assert list(found) == ["0", "1", "2", "3", "4"]
    assert found["0"].shape == (2, 4, 4, 4)
    np.testing.assert_array_equal(found["1"], np.maximum(found["0"], 0))
    np.testing.assert_array_equal(found["1"], found["2"])  # eval mode inside
    assert model.training and not model[2].training  # and each layer left as it was
    assert list(mc.vis.activations(model, x, ["4"])) == ["4"]


def test_no_hook_stays_behind():
    model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU())
    with pytest.raises(ValueError, match="conv2d"):
        mc.vis.activations(model, mc.ones(2, 6, 6, 5))
    assert model.training and not any(m._forward_hooks for m in model.modules())
    with pytest.raises((AttributeError, KeyError, ValueError), match="7"):
        mc.vis.activations(model, mc.ones(2, 6, 6, 3), ["7"])


def test_one_name_and_an_array():
    model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU())
    x = np.random.default_rng(0).random((2, 6, 6, 3))  # float64, the model is float32
    found = mc.vis.activations(model, x, "1")
    assert list(found) == ["1"] and found["1"].dtype == np.float32
    with pytest.raises(TypeError, match="activations: x must be float32 or float64, got uint8"):
        mc.vis.activations(model, np.ones((2, 6, 6, 3), np.uint8))


class Rectified(mc.nn.Module):
    """A layer with a function for a ReLU, and a block around both."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = mc.nn.Conv2d(1, 4, 1, bias=True), mc.nn.Identity()

    def forward(self, x):
        return mc.nn.functional.relu(self.norm(self.conv(x)))


def test_dead_filters():
    """Channel 0 is always above 0, 1 in the first picture at one place, 2 and 3 nowhere."""
    block = Rectified()
    block.conv.load_state_dict({"weight": np.ones((1, 1, 1, 4), "f4"), "bias": np.array([1, 0, -2, -9], "f4")})
    x = np.zeros((3, 2, 2, 1))
    x[0, 1, 0] = 1
    model = mc.nn.Sequential(block, mc.nn.Sequential(mc.nn.Conv2d(4, 2, 1), mc.nn.ReLU6()))
    for batch_size in (1, 2, 32):
        found = mc.vis.dead_share(model, x, batch_size=batch_size)
        assert list(found) == ["0", "1.1"] and found["0"] == 0.5
    assert mc.vis.dead_share(model, x[1:], "0") == {"0": 0.75}
    assert list(mc.vis.dead_share(model, x, ["1.0", "0.conv"])) == ["1.0", "0.conv"]
    with pytest.raises(ValueError, match="dead_share: Conv2d has no layer that ends in a ReLU"):
        mc.vis.dead_share(mc.nn.Conv2d(1, 4, 1), x)
    with pytest.raises(ValueError, match="dead_share: Sequential has no layer '0.con': did you mean '0.conv'"):
        mc.vis.dead_share(model, x, "0.con")


def test_filters():
    model = mc.nn.Sequential(mc.nn.Linear(3, 3), mc.nn.Conv2d(3, 8, (5, 4)), mc.nn.Conv2d(8, 6, 3, groups=2))
    found = mc.vis.filters(model)
    assert found.shape == (8, 5, 4, 3)
    np.testing.assert_array_equal(found[7, 2, 1], model[1].weight.numpy()[2, 1, :, 7])
    found[:] = 0  # a copy
    assert model[1].weight.numpy().any() and mc.vis.filters(model, "2").shape == (6, 3, 3, 4)
    for layer, error, message in (("3", ValueError, "no layer '3'"), ("0", TypeError, "is a Linear, expected a conv"),
                                  (0, TypeError, "layer must be a dotted name")):
        with pytest.raises(error, match=f"filters: .*{message}"):
            mc.vis.filters(model, layer)
    with pytest.raises(ValueError, match="filters: Linear has no convolution"):
        mc.vis.filters(model[0])
    with pytest.raises(TypeError, match="filters: model must be a Module"):
        mc.vis.filters("smile")


def test_batches_change_nothing_and_arrays_are_copies():
    mc.manual_seed(0)
    model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(64, 2))
    x = np.random.default_rng(0).random((5, 6, 6, 3), np.float32)
    whole, told = mc.vis.activations(model, x), []
    parts = mc.vis.activations(model, x, batch_size=2, progress=lambda *done: told.append(done))
    assert list(parts) == list(whole) and told == [(2, 5), (4, 5), (5, 5)]
    for name, output in whole.items():
        np.testing.assert_allclose(parts[name], output, atol=1e-6)
        assert output.flags.writeable and parts[name].flags.writeable


class Unusual(mc.nn.Module):
    """A layer that gives a tuple, one that never runs, and a place that has a name."""

    def __init__(self):
        super().__init__()
        self.pool, self.idle = mc.nn.MaxPool2d(2, return_indices=True), mc.nn.ReLU()

    def forward(self, x):
        return mc.nn.tap("pooled", self.pool(x)[0])


def test_layers_that_cannot_be_looked_at_are_refused_by_name():
    model, x = Unusual(), np.ones((3, 4, 4, 1), np.float32)
    assert mc.vis.activations(mc.nn.Sequential(model, mc.nn.ReLU()), x).keys() == {"1"}
    assert mc.vis.activations(model, x, "pooled", batch_size=2)["pooled"].shape == (3, 2, 2, 1)
    for method in (mc.vis.activations, mc.vis.dead_share, lambda *given: mc.vis.deconvnet(*given[:2], layer=given[2])):
        for layer, error, message in (("pool", TypeError, "layer 'pool' gives a tuple, expected a Tensor"),
                                      ("idle", ValueError, "layer 'idle' doesn't run"),
                                      ("10", ValueError, "Unusual has no layer '10'"),
                                      ("idl", ValueError, "has no layer 'idl': did you mean 'idle'")):
            with pytest.raises(error, match=message):
                method(model, x, layer)
    with pytest.raises(ValueError, match="activations: expected at least one layer"):
        mc.vis.activations(model, x, [])


@pytest.mark.parametrize("groups", [1, 2])
def test_filters_of_a_transposed_convolution_are_what_its_outputs_are_made_of(groups):
    mc.manual_seed(0)
    conv = mc.nn.ConvTranspose2d(4, 6, (3, 2), groups=groups, bias=False)
    found = mc.vis.filters(conv, None)
    made = np.stack([conv(mc.tensor(one[None, None, None])).numpy()[0] for one in np.eye(4, dtype="f4")], -1)
    made = np.moveaxis(made, 2, 0)  # (6, 3, 2, 4): what each input adds to each output
    if groups == 2:  # each half of the outputs reads half of the inputs
        made = np.concatenate([made[:3, ..., :2], made[3:, ..., 2:]])
    np.testing.assert_allclose(found, made, atol=1e-7)
