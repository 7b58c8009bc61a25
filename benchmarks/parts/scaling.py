"""Does the cost grow as the work grows? Training steps on batches of 1 to 256, and on pictures of 32 to 512."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import minicnn as mc

from .. import ours
from ..nets import pictures_of
from ..results import Job, Measured, Row, Settings
from ..workloads import WORKLOADS, Workload
from .train import measure as measure_steps

BATCHES = tuple(2**power for power in range(9))
SIZES = tuple(2**power for power in range(5, 10))
PICTURES = 4  # in a batch of each size


def works() -> Iterator[tuple[Workload, int]]:
    """Workloads with the batch size: the smile detector on more and more pictures, a small network on larger ones."""
    for batch in BATCHES:
        yield WORKLOADS["smile"], batch
    for size in SIZES:
        yield Workload(f"pictures of {size}", pictures_of(size), (size, size, 3), 10, (PICTURES,), ()), PICTURES


def jobs(settings: Settings) -> Iterator[Job]:
    """A job for each size."""
    peer = "torch" if "torch" in settings.peers else ""
    for device in settings.devices:
        for work, batch in works():
            yield Job(Row("scaling", work.name, batch, device, peer),
                      partial(measure, work, batch, device, peer, settings.seconds))


def measure(work: Workload, batch: int, device: str, peer: str, seconds: float) -> Measured:
    """Training steps, with the number of multiply-adds in one."""
    steps = measure_steps(work, batch, device, peer, seconds)
    return replace(steps, multiply_adds=multiply_adds(ours.build(work), work.shape) * batch)


def multiply_adds(model: mc.nn.Module, shape: tuple[int, ...]) -> int:
    """Of a training step on one picture in the convolutions and dense layers: as many for the gradients by the inputs
    and by the weights as for the forward pass each."""
    counted = 0

    def count(layer: Any, _: Any, output: Any) -> None:
        nonlocal counted
        counted += output.numel() * prod(layer.weight.shape[:-1])  # each output is a sum over all axes but the last

    with ExitStack() as hooks, mc.nn.evaluating(model):
        for layer in model.modules():
            if isinstance(layer, (mc.nn.Conv2d, mc.nn.Linear)):
                hooks.enter_context(layer.register_forward_hook(count))
        model(mc.zeros(1, *shape))
    return 3 * counted
