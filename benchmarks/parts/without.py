"""What each way to be fast is worth: training steps as they are, against the same steps without it."""

from collections.abc import Callable, Iterator
from functools import partial

import minicnn as mc

from .. import ours
from ..pairs import alternate
from ..results import Job, Measured, Row, Settings, paired
from ..workloads import Workload, batches


def _winograd(on: bool) -> None:
    mc.set_conv_algorithm("auto" if on else "direct")


def _fusion(on: bool) -> None:
    mc.fusion(on)


#: What can be switched off while everything else stays.
SWITCHES: dict[str, Callable[[bool], None]] = {
    "Winograd's algorithm": _winograd,
    "fusion": _fusion,
}


def jobs(settings: Settings) -> Iterator[Job]:
    """Each workload at its first batch size, without each of the switches in turn."""
    for work in settings.works if "cpu" in settings.devices else ():
        for size in (settings.batches or work.train)[:1]:
            for name, switch in SWITCHES.items():
                yield Job(Row("without", f"{work.name} without {name}", size, "cpu", ""),
                          partial(measure, work, size, switch, settings.seconds))


def measure(work: Workload, size: int, switch: Callable[[bool], None], seconds: float) -> Measured:
    """Steps with and without in turn; above 1, it pays."""
    data = batches(work, size)
    plain, other = ours.Training(work, data), ours.Training(work, data)

    def without() -> float:
        switch(False)
        try:
            return other.step()
        finally:
            switch(True)

    return paired(alternate(plain.step, without, seconds))
