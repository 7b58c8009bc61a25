"""State dicts: out and in, other frameworks' layouts, the order behind a Flatten, and what is refused."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

RNG = np.random.default_rng(7)


def arrays(theirs):
    return {k: v.numpy() for k, v in theirs.state_dict().items()}


def last(array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def agree(ours, theirs, shape):
    """Both give the same for a picture (N, C, H, W)."""
    import torch

    x = RNG.standard_normal(shape).astype("f4")
    want = theirs.eval()(torch.tensor(x)).detach().numpy()
    got = ours.eval()(mc.tensor(last(x))).numpy()
    np.testing.assert_allclose(got, last(want) if want.ndim > 2 else want, rtol=1e-5, atol=1e-5)


def shuffled(theirs):
    """Give batch norms statistics other than 0 and 1."""
    import torch

    for name, value in theirs.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.copy_(torch.rand(value.shape) + 0.5)
    return theirs


# ------------------------------------------------------------------------------------------------------ our own

def test_state_dict_gives_copies_in_order():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = model.state_dict()
    assert list(state) == ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"]
    assert all(type(v) is np.ndarray for v in state.values())
    state["0.weight"][...] = 9
    assert not (model[0].weight.numpy() == 9).any()
    kept = model.state_dict()["0.weight"]
    nn.init.zeros_(model[0].weight)
    assert kept.any()


def test_load_takes_what_numpy_reads_and_casts_between_floats():
    layer = nn.Linear(2, 1)
    result = layer.load_state_dict({"weight": np.array([[1.0], [2.0]]), "bias": mc.tensor([3])})
    assert layer.weight.dtype == np.float32 and layer.weight.tolist() == [[1], [2]] and layer.bias.tolist() == [3]
    assert result == ([], [])
    layer.load_state_dict({"weight": np.ones((2, 1), np.float16), "bias": [0.5]})
    assert layer.weight.tolist() == [[1], [1]]


def test_load_writes_into_the_same_parameters():
    layer = nn.Linear(2, 1)
    weight, memory = layer.weight, layer.weight.array
    layer.load_state_dict({"weight": [[1], [2]], "bias": [0]})
    assert layer.weight is weight and weight.array is memory and weight.requires_grad and weight.is_leaf


def test_load_is_seen_by_a_tape_that_saved_the_weights():
    layer = nn.Linear(2, 1)
    y = layer(mc.ones((1, 2), requires_grad=True)).sum()
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_not_strict_passes_over_names_but_not_shapes():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    result = model.load_state_dict({"0.weight": np.ones((2, 3)), "other": np.ones(1)}, strict=False)
    assert result.missing_keys == ["0.bias", "1.weight", "1.bias"] and result.unexpected_keys == ["other"]
    assert model[0].weight.numpy().all()
    with pytest.raises(ValueError, match=r"0.weight: shape \(3, 2\), expected \(2, 3\)"):
        model.load_state_dict({"0.weight": np.ones((3, 2))}, strict=False)


def test_everything_wrong_is_said_at_once_and_nothing_changes():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    before = model.state_dict()
    state = model.state_dict() | {
        "0.weight": np.zeros((3, 2)), "1.bias": np.array(["a", "b", "c"]), "2.weigth": np.zeros(1),
        "2.bias": np.array([1e300]), "1.weight": np.zeros(3, complex), "extra": np.zeros(1)}
    del state["2.weight"]
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state)
    text = str(caught.value)
    assert text.splitlines()[0] == "load_state_dict: the state does not fit Sequential, nothing was loaded:"
    for line in ("  2.weight: missing: did you mean '2.weigth'?",
                 "  2.weigth: not in the model: did you mean '2.weight'?",
                 "  extra: not in the model", "  0.weight: shape (3, 2), expected (2, 3)",
                 "  1.bias: dtype <U1 cannot become float32", "  1.weight: dtype complex128 cannot become float32",
                 "  2.bias: holds numbers that are too large for float32"):
        assert line in text.splitlines(), line
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items())


def test_of_hundreds_of_wrong_names_the_first_are_said():
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(100)])
    state = {"a\n\x1b[31m": np.zeros(1), "\ud800": np.zeros(1), "long" * 100: np.zeros(1)}
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state | {f"other.{n}": np.zeros(1) for n in range(100)})
    _, *lines = str(caught.value).splitlines()
    assert len(lines) == 22 and max(map(len, lines)) < 200 and str(caught.value).encode()
    assert lines[0].startswith("  0.weight: missing") and lines[10] == "  and 190 more missing"
    assert lines[11].startswith(r"  'a\n\x1b[31m': not in the model") and lines[12].startswith(r"  '\ud800': not")
    assert lines[21] == "  and 93 more not in the model"


@pytest.mark.parametrize(("state", "hint"), [
    ({"0.weight": np.zeros((4, 3, 5, 5)), "0.bias": np.zeros(4)}, True),
    ({"0.num_batches_tracked": np.array(0)}, True),
    ({"0.weight": np.zeros((4, 3, 5)), "0.bias": np.zeros(4)}, False),
    ({"0.weight": np.zeros((5, 5, 3, 4)), "0.bias": np.zeros(3)}, False),
])
def test_a_forgotten_layout_is_guessed(state, hint):
    model = nn.Sequential(nn.Conv2d(3, 4, 5))
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state)
    assert ('these look like PyTorch\'s arrays: layout="torch" reads them' in str(caught.value)) == hint
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state | {"strange": np.zeros(1)}, layout="torch")
    assert "look like PyTorch's" not in str(caught.value)


def test_names_of_dataparallel():
    state = {f"module.{name}": array for name, array in nn.Linear(1, 1).state_dict().items()}
    with pytest.raises(ValueError, match="all names begin with 'module.', as of a network within DataParallel"):
        nn.Linear(1, 1).load_state_dict(state)


def test_infinities_and_nans_may_be_loaded():
    layer = nn.Linear(1, 2)
    layer.load_state_dict({"weight": np.array([[np.inf, np.nan]]), "bias": [0, 0]})
    assert np.isinf(layer.weight.numpy()[0, 0]) and np.isnan(layer.weight.numpy()[0, 1])


def test_wrong_arguments():
    layer = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="layout: expected 'minicnn', 'torch', 'keras', got 'jax'"):
        layer.load_state_dict({}, layout="jax")
    with pytest.raises(TypeError, match="expected a mapping of names to arrays, got list"):
        layer.load_state_dict([])
    with pytest.raises(ValueError, match="flatten: has a meaning for layout='torch' only"):
        layer.state_dict(flatten={"": 1})

    class Odd:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("it is elsewhere")

    with pytest.raises(ValueError, match="weight: Odd is not an array: it is elsewhere"):
        layer.load_state_dict({"weight": Odd(), "bias": [0]})


# ----------------------------------------------------------------------------------------------- PyTorch's layout

def test_filters_of_any_number_of_axes_turn_around():
    from minicnn.nn.layout import filters_first, filters_last

    for spatial in ((5,), (5, 6), (5, 6, 7)):
        theirs = RNG.standard_normal((4, 3, *spatial))  # (out, in, ...)
        ours = filters_last(theirs)
        place = (2,) * len(spatial)
        assert ours.shape == (*spatial, 3, 4) and ours[(*place, 1, 3)] == theirs[(3, 1, *place)]
        np.testing.assert_array_equal(filters_first(ours), theirs)


def test_flatten_order_by_hand():
    """Two channels of one row and two columns: PyTorch reads a0 a1 b0 b1, we read a0 b0 a1 b1."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(4, 1))
    state = {"0.weight": np.ones((2, 1, 1, 1)), "0.bias": np.zeros(2), "2.weight": np.array([[1.0, 2, 3, 4]]),
             "2.bias": np.zeros(1)}
    model.load_state_dict(state, layout="torch")
    assert model[2].weight.numpy()[:, 0].tolist() == [1, 3, 2, 4]
    back = model.state_dict(layout="torch")
    assert all(np.array_equal(back[k], state[k]) for k in state)


