"""One training from data to a folder of a run: what `minicnn train` does."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from .. import __version__, data, nn, optim, random
from ..data import transforms
from ..data.show import augmentation_figure
from ..device import get_num_threads
from ..kernels import cpu
from ..models import create, save
from ..models.saving import MODEL_FILE
from . import checkpoint as checkpoints
from .callbacks import CSVLog, EarlyStopping
from .evaluation import predict
from .judging import choose_threshold, judge, loader
from .pictures import draw
from .recipes import Examples, Recipe, Settings, find
from .run import CHECKPOINT_FILE, CONFIG_FILE, checkpoint_of, open_run, write_json
from .trainer import Callback, Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Made(NamedTuple):
    """What an unfinished run was made of: enough to go on with it."""

    recipe: Recipe
    settings: Settings
    source: str
    synthetic: bool


def load_examples(recipe: Recipe, folder: str | Path | None) -> Examples:
    """The recipe's data from a folder; without one, from where `data.find` finds it, or drawn by the computer."""
    if folder is None and recipe.drawn is not None:
        faces = data.load_synthetic_faces()
        return Examples(faces.train, faces.test, faces.classes, "synthetic faces, drawn by minicnn", True)
    where = data.find(recipe.name) if folder is None else folder
    if where is None:
        raise data.DataError(f"there is no data for {recipe.name} on this machine: say in which folder it is, or "
                             f"fetch it by `minicnn data download {recipe.name}`")
    found = recipe.load(Path(where))
    return Examples(found.train, found.test, tuple(found.classes), str(where))


def load_test_examples(recipe: Recipe, folder: str | Path | None) -> data.ArrayDataset:
    """The recipe's test examples; of a folder, no other files are read."""
    return load_examples(recipe, None).test if folder is None else recipe.load_test(Path(folder))


def unfinished(out: str | Path) -> Made | None:
    """What the unfinished run at `out` was made of; None if there is no checkpoint. ValueError if it is broken."""
    path = checkpoint_of(out)
    if not path.is_file():
        return None
    state = checkpoints.read(path)
    try:
        made = state["Provenance"]
        recipe, settings = find(made["recipe"]), Settings(**made["settings"])
        recipe.check(settings)
        if not (isinstance(made["source"], str) and isinstance(made["synthetic"], bool)):
            raise TypeError(f"the data are from {made['source']!r:.80}, synthetic {made['synthetic']!r:.80}")
        return Made(recipe, settings, made["source"], made["synthetic"])
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the checkpoint of such a training ({error})") from error


class Provenance(Callback):
    """Keeps in the checkpoint what a run is made of, and goes on with no other data."""

    def __init__(self, recipe: Recipe, examples: Examples, settings: Settings) -> None:
        self.made = {"recipe": recipe.name, "settings": asdict(settings), "source": examples.source,
                     "synthetic": examples.synthetic, "fingerprint": data.fingerprint(examples.train)}

    def on_start(self, trainer: Trainer, epochs: int, steps: int | None) -> None:
        """ValueError if a part of what was loaded is missing or of another step than the rest."""
        taken = trainer.epoch * (steps or 0) + trainer.step
        optimizer = cast(optim.Optimizer, trainer.optimizer)
        counts = [("optimizer", optimizer.state.get(parameter, {"step": 0})["step"])
                  for group in optimizer.param_groups for parameter in group["params"]]
        if trainer.average is not None:
            counts.append(("average", trainer.average.updates))
        if trainer.schedule is not None:
            counts.append(("schedule", trainer.schedule.last_epoch))
        for part, count in counts:
            if count != taken:
                raise ValueError(f"a damaged checkpoint: {taken} steps were taken, but its {part} knows of {count}")

    def state_dict(self) -> dict[str, Any]:
        """Words and numbers."""
        return self.made

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """ValueError if that is not what this run is made of."""
        if state["fingerprint"] != self.made["fingerprint"]:
            raise ValueError(f"{self.made['source']}: not the training data that the run was begun with (from "
                             f"{state['source']})")
        if (state["recipe"], state["settings"]) != (self.made["recipe"], self.made["settings"]):
            raise ValueError("the run was begun with other settings")


