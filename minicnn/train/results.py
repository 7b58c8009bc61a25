"""What a complete training leaves in its run's folder: the model, how good it is, and pictures of it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..device import get_num_threads
from ..figure import save_png
from ..kernels import cpu
from ..models import save
from ..models.saving import MODEL_FILE
from ..nn import Module
from .callbacks import EarlyStopping
from .evaluation import predict
from .history import History
from .judging import class_names, device_of, judge, loader, probabilities, threshold_of
from .recipes import Examples, Recipe
from .report import confusion_matrix_figure, learning_curves, mistakes_figure
from .run import CONFIG_FILE, write_json
from .settings import Settings
from .trainer import Trainer


def write_results(folder: Path, recipe: Recipe, examples: Examples, settings: Settings, trainer: Trainer,
           learned: int) -> dict[str, Any]:
    """Judge the model on the test examples and write the files of the run."""
    model = trainer.model
    outputs, labels = predict(model, loader(examples.test, device_of(model)))
    metrics = {"data": examples.source, "synthetic": examples.synthetic, "train_examples": learned,
               "epochs": trainer.epoch, "best_epoch": _best_epoch(trainer), **judge(model, outputs, labels)}
    save(model, folder / MODEL_FILE)
    write_json(folder / CONFIG_FILE, _config(recipe, examples, settings, trainer))
    write_json(folder / "metrics.json", metrics)
    _draw(folder, recipe, examples, trainer.history, metrics, model, outputs, labels)
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
                    "threads": get_num_threads(), "device": device_of(trainer.model),
                    "seconds": round(trainer.seconds, 1)},
    }


def _draw(folder: Path, recipe: Recipe, examples: Examples, history: History, metrics: dict[str, Any], model: Module,
         outputs: np.ndarray, labels: np.ndarray) -> None:
    """Write the PNG files of a run. outputs, labels: of the test examples."""
    drawn = "synthetic " if examples.synthetic else ""
    best = metrics["best_epoch"] if metrics["best_epoch"] != metrics["epochs"] else None
    title = f"{recipe.model} on {metrics['train_examples']:,} {drawn}{recipe.things}"
    curves = learning_curves(history, title, best_epoch=best)
    save_png(curves, folder / "learning_curves.png")
    names = class_names(model, 2 if recipe.binary else outputs.shape[1])
    title = f"{metrics['accuracy']:.1%} of {metrics['examples']:,} {drawn}test {recipe.things} right"
    save_png(confusion_matrix_figure(metrics["confusion_matrix"], names, title), folder / "confusion_matrix.png")
    chances = probabilities(outputs)
    above = outputs[:, 0].astype(np.float64) > threshold_of(model)
    predicted = above.astype(int) if recipe.binary else outputs.argmax(-1)
    mistakes = mistakes_figure(examples.test.arrays[0], labels.reshape(-1).astype(int), chances, names,
                               f"the most confident mistakes on the {drawn}test {recipe.things}", predicted=predicted)
    save_png(mistakes, folder / "mistakes.png")
