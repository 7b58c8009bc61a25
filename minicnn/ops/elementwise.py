"""Arithmetic, comparison and mathematics, element by element, with NumPy's broadcasting."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..device import resolve
from ..dispatch import dispatch
from ..tape import Function, op
from ..tensor import DTYPES, FLOATS, Tensor, method
from .arguments import dtype_of, need_tensor

FLOAT32, INT64 = DTYPES[0], DTYPES[2]


class Elementwise(Function):
    """An op that one elementwise kernel computes; a subclass says how it is differentiated.

    Subclasses give `backward`; where inputs were broadcast, its gradients are summed back to the inputs' shapes here.
    """

    kernel: str
    params: tuple[str, ...] = ()

    def forward(self, *arrays: Any) -> Any:
        self.shapes = [a.shape for a in arrays]
        return dispatch(self.kernel, *arrays, **{p: getattr(self, p) for p in self.params})


class Unary(Elementwise):
    """f(x): `saves` is ("x",) or ("output",)."""

    saves: ClassVar[tuple[str, ...]] = ("x",)

    def forward(self, x: Any) -> Any:
        return Elementwise.forward(self, x)


class Binary(Elementwise):
    """f(a, b) with broadcasting: a subclass gives `gradients`, at the shape of the output."""

    saves: ClassVar[tuple[str, ...]] = ("a", "b")

    def forward(self, a: Any, b: Any) -> Any:
        return Elementwise.forward(self, a, b)

    def gradients(self, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Gradients by a and b before summing over broadcast dimensions; None where not needed."""
        raise NotImplementedError

    def backward(self, grad: Tensor) -> Any:
        return tuple(
            None if g is None else sum_to(g, shape) for g, shape in zip(self.gradients(grad), self.shapes, strict=True)
        )


