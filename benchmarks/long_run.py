"""Does a long training stay as fast and as small as it began? Time and memory of each of 30 epochs.

    python -m benchmarks.long_run [--epochs 30] [--threads 2] [--data DIR]

Trains the smile detector, with augmentation, a validation split, averaged weights, and a checkpoint after each step:
the allocator keeps some of what a checkpoint takes, and an epoch without one would look smaller than the others. The
time of an epoch is the median over its steps, so that what else the machine does in between counts little.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import minicnn as mc
from minicnn.train import Callback
from minicnn.train.recipes import SMILE, Examples
from minicnn.train.training import train


class Watch(Callback):
    """Notes the median step and the process's memory of each epoch."""

    def on_start(self, trainer, epochs, steps) -> None:
        self.steps: list[float] = []
        self.rows: list[tuple[float, float]] = []
        self.last = time.perf_counter()

    def on_step(self, trainer, loss) -> None:
        now = time.perf_counter()
        self.steps.append(now - self.last)
        self.last = now

    def on_epoch(self, trainer, row) -> None:
        self.rows.append((statistics.median(self.steps[1:]) * 1e3, resident()))
        self.steps = []


def resident() -> float:
    """Memory of this process that is in RAM now, in MiB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def measure(epochs: int, examples: Examples) -> list[tuple[float, float]]:
    """(milliseconds of the median step, MiB) of each epoch."""
    watch = Watch()
    settings = SMILE.settings(augment=True, epochs=epochs, patience=epochs, average=0.99)
    with tempfile.TemporaryDirectory() as folder:
        train(SMILE, examples, settings, Path(folder) / "run", callbacks=[watch], checkpoint_every=0)
    return watch.rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, help="folder of the data (default: synthetic faces)")
    options = parser.parse_args()
    mc.set_num_threads(options.threads)
    rows = measure(options.epochs, SMILE.examples(options.data))
    for epoch, (step, memory) in enumerate(rows, 1):
        print(f"epoch {epoch:3}  {step:7.2f} ms a step  {memory:8.1f} MiB")
    (first_step, first_memory), (last_step, last_memory) = rows[1], rows[-1]
    print(f"epoch {len(rows)} against epoch 2: {last_step / first_step:.3f} times the time, "
          f"{last_memory / first_memory:.4f} times the memory")


if __name__ == "__main__":
    main()
