"""checkpoint: trade time for memory, by computing a stretch of the tape a second time during backward."""

from collections.abc import Callable, Sequence
from typing import Any

from . import random
from .nn.fuse import fusion, fusion_enabled
from .tape import recording, state
from .tensor import Tensor


class Region:
    """A stretch of the tape that keeps nothing: what its entries save is dropped, and computed again when asked for."""

    def __init__(self, again: Callable[[], Any], inputs: Sequence[Any]):
        self.again = again
        self.versions = [(t, t._version[0]) for t in inputs if isinstance(t, Tensor)]
        self.count = 0
        self.entries: int | None = None  # of the whole stretch; None if an exception cut it short
        self.values: dict[int, Any] = {}
        self.collecting = False

    def keep(self, kept: Any) -> Any:
        place, self.count = self.count, self.count + 1
        if self.collecting:
            self.values[place] = kept
            return kept
        return lambda: self.fetch(place)

    def fetch(self, place: int) -> Any:
        if place not in self.values:
            self.run_again()
        if place not in self.values:
            raise RuntimeError("checkpoint: the function did something else when it ran again")
        return self.values.pop(place)

    def run_again(self) -> None:
        for tensor, version in self.versions:
            if tensor._version[0] != version:
                raise RuntimeError(
                    f"checkpoint: an input of shape {tensor.shape} was changed in place since"
                )
        outer, state.region = state.region, self
        self.count, self.collecting, self.values = 0, True, {}
        before = random.get_state()
        try:
            with recording(True):
                self.again()
        finally:
            state.region, self.collecting = outer, False
            random.set_state(before)
        if self.entries not in (None, self.count):
            raise RuntimeError("checkpoint: the function did something else when it ran again")


def checkpoint(function: Callable[..., Any], *inputs: Any) -> Any:
    """function(*inputs), keeping nothing of what happens inside: it runs again during backward (Chen et al. 2016,
    "Training deep nets with sublinear memory cost"). Costs a second forward pass, saves the memory of the first.

    The function must do the same when run again. Random numbers come out the same; the running statistics of a batch
    norm move twice.

    >>> import minicnn as mc
    >>> block = mc.nn.Sequential(mc.nn.Conv2d(3, 8, 3), mc.nn.ReLU())
    >>> y = mc.checkpoint(block, mc.ones(1, 5, 5, 3))  # as block(...), but the tape keeps the input alone
    >>> y.sum().backward()
    >>> y.shape, block[0].weight.grad.shape
    ((1, 3, 3, 8), (3, 3, 3, 8))
    """
    place, fused = random.get_state(), fusion_enabled()

    def again() -> None:
        random.set_state(place)
        with fusion(fused):  # so that the same ops run, whatever is set by then
            function(*inputs)

    region = Region(again, inputs)
    outer, state.region = state.region, region
    try:
        result = function(*inputs)
        region.entries = region.count
        return result
    finally:
        state.region = outer