def build(framework, *kinds):
    """A Sequential of the same layers in either framework."""
    return framework.Sequential(*(getattr(framework, kind)(*arguments) for kind, *arguments in kinds))


STACKS = {
    "flatten": [("Conv2d", 3, 4, 3), ("BatchNorm2d", 4), ("ReLU",), ("MaxPool2d", 2), ("Dropout", 0.5), ("Flatten",),
                ("Linear", 4 * 2 * 3, 6), ("ReLU",), ("Linear", 6, 2)],
    "batch norm behind the flatten": [("Conv2d", 3, 4, 3), ("Flatten",), ("BatchNorm1d", 4 * 5 * 6), ("Dropout", 0.1),
                                      ("Linear", 4 * 5 * 6, 3), ("BatchNorm1d", 3), ("Linear", 3, 2)],
    "flattened twice": [("Conv2d", 3, 4, (7, 8)), ("Flatten",), ("Linear", 4, 6), ("Flatten",), ("Linear", 6, 2)],
    "groups": [("Conv2d", 3, 6, 3, 1, 1, 1, 3), ("Conv2d", 6, 4, 3, 2, 1, 1, 2)],
    "one channel": [("Conv2d", 3, 1, 3), ("Flatten",), ("Linear", 30, 2)],
}


@pytest.mark.parametrize("kinds", STACKS.values(), ids=STACKS)
def test_a_sequential_computes_what_pytorchs_does(kinds):
    torch = pytest.importorskip("torch")
    theirs, ours = shuffled(build(torch.nn, *kinds)), build(nn, *kinds)
    ours.load_state_dict(arrays(theirs), layout="torch")
    agree(ours, theirs, (2, 3, 7, 8))
    back = ours.state_dict(layout="torch")
    assert list(back) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert back[name].shape == tuple(value.shape) and back[name].flags.c_contiguous
        np.testing.assert_array_equal(back[name], value.numpy())
    theirs.load_state_dict({name: torch.tensor(value) for name, value in back.items()})


