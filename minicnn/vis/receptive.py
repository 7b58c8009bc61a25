"""Which part of the picture a place in a layer sees: its receptive field."""

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..nn import Module, Parameter
from ..nn.features import run_until
from ..nn.fuse import fusion
from ..ops.activation import Activation
from ..ops.broadcast import Binary, Unary
from ..ops.conv import Conv2d
from ..ops.pool import MaxPool2d
from ..tape import Function, enable_grad, no_grad
from ..tensor import Tensor, tensor
from .looking import Looking

AT_ONCE = 16  # places


def receptive_field(model: Module, layer: str, places: Sequence[tuple[int, int]] | np.ndarray | None = None,
                    size: Sequence[int] | None = None) -> np.ndarray:
    """The boxes of pixels that places in a layer can see, (n, 4): top, left, bottom, right (the last two lie outside).

    layer: a dotted name; it gives pictures (N, h, w, C). places: (row, column) in them, (n, 2); the middle one unless
    given. size: (H, W, C) of the model's input, where it has no input_shape.

    Found by following the tape back from each place to all that its value could depend on: through all weights,
    all places of a max pooling's windows, both sides of a product. So it holds for blocks, branches and
    shortcuts, and a norm over places or a squeeze-and-excitation makes it the whole picture.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3, padding=1), mc.nn.MaxPool2d(2), mc.nn.Conv2d(4, 4, 3, padding=1))
    >>> mc.vis.receptive_field(model, "2", [(4, 4), (0, 7)], size=(16, 16, 3)).tolist()
    [[5, 5, 13, 13], [0, 11, 5, 16]]
    """
    name = "receptive_field"
    shape = tuple(size if size is not None else getattr(model, "input_shape", ()))
    if len(shape) != 3:
        raise ValueError(f"{name}: size must be (H, W, C) where the model doesn't say it by an input_shape, got "
                         f"{size!r}")
    x = np.random.default_rng(0).standard_normal((1, *shape), np.float32)
    with Looking(name, model, x) as look, fusion(False):
        look.layer(layer)
        boxes, at = [], None if places is None else np.asarray(places).reshape(-1, 2)
        while at is None or len(at):
            with enable_grad():
                count = 1 if at is None else min(len(at), AT_ONCE)
                inputs = look.tensor(np.repeat(look.x, count, axis=0), requires_grad=True)
                output = run_until(model, [layer], inputs).found.get(layer)
            if not isinstance(output, Tensor) or output.ndim != 4:
                raise ValueError(f"{name}: layer {layer!r} gives no pictures (N, h, w, C) that would have places")
            at = _checked(at, layer, output.shape[1:3])
            begin = np.zeros(output.shape, np.bool_)
            begin[np.arange(count), at[:count, 0], at[:count, 1]] = True
            boxes.append(_boxes(_sources(output, begin, inputs)))
            at = at[count:]
    return np.concatenate(boxes) if boxes else np.empty((0, 4), int)


