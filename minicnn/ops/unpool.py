"""Max unpooling: values back to where their maxima stood. Channels last."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..tape import op
from ..tensor import Tensor
from .arguments import is_int, need_tensor, per_axis
from .indexing import Scatter
from .pool_arguments import need_picture


def _output(name: str, x: Tensor, axes: int, kernel_size: Any, stride: Any, padding: Any, wanted: Any) -> Any:
    """The spatial sizes of the output."""
    kernel = per_axis(name, "kernel_size", kernel_size, axes)
    steps = kernel if stride is None else per_axis(name, "stride", stride, axes)
    edges = per_axis(name, "padding", padding, axes, least=0)
    along = list(zip(x.shape[1:-1], kernel, steps, edges, strict=True))
    size = tuple((count - 1) * s - 2 * p + k for count, k, s, p in along)
    if wanted is None:
        if min(size) < 1:
            raise ValueError(f"{name}: padding {padding!r} leaves an output of size {size}")
        return size
    sizes = tuple(wanted) if isinstance(wanted, Sequence) else ()
    sizes = sizes[1:-1] if len(sizes) == axes + 2 else sizes
    near = len(sizes) == axes and all(
        is_int(w) and max(0, d - s) < w < d + s for w, d, s in zip(sizes, size, steps, strict=True)
    )
    if not near:
        raise ValueError(
            f"{name}: output_size must be {axes} ints less than a stride of {steps} from {size}, or the whole shape, "
            f"got {wanted!r}"
        )
    return tuple(map(int, sizes))


def _unpool(
    name: str, axes: int, x: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Tensor:
    need_picture(name, x, axes)
    need_tensor(name, indices=indices)
    if indices.dtype != np.int64:
        raise TypeError(f"{name}: indices must be int64, got {indices.dtype}")
    if indices.shape != x.shape:
        raise ValueError(f"{name}: indices have shape {indices.shape}, expected that of x, {x.shape}")
    size = _output(name, x, axes, kernel_size, stride, padding, output_size)
    places, length, rows = indices.numpy(), prod(size), (x.shape[0], prod(x.shape[1:-1]), x.shape[-1])
    if places.size and not (0 <= places.min() and places.max() < length):
        wrong = places.min() if places.min() < 0 else places.max()
        raise IndexError(f"{name}: indices hold {wrong}, which is no place in an output of size {size}")
    y = Scatter.apply(x.reshape(rows), indices.reshape(rows), length=length, add=False)
    return y.reshape((x.shape[0], *size, x.shape[-1]))


@op
def max_unpool1d(
    x: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The partial inverse of max_pool1d: x where the maxima stood, 0 elsewhere.

    x, indices: (N, L, C) -> (N, (L - 1) stride - 2 padding + kernel, C); all as for max_unpool2d.

    >>> import minicnn as mc
    >>> x = mc.tensor([3.0, 1.0, 4.0, 5.0]).reshape(1, 4, 1)
    >>> y, indices = mc.nn.functional.max_pool1d(x, 2, return_indices=True)
    >>> mc.nn.functional.max_unpool1d(y, indices, 2).numpy().ravel().tolist()
    [3.0, 0.0, 0.0, 5.0]
    """
    return _unpool("max_unpool1d", 1, x, indices, kernel_size, stride, padding, output_size)


@op
def max_unpool2d(
    x: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The partial inverse of max_pool2d: x where the maxima stood, 0 elsewhere.

    x: (N, H, W, C), what was pooled; indices: where it stood, of the same shape, as max_pool2d gives them with
    return_indices; kernel_size, stride, padding: those of the pooling. -> (N, H_out, W_out, C), H_out =
    (H - 1) stride - 2 padding + kernel. Several sizes are pooled to the same one: output_size, (H_out, W_out) or the
    whole shape, says which it was. Of several values with one index the last one stays. Zeiler et al. 2011, "Adaptive
    deconvolutional networks for mid and high level feature learning".

    >>> import minicnn as mc
    >>> x = mc.tensor([[1.0, 2.0, 3.0, 4.0], [8.0, 7.0, 6.0, 5.0]]).reshape(1, 2, 4, 1)
    >>> y, indices = mc.nn.functional.max_pool2d(x, 2, return_indices=True)
    >>> mc.nn.functional.max_unpool2d(y, indices, 2).numpy().reshape(2, 4).tolist()
    [[0.0, 0.0, 0.0, 0.0], [8.0, 0.0, 6.0, 0.0]]
    """
    return _unpool("max_unpool2d", 2, x, indices, kernel_size, stride, padding, output_size)


@op
def max_unpool3d(
    x: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The partial inverse of max_pool3d: x where the maxima stood, 0 elsewhere.

    x, indices: (N, D, H, W, C) -> (N, D_out, H_out, W_out, C); all as for max_unpool2d.

    >>> import minicnn as mc
    >>> y, indices = mc.nn.functional.max_pool3d(mc.ones((1, 4, 6, 9, 3)), 2, return_indices=True)
    >>> mc.nn.functional.max_unpool3d(y, indices, 2, output_size=(4, 6, 9)).shape
    (1, 4, 6, 9, 3)
    """
    return _unpool("max_unpool3d", 3, x, indices, kernel_size, stride, padding, output_size)
