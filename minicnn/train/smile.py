"""The recipe of `minicnn train smile`: data, model, training and evaluation, in one screen of code.

Adam at 1e-3, batches of 32, binary cross-entropy on the logit, dropout 0.1. The test examples choose nothing: the model
that is kept is that of the last epoch. They are evaluated after each epoch only to draw their curve.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from .. import __version__, data, nn, optim, random
from ..device import get_num_threads
from ..io.atomic import write_text
from ..kernels import cpu
from ..models import create, save
from ..models.saving import MODEL_FILE
from ..nn import functional as F
from ..tensor import tensor
from .loop import Callback, History, fit, predict
from .metrics import accuracy, binary_report
from .report import confusion_matrix_figure, learning_curves, save_png
from .run import CONFIG_FILE, new_run, write_json

CLASSES = ("not smiling", "smiling")
EVALUATION_BATCH = 100


@dataclass(frozen=True)
class Recipe:
    """What a training can be asked for. seed: governs the first weights, the order of the examples and dropout."""

    epochs: int
    batch_size: int = 32
    lr: float = 1e-3
    seed: int = 0


class Faces(NamedTuple):
    """Training and test pictures, and where they come from."""

    train: data.ArrayDataset
    test: data.ArrayDataset
    source: str
    synthetic: bool


def load_faces(folder: str | Path | None) -> Faces:
    """The faces in a folder (train_happy.h5, test_happy.h5), or without one the built-in, computer-drawn faces."""
    found = data.load_synthetic_faces() if folder is None else data.load_happy_house(folder)
    source = "synthetic faces, drawn by minicnn" if folder is None else str(folder)
    return Faces(found.train, found.test, source, folder is None)


def default_epochs(faces: Faces) -> int:
    """20 passes over the few hundred photographs of the original set, fewer over the thousands of drawn faces."""
    return 6 if faces.synthetic else 20


def train_smile(faces: Faces, out: str | Path, recipe: Recipe, callbacks: Sequence[Callback] = ()) -> dict[str, Any]:
    """Train a smile detector and leave the folder of a run (see train/run.py) at `out`. Returns its metrics.

    Whatever goes wrong (TrainingError: the loss became infinite or nan), what was at `out` before stays.
    """
    with new_run(out) as folder:
        began = perf_counter()
        model, history = learn(faces, recipe, callbacks)
        seconds = perf_counter() - began
        report = evaluate_smile(model, faces.test)
        metrics = {"data": faces.source, "synthetic": faces.synthetic, "train_examples": len(faces.train),
                   "epochs": len(history), **report}
        save(model, folder / MODEL_FILE)
        write_json(folder / CONFIG_FILE, _config(model, faces, recipe, seconds))
        write_json(folder / "metrics.json", metrics)
        write_text(folder / "history.csv", history.to_csv())
        _draw(folder, faces, history, metrics)
    return metrics


def learn(faces: Faces, recipe: Recipe, callbacks: Sequence[Callback] = ()) -> tuple[nn.Module, History]:
    """The model trained on `faces.train` by the recipe, and its history."""
    random.manual_seed(recipe.seed)
    model = create("smile_detector")
    batches = data.DataLoader(faces.train, batch_size=recipe.batch_size, shuffle=True, seed=recipe.seed)
    history = fit(
        model,
        batches,
        _in_order(faces.test),
        loss=F.binary_cross_entropy_with_logits,
        optimizer=optim.Adam(model.parameters(), lr=recipe.lr),
        epochs=recipe.epochs,
        metrics={"accuracy": lambda labels, logits: accuracy(labels, logits > 0)},
        validation_name="test",
        callbacks=callbacks,
    )
    return model, history


def evaluate_smile(model: nn.Module, faces: data.ArrayDataset) -> dict[str, Any]:
    """The mean loss and `binary_report` of a model on labelled faces."""
    logits, labels = predict(model, _in_order(faces))
    if logits.shape != labels.shape:
        raise ValueError(f"the model gives outputs of shape {logits.shape}, expected a logit a face, {labels.shape}")
    loss = F.binary_cross_entropy_with_logits(tensor(logits), tensor(labels)).item()
    return {"loss": loss, **binary_report(labels, logits)}


def _in_order(faces: data.ArrayDataset) -> data.DataLoader:
    return data.DataLoader(faces, batch_size=EVALUATION_BATCH)


def _config(model: nn.Module, faces: Faces, recipe: Recipe, seconds: float) -> dict[str, Any]:
    source = {"source": faces.source, "synthetic": faces.synthetic, "train": len(faces.train), "test": len(faces.test)}
    return {
        **model.config,
        "parameters": sum(p.numel() for p in model.parameters()),
        "data": source,
        "recipe": {"optimizer": "Adam", "loss": "binary cross-entropy on the logit", **asdict(recipe)},
        "machine": {"minicnn": __version__, "numpy": np.__version__, "vector_level": cpu.level,
                    "threads": get_num_threads(), "seconds": round(seconds, 1)},
    }


def _draw(folder: Path, faces: Faces, history: History, metrics: dict[str, Any]) -> None:
    kind = "synthetic" if faces.synthetic else "real"
    curves = learning_curves(history, f"smile_detector on {len(faces.train):,} {kind} faces", "test")
    save_png(curves, folder / "learning_curves.png")
    title = f"{metrics['accuracy']:.1%} of {metrics['examples']:,} {kind} test faces right"
    save_png(confusion_matrix_figure(metrics["confusion_matrix"], CLASSES, title), folder / "confusion_matrix.png")
