"""Tensors: making them, looking into them, arithmetic's rules about dtypes, errors."""

import copy
import pickle

import numpy as np
import pytest

import minicnn as mc


def test_dtypes_of_new_tensors():
    assert mc.tensor([1.0]).dtype == np.float32
    assert mc.tensor(1.5).dtype == np.float32
    assert mc.tensor([1, 2]).dtype == np.int64
    assert mc.tensor([True]).dtype == np.bool_
    assert mc.tensor(np.array([1.0])).dtype == np.float64
    assert mc.tensor([np.float64(1.0)]).dtype == np.float64
    assert mc.tensor(np.zeros(2, np.uint8)).dtype == np.uint8
    assert mc.tensor([1, 2], dtype="float64").dtype == np.float64
    with pytest.raises(TypeError, match="float16"):
        mc.tensor(np.zeros(2, np.float16))
    with pytest.raises(TypeError, match="object|<U1"):
        mc.tensor(["a"])


def test_a_tensor_is_a_copy_and_contiguous():
    source = np.arange(6.0).reshape(2, 3).T
    t = mc.tensor(source)
    source[0, 0] = 99
    assert t.numpy()[0, 0] == 0
    assert t.array.flags.c_contiguous and t.array.ctypes.data % 64 == 0


def test_numpy_is_read_only():
    view = mc.ones(2).numpy()
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 2


def test_array_protocols():
    t = mc.tensor(np.arange(3.0))
    assert np.asarray(t).dtype == np.float64
    np.testing.assert_array_equal(np.sin(np.asarray(t)), np.sin([0, 1, 2]))
    assert isinstance(np.arange(3.0) * t, mc.Tensor)
    assert isinstance(np.float64(2) + t, mc.Tensor)
    np.testing.assert_array_equal(np.from_dlpack(t), [0, 1, 2])


def test_numbers_take_the_tensors_dtype():
    x = mc.ones(2, dtype="float64")
    assert (x * 2).dtype == (2.5 - x).dtype == (x / 3).dtype == np.float64
    i = mc.tensor([1, 2])
    assert (i + 1).dtype == np.int64
    assert (i * 0.5).dtype == np.float32 and (i * 0.5).tolist() == [0.5, 1.0]
    assert (i / 2).tolist() == [0.5, 1.0]
    assert (i == 2).tolist() == [False, True]


def test_mixed_dtypes_are_refused():
    with pytest.raises(TypeError, match="add: dtypes differ: float32 and float64"):
        mc.ones(2) + mc.ones(2, dtype="float64")
    with pytest.raises(TypeError, match="conv2d: weight is float64, but x is float32"):
        mc.nn.functional.conv2d(mc.ones(1, 3, 3, 1), mc.ones(1, 1, 1, 1, dtype="float64"))
    with pytest.raises(TypeError, match="exp"):
        mc.tensor([1, 2]).exp()


def test_shapes_that_do_not_broadcast():
    with pytest.raises(ValueError, match=r"add: b of shape \(2,\) does not broadcast with \(3,\)"):
        mc.ones(3) + mc.ones(2)


def test_devices_that_are_not_there():
    with pytest.raises(RuntimeError, match="'cuda'.*'cpu'"):
        mc.ones(2).to("cuda")
    with pytest.raises(ValueError, match="expected 'cpu', 'cuda', 'cuda:N' or 'emulator', got 'tpu'"):
        mc.ones(2, device="tpu")


def test_sizes_that_overflow():
    with pytest.raises((ValueError, MemoryError)):
        mc.zeros((1 << 40, 1 << 40))
    with pytest.raises(ValueError, match="shape"):
        mc.zeros((-1, 2))


def test_truth_length_and_numbers():
    assert float(mc.tensor(2.5)) == 2.5 and int(mc.tensor(3)) == 3 and bool(mc.tensor([True]))
    assert len(mc.ones(4, 2)) == 4 and [t.shape for t in mc.ones(2, 3)] == [(3,), (3,)]
    with pytest.raises(ValueError, match="ambiguous"):
        bool(mc.ones(2))
    with pytest.raises(ValueError, match="one element"):
        mc.ones(2).item()
    with pytest.raises(TypeError):
        len(mc.tensor(1.0))
    assert list(range(3))[mc.tensor(1)] == 1


def test_copies_and_pickles():
    x = mc.tensor([1.0, 2.0], requires_grad=True)
    twin = copy.deepcopy(x)
    assert twin.requires_grad and twin.array is not x.array
    again = pickle.loads(pickle.dumps(x))
    assert again.requires_grad and again.tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="leaf"):
        copy.deepcopy(x * 2)


def test_dtype_and_gradient():
    x = mc.tensor([1.5], requires_grad=True)
    y = x.to("float64") * 2
    y.sum().backward()
    assert y.dtype == np.float64 and x.grad.dtype == np.float32
    with pytest.raises(TypeError, match="int64"):
        mc.tensor([1], requires_grad=True)


