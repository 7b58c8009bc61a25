"""Fusion: runs of layers that are computed as one op, in one pass over memory where each layer alone would take one.

`run` calls layers one after the other, as Sequential does, and takes together what it can:

    convolution, then batch norm of given statistics     one convolution, with filters and bias that include the
                                                         normalisation (where no gradient is recorded)
    convolution, then ReLU or ReLU6                      clipped as it is stored; a sum in between is added there too
    batch norm, a sum, an activation                     one pass
    batch norm, activation, max pooling, dropout         one pass, which writes only the pooled values
    ReLU or ReLU6, then max pooling                      the other way round, on fewer values: both only pick or clip

(Behind a sum, only ReLU and ReLU6 are taken along.) What comes out differs by rounding at most, gradients too; where a
running variance is 0 and eps too, by more. A layer is left alone if it has a hook, a forward of its own or is of a
subclass, and all are if `fusion(False)` forbids it. Who writes to a parameter's memory behind its back, through DLPack
say, calls its `touch()`: filters that were prepared for inference are made anew then.
"""

import threading
from collections.abc import Callable, Iterable
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

from ..ops.arguments import pair
from ..ops.conv import convolve
from ..ops.norm import normalise, scale_and_shift
from ..ops.norm_pool import normalise_and_pool
from ..tape import is_grad_enabled
from ..tensor import Tensor
from .activation import GELU, Hardsigmoid, Hardswish, ReLU, ReLU6, Sigmoid, SiLU, Tanh
from .conv import Conv2d
from .dropout import Dropout
from .module import Module
from .norm import BatchNorm2d
from .pool import MaxPool2d

#: Activations that are a clip between two numbers.
CLIPS: dict[type, tuple[float, float]] = {ReLU: (0.0, inf), ReLU6: (0.0, 6.0)}
#: Activations that batch norm can apply as it stores, by their kernels' names.
ACTIVATIONS: dict[type, str] = {ReLU: "relu", ReLU6: "relu6", GELU: "gelu", SiLU: "silu", Hardswish: "hardswish",
                                Hardsigmoid: "hardsigmoid", Sigmoid: "sigmoid", Tanh: "tanh"}

#: What each kind of layer does, unless somebody has put something else there.
FORWARDS: dict[type, Any] = {kind: getattr(kind, "forward")  # noqa: B009 - not every type has one
                             for kind in (Conv2d, BatchNorm2d, MaxPool2d, Dropout, *ACTIVATIONS)}
#: Places in a window that the fused pooling can tell apart.
LARGEST_WINDOW = 255


class Switch(threading.local):
    on = True


_switch = Switch()


class fusion:  # noqa: N801 - called like a function, as no_grad is
    """Allow runs of layers to be computed as one op, or forbid it: `fusion(False)`, or `with fusion(False):` for a
    while; in this thread only, as no_grad is.

    >>> import minicnn as mc
    >>> with mc.fusion(False):
    ...     y = mc.nn.Sequential(mc.nn.ReLU())(mc.ones(2, 3))
    """

    def __init__(self, enabled: bool):
        if not isinstance(enabled, bool):
            raise TypeError(f"fusion: expected True or False, got {enabled!r}")
        self._before, self._enabled = _switch.on, enabled
        _switch.on = enabled

    def __enter__(self) -> "fusion":
        _switch.on = self._enabled
        return self

    def __exit__(self, *error: Any) -> None:
        _switch.on = self._before


def fusion_enabled() -> bool:
    """Whether layers may run as one op, in this thread."""
    return _switch.on


def run(x: Any, *modules: Module, add: Tensor | None = None, activation: Module | None = None) -> Any:
    """Call modules one after the other on x, then add a tensor of the same shape, then call an activation.

    What a block with a shortcut does at its end: `run(y, self.conv2, self.bn2, add=x, activation=self.relu)`. Fused
    where that is allowed.
    """
    layers: list[Any] = [*modules]
    if add is not None:
        layers.append(Add(add))
    if activation is not None:
        layers.append(activation)
    if not _switch.on or not isinstance(x, Tensor):
        for layer in layers:
            x = layer(x)
        return x
    rest = Layers(layers)
    while rest:
        x = _next(x, rest)
    return x


