"""What a picture is painted to drive: a class, a filter, or a whole layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor
from .looking import Looking, Target


class Goal:
    """A number for each picture that is to rise.

    Without a layer, the target's score, as everywhere. In a layer: of a `channel`, its mean over all places; of several
    channels, one for each picture; of none, the mean square of all that the layer gives, as in DeepDream. The model is
    run no further than to the layer.
    """

    def __init__(self, name: str, target: Target, layer: str | None, channel: int | Sequence[int] | None):
        if layer is None and channel is not None:
            raise ValueError(f"{name}: channel {channel!r} of which layer? Name it")
        if layer is not None and target is not None:
            raise ValueError(f"{name}: either a target or a layer is driven, got target {target!r:.60} and layer "
                             f"{layer!r}")
        self.name, self.layer, self.target = name, layer, target
        asked = channel if layer is not None else None if callable(target) else target
        self.wanted = None if asked is None else np.atleast_1d(np.asarray(asked))
        if self.wanted is not None and (self.wanted.ndim != 1 or self.wanted.dtype.kind not in "iu"
                                        or not self.wanted.size or self.wanted.min() < 0):
            what = "target" if layer is None else "channel"
            raise ValueError(f"{name}: {what} must be an int of at least 0 or several, got {asked!r:.60}")

    def look(self, model: Any, pictures: np.ndarray) -> Looking:
        """The ground to stand on, for so many pictures."""
        target = self.target if self.wanted is None or self.layer is not None else self.of_pictures(len(pictures))
        return Looking(self.name, model, pictures, target)

    def of_pictures(self, count: int) -> np.ndarray:
        """The class or channel of each of so many pictures."""
        assert self.wanted is not None
        if len(self.wanted) not in (1, count):
            raise ValueError(f"{self.name}: {len(self.wanted)} goals for the {count} pictures of start")
        return np.broadcast_to(self.wanted, count)

    def check(self, look: Looking) -> None:
        """ValueError if the model has no such layer, or has several classes of which none is named."""
        if self.layer is not None:
            look.layer(self.layer)
        elif self.target is None and look.logits(look.tensor(look.x[:1])).shape[1] > 1:
            raise ValueError(f"{self.name}: the model has several classes: say as target which of them")

    def scores(self, look: Looking, pictures: Tensor, rows: np.ndarray) -> Tensor:
        """The number (n,) for each of some pictures. rows: which of all they are."""
        if self.layer is None:
            return look.scores(pictures, rows)
        found = look.run_until([self.layer], pictures)[self.layer]
        places = found.reshape((len(found), -1, found.shape[-1]))
        if self.wanted is None:
            return (places * places).mean(dim=(1, 2))
        channels = self.of_pictures(len(look.x))[rows]
        if channels.max() >= found.shape[-1]:
            raise ValueError(f"{self.name}: channel {channels.max()} is out of range, layer {self.layer!r} has "
                             f"{found.shape[-1]}, counted from 0")
        return places.mean(dim=1)[np.arange(len(found)), channels]
