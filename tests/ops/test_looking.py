import threading

import numpy as np
import pytest

import minicnn as mc
from minicnn.nn import functional as F
from minicnn.ops.looking import noting_squashed, rectifier_rule, rectifiers_pass_back


def slopes(function):
    x = mc.tensor(np.array([-1.0, 2.0, 8.0]), requires_grad=True)
    function(x).backward(mc.tensor(np.array([3.0, 3.0, 3.0])))
    return x.grad.tolist()


def test_a_rule_holds_inside_and_the_inner_one_first():
    with rectifiers_pass_back(lambda grad, derivative: derivative(grad) * 10):
        assert slopes(F.relu) == [0, 30, 30] and slopes(F.relu6) == [0, 30, 0] and slopes(F.silu) != [0, 30, 30]
        with pytest.raises(KeyError), rectifiers_pass_back(lambda grad, derivative: -grad):
            assert slopes(F.relu) == [-3, -3, -3]
            raise KeyError
        assert slopes(mc.Tensor.relu) == [0, 30, 30]
    assert slopes(F.relu) == [0, 3, 3] and rectifier_rule() is None


def test_a_rule_is_of_one_thread():
    found = []
    with rectifiers_pass_back(lambda grad, derivative: grad):
        thread = threading.Thread(target=lambda: found.append(rectifier_rule()))
        thread.start()
        thread.join()
    assert found == [None]


def test_the_latest_squashed_is_noted():
    x = mc.tensor([[1.0, 2.0]])
    before = F.softmax(x)
    with noting_squashed() as outer:
        y = F.sigmoid(x)
        with noting_squashed() as inner:
            z = F.log_softmax(y)
        assert outer.look_through(y) is x and inner.look_through(z) is y
        assert inner.look_through(y) is y and outer.look_through(before) is before
        w = F.softmax(x)
        assert outer.look_through(y) is y and outer.look_through(w) is x
    F.sigmoid(x)
    assert outer.output is w
