"""Batch normalisation (Ioffe & Szegedy 2015), over all axes but the channels, and what is fused with it."""

from functools import partial
from math import prod
from typing import Any

from ..dispatch import dispatch
from ..tape import Function, is_grad_enabled, op
from ..tensor import Tensor
from . import activation as activations
from .activation import ActivationGrad
from .arguments import need_float
from .compare import mask
from .definition import gradients_of_definition

#: The activations that a normalisation can apply, by their kernels' names.
KINDS: dict[str, type[activations.Activation]] = {
    kind.kernel: kind
    for kind in (activations.Relu, activations.Relu6, activations.Gelu, activations.Silu, activations.Hardswish,
                 activations.Hardsigmoid, activations.Sigmoid, activations.Tanh)
}  # fmt: skip


class BatchNorm(Function):
    """y = activation((x - mean) * rstd * weight + bias), mean and rstd being those of the batch. x: (..., C).

    rectified: x came out of a ReLU, whose gradient is taken along.
    """

    saves = ("x", "weight", "bias", "mean", "rstd")
    eps: float
    activation = ""
    rectified = False

    def forward(self, x, weight, bias, mean, rstd):
        return normalised(x, mean, rstd, weight, bias, None, self.activation)

    def backward(self, grad):
        dx, dweight, dbias = BatchNormGrad.apply(grad, *self.saved, **gradient_settings(self))
        return dx, dweight if self.needs[1] else None, dbias if self.needs[2] else None, None, None


class BatchNormAdd(Function):
    """y = activation((x - mean) * rstd * weight + bias + add); the activation is relu, relu6 or none: their gradients
    follow from the output."""

    saves = ("x", "weight", "bias", "mean", "rstd", "output")
    eps: float
    activation = ""
    rectified = False

    def forward(self, x, weight, bias, mean, rstd, add):
        return normalised(x, mean, rstd, weight, bias, add, self.activation)

    def backward(self, grad):
        *inputs, y = self.saved
        if self.activation:
            grad = ActivationGrad.apply(grad, y, of=KINDS[self.activation]())
        dx, dweight, dbias = BatchNormGrad.apply(grad, *inputs, **gradient_settings(self) | {"activation": ""})
        return dx, dweight if self.needs[1] else None, dbias if self.needs[2] else None, None, None, grad


def rows(array: Any) -> Any:
    """A raw array (..., C) as (M, C)."""
    return None if array is None else array.reshape(prod(array.shape[:-1]), array.shape[-1])


def normalised(x: Any, mean: Any, rstd: Any, weight: Any, bias: Any, add: Any, activation: str) -> Any:
    """The kernel for raw arrays (..., C)."""
    y = dispatch("batch_norm_apply", rows(x), mean, rstd, weight, bias, rows(add), activation=activation)
    return y.reshape(x.shape)


def gradient_settings(norm: Any) -> dict[str, Any]:
    """What an op shares with its gradient."""
    return {name: getattr(norm, name) for name in ("eps", "activation", "rectified")}


class BatchNormGrad(Function):
    """The gradient of BatchNorm, in one kernel. Its own gradient, seldom asked for, is that of the definition."""

    saves = ("g", "x", "weight", "bias")
    eps: float
    activation: str
    rectified: bool

    def forward(self, g, x, weight, bias, mean, rstd):
        dx, dweight, dbias = dispatch("batch_norm_grad", rows(g), rows(x), mean, rstd, weight, bias,
                                      activation=self.activation, rectified=self.rectified)
        return dx.reshape(x.shape), dweight, dbias

    def backward(self, *grads):
        definition = partial(plain_gradients, self)
        return *gradients_of_definition(definition, self.saved, grads), None, None


