"""State dicts: the arrays of a model by name, out of it and into it, in our layout or another framework's.

A load is checked as a whole before anything is changed, and all that is wrong is said in one error.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..tape import no_grad
from ..tensor import FLOATS, Tensor
from .layout import LAYOUTS, channels_first, channels_last, flatten_orders
from .names import near

WRAPPED = "module."
MOST_LISTED = 10  # names that are missing, and names that are not in the model
LONGEST_SHOWN = 80
COUNTER = "num_batches_tracked"  # PyTorch's batch norm counts its batches; minicnn doesn't


class Entry(NamedTuple):
    """One array of a model: the module that owns it, that module's name, and the array's own."""

    owner: Any
    path: str
    name: str
    tensor: Tensor

    @property
    def key(self) -> str:
        return f"{self.path}.{self.name}" if self.path else self.name


class LoadResult(NamedTuple):
    """Names that load_state_dict(strict=False) passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def entries(model: Any) -> list[Entry]:
    """Parameters and persistent buffers, module by module. What is shared comes under each of its names."""
    found = []
    for path, module in model.named_modules(remove_duplicate=False):
        own = module._parameters | {n: b for n, b in module._buffers.items() if n not in module._transient}
        found += [Entry(module, path, name, tensor) for name, tensor in own.items() if tensor is not None]
    return found


def _check_layout(layout: str, flatten: Any) -> None:
    if layout not in LAYOUTS:
        raise ValueError(f"layout: expected {', '.join(map(repr, LAYOUTS))}, got {layout!r}")
    if flatten and layout != "torch":
        raise ValueError(f"flatten: has a meaning for layout='torch' only, not for {layout!r}")


# -------------------------------------------------------------------------------------------------------- out of it

def dump(model: Any, layout: str, flatten: Mapping[str, int | None] | None) -> dict[str, np.ndarray]:
    """The arrays of a model by name, as copies in the wanted layout."""
    _check_layout(layout, flatten)
    orders, unclear = flatten_orders(model, flatten) if layout == "torch" else ({}, {})
    if unclear:
        raise ValueError("state_dict: the model cannot be written for PyTorch:" + _listed(
            [f"{name}: {reason}" for name, reason in unclear.items()]))
    state: dict[str, np.ndarray] = {}
    for entry in entries(model):
        state[entry.key] = np.array(_foreign(entry, layout, orders.get(entry.path, 1)), order="C")
        if layout == "torch" and entry.name == "running_var":
            state[entry.key.removesuffix("running_var") + COUNTER] = np.array(0)
    return state


def _foreign(entry: Entry, layout: str, channels: int) -> np.ndarray:
    array = entry.tensor.numpy()
    if layout == "keras":
        return entry.owner.to_keras(entry.name, array)
    if layout == "torch":
        ordered = channels_first(array, channels) if entry.name in entry.owner.flat_inputs else array
        return entry.owner.to_torch(entry.name, ordered)
    return array


# ---------------------------------------------------------------------------------------------------------- into it

def load(model: Any, state: Mapping[str, Any], layout: str, strict: bool,
         flatten: Mapping[str, int | None] | None) -> LoadResult:
    """Overwrite the model's arrays with those of a state dict. Nothing is changed if anything is wrong."""
    _check_layout(layout, flatten)
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict: expected a mapping of names to arrays, got {type(state).__name__}")
    own = {entry.key: entry for entry in entries(model)}
    given = {key: value for key, value in state.items()
             if not (layout == "torch" and str(key).rpartition(".")[2] == COUNTER)}
    missing = [key for key in own if key not in given]
    unexpected = [key for key in given if key not in own]
    orders, unclear = flatten_orders(model, flatten) if layout == "torch" else ({}, {})
    problems = _misnamed(missing, unexpected, own) if strict else []
    ready: dict[int, tuple[str, Tensor, np.ndarray]] = {}
    for key, entry in own.items():
        if key not in given:
            continue
        try:
            if entry.path in unclear and entry.name in entry.owner.flat_inputs:
                raise ValueError(unclear[entry.path])
            array = _native(entry, given[key], layout, orders.get(entry.path, 1))
            first, _, before = ready.setdefault(id(entry.tensor), (key, entry.tensor, array))
            if not np.array_equal(before, array, equal_nan=array.dtype in FLOATS):
                raise ValueError(f"differs from {first}, but here they are one array")
        except (TypeError, ValueError) as error:
            problems.append(f"{key}: {error}")
    with_arrays = {entry.path for entry in own.values()}
    problems += [f"{path}: {reason}" for path, reason in unclear.items() if path not in with_arrays]
    if problems:
        raise ValueError(f"load_state_dict: the state does not fit {type(model).__name__}, nothing was loaded:"
                         + _listed(problems + _hints(state, own, layout)))
    with no_grad():
        for _, tensor, array in ready.values():
            tensor.copy_(array)
    return LoadResult(missing, unexpected)


