"""What a measurement gives, and what was asked for."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from .pairs import Pairing, quartiles
from .peers import PEERS
from .workloads import WORKLOADS, Workload

PARTS = {  # by name, what each measures
    "train": "Training steps: forward, loss, backward, Adam; dropout on",
    "inference": "Inference",
    "ops": "Single operations",
    "memory": "Memory that training steps add to the process",
    "scaling": "Cost as the work grows: training steps",
    "crowd": "Four processes at once: how many times as long a training step of each takes as that of one alone",
    "without": "What each way to be fast is worth: training steps without it, and how many times as long they take",
    "limits": "What the machine can do",
    "kernels": "The GPU's kernels, by its own clock; of its roofline: how near they come to what its data sheet allows",
}
DEVICES = ("cpu", "cuda")
LAYOUTS = ("channels_last", "NCHW")  # PyTorch's, of which the better one counts
RUN, NOT_RUN, FAILED = "run", "not run", "failed"


@dataclass(frozen=True)
class Settings:
    """What to measure. batches: in the place of each workload's own; seconds: for each pair."""

    parts: tuple[str, ...] = ("train", "inference", "memory")
    works: tuple[Workload, ...] = tuple(WORKLOADS.values())
    devices: tuple[str, ...] = ("cpu",)
    peers: tuple[str, ...] = tuple(PEERS)
    threads: int = 2
    batches: tuple[int, ...] = ()
    seconds: float = 10.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = {name: value for name, value in vars(self).items() if name != "works"}
        return found | {"nets": [work.name for work in self.works]}


@dataclass(frozen=True)
class Measured:
    """Medians of either side, in `unit`, and the quartiles of the ratio: the peer's over minicnn's, so that above 1
    minicnn needs less. None: not measured. note: how the peer was set, or why there is nothing."""

    ours: float | None = None
    theirs: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: int = 0
    clean: int = 0
    unit: str = "ms"
    difference: float | None = None  # of the results, before anything was timed
    multiply_adds: int | None = None
    status: str = RUN
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A line of the report. batch: pictures, 0 where that has no meaning; peer: "" for minicnn alone."""

    part: str
    work: str
    batch: int
    device: str
    peer: str
    measured: Measured = field(default_factory=Measured)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without a level for `measured`."""
        found = asdict(self)
        return found | found.pop("measured")

    @property
    def label(self) -> str:
        """What was measured, against whom."""
        batch = f", batch {self.batch}" if self.batch else ""
        against = f" against {PEERS[self.peer]}" if self.peer else ""
        return f"{self.part}: {self.work}{batch}, {self.device}{against}"


@dataclass(frozen=True)
class Job:
    """A row that is still to be measured."""

    row: Row
    measure: Callable[[], Measured]


def single(pairing: Pairing, **more: Any) -> Measured:
    """minicnn's milliseconds, by itself."""
    return Measured(median_ms(pairing.ours), rounds=pairing.rounds, clean=pairing.clean, **more)


def paired(pairing: Pairing, **more: Any) -> Measured:
    """Both sides' milliseconds and their ratio."""
    low, middle, high = quartiles(pairing.ratios)
    return Measured(median_ms(pairing.ours), median_ms(pairing.other), middle, low, high, pairing.rounds,
                    pairing.clean, **more)


def median_ms(seconds: list[float]) -> float:
    """The median in milliseconds."""
    return quartiles(seconds)[1] * 1e3
