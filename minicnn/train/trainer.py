"""The training loop, plain enough to write yourself, and all that it takes to go on after an interruption.

A Trainer goes over the training batches once an epoch: forward, loss, backward, step. What else should happen on the
way (a progress bar, an early end) is a Callback. What it is made of has a state; the states together are a checkpoint.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from .. import random
from ..data import DataLoader
from ..nn import Module
from ..ops.arguments import is_int
from ..optim import ExponentialMovingAverage, ReduceLROnPlateau, clip_grad_norm_
from . import checkpoint as checkpoints
from .evaluation import Batch, Batches, Loss, Metric, Seen, check_finite, evaluate, predict
from .history import History, Row


class Optimizer(Protocol):
    """What the loop needs of an optimizer."""

    param_groups: list[dict[str, Any]]

    def zero_grad(self) -> None: ...

    def step(self) -> Any: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> Any: ...


class Callback:
    """Told of every step and epoch. A subclass overrides what it needs.

    One that remembers something has `state_dict()` and `load_state_dict(state)` too: its state is saved with the
    trainer's under the name of its class.
    """

    def on_start(self, trainer: "Trainer", epochs: int, steps: int | None) -> None:
        """Before the first epoch, or the one that is gone on with. steps: batches in an epoch, None if unknown."""

    def on_step(self, trainer: "Trainer", loss: float) -> None:
        """After each step of the optimizer; trainer.step counts them. loss: the mean over the batch."""

    def on_epoch(self, trainer: "Trainer", row: Row) -> bool | None:
        """After each epoch. row: its line of the history. True ends the training."""

    def on_complete(self, trainer: "Trainer") -> None:
        """After the last epoch: the model may be given its final weights."""

    def on_end(self, trainer: "Trainer") -> None:
        """At the very end, and after an error too: a place to tidy up."""


class Paused(Exception):
    """Training was asked to pause: it did after a whole step, and wrote its checkpoint."""


class Trainer:
    """Trains a model, keeps the history, and can stop at any step and go on with the same bits.

    model: any Module. loss(outputs, *targets): a Tensor without axes, the mean over a batch. optimizer: of the model's
    parameters. metrics: functions of (targets, outputs) as arrays over a whole epoch, by name; those of the training
    batches are taken while the model changes and drops out.
    inputs: how many of a batch's tensors go into the model; the rest are targets. A model may return a tuple: then
    loss and metrics get it as it is.
    schedule: of the learning rate, stepped after each epoch, or after each step with schedule_per="step". A
    ReduceLROnPlateau is given the validation loss, or without validation batches the training loss.
    clip_norm: the most that the norm of all gradients together may be (`optim.clip_grad_norm_`).
    average: an ExponentialMovingAverage of the model. It is what is evaluated after each epoch, and what the model
    holds when the training is complete.
    callbacks: told of every step and epoch, in this order.

    epoch, step: the epochs that are complete, and the steps of the one after. history: a row for each complete epoch.
    seconds: spent in `fit` so far, all runs together.

    >>> import minicnn as mc
    >>> model = mc.nn.Linear(1, 1, bias=False)
    >>> batches = [(mc.tensor([[1.0]]), mc.tensor([[3.0]])), (mc.tensor([[2.0]]), mc.tensor([[6.0]]))]  # y = 3x
    >>> optimizer = mc.optim.SGD(model.parameters(), lr=0.1)
    >>> trainer = mc.train.Trainer(model, loss=mc.nn.functional.mse_loss, optimizer=optimizer)
    >>> history = trainer.fit(batches, epochs=20)
    >>> f"{model.weight.item():.3f}"
    '3.000'
    """

    def __init__(self, model: Module, *, loss: Loss, optimizer: Optimizer, metrics: Mapping[str, Metric] | None = None,
                 inputs: int = 1, schedule: Any = None, schedule_per: str = "epoch", clip_norm: float | None = None,
                 average: ExponentialMovingAverage | None = None, callbacks: Sequence[Callback] = ()) -> None:
        if schedule_per not in ("epoch", "step"):
            raise ValueError(f"Trainer: schedule_per must be 'epoch' or 'step', got {schedule_per!r}")
        if schedule_per == "step" and isinstance(schedule, ReduceLROnPlateau):
            raise ValueError("Trainer: ReduceLROnPlateau needs a validation loss, which there is once an epoch only")
        if not isinstance(inputs, int) or inputs < 1:
            raise ValueError(f"Trainer: inputs must be a positive int, got {inputs!r}")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"Trainer: clip_norm must be positive, got {clip_norm!r}")
        taken = sorted({"epoch", "loss", "lr"} & set(metrics or {}))
        if taken:
            raise ValueError(f"Trainer: the history has a column {taken[0]!r} already, call the metric otherwise")
        kinds = [type(callback).__name__ for callback in callbacks if hasattr(callback, "state_dict")]
        if len(set(kinds)) < len(kinds):
            twice = next(kind for kind in kinds if kinds.count(kind) > 1)
            raise ValueError(f"Trainer: two callbacks are called {twice}, and a checkpoint has one place of that name: "
                             "use one, or a subclass")
        self.model, self.loss, self.optimizer, self.metrics = model, loss, optimizer, metrics or {}
        self.inputs, self.schedule, self.schedule_per = inputs, schedule, schedule_per
        self.clip_norm, self.average, self.callbacks = clip_norm, average, tuple(callbacks)
        self.epoch, self.step = 0, 0
        self.history = History()
        self.seconds = 0.0
        self.stopped = False  # a callback ended the training
        self._lr = 0.0  # the rate of the last step
        self._seen = Seen(bool(self.metrics))
        self._pausing = False
        self._complete = False  # the model holds its final weights

    # ------------------------------------------------------------------------------------------------------- training

    def fit(self, train: Batches, validation: Batches | None = None, *, epochs: int, validation_name: str = "val",
            checkpoint: str | Path | None = None, checkpoint_every: float = 30.0, resume: bool = False) -> History:
        """Train until `epochs` epochs are complete, in all; the model is set to training mode, and left in it.

        train: batches (inputs and targets), gone through once an epoch, as a DataLoader gives them. validation: more
        batches, to evaluate after each epoch, never to learn from.
        checkpoint: a file to write the state to, at the end of a step or epoch when `checkpoint_every` seconds have
        passed since the last, and when the training is complete. resume: go on from that file, if it is there, with
        the same bits as if nothing had happened; the arguments and the data must be those of the run that wrote it.
        Without it a second `fit` goes on from the weights that the model has: after a complete training its final ones,
        averages or those of the best epoch.

        Returns the history: "epoch", "loss", the metrics, and the same of the validation batches as "val_loss" and so
        on (or after another `validation_name`); "lr" with a schedule. Losses are means over the examples.
        TrainingError, naming epoch and step, as soon as a loss is infinite or not a number; the weights are then those
        before that step.
        """
        if not isinstance(epochs, int) or epochs < 1:
            raise ValueError(f"fit: epochs must be a positive int, got {epochs!r}")
        if resume and checkpoint is None:
            raise ValueError("fit: resume needs the checkpoint to go on from")
        self.stopped = self._pausing = self._complete = False
        if resume and checkpoint is not None and Path(checkpoint).exists():
            checkpoints.load(checkpoint, self)
        writer = checkpoints.Writer(checkpoint, checkpoint_every)
        began = perf_counter() - self.seconds
        self.model.train()
        with ExitStack() as ending:
            for callback in self.callbacks:
                callback.on_start(self, epochs, len(train) if isinstance(train, Sized) else None)
                ending.callback(callback.on_end, self)
            while self.epoch < epochs and not self.stopped:
                for _ in self._steps(train):
                    self.seconds = perf_counter() - began
                    self._pause_or_write(writer)
                self._end_epoch(validation, validation_name)
                self.seconds = perf_counter() - began
                self._pause_or_write(writer)
            writer.write(self.state_dict)
            self._finish()
        return self.history

    def pause(self) -> None:
        """Ask `fit` to end after the step it is at: it writes its checkpoint and raises Paused. Signal handlers may
        call this."""
        self._pausing = True

    def _steps(self, train: Batches) -> Iterator[None]:
        """What is left of this epoch, a step at a time."""
        for batch in batches_from(train, self.epoch, self.step):
            value = self._step(batch)
            self.step += 1
            for callback in self.callbacks:
                callback.on_step(self, value)
            yield

    def _step(self, batch: Batch) -> float:
        """One step of the optimizer; returns the loss."""
        inputs, targets = batch[: self.inputs], batch[self.inputs :]
        self.optimizer.zero_grad()
        outputs = self.model(*inputs)
        loss = self.loss(outputs, *targets)
        loss.backward()
        value = loss.item()  # behind backward, so that a GPU has its launches before one waits for it
        check_finite(value, "loss", f"in epoch {self.epoch + 1}, step {self.step + 1}")
        self._seen.add(outputs, targets, len(batch[0]), value)  # here, while a GPU has nothing else to do
        if self.clip_norm is not None:
            clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self._lr = self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        if self.schedule is not None and self.schedule_per == "step":
            self.schedule.step()
        return value

    def _end_epoch(self, validation: Batches | None, name: str) -> None:
        """Evaluate, add a row to the history, and tell the callbacks."""
        epoch = self.epoch + 1
        row: Row = {"epoch": epoch, **self._seen.summary(self.metrics)}
        if validation is not None:
            with self.evaluated():
                batches = batches_from(validation, self.epoch, 0)  # where a resumed training would be, too
                found = evaluate(self.model, batches, loss=self.loss, metrics=self.metrics, inputs=self.inputs)
            row |= {f"{name}_{key}": value for key, value in found.items()}
            check_finite(found["loss"], f"{name}_loss", f"after epoch {epoch}")
        if self.schedule is not None:
            row["lr"] = self._lr
            if self.schedule_per == "epoch":
                self._step_schedule(row[f"{name}_loss"] if validation is not None else row["loss"])
        self.history.append(row)
        self.epoch, self.step, self._seen = epoch, 0, Seen(bool(self.metrics))
        if any([callback.on_epoch(self, row) for callback in self.callbacks]):  # a list: all are told
            self.stopped = True

    def _step_schedule(self, loss: float) -> None:
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(loss)
        else:
            self.schedule.step()

    def _pause_or_write(self, writer: "checkpoints.Writer") -> None:
        if self._pausing:
            self._pausing = False
            writer.write(self.state_dict)
            raise Paused(f"paused in epoch {self.epoch + 1} after step {self.step}")
        writer.write_if_due(self.state_dict)

    def _finish(self) -> None:
        """Give the model its final weights: the averages, if there are any, unless a callback knows better."""
        if self.average is not None:
            self.average.copy_to(self.model)
        for callback in self.callbacks:
            callback.on_complete(self)
        self._complete = True

    # --------------------------------------------------------------------------------------------- evaluating, saving

    def evaluated(self) -> AbstractContextManager[Any]:
        """`with trainer.evaluated():` the model holds what is evaluated: in training its averages, if there are any;
        after a complete training the final weights, which it has."""
        return nullcontext() if self.average is None or self._complete else self.average.applied()

    def evaluate(self, batches: Batches) -> Row:
        """The mean loss over the examples and the metrics, in eval mode."""
        with self.evaluated():
            return evaluate(self.model, batches, loss=self.loss, metrics=self.metrics, inputs=self.inputs)

    def predict(self, batches: Batches) -> tuple[Any, Any]:
        """(outputs, targets) as arrays, in eval mode; see `train.predict`."""
        with self.evaluated():
            return predict(self.model, batches, self.inputs)

    def _parts(self) -> dict[str, Any]:
        """All that has a state of its own, by the name it has in a checkpoint."""
        parts: dict[str, Any] = {type(callback).__name__: callback for callback in self.callbacks
                                 if hasattr(callback, "state_dict")}
        parts |= {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule,
                  "average": self.average, "seen": self._seen}
        return {name: part for name, part in parts.items() if part is not None}

    def state_dict(self) -> dict[str, Any]:
        """All that a later `load_state_dict` needs to go on from here: numbers, words, arrays, in dicts and lists."""
        own = {"epoch": self.epoch, "step": self.step, "stopped": self.stopped, "seconds": self.seconds, "lr": self._lr,
               "history": [dict(row) for row in self.history], "random": list(random.get_state())}
        return {"trainer": own} | {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state. ValueError if it is another trainer's: nothing has changed then but, at worst,
        what was loaded before the part that doesn't fit."""
        parts = self._parts()
        if set(state) != {"trainer", *parts}:
            raise ValueError(f"Trainer.load_state_dict: the state is of {', '.join(sorted(state))}; this trainer has "
                             f"{', '.join(sorted(['trainer', *parts]))}")
        own = state["trainer"]
        check_progress(own)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        self.epoch, self.step, self.stopped = own["epoch"], own["step"], own["stopped"]
        self.seconds, self._lr = own["seconds"], own["lr"]
        self.history = History(own["history"])
        random.set_state(tuple(own["random"]))


def check_progress(own: Mapping[str, Any]) -> None:
    """ValueError if a saved state does not say how far a training is."""
    epoch, step, seconds, rows = own["epoch"], own["step"], own["seconds"], own["history"]
    if not (is_int(epoch) and is_int(step) and epoch >= 0 and step >= 0 and isinstance(own["stopped"], bool)
            and isinstance(seconds, int | float) and seconds >= 0 and isinstance(own["lr"], int | float)):
        raise ValueError(f"Trainer.load_state_dict: expected counts of epochs and steps, got epoch {epoch!r:.20}, step "
                         f"{step!r:.20}, stopped {own['stopped']!r:.20}, seconds {seconds!r:.20}")
    if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
            and [row.get("epoch") for row in rows] == list(range(1, len(rows) + 1)) and len(rows) == epoch):
        raise ValueError(f"Trainer.load_state_dict: expected a history of {epoch} epochs, got {rows!r:.80}")


def batches_from(batches: Batches, epoch: int, step: int) -> Iterable[Batch]:
    """The batches of an epoch without its first `step`. A DataLoader goes there at once; of other iterables they are
    passed over."""
    if isinstance(batches, DataLoader):
        batches.set_epoch(epoch, step)
        return batches
    return islice(batches, step, None)
