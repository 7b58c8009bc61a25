"""Formulas, element by element, on arrays that broadcast against each other.

There is one kernel for each number of inputs; the formula, which it has from the contract, is inlined into it. All of
them do little work on each byte, so what counts is how bytes move: a thread reads four neighbours of each input in one
16-byte load and writes four results in one store, and neighbouring threads take neighbouring fours.

Broadcasting is a matter of strides. Shapes are collapsed to three axes or fewer (outer, middle, columns; axes.py), with
stride 0 where an input repeats. Along the columns an input therefore moves by 1 or by 0, and the two divisions that
find a thread's row are shared by its four elements. Rows whose length isn't a multiple of 4 start at any address, and
are read one number at a time. What has more than three axes even then is rare, and is launched in parts.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numba import uint32

from ..contracts import CONTRACTS, Contract
from .activations import PARAMS, formula
from .axes import Numbers, broadcast, check_size, collapse, contiguous, split
from .compiler import Variant, kernel
from .define import device
from .intrinsics import divide, load4, position, store4
from .launcher import cover, launch
from .memory import DeviceArray

DTYPES = {"f": (np.float32, np.float64), "i": (np.int64,), "b": (np.bool_,)}
EACH = 4  # elements of a thread
P = "p0: real, p1: real, p2: real, p3: real"


def _variants(inputs: int) -> tuple[tuple[Any, ...], ...]:
    """The settings of all formulas of so many inputs."""
    contracts = [contract for contract in CONTRACTS.values() if contract.formula and len(contract.inputs) == inputs]
    return tuple(_settings(contract, dtype) for contract in contracts for kind in contract.kinds
                 for dtype in DTYPES[kind])


def _settings(contract: Contract, dtype: Any) -> tuple[Any, ...]:
    """Its name, and the types of its inputs, of its output and of what it calculates with."""
    def of(kind: str) -> Any:
        return np.dtype(np.bool_ if kind == "b" else dtype)
    arguments = *contract.inputs, *contract.outputs
    return (contract.name, *(of(argument.kind) for argument in arguments), np.dtype(dtype))


@device
def read(x: Any, at: Any, step: Any, whole: Any, left: Any) -> Any:
    """x[at], x[at + step] ...: four of them, or the `left` that there are and then the first again. whole: there are
    four, and `at` is a multiple of 4 if they are neighbours."""
    if step == 0:
        same = x[at]
        return same, same, same, same
    if whole:
        return load4(x, at)
    first = x[at]
    second = x[uint32(at + 1)] if left > 1 else first
    third = x[uint32(at + 2)] if left > 2 else first
    return first, second, third, x[uint32(at + 3)] if left > 3 else first


@device
def write(y: Any, to: Any, whole: Any, left: Any, first: Any, second: Any, third: Any, fourth: Any) -> None:
    """y[to], y[to + 1] ... = the four, or as many as are left."""
    if whole:
        store4(y, to, first, second, third, fourth)
        return
    y[to] = first
    if left > 1:
        y[uint32(to + 1)] = second
    if left > 2:
        y[uint32(to + 2)] = third
    if left > 3:
        y[uint32(to + 3)] = fourth


@kernel(f"x: given*, y: result*, {P}, n: u32", variants=_variants(1))
def unary(name, given, result, real):
    f = formula(name, real)

    def unary(x, y, p0, p1, p2, p3, n):
        i = uint32(position() * 4)
        if i >= n:
            return
        left = uint32(n - i)
        whole = left >= 4
        x0, x1, x2, x3 = read(x, i, 1, whole, left)
        write(y, i, whole, left, result(f(x0, p0, p1, p2, p3)), result(f(x1, p0, p1, p2, p3)),
              result(f(x2, p0, p1, p2, p3)), result(f(x3, p0, p1, p2, p3)))
    return unary


@device
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


@kernel(f"a: first*, b: second*, y: result*, {P}, rows: u32, middle: u32, columns: u32, "
        "a_outer: u32, a_middle: u32, a_step: u32, b_outer: u32, b_middle: u32, b_step: u32", variants=_variants(2))
def binary(name, first, second, result, real):
    f = formula(name, real)

    def binary(a, b, y, p0, p1, p2, p3, rows, middle, columns, a_outer, a_middle, a_step, b_outer, b_middle, b_step):
        outer, inner, column = place(rows, middle, columns)
        row = uint32(outer * middle + inner)
        if row >= rows or column >= columns:
            return
        left = uint32(columns - column)
        whole = left >= 4 and (rows == 1 or columns & 3 == 0)
        a0, a1, a2, a3 = read(a, uint32(outer * a_outer + inner * a_middle + column * a_step), a_step, whole, left)
        b0, b1, b2, b3 = read(b, uint32(outer * b_outer + inner * b_middle + column * b_step), b_step, whole, left)
        write(y, uint32(row * columns + column), whole, left,
              result(f(a0, b0, p0, p1, p2, p3)), result(f(a1, b1, p0, p1, p2, p3)),
              result(f(a2, b2, p0, p1, p2, p3)), result(f(a3, b3, p0, p1, p2, p3)))
    return binary


@kernel(f"a: first*, b: second*, c: third*, y: result*, {P}, rows: u32, middle: u32, columns: u32, "
        "a_outer: u32, a_middle: u32, a_step: u32, b_outer: u32, b_middle: u32, b_step: u32, "
        "c_outer: u32, c_middle: u32, c_step: u32", variants=_variants(3))
def ternary(name, first, second, third, result, real):
    f = formula(name, real)

    def ternary(a, b, c, y, p0, p1, p2, p3, rows, middle, columns, a_outer, a_middle, a_step, b_outer, b_middle, b_step,
                c_outer, c_middle, c_step):
        outer, inner, column = place(rows, middle, columns)
        row = uint32(outer * middle + inner)
        if row >= rows or column >= columns:
            return
        left = uint32(columns - column)
        whole = left >= 4 and (rows == 1 or columns & 3 == 0)
        a0, a1, a2, a3 = read(a, uint32(outer * a_outer + inner * a_middle + column * a_step), a_step, whole, left)
        b0, b1, b2, b3 = read(b, uint32(outer * b_outer + inner * b_middle + column * b_step), b_step, whole, left)
        c0, c1, c2, c3 = read(c, uint32(outer * c_outer + inner * c_middle + column * c_step), c_step, whole, left)
        write(y, uint32(row * columns + column), whole, left,
              result(f(a0, b0, c0, p0, p1, p2, p3)), result(f(a1, b1, c1, p0, p1, p2, p3)),
              result(f(a2, b2, c2, p0, p1, p2, p3)), result(f(a3, b3, c3, p0, p1, p2, p3)))
    return ternary


# ------------------------------------------------------------------------------------------------- launch rules


def _rule(contract: Contract) -> Callable[..., None]:
    count = len(contract.inputs)
    lead = [argument.kind for argument in contract.inputs].index("t")
    kernel = (unary, binary, ternary)[count - 1]
    dtypes = [np.dtype(dtype) for kind in contract.kinds for dtype in DTYPES[kind]]
    variants = {dtype: kernel(*_settings(contract, dtype)) for dtype in dtypes}
    padding = [0] * (PARAMS - len(contract.params))

    def run(*arguments: Any) -> None:
        inputs, y, params = arguments[:count], arguments[count], [*arguments[count + 1:], *padding]
        dtype = inputs[lead].dtype
        if contract.params and dtype == np.float32:
            with np.errstate(over="ignore"):  # a param that is too large for float32 is infinite there
                params = [float(np.float32(p)) for p in params]
        if count == 1:
            launch(variants[dtype], cover(cover(y.size, EACH)), inputs[0], y, *params, y.size)
        else:
            _launch_in_parts(variants[dtype], inputs, y, params)

    run.__name__ = contract.name
    return run


def _launch_in_parts(variant: Variant, inputs: tuple[DeviceArray, ...], y: DeviceArray, params: list[Any]) -> None:
    check_size(variant, y)
    for blocks, starts, walk in _parts(y.shape, *(x.shape for x in inputs)):
        part, *parts = (x.after(start) if start else x for x, start in zip((y, *inputs), starts, strict=True))
        launch(variant, blocks, *parts, part, *params, *walk)


@lru_cache(maxsize=4096)  # a network's shapes come again in every step
def _parts(*shapes: Numbers) -> list[tuple[int, list[int], Numbers]]:
    """Of arrays of these shapes, the result's first: for each launch its blocks, where the arrays start, and the sizes
    and steps that the kernel takes."""
    y = shapes[0]
    if 0 in y:
        return []
    sizes, strides = collapse(y, contiguous(y), *(broadcast(shape, y) for shape in shapes[1:]))
    return [(cover(outer * middle * cover(columns, EACH)), starts,
             (outer * middle, middle, columns, *chain.from_iterable(steps[1:])))
            for (outer, middle, columns), steps, starts in split(sizes, strides, 3)]


LAUNCHES = {name: _rule(contract) for name, contract in CONTRACTS.items() if contract.formula}
