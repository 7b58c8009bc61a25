"""Optimizers: against PyTorch over several steps, first steps by hand, saving, refusals."""

import json

import numpy as np
import pytest

import minicnn as mc
from minicnn import optim

RNG = np.random.default_rng(11)
SHAPES = ((7, 3), (5,), (2, 3, 3, 4))

OPTIONS = {
    "SGD": [{}, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
            {"lr": 0.1, "momentum": 0.5, "dampening": 0.3}, {"weight_decay": 0.1}],
    "Adam": [{}, {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}],
    "AdamW": [{}, {"lr": 0.01, "betas": (0.5, 0.99), "weight_decay": 0.3}],
    "RMSprop": [{}, {"lr": 0.02, "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.1}, {"momentum": 0.9}, {"centered": True},
                {"momentum": 0.5, "centered": True, "weight_decay": 0.01}],
    "Adagrad": [{}, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.05, "initial_accumulator_value": 0.2, "eps": 1e-6}],
}
CASES = [(name, options) for name, many in OPTIONS.items() for options in many]


def starting(dtype="f8"):
    return [mc.tensor(RNG.standard_normal(shape).astype(dtype), requires_grad=True) for shape in SHAPES]


def feed(params, gradients):
    for param, gradient in zip(params, gradients, strict=True):
        param.grad = None if gradient is None else mc.tensor(gradient)


def gradients(dtype="f8"):
    return [RNG.standard_normal(shape).astype(dtype) for shape in SHAPES]


