"""DeepDream: a photo in which a layer sees more and more of what it looks for.

Mordvintsev, Olah & Tyka, "Inceptionism: Going Deeper into Neural Networks" (Google Research blog, 2015).
"""

from collections.abc import Callable

import numpy as np

from ..nn import Module
from ..nn import functional as F
from ..ops.arguments import is_int
from ..tape import enable_grad, grad
from ..tensor import tensor
from .goal import Goal
from .looking import Looking, Progress

#: Called after each step as (octave, step, picture); what it returns doesn't matter.
DreamCallback = Callable[[int, int, np.ndarray], object]

SMALLEST = 32  # pixels of the shorter side: an octave below that is left out


def deep_dream(model: Module, photo: np.ndarray, layer: str, channel: int | None = None, *, octaves: int = 4,
               octave_scale: float = 1.4, steps: int = 10, lr: float = 0.01, jitter: int = 32, tile: int | None = 512,
               value_range: tuple[float, float] = (0.0, 1.0), seed: int = 0, callback: DreamCallback | None = None,
               progress: Progress | None = None) -> np.ndarray:
    """A photo changed so that a layer, or one channel of it, responds more strongly.

    photo: (H, W, C) of any size, floats in value_range or bytes. layer: a dotted name; what follows it doesn't run, so
    that a network with a Flatten at its end dreams at any size too. channel: its mean rises; without one, the mean
    square of all channels.

    Ascent begins on the photo scaled down and goes on at the next size, `octave_scale` times as large, with what was
    dreamt so far scaled up, so that it holds patterns of many sizes: `octaves` sizes, of which the last is the photo's
    own and those below 32 pixels are left out. Each takes `steps` steps of `lr` times the range, as the mean over all
    pixels. In each, the picture is first rolled around its edges by up to `jitter` pixels. Pictures larger than `tile`
    are cut into tiles at each step, at other places each time; None takes them whole, in more memory.

    Returns float32 (H, W, C) in value_range.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU())
    >>> photo = np.random.default_rng(0).random((40, 50, 3))
    >>> dreamt = mc.vis.deep_dream(model, photo, "1", octaves=2, steps=2)
    >>> dreamt.shape, dreamt.dtype, bool(abs(dreamt - photo).mean() > 0.01)
    ((40, 50, 3), dtype('float32'), True)
    """
    name = "deep_dream"
    for label, value, least in (("octaves", octaves, 1), ("steps", steps, 1), ("jitter", jitter, 0),
                                ("tile", tile or 1, 1)):  # fmt: skip
        if not is_int(value) or value < least:
            raise ValueError(f"{name}: {label} must be an int of at least {least}, got {value!r}")
    if not octave_scale > 1 or not lr > 0:
        raise ValueError(f"{name}: octave_scale must be above 1 and lr positive, got {octave_scale!r} and {lr!r}")
    low, high = value_range
    if not low < high:
        raise ValueError(f"{name}: value_range must rise, got {value_range!r}")
    if channel is not None and not is_int(channel):
        raise ValueError(f"{name}: channel must be an int, or None for all of them, got {channel!r}")
    goal, random, photo = Goal(name, None, layer, channel), np.random.default_rng(seed), np.asarray(photo)
    sizes = _sizes(photo.shape, octaves, octave_scale)
    with goal.look(model, _scaled(name, photo, low, high)[None]) as look, enable_grad():
        goal.check(look)
        original = look.x[0]
        dreamt = np.zeros_like(_resized(original, sizes[0]))
        for octave, size in enumerate(sizes):
            base = _resized(original, size)
            picture = np.clip(base + _resized(dreamt, size), low, high)
            for step in range(steps):
                slope = _slope(look, goal, picture, jitter, tile, random)
                picture = np.clip(picture + lr * (high - low) * slope / (abs(slope).mean() or 1.0), low, high)
                if callback is not None:
                    callback(octave, step, picture)
                if progress is not None:
                    progress(octave * steps + step + 1, len(sizes) * steps)
            dreamt = picture - base
    return picture.astype(np.float32)


def _slope(look: Looking, goal: Goal, picture: np.ndarray, jitter: int, tile: int | None,
           random: np.random.Generator) -> np.ndarray:
    """The gradient by the picture (H, W, C), rolled at random and tile by tile."""
    counts = [1 if tile is None else -(-size // tile) for size in picture.shape[:2]]
    reach = [jitter if count == 1 else size for count, size in zip(counts, picture.shape, strict=False)]
    roll = [int(random.integers(-most, most + 1)) for most in reach]
    rolled = np.roll(picture, roll, (0, 1))
    slope = np.empty_like(rolled)
    rows, columns = (np.array_split(np.arange(size), count) for size, count in zip(picture.shape, counts, strict=False))
    for down in rows:
        for right in columns:
            box = slice(down[0], down[-1] + 1), slice(right[0], right[-1] + 1)
            inputs = look.tensor(rolled[box][None], requires_grad=True)
            score = goal.scores(look, inputs, np.zeros(1, int)).sum() * float(len(down) * len(right))
            slope[box] = grad(score, [inputs])[0].numpy()[0]
    return np.roll(slope, [-by for by in roll], (0, 1))


def _sizes(shape: tuple[int, ...], octaves: int, scale: float) -> list[tuple[int, int]]:
    """(H, W) of the octaves, the smallest first."""
    if len(shape) != 3:
        raise ValueError(f"deep_dream: photo must have shape (H, W, C), got {shape}")
    sizes = [(round(shape[0] / scale**down), round(shape[1] / scale**down)) for down in reversed(range(octaves))]
    return [size for size in sizes[:-1] if min(size) >= SMALLEST] + sizes[-1:]


def _scaled(name: str, photo: np.ndarray, low: float, high: float) -> np.ndarray:
    """The photo as floats in the range."""
    if photo.dtype == np.uint8:
        return (low + photo / np.float32(255) * (high - low)).astype(np.float32)
    if photo.dtype.kind != "f" or not low <= photo.min() <= photo.max() <= high:
        raise ValueError(f"{name}: photo must be bytes, or floats from {low} to {high}, got {photo.dtype} from "
                         f"{photo.min()} to {photo.max()}")
    return photo


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, C) scaled; smaller by the mean of what falls together."""
    mode = "area" if size < picture.shape[:2] else "bilinear"
    return F.interpolate(tensor(picture[None]), size=size, mode=mode).numpy()[0]
