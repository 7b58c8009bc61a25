"""Expected values are counted by hand, or over all pairs of examples."""

import json
from itertools import product

import numpy as np
import pytest

from minicnn.train import (
    accuracy,
    binary_report,
    class_report,
    confusion_matrix,
    f1,
    precision,
    recall,
    roc_auc,
    top_k_accuracy,
)

LABELS = [1, 1, 1, 0, 0, 0, 0, 1]
GUESSES = [1, 1, 0, 0, 0, 0, 1, 0]  # 2 true and 1 false positive, 3 true and 2 false negatives


def test_by_hand():
    assert confusion_matrix(LABELS, GUESSES).tolist() == [[3, 1], [2, 2]]
    assert accuracy(LABELS, GUESSES) == 5 / 8
    assert precision(LABELS, GUESSES) == 2 / 3
    assert recall(LABELS, GUESSES) == 2 / 4
    assert f1(LABELS, GUESSES) == pytest.approx(2 * (2 / 3 * 1 / 2) / (2 / 3 + 1 / 2))


def test_columns_and_floats_are_taken_too():
    labels = np.array(LABELS, np.float32).reshape(-1, 1)
    assert accuracy(labels, np.array(GUESSES).reshape(-1, 1) > 0) == 5 / 8


def test_three_classes():
    assert confusion_matrix([0, 1, 2, 2, 1], [0, 2, 2, 0, 1], classes=3).tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 1]]


def pairs_won(labels, scores):
    """The definition: over all pairs of a positive and a negative, ties are half won."""
    pairs = [(p, n) for (a, p), (b, n) in product(zip(labels, scores, strict=True), repeat=2) if a == 1 and b == 0]
    return sum((p > n) + 0.5 * (p == n) for p, n in pairs) / len(pairs)


@pytest.mark.parametrize("levels", [2, 3, 7, 1000])
def test_auc_is_the_share_of_pairs_in_order(levels):
    rng = np.random.default_rng(levels)
    labels = rng.integers(0, 2, 60)
    scores = np.round(rng.standard_normal(60) + labels, 3) if levels == 1000 else rng.integers(0, levels, 60)
    assert roc_auc(labels, scores) == pytest.approx(pairs_won(labels, scores), abs=1e-12)


def test_auc_at_its_ends():
    assert roc_auc([0, 0, 1, 1], [1, 2, 3, 4]) == 1
    assert roc_auc([0, 0, 1, 1], [4, 3, 2, 1]) == 0
    assert roc_auc([0, 1, 0, 1], [5, 5, 5, 5]) == 0.5
    assert roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    assert roc_auc([0, 1], [-np.inf, np.inf]) == 1


def test_auc_does_not_overflow():
    labels = np.arange(200_000) % 2
    assert roc_auc(labels, labels + 10.0) == 1


def test_report():
    report = binary_report(np.array([[1.0], [1.0], [0.0], [0.0]]), np.array([[2.0], [-1.0], [-3.0], [0.0]]))
    assert report == {"examples": 4, "accuracy": 0.75, "precision": 1.0, "recall": 0.5, "f1": 2 / 3, "auc": 0.75,
                      "confusion_matrix": [[2, 0], [1, 1]], "notes": []}


@pytest.mark.parametrize(("labels", "logits", "values", "words"), [
    ([0, 1], [-1, -1], {"precision": 0, "recall": 0, "f1": 0, "auc": 0.5}, ["precision"]),
    ([0, 0], [1, -1], {"precision": 0, "recall": 0, "f1": 0, "auc": None}, ["recall", "auc"]),
    ([0, 0], [-1, -1], {"precision": 0, "recall": 0, "f1": 0, "auc": None}, ["precision", "recall", "f1", "auc"]),
    ([1, 1], [1, 1], {"precision": 1, "recall": 1, "f1": 1, "auc": None}, ["auc"]),
])
def test_what_a_definition_leaves_open_is_noted(labels, logits, values, words):
    report = binary_report(labels, logits)
    assert {key: report[key] for key in values} == values
    assert len(report["notes"]) == len(words)
    assert all(word in note for word, note in zip(words, report["notes"], strict=True))