def test_nested_sequentials_are_followed():
    torch = pytest.importorskip("torch")

    def make(framework):
        features = framework.Sequential(framework.Conv2d(3, 5, 3), framework.ReLU())
        head = framework.Sequential(framework.Dropout(), framework.Linear(60, 2))
        return framework.Sequential(features, framework.Flatten(), head)

    theirs, ours = make(torch.nn), make(nn)
    ours.load_state_dict(arrays(theirs), layout="torch")
    agree(ours, theirs, (2, 3, 5, 6))


def test_global_pooling_leaves_nothing_to_reorder():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Unknown(), nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(8, 2))
    weight = RNG.standard_normal((2, 8))
    model.load_state_dict({"4.weight": weight}, layout="torch", strict=False)
    np.testing.assert_array_equal(model[4].weight.numpy(), weight.T.astype("f4"))


def test_separable_conv_tells_its_channels():
    model = nn.Sequential(nn.SeparableConv2d(3, 4, 3), nn.Flatten(), nn.Linear(24, 2))
    weight = np.arange(24.0).reshape(1, 24).repeat(2, 0)
    model.load_state_dict({"2.weight": weight}, layout="torch", strict=False)
    assert model[2].weight.numpy()[:, 0].tolist() == np.arange(24.0).reshape(4, 6).T.reshape(-1).tolist()


def test_the_counter_of_batches_is_ignored_for_torch_only():
    norm = nn.BatchNorm2d(2)
    state = norm.state_dict(layout="torch")
    assert state["num_batches_tracked"].shape == () and state["num_batches_tracked"].dtype == np.int64
    assert norm.load_state_dict(state, layout="torch") == ([], [])
    with pytest.raises(ValueError, match="num_batches_tracked: not in the model"):
        norm.load_state_dict(state)
    assert "num_batches_tracked" not in nn.BatchNorm2d(2, track_running_stats=False).state_dict(layout="torch")


def test_a_shape_is_named_in_both_layouts():
    with pytest.raises(ValueError, match=r"weight: shape \(4, 3\) \(\(3, 4\) in torch's layout\), expected \(3, 4\)"):
        nn.Linear(3, 4).load_state_dict({"weight": np.ones((3, 4)), "bias": np.ones(4)}, layout="torch")
    with pytest.raises(ValueError, match=r"weight: shape \(4,\), expected \(3, 3, 3, 4\)"):
        nn.Conv2d(3, 4, 3).load_state_dict({"weight": np.ones(4), "bias": np.ones(4)}, layout="torch")


# ------------------------------------------------------------------------------ where the order can't be known

