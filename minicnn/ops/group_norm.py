"""Normalisation of each picture on its own: layer, group and instance norm, channels last.

All three are one op on x as (N, M, C): a mean and a variance for each of N pictures, from M places and a group of
neighbouring channels. For layer norm all that is normalised together counts as the channels of one place; for instance
norm each channel is a group of its own.
"""

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

from ..dispatch import dispatch
from ..tape import Function, op
from ..tensor import Tensor
from .arguments import check_eps, is_int, need_float
from .definition import gradients_of_definition
from .norm import normalise


class GroupNorm(Function):
    """y = (x - mean) * rstd * weight + bias for x (N, M, C), and mean and rstd, (N, groups)."""

    saves = ("x", "weight", "output1", "output2")
    groups: int
    eps: float

    def forward(self, x, weight, bias):
        return dispatch("group_norm", x, weight, bias, groups=self.groups, eps=self.eps)

    def backward(self, grad, *_):
        x, weight, mean, rstd = self.saved
        dx, dweight, dbias = GroupNormGrad.apply(grad, x, weight, mean.detach(), rstd.detach(), groups=self.groups,
                                                 eps=self.eps)  # fmt: skip
        return dx, dweight if self.needs[1] else None, dbias if self.needs[2] else None


class GroupNormGrad(Function):
    """The gradient of GroupNorm, in one kernel. Its own gradient, seldom asked for, is that of the definition."""

    saves = ("g", "x", "weight")
    groups: int
    eps: float

    def forward(self, g, x, weight, mean, rstd):
        return dispatch("group_norm_grad", g, x, mean, rstd, weight)

    def backward(self, *grads):
        return *gradients_of_definition(self.definition, self.saved, grads), None, None

    def definition(self, g, x, weight):
        """What group_norm_grad computes, step by step (see kernels/contracts.py)."""
        n, places, channels = x.shape
        split = (n, places, self.groups, channels // self.groups)

        def mean(z: Tensor) -> Tensor:
            return z.mean(dim=(1, 3), keepdim=True)

        h = (g if weight is None else g * weight).reshape(split)
        centred = x.reshape(split) - mean(x.reshape(split))
        rstd = (mean(centred * centred) + self.eps) ** -0.5
        xhat = centred * rstd
        dx = rstd * (h - mean(h) - xhat * mean(h * xhat))
        return dx.reshape(x.shape), (g * xhat.reshape(x.shape)).sum(dim=(0, 1)), g.sum(dim=(0, 1))


def _normalised(
    x: Tensor, sizes: tuple[int, int, int], weight: Tensor | None, bias: Tensor | None, groups: int, eps: float
) -> Tensor:
    """Of x as (N, M, C), the sizes; weight and bias of C numbers each."""
    if x.numel() == 0:
        return _affine(x, weight, bias)
    weight, bias = (None if t is None else t.reshape((sizes[2],)) for t in (weight, bias))
    return GroupNorm.apply(x.reshape(sizes), weight, bias, groups=groups, eps=float(eps))[0].reshape(x.shape)


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _check_affine(name: str, shape: tuple[int, ...], **tensors: Tensor | None) -> None:
    for label, tensor in tensors.items():
        if tensor is not None and tensor.shape != shape:
            raise ValueError(f"{name}: {label} has shape {tensor.shape}, expected {shape}")


def normalized_sizes(name: str, normalized_shape: Any, least: int = 0) -> tuple[int, ...]:
    """The sizes of the dimensions that layer norm goes over, given as an int or several, none below `least`."""
    many = isinstance(normalized_shape, Iterable)
    sizes = tuple(normalized_shape) if many else (normalized_shape,)
    if not sizes or not all(is_int(size) and size >= least for size in sizes):
        raise ValueError(f"{name}: normalized_shape must be an int or several, at least {least}, got "
                         f"{normalized_shape!r}")
    return tuple(int(size) for size in sizes)


@op
def layer_norm(
    x: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, mean and (biased) variance over the last dimensions of x.

    x: (..., *normalized_shape) -> the same; weight, bias: normalized_shape. With (C,) each place is normalised over its
    channels. Ba et al. 2016, "Layer normalization".

    >>> import minicnn as mc
    >>> x = mc.tensor([[1.0, 3.0], [10.0, 30.0]])
    >>> mc.nn.functional.layer_norm(x, (2,), eps=0.0).numpy().tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """
    name = "layer_norm"
    need_float(name, x=x, weight=weight, bias=bias)
    check_eps(name, eps)
    shape = normalized_sizes(name, normalized_shape)
    if x.shape[-len(shape) :] != shape:
        raise ValueError(f"{name}: normalized_shape is {normalized_shape!r}, expected the last sizes of x, {x.shape}")
    _check_affine(name, shape, weight=weight, bias=bias)
    return _normalised(x, (prod(x.shape[: -len(shape)]), 1, prod(shape)), weight, bias, 1, eps)


@op
def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, mean and (biased) variance over a group of neighbouring
    channels and all places of one picture.

    x: (N, ..., C) -> the same; num_groups divides C; weight, bias: (C,). Wu & He 2018, "Group normalization".

    >>> import minicnn as mc
    >>> x = mc.tensor([[1.0, 3.0, 10.0, 30.0]])
    >>> mc.nn.functional.group_norm(x, 2, eps=0.0).numpy().tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """
    name = "group_norm"
    need_float(name, x=x, weight=weight, bias=bias)
    check_eps(name, eps)
    if x.ndim < 2:
        raise ValueError(f"{name}: x must have shape (N, ..., C), got {x.shape}")
    n, channels, places = x.shape[0], x.shape[-1], prod(x.shape[1:-1])
    if not is_int(num_groups) or num_groups < 1 or channels % num_groups:
        raise ValueError(f"{name}: num_groups must divide the {channels} channels, got {num_groups!r}")
    _check_affine(name, (channels,), weight=weight, bias=bias)
    if n * (channels // num_groups) * places == 1:
        raise ValueError(f"{name}: expected more than one value a group, got x of shape {x.shape}")
    return _normalised(x, (n, places, channels), weight, bias, int(num_groups), eps)


@op
def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, mean and (biased) variance of each channel of each picture.

    x: (N, ..., C) -> the same; the rest: (C,). The running statistics, if given, are moved by `momentum` in place
    towards the means over the pictures (of the unbiased variance); without use_input_stats they are what is used, as in
    batch_norm. Ulyanov et al. 2016, "Instance normalization: the missing ingredient for fast stylization".

    >>> import minicnn as mc
    >>> x = mc.tensor([1.0, 3.0, 10.0, 30.0]).reshape(2, 2, 1)
    >>> mc.nn.functional.instance_norm(x, eps=0.0).numpy().ravel().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    name = "instance_norm"
    need_float(name, x=x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    check_eps(name, eps)
    if x.ndim < 3:
        raise ValueError(f"{name}: x must have shape (N, ..., C) with at least one spatial axis, got {x.shape}")
    n, channels, places = x.shape[0], x.shape[-1], prod(x.shape[1:-1])
    _check_affine(name, (channels,), running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError(f"{name}: running_mean and running_var are needed when use_input_stats=False")
        return normalise(x, running_mean, running_var, weight, bias, False, momentum, eps)
    if places < 2:
        raise ValueError(f"{name}: expected more than one place in a picture, got x of shape {x.shape}")
    if x.numel():
        _follow(x.reshape((n, places, channels)), running_mean, running_var, momentum)
    return _normalised(x, (n, places, channels), weight, bias, channels, eps)


def _follow(x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float) -> None:
    """Move the running statistics towards the means of those of the pictures. x: (N, places, C)."""
    if running_mean is None and running_var is None:
        return
    n, places, channels = x.shape
    columns = x.detach().permute(1, 0, 2).reshape((places, n * channels))
    mean, var = dispatch("batch_norm_stats", columns.array)
    for running, value, scale in ((running_mean, mean, 1.0), (running_var, var, places / (places - 1))):
        if running is not None:
            average = Tensor(value.reshape(n, channels)).mean(dim=0)
            dispatch("average_step", running.array, average.array, rate=momentum, scale=scale)
            running.touch()
