"""The optimizers' steps: one launch for all parameters of a model.

Most of a model's arrays are small, and a launch for each would take longer than the work. So the kernels take a table,
a row a parameter: the addresses of it, of its gradient and of what the optimizer remembers, how many elements they
have, and the number of the first block that works on them. A block takes CHUNK neighbouring elements of one row, which
it finds by bisection; its threads read neighbouring addresses, each thread several, so that many reads are under way at
once. Gradients are made anew in each step, but lie where those of the step before lay (memory.py): the table is moved
to the device once. The arithmetic is the processor's, in the same order.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cuda, types, uint32, uint64
from numba.cuda.extending import intrinsic

from .compiler import THREADS, Variant, kernel
from .define import device
from .launcher import cover, launch
from .memory import DeviceArray

EACH = 4  # elements of a thread
CHUNK = EACH * THREADS

#: A row of the table: up to five addresses, the number of elements, the first block.
COUNT, FIRST_BLOCK, ROW = 5, 6, 7

GLOBAL_MEMORY = 1  # the number of this space of addresses

#: A parameter, its gradient, and what else a step takes of it: arrays, or None.
Row = tuple[Any, ...]


@intrinsic
def pointer(typing_context, address, real):
    """What a pointer to numbers of type `real` at this address of global memory would be."""
    def generate(context, builder, signature, values):
        element = context.get_value_type(signature.return_type.dtype)
        there = builder.inttoptr(values[0], ir.PointerType(element, GLOBAL_MEMORY))
        return builder.addrspacecast(there, ir.PointerType(element))
    return types.CPointer(real.instance_type)(types.uint64, real), generate


@device
def find(table: Any, rows: Any) -> Any:
    """Where this block's row of the table starts, this thread's first element, and how many the row has."""
    block, low, high = cuda.blockIdx.x, uint32(0), uint32(rows)
    while uint32(high - low) > 1:
        middle = uint32(uint32(low + high) >> 1)
        if table[uint32(middle * ROW + FIRST_BLOCK)] <= uint64(block):
            low = middle
        else:
            high = middle
    row = uint32(low * ROW)
    first = uint32((block - uint32(table[uint32(row + FIRST_BLOCK)])) * CHUNK + cuda.threadIdx.x)
    return row, first, uint32(table[uint32(row + COUNT)])


def _rows(*columns: Any) -> list[Row]:
    """columns: for each argument of a kernel its array, or None, or a list with one for each parameter."""
    rows = list(zip(*columns, strict=True)) if isinstance(columns[0], list) else [columns]
    if len({row[0].dtype for row in rows}) > 1:
        raise TypeError("an optimizer's step takes parameters of one dtype at a time")
    return [row for row in rows if row[0].size]


def _run(rows: list[Row], variant: Variant, *params: Any) -> None:
    """One launch for all rows, or one for each where parameters share memory: those are moved in turn, as they come."""
    together = [rows] if _are_apart([row[0] for row in rows]) else [[row] for row in rows]
    for some in together:
        table, blocks = np.zeros((len(some), ROW), np.uint64), 0
        for line, row in zip(table, some, strict=True):
            line[:len(row)] = [0 if array is None else array.address for array in row]
            line[COUNT], line[FIRST_BLOCK] = row[0].size, blocks
            blocks += cover(row[0].size, CHUNK)
        if some:
            launch(variant, blocks, some[0][0].device.constant(table), len(some), *params)


def _are_apart(arrays: list[DeviceArray]) -> bool:
    """Whether no two arrays share memory."""
    return all(a.address + a.nbytes <= b.address for a, b in pairwise(sorted(arrays, key=lambda array: array.address)))


# ----------------------------------------------------------------------------------------------------------- SGD


@kernel("table: u64*, rows: u32, lr: real, momentum: real, rest: real, decay: real, nesterov: u32, first: u32",
        variants=tuple((dtype, velocity) for dtype in (np.float32, np.float64) for velocity in (False, True)))
def sgd(real, has_velocity):
    """rest: 1 - dampening. The first step finds no velocity to read."""
    def sgd(table, rows, lr, momentum, rest, decay, nesterov, first):
        row, i, count = find(table, rows)
        p, g = pointer(table[row], real), pointer(table[uint32(row + 1)], real)
        v = pointer(table[uint32(row + 2)], real)
        for _ in range(EACH):
            if i < count:
                gradient = g[i] + decay * p[i]
                if has_velocity:
                    velocity = gradient if first else momentum * v[i] + rest * gradient
                    v[i] = velocity
                    gradient = gradient + momentum * velocity if nesterov else velocity
                p[i] -= lr * gradient
            i = uint32(i + THREADS)
    return sgd


def sgd_step(p: Any, g: Any, velocity: Any, lr: float, momentum: float, dampening: float, weight_decay: float,
             nesterov: bool, first: bool) -> None:
    rows = _rows(p, g, velocity)
    if rows:
        variant = sgd(rows[0][0].dtype, rows[0][2] is not None)
        _run(rows, variant, lr, momentum, 1 - dampening, weight_decay, nesterov, first)


# ---------------------------------------------------------------------------------------------------------- Adam


@kernel("table: u64*, rows: u32, size: real, beta1: real, rest1: real, beta2: real, rest2: real, unbias: real, "
        "eps: real, shrink: real, decay: real")
def adam(real):
    """size: lr / (1 - beta1^step). rest: 1 - beta. unbias: 1 / sqrt(1 - beta2^step). shrink: what decoupled decay
    leaves of p."""
    def adam(table, rows, size, beta1, rest1, beta2, rest2, unbias, eps, shrink, decay):
        row, i, count = find(table, rows)
        p, g = pointer(table[row], real), pointer(table[uint32(row + 1)], real)
        m, v = pointer(table[uint32(row + 2)], real), pointer(table[uint32(row + 3)], real)
        for _ in range(EACH):
            if i < count:
                gradient = g[i] + decay * p[i]
                mean = beta1 * m[i] + rest1 * gradient
                square = beta2 * v[i] + rest2 * (gradient * gradient)
                m[i] = mean
                v[i] = square
                p[i] = shrink * p[i] - size * (mean / (math.sqrt(square) * unbias + eps))
            i = uint32(i + THREADS)
    return adam


def adam_step(p: Any, g: Any, m: Any, v: Any, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float,
              decoupled: bool, step: int) -> None:
    rows = _rows(p, g, m, v)
    shrink, decay = (1 - lr * weight_decay, 0) if decoupled else (1, weight_decay)
    if rows:
        _run(rows, adam(rows[0][0].dtype), lr / (1 - beta1**step), beta1, 1 - beta1, beta2, 1 - beta2,
             1 / math.sqrt(1 - beta2**step), eps, shrink, decay)


# ------------------------------------------------------------------------------------------------------- RMSprop


@kernel("table: u64*, rows: u32, lr: real, alpha: real, rest: real, eps: real, decay: real, momentum: real",
        variants=tuple((dtype, *has) for dtype in (np.float32, np.float64) for has in ((False, False), (True, True))))
def rmsprop(real, has_mean, has_velocity):
    def rmsprop(table, rows, lr, alpha, rest, eps, decay, momentum):
        row, i, count = find(table, rows)
        p, g = pointer(table[row], real), pointer(table[uint32(row + 1)], real)
        square = pointer(table[uint32(row + 2)], real)
        mean, velocity = pointer(table[uint32(row + 3)], real), pointer(table[uint32(row + 4)], real)
        for _ in range(EACH):
            if i < count:
                gradient = g[i] + decay * p[i]
                variance = alpha * square[i] + rest * (gradient * gradient)
                square[i] = variance
                if has_mean:
                    average = alpha * mean[i] + rest * gradient
                    mean[i] = average
                    variance -= average * average
                change = gradient / (math.sqrt(variance) + eps)
                if has_velocity:
                    change += momentum * velocity[i]
                    velocity[i] = change
                p[i] -= lr * change
            i = uint32(i + THREADS)
    return rmsprop


def rmsprop_step(p: Any, g: Any, square: Any, mean: Any, velocity: Any, lr: float, alpha: float, eps: float,
                 weight_decay: float, momentum: float) -> None:
    rows = _rows(p, g, square, mean, velocity)
    if rows:
        variant = rmsprop(rows[0][0].dtype, rows[0][3] is not None, rows[0][4] is not None)
        _run(rows, variant, lr, alpha, 1 - alpha, eps, weight_decay, momentum)


# ------------------------------------------------------------------------------------ Adagrad, running averages


@kernel("table: u64*, rows: u32, lr: real, eps: real, decay: real")
def adagrad(real):
    def adagrad(table, rows, lr, eps, decay):
        row, i, count = find(table, rows)
        p, g = pointer(table[row], real), pointer(table[uint32(row + 1)], real)
        total = pointer(table[uint32(row + 2)], real)
        for _ in range(EACH):
            if i < count:
                gradient = g[i] + decay * p[i]
                square = total[i] + gradient * gradient
                total[i] = square
                p[i] -= lr * (gradient / (math.sqrt(square) + eps))
            i = uint32(i + THREADS)
    return adagrad


def adagrad_step(p: Any, g: Any, total: Any, lr: float, eps: float, weight_decay: float) -> None:
    rows = _rows(p, g, total)
    if rows:
        _run(rows, adagrad(rows[0][0].dtype), lr, eps, weight_decay)


@kernel("table: u64*, rows: u32, rest: real, share: real")
def average(real):
    def average(table, rows, rest, share):
        row, i, count = find(table, rows)
        p, value = pointer(table[row], real), pointer(table[uint32(row + 1)], real)
        for _ in range(EACH):
            if i < count:
                p[i] = rest * p[i] + share * value[i]
            i = uint32(i + THREADS)
    return average


def average_step(p: Any, value: Any, rate: float, scale: float) -> None:
    rows = _rows(p, value)
    if rows:
        _run(rows, average(rows[0][0].dtype), 1 - rate, rate * scale)


LAUNCHES = {"sgd_step": sgd_step, "adam_step": adam_step, "rmsprop_step": rmsprop_step, "adagrad_step": adagrad_step,
            "average_step": average_step}
