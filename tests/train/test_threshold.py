"""The threshold of least cost, by hand and by trying every threshold."""

import numpy as np
import pytest

from minicnn.train import best_threshold, binary_report


def cost_at(threshold, labels, scores, false_alarm_cost, miss_cost):
    """The definition, example by example."""
    total = 0.0
    for label, score in zip(labels, scores, strict=True):
        total += false_alarm_cost if score > threshold and not label else 0.0
        total += miss_cost if score <= threshold and label else 0.0
    return total / len(labels)


@pytest.mark.parametrize("costs", [(1, 1), (5, 1), (1, 5), (0.1, 0.3), (100, 1)])
@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_costs_less(seed, costs):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 40)
    labels[:2] = 0, 1
    scores = np.round(rng.standard_normal(40) + labels, 1)  # with ties
    levels = np.unique(scores)
    tried = np.concatenate([[levels[0] - 1], (levels[:-1] + levels[1:]) / 2, [levels[-1] + 1]])
    least = min(cost_at(t, labels, scores, *costs) for t in tried)
    found = best_threshold(labels, scores, *costs)
    assert found.cost == pytest.approx(least, rel=1e-12)
    assert cost_at(found.threshold, labels, scores, *costs) == pytest.approx(least, rel=1e-12)
    alarms, misses = (scores > found.threshold) & (labels == 0), (scores <= found.threshold) & (labels == 1)
    assert (found.false_alarms, found.misses) == (alarms.sum(), misses.sum())


def test_by_hand():
    labels, scores = [0, 0, 1, 0, 1, 1], [-3, -2, -1, 1, 2, 4]
    # One mistake whether the line is between -2 and -1 or between 1 and 2; costs decide.
    assert best_threshold(labels, scores, false_alarm_cost=2) == (1.5, 1 / 6, 0, 1)
    assert best_threshold(labels, scores, miss_cost=2) == (-1.5, 1 / 6, 1, 0)


def test_of_equal_gaps_the_widest_and_its_middle():
    assert best_threshold([0, 1, 0, 1], [-3, -1, 1, 7]) == (4, 1 / 4, 0, 1)  # -2 would cost the same
    assert best_threshold([0, 1], [-10, 4]).threshold == -3


def test_costs_that_are_equal_but_for_rounding():
    """0.1 + 0.1 + 0.1 is not 0.3: three false alarms against one miss, the wide gap wins."""
    labels, scores = [1, 0, 0, 0, 1], [0, 1, 2, 3, 9]
    assert best_threshold(labels, scores, 0.1, 0.3) == (6, pytest.approx(0.06), 0, 1)


def test_the_same_for_all_if_nothing_is_better():
    assert best_threshold([1, 0], [-2, 5], false_alarm_cost=3) == (6, 1 / 2, 0, 1)
    assert best_threshold([1, 0], [-2, 5], miss_cost=3) == (-3, 1 / 2, 1, 0)
    assert best_threshold([1, 0], [-1e300, 5], miss_cost=3).threshold < -1e300


def test_neighbouring_numbers():
    for dtype in (np.float32, np.float64):
        low = dtype(0.1)
        high = np.nextafter(low, dtype(1))
        found = best_threshold([0, 1], np.array([low, high]))
        assert (found.false_alarms, found.misses) == (0, 0)
        report = binary_report([0, 1], np.array([low, high]), found.threshold)
        assert report["accuracy"] == 1


def test_columns_of_logits():
    labels, logits = np.array([[0.0], [1.0]], np.float32), np.array([[1.0], [2.0]], np.float32)
    assert best_threshold(labels, logits).threshold == 1.5


def test_the_report_goes_by_the_threshold():
    labels, logits = [1, 1, 0, 0], [2.0, -1.0, -3.0, 0.5]
    assert binary_report(labels, logits)["confusion_matrix"] == [[1, 1], [1, 1]]
    assert binary_report(labels, logits, threshold=1)["confusion_matrix"] == [[2, 0], [1, 1]]
    assert binary_report(labels, logits, threshold=-2)["confusion_matrix"] == [[1, 1], [0, 2]]
    assert binary_report(labels, logits, -2)["auc"] == binary_report(labels, logits)["auc"]


@pytest.mark.parametrize("call, words", [
    (lambda: best_threshold([0, 0], [1, 2]), "the examples are all of one class"),
    (lambda: best_threshold([0, 2], [1, 2]), "labels must be 0 or 1, got 2"),
    (lambda: best_threshold([0, 1], [1, np.inf]), "scores must be finite"),
    (lambda: best_threshold([0, 1], [1]), r"labels have shape \(2,\) and predictions \(1,\), expected the same"),
    (lambda: best_threshold([], []), "there are no examples"),
    (lambda: best_threshold([0, 1], [1, 2], 0), "false_alarm_cost must be a positive number, got 0"),
    (lambda: best_threshold([0, 1], [1, 2], 1, np.inf), "miss_cost must be a positive number, got inf"),
])
def test_wrong_calls(call, words):
    with pytest.raises(ValueError, match="best_threshold: " + words):
        call()
