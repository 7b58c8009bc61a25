"""The training loop, plain enough to write yourself.

`fit` goes over the training batches once an epoch: forward, loss, backward, step. What else should happen on the way
(a progress bar, a picture, an early end) is a Callback.
"""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import Any, Protocol

import numpy as np

from ..nn import Module, evaluating
from ..tensor import Tensor

Row = dict[str, Any]
Batches = Iterable[tuple[Tensor, ...]]  # pairs of inputs and targets
Loss = Callable[[Tensor, Tensor], Tensor]
Metric = Callable[[np.ndarray, np.ndarray], float]


class TrainingError(RuntimeError):
    """Training can't go on, as when the loss is no longer a number."""


class Optimizer(Protocol):
    """What the loop needs of an optimizer."""

    def zero_grad(self) -> None: ...

    def step(self) -> Any: ...


class Callback:
    """What to do at the turns of a training. A subclass overrides what it needs."""

    def on_start(self, model: Module, epochs: int, steps: int | None) -> None:
        """Before the first epoch. steps: batches in an epoch, None if the batches can't be counted."""

    def on_step(self, epoch: int, step: int, loss: float) -> None:
        """After each step of the optimizer. epoch and step count from 1; loss is the mean over the batch."""

    def on_epoch(self, row: Row) -> bool | None:
        """After each epoch. row: the epoch's line of the History. True ends the training."""

    def on_end(self) -> None:
        """After the last epoch, and after an error too."""


class History(list[Row]):
    """One dict for each epoch: "epoch", counted from 1, then "loss" and the metrics, each a number."""

    def column(self, name: str) -> list[Any]:
        """One quantity over the epochs."""
        return [row[name] for row in self]

    def to_csv(self) -> str:
        """A table with a header line; numbers are written so that reading gives the same bits."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self[0]) if self else ["epoch"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self)
        return text.getvalue()


def fit(
    model: Module,
    train: Batches,
    validation: Batches | None = None,
    *,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int,
    metrics: Mapping[str, Metric] | None = None,
    validation_name: str = "val",
    callbacks: Sequence[Callback] = (),
    on_epoch: Callable[[Row], Any] | None = None,
) -> History:
    """Train a model; it is left in training mode, with the weights of the last epoch.

    train: batches (inputs, targets), gone through once an epoch, as a DataLoader gives them. validation: more batches,
    to evaluate after each epoch, never to learn from. loss(outputs, targets): the mean over a batch. metrics: functions
    of (targets, outputs) as arrays over the whole epoch; those of the training batches are taken while the model
    changes and drops out. on_epoch: a function of each epoch's row, for those who need no whole Callback.

    Returns the History: "epoch", "loss", the metrics, and the same of the validation batches as "val_loss" and so on
    (or after another `validation_name`). Losses are means over the examples. TrainingError, naming epoch and step, as
    soon as a loss is infinite or not a number; the weights are then those before that step.
    """
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"fit: epochs must be a positive int, got {epochs!r}")
    history = History()
    started: list[Callback] = []
    try:
        for callback in callbacks:
            callback.on_start(model, epochs, len(train) if isinstance(train, Sized) else None)
            started.append(callback)
        for epoch in range(1, epochs + 1):
            row = {"epoch": epoch, **_train_epoch(model, train, loss, optimizer, metrics or {}, callbacks, epoch)}
            if validation is not None:
                found = evaluate(model, validation, loss=loss, metrics=metrics)
                row |= {f"{validation_name}_{name}": value for name, value in found.items()}
                _check_finite(found["loss"], f"{validation_name}_loss", f"after epoch {epoch}")
            history.append(row)
            if on_epoch is not None:
                on_epoch(row)
            if any([callback.on_epoch(row) for callback in callbacks]):  # a list: all are told
                break
    finally:
        for callback in started:
            callback.on_end()
    return history


def _train_epoch(model: Module, train: Batches, loss: Loss, optimizer: Optimizer,
                 metrics: Mapping[str, Metric], callbacks: Sequence[Callback], epoch: int) -> Row:
    """One pass over the training batches: the mean loss and the metrics."""
    model.train()
    seen = _Seen(keep=bool(metrics))
    for step, (inputs, targets) in enumerate(train, 1):
        optimizer.zero_grad()
        outputs = model(inputs)
        value = loss(outputs, targets)
        _check_finite(value.item(), "loss", f"in epoch {epoch}, step {step}")
        value.backward()
        optimizer.step()
        seen.add(outputs, targets, value)
        for callback in callbacks:
            callback.on_step(epoch, step, value.item())
    return seen.summary(metrics)


def evaluate(model: Module, batches: Batches, *, loss: Loss, metrics: Mapping[str, Metric] | None = None) -> Row:
    """The mean loss over the examples and the metrics, the model in eval mode (its mode comes back)."""
    return _run(model, batches, loss, keep=bool(metrics)).summary(metrics or {})


def predict(model: Module, batches: Batches) -> tuple[np.ndarray, np.ndarray]:
    """The outputs for all batches and their targets, as arrays; the model in eval mode (its mode comes back)."""
    return _run(model, batches, None, keep=True).arrays()


def _run(model: Module, batches: Batches, loss: Loss | None, keep: bool) -> "_Seen":
    seen = _Seen(keep)
    with evaluating(model):
        for inputs, targets in batches:
            outputs = model(inputs)
            seen.add(outputs, targets, None if loss is None else loss(outputs, targets))
    return seen


class _Seen:
    """What came out of the model for the batches so far; the arrays themselves only if they are wanted."""

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self.outputs: list[np.ndarray] = []
        self.targets: list[np.ndarray] = []
        self.count = 0
        self.loss = 0.0

    def add(self, outputs: Tensor, targets: Tensor, loss: Tensor | None) -> None:
        self.count += len(targets)
        self.loss += 0.0 if loss is None else loss.item() * len(targets)
        if self.keep:
            self.outputs.append(outputs.numpy())
            self.targets.append(targets.numpy())

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """(outputs, targets) of all batches."""
        self.check()
        return np.concatenate(self.outputs), np.concatenate(self.targets)

    def summary(self, metrics: Mapping[str, Metric]) -> Row:
        """The mean loss and the metrics."""
        self.check()
        row: Row = {"loss": self.loss / self.count}
        if metrics:
            outputs, targets = self.arrays()
            row |= {name: metric(targets, outputs) for name, metric in metrics.items()}
        return row

    def check(self) -> None:
        if not self.count:
            raise ValueError("there are no examples in the batches")


def _check_finite(value: float, name: str, where: str) -> None:
    if not math.isfinite(value):
        raise TrainingError(f"{name} is {value} {where}: try a smaller learning rate, or look for bad data")
