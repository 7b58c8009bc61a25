"""How a training shows itself: a moving bar on a terminal, one line an epoch everywhere else."""

from time import perf_counter
from typing import TYPE_CHECKING

from .loop import Callback, Row

if TYPE_CHECKING:
    from rich.console import Console

    from ..nn import Module


class ProgressReport(Callback):
    """Writes a line after each epoch to a rich Console; where that is a terminal, a bar shows the steps in between."""

    def __init__(self, console: "Console"):
        self.console = console

    def on_start(self, model: "Module", epochs: int, steps: int | None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.epochs, self.steps = epochs, steps
        self.began = perf_counter()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                   TextColumn("loss {task.fields[loss]}"), TimeRemainingColumn())
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self.task = self.bar.add_task(f"epoch 1/{epochs}", total=steps, loss="...")
        self.bar.start()

    def on_step(self, epoch: int, step: int, loss: float) -> None:
        self.bar.update(self.task, completed=step, loss=f"{loss:.3f}")

    def on_epoch(self, row: Row) -> None:
        now = perf_counter()
        values = "  ".join(f"{name} {value:.3f}" for name, value in row.items() if name != "epoch")
        width = len(str(self.epochs))
        line = f"epoch {row['epoch']:{width}}/{self.epochs}  {values}  ({now - self.began:.1f} s)"
        self.console.print(line, highlight=False, soft_wrap=True)
        self.began = now
        if row["epoch"] < self.epochs:
            following = f"epoch {row['epoch'] + 1}/{self.epochs}"
            self.bar.reset(self.task, description=following, total=self.steps, loss="...")

    def on_end(self) -> None:
        self.bar.stop()