def test_repr_tells_what_matters():
    assert repr(mc.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    x = mc.tensor([1.0], requires_grad=True)
    assert "requires_grad=True" in repr(x) and "made by Mul" in repr(x * 2)


def test_zero_size_batches_pass_through():
    functional = mc.nn.functional
    x = mc.zeros(0, 6, 6, 3).requires_grad_()
    w = mc.ones(3, 3, 3, 4, requires_grad=True)
    y = functional.max_pool2d(functional.relu(functional.conv2d(x, w)), 2)
    assert y.shape == (0, 2, 2, 4)
    y.sum().backward()
    assert x.grad.shape == x.shape and w.grad.numpy().max() == 0
    assert functional.linear(mc.zeros(0, 3), mc.ones(3, 2)).shape == (0, 2)
    assert mc.zeros(0, 3).sum().item() == 0 and np.isnan(mc.zeros(0, 3).mean().item())
    with pytest.raises(ValueError, match="two values a channel"):
        functional.batch_norm(mc.zeros(1, 3), None, None, training=True)
    with pytest.raises(ValueError, match="nothing to choose"):
        mc.zeros(0, 3).max()


def test_trace_lists_what_ran():
    with mc.trace_kernels() as trace:
        mc.nn.functional.conv2d(mc.ones(1, 4, 4, 3), mc.ones(3, 3, 3, 8))
    assert [(r.kernel, r.device, r.algorithm) for r in trace] == [("conv2d_forward", "cpu", "direct")]
    assert "1x4x4x3, 3x3x3x8, -, - -> 1x2x2x8" in str(trace)


def test_conv_algorithm_can_be_forced():
    try:
        mc.set_conv_algorithm("reference")
        with mc.trace_kernels() as trace:
            y = mc.nn.functional.conv2d(mc.ones(1, 4, 4, 3), mc.ones(3, 3, 3, 2))
        assert trace[0].algorithm == "reference" and y.numpy().max() == 27
        with pytest.raises(ValueError, match="'fast'"):
            mc.set_conv_algorithm("fast")
    finally:
        mc.set_conv_algorithm("auto")


def test_random_numbers_follow_the_seed():
    mc.manual_seed(4)
    first = mc.random.uniform((1000,))
    more = mc.random.normal((100_000,))
    mc.manual_seed(4)
    np.testing.assert_array_equal(first, mc.random.uniform((1000,)))
    assert 0 <= first.min() and first.max() < 1 and abs(first.mean() - 0.5) < 0.05
    assert abs(more.mean()) < 0.02 and abs(more.std() - 1) < 0.02 and abs((more**4).mean() - 3) < 0.15
    with pytest.raises(ValueError, match="-1"):
        mc.manual_seed(-1)


def test_dropout_keeps_the_expected_share():
    mc.manual_seed(0)
    x = mc.ones(200, 500, requires_grad=True)
    y = mc.nn.functional.dropout(x, 0.2)
    values = y.numpy()
    assert abs((values == 0).mean() - 0.2) < 0.01 and np.allclose(values[values != 0], 1.25)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), values)  # linear: the gradient passes where the value did
    z = mc.nn.functional.dropout2d(mc.ones(8, 5, 5, 16), 0.5).numpy()
    assert all(len(np.unique(z[n, :, :, c])) == 1 for n in range(8) for c in range(16)) and 0 < (z == 0).mean() < 1


def test_empty_batches_of_reductions():
    functional = mc.nn.functional
    assert mc.zeros(0, 3).max(dim=1).shape == (0,)
    assert mc.zeros(0, 3).logsumexp(dim=1).shape == (0,)
    assert functional.global_max_pool2d(mc.zeros(0, 3, 3, 2)).shape == (0, 1, 1, 2)


def test_indexing_always_copies():
    for x in (mc.ones(2, 3), mc.ones(1, 3)):
        x[0].zero_()
        assert x.numpy().min() == 1


def test_an_ellipsis_that_stands_for_nothing_does_not_separate():
    torch = pytest.importorskip("torch")
    a, rows, columns = np.arange(24).reshape(2, 3, 4), [0, 1], [2, 0]
    want = torch.tensor(a)[:, rows, ..., columns].tolist()
    assert mc.tensor(a)[:, rows, ..., columns].tolist() == want == a[:, rows, columns].tolist()


@pytest.mark.parametrize(("index", "words"), [
    (([0, 1], [0, 1, 2]), r"the arrays of an index do not broadcast: shapes \(2,\), \(3,\)"),
    (True, "a mask must have at least one dimension, got True"),
    ((0, np.bool_(False)), "a mask must have at least one dimension, got"),
    ([[1], [1, 2]], r"the rows of an index differ in length: \[\[1\], \[1, 2\]\]"),
])
def test_what_is_no_index(index, words):
    with pytest.raises(IndexError, match=words):
        mc.ones(3, 4)[index]


def test_binary_cross_entropy_at_the_ends():
    p = mc.tensor([0.0, 1.0, 1.0], requires_grad=True)
    loss = mc.nn.functional.binary_cross_entropy(p, mc.tensor([0.0, 1.0, 0.0]))
    assert loss.item() == pytest.approx(100 / 3)
    loss.backward()
    assert np.isfinite(p.grad.numpy()).all() and p.grad.tolist()[:2] == [0.0, 0.0]


def test_huge_requests_fail_at_once():
    with pytest.raises((ValueError, MemoryError)):
        mc.memory.empty((2**60,), np.dtype(np.float32))


def test_odd_arguments():
    assert mc.zeros(np.int64(3)).shape == (3,)
    with pytest.raises(TypeError, match="float16"):
        mc.ones(2).to("float16")
    with pytest.raises(ValueError):
        mc.ones(2).to(None)
    with pytest.raises(ValueError, match="split"):
        mc.ones(3).split([-1, 4])
