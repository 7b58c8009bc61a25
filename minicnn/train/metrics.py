"""How good predictions are: counts of right and wrong ones, and the ranking that scores give.

Labels are 0 (negative) or 1 (positive) here, except in `confusion_matrix`, `accuracy` and `top_k_accuracy`, which take
any classes. All functions take labels first, and predictions in an array of the same shape. Where a definition divides
by zero, what comes back is said below, and the reports (metric_reports.py) note it in words.
"""

import numpy as np
from numpy.typing import ArrayLike

from ..ops.arguments import is_int


def accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """The share of predictions that are the label. ValueError if there are none.

    >>> import minicnn as mc
    >>> mc.train.accuracy([0, 1, 2, 2], [0, 1, 2, 1])
    0.75
    """
    truth, guess = pair("accuracy", labels, predicted)
    return float(np.mean(truth == guess))


def top_k_accuracy(labels: ArrayLike, scores: ArrayLike, k: int) -> float:
    """The share of examples whose class is among the k that score highest. labels: (N,), classes from 0; scores: (N, K)
    logits or probabilities. Among equal scores the lower class comes first, so that k = 1 is the accuracy of argmax.

    >>> import minicnn as mc
    >>> scores = [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]
    >>> mc.train.top_k_accuracy([0, 1], scores, k=1), mc.train.top_k_accuracy([0, 1], scores, k=2)
    (0.5, 1.0)
    """
    truth, values = class_scores("top_k_accuracy", labels, scores)
    if not is_int(k) or not 1 <= k <= values.shape[1]:
        raise ValueError(f"top_k_accuracy: k must be an int from 1 to {values.shape[1]}, the classes, got {k!r}")
    own = np.take_along_axis(values, truth[:, None], axis=1)
    earlier = np.arange(values.shape[1]) < truth[:, None]
    before = (values > own) | ((values == own) & earlier)
    return float(np.mean(before.sum(axis=1) < k))


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, classes: int = 2) -> np.ndarray:
    """Counts (classes, classes), int64: row i, column j counts the examples of class i that were predicted as j.

    For two classes [[true negatives, false positives], [false negatives, true positives]].

    >>> import minicnn as mc
    >>> mc.train.confusion_matrix([0, 0, 0, 1, 1], [0, 0, 1, 1, 1]).tolist()
    [[2, 1], [0, 2]]
    """
    truth, guess = pair("confusion_matrix", labels, predicted)
    for name, values in (("labels", truth), ("predicted", guess)):
        bad = values[~np.isin(values, np.arange(classes))]
        if bad.size:
            raise ValueError(f"confusion_matrix: {name} must be classes from 0 to {classes - 1}, got {bad[0]}")
    cells = truth.astype(np.int64) * classes + guess.astype(np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def precision(labels: ArrayLike, predicted: ArrayLike) -> float:
    """TP / (TP + FP): of the examples predicted positive, the share that are. 0 if none was predicted positive.

    >>> import minicnn as mc
    >>> mc.train.precision([0, 1, 1, 1], [1, 1, 0, 0])
    0.5
    """
    (_, fp), (_, tp) = confusion_matrix(labels, predicted)
    return ratio(tp, tp + fp)


def recall(labels: ArrayLike, predicted: ArrayLike) -> float:
    """TP / (TP + FN): of the positive examples, the share that were found. 0 if there is no positive example.

    >>> import minicnn as mc
    >>> mc.train.recall([0, 1, 1, 1, 1], [1, 1, 0, 0, 0])
    0.25
    """
    _, (fn, tp) = confusion_matrix(labels, predicted)
    return ratio(tp, tp + fn)


def f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall. 0 if nothing is or was predicted positive.

    >>> import minicnn as mc
    >>> mc.train.f1([0, 1, 1], [1, 1, 0])
    0.5
    """
    (_, fp), (fn, tp) = confusion_matrix(labels, predicted)
    return ratio(2 * tp, 2 * tp + fp + fn)


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The area under the ROC curve: the chance that a positive example scores higher than a negative one, ties counting
    one half. nan if the labels are all of one class.

    By ranks (Hanley & McNeil 1982): (R - p (p + 1) / 2) / (p n), with R the sum of the ranks of the p positives among
    all scores, equal scores sharing the mean of their ranks.

    >>> import minicnn as mc
    >>> mc.train.roc_auc([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9])  # of the four pairs, three are in order
    0.75
    """
    truth, values = pair("roc_auc", labels, scores)
    check_binary("roc_auc", truth)
    if np.isnan(values).any():
        raise ValueError("roc_auc: scores must not be nan")
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    double_rank = 2 * np.cumsum(counts) - counts + 1  # twice the mean rank: an integer
    positive = truth == 1
    p, n = int(positive.sum()), int((~positive).sum())
    if p == 0 or n == 0:
        return float("nan")
    return (int(double_rank[place.reshape(-1)][positive].sum()) - p * (p + 1)) / (2 * p * n)


def pair(name: str, labels: ArrayLike, others: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as rows, of one length above 0, or ValueError."""
    first, second = np.asarray(labels), np.asarray(others)
    if first.shape != second.shape:
        raise ValueError(f"{name}: labels have shape {first.shape} and predictions {second.shape}, expected the same")
    if not first.size:
        raise ValueError(f"{name}: there are no examples")
    return first.reshape(-1), second.reshape(-1)


def class_scores(name: str, labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) as int64 and scores (N, K), where each label is a class and no score is nan, or ValueError."""
    truth, values = np.asarray(labels), np.asarray(scores)
    if truth.ndim != 1 or values.ndim != 2 or len(truth) != len(values):
        raise ValueError(f"{name}: labels have shape {truth.shape} and scores {values.shape}, expected (N,) and (N, K)")
    if not values.size:
        raise ValueError(f"{name}: there are no examples")
    bad = truth[~np.isin(truth, np.arange(values.shape[1]))]
    if bad.size:
        raise ValueError(f"{name}: labels must be classes from 0 to {values.shape[1] - 1}, got {bad[0]}")
    if np.isnan(values).any():
        raise ValueError(f"{name}: scores must not be nan")
    return truth.astype(np.int64), values


def check_binary(name: str, labels: np.ndarray) -> None:
    """ValueError unless all are 0 or 1."""
    bad = labels[(labels != 0) & (labels != 1)]
    if bad.size:
        raise ValueError(f"{name}: labels must be 0 or 1, got {bad[0]}")


def ratio(part: int, whole: int) -> float:
    """part / whole, 0 where that is undefined."""
    return float(part / whole) if whole else 0.0
