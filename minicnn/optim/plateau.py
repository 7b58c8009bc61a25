"""A schedule that goes by a measure."""

from collections.abc import Sequence
from math import inf

from .optimizer import Optimizer
from .schedule import Schedule, check_optimizer, each


class ReduceLROnPlateau:
    """The rate times `factor` when a measure has not got better for more than `patience` epochs.

    mode: "min" if lower is better, "max" if higher. Better is by more than `threshold`, a share of the best ("rel")
    or a difference ("abs"). After a reduction `cooldown` epochs are not counted. min_lr: no rate falls below it (a
    number, or one for each group); a change below `eps` is not made.

    >>> import minicnn as mc
    >>> optimizer = mc.optim.SGD([mc.nn.Parameter(mc.zeros(1))], lr=1.0)
    >>> schedule = mc.optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):  # twice no better: once more than its patience
    ...     schedule.step(loss)
    >>> optimizer.param_groups[0]["lr"]
    0.5
    """

    def __init__(self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
                 threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
                 min_lr: float | Sequence[float] = 0.0, eps: float = 1e-8):
        name = "ReduceLROnPlateau"
        check_optimizer(name, optimizer)
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
        self.min_lrs = each(name, "min_lr", min_lr, len(optimizer.param_groups))
        self.best: float | None = None  # no measure yet
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
        if self.best is None:
            needed = -sign * inf  # anything is better, but for nan
        else:
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
    check_state = Schedule.check_state
