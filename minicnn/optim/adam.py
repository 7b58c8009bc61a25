"""Adam, and AdamW, whose weight decay stands apart from the gradient."""

from collections.abc import Iterable
from typing import Any

from ..dispatch import dispatch_rows
from .optimizer import Due, Group, Optimizer, fraction, not_negative


class Adam(Optimizer):
    """p -= lr * m / (sqrt(v) + eps), with m and v running means of the gradient and its square, both corrected for
    their start at 0. weight_decay adds weight_decay * p to the gradient.

    betas: how much of the past the two means keep. Kingma & Ba 2015, "Adam: a method for stochastic optimization",
    algorithm 1.

    >>> import minicnn as mc
    >>> x = mc.tensor([1.0, 1.0], requires_grad=True)
    >>> (x * mc.tensor([0.01, 100.0])).sum().backward()
    >>> mc.optim.Adam([x], lr=0.25).step()
    >>> print(x.numpy().round(3))  # the first step is lr long, however steep it is
    [0.75 0.75]
    """

    decoupled = False

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def check(self, group: Group) -> None:
        name = type(self).__name__
        not_negative(name, group, "lr", "eps", "weight_decay")
        if not isinstance(group["betas"], tuple | list) or len(group["betas"]) != 2:
            raise ValueError(f"{name}: betas must be two numbers, got {group['betas']!r}")
        for i, beta in enumerate(group["betas"]):
            fraction(name, f"betas[{i}]", beta)

    def slots(self, group: Group) -> dict[str, float]:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def update(self, due: list[Due], group: Group, step: int) -> None:
        rows = [(param.array, grad.array, state["exp_avg"].array, state["exp_avg_sq"].array)
                for param, grad, state in due]
        beta1, beta2 = group["betas"]
        dispatch_rows("adam_step", rows, lr=group["lr"], beta1=beta1, beta2=beta2, eps=group["eps"],
                      weight_decay=group["weight_decay"], decoupled=self.decoupled, step=step + 1)


class AdamW(Adam):
    """Adam whose weight decay does not pass through the running means: p *= 1 - lr * weight_decay before each step.

    Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """

    decoupled = True

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 1e-2):
        super().__init__(params, lr, betas, eps, weight_decay)
