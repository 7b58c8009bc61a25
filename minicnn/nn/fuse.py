"""Fusion: runs of layers that are computed as one op, in one pass over memory where each layer alone would take one.

`run` calls layers one after the other, as Sequential does. It writes a row of layers down as a word, a letter a layer
(`LETTERS`), looks for the patterns of `RULES` in it, and has what they match computed by one function.

What comes out differs by rounding at most, gradients too; where a running variance is 0 and eps too, by more. A layer
is left alone if it has a hook, a forward of its own or is of a subclass, and all are if `fusion(False)` forbids it. Who
writes to a parameter's memory behind its back, through DLPack say, calls its `touch()`: filters that were prepared for
inference are made anew then.
"""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from math import inf
from typing import Any, NamedTuple
from weakref import ref

from ..ops.arguments import pair
from ..ops.conv import Prepared, convolve, convolve_depthwise
from ..ops.conv_arguments import output_shape
from ..ops.norm import normalise, scale_and_shift
from ..ops.norm_pool import normalise_and_pool
from ..ops.pool import rectified_max_pool2d
from ..tape import is_grad_enabled
from ..tensor import Tensor
from .activation import GELU, Hardsigmoid, Hardswish, ReLU, ReLU6, Sigmoid, SiLU, Tanh
from .conv import Conv2d
from .dropout import Dropout
from .module import Module, changes
from .norm import BatchNorm2d
from .pool import MaxPool2d


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


# ---------------------------------------------------------------------------------------------------- what is fused


class Add:
    """x + `what`, as a layer among others: the shortcut of a residual block."""

    def __init__(self, what: Tensor):
        self.what = what

    def check(self, shape: tuple[int, ...]) -> None:
        if self.what.shape != shape:
            raise ValueError(f"run: add has shape {self.what.shape}, expected that of the result, {shape}")

    def __call__(self, x: Tensor) -> Tensor:
        self.check(x.shape)
        return x + self.what


class Activation(NamedTuple):
    """How the kernels know an activation: by name, and those that are a clip by their limits too."""

    name: str
    low: float = -inf
    high: float = inf


ACTIVATIONS: dict[type, Activation] = {
    ReLU: Activation("relu", 0.0, inf), ReLU6: Activation("relu6", 0.0, 6.0), GELU: Activation("gelu"),
    SiLU: Activation("silu"), Hardswish: Activation("hardswish"), Hardsigmoid: Activation("hardsigmoid"),
    Sigmoid: Activation("sigmoid"), Tanh: Activation("tanh"),
}  # fmt: skip

NO_CLIP = Activation("")

#: The letter of each kind of layer that is fused. There are more: "w" for a depthwise convolution, and "e" for one that
#: may be joined with it, as its kernel is 1x1 or it has a stride; "g" for a batch norm of given statistics, those that
#: it has gathered; and "o" for max pooling whose windows overlap, or are not side by side for another reason.
LETTERS: dict[type, str] = {Conv2d: "c", BatchNorm2d: "n", MaxPool2d: "p", Dropout: "d", Add: "+",
                            **dict.fromkeys(ACTIVATIONS, "a"), ReLU: "r", ReLU6: "6"}
OTHER = "."
#: What each kind of layer does, unless somebody has put something else there.
FORWARDS: dict[type, Any] = {kind: getattr(kind, "forward", None) for kind in LETTERS}
#: Places in a window that the fused poolings can tell apart.
LARGEST_WINDOW = 255


def _letter(layer: Any) -> str:
    """The letter of a layer; OTHER if it is to be called as it is."""
    kind = type(layer)
    letter = LETTERS.get(kind, OTHER)
    if letter in ".+":
        return letter
    if _is_watched(layer) or kind.forward is not FORWARDS[kind]:
        return OTHER
    if letter == "c":
        return _letter_of_convolution(layer)
    if letter == "n":
        return "n" if layer.uses_batch_statistics else "g"
    return _letter_of_pool(layer) if letter == "p" else letter


