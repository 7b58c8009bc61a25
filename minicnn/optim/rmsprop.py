"""RMSprop."""

from collections.abc import Iterable
from typing import Any

from ..dispatch import dispatch_rows
from .optimizer import Due, Group, Optimizer, fraction, not_negative


class RMSprop(Optimizer):
    """p -= lr * g / (sqrt(square) + eps), with square a running mean of the squared gradient: alpha of it is kept.

    centered: by the standard deviation instead, sqrt(square - mean^2) (Graves 2013, "Generating sequences with
    recurrent neural networks", equations 38 to 45). momentum: a running sum of the steps is taken. weight_decay adds
    weight_decay * p to the gradient. Tieleman & Hinton 2012, "Neural networks for machine learning", lecture 6.5.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0, momentum: float = 0, centered: bool = False):
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
                                  "momentum": momentum, "centered": centered})

    def check(self, group: Group) -> None:
        not_negative("RMSprop", group, "lr", "eps", "weight_decay", "momentum")
        fraction("RMSprop", "alpha", group["alpha"])

    def slots(self, group: Group) -> dict[str, float]:
        wanted = {"square_avg": True, "momentum_buffer": group["momentum"], "grad_avg": group["centered"]}
        return {name: 0.0 for name, want in wanted.items() if want}

    def update(self, due: list[Due], group: Group, step: int) -> None:
        names = ("square_avg", "grad_avg", "momentum_buffer")
        rows = [(param.array, grad.array, *[state[name].array if name in state else None for name in names])
                for param, grad, state in due]
        dispatch_rows("rmsprop_step", rows, lr=group["lr"], alpha=group["alpha"], eps=group["eps"],
                      weight_decay=group["weight_decay"], momentum=group["momentum"])
