"""A model's outputs over many batches: as arrays, or as a mean loss and metrics."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..nn import Module, evaluating
from ..ops.arguments import is_int
from ..tensor import Tensor
from .history import Row

Batch = tuple[Tensor, ...]  # the inputs of the model, then what it should give
Batches = Iterable[Batch]
Loss = Callable[..., Tensor]
Metric = Callable[..., float]


class TrainingError(RuntimeError):
    """Training can't go on, as when the loss is no longer a number."""


def evaluate(model: Module, batches: Batches, *, loss: Loss, metrics: Mapping[str, Metric] | None = None,
             inputs: int = 1) -> Row:
    """The mean loss over the examples and the metrics, the model in eval mode (its mode comes back).

    batches, loss, metrics and inputs are those of a Trainer.

    >>> import minicnn as mc
    >>> batches = [(mc.ones(4, 3), mc.zeros(4, 3)), (mc.ones(2, 3) * 2, mc.zeros(2, 3))]
    >>> mc.train.evaluate(mc.nn.Identity(), batches, loss=mc.nn.functional.mse_loss)  # (4 * 1 + 2 * 4) / 6
    {'loss': 2.0}
    """
    seen = _run(model, batches, loss, bool(metrics), inputs)
    return seen.summary(metrics or {})


def predict(model: Module, batches: Batches, inputs: int = 1) -> tuple[Any, Any]:
    """(outputs, targets) over all batches, as arrays; the model in eval mode (its mode comes back).

    Where the model returns several tensors, or the batches hold several targets, a tuple of arrays stands in their
    place. Without any targets it is an empty tuple.

    >>> import minicnn as mc
    >>> batches = [(mc.ones(4, 3), mc.zeros(4)), (mc.ones(2, 3), mc.zeros(2))]
    >>> outputs, targets = mc.train.predict(mc.nn.Linear(3, 5), batches)
    >>> outputs.shape, targets.shape
    ((6, 5), (6,))
    """
    return _run(model, batches, None, True, inputs).arrays()


def _run(model: Module, batches: Batches, loss: Loss | None, keep: bool, inputs: int) -> "Seen":
    seen = Seen(keep)
    with evaluating(model):
        for batch in batches:
            outputs, targets = model(*batch[:inputs]), batch[inputs:]
            seen.add(outputs, targets, len(batch[0]), None if loss is None else loss(outputs, *targets).item())
    return seen


class Seen:
    """What came out of a model for the batches so far: the sum of the losses, and the arrays if they are wanted."""

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self.outputs: list[list[np.ndarray]] = []  # one list for each tensor that the model returns
        self.targets: list[list[np.ndarray]] = []
        self.several = False  # whether the model returns a tuple
        self.count = 0
        self.loss = 0.0

    def add(self, outputs: Any, targets: tuple[Tensor, ...], count: int, loss: float | None) -> None:
        """One batch of `count` examples; loss: its mean over the batch."""
        self.count += count
        self.loss += 0.0 if loss is None else loss * count
        if self.keep:
            self.several = isinstance(outputs, tuple | list)
            _append(self.outputs, outputs if self.several else (outputs,))
            _append(self.targets, targets)

    def arrays(self) -> tuple[Any, Any]:
        """(outputs, targets) of all batches: arrays, or tuples of arrays."""
        self._check()
        outputs = tuple(np.concatenate(parts) for parts in self.outputs)
        targets = tuple(np.concatenate(parts) for parts in self.targets)
        return outputs if self.several else outputs[0], targets[0] if len(targets) == 1 else targets

    def summary(self, metrics: Mapping[str, Metric]) -> Row:
        """The mean loss and the metrics."""
        self._check()
        row: Row = {"loss": self.loss / self.count}
        if metrics:
            outputs, targets = self.arrays()
            row |= {name: metric(targets, outputs) for name, metric in metrics.items()}
        return row

    def _check(self) -> None:
        if not self.count:
            raise ValueError("there are no examples in the batches")

    def state_dict(self) -> dict[str, Any]:
        """All of it, for a checkpoint in the middle of an epoch."""
        return {"count": self.count, "loss": self.loss, "several": self.several,
                "outputs": [np.concatenate(parts) for parts in self.outputs],
                "targets": [np.concatenate(parts) for parts in self.targets]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there. ValueError if it is no such state."""
        columns = [*state["outputs"], *state["targets"]]
        if not (is_int(state["count"]) and state["count"] >= 0 and isinstance(state["several"], bool)
                and isinstance(state["loss"], int | float) and math.isfinite(state["loss"])
                and all(isinstance(column, np.ndarray) and column.ndim for column in columns)):
            raise ValueError(f"Seen.load_state_dict: expected a count, a loss and arrays, got count "
                             f"{state['count']!r:.20}, loss {state['loss']!r:.20}, several {state['several']!r:.20}")
        self.count, self.loss, self.several = state["count"], state["loss"], state["several"]
        self.outputs = [[array] for array in state["outputs"]]
        self.targets = [[array] for array in state["targets"]]


def _append(columns: list[list[np.ndarray]], tensors: Iterable[Tensor]) -> None:
    for place, tensor in enumerate(tensors):
        if place == len(columns):
            columns.append([])
        columns[place].append(tensor.numpy())


def check_finite(value: float, name: str, where: str) -> None:
    """TrainingError if a loss is no longer a number."""
    if not math.isfinite(value):
        raise TrainingError(f"{name} is {value} {where}: try a smaller learning rate, or look for bad data")
