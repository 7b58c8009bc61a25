"""The parts of the benchmark, a file for each. A part gives its jobs: what it would measure, with the code to do it."""

from collections.abc import Iterator

from ..results import Job, Settings
from . import crowd, inference, kernels, limits, memory, ops, scaling, train, without

ALL = {"train": train.jobs, "inference": inference.jobs, "ops": ops.jobs, "memory": memory.jobs,
       "scaling": scaling.jobs, "crowd": crowd.jobs, "without": without.jobs, "limits": limits.jobs,
       "kernels": kernels.jobs}


def jobs(settings: Settings) -> Iterator[Job]:
    """All that the settings ask for, part by part."""
    for part in settings.parts:
        yield from ALL[part](settings)