def _checked(places: np.ndarray | None, layer: str, size: tuple[int, ...]) -> np.ndarray:
    """The places, once they are known to be in the layer's output; the middle if there are none."""
    if places is None:
        return np.array([[length // 2 for length in size]])
    if places.dtype.kind not in "iu" or (places < 0).any() or (places >= size).any():
        raise ValueError(f"receptive_field: places must be rows below {size[0]} and columns below {size[1]}, of layer "
                         f"{layer!r}")
    return places


def _sources(output: Tensor, begin: np.ndarray, inputs: Tensor) -> np.ndarray:
    """Which of the inputs the outputs that `begin` marks can depend on."""
    found = np.zeros(inputs.shape, bool)
    if output is inputs:
        return begin
    marks: dict[int, list[np.ndarray | None]] = {}
    heap: list[tuple[int, Function]] = []

    def mark(edge: Any, mask: np.ndarray) -> None:
        source, place = edge
        if isinstance(source, Tensor):
            if source is inputs:
                np.logical_or(found, mask, out=found)
            return
        if id(source) not in marks:
            marks[id(source)] = [None] * len(source.outputs)
            heapq.heappush(heap, (-source.order, source))
        known = marks[id(source)][place]
        marks[id(source)][place] = mask if known is None else known | mask

    if output.entry is not None:
        mark((output.entry, output.index), begin)
    with no_grad():
        while heap:  # the newest entry first: all that used what it gave have been there
            entry = heapq.heappop(heap)[1]
            for edge, mask in zip(entry.edges, _back(entry, marks.pop(id(entry)), inputs), strict=True):
                if edge is not None and mask is not None:
                    mark(edge, mask)
    return found


def _back(entry: Function, masks: list[np.ndarray | None], like: Tensor) -> Sequence[np.ndarray | None]:
    """Which of an op's inputs the marked ones of its outputs can depend on, whatever values they have. like: a tensor
    of the model's dtype, where the model is."""
    (mask, *_) = masks
    if mask is not None:
        if isinstance(entry, Unary | Activation):
            return [mask]
        if isinstance(entry, Binary):
            return [_folded(mask, shape) for shape in entry.shapes]
        if isinstance(entry, MaxPool2d):
            return [_under(mask, entry, entry.input_size, entry.kernel, entry.padding)]
        if isinstance(entry, Conv2d):
            x, weight = entry.saved
            seen = _under(_of_groups(mask, entry.groups), entry, entry.size, entry.kernel, entry.padding[::2])
            return [np.repeat(seen, x.shape[-1] // entry.groups, axis=-1), None, None, mask]
    # Elsewhere numbers drawn at random stand for the marks: a sum of them is not 0 by chance.
    random = np.random.default_rng(0)
    grads = [None if one is None else tensor(one * random.uniform(0.5, 1, one.shape), like.dtype, like.device)
             for one in masks]
    entry.needs = [edge is not None and not _is_parameter(edge) for edge in entry.edges]
    result = entry.backward(*grads)
    results = result if isinstance(result, tuple) else (result,)
    return [None if one is None else one.numpy() != 0 for one in results]


def _is_parameter(edge: Any) -> bool:
    return isinstance(edge[0], Parameter)


def _folded(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of what an input of that shape was broadcast to, as one of the input."""
    mask = np.logical_or.reduce(mask, axis=tuple(range(mask.ndim - len(shape))))
    once = tuple(axis for axis, size in enumerate(shape) if size == 1)
    return np.logical_or.reduce(mask, axis=once, keepdims=True)


def _of_groups(mask: np.ndarray, groups: int) -> np.ndarray:
    """A mask (N, h, w, C) as one of the groups of its channels (N, h, w, groups)."""
    return np.logical_or.reduce(mask.reshape((*mask.shape[:3], groups, -1)), axis=-1)


def _under(mask: np.ndarray, op: Any, size: tuple[int, int], kernel: tuple[int, int], padding: Sequence[int]
           ) -> np.ndarray:
    """What lies in the windows that a mask (N, h, w, C) marks, of pictures of that size. (Winograd's convolutions leave
    rounding errors around them.)"""
    under = np.zeros((len(mask), *size, mask.shape[-1]), bool)
    for offset in np.ndindex(*kernel):
        at = [np.arange(count) * stride - before + place * dilation for count, stride, before, place, dilation
              in zip(mask.shape[1:3], op.stride, padding, offset, op.dilation, strict=True)]
        rows, columns = (np.flatnonzero((0 <= places) & (places < length))
                         for places, length in zip(at, size, strict=True))
        under[:, at[0][rows, None], at[1][columns]] |= mask[:, rows[:, None], columns]
    return under


def _boxes(found: np.ndarray) -> np.ndarray:
    """The boxes (n, 4) around what is marked in masks (n, H, W, C); nothing at all is the box 0, 0, 0, 0."""
    boxes = []
    for mask in np.logical_or.reduce(found, axis=-1):
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        boxes.append([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1] if len(rows) else [0, 0, 0, 0])
    return np.array(boxes)
