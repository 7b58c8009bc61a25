"""Schedules: how the learning rate changes while training. PyTorch's names and sequences.

A schedule sets the rate of each of its optimizer's groups when it is made (epoch 0), and again at each `step()`, which
comes after the optimizer's steps of an epoch. OneCycleLR (one_cycle.py) counts the optimizer's steps instead;
ReduceLROnPlateau (plateau.py) goes by a measure.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import cos, pi
from typing import Any

from ..ops.arguments import is_int
from .optimizer import Group, Optimizer
from .schedule import Schedule, check_kinds, check_names, check_optimizer, positive


class StepLR(Schedule):
    """The rate times gamma every `step_size` epochs.

    >>> import minicnn as mc
    >>> weight = mc.nn.Parameter(mc.zeros(1))
    >>> optimizer = mc.optim.SGD([weight], lr=1.0)
    >>> schedule = mc.optim.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates.append(optimizer.param_groups[0]["lr"])
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        self.step_size = positive("StepLR", "step_size", step_size)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return group["lr"] * self.gamma if due else group["lr"]


class ExponentialLR(Schedule):
    """The rate times gamma every epoch: lr * gamma^t in epoch t.

    >>> import minicnn as mc
    >>> weight = mc.nn.Parameter(mc.zeros(1))
    >>> optimizer = mc.optim.SGD([weight], lr=1.0)
    >>> schedule = mc.optim.ExponentialLR(optimizer, gamma=0.5)
    >>> rates = []
    >>> for epoch in range(4):
    ...     rates.append(optimizer.param_groups[0]["lr"])
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [1.0, 0.5, 0.25, 0.125]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        return group["lr"] * self.gamma if self.last_epoch > 0 else group["lr"]


class LinearLR(Schedule):
    """The rate times a factor that goes in a straight line from start_factor in epoch 0 to end_factor in epoch
    `total_iters`, and stays there: a warm-up.

    Each rate is worked out from the one before, so that a rate changed by others in between stays changed. What
    comes after a warm-up: see SequentialLR. Goyal et al. 2017, "Accurate, large minibatch SGD: training ImageNet in 1
    hour", section 2.2.
    """

    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5,
                 last_epoch: int = -1):
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must be above 0 and at most 1, got {start_factor!r}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor must be from 0 to 1, got {end_factor!r}")
        self.total_iters = positive("LinearLR", "total_iters", total_iters)
        self.start_factor, self.end_factor = float(start_factor), float(end_factor)
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        t, lr = self.last_epoch, group["lr"]
        if t == 0:
            return lr * self.start_factor
        return lr * self._factor(t) / self._factor(t - 1) if t <= self.total_iters else lr

    def _factor(self, t: int) -> float:
        return self.start_factor + (self.end_factor - self.start_factor) * t / self.total_iters


class CosineAnnealingLR(Schedule):
    """eta_min + (lr - eta_min) * (1 + cos(pi * t / T_max)) / 2 in epoch t: half a wave down to eta_min at T_max, and
    up again.

    Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", equation 5, without the
    restarts. Each rate is worked out from the one before, so that a rate changed by others in between stays changed.

    >>> import minicnn as mc
    >>> weight = mc.nn.Parameter(mc.zeros(1))
    >>> optimizer = mc.optim.SGD([weight], lr=1.0)
    >>> schedule = mc.optim.CosineAnnealingLR(optimizer, T_max=4)
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates.append(round(optimizer.param_groups[0]["lr"], 3))
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        self.T_max = positive("CosineAnnealingLR", "T_max", T_max)
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


class SequentialLR:
    """Schedules of one optimizer, one after the other: the second takes over in epoch milestones[0], and so on.

    Each starts over at its own epoch 0 when its turn comes, from the rate that each group had when the first schedule
    of the optimizer was made (`initial_lr`). A warm-up of 5 epochs, then half a cosine wave down over 45:

    >>> from minicnn import ones, optim
    >>> sgd = optim.SGD([ones(1)], lr=0.1)
    >>> schedule = optim.SequentialLR(sgd, [optim.LinearLR(sgd, 0.1, total_iters=5),
    ...                                     optim.CosineAnnealingLR(sgd, T_max=45)], milestones=[5])
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[Any], milestones: Sequence[int]):
        name = "SequentialLR"
        check_optimizer(name, optimizer)
        self.optimizer: Optimizer = optimizer
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        for i, schedule in enumerate(self.schedulers):
            if not isinstance(schedule, Schedule | SequentialLR):
                raise TypeError(f"{name}: schedule {i} must be one that steps without a measure, got "
                                f"{type(schedule).__name__}")
            if schedule.optimizer is not optimizer:
                raise ValueError(f"{name}: schedule {i}, {type(schedule).__name__}, is of another optimizer")
        if not self.schedulers or len(self.milestones) != len(self.schedulers) - 1:
            raise ValueError(f"{name}: expected at least one schedule and a milestone between each two, got "
                             f"{len(self.schedulers)} and {len(self.milestones)}")
        if any(not is_int(epoch) for epoch in self.milestones) or any(
                later <= earlier for earlier, later in zip([0, *self.milestones], self.milestones, strict=False)):
            raise ValueError(f"{name}: milestones must be positive ints, each above the one before, got {milestones!r}")
        self.restart()

    def restart(self) -> None:
        """Begin again at epoch 0 of the first schedule."""
        self.last_epoch = 0
        self.schedulers[0].restart()

    def step(self) -> None:
        """Go on to the next epoch."""
        self.last_epoch += 1
        schedule = self._current()
        if self.last_epoch in self.milestones:
            schedule.restart()
        else:
            schedule.step()

    def _current(self) -> Any:
        return self.schedulers[bisect_right(self.milestones, self.last_epoch)]

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return self._current().get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """As Schedule.state_dict, with a list of the states of the "schedulers"."""
        return {"last_epoch": self.last_epoch, "milestones": list(self.milestones),
                "schedulers": [schedule.state_dict() for schedule in self.schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state (load the optimizer's as well: the rates are there)."""
        self.check_state(state_dict)
        self.last_epoch, self.milestones = state_dict["last_epoch"], list(state_dict["milestones"])
        for schedule, state in zip(self.schedulers, state_dict["schedulers"], strict=True):
            schedule.load_state_dict(state)

    def check_state(self, state_dict: Mapping[str, Any]) -> None:
        """ValueError if a state is not that of such a sequence of schedules."""
        check_names(self, state_dict, {"last_epoch", "milestones", "schedulers"})
        states = state_dict["schedulers"]
        if (len(states), len(state_dict["milestones"])) != (len(self.schedulers), len(self.milestones)):
            raise ValueError(f"SequentialLR.load_state_dict: {len(states)} schedules came, expected "
                             f"{len(self.schedulers)}")
        check_kinds(self, state_dict)
        for schedule, state in zip(self.schedulers, states, strict=True):
            schedule.check_state(state)
