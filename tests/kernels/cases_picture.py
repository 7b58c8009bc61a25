"""Cases of what augmentation does to pictures."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from .case import INF, NAN, Built, Case, Draw

#: N, O, D, I. Items of 3 and of 12 bytes are pixels of three channels.
MIRRORED = {
    "one": (1, 1, 1, 1), "pixels": (5, 7, 9, 1), "pixels_of_3_bytes": (4, 5, 7, 3), "pixels_of_4_bytes": (3, 2, 13, 4),
    "pixels_of_3_floats": (7, 5, 6, 12), "rows": (3, 1, 11, 35), "one_item": (4, 3, 1, 12), "none": (0, 3, 4, 3),
    "no_rows": (2, 0, 4, 1), "no_items": (2, 3, 0, 12), "no_bytes": (2, 3, 4, 0), "large": (3, 101, 127, 3),
}
#: N, H, W, C and the size of the result. A row is worked on in runs of 128 places.
SAMPLED = {
    "one": (1, 1, 1, 1, (1, 1)), "grey": (3, 7, 9, 1, (7, 9)), "colour": (2, 9, 7, 3, (9, 7)),
    "channels": (2, 5, 6, 5, (5, 6)), "no_channels": (2, 3, 3, 0, (3, 3)), "larger": (1, 5, 4, 3, (11, 13)),
    "smaller": (2, 13, 11, 1, (3, 2)), "one_row": (2, 1, 9, 3, (1, 9)), "one_column": (2, 9, 1, 2, (9, 1)),
    "a_run": (1, 3, 128, 1, (3, 128)), "more_than_a_run": (1, 3, 131, 3, (2, 259)), "no_result": (2, 3, 3, 1, (0, 4)),
    "none": (0, 5, 5, 3, (5, 5)), "large": (4, 61, 67, 3, (61, 67)),
}
#: N, K. The sums of a picture are in 64 lanes, or in chunks of 2048.
ROWS = {
    "one": (1, 1), "few": (5, 7), "a_lane_short": (3, 63), "lanes": (2, 128), "a_lane_more": (3, 65), "many": (4, 1009),
    "in_chunks": (2, 4099), "none": (0, 5), "empty": (3, 0), "large": (5, 12288),
}


def mirror(n: int, o: int, d: int, i: int, draw: Draw) -> Built:
    return [draw.random.integers(0, 256, (n, o, d, i), np.uint8), draw.condition(n)], {}


def turned(n: int, high: int, wide: int, draw: Draw) -> np.ndarray:
    """Maps that turn, zoom, lean and shift, so that some places are inside of the picture and some outside."""
    maps = np.zeros((n, 2, 3))
    maps[:, :, :2] = np.eye(2) + draw.random.normal(0, 0.4, (n, 2, 2))
    maps[:, :, 2] = draw.random.normal(0, 0.3, (n, 2)) * (high, wide)
    return draw.array(maps)


def affine_sample(n: int, h: int, w: int, c: int, size: tuple[int, int], draw: Draw) -> Built:
    return [draw(n, h, w, c), turned(n, h, w, draw)], {"size": size}


def affine_special(draw: Draw) -> Built:
    """Places at and beyond the edges, very far away and nowhere."""
    rows = [[0, 0, 0], [1, 0, 0], [-1, 0, 4], [1, 0, -1], [1, 0, 0.5], [3, 0, -20], [1e30, 0, 0], [0, -1e30, 1],
            [0, 0, INF], [0, 0, -INF], [0, 0, NAN], [INF, -INF, 1]]
    maps = [[row, (column[1], column[0], column[2])] for row, column in product(rows, rows)]
    return [draw(len(maps), 5, 5, 3), draw.array(maps)], {"size": (5, 5)}


def affine_wide(draw: Draw) -> Built:
    """Places thousands of pixels from the first, of which float32 keeps few digits behind the point: 2535.9999 would be
    2536, and 4169.9998, before the last of all pixels, 4170."""
    return [draw(1, 1, 4171, 1), draw.array([[[0, 0, 0], [0, 81.7, 3.3]]])], {"size": (1, 61)}


def affine_infinite(draw: Draw) -> Built:
    """Whole places, which are next to infinite pixels, and take nothing from those before."""
    x = draw(2, 5, 6, 1)
    x[:, 2, 3, 0] = INF, -INF
    return [x, draw.array([np.eye(2, 3)] * 2)], {"size": (5, 6)}


def jitter(n: int, k: int, draw: Draw) -> Built:
    weights = draw.random.random(k)
    return [draw.between(0, 1, n, k), draw.between(0.5, 1.6, n), draw.between(0, 2, n),
            draw.array(weights / max(weights.sum(), 1))], {}


def jitter_special(draw: Draw) -> Built:
    """Numbers that belong into no picture, alone among others that do, and at every place of a row."""
    wrong = [0, 1, -1e-3, 1.001, -3, 7, INF, -INF, NAN]
    x = draw.between(0, 1, len(wrong) * 70, 70)
    x[np.arange(len(x)), np.arange(len(x)) % 70] = np.repeat(wrong, 70)
    return [x, draw.between(0.5, 1.6, len(x)), draw.between(0, 2, len(x)), draw.array(np.full(70, 1 / 70))], {}


def jitter_special_long(draw: Draw) -> Built:
    """One such number in pictures of several chunks, near the start and near the end."""
    wrong, k = [-1e-3, 1.001, NAN], 2500
    x = draw.between(0, 1, 2 * len(wrong), k)
    x[np.arange(len(x)), np.tile([3, k - 2], len(wrong))] = np.repeat(wrong, 2)
    return [x, draw.between(0.5, 1.6, len(x)), draw.between(0, 2, len(x)), draw.array(np.full(k, 1 / k))], {}


def jitter_settings(brightness: float, contrast: float, draw: Draw) -> Built:
    return [draw.few([0, 0.25, 0.5, 1], 4, 100), draw.array([brightness] * 4), draw.array([contrast] * 4),
            draw.array([0.01] * 100)], {}


def blend(n: int, k: int, draw: Draw) -> Built:
    return [draw(n, k), draw.index(max(n, 1), n), draw.between(0, 1, n)], {}


def blend_settings(draw: Draw) -> Built:
    return [draw(5, 33), np.array([4, 3, 2, 1, 0]), draw.array([0, 1, 0.5, 0, 1])], {}


def cases() -> Iterator[Case]:
    for label, shape in MIRRORED.items():
        yield Case("mirror", label, mirror, shape, (np.uint8,))
    for label, args in SAMPLED.items():
        # A place among w columns is off by some eps of w, and what is read there by as much of the pixels' differences.
        yield Case("affine_sample", label, affine_sample, args, terms=4 + max(*args[1:3], *args[4]))
    yield Case("affine_sample", "special", affine_special, terms=4)
    yield Case("affine_sample", "wide", affine_wide, dtypes=(np.float32,), terms=4)
    yield Case("affine_sample", "infinite", affine_infinite)
    for label, shape in ROWS.items():
        yield Case("jitter", label, jitter, shape, terms=shape[1])
    yield Case("jitter", "special", jitter_special, terms=70)
    yield Case("jitter", "special_in_chunks", jitter_special_long, terms=2500)
    for brightness, contrast in product((0.0, 1.0, 3.0), (0.0, 1.0, 2.5)):
        yield Case("jitter", f"settings_{brightness}_{contrast}", jitter_settings, (brightness, contrast), terms=100)
    for label, shape in ROWS.items():
        yield Case("blend", label, blend, shape)
    yield Case("blend", "shares", blend_settings)
