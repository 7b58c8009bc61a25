"""Running averages against NumPy in float64 and PyTorch's AveragedModel; swapping them in and out; saving."""

import json

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn
from minicnn.optim import ExponentialMovingAverage


def network():
    mc.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))


def arrays(model):
    return {name: t.numpy().copy() for name, t in [*model.named_parameters(), *model.named_buffers()]}


def jolt(model, rng):
    """New values everywhere, as if after a step."""
    with mc.no_grad():
        for t in [*model.parameters(), *model.buffers()]:
            t.copy_(t.numpy() + rng.standard_normal(t.shape))


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("dtype, rtol", [(np.float32, 2e-6), (np.float64, 1e-13)])
def test_the_formula(dtype, rtol, warmup):
    model = network().to(dtype)
    average = ExponentialMovingAverage(model, decay=0.7, warmup=warmup)
    expected = {name: a.astype(np.float64) for name, a in arrays(model).items()}
    rng = np.random.default_rng(0)
    for n in range(30):
        jolt(model, rng)
        average.update()
        d = min(0.7, (1 + n) / (10 + n)) if warmup else 0.7
        for name, value in arrays(model).items():
            expected[name] = d * expected[name] + (1 - d) * value.astype(np.float64)
    found = average.state_dict()["averages"]
    assert list(found) == list(expected)
    for name in expected:
        assert found[name].dtype == dtype
        np.testing.assert_allclose(found[name], expected[name], rtol=rtol, atol=rtol)


