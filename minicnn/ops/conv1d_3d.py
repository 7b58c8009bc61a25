"""Convolutions over one axis and over three, by the kernels of the 2-D one.

A sequence is a picture of one row. A volume is a stack of pictures: what the filter sees around a plane are kD planes,
and these side by side, as the channels of one picture, make a 2-D convolution of it. Laying them there copies every
number kD times, for which each is then multiplied kH * kW * C_out times: 5% of the time with 3x3x3 filters from 64 to
128 channels. The copy is made anew for the gradients, so that nothing of that size is kept.
"""

from math import inf, prod
from typing import Any, ClassVar

from .. import memory
from ..dispatch import dispatch
from ..tape import Function, op
from ..tensor import Tensor
from .conv import Conv2d, geometry
from .conv_arguments import Padding, Size, check_tensors, outputs, resolve
from .reduce import ChannelSum
from .shape import pad, strides_of, walk, write
from .windows import add_windows, read_windows

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
    steps, edges, holes = resolve("conv1d", x.shape, weight.shape, stride, padding, dilation, groups)
    moves = {"stride": steps, "padding": edges, "dilation": holes, "groups": groups}
    return Conv2d.apply(x.unsqueeze(1), weight.unsqueeze(0), bias, None, **in_one_row(moves)).squeeze(1)


def in_one_row(moves: dict[str, Any]) -> dict[str, Any]:
    """How a filter moves over a sequence, as over a picture of one row."""
    return {"stride": (1, *moves["stride"]), "padding": (0, 0, *moves["padding"]),
            "dilation": (1, *moves["dilation"]), "groups": moves["groups"]}


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
    reach = hole * (weight.shape[0] - 1)
    y: Any = None
    for tap in range(weight.shape[0]):
        seen = x[:, tap * hole : x.shape[1] - reach + tap * hole : step]
        y = Conv2d.apply(seen.flatten(0, 1), weight[tap], bias if y is None else None, y, stride=tuple(steps),
                         padding=tuple(edges), dilation=tuple(holes), groups=moves["groups"])
    return y.reshape((*seen.shape[:2], *y.shape[1:]))


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
        return y.reshape(x.shape[0], planes_out(x.shape[1], self.kernel[0], self), *y.shape[1:])

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
        return planes_of_filters(dw, self.kernel[0])

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
    if depth > 1:
        plane, row, column, channel, _ = strides_of(w.shape)
        w = walk(w, (rows, columns, depth, channels, filters), (row, column, plane, channel, 1), 0)
    return w.reshape(rows, columns, depth * channels, filters)


def planes_of_filters(w: Any, depth: int) -> Any:
    """The way back."""
    rows, columns, channels, filters = w.shape
    channels //= depth
    shape = (depth, rows, columns, channels, filters)
    if depth == 1:
        return w.reshape(shape)
    row, column, plane, channel, _ = strides_of((rows, columns, depth, channels, filters))
    return walk(w, shape, (plane, row, column, channel, 1), 0)


def planes_around(x: Any, depth: int, conv: Any) -> Any:
    """For each plane of the output the `depth` planes that the filter sees, side by side as channels (in each group).

    (N, D, H, W, C) -> (N * D_out, H, W, depth * C)
    """
    front, back = conv.padding[:2]
    if depth == conv.stride[0] == 1 and front == back == 0:
        return as_pictures(x)
    count = planes_out(x.shape[1], depth, conv)
    x = with_planes(x, front, back)
    n, _, rows, columns, channels = x.shape
    shape = (n, count, rows * columns, conv.groups, depth, channels // conv.groups)
    y = read_windows(x, shape, window_strides(x.shape, conv))
    return y.reshape(n * count, rows, columns, depth * channels)


def add_planes(y: Any, depth: int, planes: int, conv: Any) -> Any:
    """The adjoint of planes_around: every plane gets the sum of what came of it.

    (N, D_out, H, W, depth * C) -> (N, D, H, W, C), D = planes
    """
    front, back = conv.padding[:2]
    if depth == conv.stride[0] == 1 and front == back == 0:
        return y
    n, count, rows, columns, channels = y.shape
    size = (n, front + planes + back, rows, columns, channels // depth)
    y = y.reshape(n, count, rows * columns, conv.groups, depth, channels // depth // conv.groups)
    x, steps = add_windows(y, size, window_strides(size, conv)), strides_of(size)
    return walk(x, (n, planes, *size[2:]), steps, front * steps[1])


def planes_out(planes: int, depth: int, conv: Any) -> int:
    """How many planes the output has."""
    front, back = conv.padding[:2]
    return outputs(planes, front, back, depth, conv.stride[0], conv.dilation[0])


def window_strides(size: tuple[int, ...], conv: Any) -> tuple[int, ...]:
    """The way through a volume of some size, for which planes_around reads it: volumes, planes of the output, places
    in the plane, groups, planes that the filter sees, channels of a group."""
    volume, plane, _, place, _ = strides_of(size)
    return volume, conv.stride[0] * plane, place, place // conv.groups, conv.dilation[0] * plane, 1


def with_planes(x: Any, front: int, back: int) -> Any:
    """With planes of zeros before and behind."""
    if front == back == 0:
        return x
    n, planes, *plane = x.shape
    y = memory.empty_like(x, (n, front + planes + back, *plane))
    dispatch("fill", y, value=0.0)
    steps = strides_of(y.shape)
    write(y, x, steps, front * steps[1])
    return y
