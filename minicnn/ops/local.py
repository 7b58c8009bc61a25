"""Convolutions whose kernel depends on the place: locally connected and tiled, channels last.

No kernel is slid over the picture, so nothing is gained by computing it in place: the windows are laid side by side,
those that meet the same kernel as the rows of one matrix, and the matrices multiplied, all at once. Goodfellow, Bengio
& Courville 2016, "Deep learning", section 9.5, draws the three: convolution, locally connected, tiled.
"""

from collections.abc import Sequence

from ..tape import op
from ..tensor import Tensor
from .arguments import need_float, need_rank
from .conv import conv2d
from .conv_arguments import LAYOUTS, Padding, Size, check_bias, outputs, resolve
from .matmul import product
from .shape import pad, strides_of
from .windows import ReadWindows

Axes = tuple[int, ...]


@op
def locally_connected1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1
) -> Tensor:
    """A convolution of a sequence that has a kernel of its own at each place.

    x: (N, L, C_in); weight: (L_out, k, C_in, C_out); bias: (L_out, C_out)
    returns (N, L_out, C_out) with L_out, stride, padding and dilation as for conv1d

    >>> import minicnn as mc
    >>> mc.nn.functional.locally_connected1d(mc.ones(2, 6, 3), mc.ones(4, 3, 3, 5)).shape
    (2, 4, 5)
    """
    name = "locally_connected1d"
    _check(name, 1, x, weight, bias, "L_out, ")
    (step,), (before, after), (hole,) = resolve(name, x.shape, weight.shape[1:], stride, padding, dilation, 1)
    length = outputs(x.shape[1], before, after, weight.shape[1], step, hole)
    _check_places(name, weight, bias, (length,))
    own_bias = None if bias is None else bias.unsqueeze(0)
    y = _kernel_by_place(x.unsqueeze(1), weight.unsqueeze(0).unsqueeze(2), own_bias, (1, step),
                         (0, 0, before, after), (1, hole), (1, length))
    return y.squeeze(1)


@op
def locally_connected2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1
) -> Tensor:
    """A convolution that has a kernel of its own at each place: connected alike, but no weights are shared.

    x: (N, H, W, C_in); weight: (H_out, W_out, kH, kW, C_in, C_out); bias: (H_out, W_out, C_out)
    returns (N, H_out, W_out, C_out) with H_out, W_out, stride, padding and dilation as for conv2d

    LeCun 1989, "Generalization and network design strategies"; Gregor & LeCun 2010, "Emergence of complex-like cells
    in a temporal product network with local receptive fields".

    >>> import minicnn as mc
    >>> mc.nn.functional.locally_connected2d(mc.ones(2, 6, 5, 3), mc.ones(4, 3, 3, 3, 3, 8)).shape
    (2, 4, 3, 8)
    """
    name = "locally_connected2d"
    _check(name, 2, x, weight, bias, "H_out, W_out, ")
    steps, edges, holes = resolve(name, x.shape, weight.shape[2:], stride, padding, dilation, 1)
    size = _outputs(x, weight, steps, edges, holes)
    _check_places(name, weight, bias, size)
    return _kernel_by_place(x, weight, bias, steps, edges, holes, size)


