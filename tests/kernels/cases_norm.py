"""Cases of batch normalisation, and of what is done in one pass with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from minicnn.kernels import reference
from minicnn.kernels.contracts import ACTIVATIONS

from .case import INF, NAN, Built, Case, Draw, ordinary

#: M, C.
SHAPES = {
    "one": (1, 1), "one_row": (1, 5), "two": (2, 1), "three_channels": (7, 3), "primes": (13, 17),
    "past_the_vector": (97, 33), "vector_wide": (64, 16), "wide": (3, 131), "one_channel": (1009, 1),
    "no_channels": (5, 0), "in_parts": (521, 36),
    "large": (1777, 19), "large_wide": (67, 515), "large_rgb": (11003, 3), "large_64": (601, 64),
}
#: E[x^2] - E[x]^2 would be off by 1000^2 rounding errors.
FAR_MEAN = ("three_channels", "past_the_vector", "one_channel", "in_parts", "large")


@dataclass(frozen=True)
class Pooled:
    """size: N, H, W, C. p: the share that dropout takes."""

    size: tuple[int, int, int, int]
    kernel: tuple[int, int] = (2, 2)
    p: float = 0.0
    activation: str = ""
    weight: bool = True
    bias: bool = True
    rectified: bool = False
    offset: int = 0

    @property
    def terms(self) -> int:
        return self.size[0] * self.size[1] * self.size[2]

    @property
    def outputs(self) -> tuple[int, int, int, int]:
        n, h, w, c = self.size
        return n, h // self.kernel[0], w // self.kernel[1], c

    def known(self, draw: Draw) -> list[np.ndarray | None]:
        """mean, rstd, weight, bias. rstd is so small that no activation goes flat, where rounding would choose."""
        c = self.size[3]
        return [draw(c), draw.between(0.1, 0.5, c), draw(c) if self.weight else None, draw(c) if self.bias else None]

    def params(self) -> dict[str, Any]:
        return {"kernel": self.kernel, "activation": self.activation, "p": self.p, "seed": 2**63 + 7,
                "offset": self.offset}

    def positions(self, x: np.ndarray, known: list[np.ndarray | None]) -> np.ndarray:
        y, found = np.empty(self.outputs), np.empty(self.outputs, np.uint8)
        wide = [None if array is None else array.astype(np.float64) for array in (x, *known)]
        reference.batch_norm_pool(*wide, y, found, **self.params())
        return found


POOLED = {
    "small": Pooled((1, 2, 2, 2), (1, 1)),
    "halves": Pooled((2, 6, 8, 3), p=0.25, weight=False),
    "odd": Pooled((1, 7, 9, 16), rectified=True),
    "odd_dropped": Pooled((3, 5, 7, 16), p=0.5, bias=False, rectified=True, offset=4 * (2**32 - 3)),
    "primes": Pooled((2, 7, 9, 17), (3, 2), p=0.1),
    "every_place": Pooled((2, 3, 5, 7), (1, 1), p=0.3, rectified=True),
    "in_rows": Pooled((2, 4, 10, 1), (1, 3), p=0.3),
    "one_channel": Pooled((1, 40, 62, 1), p=0.3),
    "wide": Pooled((1, 4, 6, 300), p=0.5),
    "wide_odd": Pooled((1, 7, 5, 523), (3, 2), rectified=True),
    "most_places": Pooled((1, 18, 16, 3), (17, 15)),
    "many_places": Pooled((2, 17, 33, 37), (15, 16), p=0.1),
    "window_too_large": Pooled((1, 2, 3, 5), (3, 2), rectified=True),
    "all_dropped": Pooled((1, 6, 5, 7), p=1.0, rectified=True),
    "few_dropped": Pooled((1, 6, 5, 7), p=1e-11),
    "threshold_is_a_word": Pooled((1, 6, 5, 7), p=364028415 / 2**32),  # number 9: it is kept
    "in_parts": Pooled((1, 33, 35, 36), p=0.2, rectified=True), "no_pictures": Pooled((0, 4, 6, 3), p=0.5),
    "no_channels": Pooled((2, 4, 6, 0), p=0.5),
    "large": Pooled((3, 33, 31, 19), p=0.2, rectified=True),
    "large_16": Pooled((2, 41, 43, 16), p=0.5),
    "large_wide": Pooled((2, 7, 8, 515)),
}


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
    return [*inputs(m, c, mean, draw), draw(c) if weight else None, draw(c) if bias else None, None], {"activation": ""}


def grad(m: int, c: int, mean: float, weight: bool, draw: Draw) -> Built:
    return [draw(m, c), *inputs(m, c, mean, draw), draw(c) if weight else None, None], \
        {"activation": "", "rectified": False}


def apply_activated(m: int, c: int, activation: str, bias: bool, add: bool, draw: Draw) -> Built:
    return [*inputs(m, c, 0.0, draw), draw(c), draw(c) if bias else None, draw(m, c) if add else None], \
        {"activation": activation}


def grad_activated(m: int, c: int, activation: str, weight: bool, bias: bool, rectified: bool, draw: Draw) -> Built:
    return [draw(m, c), *inputs(m, c, 0.0, draw), draw(c) if weight else None, draw(c) if bias else None], \
        {"activation": activation, "rectified": rectified}


def grad_behind_relu(m: int, c: int, draw: Draw) -> Built:
    """Half of x is 0, where nothing goes through the ReLU that made it."""
    (g, x, *others), params = grad_activated(m, c, "", True, True, True, draw)
    return [g, np.maximum(x, 0), *others], params


def pool(pooled: Pooled, draw: Draw) -> Built:
    return [draw(*pooled.size), *pooled.known(draw)], pooled.params()


def pool_ties(pooled: Pooled, values: list[float], draw: Draw) -> Built:
    """Whole numbers, so that what is equal stays equal."""
    c = pooled.size[3]
    known = [draw.few([-1, 0, 1], c), draw.few([1, 2], c), draw.few([-1, 1], c), draw.few([-1, 0, 1], c)]
    return [draw.few(values, *pooled.size), *known], pooled.params()


def pool_grad(pooled: Pooled, draw: Draw) -> Built:
    x, known = draw(*pooled.size), pooled.known(draw)
    return [draw(*pooled.outputs), pooled.positions(x, known), x, *known], \
        {"kernel": pooled.kernel, "activation": pooled.activation, "p": pooled.p, "rectified": pooled.rectified}


def constant(m: int, c: int, draw: Draw) -> Built:
    """Small whole numbers, the same in every row: all sums are exact, and so the variance is 0."""
    return [np.repeat(draw.few([-3, -1, 0, 2, 5], 1, c), m, axis=0)], {}


def tiny(m: int, c: int, draw: Draw) -> Built:
    """A start of any other size would cost all digits of these."""
    return [1e-4 * draw(m, c)], {}


def special(m: int, c: int, draw: Draw) -> Built:
    """They spoil channels 1 and 2, nothing else. Not infinity: shifted sums make its mean NaN, plain sums infinity."""
    x = draw(m, c)
    x[3, 1], x[4, 2] = NAN, NAN
    return [x], {}


def follow(channels: int, running_mean: bool, running_var: bool, draw: Draw) -> Built:
    return [draw(channels), draw.between(0, 2, channels), draw(channels) if running_mean else None,
            draw.between(0, 2, channels) if running_var else None], {"momentum": 0.1, "unbias": 1.25, "eps": 1e-5}


#: N, M, C, G.
GROUPED = {
    "one": (1, 1, 1, 1), "layer": (13, 1, 17, 1), "rows_of_channels": (5, 1, 96, 1), "instance": (2, 9, 7, 7),
    "groups": (3, 5, 12, 4), "pairs": (2, 6, 34, 17), "no_batch": (0, 3, 4, 2), "one_picture": (1, 49, 24, 3),
    "more_than_parts": (37, 2, 6, 2), "in_parts": (1, 1033, 6, 2),
    "large": (5, 211, 36, 6), "large_layer": (701, 1, 67, 1),
}


def grouped(n: int, m: int, c: int, groups: int, how: str, draw: Draw) -> Built:
    x = draw(n, m, c) + (1000 if how == "far" else 0)
    weight, bias = (draw(c), draw(c)) if how != "plain" else (None, None)
    return [draw.array(x), weight, bias], {"groups": groups, "eps": 1e-3}


def grouped_grad(n: int, m: int, c: int, groups: int, weighted: bool, draw: Draw) -> Built:
    return [draw(n, m, c), draw(n, m, c), draw(n, groups), draw.between(0.1, 2, n, groups),
            draw(c) if weighted else None], {}


def cases() -> Iterator[Case]:
    for label, running in {"both": (True, True), "mean": (True, False), "var": (False, True),
                           "none": (False, False)}.items():
        for channels in (1, 16, 37):
            yield Case("batch_norm_follow", f"{label}_{channels}", follow, (channels, *running))
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
    yield Case("batch_norm_stats", "tiny_in_parts", tiny, SHAPES["in_parts"], terms=521)
    yield Case("batch_norm_stats", "large_one_channel", ordinary, (33013, 1), terms=33013)
    for weight, bias in product((False, True), (False, True)):
        label = "plain" + "_weight" * weight + "_bias" * bias
        yield Case("batch_norm_apply", label, apply, (23, 13, 0.0, weight, bias))
    for number, activation in enumerate(ACTIVATIONS):
        odd = number % 2 > 0
        yield Case("batch_norm_apply", activation, apply_activated, (37, 13, activation, odd, not odd))
        yield Case("batch_norm_grad", activation, grad_activated, (141, 13, activation, odd, True, odd), terms=141)
        yield Case("batch_norm_grad", f"wide_{activation}", grad_activated, (3, 523, activation, True, odd, odd),
                   terms=3)
        pooled = Pooled((2, 7, 9, 13), (2 + odd, 2), p=0.3, activation=activation, weight=odd, rectified=odd)
        yield Case("batch_norm_pool", activation, pool, (pooled,))
        yield Case("batch_norm_pool_grad", activation, pool_grad, (pooled,), terms=pooled.terms)
    for label in ("vector_wide", "large", "large_rgb", "large_wide"):
        m, c = SHAPES[label]
        yield Case("batch_norm_apply", f"{label}_add", apply_activated, (m, c, "", True, True))
        for activation in ("gelu", "relu"):
            yield Case("batch_norm_apply", f"{label}_add_{activation}", apply_activated, (m, c, activation, True, True))
            yield Case("batch_norm_grad", f"{label}_{activation}", grad_activated,
                       (m, c, activation, True, True, activation == "relu"), terms=m)
        yield Case("batch_norm_grad", f"{label}_rectified", grad_activated, (m, c, "", True, False, True), terms=m)
    yield Case("batch_norm_grad", "behind_a_relu", grad_behind_relu, (61, 13), terms=61)
    yield Case("batch_norm_apply", "empty_gelu", apply_activated, (0, 7, "gelu", True, True))
    yield Case("batch_norm_grad", "empty_gelu", grad_activated, (0, 7, "gelu", True, True, True))
    for label, pooled in POOLED.items():
        yield Case("batch_norm_pool", label, pool, (pooled,))
        yield Case("batch_norm_pool_grad", label, pool_grad, (pooled,), terms=pooled.terms)
    yield Case("batch_norm_pool", "one", pool, (Pooled((1, 1, 1, 1), (1, 1)),))
    for activation in ("relu", "gelu", "hardswish"):
        pooled = Pooled((2, 23, 41, 19), p=0.2, activation=activation)
        yield Case("batch_norm_pool", f"large_{activation}", pool, (pooled,))
        yield Case("batch_norm_pool_grad", f"large_{activation}", pool_grad, (pooled,), terms=pooled.terms)
    for kernel, p in product(((2, 2), (3, 2)), (0.0, 0.5)):
        label, size = f"{kernel[0]}x{kernel[1]}_{p}", (2, 9, 8, 17)
        yield Case("batch_norm_pool", f"ties_{label}", pool_ties, (Pooled(size, kernel, p, "relu"), [-2, -1, 0, 1, 2]))
        yield Case("batch_norm_pool", f"special_{label}", pool_ties, (Pooled(size, kernel, p), [NAN, INF, -INF, 1]))
    for label, sizes in GROUPED.items():
        for how in ("plain", "affine"):
            yield Case("group_norm", f"{label}_{how}", grouped, (*sizes, how), terms=sizes[1] * sizes[2] // sizes[3])
            yield Case("group_norm_grad", f"{label}_{how}", grouped_grad, (*sizes, how == "affine"),
                       terms=sizes[0] * sizes[1] * sizes[2])
    for label in ("instance", "large"):
        yield Case("group_norm", f"{label}_far", grouped, (*GROUPED[label], "far"), (np.float64,), terms=999)
