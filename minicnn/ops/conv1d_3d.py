"""Convolutions over one axis and over three, by the kernels of the 2-D one.

A sequence is a picture of one row. A volume is a stack of pictures: what the filter sees around a plane are kD planes,
and these side by side, as the channels of one picture, make a 2-D convolution of it.
"""

from math import inf, prod
from typing import Any, ClassVar

import numpy as np

from .. import memory
from ..dispatch import dispatch
from ..tape import Function, op
from ..tensor import Tensor
from .conv import Conv2d, geometry
from .conv_arguments import Padding, Size, check_tensors, resolve
from .reduce import ChannelSum
from .shape import pad, strides_of, walk, write

Triple = tuple[int, int, int]


@op
def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """1-D convolution, of a sequence.

    x: (N, L, C_in); weight: (k, C_in / groups, C_out); bias: (C_out,)
    returns (N, L_out, C_out) with L_out = floor((L + before + after - dilation * (k - 1) - 1) / stride) + 1

    stride, dilation, groups: as for conv2d. padding: an int, ((before, after),) or one of conv2d's words.
    Waibel et al. 1989, "Phoneme recognition using time-delay neural networks".

    >>> import minicnn as mc
    >>> mc.nn.functional.conv1d(mc.ones(1, 10, 3), mc.ones(3, 3, 8), stride=2).shape
    (1, 4, 8)
    """
    check_tensors("conv1d", 1, x, weight, bias, None)
    (step,), (before, after), (hole,) = resolve("conv1d", x.shape, weight.shape, stride, padding, dilation, groups)
    y = Conv2d.apply(x.unsqueeze(1), weight.unsqueeze(0), bias, None, stride=(1, step), padding=(0, 0, before, after),
                     dilation=(1, hole), groups=groups)
    return y.squeeze(1)


@op
def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """3-D convolution, of a volume, or of a film with time as its depth.

    x: (N, D, H, W, C_in); weight: (kD, kH, kW, C_in / groups, C_out); bias: (C_out,)
    returns (N, D_out, H_out, W_out, C_out) with
        D_out = floor((D + front + back - dilation * (kD - 1) - 1) / stride) + 1, and H_out and W_out alike

    stride, dilation: an int or (planes, rows, columns); groups: as for conv2d.
    padding: an int, (planes, rows, columns), ((front, back), (top, bottom), (left, right)), or one of conv2d's words.
    Tran et al. 2015, "Learning spatiotemporal features with 3D convolutional networks".

    >>> import minicnn as mc
    >>> mc.nn.functional.conv3d(mc.ones(1, 4, 5, 6, 2), mc.ones(3, 3, 3, 2, 8), padding="same").shape
    (1, 4, 5, 6, 8)
    """
    check_tensors("conv3d", 3, x, weight, bias, None)
    steps, edges, holes = resolve("conv3d", x.shape, weight.shape, stride, padding, dilation, groups)
    moves = {"stride": steps, "padding": edges, "dilation": holes, "groups": groups}
    if weight.shape[1:3] == steps[1:] == (1, 1) and not any(edges[2:]):
        return _through_planes(x, weight, bias, moves)
    if groups == x.shape[-1] == weight.shape[-1] > 1:
        return _depthwise(x, weight, bias, moves)
    return Conv3d.apply(x, weight, bias, **moves)


def _through_planes(x: Tensor, weight: Tensor, bias: Tensor | None, moves: dict[str, Any]) -> Tensor:
    """A filter of one row and one column: a 2-D convolution whose rows are the planes."""
    n, depth, rows, columns, channels = x.shape
    y = Conv2d.apply(x.reshape((n, depth, rows * columns, channels)), weight.squeeze(1), bias, None,
                     stride=(moves["stride"][0], 1), padding=(*moves["padding"][:2], 0, 0),
                     dilation=(moves["dilation"][0], 1), groups=moves["groups"])
    return y.reshape((n, y.shape[1], rows, columns, y.shape[-1]))


