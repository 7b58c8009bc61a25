"""Gathering and scattering along the middle of three dimensions: an index for every element."""

from ..dispatch import dispatch
from ..tape import Function
from ..tensor import Tensor


class Gather(Function):
    """y[o, m, i] = x[o, index[o, m, i], i]"""

    saves = ("index",)

    def forward(self, x, index):
        self.length = x.shape[1]
        return dispatch("gather", x, index)

    def backward(self, grad):
        (index,) = self.saved
        return Scatter.apply(grad, index, length=self.length, add=True), None


class Scatter(Function):
    """y[o, index[o, m, i], i] = x[o, m, i], 0 elsewhere. What meets in a place is added, or else the last one stays."""

    saves = ("index",)
    length: int
    add: bool

    def forward(self, x, index):
        return dispatch("scatter", x, index, length=self.length, add=self.add)

    def backward(self, grad):
        (index,) = self.saved
        return Gather.apply(grad, index), None


def gather(x: Tensor, index: Tensor) -> Tensor:
    """x: (O, D, I), index: (O, M, I) of places along D -> (O, M, I)"""
    return Gather.apply(x, index)
