"""What the tools that look inside a network ask of ops while they look, in this thread: another gradient for the
rectifiers, and what went into the sigmoid or softmax at the end.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from ..tensor import Tensor

#: From the gradient of a rectifier's output, and a function from that to the gradient of its input by the derivative,
#: to what is passed back instead.
RectifierRule = Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]


class Squashed:
    """The latest output of a sigmoid or softmax, and its logits."""

    logits: Tensor | None = None
    output: Tensor | None = None

    def look_through(self, output: Tensor) -> Tensor:
        """The logits, if this is that output or holds the same values in another shape; else the tensor itself."""
        if self.logits is None or output is self.output:
            return output if self.logits is None else self.logits
        return self.logits.reshape(output.shape) if self._shared(output).all() else output

    def is_part_of(self, output: Tensor) -> bool:
        """Whether values of a tensor (N, classes) are that output's, so that it holds no logits."""
        if self.output is None or self.output.ndim > 2 or len(self.output) != len(output):
            return False
        values, own = (tensor.numpy().reshape(len(output), -1) for tensor in (output, self.output))
        if own.shape[1] > values.shape[1]:  # some of each row's
            return bool((values[:, :1] == own).any(axis=1).all())
        return bool(self._shared(output).any())

    def _shared(self, output: Tensor) -> np.ndarray:
        """Where the tensor's values are those of the output, of as many; else False."""
        if self.output is None or math.prod(output.shape) != math.prod(self.output.shape):
            return np.zeros(1, np.bool_)
        return output.numpy().ravel() == self.output.numpy().ravel()


class Looking(threading.local):
    rule: RectifierRule | None = None
    squashed: Squashed | None = None


_looking = Looking()


@contextmanager
def rectifiers_pass_back(rule: RectifierRule) -> Iterator[None]:
    """Inside, backward passes through relu and relu6 follow a rule. Those that are fused with other ops do not: it goes
    together with `fusion(False)`."""
    before, _looking.rule = _looking.rule, rule
    try:
        yield
    finally:
        _looking.rule = before


def rectifier_rule() -> RectifierRule | None:
    return _looking.rule


@contextmanager
def noting_squashed() -> Iterator[Squashed]:
    """Inside, the latest sigmoid, softmax or log_softmax is noted."""
    before, _looking.squashed = _looking.squashed, Squashed()
    try:
        yield _looking.squashed
    finally:
        _looking.squashed = before


def squashed(logits: Tensor, output: Tensor) -> Tensor:
    """Note that `output` was made of `logits` if somebody wants to know. Returns the output."""
    note = _looking.squashed
    if note is not None:
        note.logits, note.output = logits, output
    return output