@op
def tiled_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1
) -> Tensor:
    """A convolution that takes several kernels in turn: those of t_h rows and t_w columns of places, then the same
    again. One kernel is a convolution; as many as there are places, or more, are a locally connected layer.

    x: (N, H, W, C_in); weight: (t_h, t_w, kH, kW, C_in, C_out)
    bias: (t_h, t_w, C_out), tiled as the kernels are, or (C_out,)
    returns (N, H_out, W_out, C_out) with H_out, W_out, stride, padding and dilation as for conv2d

    Gregor & LeCun 2010, "Emergence of complex-like cells in a temporal product network with local receptive fields";
    Le et al. 2010, "Tiled convolutional neural networks".

    >>> import minicnn as mc
    >>> mc.nn.functional.tiled_conv2d(mc.ones(2, 6, 5, 3), mc.ones(2, 2, 3, 3, 3, 8)).shape
    (2, 4, 3, 8)
    """
    name = "tiled_conv2d"
    _check(name, 2, x, weight, bias, "t_h, t_w, ")
    steps, edges, holes = resolve(name, x.shape, weight.shape[2:], stride, padding, dilation, 1)
    if 0 in weight.shape[:2]:
        raise ValueError(f"{name}: weight of shape {weight.shape} holds no kernels")
    shared = bias is not None and bias.ndim == 1
    check_bias(name, bias, weight.shape[-1:] if shared else (*weight.shape[:2], weight.shape[-1]))
    if weight.shape[:2] == (1, 1):
        own_bias = None if bias is None else bias.reshape(weight.shape[-1:])
        return conv2d(x, weight.reshape(weight.shape[2:]), own_bias, stride, padding, dilation)
    size = _outputs(x, weight, steps, edges, holes)
    weight = weight[: size[0], : size[1]]
    if bias is not None:
        bias = bias.expand(*weight.shape[:2], -1) if shared else bias[: size[0], : size[1]]
    return _kernel_by_place(x, weight, bias, steps, edges, holes, size)


def _kernel_by_place(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Axes, padding: Axes, dilation: Axes, size: Axes
) -> Tensor:
    """The outputs of `size`, of which row i and column j use weight[i % t_h, j % t_w] and the bias there."""
    t_h, t_w, *kernel, channels, filters = weight.shape
    high, wide = -(-size[0] // t_h), -(-size[1] // t_w)  # so many times the kernels are taken in turn
    x = _reaching(x, padding, kernel, stride, dilation, (high * t_h, wide * t_w))
    n = x.shape[0]
    picture, row, column, _ = strides_of(x.shape)
    down, right = stride[0] * row, stride[1] * column
    windows = ReadWindows.apply(x, shape=(1, t_h, t_w, n, high, wide, *kernel, channels), strides=(
        0, down, right, picture, t_h * down, t_w * right, dilation[0] * row, dilation[1] * column, 1))
    inputs = kernel[0] * kernel[1] * channels
    y = product(windows.reshape((t_h * t_w, n * high * wide, inputs)), weight.reshape((t_h * t_w, inputs, filters)))
    y = y.reshape((t_h, t_w, n, high, wide, filters))
    if bias is not None:
        y = y + bias.reshape((t_h, t_w, 1, 1, 1, filters))
    y = y.permute(2, 3, 0, 4, 1, 5).reshape((n, high * t_h, wide * t_w, filters))
    return y if y.shape[1:3] == size else y[:, : size[0], : size[1]]


def _reaching(
    x: Tensor, padding: Axes, kernel: Sequence[int], stride: Axes, dilation: Axes, places: Axes
) -> Tensor:
    """x with its padding, and so much more of it behind that a kernel has so many places, rows and columns of them."""
    top, bottom, left, right = padding
    lower, further = (
        max(after, (places[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 - x.shape[1 + i] - before)
        for i, (before, after) in enumerate(((top, bottom), (left, right)))
    )
    return pad(x, (left, further, top, lower)) if any((left, further, top, lower)) else x


def _check(name: str, axes: int, x: Tensor, weight: Tensor, bias: Tensor | None, places: str) -> None:
    need_float(name, x=x, weight=weight, bias=bias)
    of_x, of_weight = LAYOUTS[axes]
    need_rank(name, "x", x, of_x)
    need_rank(name, "weight", weight, places + of_weight.replace("C_in / groups", "C_in"))


def _outputs(x: Tensor, weight: Tensor, stride: Axes, padding: Axes, dilation: Axes) -> Axes:
    return tuple(
        outputs(x.shape[1 + i], padding[2 * i], padding[2 * i + 1], weight.shape[2 + i], stride[i], dilation[i])
        for i in (0, 1)
    )


def _check_places(name: str, weight: Tensor, bias: Tensor | None, size: Axes) -> None:
    if weight.shape[: len(size)] != size:
        raise ValueError(f"{name}: weight of shape {weight.shape} has kernels for {weight.shape[: len(size)]} places, "
                         f"expected {size}")
    check_bias(name, bias, (*size, weight.shape[-1]))
