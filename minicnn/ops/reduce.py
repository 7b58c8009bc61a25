"""Reductions: sum, mean, max, min, variance, logsumexp, and the softmax family."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..dispatch import dispatch
from ..tape import Function, op
from ..tensor import FLOATS, Tensor, method
from .arguments import axes, axis, need_float, need_tensor
from .compare import mask
from .elementwise import log
from .looking import squashed

Dims = int | Sequence[int] | None


def _folded(shape: tuple[int, ...], first: int, last: int) -> tuple[int, int, int]:
    """A shape as (outer, reduced, inner) around the dimensions first..last."""
    return prod(shape[:first]), prod(shape[first : last + 1]), prod(shape[last + 1 :])


def _runs(dims: tuple[int, ...]) -> list[tuple[int, int]]:
    """Sorted dimensions as runs of neighbours (first, last), the last run first."""
    runs: list[tuple[int, int]] = []
    for d in dims:
        if runs and runs[-1][1] == d - 1:
            runs[-1] = (runs[-1][0], d)
        else:
            runs.append((d, d))
    return runs[::-1]


def _kept(shape: tuple[int, ...], dims: Sequence[int], keepdim: bool) -> tuple[int, ...]:
    return tuple(1 if i in dims else s for i, s in enumerate(shape) if keepdim or i not in dims)


class Sum(Function):
    """Over neighbouring dimensions first..last, times `scale`."""

    first: int
    last: int
    keepdim: bool
    scale: float

    def forward(self, x):
        self.shape = x.shape
        y = dispatch("reduce_sum", x.reshape(_folded(x.shape, self.first, self.last)), scale=self.scale)
        return y.reshape(_kept(x.shape, range(self.first, self.last + 1), self.keepdim))

    def backward(self, grad):
        return SumGrad.apply(grad, shape=self.shape, **_settings(self))


class SumGrad(Function):
    """The adjoint of Sum: g, times `scale`, for each of the elements that were added, in an array of `shape`."""

    shape: tuple[int, ...]
    first: int
    last: int
    keepdim: bool
    scale: float

    def forward(self, g):
        outer, length, inner = _folded(self.shape, self.first, self.last)
        dx = dispatch("reduce_sum_grad", g.reshape(outer, inner), length=length, scale=self.scale)
        return dx.reshape(self.shape)

    def backward(self, grad):
        return Sum.apply(grad, **_settings(self))


def _settings(of: Any) -> dict[str, Any]:
    return {"first": of.first, "last": of.last, "keepdim": of.keepdim, "scale": of.scale}


def scaled_sum(x: Tensor, dims: tuple[int, ...], keepdim: bool, scale: float = 1.0) -> Tensor:
    """The sum over sorted dimensions, one kernel for each group of neighbours (from behind), times a number."""
    *others, (first, last) = _runs(dims) or [(0, -1)]
    for before in others:
        x = Sum.apply(x, first=before[0], last=before[1], keepdim=keepdim, scale=1.0)
    return Sum.apply(x, first=first, last=last, keepdim=keepdim, scale=scale)


class ChannelSum(Function):
    """Over all dimensions but the last: the gradient of a bias."""

    def forward(self, x):
        self.shape = x.shape
        y = dispatch("reduce_sum", x.reshape(1, prod(x.shape[:-1]), x.shape[-1]), scale=1.0)
        return y.reshape(x.shape[-1:])

    def backward(self, grad):
        return grad.expand(self.shape)


class Extreme(Function):
    """The largest or smallest along one dimension, and its first place."""

    saves = ("output1",)
    kernel: str
    dim: int

    def forward(self, x):
        self.shape = x.shape
        y, index = dispatch(self.kernel, x.reshape(_folded(x.shape, self.dim, self.dim)))
        rest = self.shape[: self.dim] + self.shape[self.dim + 1 :]
        return y.reshape(rest), index.reshape(rest)

    def backward(self, grad, _):
        (index,) = self.saved
        outer, length, inner = _folded(self.shape, self.dim, self.dim)
        return PickGrad.apply(grad.reshape((outer, inner)), index.reshape((outer, inner)), length=length).reshape(
            self.shape
        )


class Max(Extreme):
    kernel = "reduce_max"


class Min(Extreme):
    kernel = "reduce_min"


class Pick(Function):
    """y[o, i] = x[o, index[o, i], i]: one element along the middle dimension."""

    saves = ("index",)

    def forward(self, x, index):
        self.length = x.shape[1]
        return dispatch("pick", x, index)

    def backward(self, grad):
        (index,) = self.saved
        return PickGrad.apply(grad, index, length=self.length), None


class PickGrad(Function):
    """The adjoint of Pick: zeros with g at the picked places."""

    saves = ("index",)
    length: int

    def forward(self, g, index):
        return dispatch("pick_grad", g, index, length=self.length)

    def backward(self, grad):
        (index,) = self.saved
        return Pick.apply(grad, index), None


class Softmax(Function):
    """Along one dimension, `dim`."""

    saves = ("output",)
    dim: int
    kernel = "softmax"

    def forward(self, x):
        return dispatch(self.kernel, x.reshape(_folded(x.shape, self.dim, self.dim))).reshape(x.shape)

    def backward(self, grad):
        (y,) = self.saved
        return SoftmaxGrad.apply(grad, y, dim=self.dim)


class SoftmaxGrad(Function):
    """dx = y (g - sum(g y)). Its own gradient follows from the same formula, in ops."""

    saves = ("g", "y")
    dim: int
    kernel = "softmax_grad"

    def forward(self, g, y):
        folded = _folded(g.shape, self.dim, self.dim)
        return dispatch(self.kernel, g.reshape(folded), y.reshape(folded)).reshape(g.shape)

    def backward(self, grad):
        g, y = self.saved
        inner = (g * y).sum(dim=self.dim, keepdim=True)
        outer = (grad * y).sum(dim=self.dim, keepdim=True)
        return y * (grad - outer), grad * (g - inner) - g * outer


class LogSoftmax(Softmax):
    """The logarithm of Softmax."""

    kernel = "log_softmax"

    def backward(self, grad):
        (y,) = self.saved
        return LogSoftmaxGrad.apply(grad, y, dim=self.dim)


class LogSoftmaxGrad(SoftmaxGrad):
    """dx = g - exp(y) sum(g)."""

    kernel = "log_softmax_grad"

    def backward(self, grad):
        g, y = self.saved
        p = y.exp()
        weighted = grad * p
        total = g.sum(dim=self.dim, keepdim=True)
        return grad - weighted.sum(dim=self.dim, keepdim=True), -(weighted * total)


# ------------------------------------------------------------------------------------------------- public functions


@op
def sum(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The sum over dimensions `dim` (None: all). bool and narrow integers are counted in int64.

    keepdim: the dimensions stay with size 1, so that the result broadcasts against x. So for all reductions here.

    >>> import minicnn as mc
    >>> mc.nn.functional.sum(mc.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0).tolist()
    [4.0, 6.0]
    >>> x = mc.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> x.sum().item(), mc.nn.functional.sum(x, dim=0).tolist(), mc.nn.functional.sum(x, dim=1, keepdim=True).tolist()
    (21.0, [5.0, 7.0, 9.0], [[6.0], [15.0]])
    """
    need_tensor("sum", x=x)
    x = x if x.dtype in FLOATS else x.to("int64")
    return scaled_sum(x, axes("sum", dim, x.ndim), keepdim)


