"""What all schedules of the learning rate share: counting epochs, starting over, saving."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from math import isfinite
from typing import Any

from ..ops.arguments import is_int
from .optimizer import Group, Optimizer


class Schedule:
    """What schedules share: counting epochs, and saving.

    last_epoch: the epoch that was the last one, to go on from; -1 starts at the beginning, where each group's rate
    becomes its `initial_lr`, unless another schedule has noted one. A subclass gives `rate`.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        name = type(self).__name__
        check_optimizer(name, optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
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

    def restart(self) -> None:
        """Begin again at epoch 0, from each group's `initial_lr`."""
        for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base_lr
        self.last_epoch = -1
        self.step()

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """All that a later `load_state_dict` needs to go on from here: numbers, words, lists and dicts of them."""
        return {name: deepcopy(value) for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state (load the optimizer's as well: the rates are there)."""
        self.check_state(state_dict)
        vars(self).update(deepcopy(dict(state_dict)))

    def check_state(self, state_dict: Mapping[str, Any]) -> None:
        """ValueError if a state is not that of such a schedule."""
        check_names(self, state_dict, set(vars(self)) - {"optimizer"})
        check_kinds(self, state_dict)


def check_names(schedule: Any, state_dict: Any, expected: set[str]) -> None:
    """ValueError unless a state holds what this schedule's holds."""
    if not isinstance(state_dict, Mapping) or set(state_dict) != expected:
        came = ", ".join(map(str, sorted(state_dict))) if isinstance(state_dict, Mapping) else repr(state_dict)
        raise ValueError(f"{type(schedule).__name__}.load_state_dict: expected {', '.join(sorted(expected))}, got "
                         f"{came}")


def check_kinds(schedule: Any, state_dict: Mapping[str, Any]) -> None:
    """ValueError unless what a state holds is of the same kinds as what this schedule's holds."""
    for name, own in schedule.state_dict().items():
        if not _alike(own, state_dict[name]):
            raise ValueError(f"{type(schedule).__name__}.load_state_dict: {name} is {state_dict[name]!r:.40}, expected "
                             f"something like {own!r:.40}")


def _alike(own: Any, value: Any) -> bool:
    """Whether a loaded value is of the kind that a schedule has there. Dicts are checked by those they belong to."""
    if isinstance(own, list | tuple):
        return isinstance(value, list | tuple) and len(value) == len(own) and all(map(_alike, map(_rate, own), value))
    if own is None or _is_number(own):
        if not _is_number(value):
            return own is None and value is None
        return isfinite(value) and (not isinstance(own, int) or value == int(value))
    return isinstance(value, type(own))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rate(own: Any) -> Any:
    """What stands in lists are rates: one that is given as an int, as lr=1, need not stay one."""
    return float(own) if _is_number(own) else own


def check_optimizer(name: str, optimizer: Any) -> None:
    """TypeError unless it is an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: optimizer must be an Optimizer, got {type(optimizer).__name__}")


def positive(name: str, option: str, value: Any) -> int:
    """A positive int, or ValueError."""
    if not is_int(value) or value < 1:
        raise ValueError(f"{name}: {option} must be a positive int, got {value!r}")
    return int(value)


def each(name: str, option: str, value: float | Sequence[float], count: int) -> list[float]:
    """One number for each group."""
    if isinstance(value, Sequence):
        if len(value) != count:
            raise ValueError(f"{name}: {len(value)} numbers of {option} came for {count} groups")
        return [float(v) for v in value]
    return [float(value)] * count