def _is_watched(module: Module) -> bool:
    """Whether somebody waits for what goes into or comes out of this very module, or has put another forward there."""
    own = module.__dict__
    return bool(own["_forward_hooks"] or own["_forward_pre_hooks"] or "forward" in own)


def _letter_of_convolution(conv: Conv2d) -> str:
    if conv.groups == 1:
        return "e" if conv.kernel_size == (1, 1) or conv.stride != (1, 1) else "c"
    return "w" if conv.groups == conv.in_channels == conv.out_channels else "c"


def _letter_of_pool(pool: MaxPool2d) -> str:
    rows, columns = pair("MaxPool2d", "kernel_size", pool.kernel_size)
    if pool.return_indices or rows * columns > LARGEST_WINDOW:
        return OTHER
    side_by_side = pool.stride == pool.kernel_size and pool.padding in (0, (0, 0)) and pool.dilation in (1, (1, 1))
    return "p" if side_by_side and not pool.ceil_mode else "o"


def _convolution(x: Tensor, conv: Conv2d, norm: BatchNorm2d | None = None, add: Add | None = None,
                 activation: Module | None = None) -> Tensor:
    """A convolution that adds and clips as it stores its output. Where nothing is recorded its filters are prepared
    once, and include the normalisation."""
    filters: Conv2d | Filters | None = conv
    if is_grad_enabled():
        _filters.pop(id(conv), None)  # what is recorded is about to change them
    else:
        filters = _filters_of(conv, norm)
    if filters is None:
        return _one_by_one(x, [layer for layer in (conv, norm, add, activation) if layer is not None])
    if add is not None:
        add.check(output_shape("conv2d", 2, x, filters.weight, *conv.geometry))
    clip = ACTIVATIONS[type(activation)] if activation else NO_CLIP
    return convolve(x, filters.weight, filters.bias, *conv.geometry, add=add.what if add else None, low=clip.low,
                    high=clip.high, kept=filters.kept if isinstance(filters, Filters) else None)


def _joined(x: Tensor, conv: Conv2d, depthwise: Conv2d, norm: BatchNorm2d | None = None,
            activation: Module | None = None, norm2: BatchNorm2d | None = None,
            activation2: Module | None = None) -> Tensor:
    """A convolution and a depthwise one, each with what `_convolution` takes along, without the picture in between."""
    wide, deep = _filters_of(conv, norm), _filters_of(depthwise, norm2)
    if wide is None or deep is None:
        return _convolution(_convolution(x, conv, norm, None, activation), depthwise, norm2, None, activation2)
    clip = ACTIVATIONS[type(activation)] if activation else NO_CLIP
    clip2 = ACTIVATIONS[type(activation2)] if activation2 else NO_CLIP
    return convolve_depthwise(x, wide.weight, wide.bias, (conv.stride, conv.padding, conv.dilation),
                              (clip.low, clip.high), deep.weight, deep.bias, depthwise.geometry,
                              (clip2.low, clip2.high), wide.kept_with(deep))


def _behind_relu(x: Tensor, conv: Conv2d) -> Tensor:
    """A convolution and a ReLU whose gradient the next op takes along."""
    _filters.pop(id(conv), None)
    return convolve(x, conv.weight, conv.bias, *conv.geometry, low=0.0, clip_gradient=False)


def _pooled_convolution(x: Tensor, conv: Conv2d, relu: ReLU, pool: MaxPool2d) -> Tensor:
    return rectified_max_pool2d(_behind_relu(x, conv), pool.kernel_size, pool.stride, pool.padding, pool.dilation,
                                pool.ceil_mode)


def _pooled(x: Tensor, activation: Module, pool: MaxPool2d) -> Tensor:
    """The other way round, on fewer values: both only pick or clip."""
    return activation(pool(x))


