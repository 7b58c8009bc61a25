"""Checks of what transforms are made with. Each returns the value in one form, or raises and names the argument."""

from math import isfinite
from typing import Any

import numpy as np


def number(owner: str, name: str, value: Any, low: float | None = None, high: float | None = None) -> float:
    """A finite number from `low` to `high`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{owner}: {name} must be a number, got {value!r}")
    if not isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
        limits = [f"at {word} {limit:g}" for word, limit in (("least", low), ("most", high)) if limit is not None]
        raise ValueError(f"{owner}: {name} must be {' and '.join(limits) or 'finite'}, got {value!r}")
    return float(value)


def whole(owner: str, name: str, value: Any, low: int) -> int:
    """An int that is not below `low`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{owner}: {name} must be an int, got {value!r}")
    if value < low:
        raise ValueError(f"{owner}: {name} must be at least {low}, got {value}")
    return int(value)


def pair(owner: str, name: str, value: Any, low: float | None = None, high: float | None = None) -> tuple[float, float]:
    """Two numbers, each from `low` to `high`."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{owner}: {name} must be a pair of numbers, got {value!r}")
    first, second = (number(owner, name, part, low, high) for part in value)
    return first, second


def interval(owner: str, name: str, value: Any, low: float | None = None,
             high: float | None = None) -> tuple[float, float]:
    """A pair (min, max)."""
    first, second = pair(owner, name, value, low, high)
    if first > second:
        raise ValueError(f"{owner}: {name} must be (min, max) with min <= max, got {value!r}")
    return first, second


def around(owner: str, name: str, value: Any, centre: float, low: float | None = None,
           high: float | None = None) -> tuple[float, float]:
    """A pair (min, max) as it is; a number v as (centre - v, centre + v). `low` and `high` bound the pair."""
    if isinstance(value, tuple | list):
        return interval(owner, name, value, low, high)
    reach = number(owner, name, value, low=0)
    return interval(owner, name, (centre - reach, centre + reach), low, high)
