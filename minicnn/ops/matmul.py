"""Matrix products: matmul, linear."""

from math import prod

import numpy as np

from ..dispatch import dispatch
from ..tape import Function, op
from ..tensor import Tensor, method, tensor
from .arguments import need_float
from .reduce import ChannelSum


class MatMul(Function):
    """a @ b (+ bias) for matrices (M, K) and (K, N), or batches of them, (B, M, K) and (B, K, N); either side
    transposed first if so asked.

    With A and B the factors as the product sees them and G the gradient: dA = G Bᵀ and dB = Aᵀ G. A factor that came
    transposed gets its gradient transposed, which swaps the two sides: dAᵀ = B Gᵀ, dBᵀ = Gᵀ A.
    """

    saves = ("a", "b")
    transpose_a: bool
    transpose_b: bool

    def forward(self, a, b, bias):
        single = a.ndim == 2
        if single:
            a, b = a.reshape(1, *a.shape), b.reshape(1, *b.shape)
        y = dispatch("matmul", a, b, bias, transpose_a=self.transpose_a, transpose_b=self.transpose_b)
        return y.reshape(y.shape[1:]) if single else y

    def backward(self, grad):
        a, b = self.saved
        ta, tb = self.transpose_a, self.transpose_b
        da = db = None
        if self.needs[0]:
            da = product(b, grad, tb, True) if ta else product(grad, b, False, not tb)
        if self.needs[1]:
            db = product(grad, a, True, ta) if tb else product(a, grad, not ta, False)
        return da, db, ChannelSum.apply(grad) if self.needs[2] else None


def product(
    a: Tensor, b: Tensor, transpose_a: bool = False, transpose_b: bool = False, bias: Tensor | None = None
) -> Tensor:
    return MatMul.apply(a, b, bias, transpose_a=transpose_a, transpose_b=transpose_b)


@op
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product over the last two dimensions, as NumPy's: a vector is a row on the left and a column on the
    right, leading dimensions broadcast.

    (..., M, K) @ (..., K, N) -> (..., M, N); the operator `@` is the same. ValueError where the sizes don't meet.

    >>> import minicnn as mc
    >>> mc.nn.functional.matmul(mc.tensor([[1.0, 2.0], [3.0, 4.0]]), mc.tensor([1.0, 10.0])).tolist()
    [21.0, 43.0]
    >>> a = mc.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> mc.nn.functional.matmul(a, mc.tensor([10.0, 1.0])).tolist(), (a @ a).tolist()
    ([12.0, 34.0], [[7.0, 10.0], [15.0, 22.0]])
    >>> mc.nn.functional.matmul(mc.zeros(8, 1, 2, 3), mc.zeros(5, 3, 4)).shape
    (8, 5, 2, 4)
    """
    a, b = (tensor(x) if isinstance(x, np.ndarray) else x for x in (a, b))
    need_float("matmul", a=a, b=b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("matmul: a and b must have at least one dimension")
    left = a.reshape((1, a.shape[0])) if a.ndim == 1 else a
    right = b.reshape((b.shape[0], 1)) if b.ndim == 1 else b
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(f"matmul: {a.shape} @ {b.shape}: {left.shape[-1]} columns do not meet {right.shape[-2]} rows")
    batch = _broadcast(left.shape[:-2], right.shape[:-2], a, b)
    (m, k), n = left.shape[-2:], right.shape[-1]
    if prod(right.shape[:-2]) == 1:  # one right side for all: one tall product
        y = product(left.reshape((1, prod(left.shape[:-2]) * m, k)), right.reshape((1, k, n)))
    else:
        y = product(
            left.expand((*batch, m, k)).reshape((prod(batch), m, k)),
            right.expand((*batch, k, n)).reshape((prod(batch), k, n)),
        )
    return y.reshape(batch + (() if a.ndim == 1 else (m,)) + (() if b.ndim == 1 else (n,)))


def _broadcast(one: tuple[int, ...], other: tuple[int, ...], a: Tensor, b: Tensor) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(one, other)
    except ValueError:
        raise ValueError(f"matmul: {a.shape} @ {b.shape}: leading dimensions do not broadcast") from None


@op
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x @ weight + bias

    x: (..., in_features), weight: (in_features, out_features), bias: (out_features,) -> (..., out_features)

    >>> import minicnn as mc
    >>> mc.nn.functional.linear(mc.tensor([[1.0, 2.0]]), mc.tensor([[1.0], [10.0]]), mc.tensor([0.5])).tolist()
    [[21.5]]
    """
    need_float("linear", x=x, weight=weight, bias=bias)
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[0]:
        raise ValueError(
            f"linear: x {x.shape} does not fit weight {weight.shape}, expected (..., in_features) and "
            "(in_features, out_features)"
        )
    if bias is not None and bias.shape != weight.shape[1:]:
        raise ValueError(f"linear: bias has shape {bias.shape}, expected {weight.shape[1:]}")
    if x.ndim == 2:
        return product(x, weight, bias=bias)
    y = product(x.reshape((prod(x.shape[:-1]), x.shape[-1])), weight, bias=bias)
    return y.reshape((*x.shape[:-1], weight.shape[1]))


method(matmul, "matmul", "__matmul__")
method(lambda a, b: matmul(b, a), "__rmatmul__")
