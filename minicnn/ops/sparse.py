"""Products with sparse matrices along one dimension: averages over uneven windows, resizing, sums over neighbours.

Such an op is linear, and along each dimension on its own: the matrix has a row for each output, in which few columns
are not 0. Its gradient is the product with the transposed matrix.
"""

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from .. import device as devices
from ..dispatch import dispatch
from ..tape import Function
from ..tensor import Tensor


class SparseMatrix:
    """A constant matrix by rows: row m has weight[t] in column index[t], for t from start[m] to start[m + 1] - 1."""

    def __init__(self, columns: int, start: np.ndarray, index: np.ndarray, weight: np.ndarray):
        self.columns, self.start, self.index, self.weight = columns, start, index, weight
        self._arrays: dict[Any, tuple[Any, ...]] = {}

    @classmethod
    def of_rows(cls, columns: int, rows: Sequence[tuple[Sequence[int], Sequence[float]]]) -> "SparseMatrix":
        """rows: for each row its columns and their weights."""
        start = np.cumsum([0, *(len(indices) for indices, _ in rows)], dtype=np.int64)
        index = np.array([i for indices, _ in rows for i in indices], np.int64)
        return cls(columns, start, index, np.array([w for _, weights in rows for w in weights], np.float64))

    @cached_property
    def transposed(self) -> "SparseMatrix":
        row = np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))
        order = np.argsort(self.index, kind="stable")
        start = np.concatenate([[0], np.cumsum(np.bincount(self.index, minlength=self.columns))]).astype(np.int64)
        other = SparseMatrix(len(self.start) - 1, start, row[order].astype(np.int64), self.weight[order])
        other.__dict__["transposed"] = self
        return other

    def arrays(self, dtype: np.dtype, device: str) -> tuple[Any, ...]:
        """start, index and weight, as a kernel takes them; moved there once."""
        found = self._arrays.get((dtype, device))
        if found is None:
            arrays = self.start, self.index, self.weight.astype(dtype)
            found = self._arrays[dtype, device] = tuple(devices.transfer(a, device) for a in arrays)
        return found


class CsrMatMul(Function):
    """y[o] = matrix @ x[o] for x (O, D, I)."""

    matrix: SparseMatrix

    def forward(self, x):
        return dispatch("csr_matmul", x, *self.matrix.arrays(x.dtype, devices.of(x)))

    def backward(self, grad):
        return CsrMatMul.apply(grad, matrix=self.matrix.transposed)


def along(x: Tensor, dim: int, matrix: SparseMatrix) -> Tensor:
    """The product with a matrix along one dimension of x."""
    before, after = x.shape[:dim], x.shape[dim + 1 :]
    y = CsrMatMul.apply(x.reshape((prod(before), x.shape[dim], prod(after))), matrix=matrix)
    return y.reshape((*before, y.shape[1], *after))
