"""One-hot targets."""

import numpy as np
import pytest

from minicnn.data import to_one_hot


@pytest.mark.parametrize("labels", [[2, 0, 2], np.array([2, 0, 2], np.uint8), np.array([2, 0, 2])])
def test_rows(labels):
    targets = to_one_hot(labels, 3)
    assert targets.dtype == np.float32
    assert targets.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]


def test_no_labels():
    assert to_one_hot([], 4).shape == (0, 4)


@pytest.mark.parametrize(("labels", "classes", "kind", "message"), [
    ([0, 3], 3, ValueError, "from 0 to 2, got 3"),
    ([0, -1], 3, ValueError, "from 0 to 2, got -1"),
    (np.array([200], np.uint8), 10, ValueError, "got 200"),
    ([0.0, 1.0], 3, TypeError, r"row of ints, got shape \(2,\) and dtype float64"),
    ([True], 3, TypeError, "bool"),
    ([[0], [1]], 3, TypeError, r"shape \(2, 1\)"),
    (1, 3, TypeError, r"shape \(\)"),
    ([0], 0, ValueError, "classes must be an int of at least 1, got 0"),
    ([0], 2.0, ValueError, "got 2.0"),
    ([0], True, ValueError, "got True"),
])  # fmt: skip
def test_what_is_refused(labels, classes, kind, message):
    with pytest.raises(kind, match=message):
        to_one_hot(labels, classes)
