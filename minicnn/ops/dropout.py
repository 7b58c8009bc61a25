"""Dropout (Srivastava et al. 2014). The mask is not stored: it is made again from its place in the random stream."""

from math import prod
from typing import Any

from .. import random
from ..dispatch import dispatch
from ..tape import Function, op
from ..tensor import Tensor, ones
from .arguments import need_float


class Dropout(Function):
    """x: (N, M, C), one random word for each n and c. A linear map that is its own adjoint."""

    p: float
    seed: int
    offset: int

    def forward(self, x):
        return dispatch("dropout", x, p=self.p, seed=self.seed, offset=self.offset)

    def backward(self, grad):
        return Dropout.apply(grad, p=self.p, seed=self.seed, offset=self.offset)


def check_probability(name: str, p: Any) -> None:
    if not isinstance(p, int | float) or not 0 <= p <= 1:
        raise ValueError(f"{name}: p must be a probability from 0 to 1, got {p!r}")


def _drop(name: str, x: Tensor, p: float, training: bool, folded: tuple[int, int, int]) -> Tensor:
    need_float(name, x=x)
    check_probability(name, p)
    if not training or p == 0 or x.numel() == 0:
        return x
    seed, offset = random.draw(folded[0] * folded[2])
    return Dropout.apply(x.reshape(folded), p=float(p), seed=seed, offset=offset).reshape(x.shape)


@op
def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Each element is 0 with probability p, else divided by 1 - p, so that its mean stays; x itself when not training.
    The shape of x. Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".

    >>> import minicnn as mc
    >>> y = mc.nn.functional.dropout(mc.ones(1000), 0.75)
    >>> sorted(set(y.tolist()))
    [0.0, 4.0]
    >>> sorted(set(mc.nn.functional.dropout(mc.ones(1000), p=0.75).tolist()))
    [0.0, 4.0]
    >>> mc.nn.functional.dropout(mc.ones(3), p=0.75, training=False).tolist()
    [1.0, 1.0, 1.0]
    """
    return _drop("dropout", x, p, training, (1, 1, x.numel()))


@op
def dropout2d(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Whole channels of a picture are 0 with probability p, the others divided by 1 - p; x itself when not training.
    Pixels of one channel are too much alike to be dropped one by one. x: (N, H, W, C), as is what returns. Tompson et
    al. 2015, "Efficient object localization using convolutional networks".

    >>> import minicnn as mc
    >>> y = mc.nn.functional.dropout2d(mc.ones((1, 5, 5, 64)), 0.5)
    >>> sorted(set(y.sum(dim=(0, 1, 2)).tolist()))
    [0.0, 50.0]
    """
    need_float("dropout2d", x=x)
    if x.ndim != 4:
        raise ValueError(f"dropout2d: x must have shape (N, H, W, C), got {x.shape}")
    return _drop("dropout2d", x, p, training, (x.shape[0], prod(x.shape[1:3]), x.shape[3]))


@op
def stochastic_depth(x: Tensor, p: float, mode: str, training: bool = True) -> Tensor:
    """Whole examples of a batch (N, ...) are 0 with probability p, else divided by 1 - p. mode: "row" draws for each
    example, "batch" once for all. Huang, Sun, Liu, Sedra & Weinberger 2016, "Deep networks with stochastic depth".

    >>> import minicnn as mc
    >>> mc.nn.functional.stochastic_depth(mc.ones(2, 3), 0.2, "row", training=False).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    need_float("stochastic_depth", x=x)
    if mode not in ("row", "batch"):
        raise ValueError(f"stochastic_depth: mode must be 'row' or 'batch', got {mode!r}")
    if x.ndim < 1:
        raise ValueError(f"stochastic_depth: x must have shape (N, ...), got {x.shape}")
    draws = x.shape[0] if mode == "row" else 1
    factors = _drop("stochastic_depth", ones(draws, dtype=x.dtype, device=x.device), p, training, (1, 1, draws))
    return x * factors.reshape((draws,) + (1,) * (x.ndim - 1)) if training and p > 0 else x
