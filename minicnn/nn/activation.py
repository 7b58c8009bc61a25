"""Activations as layers. What each computes, and its source, stands with the function in ops/activation.py."""

from ..ops.arguments import is_int
from ..tensor import Tensor
from . import functional as F
from .module import Module, layer


class Activation(Module):
    """A layer without weights that treats every element (or every place) alike."""

    in_order = True


@layer
class ReLU(Activation):
    """max(x, 0). See `functional.relu`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


@layer
class ReLU6(Activation):
    """min(max(x, 0), 6). See `functional.relu6`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x)


@layer
class LeakyReLU(Activation):
    """x where positive, negative_slope * x elsewhere. See `functional.leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01):
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


@layer
class ELU(Activation):
    """x where positive, alpha * (e^x - 1) elsewhere. See `functional.elu`."""

    def __init__(self, alpha: float = 1.0):
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


@layer
class GELU(Activation):
    """x * Phi(x). See `functional.gelu`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x)


@layer
class SiLU(Activation):
    """x * sigmoid(x), swish. See `functional.silu`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x)


@layer
class Hardswish(Activation):
    """x * min(max(x + 3, 0), 6) / 6. See `functional.hardswish`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(x)


@layer
class Hardsigmoid(Activation):
    """min(max(x + 3, 0), 6) / 6. See `functional.hardsigmoid`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.hardsigmoid(x)


@layer
class Sigmoid(Activation):
    """1 / (1 + e^-x). See `functional.sigmoid`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


@layer
class Tanh(Activation):
    """The hyperbolic tangent. See `functional.tanh`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


@layer
class Softplus(Activation):
    """log(1 + e^(beta x)) / beta. See `functional.softplus`."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class AlongDim(Activation):
    """An activation along one dimension; by default the last, the channels."""

    def __init__(self, dim: int = -1):
        super().__init__()
        if not is_int(dim):
            raise TypeError(f"{type(self).__name__}: dim must be an int, got {dim!r}")
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


@layer
class Softmax(AlongDim):
    """exp(x) / sum(exp(x)) along `dim`. See `functional.softmax`.

    >>> import minicnn as mc
    >>> mc.nn.Softmax()(mc.zeros(1, 4)).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.dim)


@layer
class LogSoftmax(AlongDim):
    """log(softmax(x)) along `dim`. See `functional.log_softmax`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(x, self.dim)