@pytest.mark.parametrize(("call", "said"), [
    (lambda: accuracy([], []), "no examples"),
    (lambda: accuracy([1, 0], [1]), r"labels have shape \(2,\) and predictions \(1,\)"),
    (lambda: accuracy([[1], [0]], [1, 0]), "expected the same"),  # NumPy would broadcast these to 2 x 2
    (lambda: confusion_matrix([0, 2], [0, 1]), "labels must be classes from 0 to 1, got 2"),
    (lambda: confusion_matrix([0, 1], [0, 0.5]), "predicted must be classes from 0 to 1, got 0.5"),
    (lambda: roc_auc([0, 3], [1, 2]), "labels must be 0 or 1, got 3"),
    (lambda: roc_auc([0, 1], [1, float("nan")]), "nan"),
])
def test_wrong_calls(call, said):
    with pytest.raises(ValueError, match=said):
        call()


# ----------------------------------------------------------------------------------------------- several classes

SCORES = np.array([[3, 2, 1, 0], [1, 2, 2, 0], [0, 0, 0, 5], [1, 4, 3, 2], [9, 8, 7, 6]], np.float32)


def test_top_k_by_hand():
    labels = [0, 2, 0, 3, 3]  # places 1, 2 (the equal score before it counts), 2, 3, 4
    assert [top_k_accuracy(labels, SCORES, k) for k in (1, 2, 3, 4)] == [1 / 5, 3 / 5, 4 / 5, 1]


def test_top_k_is_a_sort():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 6, (200, 12)), rng.integers(0, 12, 200)
    order = np.argsort(-scores, axis=1, kind="stable")
    for k in (1, 5, 12):
        expected = np.mean([label in row[:k] for label, row in zip(labels, order, strict=True)])
        assert top_k_accuracy(labels, scores, k) == pytest.approx(expected)
    assert top_k_accuracy(labels, scores, 1) == accuracy(labels, scores.argmax(axis=1))


def test_class_report_by_hand():
    labels = np.array([0, 0, 1, 1, 1, 2])
    scores = np.eye(3)[[0, 1, 1, 1, 2, 2]]
    report = class_report(labels, scores, ("cat", "dog", "owl"))
    assert report.pop("per_class") == {
        "cat": {"precision": 1.0, "recall": 1 / 2, "f1": 2 / 3, "support": 2},
        "dog": {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3},
        "owl": {"precision": 1 / 2, "recall": 1.0, "f1": 2 / 3, "support": 1},
    }
    means = {key: report.pop(key) for key in ("macro_precision", "macro_recall", "macro_f1")}
    assert means == pytest.approx({"macro_precision": 13 / 18, "macro_recall": 13 / 18, "macro_f1": 2 / 3})
    assert report == {"examples": 6, "accuracy": 4 / 6, "confusion_matrix": [[1, 1, 0], [0, 2, 1], [0, 0, 1]],
                      "notes": []}


def test_class_report_is_json_and_knows_top_5():
    rng = np.random.default_rng(1)
    names = [str(n) for n in range(10)]
    labels, scores = rng.integers(0, 10, 60), rng.standard_normal((60, 10)).astype(np.float32)
    report = class_report(labels, scores, names)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["top5"] == top_k_accuracy(labels, scores, 5)
    assert "top5" not in class_report(labels % 9, scores[:, :9], names[:9])


def test_class_report_notes_what_is_undefined():
    report = class_report([0, 0, 1], np.eye(4)[[0, 2, 0]], "abcd")
    assert report["notes"] == [
        "b was never predicted: precision, undefined, given as 0",
        "c has no example: recall, undefined, given as 0",
        "d was never predicted and has no example: precision, recall, f1, undefined, given as 0",
    ]
    assert report["per_class"]["d"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert report["macro_recall"] == pytest.approx(1 / 8)


@pytest.mark.parametrize(("call", "said"), [
    (lambda: top_k_accuracy([0], [[1, 2]], 3), "k must be an int from 1 to 2, the classes, got 3"),
    (lambda: top_k_accuracy([0, 1], [[1, 2]], 1), r"shape \(2,\) and scores \(1, 2\), expected \(N,\) and \(N, K\)"),
    (lambda: top_k_accuracy([2], [[1, 2]], 1), "labels must be classes from 0 to 1, got 2"),
    (lambda: top_k_accuracy([], np.zeros((0, 2)), 1), "no examples"),
    (lambda: class_report([0], [[1, np.nan]], "ab"), "scores must not be nan"),
    (lambda: class_report([0], [[1, 2]], "aa"), r"expected 2 different names of classes, got \['a', 'a'\]"),
    (lambda: class_report([0], [[1, 2]], "abc"), "expected 2 different names"),
])
def test_wrong_calls_with_classes(call, said):
    with pytest.raises(ValueError, match=said):
        call()
