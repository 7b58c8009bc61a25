"""2-D pooling: max, average, global; channels last."""

from collections.abc import Sequence
from typing import Any

from ..dispatch import dispatch
from ..tape import Function, op
from ..tensor import Tensor
from .arguments import Pair, is_int
from .pool_arguments import PoolWindows, need_picture, windows_over


class MaxPool2d(Function):
    """The largest of each window, and where in the window it stood.

    rectified: x came out of a ReLU, whose gradient is taken along: a maximum that isn't positive stood nowhere.
    """

    saves = ("output1",)
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    size: Pair
    rectified = False

    def forward(self, x):
        self.input_size = x.shape[1:3]
        return dispatch("max_pool2d", x, size=self.size, rectified=self.rectified, **window(self))

    def backward(self, grad, _):
        (position,) = self.saved
        return MaxPool2dGrad.apply(grad, position, size=self.input_size, **window(self))


class MaxPool2dGrad(Function):
    """Each dy back to where its maximum stood; overlapping windows add."""

    saves = ("position",)
    size: Pair

    def forward(self, dy, position):
        return dispatch("max_pool2d_grad", dy, position, size=self.size, **window(self))

    def backward(self, grad):
        (position,) = self.saved
        return MaxPool2dPick.apply(grad, position, size=self.size, **window(self)), None


class MaxPool2dPick(Function):
    """x at given places of each window: the adjoint of MaxPool2dGrad."""

    saves = ("position",)
    size: Pair

    def forward(self, x, position):
        return dispatch("max_pool2d_pick", x, position, **window(self))

    def backward(self, grad):
        (position,) = self.saved
        return MaxPool2dGrad.apply(grad, position, size=self.size, **window(self)), None


def window(pool: Any) -> dict[str, Any]:
    return {"kernel": pool.kernel, "stride": pool.stride, "padding": pool.padding, "dilation": pool.dilation}


class AvgPool2d(Function):
    """The mean of each window. padding: (top, bottom, left, right)."""

    kernel: Pair
    stride: Pair
    padding: tuple[int, int, int, int]
    size: Pair
    count_include_pad: bool
    divisor: int

    def forward(self, x):
        self.input_size = x.shape[1:3]
        return dispatch("avg_pool2d", x, size=self.size, **averaging(self))

    def backward(self, grad):
        return AvgPool2dGrad.apply(grad, size=self.input_size, **averaging(self))


class AvgPool2dGrad(Function):
    """The adjoint of AvgPool2d."""

    size: Pair

    def forward(self, dy):
        self.output_size = dy.shape[1:3]
        return dispatch("avg_pool2d_grad", dy, size=self.size, **averaging(self))

    def backward(self, grad):
        return AvgPool2d.apply(grad, size=self.output_size, **averaging(self))


def averaging(pool: Any) -> dict[str, Any]:
    return {
        "kernel": pool.kernel,
        "stride": pool.stride,
        "padding": pool.padding,
        "count_include_pad": pool.count_include_pad,
        "divisor": pool.divisor,
    }


def max_pool_planes(x: Tensor, windows: PoolWindows, return_indices: bool = False) -> Any:
    """Max pooling of pictures, the arguments known to fit."""
    kernel, stride, padding, dilation, size = windows
    y, position = MaxPool2d.apply(x, kernel=kernel, stride=stride, padding=padding, dilation=dilation, size=size)
    if not return_indices:
        return y
    index = dispatch("max_pool2d_index", position.array, size=x.shape[1:3], kernel=kernel, stride=stride,
                     padding=padding, dilation=dilation)  # fmt: skip
    return y, Tensor(index)


