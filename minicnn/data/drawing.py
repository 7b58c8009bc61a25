"""Antialiased drawing on a batch of small pictures at once, in plain NumPy.

A shape is a *signed distance*: an array that is negative inside the shape and positive outside it, in the units of
the coordinates it was made from. `cover` turns a distance into the share of each pixel that the shape covers, and
`Canvas.paint` mixes a colour into the picture by that share. Every number that differs from picture to picture is an
array of shape (B, 1, 1), so one expression draws the shape into all B pictures.
"""

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


class Dice:
    """Random numbers for B pictures at a time, shaped (B, 1, 1), or (B, 3, 1, 1) for colours; always float32."""

    def __init__(self, seed: np.random.SeedSequence, count: int) -> None:
        self.rng = np.random.Generator(np.random.Philox(seed))
        self.count = count

    def between(self, low: float, high: float) -> Array:
        return self.rng.uniform(low, high, (self.count, 1, 1)).astype(np.float32)

    def chance(self, probability: float) -> Array:
        """1.0 with the given probability, otherwise 0.0."""
        return (self.rng.random((self.count, 1, 1)) < probability).astype(np.float32)

    def sign(self) -> Array:
        """-1.0 or 1.0, equally often."""
        return 2 * self.chance(0.5) - 1

    def colour(self, palette: Sequence[Sequence[int]], spread: float = 0.06) -> Array:
        """One of the palette's 8-bit colours, scaled to [0, 1] and moved by up to `spread` in each channel."""
        picked = np.array(palette, np.float32)[self.rng.integers(len(palette), size=self.count)] / 255
        picked = picked + self.rng.uniform(-spread, spread, picked.shape)
        return picked.clip(0, 1).astype(np.float32)[:, :, None, None]

    def noise(self, *shape: int) -> Array:
        return self.rng.standard_normal((self.count, *shape), np.float32)


class Canvas:
    """B pictures, `pixels` of shape (B, 3, size, size) in [0, 1], and coordinates x, y from -1 to 1 (y points down)."""

    def __init__(self, count: int, size: int) -> None:
        self.pixels = np.zeros((count, 3, size, size), np.float32)
        steps = ((np.arange(size, dtype=np.float32) + 0.5) * 2 - size) / size
        self.x = steps[None, None, :]
        self.y = steps[None, :, None]
        self.pixel = np.float32(2 / size)

    def paint(self, share: Array, colour: Array | float) -> None:
        """Mixes `colour` in: all of it where `share` (B, size, size) is 1, nothing where it is 0."""
        change = colour - self.pixels
        change *= share[:, None]
        self.pixels += change

    def shade(self, factor: Array) -> None:
        """Multiplies the light by `factor` (B, size, size)."""
        self.pixels *= factor[:, None]


def cover(distance: Array, pixel: Array | float) -> Array:
    """How much of each pixel (0 to 1) a shape covers, from its signed distance and the width of a pixel."""
    return np.clip(0.5 - distance / pixel, 0, 1)


def soft(distance: Array, width: Array | float) -> Array:
    """Like `cover` with a smooth edge of the given width: for shadows, blushes and other things without an outline."""
    share = cover(distance, width)
    return share * share * (3 - 2 * share)


def length(x: Array, y: Array) -> Array:
    """The length of the vector (x, y); several times as fast as `np.hypot`, whose care about overflow is not needed."""
    return np.sqrt(x * x + y * y)


def ellipse(x: Array, y: Array, radius_x: Array | float, radius_y: Array | float) -> Array:
    """Signed distance to an ellipse around (0, 0); exact for circles, close enough to antialias the others."""
    return (length(x / radius_x, y / radius_y) - 1) * np.minimum(radius_x, radius_y, dtype=np.float32)


def box(x: Array, y: Array, half_width: Array | float, half_height: Array | float, rounding: Array | float) -> Array:
    """Signed distance to a rectangle around (0, 0) with rounded corners."""
    beyond_x = np.maximum(np.abs(x) - (half_width - rounding), 0)
    beyond_y = np.maximum(np.abs(y) - (half_height - rounding), 0)
    return length(beyond_x, beyond_y) - rounding


def outline(distance: Array, thickness: Array | float) -> Array:
    """Signed distance to a line of the given thickness along a shape's edge."""
    return np.abs(distance) - thickness / 2


def smooth_noise(dice: Dice, size: int, cells: int) -> Array:
    """Blotches, (B, size, size): random values on a coarse grid, interpolated linearly between its points."""
    grid = dice.noise(cells + 1, cells + 1)
    place = (np.arange(size, dtype=np.float32) + 0.5) * (cells / size)
    left = place.astype(np.int64)
    part = place - left.astype(np.float32)
    rows = grid[:, left] * (1 - part)[None, :, None] + grid[:, left + 1] * part[None, :, None]
    return rows[:, :, left] * (1 - part) + rows[:, :, left + 1] * part


def blur(pixels: Array, amount: Array) -> Array:
    """A three-pixel blur along both axes; `amount` (B, 1, 1) is the weight given to each neighbour, at most 1/3."""
    for axis in (2, 3):
        before = np.roll(pixels, 1, axis)
        after = np.roll(pixels, -1, axis)
        first, last = [slice(None)] * 4, [slice(None)] * 4
        first[axis], last[axis] = slice(0, 1), slice(-1, None)
        before[tuple(first)] = pixels[tuple(first)]
        after[tuple(last)] = pixels[tuple(last)]
        pixels = pixels + amount[:, None] * (before + after - 2 * pixels)
    return pixels