def test_it_is_pytorchs():
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    theirs = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)).double()
    ours = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).to(np.float64)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()}, layout="torch")
    reference = AveragedModel(theirs, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    reference.update_parameters(theirs)  # its first call copies
    average = ExponentialMovingAverage(ours, 0.9, warmup=False)
    x = np.random.default_rng(1).standard_normal((8, 4))
    steps = mc.optim.SGD(ours.parameters(), lr=0.1), torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(10):
        for model, optimizer, batch in zip((ours, theirs), steps, (mc.tensor(x), torch.tensor(x)), strict=True):
            optimizer.zero_grad()
            (model(batch) ** 2)[:, 0].sum().backward()
            optimizer.step()
        average.update()
        reference.update_parameters(theirs)
    average.copy_to(ours)
    for name, value in ours.state_dict(layout="torch").items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_allclose(value, reference.module.state_dict()[name].numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("decay", [0.9, 0.999, 0.9999])
def test_what_does_not_change_keeps_its_average(decay):
    """The two factors add up to 1 in float32 too."""
    model = nn.Normalize(3, [0.1, 0.3, 0.7], [0.3, 1.7, 123.456])
    average = ExponentialMovingAverage(model, decay)
    for _ in range(3000):
        average.update()
    with average.applied():
        np.testing.assert_array_max_ulp(model.std.numpy(), np.float32([0.3, 1.7, 123.456]), 2)


# ------------------------------------------------------------------------------------------------- in and out again

def test_applied_gives_back_every_bit():
    model = network()
    average = ExponentialMovingAverage(model, 0.5)
    jolt(model, np.random.default_rng(2))
    model[0].bias.detach()[:2] = mc.tensor([np.nan, -0.0])
    before, view, held = arrays(model), model[3].weight.numpy(), list(model.parameters())
    with average.applied() as inside:
        assert inside is model
        for name, value in arrays(model).items():
            np.testing.assert_array_equal(value, average.averages[name].numpy())
        np.testing.assert_array_equal(view, model[3].weight.numpy())  # in the same memory
        jolt(model, np.random.default_rng(3))
    assert {n: a.tobytes() for n, a in arrays(model).items()} == {n: a.tobytes() for n, a in before.items()}
    assert all(a is b for a, b in zip(held, model.parameters(), strict=True))


def test_applied_gives_back_after_an_error_too():
    model = network()
    average = ExponentialMovingAverage(model)
    jolt(model, np.random.default_rng(2))
    before = arrays(model)
    with pytest.raises(ZeroDivisionError), average.applied():
        1 / 0  # noqa: B018
    assert all((before[n] == a).all() for n, a in arrays(model).items())


def test_copy_to_another_model():
    model, other = network(), network()
    average = ExponentialMovingAverage(model)
    jolt(model, np.random.default_rng(4))
    average.update()
    average.copy_to(other)
    for name, value in arrays(other).items():
        np.testing.assert_array_equal(value, average.averages[name].numpy())


def test_shared_weights_are_averaged_once():
    layer = nn.Linear(2, 2)
    average = ExponentialMovingAverage(nn.Sequential(layer, layer), decay=0.0, warmup=False)
    assert list(average.averages) == ["0.weight", "0.bias"]
    jolt(layer, np.random.default_rng(5))
    average.update()
    np.testing.assert_array_equal(average.averages["0.weight"].numpy(), layer.weight.numpy())


def test_whole_numbers_are_left_alone():
    model = nn.Linear(1, 1)
    model.register_buffer("count", mc.tensor([3]))
    assert list(ExponentialMovingAverage(model).averages) == ["weight", "bias"]


# --------------------------------------------------------------------------------------------- saving and going on

def test_going_on_from_a_saved_state_gives_the_same_bits():
    one, other = (ExponentialMovingAverage(network(), 0.9) for _ in range(2))
    rng = np.random.default_rng(6)
    for _ in range(3):
        jolt(one.model, rng)
        one.update()
    state = one.state_dict()
    numbers = json.loads(json.dumps({key: value for key, value in state.items() if key != "averages"}, allow_nan=False))
    assert numbers == {"decay": 0.9, "warmup": True, "updates": 3}
    other.load_state_dict(state)
    kept = {name: a.copy() for name, a in state["averages"].items()}
    for average in (one, other):
        jolt(average.model, np.random.default_rng(7))
        with mc.no_grad():  # the state says nothing of the model
            for t in [*average.model.parameters(), *average.model.buffers()]:
                t.fill_(0.3)
        average.update()
    for name, value in one.state_dict()["averages"].items():
        np.testing.assert_array_equal(value, other.state_dict()["averages"][name])
        np.testing.assert_array_equal(state["averages"][name], kept[name])  # copies


@pytest.mark.parametrize("change, words", [
    ({"decay": 1.0}, "decay must be from 0 to below 1, got 1.0"),
    ({"warmup": 1}, "warmup must be True or False, got 1"),
    ({"updates": -1}, "updates must be an int of at least 0, got -1"),
    ({"averages": {}}, "the averages are of another model: 0.bias, 0.weight, 1.bias"),
    ({"averages": None}, "the averages are of another model"),
    ({"more": 1}, "expected a dict of decay, warmup, updates, averages"),
])
def test_a_wrong_state_is_refused(change, words):
    average = ExponentialMovingAverage(network())
    with pytest.raises(ValueError, match="ExponentialMovingAverage.load_state_dict: " + words):
        average.load_state_dict(average.state_dict() | change)
    assert average.updates == 0


def test_a_wrong_array_changes_nothing():
    average = ExponentialMovingAverage(network())
    state = average.state_dict()
    state["updates"] = 5
    state["averages"]["3.bias"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match=r"3.bias is float32 \(3,\), expected float32 \(2,\)"):
        average.load_state_dict(state)
    assert average.updates == 0


def test_wrong_calls():
    with pytest.raises(ValueError, match="ExponentialMovingAverage: decay must be from 0 to below 1, got 1"):
        ExponentialMovingAverage(network(), 1)
    with pytest.raises(TypeError, match="model must be a Module, got list"):
        ExponentialMovingAverage([])
    average = ExponentialMovingAverage(network())
    with pytest.raises(ValueError, match="copy_to: the model is not the one that was averaged: 0.weight"):
        average.copy_to(nn.Sequential(nn.Conv2d(1, 3, 3)))
    average.model.to(np.float64)
    with pytest.raises(ValueError, match="update: the model is not the one that was averaged: 0.weight, 0.bias"):
        average.update()