def plain_gradients(norm: Any, g: Any, x: Any, weight: Any, bias: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What batch_norm_grad computes, step by step (see kernels/contracts.py). norm: who has its settings."""
    shape = x.shape
    g, x = g.reshape((-1, shape[-1])), x.reshape((-1, shape[-1]))
    if norm.rectified:
        x = activations.Relu.apply(x)  # it is one already: this takes the gradient of the ReLU along, here too
    centred = x - x.mean(dim=0, keepdim=True)
    rstd = ((centred * centred).mean(dim=0, keepdim=True) + norm.eps) ** -0.5
    xhat = centred * rstd
    if norm.activation:
        kind = KINDS[norm.activation]
        z = xhat if weight is None else xhat * weight
        z = z if bias is None else z + bias
        g = ActivationGrad.apply(g, kind.apply(z) if "output" in kind.saves else z, of=kind())
    dbias, dweight = g.sum(dim=0), (g * xhat).sum(dim=0)
    m = 1.0 / x.shape[0]
    scale = rstd if weight is None else rstd * weight
    dx = scale * (g - dbias * m - xhat * dweight * m)
    return (mask(dx, x > 0) if norm.rectified else dx).reshape(shape), dweight, dbias


class Normalize(Function):
    """y = activation((x - mean) * rstd * weight + bias + add) with given statistics. x: (..., C).

    It has a gradient without activation and add only: others are for where nothing is recorded.
    """

    saves = ("x", "mean", "rstd", "weight")
    activation = ""

    def forward(self, x, mean, rstd, weight, bias, add):
        return normalised(x, mean, rstd, weight, bias, add, self.activation)

    def backward(self, grad):
        x, mean, rstd, weight = self.saved
        scale = rstd if weight is None else rstd * weight
        axes = tuple(range(x.ndim - 1))
        dx = grad * scale if self.needs[0] else None
        dweight = (grad * ((x - mean) * rstd)).sum(dim=axes) if self.needs[3] else None
        dbias = grad.sum(dim=axes) if self.needs[4] else None
        return dx, None, None, dweight, dbias, None


@op
def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, channel by channel. x: (..., C) -> the same; the rest: (C,).

    training: mean and variance are the batch's, and the running ones are moved towards them by `momentum`, in place
    (with the unbiased variance, as in PyTorch); it takes at least two values a channel. Else they are the running ones.
    Ioffe & Szegedy 2015, "Batch normalization: accelerating deep network training by reducing internal covariate
    shift".

    >>> import minicnn as mc
    >>> x = mc.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> mc.nn.functional.batch_norm(x, None, None, training=True, eps=0.0).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    >>> mc.nn.functional.batch_norm(x, mc.tensor([1.0, 10.0]), mc.tensor([4.0, 100.0]), eps=0.0).tolist()
    [[0.0, 0.0], [1.0, 2.0]]
    """
    return normalise(x, running_mean, running_var, weight, bias, training, momentum, eps)


def normalise(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    *,
    add: Tensor | None = None,
    activation: str = "",
    rectified: bool = False,
) -> Tensor:
    """batch_norm, then + add (of the shape of x), then an activation, one of KINDS; with add, relu
    or relu6 only.

    rectified: take the gradient of the ReLU along that x came out of. While recording, statistics that are given allow
    none of the three.
    """
    check(x, running_mean, running_var, weight, bias, training)
    if add is not None and (add.shape, add.dtype) != (x.shape, x.dtype):
        raise ValueError(f"batch_norm: add is {add.dtype} {add.shape}, expected {x.dtype} {x.shape}")
    if not training:
        assert running_mean is not None and running_var is not None  # see check
        if is_grad_enabled() and (add is not None or activation or rectified):
            raise RuntimeError("batch_norm: given statistics are fused only where nothing is recorded")
        rstd = Tensor(dispatch("rstd", running_var.array, eps=eps))
        return Normalize.apply(x, running_mean.detach(), rstd, weight, bias, add, activation=activation)
    settings = {"eps": eps, "activation": activation, "rectified": rectified}
    statistics = batch_statistics(x.array, running_mean, running_var, momentum, eps)
    if add is None:
        return BatchNorm.apply(x, weight, bias, *statistics, **settings)
    return BatchNormAdd.apply(x, weight, bias, *statistics, add, **settings)


def check(x: Tensor, running_mean: Any, running_var: Any, weight: Any, bias: Any, training: bool) -> None:
    """Refuse arguments of a batch norm that do not fit."""
    need_float("batch_norm", x=x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if x.ndim < 2:
        raise ValueError(f"batch_norm: x must have shape (N, ..., C), got {x.shape}")
    channels = x.shape[-1]
    for name, value in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if value is not None and value.shape != (channels,):
            raise ValueError(f"batch_norm: {name} has shape {value.shape}, expected ({channels},)")
    if not training and (running_mean is None or running_var is None):
        raise ValueError("batch_norm: running_mean and running_var are needed when training=False")
    if training and prod(x.shape[:-1]) < 2:
        raise ValueError(f"batch_norm: training needs at least two values a channel, got x of shape {x.shape}")


def batch_statistics(
    x: Any, running_mean: Tensor | None, running_var: Tensor | None, momentum: float, eps: float
) -> tuple[Tensor, Tensor]:
    """mean and rstd of a raw array (..., C), after moving the running statistics towards its own."""
    count = prod(x.shape[:-1])
    mean, var = dispatch("batch_norm_stats", rows(x))
    following = [None if running is None else running.array for running in (running_mean, running_var)]
    rstd = dispatch("batch_norm_follow", mean, var, *following, momentum=momentum, unbias=count / (count - 1), eps=eps)
    for running in (running_mean, running_var):
        if running is not None:
            running.touch()
    return Tensor(mean), Tensor(rstd)


def scale_and_shift(
    running_mean: Tensor, running_var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """Normalisation with given statistics as y = x * scale + shift."""
    scale = Tensor(dispatch("rstd", running_var.array, eps=eps))
    if weight is not None:
        scale = scale * weight
    shift = -running_mean * scale
    return scale, shift if bias is None else shift + bias
