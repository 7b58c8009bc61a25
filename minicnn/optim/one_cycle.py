"""The one-cycle schedule."""

from collections.abc import Sequence
from math import cos, pi

from .optimizer import Group, Optimizer
from .schedule import Schedule, each, positive


class OneCycleLR(Schedule):
    """One cycle: up from max_lr / div_factor to max_lr, then down to (max_lr / div_factor) / final_div_factor.

    The cycle's length is total_steps, or epochs * steps_per_epoch; call step() after each of the optimizer's steps.
    pct_start of it goes up. anneal_strategy: along half a cosine wave ("cos") or a straight line ("linear").
    three_phase: down to where it began in as many steps as up, then further. cycle_momentum: the momentum (Adam: the
    first beta) goes the other way, from max_momentum to base_momentum and back. max_lr and both momenta may be lists,
    one number a group.

    Smith & Topin 2019, "Super-convergence: very fast training of neural networks using large learning rates".
    """

    def __init__(self, optimizer: Optimizer, max_lr: float | Sequence[float], total_steps: int | None = None,
                 epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
                 anneal_strategy: str = "cos", cycle_momentum: bool = True,
                 base_momentum: float | Sequence[float] = 0.85, max_momentum: float | Sequence[float] = 0.95,
                 div_factor: float = 25.0, final_div_factor: float = 1e4, three_phase: bool = False,
                 last_epoch: int = -1):
        name = "OneCycleLR"
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ValueError(f"{name}: give total_steps, or both epochs and steps_per_epoch")
        if total_steps is None:
            total_steps = positive(name, "epochs", epochs) * positive(name, "steps_per_epoch", steps_per_epoch)
        self.total_steps = positive(name, "total_steps", total_steps)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"{name}: pct_start must be from 0 to 1, got {pct_start!r}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"{name}: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.pct_start, self.anneal_strategy, self.three_phase = pct_start, anneal_strategy, three_phase
        self.cycle_momentum = cycle_momentum
        self.momenta: list[list[float]] = []
        count = len(optimizer.param_groups)
        if cycle_momentum:
            if not {"momentum", "betas"} & set(optimizer.defaults):
                raise ValueError(f"{name}: {type(optimizer).__name__} has no momentum: say cycle_momentum=False")
            self.momenta = [each(name, option, value, count) for option, value in (
                ("max_momentum", max_momentum), ("base_momentum", base_momentum))]
        highest = each(name, "max_lr", max_lr, count)
        self.rates = [[h / div_factor for h in highest], highest, [h / div_factor / final_div_factor for h in highest]]
        if last_epoch == -1:
            for group, first in zip(optimizer.param_groups, self.rates[0], strict=True):
                group["lr"] = group["initial_lr"] = first
        super().__init__(optimizer, last_epoch)

    def step(self) -> None:
        if self.last_epoch >= self.total_steps:  # one more than the cycle has: loops step after their last batch too
            raise ValueError(f"OneCycleLR: the cycle of {self.total_steps} steps is over")
        super().step()
        for i, group in enumerate(self.optimizer.param_groups if self.cycle_momentum else ()):
            high, low = (momentum[i] for momentum in self.momenta)
            momentum = self._between(high, low, high)
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum

    def rate(self, group: Group, base_lr: float) -> float:
        place = next(i for i, other in enumerate(self.optimizer.param_groups) if other is group)
        rate = self._between(*(rates[place] for rates in self.rates))
        return max(rate, 0.0)  # a straight line goes on below 0 in the one step that loops take after the last

    def _between(self, start: float, top: float, end: float) -> float:
        """The value of now: from start to top, then to end; in three phases by way of start."""
        up = self.pct_start * self.total_steps - 1
        last = self.total_steps - 1
        turns = [(0.0, start), (up, top), *([(2 * up, start)] if self.three_phase else []), (last, end)]
        for (begin, a), (stop, b) in zip(turns, turns[1:], strict=False):
            if self.last_epoch <= stop or stop == last:
                return self._anneal(a, b, (self.last_epoch - begin) / (stop - begin))
        raise AssertionError("the last turn takes all steps that are left")

    def _anneal(self, a: float, b: float, share: float) -> float:
        return a + (b - a) * share if self.anneal_strategy == "linear" else b + (a - b) * (1 + cos(pi * share)) / 2
