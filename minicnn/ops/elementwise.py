"""Arithmetic and mathematics, element by element, with NumPy's broadcasting."""

import numpy as np

from .. import device as devices
from ..dispatch import dispatch
from ..tape import op
from ..tensor import FLOATS, Tensor, method, zeros
from .arguments import need_tensor
from .broadcast import FLOAT32, Binary, Unary, operands
from .compare import mask, where
from .constants import scalar

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
        return dispatch("pow", x, scalar(self.exponent, x.dtype, devices.of(x)).array)

    def backward(self, grad):
        (x,) = self.saved
        if self.exponent == 0:
            return zeros(grad.shape, dtype=grad.dtype, device=grad.device)
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
        return zeros(grad.shape, dtype=grad.dtype, device=grad.device)


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


# ------------------------------------------------------------------------------------------------- public functions


def _arithmetic(function: type[Binary], a: Tensor | float, b: Tensor | float) -> Tensor:
    return function.apply(*operands(function.kernel, a, b))


@op
def add(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a + b, element by element. Shapes broadcast as NumPy's do: from the last dimension backwards, sizes must be equal
    or 1. One of the two may be a number, which takes the tensor's dtype.

    >>> import minicnn as mc
    >>> mc.nn.functional.add(mc.tensor([6.0, 2.0]), mc.tensor([4.0, 8.0])).tolist()
    [10.0, 10.0]
    >>> mc.nn.functional.add(mc.tensor([[1.0], [2.0]]), mc.tensor([10.0, 20.0, 30.0])).tolist()
    [[11.0, 21.0, 31.0], [12.0, 22.0, 32.0]]
    """
    return _arithmetic(Add, a, b)


@op
def sub(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a - b, broadcast as by `add`.

    >>> import minicnn as mc
    >>> mc.nn.functional.sub(mc.tensor([6.0, 2.0]), mc.tensor([4.0, 8.0])).tolist()
    [2.0, -6.0]
    """
    return _arithmetic(Sub, a, b)


@op
def mul(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a * b, element by element (`matmul` is the matrix product), broadcast as by `add`.

    >>> import minicnn as mc
    >>> mc.nn.functional.mul(mc.tensor([6.0, 2.0]), mc.tensor([4.0, 8.0])).tolist()
    [24.0, 16.0]
    """
    return _arithmetic(Mul, a, b)


@op
def div(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a / b, broadcast as by `add`; integers give float32. Division by zero gives infinity or NaN.

    >>> import minicnn as mc
    >>> mc.nn.functional.div(mc.tensor([6.0, 2.0]), mc.tensor([4.0, 8.0])).tolist()
    [1.5, 0.25]
    """
    x, y = operands("div", a, b)
    return Div.apply(x, y) if x.dtype in FLOATS else Div.apply(x.to(FLOAT32), y.to(FLOAT32))


@op
def pow(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a ** b, broadcast as by `add`. By b the gradient is log(a) * a^b, 0 where a is 0 and b is not negative.

    >>> import minicnn as mc
    >>> mc.nn.functional.pow(mc.tensor([3.0, 2.0]), 2).tolist()
    [9.0, 4.0]
    """
    if isinstance(a, Tensor) and a.dtype in FLOATS and isinstance(b, int | float | np.integer | np.floating):
        return PowNumber.apply(a, exponent=float(b))
    return _arithmetic(Pow, a, b)


@op
def maximum(a: Tensor | float, b: Tensor | float) -> Tensor:
    """The larger of a and b, broadcast as by `add`; NaN if either is. Equals share the gradient.

    >>> import minicnn as mc
    >>> mc.nn.functional.maximum(mc.tensor([6.0, 2.0]), mc.tensor([4.0, 8.0])).tolist()
    [6.0, 8.0]
    >>> x = mc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = mc.nn.functional.maximum(x, 2)
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([2.0, 2.0, 3.0], [0.0, 0.5, 1.0])
    """
    return _arithmetic(Maximum, a, b)


@op
def minimum(a: Tensor | float, b: Tensor | float) -> Tensor:
    """The smaller of a and b, broadcast as by `add`; NaN if either is. Equals share the gradient.

    >>> import minicnn as mc
    >>> mc.nn.functional.minimum(mc.tensor([6.0, 2.0]), mc.tensor([4.0, 8.0])).tolist()
    [4.0, 2.0]
    """
    return _arithmetic(Minimum, a, b)


@op
def neg(x: Tensor) -> Tensor:
    """-x

    >>> import minicnn as mc
    >>> mc.nn.functional.neg(mc.tensor([1.0, -2.0])).tolist()
    [-1.0, 2.0]
    """
    return Neg.apply(x)


@op
def abs(x: Tensor) -> Tensor:
    """|x|; the derivative at 0 is 0.

    >>> import minicnn as mc
    >>> mc.nn.functional.abs(mc.tensor([1.0, -2.0])).tolist()
    [1.0, 2.0]
    """
    return Abs.apply(x)


@op
def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1; NaN stays NaN. The derivative is 0.

    >>> import minicnn as mc
    >>> mc.nn.functional.sign(mc.tensor([3.0, 0.0, -2.0])).tolist()
    [1.0, 0.0, -1.0]
    """
    return Sign.apply(x)


@op
def floor(x: Tensor) -> Tensor:
    """The largest whole number not above x. The derivative is 0.

    >>> import minicnn as mc
    >>> mc.nn.functional.floor(mc.tensor([1.5, -1.5])).tolist()
    [1.0, -2.0]
    """
    return Floor.apply(x)


@op
def ceil(x: Tensor) -> Tensor:
    """The smallest whole number not below x. The derivative is 0.

    >>> import minicnn as mc
    >>> mc.nn.functional.ceil(mc.tensor([1.5, -1.5])).tolist()
    [2.0, -1.0]
    """
    return Ceil.apply(x)


@op
def round(x: Tensor) -> Tensor:
    """The nearest whole number, halves to even. The derivative is 0.

    >>> import minicnn as mc
    >>> mc.nn.functional.round(mc.tensor([0.5, 1.5, 1.7])).tolist()
    [0.0, 2.0, 2.0]
    """
    return Round.apply(x)


@op
def exp(x: Tensor) -> Tensor:
    """e^x, its own derivative.

    >>> import minicnn as mc
    >>> mc.nn.functional.exp(mc.tensor([0.0])).tolist()
    [1.0]
    """
    return Exp.apply(x)


@op
def expm1(x: Tensor) -> Tensor:
    """e^x - 1, accurate near 0, where the 1 would swallow what matters.

    >>> import minicnn as mc
    >>> mc.nn.functional.expm1(mc.tensor([0.0])).tolist()
    [0.0]
    >>> x = mc.tensor(1e-10)
    >>> f"{mc.nn.functional.expm1(x).item():.0e} rather than {(x.exp() - 1).item():.0e}"
    '1e-10 rather than 0e+00'
    """
    return Expm1.apply(x)


@op
def log(x: Tensor) -> Tensor:
    """The natural logarithm: -infinity at 0, NaN below.

    >>> import minicnn as mc
    >>> mc.nn.functional.log(mc.tensor([1.0, 0.0])).tolist()
    [0.0, -inf]
    """
    return Log.apply(x)


@op
def log1p(x: Tensor) -> Tensor:
    """log(1 + x), accurate near 0, where the 1 would swallow x.

    >>> import minicnn as mc
    >>> mc.nn.functional.log1p(mc.tensor([0.0])).tolist()
    [0.0]
    >>> x = mc.tensor(1e-10)
    >>> f"{mc.nn.functional.log1p(x).item():.0e} rather than {(1 + x).log().item():.0e}"
    '1e-10 rather than 0e+00'
    """
    return Log1p.apply(x)


@op
def sqrt(x: Tensor) -> Tensor:
    """The square root; NaN below 0. The derivative at 0 is infinite.

    >>> import minicnn as mc
    >>> mc.nn.functional.sqrt(mc.tensor([4.0, 0.25])).tolist()
    [2.0, 0.5]
    """
    return Sqrt.apply(x)


@op
def sin(x: Tensor) -> Tensor:
    """The sine of x in radians.

    >>> import minicnn as mc
    >>> mc.nn.functional.sin(mc.tensor([0.0])).tolist()
    [0.0]
    """
    return Sin.apply(x)


@op
def cos(x: Tensor) -> Tensor:
    """The cosine of x in radians.

    >>> import minicnn as mc
    >>> mc.nn.functional.cos(mc.tensor([0.0])).tolist()
    [1.0]
    """
    return Cos.apply(x)


@op
def erf(x: Tensor) -> Tensor:
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x. The normal distribution function is
    (1 + erf(x / sqrt(2))) / 2.

    >>> import minicnn as mc
    >>> mc.nn.functional.erf(mc.tensor([0.0, 10.0])).tolist()
    [0.0, 1.0]
    """
    return Erf.apply(x)


@op
def clip(x: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """x limited to [min, max], either of which may be left out; the gradient passes inside, the ends included. Where
    min is above max, all is max. ValueError without either.

    >>> import minicnn as mc
    >>> mc.nn.functional.clip(mc.tensor([-2.0, 0.5, 3.0]), -1, 1).tolist()
    [-1.0, 0.5, 1.0]
    """
    need_tensor("clip", x=x)
    if min is None and max is None:
        raise ValueError("clip: at least one of min and max must be given")
    low, high = float("-inf") if min is None else float(min), float("inf") if max is None else float(max)
    return Clip.apply(x, low=low if low <= high else high, high=high)


for _function in (maximum, minimum, sign, floor, ceil, round, exp, expm1, log, log1p, sqrt, sin, cos, erf):
    method(_function)
method(add, "add", "__add__", "__radd__")
method(sub, "sub", "__sub__")
method(mul, "mul", "__mul__", "__rmul__")
method(div, "div", "__truediv__")
method(pow, "pow", "__pow__")
method(neg, "neg", "__neg__")
method(abs, "abs", "__abs__")
method(clip, "clip", "clamp")
method(lambda a, b: sub(b, a), "__rsub__")
method(lambda a, b: div(b, a), "__rtruediv__")
method(lambda a, b: pow(b, a), "__rpow__")
