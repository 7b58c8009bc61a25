"""Models in files: `minicnn.save` and `minicnn.load`.

A file holds the weights and, as text, the name and options to build the model from. Nothing in it is ever executed.
"""

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import random
from ..io import load_state
from ..io.safetensors import read_metadata, write_safetensors
from ..nn import Module, init
from .registry import create

MODEL_FILE = "model.safetensors"  # its name in the folder of a run
KEY = "minicnn"  # one entry of metadata, as the library writes several in no certain order
NEEDED = ("model", "options")
# What a model's `config` may hold.
KINDS = {"model": str, "options": dict, "classes": list, "threshold": float, "recipe": str}


def save(model_or_state: Module | Mapping[str, Any], path: str | Path) -> None:
    """Write a model, or a state dict, to a .safetensors file. An older file is replaced once the new one is complete.

    Of a model that `models.create` made, its `config` is saved too, so that `load` can build it again: "model" and
    "options", and where a training put them there its "recipe", the names of the "classes" and a detector's
    "threshold". Of any other model, only the weights, and so of one whose layers were exchanged since, with a warning.

    >>> import minicnn as mc
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> model = mc.models.create("smile_detector")
    >>> with TemporaryDirectory() as folder:
    ...     mc.save(model, Path(folder) / "smiles.safetensors")
    ...     again = mc.load(Path(folder) / "smiles.safetensors")
    >>> again.config["model"], again.training
    ('smile_detector', False)
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"save: expected a path that ends in .safetensors, got {path}")
    if not isinstance(model_or_state, Module):
        write_safetensors(path, model_or_state)
        return
    config = getattr(model_or_state, "config", None)
    if config is not None and not _is_as_created(model_or_state, config):
        warnings.warn(f"save: models.create can't make this model of its config, {config!r:.200}: its layers or "
                      "the config were changed. Only the weights are written; mc.load gives them for load_state_dict",
                      stacklevel=2)
        config = None
    metadata = {} if config is None else {KEY: json.dumps(config, sort_keys=True)}
    write_safetensors(path, model_or_state.state_dict(), metadata)


def load(path: str | Path) -> Module | dict[str, np.ndarray]:
    """A saved model, with its weights and in eval mode. path: a run's folder, or a file that `save` wrote.

    A file that holds weights alone gives them as a dict of arrays, for a model's `load_state_dict`. FileNotFoundError
    or ValueError, naming the file, if it is not there or can't be used. Random numbers go on as if nothing had been
    drawn.

    >>> import minicnn as mc
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> layer = mc.nn.Linear(2, 3)
    >>> with TemporaryDirectory() as folder:
    ...     mc.save(layer, Path(folder) / "layer.safetensors")  # not of models.create: the weights alone
    ...     state = mc.load(Path(folder) / "layer.safetensors")
    >>> {name: array.shape for name, array in sorted(state.items())}
    {'bias': (3,), 'weight': (2, 3)}
    """
    file = Path(path)
    if file.is_dir():
        file = file / MODEL_FILE
        if not file.is_file():
            raise FileNotFoundError(f"{path} is not the folder of a run: it holds no {MODEL_FILE}")
    state = load_state(file)
    text = read_metadata(file).get(KEY) if file.suffix == ".safetensors" else None
    if text is None:
        return state
    config = _read_config(file, text)
    held = sum(array.size for array in state.values())
    for name, value in config["options"].items():
        if isinstance(value, int) and value > held:  # before it becomes the size of a layer
            raise ValueError(f"{file}: its option {name} is {value}, but the file holds {held} numbers only")
    try:
        model = _rebuilt(config)
        model.load_state_dict(state)
    except (KeyError, MemoryError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: {_shortened(error)}") from error
    model.config = config
    model.eval()
    return model


def _is_as_created(model: Module, config: Mapping[str, Any]) -> bool:
    """Whether the model has the layers that `create` would give it again."""
    try:
        return repr(_rebuilt(config)) == repr(model)
    except (KeyError, TypeError, ValueError):  # no model that create knows, or not with these options
        return False


def _rebuilt(config: Mapping[str, Any]) -> Module:
    """The model of a configuration, its weights not drawn. Random numbers go on as if nothing had been."""
    before = random.get_state()
    try:
        with init.undrawn():
            return create(config["model"], **config["options"])
    finally:
        random.set_state(before)


def _read_config(file: Path, text: str) -> dict[str, Any]:
    """A model's `config` in a file's metadata, checked."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    if not _is_config(config):
        raise ValueError(f'{file}: its model configuration is not {{"model": name, "options": {{...}}}} but '
                         f"{text[:80]!r}")
    return config


def _is_config(config: Any) -> bool:
    return (
        isinstance(config, dict)
        and set(NEEDED) <= set(config) <= set(KINDS)
        and all(isinstance(value, KINDS[key]) for key, value in config.items())
        and all(isinstance(value, str | int | float | None) for value in config["options"].values())
        and all(isinstance(name, str) for name in config.get("classes", []))
        and math.isfinite(config.get("threshold", 0.0))
    )


def _shortened(error: Exception) -> str:
    """The error in one line: a state that doesn't fit is listed name by name."""
    first, *others = str(error.args[0] if error.args else error).splitlines() or [type(error).__name__]
    more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
    return " ".join([first, *others[:1]]).replace("  ", " ") + more