def _normalisation(x: Tensor, norm: BatchNorm2d, conv: Conv2d | None = None, relu: ReLU | None = None,
                   add: Add | None = None, activation: Module | None = None, pool: MaxPool2d | None = None,
                   dropout: Dropout | None = None) -> Tensor:
    """All that follows a normalisation, in one pass; with pooling only the pooled values are written."""
    if conv is not None:
        x = _behind_relu(x, conv)
    norm.check(x)
    rectified, name = relu is not None, ACTIVATIONS[type(activation)].name if activation else ""
    if pool is None:
        if add is not None:
            add.check(x.shape)
        return normalise(x, *norm.settings, add=add.what if add else None, activation=name, rectified=rectified)
    p = float(dropout.p) if dropout is not None and dropout.training else 0.0
    return normalise_and_pool(x, *norm.settings, kernel=pool.kernel_size, activation=name, p=p, rectified=rectified)


class Rule(NamedTuple):
    """Letters, and what computes the layers that they stand for: a function of x and of the layers by the names of the
    pattern's groups. when: whether that holds while recording (True), while not (False), or always (None)."""

    when: bool | None
    pattern: str
    compute: Callable[..., Tensor]


#: Which layers go together. The first rule that matches at a place counts.
RULES = (
    # A normalisation of given statistics becomes part of the filters before it.
    Rule(False, r"(?P<conv>e)(?P<norm>g)?(?P<activation>[r6])?(?P<depthwise>w)(?!g?\+)(?P<norm2>g)?"
         r"(?P<activation2>[r6])?", _joined),
    Rule(False, r"(?P<conv>[cew])(?P<norm>g)?(?P<add>\+)?(?P<activation>[r6])?", _convolution),
    # A normalisation, with the ReLU before it, and with what is behind it: a sum, or pooling; only ReLU, ReLU6 and no
    # activation have a gradient that follows from their output, which a sum needs.
    Rule(True, r"((?P<conv>[cew])(?P<relu>r))?(?P<norm>n)(?P<add>\+)(?P<activation>[r6])?", _normalisation),
    Rule(True, r"((?P<conv>[cew])(?P<relu>r))?(?P<norm>n)(?P<activation>[r6a])?((?P<pool>p)(?P<dropout>d)?)?",
         _normalisation),
    Rule(False, r"(?P<norm>[ng])(?P<add>\+)(?P<activation>[r6])?", _normalisation),
    Rule(False, r"(?P<norm>[ng])(?P<activation>[r6a])?((?P<pool>p)(?P<dropout>d)?)?", _normalisation),
    # Max pooling and a clip, that of the convolution before it or one by itself.
    Rule(True, r"(?P<conv>[cew])(?P<relu>r)(?P<pool>[po])", _pooled_convolution),
    Rule(True, r"(?P<conv>[cew])(?P<activation>r|6(?![po]))?", _convolution),
    Rule(None, r"(?P<activation>[r6])(?P<pool>[po])", _pooled),
)  # fmt: skip


class Step(NamedTuple):
    """Layers of a row that are computed together: by `compute`, or if that is None the layer at `place` by itself."""

    compute: Callable[..., Tensor] | None
    layers: tuple[tuple[str, int], ...]  # (name, place in the row) of each layer
    place: int


@lru_cache(maxsize=1024)
def _steps(word: str, recording: bool) -> tuple[Step, ...]:
    """How a row of layers is computed, given as a word."""
    rules = [(re.compile(rule.pattern), rule.compute) for rule in RULES if rule.when in (None, recording)]
    steps, place = [], 0
    while place < len(word):
        found = next(((match, compute) for pattern, compute in rules if (match := pattern.match(word, place))), None)
        if found is None:
            steps.append(Step(None, (), place))
            place += 1
        else:
            match, compute = found
            layers = tuple((name, match.start(name)) for name, letter in match.groupdict().items() if letter)
            steps.append(Step(compute, layers, place))
            place = match.end()
    return tuple(steps)


