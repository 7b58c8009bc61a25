"""Linear, and the layers that stand around it: Flatten, Identity."""

from typing import Any

import numpy as np

from ..ops.arguments import is_int
from ..tensor import Tensor, zeros
from . import functional as F
from . import init
from .layout import Flow
from .module import Module, Parameter, layer


def positive_int(owner: Any, name: str, value: Any) -> int:
    """The value, if it is an int of at least 1."""
    if not is_int(value) or value < 1:
        raise ValueError(f"{type(owner).__name__}: {name} must be a positive int, got {value!r}")
    return int(value)


@layer
class Linear(Module):
    """y = x @ weight + bias. x: (..., in_features), y: (..., out_features)

    weight: (in_features, out_features); bias: (out_features,). Both start uniform within 1 / sqrt(in_features), as in
    PyTorch.

    >>> import minicnn as mc
    >>> layer = mc.nn.Linear(784, 10)
    >>> layer(mc.ones(32, 784)).shape, layer.weight.shape
    ((32, 10), (784, 10))
    """

    flat_inputs = ("weight",)

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        self.in_features = positive_int(self, "in_features", in_features)
        self.out_features = positive_int(self, "out_features", out_features)
        self.weight = Parameter(zeros(in_features, out_features))
        self.bias = Parameter(zeros(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the starting weights anew."""
        init.default_(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def from_torch(self, name: str, array: np.ndarray) -> np.ndarray:
        return array.T if array.ndim == 2 else array

    to_torch = from_torch

    def follow(self, flow: Flow) -> Flow:
        return flow.of_features(self.out_features)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


@layer
class Flatten(Module):
    """The dimensions start_dim to end_dim as one; by default all but the batch: (N, H, W, C) to (N, H * W * C).

    >>> import minicnn as mc
    >>> mc.nn.Flatten()(mc.ones(2, 4, 4, 3)).shape
    (2, 48)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Tensor) -> Tensor:
        return F.flatten(x, self.start_dim, self.end_dim)

    def follow(self, flow: Flow) -> Flow:
        whole = (self.start_dim, self.end_dim) == (1, -1)  # else only a part of the picture: too odd to convert
        return flow._replace(flat=True, channels=flow.channels if whole else None)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


@layer
class Identity(Module):
    """Returns its input. Arguments are accepted and ignored, so that it can stand for any layer.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Linear(3, 2), mc.nn.Dropout())
    >>> model[1] = mc.nn.Identity()  # no more dropout, and all places stay as they are
    >>> model(mc.ones(1, 3)).shape
    (1, 2)
    """

    in_order = True

    def __init__(self, *ignored: Any, **options: Any):
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x
