"""Expected values are counted by hand, or over all pairs of examples."""

from itertools import product

import numpy as np
import pytest

from minicnn.train import accuracy, binary_report, confusion_matrix, f1, precision, recall, roc_auc

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
