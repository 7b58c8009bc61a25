"""Every op of the table on every device, held against PyTorch and against numeric differences."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import minicnn as mc

_spec = importlib.util.spec_from_file_location("ops_table", Path(__file__).with_name("table.py"))
table = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(table)
CASES = table.CASES
by_name = pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])


def tensors(case, arrays, requires_grad=True, device="cpu"):
    return [mc.tensor(a, device=device, requires_grad=requires_grad and a.dtype.kind == "f") for a in arrays]


def outputs_of(result):
    return list(result) if isinstance(result, tuple | list) else [result]


def weights_for(shapes):
    rng = np.random.default_rng(1)
    return [rng.standard_normal(shape) for shape in shapes]


def by_minicnn(case, arrays, device):
    """What the op gives, and the gradients of a weighted sum of that by its inputs, None where there is none."""
    inputs = tensors(case, arrays, device=device)
    outputs = outputs_of(case.own(*inputs))
    assert {y.device for y in outputs} == {device if inputs else "cpu"}
    if case.differentiable:
        weights = weights_for([y.shape for y in outputs])
        sum((y * mc.tensor(w, y.dtype, device)).sum() for y, w in zip(outputs, weights, strict=True)).backward()
    return [y.numpy() for y in outputs], [None if x.grad is None else x.grad.numpy() for x in inputs]


def by_pytorch(case, arrays):
    torch = pytest.importorskip("torch")
    inputs = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    outputs = outputs_of(case.theirs(torch, torch.nn.functional, *inputs))
    if case.differentiable:
        weights = weights_for([y.shape for y in outputs])
        sum((y * torch.tensor(w, dtype=y.dtype)).sum() for y, w in zip(outputs, weights, strict=True)).backward()
    return [y.detach().numpy() for y in outputs], [None if x.grad is None else x.grad.numpy() for x in inputs]


@by_name
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_values_and_gradients(case, dtype, device):
    """On the CPU they are PyTorch's, on other devices the CPU's."""
    arrays = case.arrays(dtype)
    values, gradients = by_pytorch(case, arrays) if device == "cpu" else by_minicnn(case, arrays, "cpu")
    own_values, own_gradients = by_minicnn(case, arrays, device)
    tolerance = 1e-12 if dtype == np.float64 else 2e-6
    for own, other in zip(own_values, values, strict=True):
        close(own, other, tolerance)
    for own, other in zip(own_gradients, gradients, strict=True):
        if other is not None:
            close(own, other, 10 * tolerance)


def close(got, want, tolerance):
    assert got.shape == want.shape
    scale = max(1.0, float(np.abs(want).max(initial=0)))
    assert np.allclose(got, want, rtol=0, atol=tolerance * scale, equal_nan=True), np.abs(got - want).max()


@by_name
def test_derivatives_match_differences(case):
    if not case.differentiable:
        pytest.skip("has no derivative")
    inputs = tensors(case, case.arrays())
    assert mc.gradcheck(case.own, inputs)
    assert mc.gradgradcheck(case.own, inputs)


@by_name
def test_derivatives_along_a_line_match_differences(case, gpu):
    """The same in one direction, drawn at random: a few hundred launches instead of thousands."""
    if not case.differentiable:
        pytest.skip("has no derivative")
    arrays = case.arrays()
    inputs, rng = tensors(case, arrays, False, gpu), np.random.default_rng(2)
    ways = [mc.tensor(rng.standard_normal(a.shape), device=gpu) if a.dtype.kind == "f" else None for a in arrays]

    def function(step):
        moved = [x if way is None else x + step * way for x, way in zip(inputs, ways, strict=True)]
        return case.own(*moved)

    start = mc.tensor(0.0, dtype="float64", device=gpu, requires_grad=True)
    assert mc.gradcheck(function, start)
    assert mc.gradgradcheck(function, start)


@by_name
def test_non_contiguous_arrays_give_the_same(case, device):
    arrays = case.arrays(np.float32)
    scattered = [np.repeat(a[..., None], 2, axis=-1)[..., 0] for a in arrays]
    plain = outputs_of(case.own(*tensors(case, arrays, False, device)))
    again = outputs_of(case.own(*tensors(case, scattered, False, device)))
    for a, b in zip(plain, again, strict=True):
        assert np.array_equal(a.numpy(), b.numpy(), equal_nan=True)


def test_every_public_op_has_a_line():
    listed = {c.name.split()[0] for c in CASES}
    public = {n for n in vars(mc.nn.functional) if not n.startswith("_") and callable(getattr(mc.nn.functional, n))}
    assert public - listed == set()


def test_every_public_op_says_what_it_does():
    silent = [n for n, f in vars(mc.nn.functional).items() if callable(f) and not n.startswith("_") and not f.__doc__]
    assert silent == []
