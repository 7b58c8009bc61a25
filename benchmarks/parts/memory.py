"""Memory that training adds to a process, each side in a process of its own."""

from collections.abc import Iterator
from functools import partial

from ..peers import unavailable
from ..results import LAYOUTS, Job, Measured, Row, Settings
from ..worker import Task, results
from ..workloads import Workload


def jobs(settings: Settings) -> Iterator[Job]:
    """Each workload at each of its batch sizes. Of the CPU's memory only."""
    peer = "torch" if "torch" in settings.peers else ""
    for work in settings.works if "cpu" in settings.devices else ():
        for size in settings.batches or work.train:
            yield Job(Row("memory", work.name, size, "cpu", peer), partial(measure, work, size, peer, settings.threads))


def measure(work: Workload, size: int, peer: str, threads: int) -> Measured:
    """MiB that the network, its optimizer, one batch and the first steps add, at their peak."""
    ours = added("minicnn", work, size, threads)
    reason = unavailable(peer)
    if reason is not None:
        return Measured(ours, unit="MiB", note=reason)
    layouts = {layout: added(layout, work, size, threads) for layout in LAYOUTS}
    best = min(layouts, key=layouts.__getitem__)
    return Measured(ours, layouts[best], layouts[best] / ours, unit="MiB", note=f"{best}, fused Adam")


def added(side: str, work: Workload, size: int, threads: int) -> float:
    """The same of one side, in a new process."""
    return results([Task(side, work.name, size, threads)])[0]
