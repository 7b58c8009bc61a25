"""Ops that move elements without changing them: reshape, transpose, slices, concat, pad.

Every tensor is contiguous. A reshape costs nothing; everything else is one strided walk (`strided_get`) through the
array, and its gradient the same walk writing instead of reading.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from .. import memory
from ..assign import strides_of, write
from ..dispatch import dispatch
from ..tape import Function, op
from ..tensor import Tensor, method
from .arguments import axes, axis, need_tensor, shape_of
from .broadcast import sum_to


def walk(x: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """The raw array of `shape` read from x along strides."""
    return dispatch("strided_get", x.reshape(-1), shape=shape, strides=strides, offset=offset).reshape(shape)


class Reshape(Function):
    """The same elements in another shape: no kernel, the same memory."""

    shape: tuple[int, ...]

    @classmethod
    def apply(cls, x, **params):  # type: ignore[override]
        y = super().apply(x, **params)
        y._version = x._version  # an in-place change of one is a change of the other
        return y

    def forward(self, x):
        self.before = x.shape
        return x.reshape(self.shape)

    def backward(self, grad):
        return grad.reshape(self.before)


class StridedGet(Function):
    """y = x read at offset + sum(index * strides). No place may be read twice (Expand is for that)."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    def forward(self, x):
        self.before = x.shape
        return walk(x, self.shape, self.strides, self.offset)

    def backward(self, grad):
        return StridedPut.apply(grad, size=self.before, value=0.0, strides=self.strides, offset=self.offset)


class StridedPut(Function):
    """The adjoint: an array of `size` full of `value`, with x written along the walk."""

    size: tuple[int, ...]
    value: float
    strides: tuple[int, ...]
    offset: int

    def forward(self, x):
        self.shape = x.shape
        y = memory.empty_like(x, self.size)
        dispatch("fill", y, value=self.value)
        write(y, x, self.strides, self.offset)
        return y

    def backward(self, grad):
        return StridedGet.apply(grad, shape=self.shape, strides=self.strides, offset=self.offset)


class Expand(Function):
    """Broadcast to a larger shape: dimensions of size 1 are read with a stride of 0."""

    shape: tuple[int, ...]

    def forward(self, x):
        self.before = x.shape
        padded = (1,) * (len(self.shape) - x.ndim) + x.shape
        steps = tuple(0 if s == 1 else step for s, step in zip(padded, strides_of(padded), strict=True))
        return walk(x, self.shape, steps, 0)

    def backward(self, grad):
        return sum_to(grad, self.before)


class Concat(Function):
    """Arrays side by side along one dimension."""

    dim: int

    def forward(self, *arrays):
        first = arrays[0]
        self.lengths = [a.shape[self.dim] for a in arrays]
        shape = (*first.shape[: self.dim], sum(self.lengths), *first.shape[self.dim + 1 :])
        y, steps, start = memory.empty_like(first, shape), strides_of(shape), 0
        for a in arrays:
            write(y, a, steps, start * steps[self.dim])
            start += a.shape[self.dim]
        return y

    def backward(self, grad):
        return tuple(split(grad, self.lengths, self.dim))


class Take(Function):
    """x[:, index]: slices along the middle of three dimensions, in any order, with repeats."""

    saves = ("index",)

    def forward(self, x, index):
        self.length = x.shape[1]
        return dispatch("take", x, index)

    def backward(self, grad):
        (index,) = self.saved
        return TakeGrad.apply(grad, index, length=self.length), None


class TakeGrad(Function):
    """The adjoint of Take: slices that were taken twice are added."""

    saves = ("index",)
    length: int

    def forward(self, g, index):
        return dispatch("take_grad", g, index, length=self.length)

    def backward(self, grad):
        (index,) = self.saved
        return Take.apply(grad, index), None


# ----------------------------------------------------------------------------------------------------------- shapes


