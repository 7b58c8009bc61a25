"""Targets for losses: labels as rows of probabilities."""

from typing import Any

import numpy as np


def to_one_hot(labels: Any, classes: int) -> np.ndarray:
    """float32 (N, classes): row i is 1 at labels[i] and 0 elsewhere.

    labels: N ints from 0 to classes - 1; TypeError if they are not ints, ValueError if one is out of range.
    Rows that spread their 1 over several classes are soft targets; `cross_entropy` takes either.

    >>> import minicnn as mc
    >>> mc.data.to_one_hot([2, 0], classes=3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    rows = np.asarray(labels)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise TypeError(f"to_one_hot: labels must be a row of ints, got shape {rows.shape} and dtype {rows.dtype}")
    if isinstance(classes, bool) or not isinstance(classes, int | np.integer) or classes < 1:
        raise ValueError(f"to_one_hot: classes must be an int of at least 1, got {classes!r}")
    beyond = rows[(rows < 0) | (rows >= classes)]
    if beyond.size:
        raise ValueError(f"to_one_hot: labels must be from 0 to {classes - 1}, got {beyond[0]}")
    targets = np.zeros((len(rows), classes), np.float32)
    targets[np.arange(len(rows)), rows.astype(np.int64)] = 1
    return targets
