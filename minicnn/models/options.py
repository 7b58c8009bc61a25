"""What the options of models may be, said where a model takes them: `dropout: Share = 0.1`.

`create` checks them before anything is built, and so does `load` for the options in a file.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..ops.arguments import is_int

WIDEST = 8  # times the width of the paper


class Check(NamedTuple):
    """Whether a value makes sense, and what is expected, in words."""

    holds: Callable[[Any], bool]
    expected: str


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


Classes = Annotated[int, Check(lambda value: is_int(value) and value > 0, "a positive int")]
Share = Annotated[float, Check(lambda value: _is_number(value) and 0 <= value <= 1, "a probability from 0 to 1")]
Width = Annotated[float, Check(lambda value: _is_number(value) and 0 < value <= WIDEST,
                               f"a positive number of at most {WIDEST}")]
Flag = Annotated[bool, Check(lambda value: isinstance(value, bool), "True or False")]


def checked(model: str, build: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with which `build` makes the model, as plain values that JSON can write down. ValueError for one that
    makes no sense, in the model's name."""
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
    parameters = inspect.signature(build).parameters
    for name, value in plain.items():
        for check in getattr(parameters[name].annotation, "__metadata__", ()):
            if isinstance(check, Check) and not check.holds(value):
                raise ValueError(f"{model}: {name} must be {check.expected}, got {value!r:.80}")
    return plain
