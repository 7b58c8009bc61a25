"""Cases of the copies and of indexing, on every dtype there is."""

from collections.abc import Iterator

import numpy as np

from .case import COPIED, INF, NAN, Built, Case, Draw

Walk = tuple[int, tuple[int, ...], tuple[int, ...], int]

#: Length of the flat array, shape, strides, offset.
WALKS: dict[str, Walk] = {
    "contiguous": (24, (2, 3, 4), (12, 4, 1), 0),
    "scalar": (7, (), (), 4),
    "one": (1, (1,), (1,), 0),
    "axes_of_one": (5, (1, 3, 1), (1000, 2, -1000), 0),
    "transpose": (7 * 13, (13, 7), (1, 13), 0),
    "channels_first": (2 * 3 * 5 * 17, (2, 17, 3, 5), (255, 1, 85, 17), 0),
    "transpose_in_tiles": (2 * 67 * 35, (2, 67, 35), (67 * 35, 1, 67), 0),
    "slice": (60, (3, 4), (20, 3), 5),
    "channel_slice": (5 * 7 * 17, (5, 7, 3), (119, 17, 1), 2),
    "flip": (13, (13,), (-1,), 12),
    "flip_both": (35, (5, 7), (-7, -1), 34),
    "diagonal": (25, (5,), (6,), 0),
    "many_axes": (1 << 7, (2,) * 7, (1, 2, 4, 8, 16, 32, 64), 0),
    "empty": (10, (3, 0, 2), (2, 2, 1), 4),
    "empty_of_empty": (0, (0,), (1,), 0),
    "large_rows": (400 * 110, (350, 100), (110, 1), 205),
    "large_transpose": (211 * 173, (173, 211), (1, 173), 0),
}
#: Walks that read a place more than once: writing along them would mean nothing.
READ_ONLY: dict[str, Walk] = {
    "expand": (3, (4, 3, 5), (0, 1, 0), 0),
    "expand_scalar": (1, (7, 13), (0, 0), 0),
    "overlap": (9, (7, 3), (1, 1), 0),
    "large_expand": (400, (100, 400), (0, 1), 0),
}

