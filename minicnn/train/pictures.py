"""What a run shows of itself: its curves, its confusion matrix, its worst mistakes."""

from pathlib import Path
from typing import Any

import numpy as np

from ..figure import save_png
from ..nn import Module
from .history import History
from .judging import class_names, probabilities, threshold_of
from .recipes import Examples, Recipe
from .report import confusion_matrix_figure, learning_curves, mistakes_figure


def draw(folder: Path, recipe: Recipe, examples: Examples, history: History, metrics: dict[str, Any], model: Module,
         outputs: np.ndarray, labels: np.ndarray) -> None:
    """Write the PNG files of a run. outputs, labels: of the test examples."""
    kind = f"{'synthetic ' if examples.synthetic else ''}{recipe.things}"
    best = metrics["best_epoch"] if metrics["best_epoch"] != metrics["epochs"] else None
    curves = learning_curves(history, f"{recipe.model} on {metrics['train_examples']:,} {kind}", best_epoch=best)
    save_png(curves, folder / "learning_curves.png")
    names = class_names(model, 2 if recipe.binary else outputs.shape[1])
    title = f"{metrics['accuracy']:.1%} of {metrics['examples']:,} test {kind} right"
    save_png(confusion_matrix_figure(metrics["confusion_matrix"], names, title), folder / "confusion_matrix.png")
    chances = probabilities(outputs)
    predicted = (outputs[:, 0] > threshold_of(model)).astype(int) if recipe.binary else outputs.argmax(-1)
    mistakes = mistakes_figure(examples.test.arrays[0], labels.reshape(-1).astype(int), chances, names,
                               f"the most confident mistakes on the test {kind}", predicted=predicted)
    save_png(mistakes, folder / "mistakes.png")
