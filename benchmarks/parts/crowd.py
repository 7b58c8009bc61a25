"""Four processes at once, each with all its threads: do they slow each other down more than they must?

On two processors each of four gets half of one, so about 4 times as long is what must be where a process alone keeps
both busy. Spinning threads make it many times that.
"""

from collections.abc import Iterator
from functools import partial

from ..peers import unavailable
from ..results import LAYOUTS, Job, Measured, Row, Settings
from ..worker import Task, results

PROCESSES = 4


def jobs(settings: Settings) -> Iterator[Job]:
    """The smile detector's steps at each of its batch sizes, on the CPU."""
    peer = "torch" if "torch" in settings.peers else ""
    if "cpu" in settings.devices:
        for size in settings.batches or (32, 2):
            yield Job(Row("crowd", "smile", size, "cpu", peer),
                      partial(measure, size, peer, settings.threads, settings.seconds))


def measure(size: int, peer: str, threads: int, seconds: float) -> Measured:
    """How many times as long a step takes in a crowd."""
    ours = slowdown(Task("minicnn", "smile", size, threads, seconds))
    reason = unavailable(peer)
    if reason is not None:
        return Measured(ours, unit="times", note=reason)
    layouts = {layout: slowdown(Task(layout, "smile", size, threads, seconds)) for layout in LAYOUTS}
    best = min(layouts, key=layouts.__getitem__)
    return Measured(ours, layouts[best], layouts[best] / ours, unit="times", note=f"{best}, fused Adam")


def slowdown(task: Task) -> float:
    """Seconds a step in four processes at once over those in one alone."""
    alone, crowd = results([task]), results([task] * PROCESSES)
    return sum(crowd) / PROCESSES / alone[0]