class Add:
    """x + `what`, as a layer among others."""

    def __init__(self, what: Tensor):
        self.what = what

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape != self.what.shape:
            raise ValueError(f"run: add has shape {self.what.shape}, expected that of the result, {x.shape}")
        return x + self.what


class Layers:
    """The layers that are still to run."""

    def __init__(self, layers: list[Any]):
        self.layers: list[Any] = []
        self.place = 0
        self.add(layers)

    def add(self, layers: Iterable[Any]) -> None:
        """Put layers at the end; instead of a module that does no more than call others in a row, put those."""
        for layer in layers:
            inner = layer.in_a_row if isinstance(layer, Module) and not _is_watched(layer) else None
            if inner is None:
                self.layers.append(layer)
            else:
                self.add(inner)

    def __bool__(self) -> bool:
        return self.place < len(self.layers)

    def next(self) -> Any:
        self.place += 1
        return self.layers[self.place - 1]

    def take(self, *kinds: type, when: Callable[[Any], bool] | None = None) -> Any:
        """The next layer if it is just of one of these kinds, `when` holds, and nobody listens to it; else None."""
        if self.place == len(self.layers):
            return None
        layer = self.layers[self.place]
        kind = type(layer)
        if kind not in kinds:
            return None
        if kind is not Add and (_is_watched(layer) or kind.forward is not FORWARDS[kind]):
            return None
        return None if when is not None and not when(layer) else self.next()


