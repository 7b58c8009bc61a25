"""Ending a training from outside without losing a step."""

import signal
from collections.abc import Callable
from typing import Any

from .trainer import Callback, Trainer

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C, and what systems send before they end a process


class PauseOnSignals(Callback):
    """An interrupt pauses the training: it finishes the step, writes its checkpoint and raises Paused. A second one
    ends the process as it would have without this.

    tell: called when the first one comes, so that the user can be told to wait. Signals reach the main thread alone:
    train there.
    """

    def __init__(self, tell: Callable[[], Any] = lambda: None) -> None:
        self.tell = tell

    def on_start(self, trainer: Trainer, epochs: int, steps: int | None) -> None:
        def ask(number: int, frame: Any) -> None:
            self._restore()
            trainer.pause()
            self.tell()

        # What is ignored, as in a job that was started to outlive its terminal, stays so.
        self.before = {number: signal.signal(number, ask) for number in SIGNALS
                       if signal.getsignal(number) not in (signal.SIG_IGN, None)}

    def on_end(self, trainer: Trainer) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
