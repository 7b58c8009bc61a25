"""Timing two things against each other on a machine that has other things to do.

The sides take turns, so that drifts of the machine's speed meet both; a sample in which the process was preempted
(an involuntary context switch) is dropped with its partner; what is reported is the median of the ratios of partners.
A turn is one call, or of short ones as many as fill TURN, as they follow each other in a training.
"""

import math
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress

Step = Callable[[], object]

TURN = 0.02  # seconds
FEWEST = 5  # rounds, however long one takes; with fewer clean ones than this, all of them count


@dataclass(frozen=True)
class Pairing:
    """Seconds per call of either side in the rounds that count, and the ratio other / ours round by round. other is
    empty if there was none."""

    ours: list[float]
    other: list[float]
    rounds: int  # all of them
    clean: int  # those without an involuntary context switch

    @property
    def ratios(self) -> list[float]:
        return sorted(b / a for a, b in zip(self.ours, self.other, strict=True))


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile. ValueError if there is nothing."""
    if len(values) < 2:
        return (statistics.median(values),) * 3 if values else _nothing()
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _nothing() -> tuple[float, float, float]:
    raise ValueError("quartiles: there are no values")


def alternate(ours: Step, other: Step, seconds: float = 20.0, warmup: int = 3) -> Pairing:
    """Run both in turn for about `seconds`."""
    (mine, theirs), rounds, clean = _rounds((ours, other), seconds, warmup)
    return Pairing(mine, theirs, rounds, clean)


def alone(step: Step, seconds: float, warmup: int = 3) -> Pairing:
    """Run one thing by itself, in turns as `alternate` does."""
    (times,), rounds, clean = _rounds((step,), seconds, warmup)
    return Pairing(times, [], rounds, clean)


def _rounds(steps: Sequence[Step], seconds: float, warmup: int) -> tuple[list[list[float]], int, int]:
    """Rounds of all steps in turn: for each step its times in the rounds that count, the rounds, the clean ones."""
    for _ in range(warmup):
        for step in steps:
            step()
    counts = [math.ceil(TURN / max(_timed(step, 1)[0], 1e-6)) for step in steps]
    warm = max(counts) > 1
    times: list[list[float]] = []
    clean: list[bool] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < FEWEST:
        samples = [_timed(step, count, warm) for step, count in zip(steps, counts, strict=True)]
        times.append([taken for taken, _ in samples])
        clean.append(all(undisturbed for _, undisturbed in samples))
    counting = counted(times, clean)
    return [list(column) for column in zip(*counting, strict=True)], len(times), sum(clean)


def counted(rounds: Sequence[list[float]], clean: Sequence[bool]) -> list[list[float]]:
    """The rounds that count: the clean ones, or all if a machine that is never idle leaves fewer than FEWEST."""
    return list(compress(rounds, clean)) if sum(clean) >= FEWEST else list(rounds)


def _timed(step: Step, count: int, warm: bool = False) -> tuple[float, bool]:
    """Seconds per call of `count` in a row, and whether nobody took the processor away meanwhile. warm: after one that
    is not timed: it finds threads asleep and caches full of the other side's data."""
    time.sleep(0.01)  # the other side's threads may still be spinning: let them go to sleep
    if warm:
        step()
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    start = time.perf_counter()
    for _ in range(count):
        step()
    taken = (time.perf_counter() - start) / count
    return taken, resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw == switches