def _is_watched(module: Module) -> bool:
    """Whether somebody waits for what goes into or comes out of this very module, or has put another forward there."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)


def _next(x: Tensor, layers: Layers) -> Any:
    """Run the next layer and those that it can be fused with."""
    if conv := layers.take(Conv2d):
        return _from_conv(x, conv, layers)
    if norm := layers.take(BatchNorm2d, when=_in_one_pass):
        return _from_norm(x, norm, layers)
    if clip := layers.take(*CLIPS):
        return _clip(x, clip, layers)
    return layers.next()(x)


def _in_one_pass(norm: BatchNorm2d) -> bool:
    """Whether the fused normalisation has a gradient, or needs none: that for given statistics is not fused."""
    return norm.uses_batch_statistics or not is_grad_enabled()


def _folds(norm: BatchNorm2d) -> bool:
    """Whether a normalisation can become part of the filters before it."""
    return not norm.uses_batch_statistics and not is_grad_enabled()


def _is_plain(pool: MaxPool2d) -> bool:
    """Whether windows that are not too large for the kernel lie side by side, and only the largest numbers are asked
    for."""
    rows, columns = pair("MaxPool2d", "kernel_size", pool.kernel_size)
    side_by_side = pool.stride == pool.kernel_size and pool.padding in (0, (0, 0)) and pool.dilation in (1, (1, 1))
    return (rows * columns <= LARGEST_WINDOW and side_by_side and not pool.ceil_mode and not pool.return_indices)


def _clip(x: Tensor, clip: Module, layers: Layers) -> Tensor:
    pool = layers.take(MaxPool2d, when=lambda pool: not pool.return_indices)
    return clip(x) if pool is None else clip(pool(x))


def _from_conv(x: Tensor, conv: Conv2d, layers: Layers) -> Tensor:
    norm = layers.take(BatchNorm2d, when=lambda norm: _folds(norm) and norm.num_features == conv.weight.shape[-1])
    if norm is None and is_grad_enabled():
        return _from_recorded_conv(x, conv, layers)
    filters = _filters_of(conv, norm)
    add = layers.take(Add)
    clip = layers.take(*CLIPS)
    low, high = CLIPS[type(clip)] if clip else (-inf, inf)
    return convolve(x, filters.weight, filters.bias, *conv.geometry, add=add.what if add else None, low=low,
                    high=high, kept=filters.kept)


def _from_recorded_conv(x: Tensor, conv: Conv2d, layers: Layers) -> Tensor:
    """A convolution with what follows it, other than a normalisation that becomes part of it."""
    _filters.pop(conv, None)  # what is recorded is about to change them
    clip = layers.take(*CLIPS)
    if clip is None:
        return conv(x)
    low, high = CLIPS[type(clip)]
    norm = layers.take(BatchNorm2d, when=_in_one_pass) if type(clip) is ReLU else None
    if norm is not None:  # the normalisation's gradient takes that of the ReLU along
        y = convolve(x, conv.weight, conv.bias, *conv.geometry, low=low, high=high, straight=True)
        return _from_norm(y, norm, layers, rectified=True)
    pool = layers.take(MaxPool2d, when=lambda pool: not pool.return_indices)
    if pool is not None:
        return clip(pool(conv(x)))
    return convolve(x, conv.weight, conv.bias, *conv.geometry, low=low, high=high)


def _from_norm(x: Tensor, norm: BatchNorm2d, layers: Layers, rectified: bool = False) -> Tensor:
    """A normalisation with what follows it; rectified: behind a ReLU whose gradient is still to be taken."""
    norm.check(x)
    add = layers.take(Add)
    activation = layers.take(*(CLIPS if add else ACTIVATIONS))
    name = ACTIVATIONS[type(activation)] if activation else ""
    if add is not None:
        return normalise(x, *norm.settings, add=add.what, activation=name, rectified=rectified)
    pool = layers.take(MaxPool2d, when=_is_plain)
    if pool is None:
        return normalise(x, *norm.settings, activation=name, rectified=rectified)
    dropout = layers.take(Dropout)
    p = float(dropout.p) if dropout is not None and dropout.training else 0.0
    return normalise_and_pool(x, *norm.settings, kernel=pool.kernel_size, activation=name, p=p, rectified=rectified)


# ------------------------------------------------------------------------------------------- filters for inference


class Filters:
    """Filters and bias of a convolution, a normalisation behind it included, and what a kernel prepares of them."""

    def __init__(self, conv: Conv2d, norm: BatchNorm2d | None):
        self.norm, self.eps = norm, None if norm is None else norm.eps
        self.kept: dict[Any, Any] = {}
        self.weight: Tensor = conv.weight
        self.bias: Tensor | None = conv.bias
        if norm is not None:
            scale, shift = scale_and_shift(norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps)
            self.weight = conv.weight * scale
            self.bias = shift if conv.bias is None else conv.bias * scale + shift
        self.sources = _sources(conv, norm)
        self.states = [(t.array, t._version[0]) for t in self.sources if t is not None]

    def are_of(self, conv: Conv2d, norm: BatchNorm2d | None) -> bool:
        """Whether they include this normalisation, and all that they were made of is as it was."""
        if norm is not self.norm or (norm is not None and norm.eps != self.eps):
            return False
        now = _sources(conv, norm)
        if any(new is not old for new, old in zip(now, self.sources, strict=True)):
            return False
        tensors = [t for t in now if t is not None]
        return all(t.array is array and t._version[0] == version
                   for t, (array, version) in zip(tensors, self.states, strict=True))


def _sources(conv: Conv2d, norm: BatchNorm2d | None) -> list[Tensor | None]:
    """What filters and bias are made of."""
    found = [_value(conv, "weight"), _value(conv, "bias")]
    if norm is not None:
        found += [_value(norm, "weight"), _value(norm, "bias"), norm._buffers["running_mean"],
                  norm._buffers["running_var"]]
    return found


def _value(module: Module, name: str) -> Tensor | None:
    """A parameter, or what took its place."""
    own = module._parameters
    return own[name] if name in own else getattr(module, name)


_filters: WeakKeyDictionary[Conv2d, Filters] = WeakKeyDictionary()


def _filters_of(conv: Conv2d, norm: BatchNorm2d | None) -> Filters:
    """Made once for as long as the parameters stay the same."""
    found = _filters.get(conv)
    if found is None or not found.are_of(conv, norm):
        found = _filters[conv] = Filters(conv, norm)
    return found
