"""Formulas, element by element, on arrays that broadcast against each other.

There is one kernel for each number of inputs; the formula, which it has from the contract, is inlined into it. All of them
do little work on each byte, so what counts is how bytes move: a thread reads four neighbours of each input in one
16-byte load and writes four results in one store, and neighbouring threads take neighbouring fours.

Broadcasting is a matter of strides. Shapes are collapsed to three axes or fewer (outer, middle, columns; axes.py), with
stride 0 where an input repeats. Along the columns an input therefore moves by 1 or by 0, and the two divisions that find
a thread's row are shared by its four elements. Rows whose length isn't a multiple of 4 start at any address, and are read
one number at a time. What has more than three axes even then is rare, and is launched in parts.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
from numba import njit, uint32

from ..contracts import CONTRACTS as ALL
from ..contracts import Contract
from .activations import PARAMS, formula
from .axes import broadcast, check_size, collapse, contiguous, split
from .compiler import Variant, kernel
from .intrinsics import divide, load4, position, store4
from .launcher import cover, launch
from .memory import DeviceArray

DTYPES = {"f": (np.float32, np.float64), "i": (np.int64,), "b": (np.bool_,)}
EACH = 4  # elements of a thread
P = "p0: real, p1: real, p2: real, p3: real"


def _variants(inputs: int) -> tuple[tuple[Any, ...], ...]:
    """The settings of all formulas of so many inputs."""
    return tuple(_settings(contract, dtype) for contract in ALL.values() if contract.formula and len(contract.inputs) == inputs
                 for kind in contract.kinds for dtype in DTYPES[kind])


def _settings(contract: Contract, dtype: Any) -> tuple[Any, ...]:
    """Its name, and the types of its inputs, of its output and of what it calculates with."""
    def of(kind: str) -> Any:
        return np.dtype(np.bool_ if kind == "b" else dtype)
    return (contract.name, *(of(argument.kind) for argument in contract.inputs), of(contract.outputs[0].kind), np.dtype(dtype))


@njit(inline="always")
def four(x: Any, at: Any, step: Any) -> Any:
    """x[at .. at + 3], or x[at] four times where the step is 0; at must then be a multiple of 4."""
    if step == 0:
        value = x[at]
        return value, value, value, value
    return load4(x, at)


@kernel(f"x: given*, y: result*, {P}, n: u32", variants=_variants(1))
def unary(name, given, result, real):
    f = formula(name, real)

    def unary(x, y, p0, p1, p2, p3, n):
        i = uint32(position() * 4)
        if i >= n:
            return
        if uint32(n - i) >= 4:
            x0, x1, x2, x3 = load4(x, i)
            store4(y, i, result(f(x0, p0, p1, p2, p3)), result(f(x1, p0, p1, p2, p3)),
                   result(f(x2, p0, p1, p2, p3)), result(f(x3, p0, p1, p2, p3)))
        else:
            while i < n:
                y[i] = result(f(x[i], p0, p1, p2, p3))
                i = uint32(i + 1)
    return unary


@njit(inline="always")
def place(rows: Any, middle: Any, columns: Any) -> Any:
    """Which elements are this thread's: the index along the outer axis, along the middle one, and of the first column.
    Beyond the last row the first of them is too large."""
    item = position()
    if rows == 1:  # the arrays are one long row: no need to divide
        return uint32(0), uint32(0), uint32(item * 4)
    groups = uint32(uint32(columns + 3) >> 2)
    row = divide(item, groups)
    outer = divide(row, middle)
    return outer, uint32(row - outer * middle), uint32((item - row * groups) * 4)


@kernel(f"a: first*, b: second*, y: result*, {P}, rows: u32, middle: u32, columns: u32, a_outer: u32, a_middle: u32, a_step: u32, "
        "b_outer: u32, b_middle: u32, b_step: u32", variants=_variants(2))
def binary(name, first, second, result, real):
    f = formula(name, real)

    def binary(a, b, y, p0, p1, p2, p3, rows, middle, columns, a_outer, a_middle, a_step, b_outer, b_middle, b_step):
        outer, inner, column = place(rows, middle, columns)
        row = uint32(outer * middle + inner)
        if row >= rows or column >= columns:
            return
        to = uint32(row * columns + column)
        at = uint32(outer * a_outer + inner * a_middle + column * a_step)
        bt = uint32(outer * b_outer + inner * b_middle + column * b_step)
        if uint32(columns - column) >= 4 and (rows == 1 or columns & 3 == 0):
            a0, a1, a2, a3 = four(a, at, a_step)
            b0, b1, b2, b3 = four(b, bt, b_step)
            store4(y, to, result(f(a0, b0, p0, p1, p2, p3)), result(f(a1, b1, p0, p1, p2, p3)),
                   result(f(a2, b2, p0, p1, p2, p3)), result(f(a3, b3, p0, p1, p2, p3)))
        else:
            end = uint32(to + min(uint32(columns - column), uint32(4)))
            while to < end:
                y[to] = result(f(a[at], b[bt], p0, p1, p2, p3))
                to, at, bt = uint32(to + 1), uint32(at + a_step), uint32(bt + b_step)
    return binary


@kernel(f"a: first*, b: second*, c: third*, y: result*, {P}, rows: u32, middle: u32, columns: u32, a_outer: u32, a_middle: u32, "
        "a_step: u32, b_outer: u32, b_middle: u32, b_step: u32, c_outer: u32, c_middle: u32, c_step: u32", variants=_variants(3))
def ternary(name, first, second, third, result, real):
    f = formula(name, real)

    def ternary(a, b, c, y, p0, p1, p2, p3, rows, middle, columns, a_outer, a_middle, a_step, b_outer, b_middle, b_step,
                c_outer, c_middle, c_step):
        outer, inner, column = place(rows, middle, columns)
        row = uint32(outer * middle + inner)
        if row >= rows or column >= columns:
            return
        to = uint32(row * columns + column)
        at = uint32(outer * a_outer + inner * a_middle + column * a_step)
        bt = uint32(outer * b_outer + inner * b_middle + column * b_step)
        ct = uint32(outer * c_outer + inner * c_middle + column * c_step)
        if uint32(columns - column) >= 4 and (rows == 1 or columns & 3 == 0):
            a0, a1, a2, a3 = four(a, at, a_step)
            b0, b1, b2, b3 = four(b, bt, b_step)
            c0, c1, c2, c3 = four(c, ct, c_step)
            store4(y, to, result(f(a0, b0, c0, p0, p1, p2, p3)), result(f(a1, b1, c1, p0, p1, p2, p3)),
                   result(f(a2, b2, c2, p0, p1, p2, p3)), result(f(a3, b3, c3, p0, p1, p2, p3)))
        else:
            end = uint32(to + min(uint32(columns - column), uint32(4)))
            while to < end:
                y[to] = result(f(a[at], b[bt], c[ct], p0, p1, p2, p3))
                to, at, bt, ct = uint32(to + 1), uint32(at + a_step), uint32(bt + b_step), uint32(ct + c_step)
    return ternary


# ------------------------------------------------------------------------------------------------- launch rules


def _rule(contract: Contract) -> Callable[..., None]:
    count = len(contract.inputs)

    def run(*arguments: Any) -> None:
        inputs, y = arguments[:count], arguments[count]
        dtype = next(x.dtype for x, argument in zip(inputs, contract.inputs, strict=True) if argument.kind == "t")
        settings = _settings(contract, dtype)
        with np.errstate(over="ignore"):  # a param too large for float32 is infinite there
            params = [dtype.type(p).item() for p in arguments[count + 1:]]
        params += [0] * (PARAMS - len(params))
        if count == 1:
            launch(unary(*settings), cover(cover(y.size, EACH)), inputs[0], y, *params, y.size)
        elif y.size:
            _launch_in_parts((binary if count == 2 else ternary)(*settings), inputs, y, params)

    run.__name__ = contract.name
    return run


def _launch_in_parts(variant: Variant, inputs: tuple[DeviceArray, ...], y: DeviceArray, params: list[Any]) -> None:
    check_size(variant, y)
    sizes, strides = collapse(y.shape, contiguous(y.shape), *(broadcast(x.shape, y.shape) for x in inputs))
    for (outer, middle, columns), steps, starts in split(sizes, strides, 3):
        part, *parts = (x.after(start) if start else x for x, start in zip((y, *inputs), starts, strict=True))
        blocks = cover(outer * middle * cover(columns, EACH))
        launch(variant, blocks, *parts, part, *params, outer * middle, middle, columns, *chain.from_iterable(steps[1:]))


CONTRACTS = {name: _rule(contract) for name, contract in ALL.items() if contract.formula}