def train(recipe: Recipe, examples: Examples, settings: Settings, out: str | Path, *, resume: bool = False,
          restart: bool = False, device: str = "cpu", callbacks: Sequence[Callback] = (),
          checkpoint_every: float = 30.0) -> dict[str, Any]:
    """Train by a recipe and leave the folder of a run (see train/run.py) at `out`. Returns its metrics.

    resume: go on from the checkpoint of an unfinished run there, if there is one, with the same bits as if it had never
    stopped; restart: give it up. Whatever goes wrong (TrainingError: the loss became infinite or nan), the run that was
    at `out` before stays, and so does the last checkpoint.
    """
    with open_run(out, resume=resume, restart=restart) as folder:
        learning, validation = _split(examples.train, settings)
        _check_both_classes(validation, settings)
        own = [Provenance(recipe, examples, settings), CSVLog(folder / "history.csv")]
        trainer = build(recipe, examples.classes, learning, settings, [*own, *callbacks], device)
        watched, name = (examples.test, "test") if validation is None else (validation, "val")
        trainer.fit(training_batches(recipe, learning, settings, device), loader(watched, device),
                    epochs=settings.epochs, validation_name=name, checkpoint=folder / CHECKPOINT_FILE,
                    checkpoint_every=checkpoint_every, resume=resume)
        if validation is not None and settings.false_alarm_cost is not None and settings.miss_cost is not None:
            threshold = choose_threshold(trainer.model, validation, settings.false_alarm_cost, settings.miss_cost)
            trainer.model.config["threshold"] = threshold
        return _write(folder, recipe, examples, settings, trainer, len(learning))


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
    model.config["classes"] = list(classes)
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


def _write(folder: Path, recipe: Recipe, examples: Examples, settings: Settings, trainer: Trainer,
           learned: int) -> dict[str, Any]:
    """Judge the model on the test examples and write the files of the run."""
    model = trainer.model
    outputs, labels = predict(model, loader(examples.test))
    metrics = {"data": examples.source, "synthetic": examples.synthetic, "train_examples": learned,
               "epochs": trainer.epoch, "best_epoch": _best_epoch(trainer), **judge(model, outputs, labels)}
    save(model, folder / MODEL_FILE)
    write_json(folder / CONFIG_FILE, _config(recipe, examples, settings, trainer))
    write_json(folder / "metrics.json", metrics)
    draw(folder, recipe, examples, trainer.history, metrics, model, outputs, labels)
    return metrics


def _best_epoch(trainer: Trainer) -> int:
    """The epoch whose weights the model has."""
    return next((c.best_epoch for c in trainer.callbacks if isinstance(c, EarlyStopping)), trainer.epoch)


def _config(recipe: Recipe, examples: Examples, settings: Settings, trainer: Trainer) -> dict[str, Any]:
    source = {"source": examples.source, "synthetic": examples.synthetic, "train": len(examples.train),
              "test": len(examples.test), "augmentation": [repr(a) for a in recipe.augment if settings.augment]}
    return {
        **trainer.model.config,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "data": source,
        "recipe": {"name": recipe.name, "optimizer": type(trainer.optimizer).__name__, **asdict(settings)},
        "machine": {"minicnn": __version__, "numpy": np.__version__, "vector_level": cpu.level,
                    "threads": get_num_threads(), "seconds": round(trainer.seconds, 1)},
    }


def augmentation_sheet(recipe: Recipe, examples: Examples, settings: Settings) -> "Figure":
    """Pictures of one training batch, and what augmentation makes of them where the settings ask for it."""
    before, after = (next(iter(training_batches(recipe, examples.train, replace(settings, augment=changed))))
                     for changed in (False, settings.augment))
    figures = [tuple(tensor.numpy() for tensor in batch) for batch in (before, after)]
    return augmentation_figure(figures[0][0], figures[1][0] if settings.augment else None, figures[1][1],
                               examples.classes)
