"""What a score loses when parts of the picture are hidden."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from ..nn import Module
from ..ops.arguments import is_int
from ..tensor import Tensor
from .looking import Looking, Progress, Target

#: What hidden pixels become: a number, values that broadcast to the pictures, "mean" or "blur" (see `filling`).
Baseline = float | np.ndarray | Tensor | str


def occlusion(model: Module, x: Tensor | np.ndarray, target: Target = None, window: int | Sequence[int] = 8,
              stride: int | Sequence[int] = 4, baseline: Baseline = 0.0, *, batch_size: int = 32,
              progress: Progress | None = None) -> np.ndarray:
    """How much of the score a window takes away that slides over the picture (Zeiler & Fergus 2014, section 4.2).

    x: pictures (N, H, W, C), or sequences or volumes. window, stride: in pixels, one for all axes or one for each; the
    windows start at 0, stride, 2 stride ... until one reaches the edge, where it is cut off. baseline: what covers the
    pixels, a number, values that broadcast to x, each picture's "mean" colour, or the picture itself but for a "blur".

    A pixel's value is the mean of F(x) - F(x with the window covered) over the windows that cover it, the same for all
    its channels. (Zeiler and Fergus draw F(x with the window covered) itself.) Returns an array of x's shape; the model
    runs once for each window of each picture.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Flatten(), mc.nn.Linear(16, 1, bias=False))
    >>> mc.nn.init.constant_(model[1].weight, 0.5)[0].tolist()
    [0.5]
    >>> mc.vis.occlusion(model, mc.ones(1, 4, 4, 1), window=2, stride=2)[0, :, :, 0].tolist()  # 4 pixels, 0.5 each
    [[2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0]]
    """
    with Looking("occlusion", model, x, target, batch_size=batch_size, progress=progress) as look:
        sizes = _sizes(look)
        windows, strides = _for_axes("window", window, sizes), _for_axes("stride", stride, sizes)
        if any(step > wide for step, wide in zip(strides, windows, strict=True)):
            raise ValueError(f"occlusion: stride {stride} is above window {window}: some pixels would never be covered")
        covered = [_starts(*axis) for axis in zip(sizes, windows, strides, strict=True)]
        boxes = [tuple(slice(at, at + wide) for at, wide in zip(corner, windows, strict=True))
                 for corner in product(*covered)]
        drops = _drops(look, len(boxes), boxes.__getitem__, filling("occlusion", look.x, baseline))
        total, count = np.zeros((len(look.x), *sizes)), np.zeros(sizes)
        for box, drop in zip(boxes, drops.T, strict=True):
            total[:, *box] += drop.reshape(-1, *(1,) * len(sizes))
            count[box] += 1
        return _for_channels(total / count, look.x)


def feature_ablation(model: Module, x: Tensor | np.ndarray, target: Target = None, features: int | np.ndarray = 8,
                     baseline: Baseline = 0.0, *, batch_size: int = 32, progress: Progress | None = None) -> np.ndarray:
    """How much of the score each feature of the picture takes away with it: F(x) - F(x without the feature).

    x: pictures (N, H, W, C), or sequences or volumes. features: the size of square blocks, or an int array (H, W) that
    says of each pixel which feature it belongs to, a segment or an organ, say. baseline: what takes a feature's place,
    as for `occlusion`.

    Returns an array of x's shape: a feature's drop at each of its pixels and channels, not divided by their number.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Flatten(), mc.nn.Linear(4, 1, bias=False))
    >>> mc.nn.init.constant_(model[1].weight, 0.5)[0].tolist()
    [0.5]
    >>> x = mc.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    >>> mc.vis.feature_ablation(model, x, features=np.array([[0, 1], [0, 1]]))[0, :, :, 0].tolist()
    [[2.0, 3.0], [2.0, 3.0]]
    """
    with Looking("feature_ablation", model, x, target, batch_size=batch_size, progress=progress) as look:
        sizes = _sizes(look)
        parts = _blocks(sizes, int(features)) if is_int(features) else np.asarray(features)
        if parts.shape != sizes or parts.dtype.kind not in "iu":
            raise ValueError(f"feature_ablation: features must be the size of a block or ints of shape {sizes}, got "
                             f"{parts.dtype} {parts.shape}")
        names, number = np.unique(parts, return_inverse=True)
        number = number.reshape(sizes)
        fill = filling("feature_ablation", look.x, baseline)
        drops = _drops(look, len(names), lambda feature: number == feature, fill)
        return _for_channels(drops[:, number], look.x)


def filling(name: str, x: np.ndarray, baseline: Any) -> np.ndarray:
    """The baseline of all pictures, of x's shape. "mean": each picture's own mean colour; "blur": each picture out of
    focus, by a Gaussian of 1/16 of its longest side. TypeError or ValueError unless it is that, or finite numbers that
    broadcast to x."""
    if isinstance(baseline, str) and baseline in ("mean", "blur") and x.ndim < 3:
        raise ValueError(f"{name}: baseline {baseline!r} is for pictures (N, H, W, C), got shape {x.shape}")
    if isinstance(baseline, str) and baseline == "mean":
        return np.broadcast_to(x.mean(axis=tuple(range(1, x.ndim - 1)), keepdims=True), x.shape)
    if isinstance(baseline, str) and baseline == "blur":
        from scipy.ndimage import gaussian_filter

        sizes = x.shape[1:-1]
        return gaussian_filter(x, (0, *(max(sizes) / 16,) * len(sizes), 0), mode="nearest")
    value = np.asarray(baseline.numpy() if isinstance(baseline, Tensor) else baseline)
    if value.dtype.kind not in "iuf":
        raise TypeError(f"{name}: baseline must be a number, an array, 'mean' or 'blur', got {baseline!r:.60}")
    if not np.isfinite(value).all():
        raise ValueError(f"{name}: baseline holds values that are infinite or not a number")
    try:
        return np.broadcast_to(value.astype(x.dtype), x.shape)
    except ValueError:
        raise ValueError(f"{name}: baseline of shape {value.shape} does not broadcast to x, {x.shape}") from None


def _sizes(look: Looking) -> tuple[int, ...]:
    """The sizes of pictures along the axes that have places."""
    if look.x.ndim < 3:
        raise ValueError(f"{look.name}: x must be pictures (N, H, W, C), sequences or volumes, got shape "
                         f"{look.x.shape}")
    return look.x.shape[1:-1]


def _drops(look: Looking, parts: int, part: Callable[[int], Any], fill: np.ndarray) -> np.ndarray:
    """F(x) - F(x with a part filled in), (N, parts). part: from its number to what `picture[part]` takes."""
    ways = parts + 1  # the last is the whole picture
    scores = np.empty((len(look.x), ways))
    for jobs in look.batches(scores.size):
        rows = jobs // ways
        pictures = look.x[rows]
        for picture, row, way in zip(pictures, rows, jobs % ways, strict=True):
            if way < parts:
                place = part(way)
                picture[place] = fill[row][place]
        scores.flat[jobs] = look.score_values(pictures, rows)
    return scores[:, -1:] - scores[:, :-1]


def _starts(size: int, window: int, stride: int) -> range:
    """Where windows start along an axis: the last is the first that reaches its end."""
    return range(0, max(size - window, 0) + stride, stride)


def _blocks(sizes: tuple[int, ...], block: int) -> np.ndarray:
    """Numbers of blocks, those at the far edges cut off."""
    if block < 1:
        raise ValueError(f"feature_ablation: a block must have at least 1 pixel, got {block}")
    places = np.indices(sizes) // block
    return np.ravel_multi_index(tuple(places), tuple(-(-size // block) for size in sizes))


def _for_axes(label: str, value: int | Sequence[int], sizes: tuple[int, ...]) -> tuple[int, ...]:
    several = isinstance(value, Sequence | np.ndarray) and np.ndim(value) > 0
    many: tuple[Any, ...] = tuple(value) if several else (value,) * len(sizes)  # type: ignore[arg-type]
    if len(many) != len(sizes) or not all(is_int(one) and one >= 1 for one in many):
        raise ValueError(f"occlusion: {label} must be one or {len(sizes)} ints of at least 1, got {value!r}")
    return tuple(int(one) for one in many)


def _for_channels(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(N, H, W) -> the same for all channels, an array of x's shape and dtype."""
    return np.repeat(values[..., None], x.shape[-1], axis=-1).astype(x.dtype)
