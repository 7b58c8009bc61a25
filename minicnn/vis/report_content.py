"""What is gathered about one picture for a report, before it is a page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from . import paint
from .report_methods import Method

MAPS, VALUES = 36, 144  # of a layer that are shown: of one with places, and of one without
SIDE = 16  # pixels of a feature map, at least


@dataclass(frozen=True)
class Answer:
    """What the model says of a picture. names, chances: of all classes. target: the number of the class to explain."""

    names: Sequence[str]
    chances: Sequence[float]
    target: int


@dataclass(frozen=True)
class MapFound:
    """A map (H, W) of the picture's size, and the numbers to put under it."""

    method: Method
    values: np.ndarray
    numbers: dict[str, float]
    deletion: np.ndarray  # the class's probability as the pixels go, those of the highest values first


@dataclass(frozen=True)
class LayerSeen:
    """A layer's output for the picture, (h, w, C) or (C,)."""

    name: str
    kind: str
    output: np.ndarray

    @property
    def silent(self) -> float:
        """The share of the channels that are 0 everywhere."""
        return float((np.abs(self.output).reshape(-1, self.output.shape[-1]).max(axis=0) == 0).mean())

    @cached_property
    def sheet(self) -> tuple[bytes, np.ndarray]:
        """Its strongest feature maps as a PNG file, and which channels they are, row by row."""
        places = self.output.ndim == 3
        output, count = (self.output, MAPS) if places else (self.output[None, None, :], VALUES)
        picture, channels = paint.feature_maps(output, count, SIDE)
        return paint.png(picture), channels


@dataclass(frozen=True)
class Explanation:
    """All about one picture. layer: the one that class activation maps look at. score: the logit that is explained."""

    name: str
    picture: np.ndarray
    answer: Answer
    score: float
    layer: str | None
    maps: list[MapFound] = field(default_factory=list)
    layers: list[LayerSeen] = field(default_factory=list)
