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
    """How many times as long a step takes in a crowd; the note says how long that is."""
    alone, crowd = step_times(Task("minicnn", "smile", size, threads, seconds))
    note = f"a step in the crowd: {crowd * 1e3:.3g} ms"
    reason = unavailable(peer)
    if reason is not None:
        return Measured(crowd / alone, unit="times", note="; ".join(filter(None, (reason, note))))
    layouts = {layout: step_times(Task(layout, "smile", size, threads, seconds)) for layout in LAYOUTS}
    best = min(layouts, key=lambda layout: layouts[layout][1])  # whose steps in the crowd are the shorter ones
    their_alone, their_crowd = layouts[best]
    ours, theirs = crowd / alone, their_crowd / their_alone
    return Measured(ours, theirs, theirs / ours, unit="times",
                    note=f"{best}, fused Adam; {note}, against {their_crowd * 1e3:.3g} ms")


def step_times(task: Task) -> tuple[float, float]:
    """Seconds a step in one process alone, and in four at once."""
    return results([task])[0], sum(results([task] * PROCESSES)) / PROCESSES
