"""A training's state in one file: arrays as safetensors, all else as JSON in the file's metadata. No pickle.

The file is written beside, flushed and renamed (io/atomic.py): it is always a complete one, whatever happens.
"""

import json
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from ..io.safetensors import read_metadata, read_safetensors, write_safetensors

KEY = "minicnn.checkpoint"
ARRAY = "minicnn.array"  # {ARRAY: "model.0.weight"} stands in the JSON where the array of that name belongs


def write(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write nested dicts and lists of arrays, numbers, words and None. The keys of dicts become words."""
    arrays: dict[str, np.ndarray] = {}
    outline = _outline(state, "", arrays)
    write_safetensors(path, arrays, {KEY: json.dumps(outline)})


def read(path: str | Path) -> dict[str, Any]:
    """What `write` wrote, arrays in their places. ValueError, naming the file, if it is broken or no checkpoint."""
    text = read_metadata(path).get(KEY)
    if text is None:
        raise ValueError(f"{path}: not a checkpoint of a training")
    arrays = read_safetensors(path)
    try:
        state = _fill(json.loads(text), arrays)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: a damaged checkpoint ({' '.join(str(error).split())})") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path}: not a checkpoint of a training")
    return state


def load(path: str | Path, owner: Any) -> None:
    """Give `owner.load_state_dict` what `write` wrote. ValueError, naming the file, if it is not a state of its own."""
    state = read(path)
    try:
        owner.load_state_dict(state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:  # content of another kind than any state
        raise ValueError(f"{path}: a damaged checkpoint ({type(error).__name__}: {error})") from error


def _outline(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """The value as JSON holds it; its arrays go to `arrays`, each under the path that leads to it."""
    if isinstance(value, np.ndarray):
        if path in arrays:
            raise ValueError(f"checkpoint: two arrays are called {path}")
        arrays[path] = value
        return {ARRAY: path}
    if isinstance(value, Mapping):
        if ARRAY in value or len({str(key) for key in value}) < len(value):
            raise ValueError(f"checkpoint: {path} has a key {ARRAY!r}, or two keys that read the same")
        return {str(key): _outline(item, f"{path}.{key}" if path else str(key), arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_outline(item, f"{path}.{place}", arrays) for place, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"checkpoint: {path} is {type(value).__name__}, expected arrays, numbers and words")


def _fill(outline: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The inverse of `_outline`."""
    if isinstance(outline, dict):
        if set(outline) == {ARRAY}:
            return arrays[outline[ARRAY]]
        return {key: _fill(item, arrays) for key, item in outline.items()}
    if isinstance(outline, list):
        return [_fill(item, arrays) for item in outline]
    return outline


class Writer:
    """Writes checkpoints to one file, not more often than wanted; to none if there is no path. The first is due at
    once: a disk that can't be written to is better found after one step than after an hour."""

    def __init__(self, path: str | Path | None, every: float) -> None:
        if not every >= 0:
            raise ValueError(f"checkpoint_every must be a number of seconds, got {every!r}")
        self.path, self.every = path, every
        self.last = -inf

    def write_if_due(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """Write what `state()` gives if enough time has passed since the last."""
        if monotonic() - self.last >= self.every:
            self.write(state)

    def write(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """Write it now."""
        if self.path is not None:
            write(self.path, state())
        self.last = monotonic()