#: O, D, I and how many are taken, some of them more than once.
TAKES = {
    "one": (1, 1, 1, 1), "primes": (3, 5, 7, 11), "inner_one": (2, 13, 1, 20), "one_to_choose": (5, 1, 17, 3),
    "rows": (1, 7, 33, 5), "take_none": (3, 5, 7, 0), "no_outer": (0, 3, 4, 2), "no_inner": (3, 4, 0, 2),
    "none_of_none": (2, 0, 3, 0), "long_columns": (2, 5, 3, 331), "fours": (3, 5, 8, 7), "large": (3, 50, 40, 401),
    "large_rows": (1, 1000, 65, 701),
    "large_sum": (1, 2, 1, 33013),
}
#: O, D, I.
PICKS = {
    "one": (1, 1, 1), "primes": (3, 5, 7), "inner_one": (17, 13, 1), "one_to_choose": (5, 1, 17), "no_outer": (0, 3, 4),
    "no_inner": (3, 4, 0), "large": (601, 7, 61), "large_inner_one": (33013, 10, 1),
}
#: O, D, I and M.
GATHERS = {
    "one": (1, 1, 1, 1), "primes": (3, 5, 7, 11), "inner_one": (5, 13, 1, 20), "one_to_choose": (5, 1, 17, 3),
    "take_none": (3, 5, 7, 0), "no_outer": (0, 3, 4, 2), "no_inner": (3, 4, 0, 2), "block_and_more": (2, 3, 67, 5),
    "long_columns": (2, 5, 3, 331), "large": (3, 50, 40, 401), "large_rows": (1, 300, 131, 401),
}
#: O, D, I, and the columns of each row of the matrix.
MATRICES: dict[str, tuple[int, int, int, list[list[int]]]] = {
    "one": (1, 1, 1, [[0]]),
    "identity": (2, 3, 5, [[0], [1], [2]]),
    "upsampling": (3, 4, 7, [[0], [0, 1], [1, 2], [2, 3], [3]]),
    "windows": (2, 11, 3, [[0, 1, 2, 3], [3, 4, 5], [5, 6, 7, 8, 9, 10]]),
    "empty_rows": (2, 4, 3, [[], [3, 0], []]),
    "column_twice": (2, 4, 3, [[1, 1, 2]]),
    "inner_one": (17, 9, 1, [[0, 1, 2], [2, 3, 4], [8]]),
    "fours": (2, 5, 8, [[0, 4], [], [1, 2, 3]]),
    "no_row": (2, 3, 4, []),
    "no_outer": (0, 3, 4, [[0, 1]]),
    "no_inner": (3, 2, 0, [[0, 1]]),
    "none_of_none": (2, 0, 3, [[], []]),
    "chunk_and_more": (1, 3, 1027, [[0, 1, 2], [1]]),
    "large": (3, 41, 97, [[m // 2, (m + 1) // 2] for m in range(80)]),
    "large_inner_one": (1501, 33, 1, [list(range(max(0, m - 2), min(33, m + 3))) for m in range(33)]),
}


def strided_get(length: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, draw: Draw) -> Built:
    return [draw(length)], {"shape": shape, "strides": strides, "offset": offset}


def strided_set(length: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, draw: Draw) -> Built:
    return [draw(length), draw(int(np.prod(shape)))], {"shape": shape, "strides": strides, "offset": offset}


def fill(shape: tuple[int, ...], value: float, draw: Draw) -> Built:
    return [draw(*shape)], {"value": value}


def take(o: int, d: int, i: int, m: int, draw: Draw) -> Built:
    return [draw(o, d, i), draw.index(max(d, 1), m)], {}


def take_grad(o: int, d: int, i: int, m: int, draw: Draw) -> Built:
    return [draw(o, m, i), draw.index(max(d, 1), m)], {"length": d}


def pick(o: int, d: int, i: int, draw: Draw) -> Built:
    return [draw(o, d, i), draw.index(d, o, i)], {}


def pick_grad(o: int, d: int, i: int, draw: Draw) -> Built:
    return [draw(o, i), draw.index(d, o, i)], {"length": d}


def gather(o: int, d: int, i: int, m: int, draw: Draw) -> Built:
    return [draw(o, d, i), draw.index(d, o, m, i)], {}


def scatter(o: int, d: int, i: int, m: int, add: bool, draw: Draw) -> Built:
    return [draw(o, m, i), draw.index(d, o, m, i)], {"length": d, "add": add}


def csr_matmul(o: int, d: int, i: int, rows: list[list[int]], draw: Draw) -> Built:
    start = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    index = np.array([column for row in rows for column in row], np.int64)
    return [draw(o, d, i), start, index, draw(len(index))], {}


def cases() -> Iterator[Case]:
    for label, walk in (WALKS | READ_ONLY).items():
        dtypes = COPIED if not label.startswith("large") else (np.float32, np.float64, np.bool_)  # one of each width
        yield Case("strided_get", label, strided_get, walk, dtypes)
        if label in WALKS:
            yield Case("strided_set", label, strided_set, walk, dtypes)
    for label, shape in {"scalar": (), "one": (1,), "empty": (3, 0), "primes": (3, 5, 17), "large": (401, 101)}.items():
        yield Case("fill", label, fill, (shape, 1), COPIED)
    for label, value in {"fraction": 0.1, "nan": NAN, "minus_infinity": -INF}.items():
        yield Case("fill", label, fill, ((7,), value))
    yield Case("fill", "wide", fill, ((7,), 2**53 + 1), (np.int64,))
    for label, sizes in TAKES.items():
        yield Case("take", label, take, sizes, COPIED)
        yield Case("take_grad", label, take_grad, sizes, terms=sizes[3])
    for label, sizes3 in PICKS.items():
        yield Case("pick", label, pick, sizes3, COPIED)
        yield Case("pick_grad", label, pick_grad, sizes3)
    for label, sizes in GATHERS.items():
        yield Case("gather", label, gather, sizes, COPIED)
        yield Case("scatter", f"{label}_last", scatter, (*sizes, False))
        yield Case("scatter", f"{label}_sum", scatter, (*sizes, True), terms=max(1, sizes[3]))
    for label, matrix in MATRICES.items():
        yield Case("csr_matmul", label, csr_matmul, matrix, terms=max([1, *map(len, matrix[3])]))
