"""Cases of the reductions and of softmax."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .case import FLOATS, INF, NAN, Built, Case, Draw, chosen, given, ordinary

#: O, R, I.
SHAPES = {
    "one": (1, 1, 1), "one_of_one": (3, 1, 5), "vector": (1, 7, 1), "primes": (5, 13, 17), "rows": (7, 33, 1),
    "columns": (1, 97, 33), "two": (2, 2, 3), "vector_wide": (3, 5, 16), "long": (2, 1009, 1),
    "long_columns": (1, 1009, 3), "columns_in_parts": (1, 521, 37), "row_in_parts": (1, 8461, 1),
    "no_outer": (0, 5, 3), "no_inner": (3, 5, 0), "large_rows": (701, 67, 1),
    "large_columns": (1, 1501, 33), "large": (23, 41, 47), "large_inner": (2, 5, 6007), "large_vector": (1, 33013, 1),
}
OF_NOTHING = {"of_nothing": (3, 0, 5)}
TIES = ("primes", "rows", "columns", "long", "vector_wide", "columns_in_parts", "large_rows", "large_columns")
#: Values that decide a maximum: NaN wins, and is compared with infinities of both signs.
IGNORED = -100
EXTREMES = [0, 1, -1, INF, -INF, NAN]


def summands(o: int, r: int, i: int, scale: float, draw: Draw) -> Built:
    return ordinary(o, r, i, draw)[0], {"scale": scale}


def chosen_summands(values: list[float], shape: tuple[int, ...], draw: Draw) -> Built:
    return chosen(values, shape, draw)[0], {"scale": 1.0}


def given_summands(values: list[Any], draw: Draw) -> Built:
    return given(values, draw)[0], {"scale": 1.0}


def reduce_sum_grad(o: int, r: int, i: int, draw: Draw) -> Built:
    return [draw(o, i)], {"length": r, "scale": 0.3}


def softmax(o: int, d: int, i: int, draw: Draw) -> Built:
    return [draw(o, d, i, spread=3.0)], {}


def softmax_special(draw: Draw) -> Built:
    x = draw(9, 5, 3)
    x[0, 2] = -INF  # a masked place
    x[1, :, 1], x[2, 0], x[3, 4] = -INF, INF, NAN  # rows without a meaning
    x[4] = 0
    x[5] += draw.array(1e4)  # exp would overflow
    x[6] -= draw.array(1e4)  # or vanish
    x[7] *= draw.array(100)
    return [x], {}


def softmax_grad(o: int, d: int, i: int, draw: Draw) -> Built:
    return [draw(o, d, i), draw.between(0, 1, o, d, i)], {}


def log_softmax_grad(o: int, d: int, i: int, draw: Draw) -> Built:
    return [draw(o, d, i), draw.between(-3, 0, o, d, i)], {}


def targets(rows: int, classes: int, draw: Draw) -> np.ndarray:
    """Every third is to be ignored, the last class comes up too."""
    index = np.arange(rows) * 7 % max(classes, 1)
    index[::3] = IGNORED
    return index


def cross_entropy(rows: int, classes: int, draw: Draw) -> Built:
    return [draw(rows, classes, spread=3.0), targets(rows, classes, draw)], {"ignore": IGNORED}


def cross_entropy_grad(rows: int, classes: int, draw: Draw) -> Built:
    return [draw(rows), draw.between(-3, 0, rows, classes), targets(rows, classes, draw)], {"ignore": IGNORED}


def cases() -> Iterator[Case]:
    summed = (*FLOATS, np.int64)
    for label, shape in (SHAPES | OF_NOTHING).items():
        yield Case("reduce_sum", label, summands, (*shape, 1.0), summed, terms=shape[1])
        yield Case("reduce_sum", f"{label}_scaled", summands, (*shape, 0.3), terms=shape[1])
        yield Case("reduce_sum_grad", label, reduce_sum_grad, shape)
        yield Case("softmax", label, softmax, shape, terms=shape[1])
        yield Case("softmax_grad", label, softmax_grad, shape, terms=shape[1])
        yield Case("log_softmax", label, softmax, shape, terms=shape[1])
        yield Case("log_softmax_grad", label, log_softmax_grad, shape, terms=shape[1])
    for label, shape in {"one": (1, 1), "rows": (7, 10), "primes": (13, 17), "large": (701, 67), "wide": (5, 1009),
                         "empty": (0, 5)}.items():  # fmt: skip
        yield Case("cross_entropy", label, cross_entropy, shape, terms=shape[1])
        yield Case("cross_entropy_grad", label, cross_entropy_grad, shape, terms=shape[1])
    yield Case("reduce_sum", "special", chosen_summands, ([1, 2, INF, NAN], (13, 3, 17)))
    yield Case("reduce_sum", "infinities_cancel", chosen_summands, ([1, INF, -INF], (7, 3, 5)))
    yield Case("reduce_sum", "wide", given_summands, ([[[2**53], [1], [2**53 + 1], [-2**60]]],), (np.int64,))
    yield Case("softmax", "special", softmax_special, terms=5)
    yield Case("log_softmax", "special", softmax_special, terms=5)
    for name in ("reduce_max", "reduce_min"):
        for label, shape in SHAPES.items():
            yield Case(name, label, ordinary, shape)
        for label in TIES:
            yield Case(name, f"ties_{label}", chosen, ([-1, 0, 1, 2], SHAPES[label]))
            yield Case(name, f"special_{label}", chosen, (EXTREMES, SHAPES[label]))
        yield Case(name, "special_short", chosen, (EXTREMES, (13, 2, 17)))
        yield Case(name, "nan_first_and_last", given, ([[[1], [2], [3], [NAN]], [[NAN], [2], [NAN], [1]]],))
        yield Case(name, "infinite", given, ([[[-INF]] * 5, [[INF]] * 5, [[-INF]] * 4 + [[0.0]]],))