# -------------------------------------------------------------------------------------------------- running a row


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
        return _one_by_one(x, layers)
    row = _row_of(layers)
    held = [] if row is None else [*layers, *(layer() for layer in row.inside)]
    if row is None or None in held:
        return _look_and_run(x, layers)
    for known, word, other, rest in row.parts:
        x = _fused(x, [held[number] for number in known], word)
        if other is not None:
            x = held[other](x)
            if changes.count != row.changes:  # it has changed something, those behind it perhaps
                return _look_and_run(x, [held[number] for number in _all_of(rest)])
    return x


def _one_by_one(x: Any, layers: Iterable[Any]) -> Any:
    for layer in layers:
        x = layer(x)
    return x


def _look_and_run(x: Any, layers: list[Any]) -> Any:
    """The same, with a look at each layer when its turn comes."""
    for known, word, other, _ in _parts(layers, []):
        x = _fused(x, known, word)
        x = x if other is None else other(x)
    return x


def _fused(x: Any, row: list[Any], word: str) -> Any:
    for compute, layers, place in _steps(word, is_grad_enabled()):
        x = row[place](x) if compute is None else compute(x, **{name: row[at] for name, at in layers})
    return x


#: What is behind a layer: a list, the place in it where that begins, and what is behind the list.
Rest = tuple[Sequence[Any], int, "Rest"] | None

#: Layers that fuse.py knows, their word, the one behind them that it doesn't know, and what is behind that. The unknown
#: one may do anything, to the layers behind it too: what is before it must be done, and what is behind it left alone.
Part = tuple[list[Any], str, Any, Rest]


def _parts(layers: Sequence[Any], seen: list[Any]) -> Iterator[Part]:
    known: list[Any] = []
    word = ""
    for layer, rest in _flat(layers, None, seen):
        letter = _letter(layer)
        if letter == OTHER:
            yield known, word, layer, rest
            known, word = [], ""
        else:
            known.append(layer)
            word += letter
    if word:
        yield known, word, None, None


def _flat(layers: Sequence[Any], behind: Rest, seen: list[Any]) -> Iterator[tuple[Any, Rest]]:
    """The layers, and instead of a module that does no more than call others in a row, those; with what is behind.
    All that it comes by is added to `seen`."""
    for place, layer in enumerate(layers):
        seen.append(layer)
        rest = layers, place + 1, behind
        inner = layer.in_a_row if type(layer) not in LETTERS and isinstance(layer, Module) else None
        if inner is None or _is_watched(layer):
            yield layer, rest
        else:
            yield from _flat(inner, rest, seen)


def _all_of(rest: Rest) -> list[Any]:
    found: list[Any] = []
    while rest is not None:
        layers, place, rest = rest
        found += layers[place:]
    return found


class Row:
    """The parts of a row of layers, found once for as long as no module changes.

    In place of layers stand numbers: first of those in the row, then of those inside of them, which are known by weak
    references, so that nobody's network is kept alive for it.
    """

    def __init__(self, layers: list[Any]):
        self.changes = changes.count
        seen: list[Any] = [*layers]
        parts = list(_parts(layers, seen))
        unique = {id(layer): layer for layer in seen}
        number = {key: i for i, key in enumerate(unique)}
        lists: dict[int, list[int]] = {}

        def numbered(rest: Rest) -> Rest:
            if rest is None:
                return None
            inner, place, behind = rest
            if id(inner) not in lists:
                lists[id(inner)] = [number[id(layer)] for layer in inner]
            return lists[id(inner)], place, numbered(behind)

        self.parts = [([number[id(layer)] for layer in known], word, None if other is None else number[id(other)],
                       numbered(rest)) for known, word, other, rest in parts]
        self.layers = [None if type(layer) is Add else ref(layer) for layer in layers]
        self.inside = [ref(layer) for layer in [*unique.values()][len(layers) :]]
        self.forwards = {type(layer): type(layer).forward for layer in seen if type(layer) is not Add}

    def holds(self, layers: list[Any]) -> bool:
        """Whether these are the layers that it was made for, and nothing about them has changed since."""
        return (self.changes == changes.count
                and all(kind.forward is forward for kind, forward in self.forwards.items())
                and all(known is None or known() is layer for known, layer in zip(self.layers, layers, strict=True)))


