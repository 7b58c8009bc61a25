"""One side in a process of its own: python -m benchmarks.worker '{"side": "minicnn", ...}', a JSON line comes out.

For what concerns a process as a whole: its memory, or its time beside others.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import minicnn as mc

from . import ours
from .workloads import WORKLOADS, Workload, batches

MIB = 2**20
STEPS = 4  # after which memory grows no more


@dataclass(frozen=True)
class Task:
    """side: "minicnn", or one of PyTorch's memory layouts. seconds: of steps; 0 to measure memory instead."""

    side: str
    work: str
    batch: int
    threads: int
    seconds: float = 0.0


class Process:
    """A task in a process. It writes a line once it is ready, waits for one, and writes its result."""

    def __init__(self, task: Task):
        # Not a pipe: a full one, which nobody reads, would stop the process.
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen([sys.executable, "-m", __name__, json.dumps(asdict(task))], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)

    def line(self) -> str:
        """The next line that it writes; RuntimeError with its last words if it ended instead."""
        line = _pipe(self.process.stdout).readline()
        if not line:
            self.errors.seek(0)
            words = self.errors.read().strip().splitlines()
            raise RuntimeError(f"a measuring process ended: {words[-1] if words else self.process.wait()}")
        return line

    def go(self) -> None:
        _pipe(self.process.stdin).write("go\n")
        _pipe(self.process.stdin).flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


def results(tasks: list[Task]) -> list[float]:
    """Run the tasks at once, all beginning when all are ready; the result of each."""
    processes = [Process(task) for task in tasks]
    try:
        for process in processes:
            process.line()
        for process in processes:
            process.go()
        return [float(json.loads(process.line())) for process in processes]
    finally:
        for process in processes:
            process.end()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


# ------------------------------------------------------------------------------------------------ in the new process

def main(task: Task) -> None:
    work = WORKLOADS[task.work]
    make = _maker(task)
    if task.seconds:
        side = make(work, batches(work, task.batch))
        side.step()
        _wait()
        answer = _seconds_a_step(side, task.seconds)
    else:
        _wait()
        answer = _added(make, work, task.batch)
    print(json.dumps(answer))


def _wait() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def _maker(task: Task) -> Any:
    """Builds the training of a side, which has loaded what it loads when first used."""
    if task.side == "minicnn":
        mc.set_num_threads(task.threads)
        make: Any = ours.Training
    else:
        import torch

        from .peers import torch_peer

        torch.set_num_threads(task.threads)

        def make(work: Workload, data: Any) -> Any:
            return torch_peer.Training(work, data, task.side)
    tiny = WORKLOADS["mnist"]
    make(tiny, batches(tiny, 1, count=1)).step()
    return make


def _seconds_a_step(side: Any, seconds: float) -> float:
    start, steps = time.perf_counter(), 0
    while time.perf_counter() < start + seconds or not steps:
        side.step()
        steps += 1
    return (time.perf_counter() - start) / steps


def _added(make: Any, work: Workload, batch: int) -> float:
    """MiB that a network, its optimizer, one batch and the first steps add to the process at their peak."""
    with suppress(OSError):  # Linux: forget the peak so far, which reading the libraries made
        Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    side = make(work, batches(work, batch, count=1))
    for _ in range(STEPS):
        side.step()
    return (peak() - before) / MIB


def peak() -> int:
    """The most memory, in bytes, that this process had in RAM.

    On Linux from /proc: ru_maxrss would begin with the memory of the process that started this one.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(Task(**json.loads(sys.argv[1])))