def _hints(state: Mapping[str, Any], own: Mapping[str, Entry], layout: str) -> list[str]:
    """What is often forgotten."""
    names = [str(key) for key in state]
    counted = any(name.rpartition(".")[2] == COUNTER for name in names)
    turned = any(_is_turned(own[key], value) for key, value in state.items() if key in own)
    hints = ['these look like PyTorch\'s arrays: layout="torch" reads them'] if layout != "torch" and (
        counted or turned) else []
    if names and all(name.startswith(WRAPPED) for name in names):
        hints.append(f"all names begin with {WRAPPED!r}, as of a network within DataParallel: leave that out")
    return hints


def _is_turned(entry: Entry, value: Any) -> bool:
    """Whether an array would fit with its axes in PyTorch's order, and doesn't as it is."""
    try:
        array = _array(value)
        return array.shape != entry.tensor.shape == entry.owner.from_torch(entry.name, array).shape
    except (TypeError, ValueError):
        return False


def _misnamed(missing: list[str], unexpected: list[str], own: Mapping[str, Entry]) -> list[str]:
    """A line for each name, but not hundreds where a file is of another model altogether."""
    problems = [f"{key}: missing{near(key, unexpected)}" for key in missing[:MOST_LISTED]]
    problems += _and_more(missing, "missing")
    problems += [f"{_shown(key)}: not in the model{near(str(key), missing or own)}" for key in unexpected[:MOST_LISTED]]
    return problems + _and_more(unexpected, "not in the model")


def _and_more(names: list[str], what: str) -> list[str]:
    return [f"and {len(names) - MOST_LISTED} more {what}"] if len(names) > MOST_LISTED else []


def _shown(key: Any) -> str:
    """A name from a file, as it is if it can be printed in a line."""
    text = str(key)
    return text if text.isprintable() and len(text) <= LONGEST_SHOWN else f"{text!r:.80}"


def _native(entry: Entry, value: Any, layout: str, channels: int) -> np.ndarray:
    """A foreign array in our layout, of the right shape and dtype, or an error."""
    foreign = _array(value)
    array = foreign
    if layout != "minicnn":
        array = (entry.owner.from_torch if layout == "torch" else entry.owner.from_keras)(entry.name, foreign)
    if array.shape != entry.tensor.shape:
        note = "" if array.shape == foreign.shape else f" ({foreign.shape} in {layout}'s layout)"
        raise ValueError(f"shape {array.shape}{note}, expected {entry.tensor.shape}")
    if layout == "torch" and entry.name in entry.owner.flat_inputs:
        array = channels_last(array, channels)
    return _cast(array, entry.tensor.dtype)


def _array(value: Any) -> np.ndarray:
    try:
        return value.numpy() if isinstance(value, Tensor) else np.asarray(value)
    except Exception as error:  # whatever the array's own library raises
        raise TypeError(f"{type(value).__name__} is not an array: {error}") from error


def _cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array as `dtype`, unless that would lose its meaning."""
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"dtype {array.dtype} cannot become {dtype}")
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if dtype in FLOATS and cast.dtype != array.dtype and not np.array_equal(np.isinf(cast), np.isinf(array)):
        raise ValueError(f"holds numbers that are too large for {dtype}")
    return cast


def _listed(problems: list[str]) -> str:
    return "".join(f"\n  {problem}" for problem in problems)
