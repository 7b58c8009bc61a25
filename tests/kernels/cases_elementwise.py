"""Cases of the elementwise kernels, made from their contracts: a new formula needs a line here only for its params."""

from collections.abc import Iterator

import numpy as np

from minicnn.kernels.contracts import CONTRACTS

from .case import FLOATS, INF, NAN, Built, Case, Draw

DTYPES = {"f": FLOATS, "i": (np.int64,), "b": (np.bool_,)}

PARAMS: dict[str, dict[str, float]] = {
    "rstd": {"eps": 1e-3},
    "clip": {"low": -1.5, "high": 2.0},
    "leaky_relu": {"slope": 0.01}, "leaky_relu_grad": {"slope": 0.01},
    "elu": {"alpha": 1.3}, "elu_grad": {"alpha": 1.3},
    "softplus": {"beta": 2.0, "threshold": 5.0}, "softplus_grad": {"beta": 2.0, "threshold": 5.0},
}

Shapes = tuple[tuple[int, ...], ...]

#: Shapes of up to three inputs, for every kernel: each way in which a row of the one meets a row of the other.
ROWS: dict[str, Shapes] = {
    "primes": ((13, 17), (13, 17), (13, 17)),
    "scalar_first": ((), (5, 7), (5, 7)),
    "scalar_last": ((5, 7), (), ()),
    "outer": ((7, 1), (1, 13), (7, 13)),
    "empty": ((0,), (0,), (0,)),
    "large": ((307, 131), (307, 131), (307, 131)),
}
#: Further shapes for one kernel of each number of inputs: the walk over the rows is the same for all.
WALKS: dict[str, Shapes] = {
    "scalars": ((), (), ()),
    "one": ((1,), (1,), (1,)),
    "vector_wide": ((64,), (64,), (64,)),
    "empty_by_broadcasting": ((3, 0, 1), (1, 1, 2), (0, 1)),
    "axes_of_one": ((5, 7), (1,), (1, 1)),
    "channels": ((3, 5, 33), (33,), (5, 33)),
    "per_picture": ((2, 3, 5, 7), (2, 1, 1, 7), (2, 1, 1, 1)),
    "inner_one": ((3, 5, 1), (3, 5, 2), (1, 5, 2)),
    "many_axes": ((2, 1, 3, 1, 2, 1, 3), (1, 2, 3, 2, 1, 2, 1), (2, 1, 1, 3)),
    "large_rows": ((307, 1), (307, 131), (131,)),
    "large_column": ((307, 131), (307, 1), ()),
    "large_row": ((40009,), (1,), (40009,)),
}
WALKERS = ("exp", "add", "lt", "where", "bce_logits_grad")

#: Where formulas branch, saturate or break. A kernel of two inputs gets all pairs of them, one of three all triples.
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 3.0, -3.0, 6.0, 20.0, -20.0, 40.0, -40.0, 1e-3, -1e-10,
           INF, -INF, NAN]
#: So far out that exp overflows or vanishes, in float32 or in both; and halves, which round to even.
FAR = [80.0, -80.0, 88.0, -88.0, 95.0, -95.0, 104.5, -104.5, 300.0, -300.0, 709.0, -709.0, 1e4, -1e4, 7.5, -8.5]
#: As floats, neighbours among these integers would be equal.
WIDE = [0, 1, -1, 2**53, 2**53 + 1, -2**53, -2**53 - 1, 2**61 + 1, -2**61 - 1]


def shaped(name: str, shapes: Shapes, draw: Draw) -> Built:
    inputs = [draw.condition(*shape) if argument.kind == "b" else draw(*shape, spread=2.0)
              for argument, shape in zip(CONTRACTS[name].inputs, shapes, strict=True)]
    return inputs, PARAMS.get(name, {})


def combined(name: str, values: list[float], params: dict[str, float], draw: Draw) -> Built:
    """Every combination of the values, by broadcasting.

    A gradient stays finite: times a derivative that has rounded to 0, infinity is NaN, but times one that has not yet
    it is infinity, and where that happens is no property of a kernel.
    """
    inputs, arguments = [], CONTRACTS[name].inputs
    for place, argument in enumerate(arguments):
        array = np.array([False, True]) if argument.kind == "b" else draw.array(values)
        if argument.name == "g":
            array = array[~np.isinf(array)]
        inputs.append(array.reshape(-1, *[1] * (len(arguments) - 1 - place)))
    return inputs, params


def shapes_of(name: str) -> dict[str, Shapes]:
    """The shapes to try a kernel with, cut to the number of its inputs; no two the same."""
    count = len(CONTRACTS[name].inputs)
    labels = {shapes[:count]: label for label, shapes in (ROWS | (WALKS if name in WALKERS else {})).items()}
    return {label: shapes for shapes, label in labels.items()}


def cases() -> Iterator[Case]:
    for name, contract in CONTRACTS.items():
        if not contract.formula:
            continue
        for label, shapes in shapes_of(name).items():
            for kind in contract.kinds:
                yield Case(name, label, shaped, (name, shapes), DTYPES[kind])
        params = PARAMS.get(name, {})
        if "f" in contract.kinds:
            yield Case(name, "special", combined, (name, SPECIAL, params))
        if "f" in contract.kinds and len(contract.inputs) == 1:
            yield Case(name, "far", combined, (name, FAR, params))
        if "i" in contract.kinds and name != "mul":
            yield Case(name, "wide", combined, (name, WIDE, params), DTYPES["i"])
    yield Case("clip", "one_sided", combined, ("clip", SPECIAL, {"low": -INF, "high": 2.0}))
    yield Case("clip", "to_a_point", combined, ("clip", SPECIAL, {"low": 1.0, "high": 1.0}))