def sum_to(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum over the dimensions along which `shape` was broadcast to the tensor's shape."""
    if tensor.shape == shape:
        return tensor
    extra = tensor.ndim - len(shape)
    dims = tuple(range(extra)) + tuple(
        i + extra for i, s in enumerate(shape) if s == 1 and tensor.shape[i + extra] != 1
    )
    summed = tensor.sum(dim=dims) if dims else tensor
    return summed.reshape(shape)


# ------------------------------------------------------------------------------------------------- scalars and dtypes


def operand(op_name: str, value: Any, like: Tensor) -> Tensor:
    """A number (or NumPy array) as a tensor to compute with `like`; a tensor as it is."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, bool | np.bool_):
        return Tensor(np.asarray(value, like.dtype))
    if isinstance(value, int | np.integer):
        if like.dtype == INT64 and not -(1 << 63) <= value < 1 << 63:
            raise OverflowError(f"{op_name}: {value} does not fit into int64")
        return Tensor(np.asarray(value, like.dtype if like.dtype in (*FLOATS, INT64) else INT64))
    if isinstance(value, float | np.floating):
        return Tensor(np.asarray(value, like.dtype if like.dtype in FLOATS else FLOAT32))
    if isinstance(value, np.ndarray) and value.dtype in DTYPES:
        return Tensor(np.ascontiguousarray(value))
    raise TypeError(f"{op_name}: expected a Tensor or a number, got {type(value).__name__}")


def operands(op_name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both sides of a binary op as tensors of one dtype. Numbers take the dtype of the other side; a float number
    makes an integer tensor float32, as in PyTorch. Two tensors must agree."""
    if not isinstance(a, Tensor):
        b = b if isinstance(b, Tensor) else operand(op_name, b, Tensor(np.zeros((), FLOAT32)))
        a = operand(op_name, a, b)
        a, b = _agree(a, b, a_number=True)
    elif not isinstance(b, Tensor):
        b = operand(op_name, b, a)
        b, a = _agree(b, a, a_number=True)
    if a.dtype != b.dtype:
        raise TypeError(f"{op_name}: dtypes differ: {a.dtype} and {b.dtype}; convert one with .to(dtype)")
    if a.device != b.device:
        raise ValueError(f"{op_name}: devices differ: {a.device} and {b.device}; move one with .to(device)")
    return a, b


def _agree(number: Tensor, other: Tensor, a_number: bool) -> tuple[Tensor, Tensor]:
    """An integer tensor beside a float number becomes float; a bool one beside an int becomes int64."""
    if number.ndim == 0 and number.dtype != other.dtype:
        return number, other.to(number.dtype)
    return number, other


class Cast(Function):
    """A change of dtype; between floats it has a gradient."""

    dtype: np.dtype

    def forward(self, x: Any) -> Any:
        self.before = x.dtype
        return x.astype(self.dtype)

    def backward(self, grad: Tensor) -> Tensor:
        return Cast.apply(grad, dtype=self.before)


# ------------------------------------------------------------------------------------------------------- arithmetic


class Add(Binary):
    kernel, saves = "add", ()

    def gradients(self, grad):
        return grad, grad


class Sub(Binary):
    kernel, saves = "sub", ()

    def gradients(self, grad):
        return grad, -grad if self.needs[1] else None


class Mul(Binary):
    kernel = "mul"

    def gradients(self, grad):
        a, b = self.saved
        return grad * b if self.needs[0] else None, grad * a if self.needs[1] else None


class Div(Binary):
    kernel = "div"

    def gradients(self, grad):
        a, b = self.saved
        ga = grad / b
        return ga, -ga * (a / b) if self.needs[1] else None


class Pow(Binary):
    kernel = "pow"

    def gradients(self, grad):
        a, b = self.saved
        ga = gb = None
        if self.needs[0]:  # b * a^(b-1), and 0 where b is 0 even if a is 0
            ga = grad * where(b == 0, 0.0, b * a ** (b - 1))
        if self.needs[1]:  # log(a) * a^b, and 0 where a is 0 and b is not negative: the limit from above
            ga_log = where((a == 0) & (b >= 0), 0.0, log(where(a == 0, 1.0, a)))
            gb = grad * ga_log * a**b
        return ga, gb


class PowNumber(Unary):
    """x to a fixed power, the common ones by multiplication."""

    exponent: float

    def forward(self, x):
        if self.exponent == 2:
            return dispatch("mul", x, x)
        if self.exponent == 0.5:
            return dispatch("sqrt", x)
        return dispatch("pow", x, np.asarray(self.exponent, x.dtype))

    def backward(self, grad):
        (x,) = self.saved
        if self.exponent == 0:
            return grad * 0.0
        return grad * x * 2.0 if self.exponent == 2 else grad * (x ** (self.exponent - 1) * self.exponent)


class Maximum(Binary):
    kernel = "maximum"

    def gradients(self, grad):
        return _split_by(grad, *self.saved)


class Minimum(Binary):
    kernel = "minimum"

    def gradients(self, grad):
        a, b = self.saved
        return _split_by(grad, b, a)


def _split_by(grad: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient to the larger of a and b, half to each where they are equal, as PyTorch does."""
    half = where(a == b, grad * 0.5, grad)
    return mask(half, a >= b), mask(half, a <= b)


class Neg(Unary):
    kernel, saves = "neg", ()

    def backward(self, grad):
        return -grad


class Abs(Unary):
    kernel = "abs"

    def backward(self, grad):
        (x,) = self.saved
        return grad * sign(x)


class Flat(Unary):
    """An op whose derivative is 0 almost everywhere."""

    saves = ()

    def backward(self, grad):
        return grad * 0.0


class Sign(Flat):
    kernel = "sign"


class Floor(Flat):
    kernel = "floor"


class Ceil(Flat):
    kernel = "ceil"


class Round(Flat):
    kernel = "round"


class Exp(Unary):
    kernel, saves = "exp", ("output",)

    def backward(self, grad):
        (y,) = self.saved
        return grad * y


class Expm1(Unary):
    kernel, saves = "expm1", ("output",)

    def backward(self, grad):
        (y,) = self.saved
        return grad * (y + 1)


class Log(Unary):
    kernel = "log"

    def backward(self, grad):
        (x,) = self.saved
        return grad / x


class Log1p(Unary):
    kernel = "log1p"

    def backward(self, grad):
        (x,) = self.saved
        return grad / (x + 1)


class Sqrt(Unary):
    kernel, saves = "sqrt", ("output",)

    def backward(self, grad):
        (y,) = self.saved
        return grad / (y * 2)


class Sin(Unary):
    kernel = "sin"

    def backward(self, grad):
        (x,) = self.saved
        return grad * cos(x)


class Cos(Unary):
    kernel = "cos"

    def backward(self, grad):
        (x,) = self.saved
        return -grad * sin(x)


class Erf(Unary):
    kernel = "erf"

    def backward(self, grad):
        (x,) = self.saved
        return grad * exp(-x * x) * 1.1283791670955126  # 2 / sqrt(pi)


class Clip(Unary):
    kernel, params = "clip", ("low", "high")
    low: float
    high: float

    def backward(self, grad):
        (x,) = self.saved
        return mask(grad, (x >= self.low) & (x <= self.high))


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


# ------------------------------------------------------------------------------------------------- public functions


def _arithmetic(function: type[Binary], a: Any, b: Any) -> Tensor:
    return function.apply(*operands(function.kernel, a, b))


@op
def add(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a + b"""
    return _arithmetic(Add, a, b)


@op
def sub(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a - b"""
    return _arithmetic(Sub, a, b)


@op
def mul(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a * b"""
    return _arithmetic(Mul, a, b)


@op
def div(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a / b; integers give float32."""
    x, y = operands("div", a, b)
    return Div.apply(x, y) if x.dtype in FLOATS else Div.apply(x.to(FLOAT32), y.to(FLOAT32))


@op
def pow(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a ** b"""
    if isinstance(a, Tensor) and a.dtype in FLOATS and isinstance(b, int | float | np.integer | np.floating):
        return PowNumber.apply(a, exponent=float(b))
    return _arithmetic(Pow, a, b)


@op
def maximum(a: Tensor | float, b: Tensor | float) -> Tensor:
    """The larger of a and b; NaN if either is."""
    return _arithmetic(Maximum, a, b)


@op
def minimum(a: Tensor | float, b: Tensor | float) -> Tensor:
    """The smaller of a and b; NaN if either is."""
    return _arithmetic(Minimum, a, b)


@op
def neg(x: Tensor) -> Tensor:
    """-x"""
    return Neg.apply(x)


@op
def abs(x: Tensor) -> Tensor:
    """|x|; the derivative at 0 is 0."""
    return Abs.apply(x)


@op
def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1; NaN stays NaN."""
    return Sign.apply(x)


@op
def floor(x: Tensor) -> Tensor:
    """The largest whole number not above x."""
    return Floor.apply(x)


@op
def ceil(x: Tensor) -> Tensor:
    """The smallest whole number not below x."""
    return Ceil.apply(x)


@op
def round(x: Tensor) -> Tensor:
    """The nearest whole number, halves to even."""
    return Round.apply(x)


@op
def exp(x: Tensor) -> Tensor:
    """e^x"""
    return Exp.apply(x)


@op
def expm1(x: Tensor) -> Tensor:
    """e^x - 1, accurate near 0."""
    return Expm1.apply(x)


@op
def log(x: Tensor) -> Tensor:
    """The natural logarithm."""
    return Log.apply(x)


@op
def log1p(x: Tensor) -> Tensor:
    """log(1 + x), accurate near 0."""
    return Log1p.apply(x)


@op
def sqrt(x: Tensor) -> Tensor:
    """The square root."""
    return Sqrt.apply(x)


@op
def sin(x: Tensor) -> Tensor:
    """The sine of x in radians."""
    return Sin.apply(x)


@op
def cos(x: Tensor) -> Tensor:
    """The cosine of x in radians."""
    return Cos.apply(x)


@op
def erf(x: Tensor) -> Tensor:
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return Erf.apply(x)


@op
def clip(x: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """x limited to [min, max]; the gradient passes inside, the ends included."""
    need_tensor("clip", x=x)
    if min is None and max is None:
        raise ValueError("clip: at least one of min and max must be given")
    low, high = float("-inf") if min is None else float(min), float("inf") if max is None else float(max)
    return Clip.apply(x, low=low, high=high)


@op
def where(condition: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """a where the condition holds, b elsewhere, all broadcast. condition: a bool tensor."""
    need_tensor("where", condition=condition)
    if condition.dtype != np.bool_:
        raise TypeError(f"where: condition must be bool, got {condition.dtype}")
    return Where.apply(condition, *operands("where", a, b))


def mask(x: Tensor, condition: Tensor) -> Tensor:
    """x where the condition holds, else 0."""
    return Mask.apply(x, condition)


def _plain(kernel: str, *inputs: Tensor) -> Tensor:
    return Tensor(dispatch(kernel, *[t.array for t in inputs]))


def _comparison(kernel: str, symbol: str) -> Any:
    def compare(a: Tensor | float, b: Tensor | float) -> Tensor:
        return _plain(kernel, *operands(kernel, a, b))

    compare.__name__ = compare.__qualname__ = kernel
    compare.__doc__ = f"a {symbol} b, a bool tensor."
    return op(compare)


eq, ne = _comparison("eq", "=="), _comparison("ne", "!=")
lt, le = _comparison("lt", "<"), _comparison("le", "<=")
gt, ge = _comparison("gt", ">"), _comparison("ge", ">=")


def logical_and(a: Tensor, b: Tensor) -> Tensor:
    return _plain("logical_and", *operands("logical_and", a, b))


def logical_or(a: Tensor, b: Tensor) -> Tensor:
    return _plain("logical_or", *operands("logical_or", a, b))


def logical_not(x: Tensor) -> Tensor:
    return _plain("logical_not", x)


# --------------------------------------------------------------------------------------------------------- methods


def to(tensor: Tensor, target: Any) -> Tensor:
    """The tensor with another dtype ("float64", np.float32, ...) or on another device ("cpu", "cuda", ...)."""
    dtype = dtype_of(target)
    if dtype is None:
        return to_device(tensor, target)
    return tensor if tensor.dtype == dtype else Cast.apply(tensor, dtype=dtype)


def to_device(tensor: Tensor, device: str) -> Tensor:
    if resolve(device) == tensor.device:
        return tensor
    raise RuntimeError(f"no way from {tensor.device} to {device}")


def _is_equal(a: Tensor, b: Any) -> Any:
    return eq(a, b) if isinstance(b, Tensor | int | float | np.ndarray | np.generic) else NotImplemented


def _is_unequal(a: Tensor, b: Any) -> Any:
    return ne(a, b) if isinstance(b, Tensor | int | float | np.ndarray | np.generic) else NotImplemented


_METHODS: Sequence[tuple[Any, tuple[str, ...]]] = (
    (add, ("add", "__add__", "__radd__")),
    (sub, ("sub", "__sub__")),
    (mul, ("mul", "__mul__", "__rmul__")),
    (div, ("div", "__truediv__")),
    (pow, ("pow", "__pow__")),
    (neg, ("neg", "__neg__")),
    (abs, ("abs", "__abs__")),
    (lambda a, b: sub(b, a), ("__rsub__",)),
    (lambda a, b: div(b, a), ("__rtruediv__",)),
    (lambda a, b: pow(b, a), ("__rpow__",)),
    (maximum, ("maximum",)),
    (minimum, ("minimum",)),
    (sign, ("sign",)),
    (floor, ("floor",)),
    (ceil, ("ceil",)),
    (round, ("round",)),
    (exp, ("exp",)),
    (expm1, ("expm1",)),
    (log, ("log",)),
    (log1p, ("log1p",)),
    (sqrt, ("sqrt",)),
    (sin, ("sin",)),
    (cos, ("cos",)),
    (erf, ("erf",)),
    (clip, ("clip", "clamp")),
    (_is_equal, ("__eq__",)),
    (_is_unequal, ("__ne__",)),
    (eq, ("eq",)),
    (ne, ("ne",)),
    (lt, ("lt", "__lt__")),
    (le, ("le", "__le__")),
    (gt, ("gt", "__gt__")),
    (ge, ("ge", "__ge__")),
    (logical_and, ("__and__",)),
    (logical_or, ("__or__",)),
    (logical_not, ("__invert__",)),
    (to, ("to",)),
)
for _function, _names in _METHODS:
    method(_function, *_names)
