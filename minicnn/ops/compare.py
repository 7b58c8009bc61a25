"""Comparisons, logic, and choices between two tensors."""

from typing import Any

import numpy as np

from ..dispatch import dispatch
from ..tape import op
from ..tensor import Tensor, method
from .arguments import need_tensor
from .broadcast import Elementwise, operands, sum_to


class Where(Elementwise):
    kernel, saves = "where", ("condition",)

    def forward(self, condition, a, b):
        return Elementwise.forward(self, condition, a, b)

    def backward(self, grad):
        (condition,) = self.saved
        ga = sum_to(mask(grad, condition), self.shapes[1]) if self.needs[1] else None
        gb = sum_to(mask(grad, ~condition), self.shapes[2]) if self.needs[2] else None
        return None, ga, gb


class Mask(Elementwise):
    """g where a condition holds, else 0, even if g is NaN there: how gradients pass a choice."""

    kernel, saves = "mask", ("condition",)

    def forward(self, g, condition):
        return Elementwise.forward(self, g, condition)

    def backward(self, grad):
        (condition,) = self.saved
        return sum_to(mask(grad, condition), self.shapes[0]), None


@op
def where(condition: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """a where the condition holds, b elsewhere, all broadcast. condition: a bool tensor, or TypeError. Each element's
    gradient goes to the one that was chosen.

    >>> import minicnn as mc
    >>> x = mc.tensor([-1.0, 2.0])
    >>> mc.nn.functional.where(x > 0, x, 0.0).tolist()
    [0.0, 2.0]
    """
    need_tensor("where", condition=condition)
    if condition.dtype != np.bool_:
        raise TypeError(f"where: condition must be bool, got {condition.dtype}")
    return Where.apply(condition, *operands("where", a, b, condition.device))


def mask(x: Tensor, condition: Tensor) -> Tensor:
    """x where the condition holds, else 0."""
    return Mask.apply(x, condition)


def _plain(kernel: str, *inputs: Tensor) -> Tensor:
    """A comparison or logical kernel: no gradient."""
    return Tensor(dispatch(kernel, *[t.array for t in inputs]))


@op
def eq(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a == b, a bool tensor; broadcast. NaN equals nothing.

    >>> import minicnn as mc
    >>> mc.nn.functional.eq(mc.tensor([1, 2, 3]), 2).tolist()
    [False, True, False]
    """
    return _plain("eq", *operands("eq", a, b))


@op
def ne(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a != b, a bool tensor; broadcast. NaN differs from all, itself included.

    >>> import minicnn as mc
    >>> mc.nn.functional.ne(mc.tensor([1, 2, 3]), 2).tolist()
    [True, False, True]
    >>> x = mc.tensor([1.0, float("nan")])
    >>> mc.nn.functional.ne(x, x).tolist()
    [False, True]
    """
    return _plain("ne", *operands("ne", a, b))


@op
def lt(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a < b, a bool tensor; broadcast.

    >>> import minicnn as mc
    >>> mc.nn.functional.lt(mc.tensor([1, 2, 3]), 2).tolist()
    [True, False, False]
    >>> place = mc.tensor([0, 1, 2])
    >>> mc.nn.functional.lt(place.reshape(3, 1), place).tolist()
    [[False, True, True], [False, False, True], [False, False, False]]
    """
    return _plain("lt", *operands("lt", a, b))


@op
def le(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a <= b, a bool tensor; broadcast.

    >>> import minicnn as mc
    >>> mc.nn.functional.le(mc.tensor([1, 2, 3]), 2).tolist()
    [True, True, False]
    """
    return _plain("le", *operands("le", a, b))


@op
def gt(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a > b, a bool tensor; broadcast.

    >>> import minicnn as mc
    >>> mc.nn.functional.gt(mc.tensor([1, 2, 3]), 2).tolist()
    [False, False, True]
    """
    return _plain("gt", *operands("gt", a, b))


@op
def ge(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a >= b, a bool tensor; broadcast.

    >>> import minicnn as mc
    >>> mc.nn.functional.ge(mc.tensor([1, 2, 3]), 2).tolist()
    [False, True, True]
    """
    return _plain("ge", *operands("ge", a, b))


def logical_and(a: Tensor, b: Tensor) -> Tensor:
    """a & b for bool tensors."""
    return _plain("logical_and", *operands("logical_and", a, b))


def logical_or(a: Tensor, b: Tensor) -> Tensor:
    """a | b for bool tensors."""
    return _plain("logical_or", *operands("logical_or", a, b))


def logical_not(x: Tensor) -> Tensor:
    """~x for a bool tensor."""
    return _plain("logical_not", x)


_COMPARABLE: tuple[Any, ...] = (Tensor, int, float, np.ndarray, np.generic)


def _is_equal(a: Tensor, b: Any) -> Any:
    return eq(a, b) if isinstance(b, _COMPARABLE) else NotImplemented


def _is_unequal(a: Tensor, b: Any) -> Any:
    return ne(a, b) if isinstance(b, _COMPARABLE) else NotImplemented


for _function in (eq, ne):
    method(_function)
method(_is_equal, "__eq__")
method(_is_unequal, "__ne__")
method(lt, "lt", "__lt__")
method(le, "le", "__le__")
method(gt, "gt", "__gt__")
method(ge, "ge", "__ge__")
method(logical_and, "__and__")
method(logical_or, "__or__")
method(logical_not, "__invert__")
