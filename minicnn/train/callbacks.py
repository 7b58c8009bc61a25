"""Things to do at the turns of a training. `ProgressReport`, which shows it, is in progress.py."""

from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from ..io.atomic import write_text
from ..ops.arguments import is_int
from .history import Row
from .trainer import Callback, Trainer


class EachEpoch(Callback):
    """Calls a function with each epoch's row, for those who need no whole Callback."""

    def __init__(self, function: Callable[[Row], Any]) -> None:
        self.function = function

    def on_epoch(self, trainer: Trainer, row: Row) -> None:
        self.function(row)


class EarlyStopping(Callback):
    """Ends the training when a measure of the validation batches has not got better for `patience` epochs, and gives
    the model back the weights of the best epoch (Prechelt 1998, "Early stopping - but when?").

    monitor: a column of the history. mode: "min" if lower is better, "max" if higher; of columns that end in "loss"
    lower is. min_delta: by how much better an epoch must be to count. restore_best: if not, the last weights stay.
    With patience None it never ends a training, but still restores the best.
    """

    def __init__(self, monitor: str = "val_loss", patience: int | None = 10, mode: str | None = None,
                 min_delta: float = 0.0, restore_best: bool = True) -> None:
        if patience is not None and (not isinstance(patience, int) or patience < 1):
            raise ValueError(f"EarlyStopping: patience must be a positive int or None, got {patience!r}")
        if mode not in (None, "min", "max"):
            raise ValueError(f"EarlyStopping: mode must be 'min' or 'max', got {mode!r}")
        if not min_delta >= 0:
            raise ValueError(f"EarlyStopping: min_delta must not be negative, got {min_delta!r}")
        self.monitor, self.patience, self.min_delta, self.restore_best = monitor, patience, min_delta, restore_best
        self.sign = -1.0 if (mode or ("min" if monitor.endswith("loss") else "max")) == "min" else 1.0
        self.best_epoch = 0
        self.best_value: float | None = None
        self.best_weights: dict[str, Any] | None = None

    def on_start(self, trainer: Trainer, epochs: int, steps: int | None) -> None:
        own = {} if self.best_weights is None else trainer.model.state_dict()
        best = self.best_weights or {}
        if self.best_epoch > trainer.epoch or {n: np.shape(v) for n, v in best.items()} != {
                n: v.shape for n, v in own.items()}:
            raise ValueError(f"EarlyStopping: the best weights, of epoch {self.best_epoch}, are not of this training, "
                             f"which has come to epoch {trainer.epoch}")

    def on_epoch(self, trainer: Trainer, row: Row) -> bool:
        if self.monitor not in row:
            raise ValueError(f"EarlyStopping: the history has no column {self.monitor!r}, but {', '.join(row)}")
        value = row[self.monitor]
        best = -inf if self.best_value is None else self.sign * self.best_value + self.min_delta
        if self.sign * value > best:
            self.best_epoch, self.best_value = row["epoch"], value
            if self.restore_best:
                with trainer.evaluated():
                    self.best_weights = trainer.model.state_dict()
        return self.patience is not None and row["epoch"] - self.best_epoch >= self.patience

    def on_complete(self, trainer: Trainer) -> None:
        if self.best_weights is not None:
            trainer.model.load_state_dict(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        """The best epoch so far, its value and its weights."""
        return {"best_epoch": self.best_epoch, "best_value": self.best_value, "best_weights": self.best_weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there. ValueError if it is no such state."""
        epoch, value, weights = state["best_epoch"], state["best_value"], state["best_weights"]
        if not (is_int(epoch) and epoch >= 0 and (value is None or isinstance(value, int | float))
                and (weights is None or isinstance(weights, Mapping)) and (value is None) == (epoch == 0)):
            raise ValueError(f"EarlyStopping.load_state_dict: expected an epoch, its value and its weights, got epoch "
                             f"{epoch!r:.20}, value {value!r:.20}")
        self.best_epoch, self.best_value = epoch, value
        self.best_weights = None if weights is None else dict(weights)


class CSVLog(Callback):
    """Keeps a CSV file of the history, whole after each epoch. FileNotFoundError, before the first, if there is no such
    folder."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_start(self, trainer: Trainer, epochs: int, steps: int | None) -> None:
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"CSVLog: {self.path.parent}: no such folder, to write {self.path.name} to")

    def on_epoch(self, trainer: Trainer, row: Row) -> None:
        write_text(self.path, trainer.history.to_csv())