def rectified_max_pool2d(
    x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Tensor:
    """max_pool2d of what came out of a ReLU whose gradient is still to be taken; at most 255 places in a window."""
    kernel, steps, edges, holes, size = windows_over("max_pool2d", x, 2, kernel_size, stride, padding, dilation,
                                                     ceil_mode)  # fmt: skip
    return MaxPool2d.apply(x, kernel=kernel, stride=steps, padding=edges, dilation=holes, size=size, rectified=True)[0]


def avg_pool_planes(x: Tensor, windows: PoolWindows, count_include_pad: bool, divisor: int) -> Tensor:
    """Average pooling of pictures, the arguments known to fit; divisor 0: the number of places that count."""
    down, across = windows.padding
    return AvgPool2d.apply(x, kernel=windows.kernel, stride=windows.stride, padding=(down, down, across, across),
                           size=windows.size, count_include_pad=count_include_pad, divisor=divisor)  # fmt: skip


def check_divisor(name: str, divisor: Any) -> int:
    """The argument divisor_override as the kernels take it."""
    if divisor is not None and (not is_int(divisor) or divisor == 0):
        raise ValueError(f"{name}: divisor_override must be an int other than 0, got {divisor!r}")
    return int(divisor or 0)


@op
def max_pool2d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window, channel by channel.

    x: (N, H, W, C) -> (N, H_out, W_out, C), H_out = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1,
    ceil_mode rounds up, as long as the last window begins inside. stride: the kernel size unless given. padding never
    competes. The first of equals takes the gradient, of several NaN the last, as in PyTorch. return_indices: also the
    places h * W + w (int64) of the largest. Ranzato et al. 2007, "Unsupervised learning of invariant feature
    hierarchies".

    >>> import minicnn as mc
    >>> x = mc.tensor([[1.0, 2.0, 3.0, 4.0], [8.0, 7.0, 6.0, 5.0]]).reshape(1, 2, 4, 1)
    >>> mc.nn.functional.max_pool2d(x, 2).numpy().ravel().tolist()
    [8.0, 6.0]
    """
    windows = windows_over("max_pool2d", x, 2, kernel_size, stride, padding, dilation, ceil_mode)
    return max_pool_planes(x, windows, return_indices)


@op
def avg_pool2d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window, channel by channel.

    x: (N, H, W, C) -> (N, H_out, W_out, C), sizes as for max_pool2d. The padding counts as zeros unless
    count_include_pad=False; divisor_override divides the sums by another number. LeCun et al. 1998, "Gradient-based
    learning applied to document recognition" (its subsampling layers).

    >>> import minicnn as mc
    >>> x = mc.tensor([[1.0, 2.0, 3.0, 4.0], [8.0, 7.0, 6.0, 5.0]]).reshape(1, 2, 4, 1)
    >>> mc.nn.functional.avg_pool2d(x, 2).numpy().ravel().tolist()
    [4.5, 4.5]
    """
    divisor = check_divisor("avg_pool2d", divisor_override)
    windows = windows_over("avg_pool2d", x, 2, kernel_size, stride, padding, 1, ceil_mode)
    return avg_pool_planes(x, windows, bool(count_include_pad), divisor)


@op
def global_avg_pool2d(x: Tensor) -> Tensor:
    """Each channel's mean over the picture, (N, H, W, C) -> (N, 1, 1, C). Lin et al. 2013, "Network in network".

    >>> import minicnn as mc
    >>> mc.nn.functional.global_avg_pool2d(mc.ones((2, 5, 7, 3))).shape
    (2, 1, 1, 3)
    """
    need_picture("global_avg_pool2d", x, 2)
    return x.mean(dim=(1, 2), keepdim=True)


@op
def global_max_pool2d(x: Tensor) -> Tensor:
    """The largest of each channel over the picture, (N, H, W, C) -> (N, 1, 1, C). The first of equals takes the
    gradient; NaN wins. Oquab et al. 2015, "Is object localization for free?".

    >>> import minicnn as mc
    >>> mc.nn.functional.global_max_pool2d(mc.ones((2, 5, 7, 3))).shape
    (2, 1, 1, 3)
    """
    need_picture("global_max_pool2d", x, 2)
    return x.max(dim=(1, 2), keepdim=True)
