"""x[index]: ints, slices, None, ..., integer arrays and bool masks, as in NumPy."""

from math import prod
from typing import Any

import numpy as np

from ..tensor import Tensor, method, tensor
from .arguments import is_int
from .shape import StridedGet, Take, permute, strides_of


def _get(x: Tensor, index: Any) -> Tensor:
    """x[index], a copy: ints, slices, None, ..., integer arrays and bool masks, as in NumPy.

    Two things differ. An ellipsis that stands for nothing does not separate the arrays on its sides, as in PyTorch. A
    mask must have a dimension: x[True] is an IndexError.

    >>> import minicnn as mc
    >>> x = mc.tensor([[1, 2, 3], [4, 5, 6]])
    >>> x[1].tolist(), x[:, ::-2].tolist(), x[[0, 1], [2, 0]].tolist(), x[x > 4].tolist()
    ([4, 5, 6], [[3, 1], [6, 4]], [3, 4], [5, 6])
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    parts = [_plain_part(p) for p in parts]
    masks = [p for p in parts if isinstance(p, np.ndarray)]
    used = sum(
        p.ndim if isinstance(p, np.ndarray) and p.dtype == np.bool_ else 1
        for p in parts
        if p is not None and p is not Ellipsis
    )
    dots = [i for i, p in enumerate(parts) if p is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can have only one ellipsis")
    if used > x.ndim:
        raise IndexError(f"too many indices: {used} for a tensor of shape {x.shape}")
    place = dots[0] if dots else len(parts)
    parts[place : place + 1] = [slice(None)] * (x.ndim - used)
    return _with_arrays(x, parts) if masks else _basic(x, parts)


def _plain_part(part: Any) -> Any:
    """One part of an index as an int, slice, None, Ellipsis, or an array of int64 or bool."""
    if part is None or part is Ellipsis or isinstance(part, slice):
        return part
    if is_int(part):
        return int(part)
    try:
        array = part.numpy() if isinstance(part, Tensor) else np.asarray(part)
    except ValueError:
        raise IndexError(f"the rows of an index differ in length: {part!r}") from None
    if array.size == 0 and not isinstance(part, Tensor | np.ndarray):
        array = array.astype(np.int64)
    if array.dtype == np.bool_:
        if not array.ndim:
            raise IndexError(f"a mask must have at least one dimension, got {part!r}")
        return array
    if array.dtype.kind not in "iu":
        raise IndexError(f"an index must be ints, slices, None, ... or integer or bool arrays, got {array.dtype}")
    return array.astype(np.int64)


def _basic(x: Tensor, parts: list[Any]) -> Tensor:
    """Ints, slices and None: one strided walk."""
    steps = strides_of(x.shape)
    shape, strides, offset, d = [], [], 0, 0
    for part in parts:
        if part is None:
            shape.append(1)
            strides.append(0)
            continue
        size, step = x.shape[d], steps[d]
        if isinstance(part, slice):
            start, stop, stride = part.indices(size)
            length = len(range(start, stop, stride))
            shape.append(length)
            strides.append(step * stride)
            offset += start * step if length else 0
        else:
            if not -size <= part < size:
                raise IndexError(f"index {part} is out of range for dim {d} of size {size}")
            offset += part % size * step
        d += 1
    return StridedGet.apply(x, shape=tuple(shape), strides=tuple(strides), offset=offset if prod(shape) else 0)


def _with_arrays(x: Tensor, parts: list[Any]) -> Tensor:
    """Integer arrays and masks. Their dimensions are brought together and folded into one, along which `take` picks."""
    split_masks: list[Any] = []
    for part in parts:  # a mask stands for the places where it is true
        if isinstance(part, np.ndarray) and part.dtype == np.bool_:
            split_masks += list(np.nonzero(part))
            _check_mask(x, part, split_masks)
        else:
            split_masks.append(part)
    parts = split_masks
    # An int between or beside arrays is an array of one element, as in NumPy.
    joined = [i for i, p in enumerate(parts) if isinstance(p, np.ndarray | int)]
    together = joined == list(range(joined[0], joined[0] + len(joined)))
    ints = {i: parts[i] for i in joined}
    plain = _basic(x, [slice(None) if i in ints else p for i, p in enumerate(parts)])
    order = joined + [i for i in range(plain.ndim) if i not in ints]
    front = permute(plain, order)
    sizes = front.shape[: len(joined)]
    index = _flat_index([ints[i] for i in joined], sizes)
    rest = front.shape[len(joined) :]
    taken = Take.apply(front.reshape((1, prod(sizes), prod(rest))), tensor(index.reshape(-1), device=x.device))
    result = taken.reshape((*index.shape, *rest))
    if together and joined[0] > 0:  # the arrays' dimensions go where the first array stood
        n, before = index.ndim, joined[0]
        result = permute(result, [*range(n, n + before), *range(n), *range(n + before, result.ndim)])
    return result


def _check_mask(x: Tensor, mask: np.ndarray, parts: list[Any]) -> None:
    first = sum(1 for p in parts if p is not None) - mask.ndim
    if x.shape[first : first + mask.ndim] != mask.shape:
        raise IndexError(f"a mask of shape {mask.shape} does not fit {x.shape} at dim {first}")


def _flat_index(indices: list[Any], sizes: tuple[int, ...]) -> np.ndarray:
    shapes = [np.shape(index) for index in indices]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        raise IndexError(f"the arrays of an index do not broadcast: shapes {', '.join(map(str, shapes))}") from None
    flat: Any = np.zeros((), np.int64)
    for dim, (index, size) in enumerate(zip(indices, sizes, strict=True)):
        index = np.asarray(index)
        if index.size and not (-size <= index.min() and index.max() < size):
            raise IndexError(
                f"index {index.min() if index.min() < -size else index.max()} is out of range for size {size} "
                f"(indexed dimension {dim})"
            )
        flat = flat * size + np.where(index < 0, index + size, index)
    return np.asarray(flat, np.int64)


method(_get, "__getitem__")