#: By the ids of the layers: a row, or the number of changes when they were seen for the first time.
_rows: dict[tuple[int, ...], Row | int] = {}
_ROWS_KEPT = 4096


def _row_of(layers: list[Any]) -> Row | None:
    """None where layers are seen for the first time, or have changed: some change in every call."""
    key = tuple([id(Add) if type(layer) is Add else id(layer) for layer in layers])
    found = _rows.get(key)
    if isinstance(found, Row) and found.holds(layers):
        return found
    if found == changes.count and len(set(key)) == len(key):
        found = _rows[key] = Row(layers)
        return found
    if len(_rows) >= _ROWS_KEPT:
        _rows.clear()
    _rows[key] = changes.count
    return None


# ------------------------------------------------------------------------------------------- filters for inference


class Filters:
    """Filters and bias of a convolution, a normalisation behind it included, and what a kernel prepares of them."""

    def __init__(self, conv: Conv2d, norm: BatchNorm2d | None):
        self.norm, self.eps = norm, None if norm is None else norm.eps
        self.kept = Prepared()
        self.joined: tuple[Filters, Prepared] | None = None
        self.weight: Tensor = conv.weight
        self.bias: Tensor | None = conv.bias
        if norm is not None:
            scale, shift = scale_and_shift(norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps)
            self.weight = conv.weight * scale
            self.bias = shift if conv.bias is None else conv.bias * scale + shift
        self.sources = _sources(conv, norm)
        self.changes = -1  # the modules' at the last look at all sources
        key = id(conv)
        self.alive = ref(conv, lambda _: _filters.pop(key, None))  # another module may have that id then

    def kept_with(self, deep: "Filters") -> Prepared:
        """What a kernel prepares of these and of those of a depthwise convolution behind."""
        if self.joined is None or self.joined[0] is not deep:
            self.joined = deep, Prepared()
        return self.joined[1]

    def are_of(self, norm: BatchNorm2d | None) -> bool:
        """Whether they include this normalisation, and all that they were made of is as it was."""
        if norm is not self.norm:
            return False
        count = changes.count
        if self.changes != count:
            if norm is not None and norm.eps != self.eps:
                return False
            if any(own.get(name, self) is not tensor for own, name, tensor, _, _ in self.sources):
                return False
            self.changes = count
        for _, _, tensor, array, version in self.sources:
            if tensor is not None and (tensor.array is not array or tensor._version[0] != version):
                return False
        return True


#: A dict of a layer's, a name in it, and what stands there; of a tensor its array and version too.
Source = tuple[dict[str, Any], str, Tensor | None, Any, int]


def _sources(conv: Conv2d, norm: BatchNorm2d | None) -> list[Source]:
    """What filters and bias are made of."""
    found = [_source(conv, name) for name in ("weight", "bias")]
    if norm is not None:
        found += [_source(norm, name) for name in ("weight", "bias", "running_mean", "running_var")]
    return found


def _source(layer: Module, name: str) -> Source:
    for own in (layer._parameters, layer._buffers, layer.__dict__):
        if name in own:
            tensor = own[name]
            return own, name, tensor, *((None, 0) if tensor is None else (tensor.array, tensor._version[0]))
    return {}, name, None, None, 0  # a property: as nothing is there to be found again, it counts as changed each time


_filters: dict[int, Filters] = {}  # by the id of the convolution, for as long as there is one


def _filters_of(conv: Conv2d, norm: BatchNorm2d | None) -> Filters | None:
    """Made once for as long as the parameters stay the same; None for a norm that doesn't fit the convolution."""
    found = _filters.get(id(conv))
    if found is None or not found.are_of(norm):
        if norm is not None and not _fits(norm, conv.weight):
            return None
        found = _filters[id(conv)] = Filters(conv, norm)
    return found


def _fits(norm: BatchNorm2d, weight: Tensor) -> bool:
    tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return all(t is None or (t.dtype, t.shape) == (weight.dtype, weight.shape[-1:]) for t in tensors)
