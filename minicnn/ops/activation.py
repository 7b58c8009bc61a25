"""Activations. Each is an elementwise kernel, its gradient another, and the gradient of that written in ops."""

from ..dispatch import dispatch
from ..tape import Function, op
from ..tensor import Tensor, method
from .arguments import need_float
from .compare import mask
from .elementwise import exp
from .looking import rectifier_rule, squashed


class Activation(Function):
    """y = f(x), by the kernel `kernel`; the gradient g f'(x) by the kernel `kernel`_grad (`ActivationGrad`).

    A subclass gives the kernel's name, and for the second derivative `curvature`.
    """

    saves = ("x",)
    kernel: str
    params: tuple[str, ...] = ()

    def forward(self, x):
        return dispatch(self.kernel, x, **self.settings())

    def settings(self):
        return {p: getattr(self, p) for p in self.params}

    def backward(self, grad):
        (at,) = self.saved
        return ActivationGrad.apply(grad, at, of=self)

    def curvature(self, at: Tensor) -> Tensor | None:
        """The derivative of f' by what `saves` keeps, in ops: f''(x) where that is x, d f'/dy where it is the output.

        None, as here, says that it is 0: f is made of straight pieces.
        """
        return None


class ActivationGrad(Function):
    """g f'(x), where `at` is the x or y that the activation `of` saves."""

    saves = ("g", "at")
    of: Activation

    def forward(self, g, at):
        return dispatch(self.of.kernel + "_grad", g, at, **self.of.settings())

    def backward(self, grad):
        g, at = self.saved
        dg = ActivationGrad.apply(grad, at, of=self.of) if self.needs[0] else None
        curvature = self.of.curvature(at) if self.needs[1] else None
        return dg, None if curvature is None else grad * g * curvature


class Rectifier(Activation):
    """One that sets what is below 0 to 0; tools that look inside a network may let it pass another gradient back."""

    def backward(self, grad):
        rule = rectifier_rule()
        return super().backward(grad) if rule is None else rule(grad, super().backward)


class Relu(Rectifier):
    kernel, saves = "relu", ("output",)


class Relu6(Rectifier):
    kernel = "relu6"


class LeakyRelu(Activation):
    kernel, params = "leaky_relu", ("slope",)


class Elu(Activation):
    kernel, params = "elu", ("alpha",)
    alpha: float

    def curvature(self, at):
        return mask(exp(at.minimum(0.0)) * self.alpha, at <= 0)


class Sigmoid(Activation):
    kernel, saves = "sigmoid", ("output",)

    def curvature(self, at):  # by y, since y is saved: d/dy of y (1 - y)
        return 1 - at * 2


class Tanh(Activation):
    kernel, saves = "tanh", ("output",)

    def curvature(self, at):  # by y: d/dy of 1 - y^2
        return at * -2


class Silu(Activation):
    kernel = "silu"

    def curvature(self, at):
        s = sigmoid(at)
        return s * (1 - s) * (at * (1 - s * 2) + 2)


class Gelu(Activation):
    kernel = "gelu"

    def curvature(self, at):  # phi(x) (2 - x^2)
        square = at * at
        return exp(square * -0.5) * (2 - square) * 0.3989422804014327


class Softplus(Activation):
    kernel, params = "softplus", ("beta", "threshold")
    beta: float
    threshold: float

    def curvature(self, at):
        s = sigmoid(at * self.beta)
        return mask(s * (1 - s) * self.beta, at * self.beta <= self.threshold)


class Hardsigmoid(Activation):
    kernel = "hardsigmoid"


class Hardswish(Activation):
    kernel = "hardswish"

    def curvature(self, at):
        return mask(at * 0 + 1 / 3, (at > -3) & (at < 3))


@op
def relu(x: Tensor) -> Tensor:
    """max(x, 0); the derivative at 0 is 0. Nair & Hinton 2010.

    >>> import minicnn as mc
    >>> mc.nn.functional.relu(mc.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    >>> x = mc.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    >>> y = mc.nn.functional.relu(x)
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([0.0, 0.0, 3.0], [0.0, 0.0, 1.0])
    """
    need_float("relu", x=x)
    return Relu.apply(x)


