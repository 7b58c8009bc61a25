"""Stochastic gradient descent."""

from collections.abc import Iterable
from typing import Any

from ..dispatch import dispatch_rows
from .optimizer import Due, Group, Optimizer, not_negative


class SGD(Optimizer):
    """p -= lr * v, with v the gradient, or with momentum a running sum: v = momentum * v + (1 - dampening) * g.

    weight_decay adds weight_decay * p to the gradient. nesterov looks ahead: p -= lr * (g + momentum * v).
    Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", in PyTorch's form,
    where lr stands outside the sum. In the first step of a parameter v is g itself.

    >>> import minicnn as mc
    >>> x = mc.tensor(8.0, requires_grad=True)
    >>> optimizer = mc.optim.SGD([x], lr=0.25)
    >>> for step in range(3):
    ...     optimizer.zero_grad()
    ...     (x * x).backward()  # the gradient is 2x, so that each step halves x
    ...     optimizer.step()
    >>> x.item()
    1.0
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0, dampening: float = 0,
                 weight_decay: float = 0, nesterov: bool = False):
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                                  "nesterov": nesterov})

    def check(self, group: Group) -> None:
        not_negative("SGD", group, "lr", "momentum", "dampening", "weight_decay")
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and a dampening of 0")

    def slots(self, group: Group) -> dict[str, float]:
        return {"momentum_buffer": 0.0} if group["momentum"] else {}

    def update(self, due: list[Due], group: Group, step: int) -> None:
        rows = [(param.array, grad.array, state["momentum_buffer"].array if group["momentum"] else None)
                for param, grad, state in due]
        dispatch_rows("sgd_step", rows, lr=group["lr"], momentum=group["momentum"], dampening=group["dampening"],
                      weight_decay=group["weight_decay"], nesterov=bool(group["nesterov"]), first=step == 0)
