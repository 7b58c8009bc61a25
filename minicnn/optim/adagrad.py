"""Adagrad."""

from collections.abc import Iterable
from typing import Any

from ..dispatch import dispatch_rows
from .optimizer import Due, Group, Optimizer, not_negative


class Adagrad(Optimizer):
    """p -= lr * g / (sqrt(total) + eps), with total the sum of all squared gradients so far.

    lr_decay: step number t, counted from 0, is taken with lr / (1 + t * lr_decay). weight_decay adds weight_decay * p
    to the gradient. Duchi et al. 2011, "Adaptive subgradient methods for online learning and stochastic optimization".
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10):
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
                                  "initial_accumulator_value": initial_accumulator_value, "eps": eps})

    def check(self, group: Group) -> None:
        not_negative("Adagrad", group, "lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")

    def slots(self, group: Group) -> dict[str, float]:
        return {"sum": float(group["initial_accumulator_value"])}

    def update(self, due: list[Due], group: Group, step: int) -> None:
        rows = [(param.array, grad.array, state["sum"].array) for param, grad, state in due]
        lr = group["lr"] / (1 + step * group["lr_decay"])
        dispatch_rows("adagrad_step", rows, lr=lr, eps=group["eps"], weight_decay=group["weight_decay"])
