"""Answers to batches of pictures, most of them of one picture."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from .. import ours
from ..agree import same_arrays
from ..pairs import alone, alternate
from ..peers import NETWORKS, unavailable
from ..results import Job, Measured, Row, Settings, paired, single
from ..workloads import Batch, Workload, batches


def jobs(settings: Settings) -> Iterator[Job]:
    """Each workload at each of its batch sizes, against each peer, on each device."""
    for device in settings.devices:
        for work in settings.works:
            for size in (settings.batches or work.inference) if work.inference else ():
                for peer in [peer for peer in settings.peers if peer in NETWORKS] or [""]:
                    if device != "cpu" and peer == "onnxruntime":
                        continue  # measured on the CPU only
                    yield Job(Row("inference", work.name, size, device, peer),
                              partial(measure, work, size, device, peer, settings.seconds, settings.threads))


def measure(work: Workload, size: int, device: str, peer: str, seconds: float, threads: int) -> Measured:
    """Answers of both sides in turn, once they were seen to be the same; minicnn alone where there is no peer."""
    data = batches(work, size)
    reason = unavailable(peer, work, device)
    if reason is None:
        return _against(peer, work, data, device, seconds, threads)
    return single(alone(ours.Inference(work, data, device=device).step, seconds), note=reason)


def _against(peer: str, work: Workload, data: list[Batch], device: str, seconds: float, threads: int) -> Measured:
    from ..peers import torch_peer

    mine = ours.Inference(work, data, torch_peer.state(work), device)
    theirs, note = _side(peer, work, data, device, threads)
    difference = max(same_arrays("the outputs", mine.step(), theirs.step()) for _ in data)
    return paired(alternate(mine.step, theirs.step, seconds), difference=difference, note=note)


def _side(peer: str, work: Workload, data: list[Batch], device: str, threads: int) -> tuple[Any, str]:
    """The peer, and how it is set."""
    from ..peers import torch_peer

    if peer == "torch":
        layout = torch_peer.fastest_layout(lambda layout: torch_peer.Inference(work, data, layout, device))
        return torch_peer.Inference(work, data, layout, device), f"{layout}, inference mode"
    from ..peers import onnx_peer

    return onnx_peer.Inference(work, data, threads), "all graph optimizations"
