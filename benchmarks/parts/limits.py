"""What the machine can do: the arithmetic and the memory traffic that bound everything else (the roofline)."""

from collections.abc import Iterator
from functools import partial

import numpy as np

import minicnn as mc

from ..pairs import alone, alternate
from ..peers import missing
from ..results import Job, Measured, Row, Settings, median_ms

SIDE = 1024
NUMBERS = 1 << 26  # 256 MiB of float32: no cache holds them


def jobs(settings: Settings) -> Iterator[Job]:
    """The rate of multiply-adds, and of bytes."""
    if "cpu" in settings.devices:
        peer = "torch" if "torch" in settings.peers and missing("torch") is None else ""
        yield Job(Row("limits", f"product of {SIDE} x {SIDE} matrices", 0, "cpu", peer),
                  partial(products, peer, settings.seconds))
        yield Job(Row("limits", "sum of 256 MiB, read once", 0, "cpu", ""), partial(reads, settings.seconds))


def products(peer: str, seconds: float) -> Measured:
    """GFLOP/s of a matrix product, on so many threads as everything else here."""
    random = np.random.default_rng(0)
    a, b = (random.random((SIDE, SIDE), np.float32) for _ in range(2))
    left, right = mc.tensor(a), mc.tensor(b)
    rate = 2 * SIDE**3 / 1e6
    if not peer:
        return Measured(rate / median_ms(alone(lambda: left @ right, seconds).ours), unit="GFLOP/s")
    import torch

    first, second = torch.from_numpy(a), torch.from_numpy(b)
    pairing = alternate(lambda: left @ right, lambda: first @ second, seconds)
    return Measured(rate / median_ms(pairing.ours), rate / median_ms(pairing.other), unit="GFLOP/s")


def reads(seconds: float) -> Measured:
    """GB/s at which memory is read."""
    x = mc.zeros(NUMBERS)
    return Measured(x.array.nbytes / 1e6 / median_ms(alone(lambda: x.sum(), seconds).ours), unit="GB/s")