class Unknown(nn.Module):
    """A layer that nobody knows."""

    def forward(self, x):
        return x


class Known(Unknown):
    def __init__(self):
        super().__init__()
        self.out_channels = 4


class Net(nn.Module):
    """Two convolutions and two linear layers, written by hand."""

    def __init__(self, inputs=96):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3)
        self.conv2 = nn.Conv2d(6, 8, 3)
        self.fc1 = nn.Linear(inputs, 16)
        self.fc2 = nn.Linear(16, 2)

    def forward(self, x):
        x = self.conv2(self.conv1(x))
        return self.fc2(self.fc1(x.flatten(1)))


def load_torch(model, flatten=None):
    model.load_state_dict({k: v for k, v in zip(model.state_dict(), _torch_shapes(model), strict=True)}, layout="torch",
                          flatten=flatten)


def _torch_shapes(model):
    from minicnn.nn.layout import filters_first

    return [filters_first(v) if v.ndim > 2 else v.T for v in model.state_dict().values()]


def test_a_hand_written_module_needs_to_be_told():
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        load_torch(Net())
    assert caught.value.args[0].splitlines()[1:] == [
        "  fc1.weight: its 96 inputs may be a flattened picture, of how many channels cannot be told; "
        "flatten={'fc1': channels} says it, {'fc1': None} that they are none"]
    with pytest.raises(ValueError, match="cannot be written for PyTorch:\n  fc1: its 96 inputs"):
        Net().state_dict(layout="torch")


def test_a_hand_written_module_that_is_told_computes_what_pytorchs_does():
    torch = pytest.importorskip("torch")

    class TorchNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = torch.nn.Conv2d(3, 6, 3), torch.nn.Conv2d(6, 8, 3)
            self.fc1, self.fc2 = torch.nn.Linear(96, 16), torch.nn.Linear(16, 2)

        forward = Net.forward

    theirs, ours = TorchNet(), Net()
    ours.load_state_dict(arrays(theirs), layout="torch", flatten={"fc1": 8})
    agree(ours, theirs, (2, 3, 7, 8))
    back = ours.state_dict(layout="torch", flatten={"fc1": 8})
    assert all(np.array_equal(back[k], v) for k, v in arrays(theirs).items())


def test_none_says_that_nothing_was_flattened():
    model = Net()
    weight = model.fc1.weight.numpy().copy()
    load_torch(model, {"fc1": None})
    np.testing.assert_array_equal(model.fc1.weight.numpy(), weight)


def test_a_model_may_declare_its_flattens():
    class Declared(Net):
        torch_flatten = {"fc1": 8}

    weight = np.arange(96.0)[None].repeat(16, 0)
    for model, name in ((Declared(), "fc1"), (nn.Sequential(Declared()), "0.fc1")):
        model.load_state_dict({f"{name}.weight": weight}, layout="torch", strict=False)
        expected = np.arange(96.0).reshape(8, 12).T.reshape(-1)
        np.testing.assert_array_equal(model.get_submodule(name).weight.numpy()[:, 0], expected)
        model.load_state_dict({f"{name}.weight": weight}, layout="torch", strict=False, flatten={name: None})
        np.testing.assert_array_equal(model.get_submodule(name).weight.numpy()[:, 0], np.arange(96.0))


def test_as_many_inputs_as_channels_are_clear():
    load_torch(Net(inputs=8))  # pooled to one place, or flattened from it: the same


def test_inputs_that_no_picture_divides_into_are_clear():
    load_torch(Net(inputs=31))


