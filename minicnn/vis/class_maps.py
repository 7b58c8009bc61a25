"""What the class activation maps share: from a layer's activations to maps, as their options want them."""

import warnings
from collections.abc import Callable
from typing import TypedDict

import numpy as np

from ..nn import Module
from ..nn import functional as F
from ..nn.names import near
from ..tensor import Tensor, tensor
from .layers import named_or_last
from .looking import Looking, Progress, Target, numbered

Pictures = Tensor | np.ndarray
#: From pictures looked at and the name of a layer to their signed maps (N, h, w).
Reading = Callable[[Looking, str], np.ndarray]


class MapOptions(TypedDict, total=False):
    """normalize: scale each map to 0..1, as it is drawn. batch_size: how many pictures a pass takes. progress: called
    as `progress(done, total)` with the passes' pictures."""

    normalize: bool
    batch_size: int
    progress: Progress | None


def draw(name: str, read: Reading, model: Module, x: Pictures, target: Target, layer: str | None, relu: bool,
         upsample: bool, options: MapOptions) -> np.ndarray:
    """The maps that `read` gives, as the options want them."""
    unknown = set(options) - set(MapOptions.__annotations__)
    if unknown:
        option = min(unknown)
        raise TypeError(f"{name}: no option is called {option!r}{near(option, MapOptions.__annotations__)}")
    with Looking(name, model, x, target, batch_size=options.get("batch_size", 32),
                 progress=options.get("progress")) as look:
        layer = named_or_last(look, layer)
        signed = read(look, layer)
    found = np.maximum(signed, 0) if relu else signed
    silent = np.flatnonzero(~found.reshape(len(found), -1).any(axis=1))
    if relu and len(silent):
        warnings.warn(f"{name}: nothing in layer {layer!r} speaks for the target in picture "
                      f"{numbered(silent)}: the map is 0 everywhere", stacklevel=3)
    return finish(found, look.x.shape[1:-1] if upsample else None, options.get("normalize", False)).astype(look.dtype)


def finish(maps: np.ndarray, size: tuple[int, ...] | None, normalize: bool) -> np.ndarray:
    """Maps at another size, scaled to 0..1 before and after, as pytorch-grad-cam does."""
    maps = scaled(maps) if normalize else maps
    if size is None:
        return maps
    maps = resized(maps, size)
    return scaled(maps) if normalize else maps


def by_gradient(combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Reading:
    """The map that `combine` makes of the activations (n, h, w, C) and the gradients of the scores by them."""

    def read(look: Looking, layer: str) -> np.ndarray:
        found = []
        for rows in look.batches(len(look.x)):
            outputs, slopes = look.layer_gradients(layer, look.x[rows], rows)
            found.append(combine(check_places(look, layer, outputs), slopes.astype(np.float64)))
        return np.concatenate(found)

    return read


def by_activations(combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Reading:
    """The map that `combine(activations (n, h, w, C), numbers of the pictures (n,))` makes, of a batch at a time: no
    more activations are held at once."""

    def read(look: Looking, layer: str) -> np.ndarray:
        every = np.arange(len(look.x))
        batches = [every[start : start + look.batch_size] for start in range(0, len(every), look.batch_size)]
        return np.concatenate([combine(check_places(look, layer, look.layer_outputs(layer, look.x[rows])), rows)
                               for rows in batches])

    return read


def check_places(look: Looking, layer: str, outputs: np.ndarray) -> np.ndarray:
    """What a layer gave, (n, h, w, C), in float64; ValueError if it has no places."""
    if not 3 <= outputs.ndim <= 5:
        raise ValueError(f"{look.name}: layer {layer!r} gives shape {outputs.shape}, expected (N, h, w, C): name a "
                         "layer before the picture is flattened")
    return outputs.astype(np.float64)


def space(a: np.ndarray) -> tuple[int, ...]:
    """The axes between the pictures and the channels of (n, h, w, C)."""
    return tuple(range(1, a.ndim - 1))


def weighted(a: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The channels of (n, h, w, C) added up with weights (n, C)."""
    return np.einsum("n...c,nc->n...", a, weights)


def resized(maps: np.ndarray, size: tuple[int, ...], linear: bool = True, align_corners: bool = False) -> np.ndarray:
    """Maps (N, h, w) at another size, linear along each axis or from the nearest; see `functional.interpolate`."""
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)] if linear else "nearest"
    return F.interpolate(tensor(maps[..., None]), size=size, mode=mode,
                         align_corners=align_corners if linear else None).numpy()[..., 0]


def scaled(maps: np.ndarray, epsilon: float = 1e-7) -> np.ndarray:
    """Each map from 0 to 1; one that is the same everywhere becomes 0."""
    axes = tuple(range(1, maps.ndim))
    maps = maps - maps.min(axis=axes, keepdims=True)
    return maps / (epsilon + maps.max(axis=axes, keepdims=True))
