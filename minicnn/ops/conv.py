"""2-D convolution (cross-correlation, as everywhere in deep learning), channels last.

The three kernels are closed under differentiation: with y = conv(x, w), the gradient by x is a linear map of (dy, w),
the gradient by w one of (x, dy), and their gradients are the same three maps again.
"""

from collections.abc import Sequence
from math import inf
from typing import Any, ClassVar

from ..dispatch import dispatch
from ..memory import Prepared
from ..tape import Function, is_grad_enabled, op
from ..tensor import Tensor
from .activation import ActivationGrad, Relu, Relu6
from .arguments import Pair
from .conv_arguments import Padding, checked, checked_pair
from .reduce import ChannelSum


class Conv2d(Function):
    """y = conv(x, w) + bias + add, clipped to low and high, with the gradient of what is not clipped: who asks for a
    clip here takes care of that. padding: (top, bottom, left, right). kept: see dispatch."""

    saves: ClassVar[tuple[str, ...]] = ("x", "w")
    stride: Pair
    padding: tuple[int, int, int, int]
    dilation: Pair
    groups: int
    low = -inf
    high = inf
    kept: dict[Any, Any] | None = None

    def forward(self, x, w, bias, add):
        self.size, self.kernel = x.shape[1:3], w.shape[:2]
        return dispatch("conv2d_forward", x, w, bias, add, kept=self.kept, low=self.low, high=self.high,
                        **geometry(self))

    def backward(self, grad):
        x, w = self.saved
        return self.gradients(x, w, grad)

    def gradients(self, x, w, grad):
        dx = Conv2dInputGrad.apply(grad, w, size=self.size, **geometry(self)) if self.needs[0] else None
        dw = Conv2dWeightGrad.apply(x, grad, kernel=self.kernel, **geometry(self)) if self.needs[1] else None
        return dx, dw, ChannelSum.apply(grad) if self.needs[2] else None, grad


class ClippedConv2d(Conv2d):
    """The same with the gradient of the clip: that of relu6, or of relu if high is infinite."""

    saves = ("x", "w", "output")

    def backward(self, grad):
        x, w, y = self.saved
        clip = Relu if self.high == inf else Relu6
        return self.gradients(x, w, ActivationGrad.apply(grad, y, of=clip()))


class Conv2dInputGrad(Function):
    """dx of a convolution from dy and w; size: (H, W) of x. Also the transposed convolution: dy is what goes into that
    one, dx what comes out."""

    saves = ("dy", "w")
    size: Pair

    def forward(self, dy, w):
        self.kernel = w.shape[:2]
        return dispatch("conv2d_input_grad", dy, w, size=self.size, **geometry(self))

    def backward(self, grad):
        dy, w = self.saved
        ddy = Conv2d.apply(grad, w, None, None, **geometry(self)) if self.needs[0] else None
        dw = Conv2dWeightGrad.apply(grad, dy, kernel=self.kernel, **geometry(self)) if self.needs[1] else None
        return ddy, dw


class Conv2dWeightGrad(Function):
    """dw of a convolution from x and dy; kernel: (kH, kW) of w."""

    saves = ("x", "dy")
    kernel: Pair

    def forward(self, x, dy):
        self.size = x.shape[1:3]
        return dispatch("conv2d_weight_grad", x, dy, kernel=self.kernel, **geometry(self))

    def backward(self, grad):
        x, dy = self.saved
        dx = Conv2dInputGrad.apply(dy, grad, size=self.size, **geometry(self)) if self.needs[0] else None
        ddy = Conv2d.apply(x, grad, None, None, **geometry(self)) if self.needs[1] else None
        return dx, ddy


