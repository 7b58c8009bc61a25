"""Starting values of weights. Each function overwrites a tensor with values drawn from `minicnn.random` and returns it.

The layouts are ours: (kH, kW, C_in / groups, C_out) and (in_features, out_features), or with any number of spatial
axes.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import erf, prod, sqrt

import numpy as np

from .. import random
from ..tape import no_grad
from ..tensor import FLOATS, Tensor

#: Numbers drawn at a time: weights may be many more, and are drawn as float64.
BLOCK = 1 << 20


class Drawing(threading.local):
    on = True


_drawing = Drawing()


@contextmanager
def undrawn() -> Iterator[None]:
    """`with undrawn():` leave weights as they are, and the random stream too: for a model that is about to be given its
    weights, since drawing those of a large one takes seconds. In this thread only."""
    before, _drawing.on = _drawing.on, False
    try:
        yield
    finally:
        _drawing.on = before


def _draw(tensor: Tensor, distribution: Callable[[tuple[int]], np.ndarray]) -> Tensor:
    """Overwrite a tensor with what `distribution((count,))` gives."""
    if _drawing.on:
        values = np.empty(tensor.numel(), tensor.dtype)
        for start in range(0, values.size, BLOCK):
            block = values[start : start + BLOCK]
            block[...] = distribution(block.shape)
        with no_grad():
            tensor.copy_(values.reshape(tensor.shape))
    return tensor


def _check(name: str, tensor: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a Tensor, got {type(tensor).__name__}")
    if tensor.dtype not in FLOATS:
        raise TypeError(f"{name}: expected a float tensor, got {tensor.dtype}")


# ------------------------------------------------------------------------------------------------- plain distributions

def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Uniform from a to b."""
    _check("uniform_", tensor)
    if not a <= b:
        raise ValueError(f"uniform_: a must not be above b, got {a} and {b}")
    return _draw(tensor, lambda shape: random.uniform(shape, a, b))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal."""
    _check("normal_", tensor)
    if not std >= 0:
        raise ValueError(f"normal_: std must not be negative, got {std}")
    return _draw(tensor, lambda shape: random.normal(shape, mean, std))


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Tensor:
    """Normal, but only what lies from a to b (in the values' own unit, not in standard deviations).

    By the inverse of the distribution function, at uniform places between those of a and b (Devroye 1986, section
    II.2).
    """
    from scipy.special import ndtri

    _check("trunc_normal_", tensor)
    if not (std > 0 and a < b):
        raise ValueError(f"trunc_normal_: std must be positive and a below b, got std={std}, a={a}, b={b}")
    low, high = (0.5 * (1 + erf((edge - mean) / std / sqrt(2))) for edge in (a, b))
    if not low < high:
        raise ValueError(f"trunc_normal_: nothing of a normal with mean {mean} and std {std} lies from {a} to {b}")
    return _draw(tensor, lambda shape: np.clip(mean + std * ndtri(random.uniform(shape, low, high)), a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """The same number everywhere.

    >>> import minicnn as mc
    >>> mc.nn.init.constant_(mc.zeros(3), 0.5).tolist()
    [0.5, 0.5, 0.5]
    """
    with no_grad():
        return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """0 everywhere."""
    return constant_(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """1 everywhere."""
    return constant_(tensor, 1)


# --------------------------------------------------------------------------------------- scaled by the number of inputs

def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out): how many inputs an output sums over, and the same seen backwards, C_out * kH * kW.

    >>> import minicnn as mc
    >>> mc.nn.init.fans(mc.zeros(3, 3, 16, 32))  # 9 * 16 and 9 * 32
    (144, 288)
    """
    if tensor.ndim < 2:
        raise ValueError(f"fans: expected weights (..., inputs, outputs), got {tensor.shape}")
    *window, inputs, outputs = tensor.shape
    return prod(window) * inputs, prod(window) * outputs


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """What a nonlinearity makes of a standard deviation of 1, inverted: the gain that keeps it. param: leaky_relu's
    slope.

    He et al. 2015, "Delving deep into rectifiers", equations 10 and 15, for the rectifiers; 5/3 for tanh by experience.

    >>> import minicnn as mc
    >>> f"{mc.nn.init.calculate_gain('relu'):.3f}"
    '1.414'
    """
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": sqrt(2.0),
             "leaky_relu": sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))}
    gains |= {f"conv{n}d": 1.0 for n in (1, 2, 3)}
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: nonlinearity must be one of {', '.join(gains)}, got {nonlinearity!r}")
    return gains[nonlinearity]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Uniform within gain * sqrt(6 / (fan_in + fan_out)).

    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", equation 16.

    >>> import minicnn as mc
    >>> weight = mc.nn.init.xavier_uniform_(mc.zeros(100, 50))  # within sqrt(6 / 150) = 0.2
    >>> f"{weight.abs().max().item():.2f}"
    '0.20'
    """
    _check("xavier_uniform_", tensor)
    bound = gain * sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)). Glorot & Bengio 2010, equation 12."""
    _check("xavier_normal_", tensor)
    return normal_(tensor, 0, gain * sqrt(2 / sum(fans(tensor))))


def _kaiming_std(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    _check(name, tensor)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / sqrt(fan)


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Uniform within gain * sqrt(3 / fan). a: the slope of the leaky ReLU that follows.

    He et al. 2015, "Delving deep into rectifiers", equations 10 (fan_in) and 14 (fan_out), with a uniform of that
    variance.
    """
    bound = sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Normal with standard deviation gain / sqrt(fan). He et al. 2015, equations 10 (fan_in) and 14 (fan_out).

    >>> import minicnn as mc
    >>> weight = mc.nn.init.kaiming_normal_(mc.zeros(3, 3, 64, 256), nonlinearity="relu")  # sqrt(2 / (9 * 64)) = 0.059
    >>> f"{weight.var().item() ** 0.5:.3f}"
    '0.059'
    """
    return normal_(tensor, 0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity))


def default_(weight: Tensor, bias: Tensor | None) -> None:
    """PyTorch's start of convolutions and linear layers: both uniform within 1 / sqrt(fan_in).

    For the weight that is kaiming_uniform_ with a = sqrt(5); the rule itself is older (LeCun et al. 1998, "Efficient
    BackProp", section 4.6, asks for the standard deviation 1 / sqrt(fan_in)).
    """
    kaiming_uniform_(weight, a=sqrt(5))
    if bias is not None:
        bound = 1 / sqrt(fans(weight)[0])
        uniform_(bias, -bound, bound)