@op
def reshape(x: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape, in the same order; one size may be -1 and is worked out. Shares memory with
    x. ValueError if the number of elements differs.

    >>> import minicnn as mc
    >>> x = mc.tensor([1, 2, 3, 4, 5, 6])
    >>> mc.nn.functional.reshape(x, 2, -1).tolist()
    [[1, 2, 3], [4, 5, 6]]
    """
    need_tensor("reshape", x=x)
    sizes = shape_of("reshape", shape)
    if sizes == x.array.shape:
        return x
    known = prod(s for s in sizes if s != -1)
    fits = sizes.count(-1) <= 1 and min(sizes, default=0) >= -1
    if fits and -1 in sizes:
        fits = known != 0 and x.numel() % known == 0
        sizes = tuple(x.numel() // known if s == -1 and fits else s for s in sizes)
    if not fits or prod(sizes) != x.numel():
        raise ValueError(f"reshape: {x.shape} has {x.numel()} elements and does not fit {shape_of('reshape', shape)}")
    return Reshape.apply(x, shape=sizes)


@op
def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions start_dim to end_dim as one, the product of their sizes; both count.

    >>> import minicnn as mc
    >>> x = mc.zeros(8, 4, 4, 3)
    >>> mc.nn.functional.flatten(x, start_dim=1).shape, mc.nn.functional.flatten(x, 0, 2).shape
    ((8, 48), (128, 3))
    """
    need_tensor("flatten", x=x)
    first, last = axis("flatten", start_dim, x.ndim), axis("flatten", end_dim, x.ndim)
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    shape = x.shape or (1,)
    return Reshape.apply(x, shape=(*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :]))


