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
