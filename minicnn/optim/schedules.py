"""Schedules: how the learning rate changes while training. PyTorch's names and sequences.

A schedule sets the rate of each of its optimizer's groups when it is made (epoch 0), and again at each `step()`, which
comes after the optimizer's steps of an epoch (OneCycleLR: after each of the optimizer's steps).
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from math import cos, inf, pi
from typing import Any

from ..ops.arguments import is_int
from .optimizer import Group, Optimizer


def _positive(name: str, option: str, value: Any) -> int:
    if not is_int(value) or value < 1:
        raise ValueError(f"{name}: {option} must be a positive int, got {value!r}")
    return int(value)


class Schedule:
    """What schedules share: counting epochs, and saving.

    last_epoch: the epoch that was the last one, to go on from; -1 starts at the beginning, where each group's rate
    becomes its `initial_lr`. A subclass gives `rate`.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{name}: optimizer must be an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group["initial_lr"] = group["lr"]
            elif "initial_lr" not in group:
                raise ValueError(f"{name}: last_epoch={last_epoch} goes on from a schedule, but group {i} has no "
                                 "initial_lr")
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def rate(self, group: Group, base_lr: float) -> float:
        """The rate of a group in epoch `self.last_epoch`, given that of the epoch before, group["lr"]."""
        raise NotImplementedError(f"{type(self).__name__} gives no rate")

    def step(self) -> None:
        """Go on to the next epoch."""
        self.last_epoch += 1
        for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.rate(group, base_lr)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """All that a later `load_state_dict` needs to go on from here: numbers, words and lists of numbers."""
        return {name: deepcopy(value) for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state (load the optimizer's as well: the rates are there)."""
        own = set(vars(self)) - {"optimizer"}
        if set(state_dict) != own:
            raise ValueError(f"{type(self).__name__}.load_state_dict: expected {', '.join(sorted(own))}, got "
                             f"{', '.join(map(str, sorted(state_dict)))}")
        vars(self).update(deepcopy(dict(state_dict)))


class StepLR(Schedule):
    """The rate times gamma every `step_size` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        self.step_size = _positive("StepLR", "step_size", step_size)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return group["lr"] * self.gamma if due else group["lr"]


class ExponentialLR(Schedule):
    """The rate times gamma every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        return group["lr"] * self.gamma if self.last_epoch > 0 else group["lr"]


class CosineAnnealingLR(Schedule):
    """eta_min + (lr - eta_min) * (1 + cos(pi * t / T_max)) / 2 in epoch t: half a wave down to eta_min at T_max, and
    up again.

    Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", equation 5, without the
    restarts. Each rate is worked out from the one before, so that a rate changed by others in between stays changed.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        self.T_max = _positive("CosineAnnealingLR", "T_max", T_max)
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        t, lr = self.last_epoch, group["lr"]
        if t == 0:
            return lr
        if (t - 1) % (2 * self.T_max) == self.T_max:  # the wave was at its foot: nothing there to scale
            return lr + (base_lr - self.eta_min) * self._height(t)
        return self.eta_min + (lr - self.eta_min) * self._height(t) / self._height(t - 1)

    def _height(self, t: int) -> float:
        """The wave, (1 + cos(pi * t / T_max)) / 2, in a form that keeps its digits near the foot."""
        return cos(pi * t / self.T_max / 2) ** 2


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
            total_steps = _positive(name, "epochs", epochs) * _positive(name, "steps_per_epoch", steps_per_epoch)
        self.total_steps = _positive(name, "total_steps", total_steps)
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
            self.momenta = [_each(name, option, value, count) for option, value in (
                ("max_momentum", max_momentum), ("base_momentum", base_momentum))]
        highest = _each(name, "max_lr", max_lr, count)
        self.rates = [[h / div_factor for h in highest], highest, [h / div_factor / final_div_factor for h in highest]]
        if last_epoch == -1:
            for group, first in zip(optimizer.param_groups, self.rates[0], strict=True):
                group["lr"] = first
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
        return self._between(*(rates[place] for rates in self.rates))

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


def _each(name: str, option: str, value: float | Sequence[float], count: int) -> list[float]:
    """One number for each group."""
    if isinstance(value, Sequence):
        if len(value) != count:
            raise ValueError(f"{name}: {len(value)} numbers of {option} came for {count} groups")
        return [float(v) for v in value]
    return [float(value)] * count


class ReduceLROnPlateau:
    """The rate times `factor` when a measure has not got better for more than `patience` epochs.

    mode: "min" if lower is better, "max" if higher. Better is by more than `threshold`, a share of the best ("rel")
    or a difference ("abs"). After a reduction `cooldown` epochs are not counted. min_lr: no rate falls below it (a
    number, or one for each group); a change below `eps` is not made.
    """

    def __init__(self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
                 threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
                 min_lr: float | Sequence[float] = 0.0, eps: float = 1e-8):
        name = "ReduceLROnPlateau"
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{name}: optimizer must be an Optimizer, got {type(optimizer).__name__}")
        if not 0 < factor < 1:
            raise ValueError(f"{name}: factor must be above 0 and below 1, got {factor!r}")
        if mode not in ("min", "max"):
            raise ValueError(f"{name}: mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"{name}: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}")
        self.optimizer = optimizer
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.min_lrs = _each(name, "min_lr", min_lr, len(optimizer.param_groups))
        self.best = inf if mode == "min" else -inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metrics: float) -> None:
        """End an epoch, with its measure."""
        value = float(metrics)
        self.last_epoch += 1
        if self._better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _better(self, value: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        margin = sign * self.threshold
        needed = self.best * (1 + margin) if self.threshold_mode == "rel" else self.best + margin
        return sign * value > sign * needed

    def _reduce(self) -> None:
        for group, lowest in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            new = max(group["lr"] * self.factor, lowest)
            if group["lr"] - new > self.eps:
                group["lr"] = new

    get_last_lr = Schedule.get_last_lr
    state_dict = Schedule.state_dict
    load_state_dict = Schedule.load_state_dict
