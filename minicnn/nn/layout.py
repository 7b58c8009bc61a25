"""Weights in the layout of other frameworks: where their axes stand, and in which order a Flatten reads a picture.

PyTorch keeps channels first, so two things differ. Filters have other axes, which each layer converts itself (see
`Module.from_torch`). And a Flatten puts a picture into a row in the order (C, H, W) there, (H, W, C) here, so the
weights behind it meet their inputs in another order. Which weights those are is found by walking through the model
with a Flow.

Keras keeps channels last, as we do.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..ops.arguments import is_int
from .names import near

LAYOUTS = ("minicnn", "torch", "keras")


# ------------------------------------------------------------------------------------------------------ axes

def filters_last(array: np.ndarray) -> np.ndarray:
    """PyTorch's filters (a, b, ...) as ours (..., b, a), for any number of spatial axes.

    (out, in, kH, kW) becomes (kH, kW, in, out); a transposed convolution's (in, out, kH, kW) becomes (kH, kW, out, in).
    """
    return np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim > 1 else array


def filters_first(array: np.ndarray) -> np.ndarray:
    """The inverse of filters_last."""
    return np.moveaxis(array, (-1, -2), (0, 1)) if array.ndim > 1 else array


def channels_last(array: np.ndarray, channels: int) -> np.ndarray:
    """The first axis, in the order (C, positions), reordered to (positions, C)."""
    return array.reshape(channels, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


def channels_first(array: np.ndarray, channels: int) -> np.ndarray:
    """The inverse of channels_last."""
    return array.reshape(-1, channels, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


# ------------------------------------------------------------------------------------------ the order behind a Flatten

class Flow(NamedTuple):
    """What is known, at one place in a model, of the features that pass there.

    channels: the size of the channel axis, None if unknown. picture: PyTorch may keep these features in another
    order, with channels first (not so behind a Linear or a global pooling). flat: a Flatten has made one axis of
    them. certain: all this follows from the layers that ran before; it doesn't where layers only were registered
    before. pictures: channel counts of all pictures so far. one_place: they are a picture of a single place.
    """

    channels: int | None = None
    picture: bool = True
    flat: bool = False
    certain: bool = True
    pictures: frozenset[int] = frozenset()
    one_place: bool = False

    def of_picture(self, channels: int) -> "Flow":
        """Behind a layer that makes a picture of so many channels."""
        return Flow(channels, pictures=self.pictures | {channels})

    def of_features(self, features: int) -> "Flow":
        """Behind a layer whose outputs have no places, only numbers."""
        return Flow(features, picture=False, pictures=self.pictures)

    def of_one_place(self) -> "Flow":
        """Behind a layer that leaves one place of each picture."""
        return Flow(self.channels, picture=False, pictures=self.pictures, one_place=True)

    def of_places(self) -> "Flow":
        """Behind a layer that may make several places of one."""
        return self._replace(picture=True, one_place=False) if self.one_place and not self.flat else self

    def flatten_channels(self, features: int) -> int:
        """For a layer that weighs `features` inputs here: of how many channels is the picture that was flattened into
        them? 1 where there is nothing to reorder. ValueError where it can't be told."""
        if features == self.channels or (self.certain and not (self.flat and self.picture)):
            return 1
        if self.certain and self.channels is not None:
            if features % self.channels:
                raise ValueError(f"its {features} inputs cannot be a flattened picture of {self.channels} channels")
            return self.channels
        likely = [c for c in self.pictures if c > 1 and features % c == 0]
        if self.flat or likely:
            raise ValueError(f"its {features} inputs may be a flattened picture, of how many channels cannot be told")
        return 1


def flatten_orders(model: Any, flatten: Mapping[str, int | None] | None) -> tuple[dict[str, int], dict[str, str]]:
    """For each module behind a Flatten the number of channels to reorder its inputs by, and for each where that can't
    be told, the reason. Both by name. `flatten` is what the caller states: it comes first."""
    stated = dict(_declared(model)) | dict(flatten or {})
    orders: dict[str, int] = {}
    unclear: dict[str, str] = {}

    def visit(name: str, module: Any, flow: Flow) -> None:
        features = _features(module)
        if features is None or (module.flat_groups and name not in stated and not (flow.flat and flow.picture)):
            return
        try:
            channels = _stated(name, stated[name], features) if name in stated else flow.flatten_channels(features)
        except ValueError as error:
            unclear[name] = str(error) if name in stated else (
                f"{error}; flatten={{{name!r}: channels}} says it, {{{name!r}: None}} that they are none")
            return
        if channels > 1 and module.flat_groups > 1:
            unclear[name] = (f"its {features} inputs are a flattened picture of {channels} channels, and in PyTorch "
                             f"each of its {module.flat_groups} groups takes other ones of them; no order helps")
        orders[name] = channels

    _walk(model, "", Flow(), visit)
    known = [name for name, module in model.named_modules(remove_duplicate=False) if _features(module) is not None]
    for name in stated:
        if name not in known:
            raise ValueError(f"flatten: {name!r} is no layer that a Flatten can feed{near(name, known)}")
    return orders, unclear


def _declared(model: Any) -> dict[str, int | None]:
    """What the modules of a model declare in `torch_flatten`, by full names."""
    return {f"{path}.{name}" if path else name: channels for path, module in model.named_modules(remove_duplicate=False)
            for name, channels in module.torch_flatten.items()}


def _features(module: Any) -> int | None:
    """The number of inputs that the module weighs one by one or by groups, None if it does no such thing."""
    if module.flat_groups > 1:
        return int(module.num_channels)
    return next((t.shape[0] for t in (getattr(module, n) for n in module.flat_inputs) if t is not None), None)


def _stated(name: str, channels: int | None, features: int) -> int:
    if channels is None:
        return 1
    if not is_int(channels) or channels < 1 or features % channels:
        raise ValueError(f"flatten={{{name!r}: {channels!r}}}: its {features} inputs are not so many channels")
    return int(channels)


def _walk(module: Any, name: str, flow: Flow, visit: Callable[[str, Any, Flow], None]) -> Flow:
    """Follow the features through a module, its children in the order in which they were registered."""
    visit(name, module, flow)
    for child_name, child in module._modules.items():
        if child is not None:
            flow = flow if module.in_order else flow._replace(certain=False)
            flow = _walk(child, f"{name}.{child_name}" if name else child_name, flow, visit)
    return module.follow(flow)
