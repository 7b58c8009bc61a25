"""How a training shows itself: a moving bar on a terminal, one line an epoch everywhere else."""

from time import perf_counter
from typing import TYPE_CHECKING

from .history import Row
from .trainer import Callback, Trainer

if TYPE_CHECKING:
    from rich.console import Console


class ProgressReport(Callback):
    """Writes a line after each epoch to a rich Console; where that is a terminal, a bar shows the steps in between,
    with the loss, the metrics of the epoch before, and the time that is left of the epoch and of the training."""

    def __init__(self, console: "Console"):
        self.console = console

    def on_start(self, trainer: Trainer, epochs: int, steps: int | None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.epochs, self.steps = epochs, steps
        self.began = self.started = perf_counter()
        self.done_before = self._done(trainer)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                   TextColumn("loss {task.fields[loss]}"), TextColumn("{task.fields[metrics]}"), TimeRemainingColumn(),
                   TextColumn("{task.fields[left]}"))
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        metrics = _metrics(trainer.history[-1]) if trainer.history else ""
        self.task = self.bar.add_task(self._title(trainer), total=steps, completed=trainer.step, loss="...",
                                      metrics=metrics, left="")
        self.bar.start()

    def on_step(self, trainer: Trainer, loss: float) -> None:
        self.bar.update(self.task, completed=trainer.step, loss=f"{loss:.3f}", left=self._time_left(trainer))

    def on_epoch(self, trainer: Trainer, row: Row) -> None:
        now = perf_counter()
        values = "  ".join(_written(name, value) for name, value in row.items() if name != "epoch")
        width = len(str(self.epochs))
        line = f"epoch {row['epoch']:{width}}/{self.epochs}  {values}  ({now - self.began:.1f} s)"
        self.console.print(line, highlight=False, soft_wrap=True)
        self.began = now
        if row["epoch"] < self.epochs:
            self.bar.reset(self.task, description=self._title(trainer), total=self.steps, loss="...",
                           metrics=_metrics(row), left="")

    def on_end(self, trainer: Trainer) -> None:
        self.bar.stop()

    def _title(self, trainer: Trainer) -> str:
        return f"epoch {min(trainer.epoch + 1, self.epochs)}/{self.epochs}"

    def _done(self, trainer: Trainer) -> float:
        """Epochs done, with the part of the one at hand."""
        return trainer.epoch + (trainer.step / self.steps if self.steps else 0)

    def _time_left(self, trainer: Trainer) -> str:
        """Of the whole training, at the pace so far."""
        done = self._done(trainer)
        if done <= self.done_before:
            return ""
        left = (perf_counter() - self.started) * (self.epochs - done) / (done - self.done_before)
        return f"all done in {left / 60:.0f} min" if left >= 90 else f"all done in {left:.0f} s"


def _metrics(row: Row) -> str:
    """What an epoch's row says beside the losses."""
    return "  ".join(_written(name, value) for name, value in row.items()
                     if name not in ("epoch", "lr") and not name.endswith("loss"))


def _written(name: str, value: float) -> str:
    return f"{name} {value:.3g}" if name == "lr" else f"{name} {value:.3f}"
