"""Checks of what `create` was asked for, in the model's name."""

from typing import Any

from ..ops.arguments import is_int


def check_classes(model: str, classes: Any) -> None:
    """ValueError unless there can be so many classes."""
    if not is_int(classes) or classes < 1:
        raise ValueError(f"{model}: classes must be a positive int, got {classes!r}")


def check_probability(model: str, option: str, value: Any) -> None:
    """ValueError unless an option of a model is a number from 0 to 1."""
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{model}: {option} must be a probability from 0 to 1, got {value!r}")


def check_width(model: str, width: Any) -> None:
    """ValueError unless a width multiplier is a positive number."""
    if not isinstance(width, int | float) or not 0 < width < float("inf"):
        raise ValueError(f"{model}: width must be a positive number, got {width!r}")