def _depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, moves: dict[str, Any]) -> Tensor:
    """One filter a channel, for which the 2-D convolution has a way of its own: the planes of the filter one by one,
    each adding to what came of those before."""
    (step, *steps), (front, back, *edges), (hole, *holes) = moves["stride"], moves["padding"], moves["dilation"]
    x = pad(x, (0, 0, 0, 0, front, back)) if front or back else x
    n, reach = x.shape[0], hole * (weight.shape[0] - 1)
    y: Any = None
    for tap in range(weight.shape[0]):
        seen = x[:, tap * hole : x.shape[1] - reach + tap * hole : step]
        y = Conv2d.apply(seen.flatten(0, 1), weight[tap], bias if y is None else None, y, stride=tuple(steps),
                         padding=tuple(edges), dilation=tuple(holes), groups=moves["groups"])
    return y.reshape((n, y.shape[0] // n, *y.shape[1:]))


class Conv3d(Function):
    """y = conv(x, w) + bias. padding: (front, back, top, bottom, left, right)."""

    saves: ClassVar[tuple[str, ...]] = ("x", "w")
    stride: Triple
    padding: tuple[int, ...]
    dilation: Triple
    groups: int

    def forward(self, x, w, bias):
        self.size, self.kernel = x.shape[1:4], w.shape[:3]
        y = dispatch("conv2d_forward", planes_around(x, self.kernel[0], self), filters_of_planes(w), bias, None,
                     low=-inf, high=inf, **within_planes(self))
        return y.reshape(x.shape[0], -1, *y.shape[1:])

    def backward(self, grad):
        x, w = self.saved
        dx = Conv3dInputGrad.apply(grad, w, size=self.size, **geometry(self)) if self.needs[0] else None
        dw = Conv3dWeightGrad.apply(x, grad, kernel=self.kernel, **geometry(self)) if self.needs[1] else None
        return dx, dw, ChannelSum.apply(grad) if self.needs[2] else None


class Conv3dInputGrad(Function):
    """dx of a convolution from dy and w; size: (D, H, W) of x."""

    saves = ("dy", "w")
    size: Triple

    def forward(self, dy, w):
        self.kernel = w.shape[:3]
        pictures = dispatch("conv2d_input_grad", as_pictures(dy), filters_of_planes(w), size=self.size[1:],
                            **within_planes(self))
        return add_planes(pictures.reshape(*dy.shape[:2], *pictures.shape[1:]), self.kernel[0], self.size[0], self)

    def backward(self, grad):
        dy, w = self.saved
        ddy = Conv3d.apply(grad, w, None, **geometry(self)) if self.needs[0] else None
        dw = Conv3dWeightGrad.apply(grad, dy, kernel=self.kernel, **geometry(self)) if self.needs[1] else None
        return ddy, dw


class Conv3dWeightGrad(Function):
    """dw of a convolution from x and dy; kernel: (kD, kH, kW) of w."""

    saves = ("x", "dy")
    kernel: Triple

    def forward(self, x, dy):
        self.size = x.shape[1:4]
        dw = dispatch("conv2d_weight_grad", planes_around(x, self.kernel[0], self), as_pictures(dy),
                      kernel=self.kernel[1:], **within_planes(self))
        rows, columns, channels, filters = dw.shape
        depth = self.kernel[0]
        shape = (depth, rows, columns, channels // depth, filters)
        steps = strides_of((rows, columns, depth, channels // depth, filters))
        return walk(dw, shape, tuple(steps[i] for i in (2, 0, 1, 3, 4)), 0)

    def backward(self, grad):
        x, dy = self.saved
        dx = Conv3dInputGrad.apply(dy, grad, size=self.size, **geometry(self)) if self.needs[0] else None
        ddy = Conv3d.apply(x, grad, None, **geometry(self)) if self.needs[1] else None
        return dx, ddy


# ------------------------------------------------------------------------------------------- planes as channels


def within_planes(conv: Any) -> dict[str, Any]:
    """How the filter of a 3-D convolution moves over a plane."""
    return {"stride": conv.stride[1:], "padding": conv.padding[2:], "dilation": conv.dilation[1:],
            "groups": conv.groups}


def as_pictures(x: Any) -> Any:
    """Volumes as so many more pictures. (N, D, H, W, C) -> (N * D, H, W, C)"""
    return x.reshape(prod(x.shape[:2]), *x.shape[2:])


def filters_of_planes(w: Any) -> Any:
    """(kD, kH, kW, C, K) -> (kH, kW, kD * C, K)"""
    depth, rows, columns, channels, filters = w.shape
    steps = strides_of(w.shape)
    y = walk(w, (rows, columns, depth, channels, filters), tuple(steps[i] for i in (1, 2, 0, 3, 4)), 0)
    return y.reshape(rows, columns, depth * channels, filters)


def planes_around(x: Any, depth: int, conv: Any) -> Any:
    """For each plane of the output the `depth` planes that the filter sees, side by side as channels (in each group).

    (N, D, H, W, C) -> (N * D_out, H, W, depth * C)
    """
    (front, back), step, hole = conv.padding[:2], conv.stride[0], conv.dilation[0]
    if depth == step == 1 and front == back == 0:
        return as_pictures(x)
    x = with_planes(x, front, back)
    n, planes, rows, columns, channels = x.shape
    count = (planes - hole * (depth - 1) - 1) // step + 1
    plane, group = rows * columns * channels, channels // conv.groups
    y = walk(x, (n, count, rows * columns, conv.groups, depth, group),
             (planes * plane, step * plane, channels, group, hole * plane, 1), 0)
    return y.reshape(n * count, rows, columns, depth * channels)


def with_planes(x: Any, front: int, back: int) -> Any:
    """With planes of zeros before and behind."""
    if front == back == 0:
        return x
    n, planes, *plane = x.shape
    y = memory.empty((n, front + planes + back, *plane), x.dtype)
    dispatch("fill", y, value=0.0)
    steps = strides_of(y.shape)
    write(y, x, steps, front * steps[1])
    return y


def add_planes(y: Any, depth: int, planes: int, conv: Any) -> Any:
    """The adjoint of planes_around: every plane gets the sum of what came of it.

    (N, D_out, H, W, depth * C) -> (N, D, H, W, C), D = planes
    """
    (front, back), step, hole = conv.padding[:2], conv.stride[0], conv.dilation[0]
    n, count, rows, columns, channels = y.shape
    if depth == step == 1 and front == back == 0:
        return y
    channels //= depth
    places, length = rows * columns * conv.groups, front + planes + back
    to_plane = step * np.arange(count)[:, None, None] + hole * np.arange(depth)
    index = to_plane * places + np.arange(places)[:, None]
    x = dispatch("take_grad", y.reshape(n, -1, channels // conv.groups), index.reshape(-1), length=length * places)
    plane = rows * columns * channels
    return walk(x, (n, planes, rows, columns, channels), (length * plane, plane, columns * channels, channels, 1),
                front * plane)
