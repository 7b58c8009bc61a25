"""Where to draw the line between yes and no, when one kind of mistake costs more than the other."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .metrics import check_binary, pair


class Threshold(NamedTuple):
    """threshold: positive is what scores above it. cost: the mean over the examples. false_alarms, misses: how many
    negatives are predicted positive, and positives negative."""

    threshold: float
    cost: float
    false_alarms: int
    misses: int


def best_threshold(labels: ArrayLike, scores: ArrayLike, false_alarm_cost: float = 1.0,
                   miss_cost: float = 1.0) -> Threshold:
    """The threshold with the least cost: false_alarm_cost for each negative that scores above it, miss_cost for each
    positive that does not.

    labels: 0 or 1; scores: logits, in an array of the same shape. Take validation examples: on those that a model has
    learned from it looks better than it is, and the test examples choose nothing.

    All thresholds between two neighbouring scores decide the same, so it is such a gap that is chosen. Of gaps that
    cost the same, the widest, and its middle: there the scores of new examples can be off by most before a decision
    changes. If nothing beats deciding the same for all, the threshold lies 1 beyond the last score.

    >>> import minicnn as mc
    >>> mc.train.best_threshold([0, 0, 1, 1], [-3.0, -1.0, 2.0, 4.0])
    Threshold(threshold=0.5, cost=0.0, false_alarms=0, misses=0)
    >>> mc.train.best_threshold([0, 1, 0, 1], [1.0, 2.0, 4.0, 6.0], miss_cost=5.0).threshold  # rather a false alarm
    1.5
    """
    truth, values = pair("best_threshold", labels, scores)
    check_binary("best_threshold", truth)
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("best_threshold: scores must be finite")
    for name, cost in (("false_alarm_cost", false_alarm_cost), ("miss_cost", miss_cost)):
        if not (np.isfinite(cost) and cost > 0):
            raise ValueError(f"best_threshold: {name} must be a positive number, got {cost!r}")
    levels, place = np.unique(values, return_inverse=True)
    negatives, positives = (np.bincount(place[truth == label], minlength=len(levels)) for label in (0, 1))
    if not negatives.any() or not positives.any():
        raise ValueError("best_threshold: the examples are all of one class: any threshold does")
    # Gap i lies above i of the levels: the positives among those are missed, the negatives beyond are false alarms.
    misses = np.concatenate([[0], np.cumsum(positives)])
    false_alarms = negatives.sum() - np.concatenate([[0], np.cumsum(negatives)])
    scale = max(false_alarm_cost, miss_cost)  # the largest costs that a float holds can't be added up
    costs = (false_alarm_cost / scale * false_alarms + miss_cost / scale * misses) / len(values)
    widths = np.concatenate([[0.0], np.diff(levels), [0.0]])  # the gaps at the ends are for want of a better one
    widths[costs > costs.min() * (1 + 1e-12)] = -1.0  # equal costs may differ by rounding
    best = int(np.argmax(widths))
    return Threshold(_middle(levels, best), float(costs[best] * scale), int(false_alarms[best]), int(misses[best]))


def _middle(levels: np.ndarray, gap: int) -> float:
    """A number that is not below the level under the gap, and below the one over it."""
    if gap == len(levels):
        return float(levels[-1] + 1)
    if gap == 0:
        return float(min(levels[0] - 1, np.nextafter(levels[0], -np.inf)))
    low, high = levels[gap - 1 : gap + 1].tolist()
    middle = low / 2 + high / 2
    return middle if low <= middle < high else low
