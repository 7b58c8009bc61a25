"""What is gathered about one picture for a report, before it is a page."""

from collections.abc import Sequence
from dataclasses import dataclass, field

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
    """A map (H, W) of the picture's size, and the numbers to put under it. note: a warning to its reader."""

    method: Method
    values: np.ndarray
    numbers: dict[str, float]
    deletion: np.ndarray  # the class's probability as the pixels go, those of the highest values first
    note: str = ""


@dataclass(frozen=True)
class LayerSeen:
    """What is shown of a layer's output for the picture, (h, w, C) or (C,); the output itself is not kept.

    silent: the share of the channels that are 0 everywhere. sheet: the strongest feature maps as a PNG file; channels:
    which they are, row by row; scale: theirs. thumbnail: the very strongest, small, as a PNG file.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    lowest: float
    highest: float
    silent: float
    sheet: bytes
    channels: np.ndarray
    scale: paint.Scale
    thumbnail: bytes

    @classmethod
    def of(cls, name: str, kind: str, output: np.ndarray) -> "LayerSeen":
        places, count = (output, MAPS) if output.ndim == 3 else (output[None, None, :], VALUES)
        picture, channels = paint.feature_maps(places, count, SIDE)
        silent = float((np.abs(output).reshape(-1, output.shape[-1]).max(axis=0) == 0).mean())
        scale = paint.scale_of(output[..., channels].reshape(-1, len(channels)))
        return cls(name, kind, output.shape, float(output.min()), float(output.max()), silent, paint.png(picture),
                   channels, scale, paint.png(_thumbnail(output)))


def _thumbnail(output: np.ndarray) -> np.ndarray:
    """A layer's strongest feature map, small; of a layer without places its values in rows."""
    if output.ndim == 1:
        side = int(np.ceil(np.sqrt(len(output))))
        return paint.paint(np.pad(output, (0, side * side - len(output))).reshape(side, side))
    strongest = output[..., paint.strongest(output, 1)[0]]
    step = max(1, min(strongest.shape) // 32)
    return paint.paint(strongest[::step, ::step])


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
