"""All that is measured of a model's predictions, as plain values that JSON can hold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .metrics import (
    accuracy,
    class_scores,
    confusion_matrix,
    f1,
    pair,
    precision,
    ratio,
    recall,
    roc_auc,
    top_k_accuracy,
)


def binary_report(labels: ArrayLike, logits: ArrayLike, threshold: float = 0.0) -> dict[str, Any]:
    """How good logits are for labels 0 and 1: positive is predicted where the logit is above the threshold; above 0 the
    probability is above one half.

    Returns "examples", "accuracy", "precision", "recall", "f1", "auc", "confusion_matrix" (nested lists) and "notes": a
    sentence for each value that its definition leaves open. What is nan elsewhere is None here, as JSON has no nan.

    >>> import minicnn as mc
    >>> report = mc.train.binary_report([0, 0, 1, 1], [-2.0, 1.0, 2.0, 3.0])
    >>> report["accuracy"], report["recall"], report["auc"], report["confusion_matrix"]
    (0.75, 1.0, 1.0, [[1, 1], [0, 2]])
    """
    truth, scores = pair("binary_report", labels, logits)
    predicted = (scores.astype(np.float64) > threshold).astype(np.int64)
    matrix = confusion_matrix(truth, predicted)
    auc = roc_auc(truth, scores)
    return {
        "examples": int(truth.size),
        "accuracy": accuracy(truth, predicted),
        "precision": precision(truth, predicted),
        "recall": recall(truth, predicted),
        "f1": f1(truth, predicted),
        "auc": None if np.isnan(auc) else auc,
        "confusion_matrix": matrix.tolist(),
        "notes": _binary_notes(matrix),
    }


def _binary_notes(matrix: np.ndarray) -> list[str]:
    (tn, fp), (fn, tp) = matrix.tolist()
    notes = []
    if tp + fp == 0:
        notes.append("nothing was predicted positive: precision, undefined, is given as 0")
    if tp + fn == 0:
        notes.append("there is no positive example: recall, undefined, is given as 0")
    if tp + fp + fn == 0:
        notes.append("there is no positive, true or predicted: f1, undefined, is given as 0")
    if tp + fn == 0 or tn + fp == 0:
        notes.append("all examples are of one class: auc is undefined")
    return notes


def class_report(labels: ArrayLike, scores: ArrayLike, classes: Sequence[str]) -> dict[str, Any]:
    """How good the scores of several classes are: the class that scores highest is predicted.

    labels: (N,), classes from 0. scores: (N, K), logits or probabilities. classes: their K names.

    Returns "examples", "accuracy", "top5" (the share whose class is among the five highest; for 10 classes or more),
    "macro_precision", "macro_recall" and "macro_f1" (means over the classes, each counting the same), "per_class" (for
    each name "precision", "recall", "f1" and "support", its number of examples), "confusion_matrix" (nested lists: a
    row for each true class) and "notes": a sentence for each value that its definition leaves open, which is given as
    0 and counts so in the means.

    >>> import minicnn as mc
    >>> scores = [[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]]
    >>> report = mc.train.class_report([0, 1, 2], scores, ["cat", "dog", "owl"])
    >>> report["per_class"]["owl"]["precision"], report["notes"]
    (0.5, ['dog was never predicted: precision, undefined, given as 0'])
    """
    truth, values = class_scores("class_report", labels, scores)
    count = values.shape[1]
    if len(classes) != count or len(set(classes)) != count:
        raise ValueError(f"class_report: expected {count} different names of classes, got {list(classes)!r:.80}")
    predicted = values.argmax(axis=1)
    matrix = confusion_matrix(truth, predicted, count)
    per_class = {str(name): _one_class(matrix, i) for i, name in enumerate(classes)}
    means = {f"macro_{key}": float(np.mean([values[key] for values in per_class.values()]))
             for key in ("precision", "recall", "f1")}
    return {
        "examples": int(truth.size),
        "accuracy": accuracy(truth, predicted),
        **({"top5": top_k_accuracy(truth, values, 5)} if count >= 10 else {}),
        **means,
        "per_class": per_class,
        "confusion_matrix": matrix.tolist(),
        "notes": _class_notes(matrix, classes),
    }


def _one_class(matrix: np.ndarray, place: int) -> dict[str, Any]:
    """One class against all others."""
    hits, support, guesses = (int(n) for n in (matrix[place, place], matrix[place].sum(), matrix[:, place].sum()))
    return {"precision": ratio(hits, guesses), "recall": ratio(hits, support), "f1": ratio(2 * hits, support + guesses),
            "support": support}


def _class_notes(matrix: np.ndarray, classes: Sequence[str]) -> list[str]:
    notes = []
    for name, support, guesses in zip(classes, matrix.sum(axis=1).tolist(), matrix.sum(axis=0).tolist(), strict=True):
        undefined = [*(["precision"] if not guesses else []), *(["recall"] if not support else []),
                     *(["f1"] if not guesses + support else [])]
        if undefined:
            why = " and ".join([*(["was never predicted"] if not guesses else []),
                                *(["has no example"] if not support else [])])
            notes.append(f"{name} {why}: {', '.join(undefined)}, undefined, given as 0")
    return notes
