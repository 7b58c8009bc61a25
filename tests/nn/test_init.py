"""Starting values: bounds and moments worked out by hand from the papers' formulas."""

from math import sqrt

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn
from minicnn.nn import init

CONV, LINEAR = (3, 5, 8, 16), (40, 60)  # (kH, kW, C_in / groups, C_out); (in, out)


@pytest.fixture(autouse=True)
def seed():
    mc.manual_seed(5)


def spread(values):
    return float(np.sqrt(np.mean(values.astype(np.float64) ** 2)))


def test_fans_in_our_layouts():
    assert init.fans(mc.zeros(CONV)) == (15 * 8, 15 * 16)
    assert init.fans(mc.zeros(LINEAR)) == (40, 60)
    assert init.fans(mc.zeros(3, 2, 4)) == (6, 12)  # one spatial axis
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        init.fans(mc.zeros(3))


@pytest.mark.parametrize("function, shape, bound", [
    (lambda t: init.uniform_(t, -0.5, 0.5), LINEAR, 0.5),
    (init.xavier_uniform_, LINEAR, sqrt(6 / 100)),
    (init.xavier_uniform_, CONV, sqrt(6 / (120 + 240))),
    (lambda t: init.xavier_uniform_(t, gain=2), CONV, 2 * sqrt(6 / 360)),
    (init.kaiming_uniform_, CONV, sqrt(6 / 120)),
    (lambda t: init.kaiming_uniform_(t, mode="fan_out"), CONV, sqrt(6 / 240)),
    (lambda t: init.kaiming_uniform_(t, a=sqrt(5)), LINEAR, 1 / sqrt(40)),
    (lambda t: init.kaiming_uniform_(t, nonlinearity="linear"), LINEAR, sqrt(3 / 40)),
])
def test_uniform_bounds(function, shape, bound):
    tensor = mc.zeros(shape)
    assert function(tensor) is tensor
    values = tensor.numpy()
    assert np.abs(values).max() <= np.float32(bound) and np.abs(values).max() > 0.99 * bound
    assert spread(values) == pytest.approx(bound / sqrt(3), rel=0.05)


@pytest.mark.parametrize("function, shape, std", [
    (lambda t: init.normal_(t, std=3), LINEAR, 3),
    (init.xavier_normal_, LINEAR, sqrt(2 / 100)),
    (init.kaiming_normal_, CONV, sqrt(2 / 120)),
    (lambda t: init.kaiming_normal_(t, a=1, mode="fan_out"), CONV, sqrt(1 / 240)),
])
def test_normal_deviations(function, shape, std):
    tensor = function(mc.zeros(shape))
    assert spread(tensor.numpy()) == pytest.approx(std, rel=0.05)


def test_normal_has_its_mean():
    assert float(init.normal_(mc.zeros(2000), mean=7, std=0.1).numpy().mean()) == pytest.approx(7, abs=0.01)


def test_truncated_normal_stays_inside_and_has_the_right_moments():
    values = init.trunc_normal_(mc.zeros(20000, dtype="f8"), mean=1, std=2, a=0, b=2).numpy()
    assert values.min() >= 0 and values.max() <= 2
    # Between -0.5 and 0.5 deviations the variance is 1 - 2 * 0.5 * phi(0.5) / (2 Phi(0.5) - 1), with
    # phi(0.5) = 0.352065 and 2 Phi(0.5) - 1 = 0.382925.
    assert values.mean() == pytest.approx(1, abs=0.02)
    assert values.std() == pytest.approx(2 * sqrt(1 - 0.352065 / 0.382925), rel=0.02)
    with pytest.raises(ValueError, match="nothing of a normal"):
        init.trunc_normal_(mc.zeros(2), mean=0, std=1, a=50, b=60)


def test_constants():
    assert init.constant_(mc.zeros(2), 3).tolist() == [3, 3]
    assert init.ones_(mc.zeros(2)).tolist() == [1, 1] and init.zeros_(mc.ones(2)).tolist() == [0, 0]


def test_gains():
    assert init.calculate_gain("relu") == sqrt(2) and init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("leaky_relu", 1) == 1 and init.calculate_gain("conv2d") == 1
    with pytest.raises(ValueError, match="nonlinearity must be one of .* got 'step'"):
        init.calculate_gain("step")


def test_the_same_seed_gives_the_same_weights():
    first = nn.Conv2d(3, 4, 3).state_dict()
    other = nn.Conv2d(3, 4, 3).state_dict()
    mc.manual_seed(5)
    again = nn.Conv2d(3, 4, 3).state_dict()
    assert all(np.array_equal(first[k], again[k]) for k in first)
    assert not np.array_equal(first["weight"], other["weight"])


@pytest.mark.parametrize("layer, fan_in", [(nn.Linear(30, 50), 30), (nn.Conv2d(6, 40, (3, 2), groups=2), 18)])
def test_layers_start_within_one_over_the_root_of_fan_in(layer, fan_in):
    for parameter in layer.parameters():
        largest = np.abs(parameter.numpy()).max()
        assert 0.8 / sqrt(fan_in) < largest <= np.float32(1 / sqrt(fan_in))
    before = layer.weight.numpy().copy()
    layer.reset_parameters()
    assert not np.array_equal(before, layer.weight.numpy())


def test_parameters_are_written_without_a_tape_and_wrong_arguments_are_named():
    parameter = nn.Parameter(np.zeros(LINEAR, np.float32))
    init.kaiming_uniform_(parameter)
    assert parameter.is_leaf and parameter.requires_grad
    with pytest.raises(TypeError, match="uniform_: expected a Tensor, got ndarray"):
        init.uniform_(np.zeros(3))
    with pytest.raises(TypeError, match="normal_: expected a float tensor, got int64"):
        init.normal_(mc.tensor([1, 2]))
    with pytest.raises(ValueError, match="a must not be above b"):
        init.uniform_(mc.zeros(2), 1, 0)
    with pytest.raises(ValueError, match="std must not be negative"):
        init.normal_(mc.zeros(2), std=-1)
    with pytest.raises(ValueError, match="mode must be 'fan_in' or 'fan_out', got 'both'"):
        init.kaiming_normal_(mc.zeros(LINEAR), mode="both")
