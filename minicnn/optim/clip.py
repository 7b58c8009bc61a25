"""Limits on gradients, between backward and the optimizer's step. PyTorch has both in `nn.utils`."""

from collections.abc import Iterable
from math import inf, isfinite

import numpy as np

from ..ops.shape import concat
from ..tape import no_grad
from ..tensor import Tensor, tensor


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad.detach() for p in listed if p.grad is not None]


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
                    error_if_nonfinite: bool = False) -> Tensor:
    """Scale all gradients by one factor, in place, so that their norm together is at most `max_norm`.

    norm_type: which norm of all their elements, inf for the largest. Returns the norm before (0 without gradients).
    error_if_nonfinite: raise RuntimeError, before anything changes, if that is infinite or NaN.
    Pascanu et al. 2013, "On the difficulty of training recurrent neural networks", algorithm 1. PyTorch's
    `nn.utils.clip_grad_norm_`, its 1e-6 in the divisor included. On a GPU the norm stays there: nothing waits for it,
    unless error_if_nonfinite asks for it.

    >>> import minicnn as mc
    >>> x = mc.tensor([0.0, 0.0], requires_grad=True)
    >>> (x * mc.tensor([3.0, 4.0])).sum().backward()
    >>> mc.optim.clip_grad_norm_([x], max_norm=1.0).item()  # what it was
    5.0
    >>> print(x.grad.numpy().round(3))
    [0.6 0.8]
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm must not be negative, got {max_norm}")
    if not norm_type > 0:
        raise ValueError(f"clip_grad_norm_: norm_type must be positive, got {norm_type}")
    gradients = _gradients(parameters)
    if not gradients:
        return tensor(0.0)
    with no_grad():
        norm = _norm(gradients, norm_type)
        if error_if_nonfinite and not isfinite(norm.item()):
            raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {norm.item()}")
        factor = (max_norm / (norm + 1e-6)).clip(max=1.0)  # NaN goes on, and is seen
        if norm.device == "cpu" and factor.item() == 1:
            return norm
        for grad in gradients:  # a factor on a GPU stays there: nobody waits for it
            grad.copy_(grad * factor.to(grad.device).to(grad.dtype))
    return norm


def _norm(gradients: list[Tensor], norm_type: float) -> Tensor:
    """The norm of all elements together: of one array of them all, or, where dtypes or devices differ, of the norms of
    such arrays, beside the first gradient."""
    alike: dict[tuple[str, np.dtype], list[Tensor]] = {}
    for grad in gradients:
        alike.setdefault((grad.device, grad.dtype), []).append(grad.reshape((-1,)))
    norms = [_norm_of(concat(some), norm_type) for some in alike.values()]
    first = gradients[0]
    together = concat([norm.to(first.device).to(first.dtype).reshape((1,)) for norm in norms])
    return norms[0] if len(norms) == 1 else _norm_of(together, norm_type)


def _norm_of(x: Tensor, norm_type: float) -> Tensor:
    if not x.numel():
        return x.sum()
    if norm_type == inf:
        return x.abs().max()
    if norm_type == 1:
        return x.abs().sum()
    return (x * x).sum().sqrt() if norm_type == 2 else (x.abs() ** norm_type).sum() ** (1 / norm_type)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of the gradients to [-clip_value, clip_value], in place. ValueError if that is negative.

    >>> import minicnn as mc
    >>> x = mc.tensor([0.0, 0.0], requires_grad=True)
    >>> (x * mc.tensor([0.5, -4.0])).sum().backward()
    >>> mc.optim.clip_grad_value_([x], 1.0)
    >>> x.grad.tolist()
    [0.5, -1.0]
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must not be negative, got {clip_value}")
    with no_grad():
        for grad in _gradients(parameters):
            grad.copy_(grad.clip(-clip_value, clip_value))
