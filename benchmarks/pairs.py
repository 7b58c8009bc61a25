"""Timing two things against each other on a machine that has other things to do.

The sides take turns, so that drifts of the machine's speed meet both; a sample in which the process was preempted
(an involuntary context switch) is dropped with its partner; what is reported is the median of the ratios of partners.
"""

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Step = Callable[[], object]


@dataclass(frozen=True)
class Pairing:
    """Seconds per call of either side in the clean rounds, and the ratio other / ours round by round."""

    ours: list[float]
    other: list[float]
    rounds: int  # all of them, the dropped ones included

    @property
    def ratios(self) -> list[float]:
        return sorted(b / a for a, b in zip(self.ours, self.other, strict=True))

    def __str__(self) -> str:
        ratios = self.ratios
        low, high = ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]
        return (
            f"{statistics.median(self.ours) * 1e3:8.2f} ms against {statistics.median(self.other) * 1e3:8.2f} ms: "
            f"{statistics.median(ratios):.2f} times as fast (quartiles {low:.2f}-{high:.2f}, "
            f"{len(ratios)} clean rounds of {self.rounds})"
        )


def alternate(ours: Step, other: Step, seconds: float = 20.0, warmup: int = 3) -> Pairing:
    """Run both in turn for about `seconds`."""
    for _ in range(warmup):
        ours()
        other()
    mine, theirs, rounds = [], [], 0
    every: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or rounds < 5:
        (a, clean_a), (b, clean_b) = _timed(ours), _timed(other)
        rounds += 1
        every.append((a, b))
        if clean_a and clean_b:
            mine.append(a)
            theirs.append(b)
    if len(mine) < 5:  # a machine that never leaves us alone: say so by the count of rounds, and use them all
        mine, theirs = [a for a, _ in every], [b for _, b in every]
    return Pairing(mine, theirs, rounds)


def _timed(step: Step) -> tuple[float, bool]:
    time.sleep(0.01)  # the other side's threads may still be spinning: let them go to sleep
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    start = time.perf_counter()
    step()
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw == switches
