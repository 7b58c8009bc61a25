"""Outputs of layers and taps, the cut behind them, and models of several outputs or with layers used twice."""

import threading

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn
from minicnn.nn import functional as F

RNG = np.random.default_rng(0)


def picture(*shape):
    return mc.tensor(RNG.standard_normal(shape or (2, 6, 6, 3)).astype(np.float32))


def network():
    mc.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))


class Count(nn.Module):
    """Identity that counts its calls."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x


class Twins(nn.Module):
    """Uses a layer twice, under two names, and returns two tensors."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = self.first
        self.split = Split()
        self.after = Count()

    def forward(self, x):
        x = nn.tap("once", F.relu(self.first(x)))
        x = nn.tap("again", self.second(x))
        left, right = self.split(x)
        return self.after(left), right


class Split(nn.Module):
    def forward(self, x):
        return x[:, :1], x[:, 1:]


def hooks(model):
    return sum(len(m._forward_hooks) for m in model.modules())


# ------------------------------------------------------------------------------------------------------ what comes

@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_outputs_are_those_of_the_layers(fused, mode):
    model, x = getattr(network(), mode)(), picture()
    expected, y = {}, x
    for name, module in model.named_children():
        expected[name] = y = module(y)
    with mc.fusion(fused):
        found = nn.features(model, ["3", "0", "2"])(x)
        assert list(found) == ["3", "0", "2"]
        for name, output in found.items():
            np.testing.assert_array_equal(output.numpy(), expected[name].numpy())
        one = nn.features(model, "1")(x)
        assert isinstance(one, mc.Tensor)
        np.testing.assert_array_equal(one.numpy(), expected["1"].numpy())
        np.testing.assert_array_equal(nn.features(model, "")(x).numpy(), y.numpy())  # the model itself


def test_dotted_names():
    model = nn.Sequential({"body": nn.Sequential({"act": nn.ReLU()}), "head": nn.Flatten()})
    found = nn.features(model, ["body.act", "body"])(picture())
    np.testing.assert_array_equal(found["body"].numpy(), found["body.act"].numpy())


