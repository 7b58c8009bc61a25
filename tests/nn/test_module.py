"""Module: registration, walking, hooks, changes in place, repr."""

import copy
import pickle

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn


class Block(nn.Module):
    """Two linear layers, one used under two names, a buffer and a plain attribute."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 4)
        self.again = self.second
        self.scale = nn.Parameter(np.full(4, 2.0, np.float32))
        self.register_buffer("seen", mc.zeros(4))
        self.note = "plain"

    def forward(self, x):
        return self.again(self.second(self.first(x))) * self.scale


def named(iterator):
    return [name for name, _ in iterator]


def test_parameters_modules_and_buffers_are_registered_by_assignment_in_order():
    block = Block()
    assert named(block.named_parameters()) == ["scale", "first.weight", "first.bias", "second.weight", "second.bias"]
    assert named(block.named_buffers()) == ["seen"]
    assert named(block.named_modules()) == ["", "first", "second"]
    assert named(block.named_modules(remove_duplicate=False)) == ["", "first", "second", "again"]
    assert named(block.named_children()) == ["first", "second"]
    assert list(block.children()) == [block.first, block.second]
    assert len(list(block.parameters())) == 5 and len(list(block.modules())) == 3 and len(list(block.buffers())) == 1
    assert [p.shape for p in block.parameters(recurse=False)] == [(4,)]
    assert block.note == "plain"


def test_a_shared_parameter_is_listed_once_and_stands_in_the_state_under_both_names():
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    assert named(tied.named_parameters()) == ["0.weight", "0.bias", "1.bias"]
    assert list(tied.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_gradients_of_a_shared_parameter_add_up():
    tied = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    tied[1].weight = tied[0].weight
    nn.init.constant_(tied[0].weight, 3)
    tied(mc.ones(1, 1)).sum().backward()  # y = w^2 x
    assert tied[0].weight.grad.item() == 6


def test_a_parameter_shares_a_tensors_memory_and_copies_an_array():
    source = mc.tensor([1.0, 2.0])
    shared = nn.Parameter(source)
    assert shared.array is source.array and shared.requires_grad and shared.is_leaf
    array = np.ones(2)
    own = nn.Parameter(array, requires_grad=False)
    array[0] = 5
    assert own.tolist() == [1, 1] and own.dtype == np.float64 and not own.requires_grad
    with pytest.raises(TypeError, match="only float tensors have gradients, got int64"):
        nn.Parameter(np.arange(3))


def test_attributes_can_be_emptied_replaced_and_deleted():
    block = Block()
    block.scale = None
    assert block.scale is None and "scale" not in named(block.named_parameters())
    block.scale = nn.Parameter(np.ones(4, np.float32))
    assert named(block.named_parameters())[0] == "scale"
    block.seen = mc.ones(4)
    assert named(block.named_buffers()) == ["seen"] and block.seen.tolist() == [1] * 4
    block.first = nn.Identity()
    assert named(block.named_children()) == ["first", "second"]
    del block.scale
    with pytest.raises(AttributeError, match="Block has no attribute 'scale'"):
        _ = block.scale


def test_wrong_assignments_say_what_is_expected():
    block = Block()
    with pytest.raises(TypeError, match="Block.scale must be a Parameter or None, got Tensor"):
        block.scale = mc.ones(4)
    with pytest.raises(TypeError, match="Block.first must be a Module or None, got int"):
        block.first = 3
    with pytest.raises(TypeError, match="Block.seen must be a Tensor or None, got list"):
        block.seen = [1]
    with pytest.raises(KeyError, match="has an attribute 'note' already"):
        block.register_buffer("note", mc.ones(1))
    with pytest.raises(KeyError, match="without dots"):
        block.add_module("a.b", nn.Identity())
    with pytest.raises(TypeError, match="add_module: x must be a Module, got str"):
        block.add_module("x", "layer")
    with pytest.raises(TypeError, match="register_buffer: x must be a Tensor or None, got ndarray"):
        block.register_buffer("x", np.ones(3))
    with pytest.raises(TypeError, match="register_parameter: x must be a Parameter or None, got Tensor"):
        block.register_parameter("x", mc.ones(3))


def test_assigning_before_init_says_so():
    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.Identity()

    with pytest.raises(AttributeError, match=r"Early: call super\(\).__init__\(\) before assigning 'layer'"):
        Early()


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(mc.ones(1))


def test_a_transient_buffer_is_no_part_of_the_state():
    module = nn.Module()
    module.register_buffer("kept", mc.ones(1))
    module.register_buffer("scratch", mc.ones(1), persistent=False)
    module.register_buffer("absent", None)
    assert list(module.state_dict()) == ["kept"]
    assert named(module.named_buffers()) == ["kept", "scratch"]


def test_get_submodule_finds_by_dotted_name_and_hints_at_near_ones():
    model = nn.Sequential({"features": nn.Sequential(nn.ReLU()), "head": Block()})
    assert model.get_submodule("head.first") is model[1].first
    assert model.get_submodule("head.again") is model[1].second
    assert model.get_submodule("") is model
    with pytest.raises(AttributeError, match="Sequential has no submodule 'head.frist': did you mean 'head.first'"):
        model.get_submodule("head.frist")
    with pytest.raises(AttributeError, match="has no submodule 'zzz'$"):
        model.get_submodule("zzz")


def test_train_and_eval_reach_every_module():
    model = nn.Sequential(nn.Dropout(), Block())
    assert model.training and model.eval() is model
    assert not any(module.training for module in model.modules())
    assert model.train().training and model[1].first.training
    with pytest.raises(TypeError, match="mode must be True or False, got 1"):
        model.train(1)


def test_requires_grad_and_zero_grad():
    block = Block()
    block(mc.ones(2, 3)).sum().backward()
    assert all(p.grad is not None for p in block.parameters())
    before = block.scale.grad.numpy().copy()
    block.zero_grad(set_to_none=False)
    assert before.any() and not block.scale.grad.numpy().any()
    block.zero_grad()
    assert all(p.grad is None for p in block.parameters())
    assert block.requires_grad_(False) is block and not any(p.requires_grad for p in block.parameters())


def test_apply_visits_children_before_parents():
    visited = []
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU()))
    assert model.apply(lambda module: visited.append(type(module).__name__)) is model
    assert visited == ["Linear", "ReLU", "Sequential", "Sequential"]


def test_to_casts_floats_in_place_and_keeps_identity():
    block = Block()
    block.register_buffer("count", mc.tensor(np.arange(2)))
    block(mc.ones(2, 3)).sum().backward()
    before = list(block.parameters())
    values = before[1].numpy().copy()
    assert block.to("float64") is block
    assert all(now is then for now, then in zip(block.parameters(), before, strict=True))
    assert {p.dtype for p in block.parameters()} == {p.grad.dtype for p in block.parameters()} == {np.dtype("f8")}
    assert block.seen.dtype == np.float64 and block.count.dtype == np.int64
    np.testing.assert_array_equal(before[1].numpy(), values.astype("f8"))
    assert block(mc.ones((2, 3), dtype="f8")).dtype == np.float64
    assert block.to("cpu") is block
    with pytest.raises(TypeError, match="float32 or float64 parameters, got int64"):
        block.to(np.int64)
    with pytest.raises(ValueError, match="device"):
        block.to("nowhere")


def test_a_cast_refuses_a_tape_that_was_recorded_before():
    layer = nn.Linear(2, 2)
    y = layer(mc.ones((1, 2), requires_grad=True)).sum()
    layer.to("float64")
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_forward_hooks_see_change_and_go():
    layer = nn.ReLU()
    seen = []
    with layer.register_forward_hook(lambda *all: seen.append((all[0], all[1][0].shape, all[2].shape))):
        layer(mc.ones(2, 3))
    layer(mc.ones(2, 3))
    assert seen == [(layer, (2, 3), (2, 3))]
    handle = layer.register_forward_hook(lambda module, inputs, output: output * 3)
    doubled = layer.register_forward_hook(lambda module, inputs, output: output * 2)
    assert layer(mc.ones(1)).item() == 6
    handle.remove()
    assert layer(mc.ones(1)).item() == 2
    doubled.remove()
    assert layer(mc.ones(1)).item() == 1


def test_forward_pre_hooks_see_and_change_the_inputs():
    layer = nn.ReLU()
    with layer.register_forward_pre_hook(lambda module, inputs: inputs[0] + 1):
        assert layer(mc.ones(1)).item() == 2
    with layer.register_forward_pre_hook(lambda module, inputs: None):
        assert layer(mc.ones(1)).item() == 1


def test_deepcopy_is_independent_and_keeps_what_is_shared_shared():
    block = Block()
    twin = copy.deepcopy(block)
    assert twin.again is twin.second and twin.second is not block.second
    assert named(twin.named_parameters()) == named(block.named_parameters())
    before = block.first.weight.numpy().copy()
    nn.init.zeros_(twin.first.weight)
    np.testing.assert_array_equal(block.first.weight.numpy(), before)
    assert isinstance(twin.first.weight, nn.Parameter) and twin.first.weight.requires_grad
    x = mc.ones(1, 3)
    twin.load_state_dict(block.state_dict())
    np.testing.assert_array_equal(twin(x).numpy(), block(x).numpy())


def test_a_module_can_be_pickled():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    twin = pickle.loads(pickle.dumps(model))
    assert model.state_dict().keys() == twin.state_dict().keys()
    assert all(np.array_equal(model.state_dict()[k], v) for k, v in twin.state_dict().items())
    assert isinstance(twin[0].weight, nn.Parameter)


def test_repr_is_a_tree():
    tail = nn.Sequential(nn.Flatten(), nn.Linear(8, 1))
    model = nn.Sequential({"conv": nn.Conv2d(3, 8, 3, padding="same"), "tail": tail})
    assert repr(model) == """Sequential(
  (conv): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding='same')
  (tail): Sequential(
    (0): Flatten(start_dim=1, end_dim=-1)
    (1): Linear(in_features=8, out_features=1, bias=True)
  )
)"""
    assert repr(nn.ReLU()) == "ReLU()"


def test_dir_lists_what_is_registered():
    assert {"first", "scale", "seen"} <= set(dir(Block()))


def test_exports_follow_from_the_classes():
    assert nn.functional.relu is not None and nn.init.zeros_ is not None
    for name in ("Sequential", "Linear", "Conv2d", "CrossEntropyLoss"):
        assert issubclass(getattr(nn, name), nn.Module)
    assert not hasattr(nn, "Container") and not hasattr(nn, "Tensor")
