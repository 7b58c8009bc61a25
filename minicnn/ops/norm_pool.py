"""Batch normalisation, an activation, max pooling and dropout as one op: only the pooled values are written."""

from math import prod
from typing import Any

from .. import random
from ..dispatch import dispatch
from ..tape import Function, is_grad_enabled
from ..tensor import Tensor
from .arguments import Pair
from .definition import gradients_of_definition
from .dropout import check_probability
from .norm import batch_statistics, check, gradient_settings, plain_gradients
from .pool import MaxPool2dGrad
from .pool_arguments import windows_over


class BatchNormPool(Function):
    """y = dropout(max_pool(activation((x - mean) * rstd * weight + bias))), and the place of each maximum in its
    window, 255 where dropout has dropped it. x: (N, H, W, C). The windows, `kernel` large, lie side by side.

    The other settings are those of BatchNorm; seed and offset say where in the random stream dropout's words are.
    """

    saves = ("output1", "x", "weight", "bias", "mean", "rstd")
    eps: float
    activation: str
    rectified: bool
    kernel: Pair
    p: float
    seed: int
    offset: int

    def forward(self, x, weight, bias, mean, rstd):
        return dispatch("batch_norm_pool", x, mean, rstd, weight, bias, kernel=self.kernel,
                        activation=self.activation, p=self.p, seed=self.seed, offset=self.offset)

    def backward(self, grad, _):
        dx, dweight, dbias = BatchNormPoolGrad.apply(grad, *self.saved, **gradient_settings(self), kernel=self.kernel,
                                                     p=self.p)
        return dx, dweight if self.needs[1] else None, dbias if self.needs[2] else None, None, None


class BatchNormPoolGrad(Function):
    """The gradient of BatchNormPool, in one kernel. Its own is that of the definition."""

    saves = ("g", "position", "x", "weight", "bias")
    eps: float
    activation: str
    rectified: bool
    kernel: Pair
    p: float

    def forward(self, g, position, x, weight, bias, mean, rstd):
        return dispatch("batch_norm_pool_grad", g, position, x, mean, rstd, weight, bias, kernel=self.kernel,
                        activation=self.activation, p=self.p, rectified=self.rectified)

    def backward(self, *grads):
        return *gradients_of_definition(self.definition, self.saved, grads), None, None

    def definition(self, g, position, x, weight, bias):
        kept = 1 / (1 - self.p) if self.p < 1 else 0.0
        window = {"kernel": self.kernel, "stride": self.kernel, "padding": (0, 0), "dilation": (1, 1)}
        unpooled = MaxPool2dGrad.apply(g * kept, position, size=x.shape[1:3], **window)
        return plain_gradients(self, unpooled, x, weight, bias)


def normalise_and_pool(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    *,
    kernel: Any,
    activation: str = "",
    p: float = 0.0,
    rectified: bool = False,
) -> Tensor:
    """batch_norm, then an activation, then max_pool2d in windows of `kernel` side by side, then dropout with p.

    x: (N, H, W, C) -> (N, H // kH, W // kW, C). Arguments as for `normalise`; given statistics (training=False) are for
    where nothing is recorded.
    """
    check(x, running_mean, running_var, weight, bias, training)
    windows = windows_over("max_pool2d", x, 2, kernel, None, 0, 1, False)
    check_probability("dropout", p)
    shape = (x.shape[0], *windows.size, x.shape[3])
    settings = {"eps": eps, "activation": activation, "rectified": rectified, "kernel": windows.kernel, "p": p}
    drawn = random.draw(prod(shape)) if p > 0 and 0 not in shape else (0, 0)
    settings |= dict(zip(("seed", "offset"), drawn, strict=True))
    if training:
        statistics = batch_statistics(x.array, running_mean, running_var, momentum, eps)
    else:
        assert running_mean is not None and running_var is not None  # see check
        if is_grad_enabled():
            raise RuntimeError("batch_norm: given statistics are fused only where nothing is recorded")
        statistics = running_mean, Tensor(dispatch("rstd", running_var.array, eps=eps))
    return BatchNormPool.apply(x, weight, bias, *statistics, **settings)[0]
