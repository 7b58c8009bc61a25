"""Synthetic faces, smiling or not, drawn from a seed: a data set for smile detectors that needs no download.

A face is painted like a picture: background first, then the figure from back to front, then the light, then what a
camera adds. All of it varies independently of the label, except the bend of the mouth: the corners of a smiling mouth
point up. So neither single pixels nor brightness tell the classes apart; the shape of the mouth has to be found.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from . import face_painting as paint
from .drawing import Array, Canvas, Dice
from .happy_house import HappyHouse, scale_pictures

# Faces are drawn this many at a time, each group from a random stream of its own. The arrays of a group fit the
# processor's cache; threads draw groups in any order; and a short set is the beginning of a longer one.
GROUP = 16
THREADS = min(4, os.cpu_count() or 1)


def load_synthetic_faces(train: int = 3000, test: int = 1000, seed: int = 0) -> HappyHouse:
    """Drawn faces in the form of the Happy House set; training and test faces come from different random streams.

    Pictures float32 (N, 64, 64, 3) from 0 to 1, labels float32 (N, 1), 1 for a smile. TypeError or ValueError if train
    or test is no int of at least 1, or seed none of at least 0.

    >>> import minicnn as mc
    >>> faces = mc.data.load_synthetic_faces(train=20, test=10)
    >>> faces.train_x.shape, faces.test_y.shape
    ((20, 64, 64, 3), (10, 1))
    """
    _check("seed", seed, 0)
    streams = [np.random.SeedSequence(seed, spawn_key=(part,)) for part in range(2)]
    _check("train", train, 1)
    _check("test", test, 1)
    train_x, train_y = scale_pictures(*_draw_faces(train, streams[0], 64))
    test_x, test_y = scale_pictures(*_draw_faces(test, streams[1], 64))
    return HappyHouse(train_x, train_y, test_x, test_y)


def synthetic_faces(count: int, seed: int, size: int = 64) -> tuple[Array, Array]:
    """Draws faces: x uint8 (count, size, size, 3) and y int64 (count,), 1 for a smile and 0 for none.

    Of any two faces 2i and 2i + 1 one smiles. The same seed gives the same bits, whatever the number of threads, and
    the first faces of a longer set. `size` is at least 16; mouths are hard to make out below 48.

    >>> import minicnn as mc
    >>> x, y = mc.data.synthetic_faces(4, seed=0, size=32)
    >>> x.shape, x.dtype.name, int(y.sum())
    ((4, 32, 32, 3), 'uint8', 2)
    """
    _check("count", count, 0)
    _check("seed", seed, 0)
    _check("size", size, 16)
    return _draw_faces(count, np.random.SeedSequence(seed), size)


def _check(name: str, value: int, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"synthetic faces: {name} must be an int, got {value!r}")
    if value < at_least:
        raise ValueError(f"synthetic faces: {name} must be at least {at_least}, got {value}")


def _draw_faces(count: int, seed: np.random.SeedSequence, size: int) -> tuple[Array, Array]:
    """Groups drawn by several threads; NumPy lets go of the interpreter lock while it computes."""
    x, y = np.empty((count, size, size, 3), np.uint8), np.empty(count, np.int64)
    starts = range(0, count, GROUP)

    def draw(start: int, stream: np.random.SeedSequence) -> None:
        dice = Dice(stream, GROUP)
        # Pairs of a smile and none in random order: a set stays balanced wherever it is cut.
        first = dice.rng.integers(2, size=GROUP // 2)
        smiling = np.stack([first, 1 - first], axis=1).reshape(GROUP)
        kept = min(GROUP, count - start)
        x[start : start + kept] = draw_group(smiling[:, None, None], dice, size)[:kept]
        y[start : start + kept] = smiling[:kept]

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(draw, starts, seed.spawn(len(starts))))  # a list: an error in a thread is raised here
    return x, y


def draw_group(smiling: Array, dice: Dice, size: int) -> Array:
    """One group of faces, uint8 (B, size, size, 3), from the background to the photograph; smiling: (B, 1, 1)."""
    canvas = Canvas(dice.count, size)
    paint.draw_background(canvas, dice)
    head = paint.make_head(canvas, dice)
    paint.draw_back_hair(canvas, head, dice)
    paint.draw_body(canvas, head, dice)
    paint.draw_ears(canvas, head, dice)
    paint.draw_skin(canvas, head, dice)
    paint.draw_beard(canvas, head, dice)
    paint.draw_nose(canvas, head, dice)
    paint.draw_eyes(canvas, head, dice)
    paint.draw_brows(canvas, head, dice)
    paint.draw_mouth(canvas, head, make_mouth(smiling, dice), dice)
    paint.draw_front_hair(canvas, head, dice)
    paint.draw_hat(canvas, head, dice)
    paint.draw_light(canvas, head, dice)
    paint.draw_glasses(canvas, head, dice)
    return paint.take_photo(canvas, dice)


def make_mouth(smiling: Array, dice: Dice) -> paint.Mouth:
    """A smile, or else a straight mouth, one with its corners down, or a round "o".

    Gap, teeth and (on average) the size of the opening are drawn alike for both classes, so neither the brightness
    of the mouth nor the teeth tell them apart.
    """
    wide, narrow = dice.between(0.28, 0.42), dice.between(0.17, 0.22)
    gap, teeth = dice.chance(0.55) * dice.between(0.04, 0.13), dice.chance(0.6)
    smile, kind = dice.between(0.17, 0.28), dice.between(0, 1)
    frown, straight = dice.between(-0.25, -0.13), dice.between(-0.04, 0.01)
    round_ = (smiling == 0) & (kind > 0.7) & (gap > 0)
    return paint.Mouth(
        bend=np.where(smiling, smile, np.where(kind < 0.5, frown, straight)),
        # A bent line is longer than a straight one, and an "o" is narrow but tall: sizes that make up for it.
        half_width=np.where(round_, narrow, np.where(smiling, wide, 1.06 * wide)),
        gap=np.where(round_, 0.9 * gap * wide / narrow, gap),
        teeth=teeth,
    )
