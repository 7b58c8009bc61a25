"""Sequential and ModuleList."""

from collections import OrderedDict

import pytest

import minicnn as mc
from minicnn import nn
from minicnn.nn.fuse import fusion, fusion_enabled


class Add(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return x + self.value


def values(container):
    return [module.value for module in container]


def test_sequential_calls_in_order():
    double = nn.Linear(1, 1, bias=False)
    nn.init.constant_(double.weight, 2)
    assert nn.Sequential(Add(1), double)(mc.ones(1, 1)).item() == 4
    assert nn.Sequential(double, Add(1))(mc.ones(1, 1)).item() == 3
    assert nn.Sequential()(mc.ones(1)).item() == 1


def test_the_same_module_may_come_twice():
    one = Add(1)
    model = nn.Sequential(one, one)
    assert len(model) == 2 and model(mc.ones(1)).item() == 3 and len(list(model.children())) == 1


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_names_of_ones_own(kind):
    model = nn.Sequential(kind([("a", Add(1)), ("b", Add(2))]))
    assert [name for name, _ in model.named_children()] == ["a", "b"] and model.b.value == 2
    assert [name for name, _ in model[1:].named_children()] == ["b"]


def test_indices_slices_and_length():
    model = nn.Sequential(*(Add(i) for i in range(5)))
    assert len(model) == 5 and model[-1].value == 4 and values(model[1:4:2]) == [1, 3]
    assert type(model[1:]) is nn.Sequential and model[1:][0] is model[1]
    assert [name for name, _ in model[3:].named_children()] == ["3", "4"]
    model[0] = Add(9)
    assert values(model) == [9, 1, 2, 3, 4]
    with pytest.raises(IndexError, match="index must be an int from -5 to 4, got 5"):
        _ = model[5]
    with pytest.raises(IndexError, match="got 'a'"):
        _ = model["a"]


def test_append_finds_a_free_name_behind_a_slice():
    tail = nn.Sequential(Add(0), Add(1))[1:]
    assert values(tail.append(Add(7))) == [1, 7]
    assert [name for name, _ in tail.named_children()] == ["1", "2"]


def test_sequential_takes_modules_only():
    with pytest.raises(TypeError, match="Sequential: module 1 must be a Module, got function"):
        nn.Sequential(nn.ReLU(), lambda x: x)
    with pytest.raises(TypeError, match="add_module: 0 must be a Module, got int"):
        nn.ModuleList([3])


def test_module_list_registers_and_does_not_run():
    listed = nn.ModuleList([Add(1), Add(2)]).append(Add(3)).extend([Add(4)])
    assert values(listed) == [1, 2, 3, 4] and len(list(listed.modules())) == 5
    assert values(listed[2:]) == [3, 4] and [name for name, _ in listed[2:].named_children()] == ["0", "1"]
    with pytest.raises(NotImplementedError, match="ModuleList has no forward"):
        listed(mc.ones(1))


def test_fusion_is_switched_plainly_and_for_a_while():
    assert fusion_enabled()
    with fusion(False):
        assert not fusion_enabled()
        with fusion(True):
            assert fusion_enabled()
        assert not fusion_enabled()
    assert fusion_enabled()
    fusion(False)
    assert not fusion_enabled()
    fusion(True)
    assert fusion_enabled() and mc.fusion is fusion
    with pytest.raises(TypeError, match="expected True or False, got 'off'"):
        fusion("off")
