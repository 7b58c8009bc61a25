"""The GPU's kernels one by one, timed by the GPU's own clock; transfers and the first launch apart."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import numpy as np

import minicnn as mc
from minicnn.dispatch import check
from minicnn.kernels.contracts import CONTRACTS

from ..peers import missing
from ..results import Job, Measured, Row, Settings

ROUNDS = 20  # of LAUNCHES each, of which the median counts
LAUNCHES = 10
WARMUP = 5
TRANSFERRED = 64 << 20  # bytes

#: The same on CuPy's arrays, where one function of it does the same.
CUPY: dict[str, Callable[..., Any]] = {
    "add": lambda cupy, a, b: cupy.add(a, b), "mul": lambda cupy, a, b: cupy.multiply(a, b),
    "exp": lambda cupy, x: cupy.exp(x), "tanh": lambda cupy, x: cupy.tanh(x),
    "reduce_sum": lambda cupy, x: x.sum(axis=1), "reduce_max": lambda cupy, x: x.max(axis=1),
    "matmul": lambda cupy, a, b, bias: cupy.matmul(a, b) + bias,
    "take": lambda cupy, x, index: cupy.take(x, index, axis=1),
}


def jobs(settings: Settings) -> Iterator[Job]:
    """Transfers, the first launch, and the stated call of every contract; on the GPU only."""
    if "cuda" not in settings.devices:
        return
    yield Job(Row("kernels", "64 MiB to the GPU", 0, "cuda", ""), partial(transfer, True))
    yield Job(Row("kernels", "64 MiB from the GPU", 0, "cuda", ""), partial(transfer, False))
    yield Job(Row("kernels", "a first launch, its PTX in the cache", 0, "cuda", ""), first_launch)
    for name in CONTRACTS:
        peer = "cupy" if name in CUPY and "cupy" in settings.peers and missing("cupy") is None else ""
        yield Job(Row("kernels", name, 0, "cuda", peer), partial(measure, name, peer))


def transfer(there: bool) -> Measured:
    """GB/s between the processor's memory and the GPU's."""
    array = np.ones(TRANSFERRED // 4, np.float32)
    tensor = mc.tensor(array, device="cuda")
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        if there:
            tensor = mc.tensor(array, device="cuda")
            tensor.array.device.synchronize()
        else:
            tensor.numpy()
        times.append(time.perf_counter() - start)
    return Measured(array.nbytes / 1e9 / median(times), unit="GB/s", rounds=ROUNDS, clean=ROUNDS)


def first_launch() -> Measured:
    """Milliseconds to load a kernel and start it, when it was compiled on another day."""
    from minicnn.device import open_device
    from minicnn.kernels.cuda.launcher import Device
    from minicnn.kernels.cuda.roofline import stated

    backend = open_device("cuda:0").backend
    stated("add", open_device("cuda:0"), check).run()  # so that the cache has it
    fresh = Device(backend)  # which has loaded nothing yet
    one = stated("add", fresh, check)
    start = time.perf_counter()
    one.run()
    fresh.synchronize()
    return Measured((time.perf_counter() - start) * 1e3)


def measure(name: str, peer: str) -> Measured:
    """Microseconds a call, the share of the roofline, and whether the launch takes longer than the work."""
    from minicnn.device import open_device
    from minicnn.kernels.cuda.roofline import GPU, stated

    device = open_device("cuda:0")
    one = stated(name, device, check)
    ours, host = _timed(one.run, device.backend)
    gpu = GPU(device.backend.product, *device.backend.peak())
    best = one.call.seconds(gpu) * 1e6
    notes = [str(one.call), f"{best / ours:.0%} of the roofline of {gpu.name}"]
    if host > 0.8 * ours:  # the events are then as far apart as the calls
        notes.append(f"launch-bound: {host:.0f} us a call on the processor")
    if not peer:
        return Measured(ours, unit="us", rounds=ROUNDS, clean=ROUNDS, note="; ".join(notes))
    theirs = _cupy(name, one.inputs)
    return Measured(ours, theirs, theirs / ours, unit="us", rounds=ROUNDS, clean=ROUNDS, note="; ".join(notes))


def _timed(run: Callable[[], Any], backend: Any) -> tuple[float, float]:
    """Microseconds a call on the GPU, between events, and on the processor, until the call returns."""
    for _ in range(WARMUP):
        run()
    backend.synchronize()
    on_gpu, on_host = [], []
    for _ in range(ROUNDS):
        first, start = backend.event(), time.perf_counter()
        for _ in range(LAUNCHES):
            run()
        on_host.append((time.perf_counter() - start) / LAUNCHES * 1e6)
        last = backend.event()
        on_gpu.append(backend.milliseconds(first, last) / LAUNCHES * 1e3)
    return median(on_gpu), median(on_host)


def _cupy(name: str, inputs: Any) -> float:
    """Microseconds a call of CuPy, on the same memory."""
    import cupy
    from cupyx.profiler import benchmark

    arrays = [cupy.asarray(array) for array in inputs if array is not None]
    times = benchmark(CUPY[name], (cupy, *arrays), n_repeat=ROUNDS * LAUNCHES, n_warmup=WARMUP).gpu_times
    return float(np.median(times)) * 1e6
