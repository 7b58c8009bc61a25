"""Write a GPU kernel on a laptop: plant a race, let the emulator find it, mend it, see what it would take up on a GPU.

    python examples/write_a_cuda_kernel.py            # no GPU needed; pip install 'minicnn[cuda]'

The kernel sums the rows of a matrix, a block of 128 threads for each. A thread adds up every 128th number of its row;
then the 128 sums are halved, in shared memory, until one is left:

    128 sums   64      32             1
    s[0..63] += s[64..127],  s[0..31] += s[32..63],  ...  s[0] += s[1]

Between two halvings every thread has to wait for all others: a thread reads what another one wrote. That is what a
barrier is for, and the first version forgets it. On a GPU such a kernel may give the right sums for months: the 32
threads of a warp often run in step, and a block that has its processor for itself is seldom interrupted.

A kernel is the inner function; the outer one takes its settings, here the type of its numbers. row_sums(np.float32) is
a variant: what is compiled, launched and looked at. row_sums(np.float32).compiled((8, 0)).ptx is the text that the
emulator's messages name lines of. The whole story: kernels/cuda/README.md.
"""

from typing import Any

import numpy as np
from numba import cuda, uint32

from minicnn.kernels.cuda.compiler import kernel
from minicnn.kernels.cuda.devices import open_device
from minicnn.kernels.cuda.emulated import mode
from minicnn.kernels.cuda.emulator import KernelFault
from minicnn.kernels.cuda.inspection import findings, inspect_variant
from minicnn.kernels.cuda.launcher import launch
from minicnn.kernels.cuda.memory import empty, to_device, to_numpy

THREADS = 128


@kernel("x: real*, y: real*, length: u32", threads=THREADS)
def row_sums_with_a_race(real):
    def row_sums_with_a_race(x, y, length):
        sums = cuda.shared.array(THREADS, real)
        row, thread = uint32(cuda.blockIdx.x), uint32(cuda.threadIdx.x)
        total = real(0)  # a bare 0.0 would make everything float64
        for column in range(thread, length, uint32(THREADS)):
            total += x[uint32(row * length + column)]  # neighbours read neighbouring numbers: one transfer for a warp
        sums[thread] = total
        half = uint32(THREADS // 2)
        while half > 0:
            cuda.syncthreads()
            if thread < half:
                sums[thread] += sums[thread + half]
            half >>= uint32(1)
            if half == 1:
                break  # "one addition left, thread 0 can do it alone"
        if thread == 0:
            y[row] = sums[0] + sums[1]
    return row_sums_with_a_race


@kernel("x: real*, y: real*, length: u32", threads=THREADS)
def row_sums(real):
    def row_sums(x, y, length):
        sums = cuda.shared.array(THREADS, real)
        row, thread = uint32(cuda.blockIdx.x), uint32(cuda.threadIdx.x)
        total = real(0)
        for column in range(thread, length, uint32(THREADS)):
            total += x[uint32(row * length + column)]
        sums[thread] = total
        half = uint32(THREADS // 2)
        while half > 0:
            cuda.syncthreads()
            if thread < half:
                sums[thread] += sums[thread + half]
            half >>= uint32(1)
        if thread == 0:
            y[row] = sums[0]
    return row_sums


def run(which: Any, x: np.ndarray, device: str, *, dtype: Any = None, length: int = 0) -> np.ndarray:
    """The launch rule of either kernel: as many blocks as there are rows. dtype, length: x's own, unless given."""
    there = open_device(device)
    on_device, sums = to_device(x, there), empty((len(x),), x.dtype, there)
    launch(which(dtype or x.dtype), len(x), on_device, sums, length or x.shape[1])
    return to_numpy(sums)


def main() -> None:
    x = np.random.default_rng(0).normal(size=(5, 1001)).astype(np.float32)
    expected = x.astype(np.float64).sum(axis=1)

    print("1. The kernel with the race, as a GPU might run it: off by", end=" ")
    print(f"{np.abs(run(row_sums_with_a_race, x, 'emulator') - expected).max():.1e}")

    print("\n2. The same, every access looked at:")
    for order in ("checked", "reverse"):
        with mode(order):
            try:
                run(row_sums_with_a_race, x, "emulator")
            except KernelFault as fault:
                print(f"   threads in {'the reverse' if order == 'reverse' else 'their'} order: {fault}")

    print("\n3. With the barrier where it belongs:")
    for order in ("checked", "reverse"):
        with mode(order):
            error = np.abs(run(row_sums, x, "emulator") - expected).max()
        print(f"   {order}: no finding, off by {error:.1e}")

    print("\n4. Called wrongly: with rows that are too long by one, and for numbers of another type:")
    for wrong in ({"length": 1002}, {"dtype": np.float64}):
        with mode("checked"):
            try:
                run(row_sums, x, "emulator", **wrong)
            except (KernelFault, TypeError) as error:
                print(f"   {error}")

    print("\n5. What a GPU would give it:")
    for capability in ((7, 0), (8, 0), (9, 0)):
        one = inspect_variant(row_sums(np.float32), capability)
        made = one.assembled
        print(f"   compute capability {capability[0]}.{capability[1]}: {made.registers} registers, "
              f"{made.shared_bytes} bytes of shared memory, occupancy {one.occupancy:.0%}; "
              f"{findings(one) or 'nothing to complain of'}")
    print("\nOn a GPU it is the same call: run(row_sums, x, 'cuda:0').")


if __name__ == "__main__":
    main()
