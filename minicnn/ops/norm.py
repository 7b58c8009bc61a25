"""Batch normalisation (Ioffe & Szegedy 2015), over all axes but the channels."""

from math import prod
from typing import Any

from ..dispatch import dispatch
from ..tape import Function, enable_grad, is_grad_enabled, op
from ..tape import grad as gradients_of
from ..tensor import Tensor
from .arguments import need_float
from .shape import Reshape


class BatchNorm(Function):
    """y = (x - mean) / sqrt(var + eps) * weight + bias with the batch's own statistics. x: (M, C).

    Also returns mean and variance of the batch, for the running statistics.
    """

    saves = ("x", "weight", "output1", "output2")
    eps: float

    def forward(self, x, weight, bias):
        mean, var = dispatch("batch_norm_stats", x)
        rstd = dispatch("rstd", var, eps=self.eps)
        return dispatch("batch_norm_apply", x, mean, rstd, weight, bias), mean, var

    def backward(self, grad, _mean, _var):
        x, weight, mean, var = self.saved
        rstd = Tensor(dispatch("rstd", var.array, eps=self.eps))
        dx, dweight, dbias = BatchNormGrad.apply(grad, x, mean.detach(), rstd, weight, eps=self.eps)
        return dx, dweight if self.needs[1] else None, dbias if self.needs[2] else None


class BatchNormGrad(Function):
    """The gradient of BatchNorm, in one kernel. Its own gradient, seldom asked for, is that of the definition."""

    saves = ("g", "x", "weight")
    eps: float

    def forward(self, g, x, mean, rstd, weight):
        return dispatch("batch_norm_grad", g, x, mean, rstd, weight)

    def backward(self, ddx, ddweight, ddbias):
        record = is_grad_enabled()
        with enable_grad():
            # Differentiate by stand-ins: g depends on x, and that way is none of this op's business.
            g, x, weight = (None if t is None else _stand_in(t, record) for t in self.saved)
            outputs = zip(_plain_gradients(g, x, weight, self.eps), (ddx, ddweight, ddbias), strict=True)
            pairs = [(out, dd) for out, dd in outputs if dd is not None]
            leaves = [t for t in (g, x, weight) if t is not None]
            found = gradients_of(
                [out for out, _ in pairs], leaves, [dd for _, dd in pairs], create_graph=record, allow_unused=True
            )
        dg, dx = found[0], found[1]
        return dg, dx, None, None, found[2] if weight is not None else None


def _stand_in(tensor: Tensor, record: bool) -> Tensor:
    """The same values: with an entry that leads back to the tensor if recording, else without a history."""
    if record and tensor.requires_grad:
        return Reshape.apply(tensor, shape=tensor.shape)
    return tensor.detach().requires_grad_()


def _plain_gradients(g: Any, x: Any, weight: Any, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """What batch_norm_grad computes, step by step (see kernels/contracts.py)."""
    centred = x - x.mean(dim=0, keepdim=True)
    rstd = ((centred * centred).mean(dim=0, keepdim=True) + eps) ** -0.5
    xhat = centred * rstd
    dbias, dweight = g.sum(dim=0), (g * xhat).sum(dim=0)
    m = 1.0 / x.shape[0]
    scale = rstd if weight is None else rstd * weight
    return scale * (g - dbias * m - xhat * dweight * m), dweight, dbias


class Normalize(Function):
    """y = (x - mean) * rstd * weight + bias with given statistics. x: (M, C)."""

    saves = ("x", "mean", "rstd", "weight")

    def forward(self, x, mean, rstd, weight, bias):
        return dispatch("batch_norm_apply", x, mean, rstd, weight, bias)

    def backward(self, grad):
        x, mean, rstd, weight = self.saved
        scale = rstd if weight is None else rstd * weight
        dx = grad * scale if self.needs[0] else None
        dweight = (grad * ((x - mean) * rstd)).sum(dim=0) if self.needs[3] else None
        dbias = grad.sum(dim=0) if self.needs[4] else None
        return dx, None, None, dweight, dbias


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
    """y = (x - mean) / sqrt(var + eps) * weight + bias, channel by channel. x: (..., C); the rest: (C,).

    training: mean and variance are the batch's, and the running ones are moved towards them by `momentum`, in place
    (with the unbiased variance, as in PyTorch); it takes at least two values a channel. Else they are the running ones.
    Ioffe & Szegedy 2015, "Batch normalization: accelerating deep network training by reducing internal covariate
    shift".
    """
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
    rows = x.reshape((prod(x.shape[:-1]), channels))
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: running_mean and running_var are needed when training=False")
        rstd = Tensor(dispatch("rstd", running_var.array, eps=eps))
        return Normalize.apply(rows, running_mean.detach(), rstd, weight, bias).reshape(x.shape)
    if rows.shape[0] < 2:
        raise ValueError(f"batch_norm: training needs at least two values a channel, got x of shape {x.shape}")
    y, mean, var = BatchNorm.apply(rows, weight, bias, eps=eps)
    _move(running_mean, mean, momentum)
    _move(running_var, var, momentum, scale=rows.shape[0] / (rows.shape[0] - 1))
    return y.reshape(x.shape)


def _move(running: Tensor | None, value: Tensor, momentum: float, scale: float = 1.0) -> None:
    if running is not None:
        dispatch("average_step", running.array, value.array, rate=momentum, scale=scale)
        running.touch()
