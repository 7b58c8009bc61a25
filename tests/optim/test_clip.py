"""Limits on gradients: against PyTorch, and by hand."""

from math import inf, nan

import numpy as np
import pytest

import minicnn as mc
from minicnn.optim import clip_grad_norm_, clip_grad_value_

RNG = np.random.default_rng(4)


def with_gradients(*gradients):
    params = []
    for gradient in gradients:
        params.append(mc.zeros(np.shape(gradient), dtype="f8", requires_grad=True))
        params[-1].grad = mc.tensor(np.asarray(gradient, "f8"))
    return params


def test_the_norm_by_hand():
    params = [*with_gradients([3.0], [[4.0]]), mc.zeros(2, requires_grad=True), *with_gradients([])]  # none; nothing
    assert clip_grad_norm_(params, 10).item() == 5 and params[0].grad.item() == 3
    norm = clip_grad_norm_(params, 1)
    assert isinstance(norm, mc.Tensor) and norm.item() == 5
    assert params[0].grad.item() == pytest.approx(0.6) and params[1].grad.item() == pytest.approx(0.8)
    assert params[2].grad is None and clip_grad_norm_([], 1).item() == clip_grad_norm_(params[3], 1, inf).item() == 0


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, inf])
@pytest.mark.parametrize("max_norm", [0.5, 1000.0])
def test_norms_as_pytorchs(norm_type, max_norm):
    torch = pytest.importorskip("torch")
    gradients = [RNG.standard_normal(s) for s in ((3, 4), (5,))]
    ours, theirs = with_gradients(*gradients), [torch.zeros(g.shape) for g in gradients]
    for their, gradient in zip(theirs, gradients, strict=True):
        their.grad = torch.tensor(gradient, dtype=torch.float32)
    want = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert clip_grad_norm_(ours, max_norm, norm_type).item() == pytest.approx(want.item(), rel=1e-6)
    for own, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own.grad.numpy(), their.grad.numpy(), rtol=1e-6, atol=1e-7)


def test_the_norm_of_gradients_of_two_dtypes():
    params = [*with_gradients([3.0, 0.0]), mc.zeros(1, requires_grad=True), *with_gradients([])]
    params[1].grad = mc.tensor([4.0])
    for norm_type, norm in ((2, 5), (1, 7), (inf, 4)):
        assert clip_grad_norm_(params, 10, norm_type).item() == norm
    assert clip_grad_norm_(params, 1).dtype == np.float64
    assert params[0].grad.tolist() == pytest.approx([0.6, 0]) and params[1].grad.item() == pytest.approx(0.8)
    assert [param.grad.dtype for param in params] == [np.float64, np.float32, np.float64]


@pytest.mark.parametrize("max_norm", [0.5, 1000.0])
@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, inf])
def test_norms_on_a_gpu_as_on_the_cpu(gpu, norm_type, max_norm):
    found = []
    for device in ("cpu", gpu):
        params = [mc.zeros(shape, device=device, requires_grad=True) for shape in ((3, 4), (5,), (0,))]
        for seed, param in enumerate(params):
            param.grad = mc.tensor(np.random.default_rng(seed).normal(size=param.shape).astype("f4"), device=device)
        norm = clip_grad_norm_(params, max_norm, norm_type)
        assert norm.device == device
        found.append([norm.item(), *(param.grad.numpy() for param in params)])
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_gradients_are_changed_in_place():
    (param,) = with_gradients([3.0, 4.0])
    grad = param.grad
    clip_grad_norm_(param, 1)
    assert param.grad is grad and grad.numpy()[0] == pytest.approx(0.6)
    clip_grad_value_(param, 0.7)
    assert param.grad is grad and grad.numpy().tolist() == pytest.approx([0.6, 0.7])


def test_values_are_limited_on_both_sides():
    params = with_gradients([-3.0, 0.5, 3.0])
    clip_grad_value_(params, 1)
    assert params[0].grad.tolist() == [-1, 0.5, 1]


def test_a_norm_that_is_no_number():
    for bad in (nan, inf):
        for norm_type in (2, inf):
            params = with_gradients([1.0, bad], [2.0])
            with pytest.raises(RuntimeError, match="clip_grad_norm_: the norm of the gradients is (nan|inf)"):
                clip_grad_norm_(params, 1, norm_type, error_if_nonfinite=True)
            assert params[1].grad.item() == 2
            clip_grad_norm_(params, 1, norm_type)
            assert not params[1].grad.item() > 0


def test_wrong_limits():
    with pytest.raises(ValueError, match="max_norm must not be negative, got -1"):
        clip_grad_norm_([], -1)
    with pytest.raises(ValueError, match="norm_type must be positive, got 0"):
        clip_grad_norm_([], 1, 0)
    with pytest.raises(ValueError, match="clip_value must not be negative, got -1"):
        clip_grad_value_([], -1)