def test_a_hand_written_module_of_linear_layers_is_clear():
    class Perceptron(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(12, 5), nn.Linear(7, 2)

    load_torch(Perceptron())


def test_only_what_is_loaded_must_be_clear():
    model = Net()
    model.load_state_dict({"conv1.bias": np.ones(6)}, layout="torch", strict=False)
    assert model.conv1.bias.numpy().all()


@pytest.mark.parametrize("layers, name", [
    ([nn.Flatten(), nn.Linear(12, 2)], "1"),  # of what channels, the input knows
    ([nn.Conv2d(3, 4, 3), Unknown(), nn.Flatten(), nn.Linear(24, 2)], "3"),
    ([nn.Conv2d(3, 4, 3), Unknown(), nn.Linear(24, 2)], "2"),  # may flatten
    ([nn.Conv2d(3, 4, 3), nn.Flatten(start_dim=2), nn.Linear(24, 2)], "2"),
])
def test_a_flatten_behind_something_unknown_needs_to_be_told(layers, name):
    model = nn.Sequential(*layers)
    with pytest.raises(ValueError, match=f"{name}.weight: its .* inputs may be a flattened picture"):
        load_torch(model)
    load_torch(model, {name: 4})


def test_a_block_that_names_its_out_channels_is_known():
    load_torch(nn.Sequential(nn.Conv2d(3, 6, 3), Known(), nn.Flatten(), nn.Linear(24, 2)))


def test_a_sequential_with_its_own_forward_is_not_followed():
    class Odd(nn.Sequential):
        def forward(self, x):
            return self[0](x)

    with pytest.raises(ValueError, match="2.weight: its 24 inputs may be a flattened picture"):
        load_torch(Odd(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(24, 2)))


def test_the_second_head_of_a_hand_written_module_needs_to_be_told_too():
    class Heads(Net):
        def __init__(self):
            super().__init__()
            self.fc3 = nn.Linear(96, 1)

    with pytest.raises(ValueError, match="fc3.weight: its 96 inputs may be"):
        load_torch(Heads(), {"fc1": 8})


def test_a_batch_norm_behind_a_flatten_vouches_for_nothing():
    class Normed(Net):
        def __init__(self):
            super().__init__()
            self.norm, self.fc3 = nn.BatchNorm1d(96), nn.Linear(96, 1)

    told = {"fc1": 8, "norm": 8}
    with pytest.raises(ValueError, match="fc3.weight: its 96 inputs may be"):
        load_torch(Normed(), told)
    load_torch(Normed(), told | {"fc3": 8})


def test_statements_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"flatten=\{'fc1': 7\}: its 96 inputs are not so many channels"):
        load_torch(Net(), {"fc1": 7})
    with pytest.raises(ValueError, match="flatten: 'fc_1' is no layer that a Flatten can feed: did you mean 'fc1'"):
        load_torch(Net(), {"fc_1": 8})
    with pytest.raises(ValueError, match="flatten: 'conv1' is no layer"):
        load_torch(Net(), {"conv1": 8})
    with pytest.raises(ValueError, match="its 25 inputs cannot be a flattened picture of 4 channels"):
        load_torch(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(25, 2)))


# ------------------------------------------------------------------------------------------------- Keras' layout

def test_keras_layouts_are_ours_but_for_depthwise_kernels():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3, groups=4), nn.Flatten(), nn.Linear(8, 2))
    own = model.state_dict()
    theirs = model.state_dict(layout="keras")
    assert theirs["1.weight"].shape == (3, 3, 4, 2)  # (kH, kW, C, multiplier)
    for channel, multiple in ((0, 1), (3, 0)):  # filter c * multiplier + m looks at channel c
        expected = own["1.weight"][:, :, 0, channel * 2 + multiple]
        np.testing.assert_array_equal(theirs["1.weight"][:, :, channel, multiple], expected)
    assert all(np.array_equal(theirs[k], own[k]) for k in own if k != "1.weight")
    twin = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3, groups=4), nn.Flatten(), nn.Linear(8, 2))
    twin.load_state_dict(theirs, layout="keras")
    assert all(np.array_equal(a, b) for a, b in zip(twin.state_dict().values(), own.values(), strict=True))
    twin.load_state_dict(own, layout="keras")  # a grouped kernel of Keras' Conv2D has our shape
    assert np.array_equal(twin[1].weight.numpy(), own["1.weight"])


def test_shared_parameters_load_under_each_name():
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    state = {k: RNG.standard_normal(v.shape) for k, v in tied.state_dict().items()}
    tied.load_state_dict(state | {"1.weight": state["0.weight"]})
    assert tied[1].weight is tied[0].weight
    np.testing.assert_array_equal(tied[0].weight.numpy(), state["0.weight"].astype("f4"))
    with pytest.raises(ValueError, match="1.weight: differs from 0.weight, but here they are one array"):
        tied.load_state_dict(state)