@op
def mean(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The mean over dimensions `dim` (None: all); NaN if there is nothing to average.

    >>> import minicnn as mc
    >>> mc.nn.functional.mean(mc.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1, keepdim=True).tolist()
    [[1.5], [3.5]]
    """
    need_float("mean", x=x)
    dims = axes("mean", dim, x.ndim)
    count = prod(x.shape[d] for d in dims)
    return scaled_sum(x, dims, keepdim, 1.0 / count if count else float("nan"))


@op
def var(x: Tensor, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """The variance over `dim` (None: all): squared distances from the mean, over their number less `correction`. 1
    estimates that of what x is a sample of, 0 gives that of x itself; NaN if nothing is left to divide by.

    >>> import minicnn as mc
    >>> mc.nn.functional.var(mc.tensor([1.0, 2.0, 3.0])).item()
    1.0
    """
    need_float("var", x=x)
    dims = axes("var", dim, x.ndim)
    count = prod(x.shape[d] for d in dims) - correction
    centred = x - mean(x, dims, keepdim=True)
    return scaled_sum(centred * centred, dims, keepdim, 1.0 / count if count > 0 else float("nan"))


def _extreme(name: str, function: type[Extreme], x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    need_float(name, x=x)
    dims = axes(name, dim, x.ndim)
    if prod(x.shape[d] for d in dims) == 0:
        raise ValueError(f"{name}: nothing to choose from in shape {x.shape}")
    y = x
    for first, last in _runs(dims):
        flat = y.reshape(y.shape[:first] + (prod(y.shape[first : last + 1]),) + y.shape[last + 1 :])
        y = function.apply(flat, dim=first)[0].reshape(
            y.shape[:first] + (1,) * (last + 1 - first) + y.shape[last + 1 :]
        )
    return y.reshape(_kept(x.shape, dims, keepdim))


@op
def max(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The largest element over `dim` (None: all), one tensor: `argmax` gives the place. The first of equals takes the
    gradient; NaN wins. ValueError where there is nothing to choose from.

    >>> import minicnn as mc
    >>> mc.nn.functional.max(mc.tensor([[1.0, 2.0], [4.0, 3.0]]), dim=1).tolist()
    [2.0, 4.0]
    >>> x = mc.tensor([[1.0, 7.0], [7.0, 2.0]], requires_grad=True)
    >>> mc.nn.functional.max(x).backward()
    >>> mc.nn.functional.max(x, dim=1).tolist(), x.grad.tolist()
    ([7.0, 7.0], [[0.0, 1.0], [0.0, 0.0]])
    """
    return _extreme("max", Max, x, dim, keepdim)


@op
def min(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The smallest element over `dim` (None: all), one tensor: `argmin` gives the place. The first of equals takes the
    gradient; NaN wins. ValueError where there is nothing to choose from.

    >>> import minicnn as mc
    >>> mc.nn.functional.min(mc.tensor([[1.0, 2.0], [4.0, 3.0]]), dim=1).tolist()
    [1.0, 3.0]
    """
    return _extreme("min", Min, x, dim, keepdim)


def _place(name: str, function: type[Extreme], x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    need_tensor(name, x=x)
    x = x.detach() if x.dtype in FLOATS else x.detach().to("float64")
    if dim is None:
        place = function.apply(x.reshape((-1,)), dim=0)[1]
        return place.reshape((1,) * x.ndim) if keepdim else place
    d = axis(name, dim, x.ndim)
    place = function.apply(x if x.ndim else x.reshape((1,)), dim=d)[1]
    return place.reshape(_kept(x.shape, (d,), keepdim))


@op
def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The place (int64) of the first largest element along `dim`, or in the flattened tensor.

    >>> import minicnn as mc
    >>> mc.nn.functional.argmax(mc.tensor([[1.0, 2.0], [4.0, 3.0]]), dim=1).tolist()
    [1, 0]
    >>> scores = mc.tensor([[0.1, 0.7, 0.2], [0.4, 0.3, 0.4]])
    >>> mc.nn.functional.argmax(scores, dim=-1).tolist(), mc.nn.functional.argmax(scores).item()
    ([1, 0], 1)
    """
    return _place("argmax", Max, x, dim, keepdim)


@op
def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The place (int64) of the first smallest element along `dim`, or in the flattened tensor.

    >>> import minicnn as mc
    >>> mc.nn.functional.argmin(mc.tensor([[1.0, 2.0], [4.0, 3.0]]), dim=1).tolist()
    [0, 1]
    """
    return _place("argmin", Min, x, dim, keepdim)


@op
def logsumexp(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over `dim`, without overflow.

    >>> import minicnn as mc
    >>> round(mc.nn.functional.logsumexp(mc.tensor([1000.0, 1000.0])).item(), 3)
    1000.693
    """
    need_float("logsumexp", x=x)
    dims = axes("logsumexp", dim, x.ndim)
    top = max(x.detach(), dims, keepdim=True)
    top = mask(top, top.abs() < np.inf)  # an infinite largest: exp(x - 0) gives the right 0 or infinity
    y = log(sum((x - top).exp(), dims, keepdim=True)) + top
    return y.reshape(_kept(x.shape, dims, keepdim))


def _along(name: str, function: type[Function], x: Tensor, dim: int) -> Tensor:
    need_float(name, x=x)
    d = axis(name, dim, x.ndim)
    return function.apply(x, dim=d) if x.ndim else function.apply(x.reshape((1,)), dim=0).reshape(())


@op
def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`, by default the channels: shares that sum to 1, without overflow. The shape of
    x.

    >>> import minicnn as mc
    >>> mc.nn.functional.softmax(mc.tensor([[1.0, 1.0, 1.0, 1.0]])).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    >>> x = mc.tensor([[1.0, 1.0, 2.0], [1001.0, 1001.0, 1002.0]])  # only differences count
    >>> print(mc.nn.functional.softmax(x).numpy().round(3))
    [[0.212 0.212 0.576]
     [0.212 0.212 0.576]]
    """
    return squashed(x, _along("softmax", Softmax, x, dim))


@op
def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """log(softmax(x)) along `dim`, without overflow and without log(0). The shape of x.

    >>> import minicnn as mc
    >>> mc.nn.functional.log_softmax(mc.tensor([0.0, -200.0])).tolist()
    [0.0, -200.0]
    """
    return squashed(x, _along("log_softmax", LogSoftmax, x, dim))


def _exceeds_zero(x: Tensor, dim: Any, keepdim: bool, negate: bool) -> Tensor:
    counts = sum((x == 0) if negate else (x != 0), dim, keepdim)
    return counts == 0 if negate else counts > 0


def any_(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether any element over `dim` is not 0."""
    return _exceeds_zero(x, dim, keepdim, negate=False)


def all_(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether no element over `dim` is 0."""
    return _exceeds_zero(x, dim, keepdim, negate=True)


for _function in (sum, mean, var, max, min, argmax, argmin, logsumexp, softmax, log_softmax):
    method(_function)
method(max, "amax")
method(min, "amin")
method(any_, "any")
method(all_, "all")
