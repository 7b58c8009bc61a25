"""Does the data keep up? The share of a training that is spent in the network, with augmentation on.

    python -m benchmarks.data_pipeline smile --data DIR [--steps 60] [--rounds 7] [--threads 2]

Rounds of steps take turns: batches as they come from the loader, augmented in its thread, and the same number of
batches that lie ready in memory. Two figures follow. "waiting" is the time for which the training loop stood still
until its next batch came. "in the network" is stricter: the time of a round on ready batches over that of a round on
the loader's, so that it counts too what the loader's thread takes away from the network's threads.
"""

import argparse
import statistics
import time
from itertools import islice
from pathlib import Path

import minicnn as mc
from minicnn.train import Trainer
from minicnn.train.recipes import RECIPES, find
from minicnn.train.training import build, training_batches


def timed_round(trainer: Trainer, batches, steps: int) -> tuple[float, float]:
    """(seconds in all, seconds of waiting for batches) of so many steps."""
    waiting, began = 0.0, time.perf_counter()
    source = iter(batches)
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(source)
        waiting += time.perf_counter() - asked
        trainer._step(batch)
    return time.perf_counter() - began, waiting


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--data", type=Path, help="folder of the data")
    parser.add_argument("--steps", type=int, default=60, help="in a round (default: 60)")
    parser.add_argument("--rounds", type=int, default=7, help="of either kind (default: 7)")
    parser.add_argument("--threads", type=int, default=2, help="of the network (default: 2)")
    options = parser.parse_args()
    mc.set_num_threads(options.threads)
    recipe = find(options.name)
    examples = recipe.examples(options.data)
    settings = recipe.settings(augment=True)
    trainer = build(recipe, examples.classes, examples.train, settings, [])
    loader = training_batches(recipe, examples.train, settings)
    ready = list(islice(loader, min(options.steps, len(loader))))
    trainer.model.train()

    def endless(epochs=loader):
        while True:
            yield from epochs

    def again():
        while True:
            yield from ready

    timed_round(trainer, again(), 5)
    shares, waits = [], []
    for _ in range(options.rounds):
        stream = endless()
        whole, waiting = timed_round(trainer, stream, options.steps)
        stream.close()
        alone, _ = timed_round(trainer, again(), options.steps)
        shares.append(alone / whole)
        waits.append(waiting / whole)
    print(f"{recipe.name}, batch {settings.batch_size}, {options.threads} threads, augmentation: "
          f"{', '.join(map(repr, recipe.augment))}")
    print(f"waiting for data: {statistics.median(waits):.1%} of the time (median of {options.rounds} rounds of "
          f"{options.steps} steps; {min(waits):.1%} to {max(waits):.1%})")
    print(f"in the network:   {statistics.median(shares):.1%} of the time ({min(shares):.1%} to {max(shares):.1%})")


if __name__ == "__main__":
    main()