@op
def squeeze(x: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without the dimensions of size 1: all of them, or those of `dim` that have it.

    >>> import minicnn as mc
    >>> x = mc.zeros(1, 5, 1)
    >>> mc.nn.functional.squeeze(x).shape, mc.nn.functional.squeeze(x, -1).shape, mc.nn.functional.squeeze(x, 1).shape
    ((5,), (1, 5), (1, 5, 1))
    """
    need_tensor("squeeze", x=x)
    named = axes("squeeze", dim, x.ndim)
    return Reshape.apply(x, shape=tuple(s for i, s in enumerate(x.shape) if not (i in named and s == 1)))


@op
def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """With a new dimension of size 1 before `dim`; -1 puts it last.

    >>> import minicnn as mc
    >>> x = mc.zeros(28, 28)
    >>> mc.nn.functional.unsqueeze(x, 0).shape, mc.nn.functional.unsqueeze(x, -1).shape
    ((1, 28, 28), (28, 28, 1))
    """
    need_tensor("unsqueeze", x=x)
    d = axis("unsqueeze", dim, x.ndim + 1)
    return Reshape.apply(x, shape=(*x.shape[:d], 1, *x.shape[d:]))


@op
def permute(x: Tensor, *dims: Any) -> Tensor:
    """The dimensions in another order: dimension i of the result is dimension dims[i] of x.

    >>> import minicnn as mc
    >>> mc.nn.functional.permute(mc.zeros(8, 3, 32, 64), 0, 2, 3, 1).shape  # channels last
    (8, 32, 64, 3)
    """
    need_tensor("permute", x=x)
    order = tuple(axis("permute", d, x.ndim) for d in shape_of("permute", dims))
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"permute: dims must name each of {x.ndim} dimensions once, got {dims!r}")
    if order == tuple(range(x.ndim)):
        return x
    steps = strides_of(x.shape)
    return StridedGet.apply(x, shape=tuple(x.shape[d] for d in order), strides=tuple(steps[d] for d in order), offset=0)


@op
def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions swapped; the elements move, as every tensor is contiguous.

    >>> import minicnn as mc
    >>> mc.nn.functional.transpose(mc.tensor([[1, 2, 3], [4, 5, 6]]), 0, 1).tolist()
    [[1, 4], [2, 5], [3, 6]]
    """
    need_tensor("transpose", x=x)
    order = list(range(x.ndim))
    a, b = axis("transpose", dim0, x.ndim), axis("transpose", dim1, x.ndim)
    order[a], order[b] = order[b], order[a]
    return permute(x, order)


@op
def expand(x: Tensor, *shape: Any) -> Tensor:
    """Broadcast to `shape`: dimensions of size 1 are repeated, new ones come in front; -1 keeps a size. The gradient is
    summed over the repetitions.

    >>> import minicnn as mc
    >>> x = mc.tensor([[1.0], [2.0]], requires_grad=True)
    >>> y = mc.nn.functional.expand(x, -1, 3)
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], [[3.0], [3.0]])
    """
    need_tensor("expand", x=x)
    sizes = shape_of("expand", shape)
    padded = (1,) * (len(sizes) - x.ndim) + x.shape
    full = tuple(p if s == -1 else s for s, p in zip(sizes, padded, strict=False))
    if len(sizes) < x.ndim or any(p not in (1, s) for p, s in zip(padded, full, strict=True)):
        raise ValueError(f"expand: {x.shape} does not broadcast to {sizes}")
    return x if full == x.shape else Expand.apply(x, shape=full)


@op
def flip(x: Tensor, dims: int | Sequence[int]) -> Tensor:
    """Reversed along `dims`; the shape of x.

    >>> import minicnn as mc
    >>> mc.nn.functional.flip(mc.tensor([[1, 2, 3], [4, 5, 6]]), 1).tolist()
    [[3, 2, 1], [6, 5, 4]]
    """
    need_tensor("flip", x=x)
    turned = axes("flip", dims, x.ndim)
    steps = strides_of(x.shape)
    offset = sum((x.shape[d] - 1) * steps[d] for d in turned) if x.numel() else 0
    return StridedGet.apply(
        x, shape=x.shape, offset=offset, strides=tuple(-s if i in turned else s for i, s in enumerate(steps))
    )


# ---------------------------------------------------------------------------------------------------- putting together


@op
def concat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors side by side along `dim`, whose sizes add up; all other sizes, the dtypes and the devices must agree
    (ValueError, TypeError).

    >>> import minicnn as mc
    >>> mc.concat([mc.zeros(2, 3), mc.ones(2, 1)], dim=1).tolist()
    [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]
    """
    tensors = list(tensors)
    if not tensors:
        raise ValueError("concat: no tensors came")
    need_tensor("concat", **{f"tensors[{i}]": t for i, t in enumerate(tensors)})
    first = tensors[0]
    d = axis("concat", dim, first.ndim)
    for i, t in enumerate(tensors):
        if t.ndim == 0 or t.shape[:d] + t.shape[d + 1 :] != first.shape[:d] + first.shape[d + 1 :]:
            raise ValueError(
                f"concat: tensors[{i}] has shape {t.shape}, which does not fit {first.shape} along dim {d}"
            )
        if (t.dtype, t.device) != (first.dtype, first.device):
            raise TypeError(
                f"concat: tensors[{i}] is {t.dtype} on {t.device}, but tensors[0] is {first.dtype} on {first.device}"
            )
    return Concat.apply(*tensors, dim=d)


@op
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension, which stands at `dim` in the result.

    >>> import minicnn as mc
    >>> pictures = [mc.zeros(32, 32, 3), mc.ones(32, 32, 3)]
    >>> mc.stack(pictures).shape, mc.stack(pictures, dim=-1).shape
    ((2, 32, 32, 3), (32, 32, 3, 2))
    """
    tensors = list(tensors)
    if not tensors:
        raise ValueError("stack: no tensors came")
    need_tensor("stack", **{f"tensors[{i}]": t for i, t in enumerate(tensors)})
    for i, t in enumerate(tensors):
        if t.shape != tensors[0].shape:
            raise ValueError(f"stack: tensors[{i}] has shape {t.shape}, tensors[0] {tensors[0].shape}")
    return concat([unsqueeze(t, dim) for t in tensors], axis("stack", dim, tensors[0].ndim + 1))


@op
def split(x: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces along `dim`: of one size (the last may be smaller), or of the sizes given, which must add up. Copies.

    >>> import minicnn as mc
    >>> x = mc.tensor([1, 2, 3, 4, 5])
    >>> [piece.tolist() for piece in mc.nn.functional.split(x, 2)]
    [[1, 2], [3, 4], [5]]
    >>> [piece.tolist() for piece in mc.nn.functional.split(x, [1, 4])]
    [[1], [2, 3, 4, 5]]
    """
    need_tensor("split", x=x)
    d = axis("split", dim, x.ndim)
    length = x.shape[d]
    if isinstance(split_size, int):
        if split_size < 1:
            raise ValueError(f"split: split_size must be positive, got {split_size}")
        sizes = [min(split_size, length - start) for start in range(0, max(length, 1), split_size)]
    else:
        sizes = list(split_size)
        if sum(sizes) != length or min(sizes, default=0) < 0:
            raise ValueError(f"split: sizes {sizes} do not add up to {length}, the size of dim {d}")
    pieces, start = [], 0
    for size in sizes:
        pieces.append(x[(slice(None),) * d + (slice(start, start + size),)])
        start += size
    return tuple(pieces)


#: Ways to fill what is padded, and NumPy's names for them.
_PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@op
def pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Numbers around the spatial dimensions; the channels are never padded.

    x: (N, ..., C). pad: pairs (before, after) from the innermost spatial axis outwards: (left, right, top, bottom) for
    pictures. Negative amounts crop. mode: "constant" takes `value`; "reflect" the picture mirrored at its outermost
    pixels, "replicate" those pixels, "circular" the picture from its other side.

    >>> import minicnn as mc
    >>> mc.nn.functional.pad(mc.tensor([[[1.0], [2], [3]]]), (2, 1), mode="reflect").flatten().tolist()
    [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
    """
    need_tensor("pad", x=x)
    if mode != "constant" and mode not in _PAD_MODES:
        raise ValueError(f"pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}")
    amounts = shape_of("pad", pad)
    if len(amounts) % 2 or len(amounts) // 2 > max(x.ndim - 2, 0):
        raise ValueError(
            f"pad: expected pairs for at most {max(x.ndim - 2, 0)} spatial axes of {x.shape}, got {amounts}"
        )
    before, after = [0] * x.ndim, [0] * x.ndim
    for i in range(len(amounts) // 2):
        before[-2 - i], after[-2 - i] = amounts[2 * i], amounts[2 * i + 1]
    if mode != "constant":
        return _pad_with_itself(x, before, after, mode)
    keep = tuple(slice(max(-b, 0), s - max(-a, 0)) for b, a, s in zip(before, after, x.shape, strict=True))
    if any(k.stop < k.start for k in keep):
        raise ValueError(f"pad: {amounts} crops more than there is of {x.shape}")
    inner = x[keep] if any(a < 0 for a in amounts) else x
    grow = [(max(b, 0), max(a, 0)) for b, a in zip(before, after, strict=True)]
    size = tuple(s + b + a for s, (b, a) in zip(inner.shape, grow, strict=True))
    steps = strides_of(size)
    offset = sum(b * step for (b, _), step in zip(grow, steps, strict=True)) if inner.numel() else 0
    return StridedPut.apply(inner, size=size, value=float(value), strides=steps, offset=offset)


def _pad_with_itself(x: Tensor, before: list[int], after: list[int], mode: str) -> Tensor:
    """Each axis anew from its own places, in the order that the mode says."""
    most = {"reflect": -1, "replicate": None, "circular": 0}[mode]  # beside the size
    for dim, size in enumerate(x.shape):
        sides = before[dim], after[dim]
        if sides == (0, 0):
            continue
        if min(sides) < 0 or size == 0 or (most is not None and max(sides) > size + most):
            raise ValueError(f"pad: mode {mode!r} pads an axis of {size} with at least 0 and at most "
                             f"{'any number' if most is None else max(size + most, 0)} on a side, got {sides}")
        places = np.pad(np.arange(size), sides, mode=_PAD_MODES[mode])  # type: ignore[call-overload]
        x = x[(slice(None),) * dim + (places,)]
    return x


for _function in (reshape, flatten, squeeze, unsqueeze, permute, transpose, expand, flip, split):
    method(_function)
method(reshape, "view")
Tensor.T = property(lambda x: permute(x, *range(x.ndim)[::-1]))  # type: ignore[attr-defined]