@pytest.mark.parametrize("dtype, tolerance", [("f8", 1e-12), ("f4", 2e-5)])
@pytest.mark.parametrize("name, options", CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_eight_steps_as_pytorchs(name, options, dtype, tolerance):
    torch = pytest.importorskip("torch")
    params = starting(dtype)
    theirs = [torch.tensor(p.numpy(), requires_grad=True) for p in params]
    ours_opt, their_opt = getattr(optim, name)(params, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(8):
        grads = gradients(dtype)
        if step == 3:
            grads[1] = None  # its state stands still
        feed(params, grads)
        for their, grad in zip(theirs, grads, strict=True):
            their.grad = None if grad is None else torch.tensor(grad)
        ours_opt.step()
        their_opt.step()
        for own, their in zip(params, theirs, strict=True):
            np.testing.assert_allclose(own.numpy(), their.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_defaults_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in OPTIONS:
        ours = getattr(optim, name)([mc.ones(1)]).defaults
        theirs = getattr(torch.optim, name)([torch.ones(1)]).defaults
        assert all(theirs[k] == v for k, v in ours.items()), name


# ------------------------------------------------------------------------------------------------ worked by hand

def one_step(make, gradient=2.0, start=1.0):
    param = mc.tensor(np.array([start]), requires_grad=True)
    feed([param], [np.array([gradient])])
    make([param]).step()
    return param.item()


def test_first_steps_by_hand():
    assert one_step(lambda p: optim.SGD(p, lr=0.1)) == pytest.approx(1 - 0.2)
    assert one_step(lambda p: optim.SGD(p, lr=0.1, weight_decay=0.5)) == pytest.approx(1 - 0.1 * 2.5)
    assert one_step(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)) == pytest.approx(1 - 0.1 * 3.8)
    assert one_step(lambda p: optim.Adam(p, lr=0.1, eps=0)) == pytest.approx(0.9)  # m / sqrt(v) is the sign
    assert one_step(lambda p: optim.AdamW(p, lr=0.1, eps=0, weight_decay=0.5)) == pytest.approx(0.95 - 0.1)
    assert one_step(lambda p: optim.RMSprop(p, lr=0.1, alpha=0.75, eps=0)) == pytest.approx(1 - 0.1 / 0.5)
    assert one_step(lambda p: optim.Adagrad(p, lr=0.1, eps=0, initial_accumulator_value=12)) == pytest.approx(0.95)


def test_momentum_by_hand():
    param = mc.tensor(np.zeros(1), requires_grad=True)
    opt = optim.SGD([param], lr=1, momentum=0.5)
    for expected in (-1, -2.5, -4.25):  # v = 1, 1.5, 1.75
        feed([param], [np.ones(1)])
        opt.step()
        assert param.item() == expected


def test_parameters_without_a_gradient_are_left_alone():
    params = starting()
    before = [p.numpy().copy() for p in params]
    opt = optim.Adam(params)
    feed(params, [None, np.ones(5), None])
    opt.step()
    assert [np.array_equal(b, p.numpy()) for b, p in zip(before, params, strict=True)] == [True, False, True]
    assert list(opt.state) == [params[1]]


def test_groups_have_options_of_their_own():
    params = starting()
    opt = optim.SGD([{"params": params[0], "lr": 0.5}, {"params": iter(params[1:])}], lr=0.1)
    before = [p.numpy().copy() for p in params]
    feed(params, [np.ones(s) for s in SHAPES])
    opt.step()
    for param, start, lr in zip(params, before, (0.5, 0.1, 0.1), strict=True):
        np.testing.assert_allclose(param.numpy(), start - lr, rtol=1e-15, atol=1e-15)
    assert [g["lr"] for g in opt.param_groups] == [0.5, 0.1]


def test_a_model_learns_a_line():
    mc.manual_seed(2)
    model = mc.nn.Linear(1, 1)
    opt = optim.Adam(model.parameters(), lr=0.1)
    x = mc.tensor(np.linspace(-1, 1, 16, dtype="f4").reshape(-1, 1))
    target = x * 3 - 1
    for _ in range(150):
        opt.zero_grad()
        mc.nn.functional.mse_loss(model(x), target).backward()
        opt.step()
    assert model.weight.item() == pytest.approx(3, abs=0.02) and model.bias.item() == pytest.approx(-1, abs=0.02)


def test_options_changed_between_steps_count():
    param = mc.tensor(np.zeros(1), requires_grad=True)
    opt = optim.SGD([param], lr=1)
    for lr, momentum, expected in ((1, 0, -1), (2, 0, -3), (1, 0.5, -4), (1, 0.5, -5.5), (1, 0, -6.5)):
        opt.param_groups[0].update(lr=lr, momentum=momentum)
        feed([param], [np.ones(1)])
        opt.step()
        assert param.item() == expected


def test_zero_grad():
    params = starting()
    feed(params, gradients())
    opt = optim.SGD(params)
    opt.zero_grad(set_to_none=False)
    assert all(p.grad is not None and not p.grad.numpy().any() for p in params)
    opt.zero_grad()
    assert all(p.grad is None for p in params)


def test_a_step_is_seen_by_a_tape_that_saved_the_parameter():
    param = mc.tensor([2.0], requires_grad=True)
    y = (param * param).sum()
    feed([param], [np.ones(1, "f4")])
    optim.SGD([param]).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


# ----------------------------------------------------------------------------------------------- saving and loading

@pytest.mark.parametrize("name, options", CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_going_on_from_a_saved_state_is_going_on(name, options):
    params = starting("f4")
    opt = getattr(optim, name)(params, **options)
    steps = [gradients("f4") for _ in range(5)]
    for grads in steps[:3]:
        feed(params, grads)
        opt.step()
    state, twins = opt.state_dict(), [mc.tensor(p.numpy(), requires_grad=True) for p in params]
    other = getattr(optim, name)(twins)
    other.load_state_dict(state)
    for grads in steps[3:]:
        for who, one in ((params, opt), (twins, other)):
            feed(who, grads)
            one.step()
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(params, twins, strict=True))
    assert all(np.array_equal(v, state["state"][i][k]) for i, s in state["state"].items() for k, v in s.items())


def test_a_state_dict_is_arrays_and_json():
    params = starting()
    opt = optim.Adam([{"params": params[:2]}, {"params": params[2:], "lr": 0.5}])
    feed(params, gradients())
    opt.step()
    state = opt.state_dict()
    assert [g["params"] for g in state["param_groups"]] == [[0, 1], [2]]
    kept = {i: {k: v for k, v in s.items() if isinstance(v, np.ndarray)} for i, s in state["state"].items()}
    plain = {i: {k: v for k, v in s.items() if not isinstance(v, np.ndarray)} for i, s in state["state"].items()}
    read = json.loads(json.dumps({"state": plain, "param_groups": state["param_groups"]}))
    joined = {i: s | kept[int(i)] for i, s in read["state"].items()}
    opt.load_state_dict({"state": joined, "param_groups": read["param_groups"]})
    assert opt.param_groups[1]["lr"] == 0.5 and opt.param_groups[0]["betas"] == (0.9, 0.999)
    assert opt.state[params[2]]["step"] == 1


def test_loading_checks_everything_before_changing_anything():
    params = starting()
    opt = optim.Adam(params, lr=0.25)
    feed(params, gradients())
    opt.step()
    good = opt.state_dict()

    def spoilt(**changes):
        state = {i: dict(s) for i, s in good["state"].items()}
        state[0].update(changes)
        return good | {"state": state}

    group = good["param_groups"][0]
    for bad, words in [
        ({}, "expected a dict with 'state' and 'param_groups'"),
        (good | {"param_groups": []}, "0 groups came, expected 1"),
        (good | {"param_groups": [group | {"params": [0, 1]}]}, r"group 0 must have the 3 parameters 0 to 2, got \["),
        (good | {"param_groups": [group | {"lr": -1}]}, "Adam: lr must be a number of at least 0, got -1"),
        (good | {"param_groups": [{k: v for k, v in group.items() if k != "eps"}]}, "group 0 lacks eps"),
        (good | {"state": {7: {}}}, "state of parameter 7, expected 0 to 2"),
        (good | {"state": {"first": {}}}, "state of parameter 'first'"),
        (good | {"state": {0: {"step": 1}}}, r"parameter 0 has a state of \['step'\], expected \['exp_avg', "),
        (spoilt(exp_avg=np.zeros(3)), r"exp_avg of parameter 0 is float64 \(3,\), expected float64 \(7, 3\)"),
        (spoilt(exp_avg=np.zeros((7, 3), complex)), "exp_avg of parameter 0 is complex128"),
        (spoilt(step=-1), "step of parameter 0 must be an int of at least 0, got -1"),
        (spoilt(step=1.5), "got 1.5"),
    ]:
        with pytest.raises(ValueError, match=words):
            opt.load_state_dict(bad)
        assert opt.param_groups[0]["lr"] == 0.25 and opt.state[params[0]]["step"] == 1
        np.testing.assert_array_equal(opt.state[params[0]]["exp_avg"].numpy(), good["state"][0]["exp_avg"])


# -------------------------------------------------------------------------------------------------------- refusals

LEAF = mc.ones(2, requires_grad=True)


@pytest.mark.parametrize("params, error, words", [
    ([], ValueError, "SGD: got no parameters"),
    ([{"params": []}], ValueError, "SGD: group 0 has no parameters"),
    (LEAF, TypeError, "SGD: params must be a list of tensors or of groups, got one Tensor"),
    ({"params": [LEAF]}, TypeError, "got one dict"),
    ([np.ones(3)], TypeError, "SGD: parameter 0 must be a Tensor, got ndarray"),
    ([LEAF, LEAF], ValueError, r"SGD: parameter 1, of shape \(2,\), is there twice"),
    ([{"params": [LEAF]}, {"params": [LEAF]}], ValueError, "is there twice"),
    ([LEAF * 2], ValueError, "SGD: parameter 0, of shape .* only leaf tensors can be optimized"),
    ([{"params": [LEAF]}, LEAF], TypeError, "SGD: expected tensors throughout or groups"),
    ([{"params": [LEAF], "momentun": 1}], ValueError, "SGD: unknown options momentun; it has lr, momentum"),
    ([{"params": [LEAF], "lr": -1}], ValueError, "SGD: lr must be a number of at least 0, got -1"),
])
def test_wrong_parameters_are_refused(params, error, words):
    with pytest.raises(error, match=words):
        optim.SGD(params)


@pytest.mark.parametrize("name, options, words", [
    ("SGD", {"lr": float("nan")}, "SGD: lr must be a number of at least 0, got nan"),
    ("SGD", {"lr": "fast"}, "got 'fast'"),
    ("SGD", {"momentum": -0.1}, "SGD: momentum"),
    ("SGD", {"nesterov": True}, "SGD: nesterov needs a momentum above 0 and a dampening of 0"),
    ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "SGD: nesterov"),
    ("Adam", {"betas": (0.9, 1.0)}, r"Adam: betas\[1\] must be from 0 to below 1, got 1.0"),
    ("Adam", {"betas": 0.9}, "Adam: betas must be two numbers, got 0.9"),
    ("Adam", {"eps": -1}, "Adam: eps"),
    ("AdamW", {"weight_decay": -1}, "AdamW: weight_decay"),
    ("RMSprop", {"alpha": 1}, "RMSprop: alpha must be from 0 to below 1, got 1"),
    ("Adagrad", {"lr_decay": -1}, "Adagrad: lr_decay"),
])
def test_options_out_of_range_are_refused(name, options, words):
    with pytest.raises(ValueError, match=words):
        getattr(optim, name)([mc.ones(1)], **options)


def test_a_gradient_that_does_not_fit_stops_the_step_before_it_begins():
    params = starting()
    before = params[0].numpy().copy()
    opt = optim.SGD(params, lr=1)
    feed(params, [np.ones(SHAPES[0]), np.ones(4), None])
    with pytest.raises(ValueError, match=r"SGD: a gradient is float64 \(4,\) on cpu, its parameter float64 \(5,\)"):
        opt.step()
    np.testing.assert_array_equal(params[0].numpy(), before)


def test_parameters_on_one_memory_are_moved_one_after_the_other():
    """As many as keep two threads busy: each takes its own gradient off what the one before it left."""
    start = np.random.default_rng(3).normal(size=300_000).astype(np.float32)
    memory = mc.tensor(start)
    params = [mc.nn.Parameter(memory), mc.nn.Parameter(memory)]
    for number, param in enumerate(params, 1):
        param.grad = mc.tensor(np.full(start.shape, number, np.float32))
    optim.SGD(params, lr=0.5).step()
    np.testing.assert_array_equal(memory.numpy(), (start - np.float32(0.5)) - np.float32(1.0))


def test_parameters_of_both_dtypes_move_in_one_step():
    params = [mc.nn.Parameter(mc.ones(3, dtype=dtype)) for dtype in ("float32", "float64", "float32")]
    for param in params[:2]:
        param.grad = mc.ones(3, dtype=param.dtype)
    opt = optim.Adam(params, lr=0.1)
    opt.step()
    params[2].grad = mc.ones(3)
    opt.step()
    for param, steps in zip(params, (2, 2, 1), strict=True):
        assert opt.state[param]["step"] == steps
        np.testing.assert_allclose(param.numpy(), 1 - 0.1 * steps, rtol=1e-5)
