"""How good predictions are: counts of right and wrong ones, and the ranking that scores give.

Labels are 0 (negative) or 1 (positive) here, except in `confusion_matrix` and `accuracy`, which take any classes. All
functions take arrays of any one shape, labels first. Where a definition divides by zero, what comes back is said below,
and `binary_report` notes it in words.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """The share of predictions that are the label. ValueError if there are none."""
    truth, guess = _pair("accuracy", labels, predicted)
    return float(np.mean(truth == guess))


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, classes: int = 2) -> np.ndarray:
    """Counts (classes, classes), int64: row i, column j counts the examples of class i that were predicted as j.

    For two classes [[true negatives, false positives], [false negatives, true positives]].
    """
    truth, guess = _pair("confusion_matrix", labels, predicted)
    for name, values in (("labels", truth), ("predicted", guess)):
        bad = values[~np.isin(values, np.arange(classes))]
        if bad.size:
            raise ValueError(f"confusion_matrix: {name} must be classes from 0 to {classes - 1}, got {bad[0]}")
    cells = truth.astype(np.int64) * classes + guess.astype(np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def precision(labels: ArrayLike, predicted: ArrayLike) -> float:
    """TP / (TP + FP): of the examples predicted positive, the share that are. 0 if none was predicted positive."""
    (_, fp), (_, tp) = confusion_matrix(labels, predicted)
    return _ratio(tp, tp + fp)


def recall(labels: ArrayLike, predicted: ArrayLike) -> float:
    """TP / (TP + FN): of the positive examples, the share that were found. 0 if there is no positive example."""
    _, (fn, tp) = confusion_matrix(labels, predicted)
    return _ratio(tp, tp + fn)


def f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall. 0 if nothing is or was predicted positive."""
    (_, fp), (fn, tp) = confusion_matrix(labels, predicted)
    return _ratio(2 * tp, 2 * tp + fp + fn)


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The area under the ROC curve: the chance that a positive example scores higher than a negative one, ties counting
    one half. nan if the labels are all of one class.

    By ranks (Hanley & McNeil 1982): (R - p (p + 1) / 2) / (p n), with R the sum of the ranks of the p positives among
    all scores, equal scores sharing the mean of their ranks.
    """
    truth, values = _pair("roc_auc", labels, scores)
    _check_binary("roc_auc", truth)
    if np.isnan(values).any():
        raise ValueError("roc_auc: scores must not be nan")
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    double_rank = 2 * np.cumsum(counts) - counts + 1  # twice the mean rank: an integer
    positive = truth == 1
    p, n = int(positive.sum()), int((~positive).sum())
    if p == 0 or n == 0:
        return float("nan")
    return (int(double_rank[place.reshape(-1)][positive].sum()) - p * (p + 1)) / (2 * p * n)


def binary_report(labels: ArrayLike, logits: ArrayLike) -> dict[str, Any]:
    """All of the above for logits: positive is predicted where the logit is above 0, a probability above one half.

    Returns "examples", "accuracy", "precision", "recall", "f1", "auc", "confusion_matrix" (nested lists) and "notes": a
    sentence for each value that its definition leaves open. What is nan elsewhere is None here, as JSON has no nan.
    """
    truth, scores = _pair("binary_report", labels, logits)
    predicted = (scores > 0).astype(np.int64)
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
        "notes": _notes(matrix),
    }


def _notes(matrix: np.ndarray) -> list[str]:
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


def _pair(name: str, labels: ArrayLike, others: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(labels), np.asarray(others)
    if first.shape != second.shape:
        raise ValueError(f"{name}: labels have shape {first.shape} and predictions {second.shape}, expected the same")
    if not first.size:
        raise ValueError(f"{name}: there are no examples")
    return first.reshape(-1), second.reshape(-1)


def _check_binary(name: str, labels: np.ndarray) -> None:
    bad = labels[(labels != 0) & (labels != 1)]
    if bad.size:
        raise ValueError(f"{name}: labels must be 0 or 1, got {bad[0]}")


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
