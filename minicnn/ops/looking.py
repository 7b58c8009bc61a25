"""What the tools that look inside a network ask of ops while they look, in this thread: another gradient for the
rectifiers, and what went into the sigmoid or softmax at the end.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..tensor import Tensor

#: From the gradient of a rectifier's output, and a function from that to the gradient of its input by the derivative,
#: to what is passed back instead.
RectifierRule = Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]


class Squashed:
    """The latest output of a sigmoid or softmax, and its logits."""

    logits: Tensor | None = None
    output: Tensor | None = None

    def look_through(self, output: Tensor) -> Tensor:
        """The logits, if this very tensor is that output; else the tensor itself."""
        return self.logits if output is self.output and self.logits is not None else output


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
