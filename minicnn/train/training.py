"""One training from data to a folder of a run: what `minicnn train` does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, nn, optim, random
from ..data import transforms
from ..models import create
from .callbacks import CSVLog, EarlyStopping
from .judging import choose_threshold, loader
from .provenance import Provenance
from .recipes import Examples, Recipe
from .results import write_results
from .run import CHECKPOINT_FILE, open_run
from .settings import Settings
from .trainer import Callback, Trainer


def train(recipe: Recipe, examples: Examples, settings: Settings, out: str | Path, *, resume: bool = False,
          restart: bool = False, device: str = "cpu", callbacks: Sequence[Callback] = (),
          checkpoint_every: float = 30.0) -> dict[str, Any]:
    """Train by a recipe and leave the folder of a run (see train/run.py) at `out`. Returns its metrics.

    resume: go on from the checkpoint of an unfinished run there, if there is one, with the same bits as if it had never
    stopped; restart: give it up. Whatever goes wrong (TrainingError: the loss became infinite or nan), the run that was
    at `out` before stays, and the last checkpoint and the history until then are in `out`/unfinished.
    """
    learning, validation = _split(examples.train, settings)
    _check_both_classes(validation, settings)
    with open_run(out, resume=resume, restart=restart) as folder:
        own = [Provenance(recipe, examples, settings), CSVLog(folder / "history.csv")]
        trainer = build(recipe, examples.classes, learning, settings, [*own, *callbacks], device)
        watched, name = (examples.test, "test") if validation is None else (validation, "val")
        trainer.fit(training_batches(recipe, learning, settings, device), loader(watched, device),
                    epochs=settings.epochs, validation_name=name, checkpoint=folder / CHECKPOINT_FILE,
                    checkpoint_every=checkpoint_every, resume=resume)
        if validation is not None and settings.false_alarm_cost is not None and settings.miss_cost is not None:
            threshold = choose_threshold(trainer.model, validation, settings.false_alarm_cost, settings.miss_cost)
            trainer.model.config["threshold"] = threshold
        return write_results(folder, recipe, examples, settings, trainer, len(learning))


def _split(examples: data.ArrayDataset, settings: Settings) -> tuple[data.Dataset, data.Dataset | None]:
    """The examples to learn from, and those to validate with if any are set aside."""
    return data.split_off(examples, settings.validation, settings.seed) if settings.validation else (examples, None)


def _check_both_classes(validation: data.Dataset | None, settings: Settings) -> None:
    """ValueError if a threshold is to be chosen on examples of one class, where any does."""
    if validation is not None and settings.miss_cost is not None:
        labels = validation.batch(np.arange(len(validation)))[1]
        if len(np.unique(labels)) < 2:
            raise ValueError(f"a threshold by costs needs validation examples of both classes, and all {len(labels)} "
                             "are of one: set more aside")


def build(recipe: Recipe, classes: Sequence[str], learning: data.Dataset, settings: Settings,
          callbacks: Sequence[Callback], device: str = "cpu") -> Trainer:
    """The trainer of a recipe, with a fresh model."""
    random.manual_seed(settings.seed)
    model = create(recipe.model).to(device)
    model.config |= {"recipe": recipe.name, "classes": list(classes)}
    for module in model.modules():
        if isinstance(module, nn.Normalize):
            found = transforms.Normalize.fit(learning)
            module.set_statistics(found.mean, found.std)
    optimizer = recipe.optimizer(model.parameters(), lr=settings.lr)
    stopping = [EarlyStopping("val_loss", settings.patience)] if settings.patience else []
    average = None if settings.average is None else optim.ExponentialMovingAverage(model, settings.average)
    steps = -(-len(learning) // settings.batch_size)
    return Trainer(model, loss=recipe.loss, optimizer=optimizer, metrics={"accuracy": recipe.accuracy},
                   schedule=make_schedule(optimizer, settings, steps), schedule_per="step",
                   clip_norm=settings.clip_norm, average=average, callbacks=[*stopping, *callbacks])


def make_schedule(optimizer: optim.Optimizer, settings: Settings, steps: int) -> Any:
    """The learning rate of each step: a linear warm-up, then constant or half a cosine wave down to 0; None if it
    never changes. steps: of an epoch."""
    rising, rest = settings.warmup * steps, (settings.epochs - settings.warmup) * steps
    parts: list[Any] = []
    if rising:
        parts.append(optim.LinearLR(optimizer, start_factor=1 / (rising + 1), total_iters=rising))
    if settings.schedule == "cosine":
        parts.append(optim.CosineAnnealingLR(optimizer, T_max=rest))
    return optim.SequentialLR(optimizer, parts, milestones=[rising]) if len(parts) == 2 else next(iter(parts), None)


def training_batches(recipe: Recipe, learning: data.Dataset, settings: Settings,
                     device: str = "cpu") -> data.DataLoader:
    """The batches to learn from: shuffled, as floats, and augmented where that is asked for."""
    chain = transforms.Compose(transforms.ToFloat(), *(recipe.augment if settings.augment else ()))
    return data.DataLoader(learning, settings.batch_size, shuffle=True, seed=settings.seed, transform=chain,
                           device=device)