def test_outputs_are_on_the_tape():
    model, x = network(), picture()
    x.requires_grad_()
    found = nn.features(model, ["0", "2"])(x)
    (found["2"].sum() + found["0"].mean()).backward()
    expected = [p.grad.numpy().copy() for p in model[:2].parameters()], x.grad.numpy().copy()
    model.zero_grad()
    x.grad = None
    y = model[0](x)
    (model[:3][2](model[1](y)).sum() + y.mean()).backward()
    for mine, p in zip(expected[0], model[:2].parameters(), strict=True):
        np.testing.assert_allclose(mine, p.grad.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(expected[1], x.grad.numpy(), rtol=1e-5, atol=1e-6)
    assert model[4].weight.grad is None


def test_the_rest_does_not_run():
    before, after = Count(), Count()
    model = nn.Sequential(before, nn.ReLU(), after, nn.Linear(7, 7))  # which would refuse the picture
    nn.features(model, ["1", "0"])(picture())
    assert (before.calls, after.calls) == (1, 0)


def test_a_layer_with_several_outputs():
    model = Twins()
    left, right = nn.features(model, "split")(picture(4, 3))
    assert (left.shape, right.shape, model.after.calls) == ((4, 1), (4, 2), 0)
    left, right = nn.features(model, "")(picture(4, 3))
    assert (left.shape, right.shape) == ((4, 1), (4, 2))


def test_options_and_several_inputs_reach_the_model():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Identity()

        def forward(self, a, b, scale=1.0):
            return self.act(a + b * scale)

    a, b = picture(2, 2), picture(2, 2)
    np.testing.assert_allclose(nn.features(Sum(), "act")(a, b, scale=3.0).numpy(), a.numpy() + 3 * b.numpy(), rtol=1e-6)


# ----------------------------------------------------------------------------------------------------------- taps

def test_taps():
    model, x = Twins(), picture(4, 3)
    found = nn.features(model, ["again", "once", "first"])(x)
    np.testing.assert_array_equal(found["once"].numpy(), np.maximum(found["first"].numpy(), 0))
    np.testing.assert_array_equal(found["again"].numpy(), model.second(found["once"]).numpy())
    assert model.after.calls == 0
    found["again"].sum().backward()
    assert model.first.weight.grad is not None


def test_a_tap_returns_its_argument_and_needs_nobody():
    x = object()
    assert nn.tap("x", x) is x


def test_the_first_of_each_name():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Identity()
            self.last = Count()

        def forward(self, x):
            for step in range(3):
                x = nn.tap("x", self.act(x + step + 1))
            return self.last(x)

    x = mc.zeros(1)
    found = nn.features(Loop(), ["x", "act", "last"])(x)
    assert [t.item() for t in found.values()] == [1, 1, 6]


def test_the_name_of_a_layer_comes_before_a_tap():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.ReLU()

        def forward(self, x):
            return self.same(nn.tap("same", x))

    assert nn.features(Both(), "same")(mc.full((1,), -1.0)).item() == 0


# -------------------------------------------------------------------------------------------------- nothing stays

def test_no_hook_stays():
    model, x = network(), picture()
    seen = []
    model[2].register_forward_hook(lambda *_: seen.append(1))
    cut = nn.features(model, ["0", "2"])
    cut(x)
    cut(x)
    assert hooks(model) == 1 and len(seen) == 2
    with pytest.raises(ValueError, match="conv2d"):
        cut(picture(2, 6, 6, 5))
    with pytest.raises(RuntimeError, match="mine"):
        model[1].register_forward_hook(fail)
        cut(x)
    assert hooks(model) == 2
    assert model[3](x).shape == (2, 108)  # no run is left that could be cut


def fail(*_):
    raise RuntimeError("mine")


def test_hooks_that_change_an_output_are_seen():
    model, x = network(), picture()
    model[0].register_forward_hook(lambda module, inputs, output: output * 0)
    assert not nn.features(model, "0")(x).numpy().any()


@pytest.mark.parametrize("inner, outer", [("0", "cut"), ("2", "cut.model.0"), ("0", "cut.model.0"), ("2", "after")])
def test_one_inside_another(inner, outer):
    """Each cuts its own run only."""
    model, x = network().eval(), picture()
    expected = {"cut": model[0](x), "cut.model.0": model[0](x), "after": model[:3](x)}[outer]
    whole = nn.Sequential({"cut": nn.features(model, inner), "after": nn.Identity()})
    np.testing.assert_array_equal(nn.features(whole, outer)(x).numpy(), expected.numpy())
    assert hooks(whole) == 0


def test_both_see_a_tap_where_the_inner_one_cuts():
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.cut = nn.features(Twins(), "once")
            self.after = nn.Identity()

        def forward(self, x):
            return self.after(self.cut(x))

    found = nn.features(Whole(), ["once", "after"])(picture(4, 3))
    np.testing.assert_array_equal(found["once"].numpy(), found["after"].numpy())


def test_a_model_that_handles_errors_is_cut_too():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Identity()

        def forward(self, x):
            try:
                return self.act(x)
            except Exception:
                return x * 0

    assert nn.features(Careful(), "act")(mc.ones(1)).item() == 1


def test_another_thread_that_runs_the_model_is_not_cut():
    model, x = network().eval(), picture()
    inside, done = threading.Event(), threading.Event()
    shapes = []

    def wait(*_):
        if threading.current_thread() is not threading.main_thread():
            return
        inside.set()
        assert done.wait(10)

    def run():
        assert inside.wait(10)
        shapes.append(model(x).shape)
        done.set()

    model[1].register_forward_hook(wait)
    other = threading.Thread(target=run)
    other.start()
    assert nn.features(model, "2")(x).shape == (2, 4, 4, 4)
    other.join()
    assert shapes == [(2, 2)]


def test_inside_a_checkpoint():
    """The cut leaves the stretch of the tape half recorded; it runs again as a whole."""
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return mc.checkpoint(lambda x: self.b(F.tanh(self.a(x))), x)

    model, x = Wrapped(), picture(2, 3)
    x.requires_grad_()
    nn.features(model, "a")(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy()[0], model.a.weight.numpy().sum(axis=1), rtol=1e-5)
    assert model.b.weight.grad is None


# ------------------------------------------------------------------------------------------- it is the model's own

def test_parameters_and_modes_are_the_models():
    model = network()
    cut = nn.features(model, "2")
    assert [id(p) for p in cut.parameters()] == [id(p) for p in model.parameters()]
    cut.eval()
    assert not model[1].training
    assert repr(cut).startswith("Features(\n  '2'\n  (model): Sequential(")


def test_training_through_the_cut():
    """A new head on the features of a network, the classical transfer of learning."""
    model = network().requires_grad_(False).eval()
    body, head = nn.features(model, "3"), nn.Linear(64, 1)
    optimizer = mc.optim.SGD(head.parameters(), lr=0.01)
    x, before = picture(), head.weight.numpy().copy()
    (head(body(x)) ** 2).mean().backward()
    optimizer.step()
    assert (head.weight.numpy() != before).any() and model[0].weight.grad is None


def test_shared_weights_are_counted_saved_and_stepped_once():
    model = Twins()
    assert len(list(model.parameters())) == 2
    assert sum(p.numel() for p in model.parameters()) == 12
    state = model.state_dict()
    assert list(state) == ["first.weight", "first.bias", "second.weight", "second.bias"]
    np.testing.assert_array_equal(state["first.weight"], state["second.weight"])
    other = Twins()
    other.load_state_dict(state)
    assert other.first.weight is other.second.weight
    optimizer = mc.optim.SGD(model.parameters(), lr=0.5)
    left, right = model(picture(4, 3))
    (left.sum() + (right * right).sum()).backward()
    expected = model.first.weight.numpy() - np.float32(0.5) * model.first.weight.grad.numpy()
    optimizer.step()
    np.testing.assert_allclose(model.second.weight.numpy(), expected, rtol=1e-6)
    state["second.weight"] = state["second.weight"] + 1
    with pytest.raises(ValueError, match="second.weight: differs from first.weight, but here they are one array"):
        other.load_state_dict(state)


def test_the_gradient_of_a_layer_used_twice_is_the_sum():
    model = Twins().to(np.float64)
    x = mc.tensor(RNG.standard_normal((4, 3)))
    model(x)[0].sum().backward()
    apart, again = nn.Linear(3, 3).to(np.float64), nn.Linear(3, 3).to(np.float64)
    for copy in (apart, again):
        copy.load_state_dict(model.first.state_dict())
    again(F.relu(apart(x)))[:, :1].sum().backward()
    np.testing.assert_allclose(model.first.weight.grad.numpy(), apart.weight.grad.numpy() + again.weight.grad.numpy(),
                               rtol=1e-12)


# ------------------------------------------------------------------------------------------------------ wrong calls

@pytest.mark.parametrize("layers, error, words", [
    ("convs.0", AttributeError, "Sequential has no layer 'convs.0'"),
    (["0", "7"], AttributeError, "Sequential has no layer '7'"),
    ([], ValueError, "expected at least one layer"),
    ([0], TypeError, "the names of layers must be words, got 0"),
])
def test_wrong_names(layers, error, words):
    with pytest.raises(error, match="features: " + words):
        nn.features(network(), layers)


def test_a_name_that_nothing_passed():
    cut = nn.features(Twins(), ["first", "onse"])
    with pytest.raises(AttributeError, match="Twins has no layer and passed no tap 'onse': did you mean 'once'?"):
        cut(picture(4, 3))
    assert hooks(cut) == 0
    with pytest.raises(TypeError, match="model must be a Module, got list"):
        nn.features([], "0")


def test_a_layer_that_is_not_called():
    model = network()
    model.unused = nn.ReLU()
    model.forward = lambda x: nn.Sequential.forward(model[:5], x)
    with pytest.raises(RuntimeError, match="features: layer 'unused' was not called"):
        nn.features(model, ["0", "unused"])(picture())
