"""Whole training steps."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from .. import ours
from ..agree import DOUBLE_TOLERANCE, TOLERANCE, same_losses
from ..pairs import alone, alternate
from ..peers import unavailable
from ..results import Job, Measured, Row, Settings, paired, single
from ..workloads import Batch, Workload, batches, in_double

CHECKED = 3  # steps


def jobs(settings: Settings) -> Iterator[Job]:
    """Each workload at each of its batch sizes, on each device."""
    peer = "torch" if "torch" in settings.peers else ""
    for device in settings.devices:
        for work in settings.works:
            for size in settings.batches or work.train:
                yield Job(Row("train", work.name, size, device, peer),
                          partial(measure, work, size, device, peer, settings.seconds))


def measure(work: Workload, size: int, device: str, peer: str, seconds: float) -> Measured:
    """Steps of both sides in turn, once they were seen to give the same losses; minicnn alone if there is no peer."""
    data = batches(work, size)
    reason = unavailable(peer, work, device)
    if reason is None:
        return _against_torch(work, data, device, seconds)
    return single(alone(ours.Training(work, data, device=device).step, seconds), note=reason)


def _against_torch(work: Workload, data: list[Batch], device: str, seconds: float) -> Measured:
    from ..peers import torch_peer

    state = torch_peer.state(work)
    layout = torch_peer.fastest_layout(lambda layout: torch_peer.Training(work, data, layout, device=device))
    difference = check(work, data, state, layout, device)
    mine = ours.Training(work, data, state, device=device)
    theirs = torch_peer.Training(work, data, layout, device=device)
    return paired(alternate(mine.step, theirs.step, seconds), difference=difference, note=f"{layout}, fused Adam")


def check(work: Workload, data: list[Batch], state: ours.State, layout: str, device: str) -> float:
    """The largest relative difference of the losses of both sides, dropout off; Disagreement if that is too large.

    The first losses are compared as they are, in float32. For a few steps more minicnn's are held against PyTorch's in
    float64: in float32 and channels_last its batch statistics lose digits, and the smile detector's second loss on 128
    pictures is 0.4% off. Deep networks magnify any rounding, so that float32 says nothing about their losses after a
    step: both sides take their steps in float64, on small pictures.
    """
    from ..peers import torch_peer

    def difference(mine: list[Batch], theirs: list[Batch], steps: int, tolerance: float) -> float:
        here = ours.Training(work, mine, state, dropout=False, device=device)
        there = torch_peer.Training(work, theirs, layout, dropout=False, device=device)
        return same_losses([here.step() for _ in range(steps)], [there.step() for _ in range(steps)], tolerance)

    first = difference(data, data, 1, TOLERANCE)
    if not work.deep:
        return max(first, difference(data, in_double(data), CHECKED, TOLERANCE))
    small = batches(work._replace(shape=(64, 64, work.shape[-1])), 2, dtype=np.float64)
    return max(first, difference(small, small, CHECKED, DOUBLE_TOLERANCE))
