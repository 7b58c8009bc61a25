"""detect_anomaly: find the op whose gradient is NaN, and the line of the user's program that called it."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGE = str(Path(__file__).parent)


class Anomaly:
    """Whether gradients are checked, and the check."""

    on = False

    @staticmethod
    def check(entry: Any, grads: Sequence[Any]) -> None:
        for place, grad in enumerate(grads):
            if grad is not None and np.isnan(grad.numpy()).any():
                raise RuntimeError(
                    f"{type(entry).__name__}.backward gave NaN as the gradient of its input {place}; called from "
                    f"{entry.where or 'a line before detect_anomaly was on'}"
                )


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Inside, backward raises RuntimeError at the first op that gives a NaN gradient, naming the op and the line that
    called it. Run the forward pass inside too: it is then that lines are noted. Slow; for debugging.

    >>> import minicnn as mc
    >>> x = mc.tensor(0.0, requires_grad=True)
    >>> with mc.detect_anomaly():  # doctest: +ELLIPSIS
    ...     (0 * x.log()).backward()
    Traceback (most recent call last):
    ...
    RuntimeError: Log.backward gave NaN as the gradient of its input 0; called from ...: (0 * x.log()).backward()
    """
    before, Anomaly.on = Anomaly.on, True
    try:
        yield
    finally:
        Anomaly.on = before


def user_line() -> str:
    """The innermost line outside this package: `file.py:12: y = x.log()`."""
    import linecache

    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return ""
    path, line = frame.f_code.co_filename, frame.f_lineno
    return f"{path}:{line}: {linecache.getline(path, line).strip()}"