@op
def relu6(x: Tensor) -> Tensor:
    """min(max(x, 0), 6). Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10".

    >>> import minicnn as mc
    >>> mc.nn.functional.relu6(mc.tensor([-1.0, 2.0, 8.0])).tolist()
    [0.0, 2.0, 6.0]
    """
    need_float("relu6", x=x)
    return Relu6.apply(x)


@op
def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where positive, negative_slope * x elsewhere. Maas et al. 2013.

    >>> import minicnn as mc
    >>> mc.nn.functional.leaky_relu(mc.tensor([-1.0, 2.0]), 0.25).tolist()
    [-0.25, 2.0]
    """
    need_float("leaky_relu", x=x)
    return LeakyRelu.apply(x, slope=float(negative_slope))


@op
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where positive, alpha * (e^x - 1) elsewhere. Clevert et al. 2015.

    >>> import minicnn as mc
    >>> print(mc.nn.functional.elu(mc.tensor([-10.0, -1.0, 0.0, 3.0])).numpy().round(3))
    [-1.    -0.632  0.     3.   ]
    """
    need_float("elu", x=x)
    return Elu.apply(x, alpha=float(alpha))


@op
def gelu(x: Tensor) -> Tensor:
    """x * Phi(x), Phi the normal distribution function (exact, by erf). Hendrycks & Gimpel 2016.

    >>> import minicnn as mc
    >>> print(mc.nn.functional.gelu(mc.tensor([-1.0, 0.0, 2.0])).numpy().round(4))
    [-0.1587  0.      1.9545]
    """
    need_float("gelu", x=x)
    return Gelu.apply(x)


@op
def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x), also called swish. Elfwing et al. 2017; Ramachandran et al. 2017.

    >>> import minicnn as mc
    >>> print(mc.nn.functional.silu(mc.tensor([-1.0, 0.0, 2.0])).numpy().round(4))
    [-0.2689  0.      1.7616]
    """
    need_float("silu", x=x)
    return Silu.apply(x)


@op
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x): from a logit to a probability. It doesn't overflow.

    >>> import minicnn as mc
    >>> mc.nn.functional.sigmoid(mc.tensor([0.0, 100.0])).tolist()
    [0.5, 1.0]
    """
    need_float("sigmoid", x=x)
    return squashed(x, Sigmoid.apply(x))


@op
def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent, (e^x - e^-x) / (e^x + e^-x), from -1 to 1.

    >>> import minicnn as mc
    >>> mc.nn.functional.tanh(mc.tensor([-100.0, 0.0, 100.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    need_float("tanh", x=x)
    return Tanh.apply(x)


@op
def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta, a smooth relu, and x itself where beta * x is above the threshold. Dugas et al. 2001,
    "Incorporating second-order functional knowledge for better option pricing".

    >>> import minicnn as mc
    >>> mc.nn.functional.softplus(mc.tensor([-100.0, 100.0])).numpy().round(4).tolist()
    [0.0, 100.0]
    """
    need_float("softplus", x=x)
    return Softplus.apply(x, beta=float(beta), threshold=float(threshold))


@op
def hardsigmoid(x: Tensor) -> Tensor:
    """min(max(x + 3, 0), 6) / 6. Howard et al. 2019, "Searching for MobileNetV3".

    >>> import minicnn as mc
    >>> mc.nn.functional.hardsigmoid(mc.tensor([-4.0, 0.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    need_float("hardsigmoid", x=x)
    return Hardsigmoid.apply(x)


@op
def hardswish(x: Tensor) -> Tensor:
    """x * min(max(x + 3, 0), 6) / 6. Howard et al. 2019, "Searching for MobileNetV3".

    >>> import minicnn as mc
    >>> mc.nn.functional.hardswish(mc.tensor([-1.5, 0.0, 3.0])).tolist()
    [-0.375, 0.0, 3.0]
    """
    need_float("hardswish", x=x)
    return Hardswish.apply(x)


for _function in (relu, sigmoid, tanh):
    method(_function)
