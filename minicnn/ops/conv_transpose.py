"""Transposed convolutions over one, two and three axes, channels last.

A convolution is a linear map of its input; its transpose is the map that carries the gradient of the output back to
the input. So there is nothing here but the arithmetic of sizes: the computation is that gradient.
"""

from typing import Any, NamedTuple

from ..tape import op
from ..tensor import Tensor
from .arguments import need_float, need_rank, per_axis, remembered
from .conv import Conv2dInputGrad
from .conv1d_3d import Conv3dInputGrad, in_one_row
from .conv_arguments import AXES, LAYOUTS, Padding, Size, check_bias, check_divides, sides
from .shape import pad


@op
def conv_transpose1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Transposed 1-D convolution: of a sequence. All as for conv_transpose2d, with one axis.

    x: (N, L, C_in); weight: (k, C_out / groups, C_in); bias: (C_out,)
    returns (N, L_out, C_out) with
        L_out = (L - 1) * stride - before - after + dilation * (k - 1) + output_padding + 1

    >>> import minicnn as mc
    >>> mc.nn.functional.conv_transpose1d(mc.ones(1, 5, 3), mc.ones(4, 8, 3), stride=2, padding=1).shape
    (1, 10, 8)
    """
    return _transpose("conv_transpose1d", 1, x, weight, bias, stride, padding, output_padding, groups, dilation)


@op
def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Transposed 2-D convolution: what makes pictures larger again, also called a fractionally strided convolution.

    x: (N, H, W, C_in); bias: (C_out,)
    weight: (kH, kW, C_out / groups, C_in), that of the convolution which it transposes, from C_out channels to C_in
    returns (N, H_out, W_out, C_out) with
        H_out = (H - 1) * stride - top - bottom + dilation * (kH - 1) + output_padding + 1

    stride, padding, dilation, groups: those of that convolution; padding in any of conv2d's ways. With "tf_same" the
        output has H * stride rows, and output_padding must be 0.
    output_padding: rows and columns more at the bottom right, an int or (rows, columns), each less than the stride or
        the dilation: a strided convolution gives pictures of several sizes the same size, and this says which to go
        back to.
    Zeiler et al. 2010, "Deconvolutional networks"; Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep
    learning", chapter 4.

    >>> import minicnn as mc
    >>> mc.nn.functional.conv_transpose2d(mc.ones(1, 5, 5, 3), mc.ones(4, 4, 8, 3), stride=2, padding=1).shape
    (1, 10, 10, 8)
    >>> x, stamp = mc.tensor([1.0, 2.0]).reshape(1, 1, 2, 1), mc.tensor([1.0, 1.0, 1.0]).reshape(1, 3, 1, 1)
    >>> mc.nn.functional.conv_transpose2d(x, stamp, stride=2).flatten().tolist()  # each pixel stamps its filter
    [1.0, 1.0, 3.0, 2.0, 2.0]
    """
    return _transpose("conv_transpose2d", 2, x, weight, bias, stride, padding, output_padding, groups, dilation)


@op
def conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Transposed 3-D convolution: of a volume. All as for conv_transpose2d, with three axes.

    x: (N, D, H, W, C_in); weight: (kD, kH, kW, C_out / groups, C_in); bias: (C_out,)
    returns (N, D_out, H_out, W_out, C_out) with
        D_out = (D - 1) * stride - front - back + dilation * (kD - 1) + output_padding + 1, and H_out and W_out alike

    >>> import minicnn as mc
    >>> mc.nn.functional.conv_transpose3d(mc.ones(1, 2, 3, 4, 3), mc.ones(2, 2, 2, 8, 3), stride=2).shape
    (1, 4, 6, 8, 8)
    """
    return _transpose("conv_transpose3d", 3, x, weight, bias, stride, padding, output_padding, groups, dilation)


def _transpose(
    name: str, axes: int, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any,
    output_padding: Any, groups: Any, dilation: Any,
) -> Tensor:
    need_float(name, x=x, weight=weight, bias=bias)
    of_x, of_weight = LAYOUTS[axes]
    need_rank(name, "x", x, of_x)
    need_rank(name, "weight", weight, of_weight.replace("C_in / groups, C_out", "C_out / groups, C_in"))
    way = way_back(name, x.shape, weight.shape, stride, padding, output_padding, groups, dilation)
    check_bias(name, bias, (weight.shape[-2] * groups,))
    moves = {"stride": way.stride, "padding": way.padding, "dilation": way.dilation, "groups": groups}
    if axes == 1:
        y = Conv2dInputGrad.apply(x.unsqueeze(1), weight.unsqueeze(0), size=(1, *way.reached), **in_one_row(moves))
        y = y.squeeze(1)
    else:
        y = (Conv2dInputGrad if axes == 2 else Conv3dInputGrad).apply(x, weight, size=way.reached, **moves)
    if way.size != way.reached:
        behind = [(0, whole - part) for whole, part in zip(way.size, way.reached, strict=True)]
        y = pad(y, [p for side in reversed(behind) for p in side])
    return y if bias is None else y + bias


class WayBack(NamedTuple):
    """The convolution that a transposed one transposes, and the size that it goes back to. padding: before and after
    each axis in turn. reached: of that size, what the convolution may have and still give as little as it does; the
    rest is zeros."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    reached: tuple[int, ...]
    size: tuple[int, ...]


@remembered
def way_back(
    name: str, x: tuple[int, ...], weight: tuple[int, ...], stride: Any, padding: Any, output_padding: Any,
    groups: Any, dilation: Any,
) -> WayBack:
    """The geometry of a transposed convolution for the shapes of x and weight, once they are known to fit."""
    axes = len(x) - 2
    steps, holes = per_axis(name, "stride", stride, axes), per_axis(name, "dilation", dilation, axes)
    extra = per_axis(name, "output_padding", output_padding, axes, least=0)
    for more, step, hole in zip(extra, steps, holes, strict=True):
        if more >= max(step, hole):
            raise ValueError(f"{name}: output_padding must be smaller than the stride or the dilation, got "
                             f"{output_padding!r} for stride {stride!r} and dilation {dilation!r}")
    if padding == "tf_same" and any(extra):
        raise ValueError(f"{name}: output_padding must be 0 with padding='tf_same', got {output_padding!r}")
    check_divides(name, groups, weight, "channels")
    if x[-1] != weight[-1]:
        raise ValueError(f"{name}: x has {x[-1]} channels, but weight of shape {weight} expects {weight[-1]}; channels "
                         "come last")
    goal = [length * step for length, step in zip(x[1:-1], steps, strict=True)]  # the size that "tf_same" gives
    edges = sides(name, padding, goal, weight[:-2], steps, holes)
    found = []
    for i, axis in enumerate(AXES[axes]):
        whole = (x[1 + i] - 1) * steps[i] + holes[i] * (weight[i] - 1) + 1
        size = goal[i] if padding == "tf_same" else whole - edges[2 * i] - edges[2 * i + 1] + extra[i]
        if size < 1 or x[1 + i] < 1:
            raise ValueError(f"{name}: an input of {x[1 + i]} along {axis} gives an output of {size}, too small")
        before = min(edges[2 * i], whole)
        after = max(whole - before - size, 0)
        reached = min(size, whole - before + steps[i] - 1)
        found.append((before, after, reached, size))
    return WayBack(steps, tuple(p for before, after, _, _ in found for p in (before, after)), holes,
                   tuple(reached for *_, reached, _ in found), tuple(size for *_, size in found))
