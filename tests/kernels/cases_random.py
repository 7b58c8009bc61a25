"""Cases of the random number generator and of dropout."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from .case import INF, NAN, Built, Case, Draw

#: count, seed, offset.
STREAMS = {
    "none": (0, 1, 0), "one": (1, 0, 0), "three": (3, 7, 0), "four": (4, 7, 4), "seven": (7, 7, 8),
    "within_blocks": (21, 7, 6),
    "primes": (1009, 123, 12), "seed_of_64_bits": (37, 2**64 - 1, 0), "seed_above_32_bits": (37, 5 * 2**32 + 3, 400),
    "seed_of_one_bit": (5, 2**63, 0), "counter_carries": (101, 99, 4 * (2**32 - 7)),
    "counter_above_32_bits": (50, 99, 4 * 5 * 2**32),
    "large": (100003, 42, 64), "large_carries": (40009, 42, 4 * (2**32 - 5001)),
}
#: N, M, C.
SHAPES = {
    "one": (1, 1, 1), "six": (2, 1, 3), "eight": (2, 1, 4),
    "elements": (1, 1, 1009), "pictures": (7, 1, 33), "channels": (3, 35, 13),
    "channels_16": (2, 9, 16), "one_channel": (5, 7, 1), "empty": (0, 1, 7), "no_places": (3, 0, 5),
    "large": (1, 1, 40009), "large_rows": (67, 1, 601), "large_channels": (5, 401, 19),
}


def random_bits(count: int, seed: int, offset: int, draw: Draw) -> Built:
    return [], {"count": count, "seed": seed, "offset": offset}


def dropout(n: int, m: int, c: int, p: float, seed: int, offset: int, draw: Draw) -> Built:
    return [draw(n, m, c)], {"p": p, "seed": seed, "offset": offset}


def dropout_special(n: int, m: int, c: int, p: float, draw: Draw) -> Built:
    """Even NaN and infinity are gone where they are dropped."""
    return [draw.few([1, NAN, INF, -INF], n, m, c)], {"p": p, "seed": 3, "offset": 0}


def cases() -> Iterator[Case]:
    for label, stream in STREAMS.items():
        yield Case("random_bits", label, random_bits, stream, (np.float64,))
    for (label, shape), p in product(SHAPES.items(), (0.1, 0.5)):
        yield Case("dropout", f"{label}_{p}", dropout, (*shape, p, 2**63 + 12345, 4096))
    for label, p in product(("pictures", "channels"), (0.0, 1.0, 0.999, 1e-9)):
        yield Case("dropout", f"{label}_{p}", dropout, (*SHAPES[label], p, 3, 0))
        yield Case("dropout", f"special_{label}_{p}", dropout_special, (*SHAPES[label], p))
    yield Case("dropout", "threshold_is_a_word", dropout, (1, 1, 9, 1152013473 / 2**32, 3, 0))  # number 4: it is kept
    yield Case("dropout", "counter_carries", dropout, (3, 1, 17, 0.5, 8, 4 * (2**32 - 4)))
