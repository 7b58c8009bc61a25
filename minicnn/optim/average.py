"""A running average of a model's weights, which often predicts better than the weights of the last step."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..dispatch import dispatch_rows
from ..nn.module import Module
from ..ops.arguments import is_int
from ..tape import no_grad
from ..tensor import FLOATS, Tensor
from .optimizer import filled, fraction, like

STATE = ("decay", "warmup", "updates", "averages")


class ExponentialMovingAverage:
    """average = d * average + (1 - d) * value for every float parameter and float buffer (batch norm's statistics) of
    a model, at each `update()`, which comes after each step of the optimizer. At first the averages are the values.

    decay: d, from 0 to below 1. warmup: d is (1 + n) / (10 + n) while that is less, n being the number of updates
    before: weights soon forget how they began (so TensorFlow's `ExponentialMovingAverage` with `num_updates`).

    The averages have the dtypes of the model: float32 ones stop following where a step would be less than half of their
    last digit. Make a new one after `model.to(...)`. Polyak & Juditsky 1992, "Acceleration of stochastic approximation
    by averaging"; PyTorch's `AveragedModel` with `get_ema_multi_avg_fn(decay)` and `use_buffers=True`, but that its
    first update copies.

    >>> import minicnn as mc
    >>> layer = mc.nn.Linear(1, 1, bias=False)
    >>> weight = mc.nn.init.ones_(layer.weight)
    >>> average = mc.optim.ExponentialMovingAverage(layer, decay=0.75, warmup=False)
    >>> weight = mc.nn.init.constant_(layer.weight, 5)  # a step of an optimizer would stand here
    >>> average.update()
    >>> with average.applied():
    ...     layer.weight.tolist()
    [[2.0]]
    """

    def __init__(self, model: Module, decay: float = 0.999, warmup: bool = True):
        fraction("ExponentialMovingAverage", "decay", decay)
        if not isinstance(model, Module):
            raise TypeError(f"ExponentialMovingAverage: model must be a Module, got {type(model).__name__}")
        self.model, self.decay, self.warmup = model, float(decay), bool(warmup)
        self.updates = 0
        self.averages = {name: filled(value).copy_(value) for name, value in _averaged(model).items()}

    def update(self) -> None:
        """Move the averages towards the values that the model has now."""
        pairs = self._pairs("update", self.model)
        for dtype in FLOATS:
            due = [pair for pair in pairs if pair[1].dtype == dtype]
            if due:
                rows = [(average.array, value.array) for average, value in due]
                dispatch_rows("average_step", rows, rate=self._rate(dtype), scale=1.0)
            for average, _ in due:
                average.touch()
        self.updates += 1

    def _rate(self, dtype: np.dtype) -> float:
        """1 - d, for a d that the dtype can hold: the kernel rounds d and 1 - d, and where the two did not add up to 1
        the averages would shrink or grow a little with each update."""
        decay = self.decay
        if self.warmup:
            decay = min(decay, (1 + self.updates) / (10 + self.updates))
        return 1.0 - float(dtype.type(decay))

    @contextmanager
    def applied(self) -> Iterator[Module]:
        """`with average.applied():` the model has the averages; afterwards its own values again, bit for bit, also
        after an error. What is done to the values inside the block is lost."""
        pairs = self._pairs("applied", self.model)
        before = [value.numpy().copy() for _, value in pairs]
        try:
            self.copy_to(self.model)
            yield self.model
        finally:
            with no_grad():
                for (_, value), array in zip(pairs, before, strict=True):
                    value.copy_(array)

    def copy_to(self, model: Module) -> None:
        """Overwrite the parameters and buffers of a model that is built alike with the averages."""
        pairs = self._pairs("copy_to", model)
        with no_grad():
            for average, value in pairs:
                value.copy_(average)

    def _pairs(self, call: str, model: Module) -> list[tuple[Tensor, Tensor]]:
        """Each average with the tensor of the model it belongs to. ValueError if the model is another."""
        values = _averaged(model)
        if [(n, v.shape, v.dtype) for n, v in values.items()] != [(n, a.shape, a.dtype)
                                                                 for n, a in self.averages.items()]:
            strange = [n for n in {**values, **self.averages} if n not in values or n not in self.averages
                       or (values[n].shape, values[n].dtype) != (self.averages[n].shape, self.averages[n].dtype)]
            raise ValueError(f"ExponentialMovingAverage.{call}: the model is not the one that was averaged: "
                             f"{', '.join(strange[:5]) or 'the order of its tensors'} differs")
        return [(self.averages[name], value) for name, value in values.items()]

    # --------------------------------------------------------------------------------------------- saving and loading

    def state_dict(self) -> dict[str, Any]:
        """All that a later `load_state_dict` needs to go on from here: "decay", "warmup", "updates" (how many there
        were) and "averages", NumPy copies by the names of the parameters and buffers."""
        averages = {name: average.numpy().copy() for name, average in self.averages.items()}
        return {"decay": self.decay, "warmup": self.warmup, "updates": self.updates, "averages": averages}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state; the model is not touched. All is checked first; ValueError if it does not fit."""
        name = "ExponentialMovingAverage.load_state_dict"
        if not isinstance(state_dict, Mapping) or set(state_dict) != set(STATE):
            raise ValueError(f"{name}: expected a dict of {', '.join(STATE)}, got {state_dict!r:.80}")
        decay, warmup, updates, averages = (state_dict[key] for key in STATE)
        fraction(name, "decay", decay)
        if not isinstance(warmup, bool):
            raise ValueError(f"{name}: warmup must be True or False, got {warmup!r}")
        if not is_int(updates) or updates < 0:
            raise ValueError(f"{name}: updates must be an int of at least 0, got {updates!r}")
        if not isinstance(averages, Mapping) or set(averages) != set(self.averages):
            wrong = sorted(set(averages) ^ set(self.averages)) if isinstance(averages, Mapping) else []
            raise ValueError(f"{name}: the averages are of another model: {', '.join(map(str, wrong[:5]))}")
        loaded = {n: like(f"{name}: {n}", averages[n], own) for n, own in self.averages.items()}
        self.decay, self.warmup, self.updates, self.averages = float(decay), warmup, int(updates), loaded


def _averaged(model: Module) -> dict[str, Tensor]:
    """What is averaged, by name; what is shared comes once."""
    return {name: tensor for name, tensor in [*model.named_parameters(), *model.named_buffers()]
            if tensor.dtype in FLOATS}
