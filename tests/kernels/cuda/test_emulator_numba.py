"""What Numba's compiler makes of small kernels, for each kind of GPU, run by the emulator and compared with NumPy."""

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba.cuda", reason="the GPU's kernels need numba-cuda")

from numba import cuda, float32, float64, types, uint32  # noqa: E402

from minicnn.kernels.cuda import emulator  # noqa: E402

from .emulating import compiled, execute  # noqa: E402

TILE = 8
CAPABILITIES = [(7, 0), (8, 0), (9, 0)]
REALS = {np.float32: (types.float32, 2e-6), np.float64: (types.float64, 1e-14)}


def make_matmul(real: Any) -> Any:
    def matmul(a, b, c, m, n, k):
        """c = a @ b by tiles in shared memory; (m, k) by (k, n)."""
        rows = cuda.shared.array((TILE, TILE), real)
        columns = cuda.shared.array((TILE, TILE), real)
        x, y = uint32(cuda.threadIdx.x), uint32(cuda.threadIdx.y)
        row = uint32(cuda.blockIdx.y * uint32(TILE) + y)
        column = uint32(cuda.blockIdx.x * uint32(TILE) + x)
        total, start = real(0), uint32(0)
        while start < k:
            rows[y, x] = a[row * k + start + x] if row < m and start + x < k else real(0)
            columns[y, x] = b[(start + y) * n + column] if start + y < k and column < n else real(0)
            cuda.syncthreads()
            for j in range(TILE):
                total += rows[y, j] * columns[j, x]
            cuda.syncthreads()
            start = uint32(start + uint32(TILE))
        if row < m and column < n:
            c[row * n + column] = total

    return matmul


@pytest.mark.parametrize("cc", CAPABILITIES)
@pytest.mark.parametrize("dtype", REALS)
def test_a_matrix_product_by_tiles(cc, dtype):
    real, tolerance = REALS[dtype]
    pointer, size = types.CPointer(real), types.uint32
    ptx = compiled(make_matmul(real), pointer, pointer, pointer, size, size, size, cc=cc)
    rng, (m, n, k) = np.random.default_rng(0), (13, 21, 30)
    a, b = (rng.normal(size=shape).astype(dtype) for shape in ((m, k), (k, n)))
    for options in ({"checked": False, "threads": 2}, {"order": "forward"}, {"order": "reverse"}):
        *_, c = execute(ptx, [a, b, np.zeros((m, n), dtype), m, n, k], (3, 2), (TILE, TILE), **options)
        expected = a.astype(np.float64) @ b
        assert np.abs(c - expected).max() / np.abs(expected).max() < tolerance


def make_functions(real: Any) -> Any:
    def functions(x, y, n):
        i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
        if i < n:
            v = x[i]
            y[i] = math.exp(v)
            y[n + i] = math.log(v * v + real(1))
            y[uint32(2) * n + i] = math.tanh(v)
            y[uint32(3) * n + i] = math.erf(v)
            y[uint32(4) * n + i] = math.sqrt(v * v)
            y[uint32(5) * n + i] = math.expm1(v)
            y[uint32(6) * n + i] = math.log1p(v * v)

    return functions


@pytest.mark.parametrize("dtype", REALS)
def test_the_functions_of_the_gpus_library(dtype):
    """Which are made of fma, ex2, lg2, rcp, bits and conversions: within their documented errors."""
    real, tolerance = REALS[dtype]
    ptx = compiled(make_functions(real), types.CPointer(real), types.CPointer(real), types.uint32)
    x = np.concatenate([np.linspace(-20, 20, 401), [1e-30, -1e-30, 80.0, 1e-5]]).astype(dtype)
    wide = x.astype(np.float64)
    square, more = ((x * x).astype(np.float64), (x * x + dtype(1)).astype(np.float64))  # rounded as the kernel does
    expected = np.array([np.exp(wide), np.log(more), np.tanh(wide), [math.erf(v) for v in wide], np.sqrt(square),
                         np.expm1(wide), np.log1p(square)])  # fmt: skip
    tiny = np.finfo(dtype).tiny
    _, y = execute(ptx, [x, np.zeros((7, len(x)), dtype), len(x)], 4, 128)
    error = np.abs(y - expected) / np.maximum(np.abs(expected), tiny / tolerance)
    assert error.max(1).max() < 4 * tolerance, error.max(1)


def test_what_the_library_makes_a_function_of_is_refused_by_its_name():
    def power(x):
        x[0] = math.pow(x[0], x[1])

    with pytest.raises(emulator.PtxError, match="not known.*__internal_accurate_pow"):
        emulator.load(compiled(power, types.CPointer(types.float64)), checked=False)


def test_sines_of_small_and_of_huge_numbers():
    """The slow path keeps digits of 2 / pi in a table and its product in local memory."""

    def sine(x, y, n):
        i = uint32(cuda.threadIdx.x)
        if i < n:
            y[i] = math.sin(x[i])
            y[i + n] = math.cos(x[i])

    pointer = types.CPointer(types.float32)
    x = np.concatenate([np.linspace(-7, 7, 90), [1e5, -3e7, 1e15, 3e38]]).astype(np.float32)
    ptx = compiled(sine, pointer, pointer, types.uint32)
    _, y = execute(ptx, [x, np.zeros((2, len(x)), np.float32), len(x)], 1, 96)
    np.testing.assert_allclose(y, [np.sin(x.astype(np.float64)), np.cos(x.astype(np.float64))], atol=2e-7)


@pytest.mark.parametrize("cc", CAPABILITIES)
def test_a_sum_by_shuffles(cc):
    def sums(x, y, n):
        parts = cuda.shared.array(8, float64)
        t = uint32(cuda.threadIdx.x)
        i = uint32(cuda.blockIdx.x * cuda.blockDim.x + t)
        total = float64(0)
        while i < n:
            total += float64(x[i])
            i = uint32(i + cuda.blockDim.x * cuda.gridDim.x)
        by = uint32(16)
        while by > uint32(0):
            total += cuda.shfl_down_sync(0xFFFFFFFF, total, by)
            by = uint32(by >> uint32(1))
        if t & uint32(31) == uint32(0):
            parts[t >> uint32(5)] = total
        cuda.syncthreads()
        if t == uint32(0):
            total = float64(0)
            for k in range(8):
                total += parts[k]
            y[cuda.blockIdx.x] = float32(total)

    pointer = types.CPointer(types.float32)
    ptx = compiled(sums, pointer, pointer, types.uint32, cc=cc)
    x = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    padded = np.concatenate([x, np.zeros(2 * 768 * 4 - 5000, np.float32)]).reshape(-1, 3, 256)
    for order in ("forward", "reverse"):
        _, y = execute(ptx, [x, np.zeros(3, np.float32), len(x)], 3, 256, order=order)
        np.testing.assert_allclose(y, padded.astype(np.float64).sum((0, 2)), rtol=1e-6)
