"""Normalize against NumPy in float64, and what a saved model keeps of it."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

MEAN, STD = [0.5, 0.25, 0.1], [0.2, 0.5, 2.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (7, 3), (3,), (0, 2, 2, 3)])
def test_each_channel_is_shifted_and_scaled(shape, dtype):
    x = np.random.default_rng(0).random(shape).astype(dtype)
    layer = nn.Normalize(3).to(dtype)
    layer.set_statistics(MEAN, STD)
    y = layer(mc.tensor(x))
    expected = (x.astype(np.float64) - np.array(MEAN, dtype)) / np.array(STD, dtype)
    assert y.dtype == dtype and y.shape == shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=4 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).eps)


def test_gradients():
    layer = nn.Normalize(3, MEAN, STD).to(np.float64)
    x = mc.tensor(np.random.default_rng(1).random((2, 2, 2, 3)), requires_grad=True)
    assert mc.gradcheck(layer, [x])
    assert mc.gradgradcheck(lambda x: layer(x * x), [x])
    layer(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.broadcast_to(1 / layer.std.numpy(), x.shape))


def test_nothing_changes_before_the_statistics_are_known():
    x = mc.tensor(np.random.default_rng(2).random((2, 3, 3, 1), np.float32))
    layer = nn.Normalize(1)
    np.testing.assert_array_equal(layer(x).numpy(), x.numpy())
    layer.set_statistics(0.5, 0.25)
    np.testing.assert_allclose(layer(x).numpy(), (x.numpy() - 0.5) * 4)


def test_the_statistics_are_saved_and_not_trained():
    layer = nn.Normalize(3, MEAN, STD)
    state = layer.state_dict()
    assert list(state) == ["mean", "std"] and not list(layer.parameters())
    other = nn.Normalize(3)
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.std.numpy(), np.float32(STD))
    layer.train()(mc.ones(2, 3))
    np.testing.assert_array_equal(layer.mean.numpy(), np.float32(MEAN))


def test_a_flatten_behind_it_knows_its_channels():
    """In PyTorch's order the inputs of the Linear run over the channels first."""
    model = nn.Sequential(nn.Normalize(3), nn.Flatten(), nn.Linear(12, 1))
    weight = np.arange(12, dtype=np.float32).reshape(1, 12)  # torch: (out, in), in = (C, H, W)
    state = {"0.mean": np.zeros(3, np.float32), "0.std": np.ones(3, np.float32), "2.weight": weight,
             "2.bias": np.zeros(1, np.float32)}
    model.load_state_dict(state, layout="torch")
    np.testing.assert_array_equal(model[2].weight.numpy()[:, 0], weight.reshape(3, 4).T.reshape(-1))


@pytest.mark.parametrize("call, words", [
    (lambda: nn.Normalize(0), "num_channels must be a positive int, got 0"),
    (lambda: nn.Normalize(3, [0, 0], 1), r"mean must be 3 finite numbers, or one, got \[0, 0\]"),
    (lambda: nn.Normalize(3, 0, float("nan")), "std must be 3 finite numbers, or one, got nan"),
    (lambda: nn.Normalize(3, 0, [1, 0, 1]), r"std must be above 0, got \[1.0, 0.0, 1.0\]"),
    (lambda: nn.Normalize(3)(mc.ones(2, 4)), r"x must have shape \(..., 3\), got \(2, 4\)"),
])
def test_wrong_calls(call, words):
    with pytest.raises(ValueError, match="Normalize: " + words):
        call()


def test_another_dtype_is_refused():
    with pytest.raises(TypeError, match="Normalize: mean is float32, but x is float64"):
        nn.Normalize(1)(mc.tensor(np.ones((2, 1))))
    with pytest.raises(TypeError, match="Normalize: x must be float32 or float64, got uint8"):
        nn.Normalize(1)(mc.tensor(np.ones((2, 1), np.uint8)))


def test_a_refused_statistic_changes_nothing():
    layer = nn.Normalize(1)
    with pytest.raises(ValueError, match="above 0"):
        layer.set_statistics(5, -1)
    assert layer.mean.item() == 0