def geometry(conv: Any) -> dict[str, Any]:
    """How the filter moves: what the three ops share."""
    return {"stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation, "groups": conv.groups}


@op
def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """2-D convolution.

    x: (N, H, W, C_in); weight: (kH, kW, C_in / groups, C_out); bias: (C_out,)
    returns (N, H_out, W_out, C_out) with H_out = floor((H + top + bottom - dilation * (kH - 1) - 1) / stride) + 1

    stride, dilation: pixels, an int or (rows, columns).
    padding: pixels of zeros: an int, (rows, columns), ((top, bottom), (left, right)), or
        "valid": none; "same": the output is as large as x, stride 1 only; "tf_same": TensorFlow's, ceil(H / stride)
        rows out at any stride, the odd pixel at the bottom right; "full": every pixel meets every weight,
        dilation * (k - 1) a side.
    groups: channels are split into so many groups that don't mix; C_in of them is a depthwise convolution.
    Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning", draws each.

    >>> import minicnn as mc
    >>> mc.nn.functional.conv2d(mc.ones(1, 5, 5, 3), mc.ones(3, 3, 3, 8), padding="same").shape
    (1, 5, 5, 8)
    >>> x = mc.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).reshape(1, 2, 3, 1)
    >>> diagonal = mc.tensor([[1.0, 0.0], [0.0, 10.0]]).reshape(2, 2, 1, 1)
    >>> mc.nn.functional.conv2d(x, diagonal).flatten().tolist()  # 1 + 10 * 5, 2 + 10 * 6
    [51.0, 62.0]
    """
    return convolve(x, weight, bias, stride, padding, dilation, groups)


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
    groups: int,
    *,
    add: Tensor | None = None,
    low: float = -inf,
    high: float = inf,
    clip_gradient: bool = True,
    kept: Prepared | None = None,
) -> Tensor:
    """conv2d, and what can be done to its output before it is stored: `add` (of the output's shape) is added, and the
    sum clipped to low and high, (0, inf) or (0, 6) for ReLU and ReLU6.

    clip_gradient: False leaves the gradient of the clip to the next op (`rectified` in ops/norm.py and ops/pool.py).
    kept: for what a kernel prepares of the weights, which must be the same each time it is given.
    """
    steps, edges, holes = checked("conv2d", 2, x, weight, bias, add, stride, padding, dilation, groups)
    if not is_grad_enabled():  # nothing to be recorded, so no op to record
        return Tensor(dispatch("conv2d_forward", x.array, weight.array, _array(bias), _array(add), kept=kept,
                               stride=steps, padding=edges, dilation=holes, groups=groups, low=low, high=high))
    kind = ClippedConv2d if clip_gradient and (low, high) != (-inf, inf) else Conv2d
    return kind.apply(x, weight, bias, add, stride=steps, padding=edges, dilation=holes, groups=groups, low=low,
                      high=high, kept=kept)


def convolve_depthwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    moves: tuple[Any, Any, Any],
    clip: tuple[float, float],
    filters: Tensor,
    shift: Tensor | None,
    deep_moves: tuple[Any, Any, Any, Any],
    deep_clip: tuple[float, float],
    kept: Prepared | None = None,
) -> Tensor:
    """`convolve` in one group, and behind it another with one filter a channel, as one op, which keeps nothing of what
    is between them and so has no gradient: only where nothing is recorded.

    filters: (kH, kW, 1, C_out); shift: (C_out,), its bias. moves: stride, padding, dilation, deep_moves: those and the
    groups of the second; clip, deep_clip: low, high; the others as for `convolve`.
    """
    if is_grad_enabled():
        raise RuntimeError("convolve_depthwise: it has no gradient, so that it runs under no_grad only")
    steps, edges, holes, deep_steps, deep_edges, deep_holes = checked_pair("conv2d", x, weight, bias, *moves, filters,
                                                                           shift, *deep_moves)
    return Tensor(dispatch("conv2d_depthwise", x.array, weight.array, _array(bias), filters.array, _array(shift),
                           kept=kept, stride=steps, padding=edges, dilation=holes, low=clip[0], high=clip[1],
                           deep_stride=deep_steps, deep_padding=deep_edges, deep_dilation=deep_holes,
                           deep_low=deep_clip[0], deep_high=deep_clip[1]))


def _array(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.array
