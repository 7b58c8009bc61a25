"""The door to the kernels: what it refuses, what it remembers, what it shows."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn
from minicnn.dispatch import Remembered, dispatch, dispatch_rows


def floats(*shape, dtype=np.float32):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("params", [{}, {"low": 0.0}, {"low": 0.0, "high": 1.0, "middle": 2.0}])
def test_params_that_are_not_the_contracts_are_refused_the_second_time_too(params):
    x = floats(3)
    for _ in range(2):
        dispatch("clip", x, low=-1.0, high=1.0)
        with pytest.raises(TypeError, match=r"clip: params \[.*\] came, expected \['high', 'low'\]"):
            dispatch("clip", x, **params)


def test_arrays_that_do_not_fit_are_refused_behind_some_that_did():
    dispatch("add", floats(2, 3), floats(3))
    with pytest.raises(ValueError, match="add: b of shape"):
        dispatch("add", floats(2, 3), floats(4))
    with pytest.raises(TypeError, match="add: b is float64"):
        dispatch("add", floats(2, 3), floats(3, dtype=np.float64))
    with pytest.raises(TypeError, match="b is >f4"):  # the bytes of a number the other way round
        dispatch("add", floats(2, 3), floats(3).astype(">f4"))
    with pytest.raises(TypeError, match="20 arrays came"):
        dispatch("add", *[floats(1)] * 20)
    with pytest.raises(TypeError, match="not an array"):
        dispatch("neg", [1.0])


def test_rows_are_checked_one_by_one():
    rows = [(floats(3), floats(3), None), (floats(2, 2), floats(4), None)]
    settings = {"lr": 0.1, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, "first": True}
    before = rows[0][0].copy()
    with pytest.raises(ValueError, match="sgd_step: g has shape"):
        dispatch_rows("sgd_step", rows, **settings)
    np.testing.assert_array_equal(rows[0][0], before)
    mixed = [(floats(3), floats(3), None), (floats(2, dtype=np.float64), floats(2, dtype=np.float64), None)]
    with pytest.raises(TypeError, match="one dtype"):
        dispatch_rows("sgd_step", mixed, **settings)
    np.testing.assert_array_equal(mixed[0][0], before)


def test_a_trace_shows_what_a_kernel_does_besides():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU6(), nn.BatchNorm2d(8), nn.GELU(), nn.MaxPool2d(2), nn.Dropout(0.25))
    with mc.trace_kernels() as trace:
        net(mc.ones(2, 8, 8, 3))
    also = {run.kernel: run.also for run in trace if run.also}
    assert also == {"conv2d_forward": ("relu6",), "batch_norm_pool": ("gelu", "dropout 0.25")}
    assert str(trace).splitlines()[0].endswith("-> 2x6x6x8, with relu6")


def test_every_row_of_an_optimizers_step_is_traced():
    model = nn.Linear(3, 2)
    model(mc.ones(4, 3)).sum().backward()
    with mc.trace_kernels() as trace:
        mc.optim.Adam(model.parameters()).step()
    assert [(run.kernel, run.inputs[0]) for run in trace] == [("adam_step", (3, 2)), ("adam_step", (2,))]


def test_a_remembered_check_asks_again_where_anything_differs():
    asked = []

    def check(*arguments):
        asked.append(arguments)
        return len(asked)

    known = Remembered(check, mc.Tensor, 100)
    x, y = mc.ones(2, 3), mc.zeros(2, 3)
    calls = [(x, 1), (x, True), (x, "1"), (x, (1, 1)), (x, (1, True)), (x, None), (None, x), (x, x), (mc.ones(3, 2), 1),
             (x.to("float64"), 1), (x, 1.0), (x, [1])]
    first = [known(*call) for call in calls]
    assert first == list(range(1, len(calls) + 1))
    again = [known(*call) for call in calls]
    unlike = [i for i, (a, b) in enumerate(zip(first, again, strict=True)) if a != b]
    assert unlike == [4, 10, 11]  # settings of other types are not remembered
    assert known(y, 1) == 1  # other values, same shape
    small = Remembered(check, mc.Tensor, 2)
    assert len({small(i) for i in range(5)}) == 5 and small.function is check


def test_a_remembered_check_refuses_each_time():
    for _ in range(2):
        with pytest.raises(ValueError, match="conv2d"):
            nn.functional.conv2d(mc.ones(1, 5, 5, 3), mc.ones(3, 3, 4, 8))
        nn.functional.conv2d(mc.ones(1, 5, 5, 3), mc.ones(3, 3, 3, 8))


def test_a_misspelt_param_is_refused_once_the_call_is_known():
    x = np.ones((2, 3), np.float32)
    dispatch("leaky_relu", x, slope=0.1)
    with pytest.raises(TypeError, match=r"leaky_relu: params \['slop'\] came, expected \['slope'\]"):
        dispatch("leaky_relu", x, slop=0.1)


def test_a_remembered_check_takes_as_many_tensors_as_a_kernel_arrays():
    count = Remembered(lambda *tensors: len(tensors), mc.Tensor)
    wide = mc.ones((1,) * 32)
    assert [count(*[wide] * 16), count(*[wide] * 16), count(*[wide] * 17)] == [16, 16, 17]
