"""What drives a filter most, among the pictures of a data set: Zeiler & Fergus 2014, "Visualizing and Understanding
Convolutional Networks", figure 2.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data.dataset import Samples, take
from ..nn import Module
from ..nn.features import run_until
from ..ops.arguments import is_int
from ..tensor import Tensor
from .deconvnet import deconvnet
from .looking import Looking, Progress
from .receptive import receptive_field


class TopPatches(NamedTuple):
    """Of F filters the K pictures that drive each most, the strongest first.

    channels (F,); scores (F, K): the highest activation in a picture, and numbers (F, K): which picture of the data it
    is. boxes (F, K, 4): what the place of that activation sees of it: top, left, bottom, right, the last two beyond.
    patches (F, K, h, w, C): those parts of the pictures, and reconstructions, of the same shape: what a deconvnet makes
    of that activation alone. Where a box ends at the edge of the picture, the rest of the patch is 0.
    """

    channels: np.ndarray
    scores: np.ndarray
    numbers: np.ndarray
    boxes: np.ndarray
    patches: np.ndarray
    reconstructions: np.ndarray


def top_patches(model: Module, data: np.ndarray | Tensor | Samples, layer: str, channel: int | Sequence[int],
                count: int = 9, *, batch_size: int = 32, progress: Progress | None = None) -> TopPatches:
    """The parts of pictures that drive filters most, each beside what a deconvnet says the filter saw in it.

    data: pictures (N, H, W, C), or a data set whose samples begin with a picture; floats, or bytes, which are divided
    by 255. layer: a dotted name; it gives pictures (N, h, w, channels). channel: the filter, or several. count: how
    many pictures for each. A picture counts once for a filter, by its strongest place; it is cropped to what that place
    can see (`receptive_field`). The data are read once, then the pictures that are shown.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(1, 4, 3), mc.nn.ReLU(), mc.nn.MaxPool2d(2))
    >>> data = np.random.default_rng(0).random((20, 12, 12, 1), np.float32)
    >>> top = mc.vis.top_patches(model, data, "2", channel=[0, 3], count=5)
    >>> top.patches.shape, top.reconstructions.shape, bool((np.diff(top.scores) <= 0).all())
    ((2, 5, 4, 4, 1), (2, 5, 4, 4, 1), True)
    """
    name = "top_patches"
    channels = np.atleast_1d(np.asarray(channel))
    if channels.ndim != 1 or channels.dtype.kind not in "iu" or not channels.size or channels.min() < 0:
        raise ValueError(f"{name}: channel must be an int of at least 0 or several, got {channel!r:.60}")
    if not len(data) or not is_int(count) or not 1 <= count <= len(data):
        raise ValueError(f"{name}: count must be an int from 1 to the number of pictures, {len(data)}, got {count!r}")
    best, places = _strongest(model, data, layer, channels, batch_size, progress)
    numbers = np.argsort(-best, axis=0, kind="stable")[:count].T  # (F, K)
    filters = np.arange(len(channels))[:, None]
    scores, seen_from = best[numbers, filters], places[numbers, filters]
    pictures = _pictures(data, numbers.ravel())
    boxes = _fields(model, layer, seen_from.reshape(-1, 2), pictures.shape[1:])
    drawn = deconvnet(model, pictures, layer=layer, channel=np.repeat(channels, count), batch_size=batch_size)
    middle = receptive_field(model, layer, size=pictures.shape[1:])
    extent = np.max([box[2:] - box[:2] for box in (*boxes, *middle)], axis=0)
    shape = (len(channels), count)
    patches, reconstructions = (_cropped(of, boxes, extent).reshape(*shape, *extent, -1) for of in (pictures, drawn))
    return TopPatches(channels, scores, numbers, boxes.reshape(*shape, 4), patches, reconstructions)


def _strongest(model: Module, data: Any, layer: str, channels: np.ndarray, batch_size: int, progress: Progress | None
               ) -> tuple[np.ndarray, np.ndarray]:
    """Of each picture and channel the highest activation (N, F) and its place (N, F, 2)."""
    best, places = np.empty((len(data), len(channels)), np.float32), np.empty((len(data), len(channels), 2), int)
    with Looking("top_patches", model, _pictures(data, np.arange(1)), batch_size=batch_size, progress=progress) as look:
        look.layer(layer)
        for rows in look.batches(len(data)):
            output = run_until(model, [layer], look.tensor(_pictures(data, rows))).found.get(layer)
            if not isinstance(output, Tensor) or output.ndim != 4:
                raise ValueError(f"top_patches: layer {layer!r} gives no pictures (N, h, w, channels)")
            if channels.max() >= output.shape[-1]:
                raise ValueError(f"top_patches: channel {channels.max()} is out of range, layer {layer!r} has "
                                 f"{output.shape[-1]}, counted from 0")
            values = output.numpy()[..., channels]
            flat = values.reshape(len(rows), -1, len(channels))
            best[rows] = flat.max(axis=1)
            places[rows] = np.stack(np.unravel_index(flat.argmax(axis=1), values.shape[1:3]), axis=-1)
    return best, places


def _pictures(data: Any, rows: np.ndarray) -> np.ndarray:
    """The pictures at `rows`, as floats."""
    array = data.numpy() if isinstance(data, Tensor) else data
    found = array[rows] if isinstance(array, np.ndarray) else take(array, rows)[0]
    if found.ndim != 4 or (found.dtype != np.uint8 and found.dtype.kind != "f"):
        raise ValueError(f"top_patches: data must be pictures (N, H, W, C) of bytes or floats, got {found.dtype} "
                         f"{found.shape}")
    return found / np.float32(255) if found.dtype == np.uint8 else found


def _fields(model: Module, layer: str, places: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """What places see, (n, 4); each place is asked for once."""
    different, which = np.unique(places, axis=0, return_inverse=True)
    return receptive_field(model, layer, different, size)[which.ravel()]


def _cropped(pictures: np.ndarray, boxes: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """The boxes of pictures as patches of one extent. One that is cut off by the picture's edge lies at the other side
    of its patch, as far from where it would have gone on."""
    patches = np.zeros((len(pictures), *extent, pictures.shape[-1]), np.float32)
    for patch, picture, (top, left, bottom, right) in zip(patches, pictures, boxes, strict=True):
        down = extent[0] - (bottom - top) if top == 0 else 0
        across = extent[1] - (right - left) if left == 0 else 0
        patch[down : down + bottom - top, across : across + right - left] = picture[top:bottom, left:right]
    return patches
