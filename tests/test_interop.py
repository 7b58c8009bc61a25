"""Tensors beside the arrays of other libraries."""

import copy
import multiprocessing
import operator
import pickle

import numpy as np
import pytest

import minicnn as mc


def test_numpy_reads_a_tensor_without_a_copy():
    x = mc.ones(2, 3)
    assert np.shares_memory(np.from_dlpack(x), x.array) and np.shares_memory(x.numpy(), x.array)
    assert np.asarray(x).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_a_tensor_on_the_memory_of_an_array():
    array = np.arange(6, dtype=np.float64).reshape(2, 3)
    x = mc.from_dlpack(array)
    x += 1
    assert np.shares_memory(x.array, array) and array.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert not np.shares_memory(mc.from_dlpack(array, copy=True).array, array)


@pytest.mark.parametrize("array", [np.ones((4, 6), np.float32)[:, ::2], np.ones((2, 3)).T], ids=["strided", "turned"])
def test_what_is_not_contiguous_is_copied_or_refused(array):
    assert (mc.from_dlpack(array).numpy() == array).all()
    with pytest.raises(ValueError, match="copy=False"):
        mc.from_dlpack(array, copy=False)


def test_read_only_memory_is_never_shared():
    array = np.ones(3)
    array.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        mc.from_dlpack(array, copy=False)


@pytest.mark.parametrize(("source", "words"), [([1.0], "__dlpack__, got list"), (np.ones(2, np.int8), "dtype int8")])
def test_what_is_no_tensor(source, words):
    with pytest.raises(TypeError, match=words):
        mc.from_dlpack(source)


def test_pytorch_both_ways():
    torch = pytest.importorskip("torch")
    theirs = torch.zeros(2, 3)
    ours = mc.from_dlpack(theirs)
    theirs += 1
    assert ours.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert torch.from_dlpack(ours).data_ptr() == theirs.data_ptr()
    assert mc.from_dlpack(torch.ones(3, 2).T).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_a_dtype_that_numpy_does_not_have():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="from_dlpack: dtype torch.bfloat16 is not one of float32"):
        mc.from_dlpack(torch.ones(3, dtype=torch.bfloat16))


@pytest.mark.parametrize("by", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow,
                                operator.matmul, operator.lt, operator.ge], ids=lambda o: o.__name__)
def test_numpy_on_either_side(by):
    a, b = np.array([[1.0, 2], [3, 4]], np.float32), np.array([[2.0, 1], [1, 3]], np.float32)
    for result in (by(a, mc.tensor(b)), by(mc.tensor(a), b)):
        assert isinstance(result, mc.Tensor)
        np.testing.assert_allclose(result.numpy(), by(a, b))


def test_numpy_on_the_left_is_differentiated():
    x = mc.ones(2, 2, requires_grad=True)
    (np.float32([[1, 2], [3, 4]]) @ x).sum().backward()
    assert x.grad.tolist() == [[4, 4], [6, 6]]


def test_copies_and_pickles():
    x = mc.tensor([1.0, 2.0], requires_grad=True)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.tolist() == [1, 2] and twin.requires_grad and not np.shares_memory(twin.array, x.array)


def test_other_processes_take_and_give_tensors():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(copy.copy, (mc.tensor([1.0, 2.0]),)).tolist() == [1, 2]
