"""Cases of batch normalisation."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from .case import NAN, Built, Case, Draw, ordinary

#: M, C.
SHAPES = {
    "one": (1, 1), "one_row": (1, 5), "two": (2, 1), "three_channels": (7, 3), "primes": (13, 17),
    "past_the_vector": (97, 33), "vector_wide": (64, 16), "wide": (3, 131), "one_channel": (1009, 1),
    "no_channels": (5, 0), "large": (1777, 19), "large_wide": (67, 515), "large_rgb": (11003, 3), "large_64": (601, 64),
}
#: E[x^2] - E[x]^2 would be off by 1000^2 rounding errors.
FAR_MEAN = ("three_channels", "past_the_vector", "one_channel", "large")


def means(c: int, mean: float, draw: Draw) -> np.ndarray:
    """From -mean to mean."""
    return draw.array(np.linspace(-mean, mean, c) if c > 1 else np.full(c, mean))


def stats(m: int, c: int, mean: float, draw: Draw) -> Built:
    return [draw(m, c) + means(c, mean, draw)], {}


def inputs(m: int, c: int, mean: float, draw: Draw) -> list[np.ndarray]:
    """x, mean and rstd. They are near the true ones only, or gradients would vanish where there are few rows."""
    center = means(c, mean, draw)
    return [draw(m, c) + center, center + draw(c), draw.between(0.5, 2, c)]


def apply(m: int, c: int, mean: float, weight: bool, bias: bool, draw: Draw) -> Built:
    return [*inputs(m, c, mean, draw), draw(c) if weight else None, draw(c) if bias else None], {}


def grad(m: int, c: int, mean: float, weight: bool, draw: Draw) -> Built:
    return [draw(m, c), *inputs(m, c, mean, draw), draw(c) if weight else None], {}


def constant(m: int, c: int, draw: Draw) -> Built:
    """Small whole numbers, the same in every row: all sums are exact, and so the variance is 0."""
    return [np.repeat(draw.few([-3, -1, 0, 2, 5], 1, c), m, axis=0)], {}


def special(m: int, c: int, draw: Draw) -> Built:
    """They spoil channels 1 and 2, nothing else. Not infinity: shifted sums make its mean NaN, plain sums infinity."""
    x = draw(m, c)
    x[3, 1], x[4, 2] = NAN, NAN
    return [x], {}


def cases() -> Iterator[Case]:
    for number, (label, shape) in enumerate(SHAPES.items()):
        yield Case("batch_norm_stats", label, ordinary, shape, terms=shape[0])
        yield Case("batch_norm_apply", label, apply, (*shape, 0.0, number % 3 > 0, number % 2 > 0))
        yield Case("batch_norm_grad", label, grad, (*shape, 0.0, number % 3 > 0), terms=shape[0])
    for label in FAR_MEAN:
        m, c = SHAPES[label]
        yield Case("batch_norm_stats", f"mean_1000_{label}", stats, (m, c, 1000.0), terms=m)
        yield Case("batch_norm_apply", f"mean_1000_{label}", apply, (m, c, 1000.0, True, True))
        yield Case("batch_norm_grad", f"mean_1000_{label}", grad, (m, c, 1000.0, True), terms=m)
    for c in (3, 17):
        yield Case("batch_norm_stats", f"constant_{c}", constant, (32, c))
        yield Case("batch_norm_apply", f"empty_{c}", apply, (0, c, 0.0, True, True))
        yield Case("batch_norm_grad", f"empty_{c}", grad, (0, c, 0.0, True))
    yield Case("batch_norm_stats", "special", special, (11, 7), terms=11)
    yield Case("batch_norm_stats", "large_one_channel", ordinary, (33013, 1), terms=33013)
    for weight, bias in product((False, True), (False, True)):
        label = "plain" + "_weight" * weight + "_bias" * bias
        yield Case("batch_norm_apply", label, apply, (23, 13, 0.0, weight, bias))
