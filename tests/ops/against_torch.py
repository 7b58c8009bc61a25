"""One call held against PyTorch's: values and all gradients, in float64 and float32."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import minicnn as mc

#: Largest difference allowed, as a share of the largest number.
TOLERANCE = {"float64": 1e-10, "float32": 2e-5}


def first(t: Any) -> Any:
    """(N, ..., C) to PyTorch's (N, C, ...)"""
    return t.movedim(-1, 1)


def last(t: Any) -> Any:
    """The way back. Flat in between, so that PyTorch gets its gradient contiguous: given one with strides, the gradient
    of its instance norm of a single picture is wrong (2.13)."""
    return t.reshape(-1).reshape(t.shape).movedim(1, -1)


def close(got: np.ndarray, want: np.ndarray, tolerance: float, what: str) -> None:
    assert got.shape == tuple(want.shape), what
    finite = np.isfinite(want)
    scale = max(1.0, float(np.abs(want[finite]).max(initial=0)))
    assert np.array_equal(np.isfinite(got), finite), what
    assert np.array_equal(got[~finite], want[~finite], equal_nan=True), what
    assert np.abs(got[finite] - want[finite]).max(initial=0) <= tolerance * scale, what


def same_as_torch(own: Callable[..., Any], theirs: Callable[..., Any], *arrays: np.ndarray) -> None:
    """own(*tensors) and theirs(torch.nn.functional, *torch tensors) give the same, channels last; so do the gradients
    of all float inputs. Integer outputs must be equal."""
    torch = pytest.importorskip("torch")
    for dtype, tolerance in TOLERANCE.items():
        given = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
        ours = [mc.tensor(a, requires_grad=a.dtype.kind == "f") for a in given]
        others = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in given]
        got, want = _several(own(*ours)), _several(theirs(torch.nn.functional, *others))
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            assert str(g.dtype) == str(w.dtype).removeprefix("torch."), dtype
            close(g.numpy(), w.detach().numpy(), tolerance if w.is_floating_point() else 0, f"value, {dtype}")
        if not any(w.requires_grad for w in want):
            continue
        rng = np.random.default_rng(1)
        weights = [rng.standard_normal(tuple(w.shape)) for w in want]
        pairs = zip(want, weights, strict=True)
        sum((w * torch.tensor(k, dtype=w.dtype)).sum() for w, k in pairs if w.requires_grad).backward()
        pairs = zip(got, weights, strict=True)
        sum((g * mc.tensor(k, g.dtype)).sum() for g, k in pairs if g.requires_grad).backward()
        for i, (o, t) in enumerate(zip(ours, others, strict=True)):
            if t.grad is not None:
                close(o.grad.numpy(), t.grad.numpy(), tolerance, f"gradient of input {i}, {dtype}")


def _several(result: Any) -> Sequence[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def both_refuse(own: Callable[[], Any], theirs: Callable[[Any], Any], match: str) -> None:
    """PyTorch refuses the call, and so do we, with a message that names what is wrong."""
    torch = pytest.importorskip("torch")
    with pytest.raises((RuntimeError, ValueError, TypeError, IndexError, NotImplementedError, ZeroDivisionError)):
        theirs(torch)
    with pytest.raises((ValueError, TypeError, IndexError), match=match):
        own()
