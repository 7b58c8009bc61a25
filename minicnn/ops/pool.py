"""2-D pooling: max, average, global; channels last."""

from collections.abc import Sequence
from typing import Any

from ..dispatch import dispatch
from ..tape import Function, op
from ..tensor import Tensor
from .arguments import Pair, need_float, need_rank, pair, remembered


class MaxPool2d(Function):
    """The largest of each window, and where in the window it stood."""

    saves = ("output1",)
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    size: Pair

    def forward(self, x):
        self.input_size = x.shape[1:3]
        return dispatch("max_pool2d", x, size=self.size, **window(self))

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


def _geometry(
    name: str, x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Pair, Pair, Pair, Pair, Pair]:
    """Kernel, stride, padding, dilation and output size as pairs, checked."""
    need_float(name, x=x)
    need_rank(name, "x", x, "N, H, W, C")
    return _windows_of(name, x.shape, kernel_size, stride, padding, dilation, ceil_mode)


@remembered
def _windows_of(
    name: str, x: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Pair, Pair, Pair, Pair, Pair]:
    """The same for x of some shape."""
    kernel = pair(name, "kernel_size", kernel_size)
    steps = kernel if stride is None else pair(name, "stride", stride)
    edges, holes = pair(name, "padding", padding, least=0), pair(name, "dilation", dilation)
    for p, k in zip(edges, kernel, strict=True):
        if p > k // 2:
            raise ValueError(f"{name}: padding must be at most half the kernel, got {p} for a kernel of {k}")
    size = tuple(
        _windows(name, *along, ceil_mode) for along in zip(x[1:3], kernel, steps, edges, holes, strict=True)
    )
    return kernel, steps, edges, holes, size  # type: ignore[return-value]


def _windows(name: str, size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows there are along an axis."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if room < 0:
        raise ValueError(
            f"{name}: a window of {dilation * (kernel - 1) + 1} is larger than the padded input of {size + 2 * padding}"
        )
    count = room // stride + 1
    # ceil_mode adds a window that hangs over, if it begins inside the input or the padding before it (as PyTorch).
    if ceil_mode and room % stride and count * stride < size + padding:
        count += 1
    return count


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
    competes. The first of equals takes the gradient; NaN wins. return_indices: also the places h * W + w (int64) of the
    largest.
    """
    kernel, steps, edges, holes, size = _geometry("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    y, position = MaxPool2d.apply(x, kernel=kernel, stride=steps, padding=edges, dilation=holes, size=size)
    if not return_indices:
        return y
    index = dispatch(
        "max_pool2d_index",
        position.array,
        size=x.shape[1:3],
        kernel=kernel,
        stride=steps,
        padding=edges,
        dilation=holes,
    )
    return y, Tensor(index)


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
    count_include_pad=False; divisor_override divides the sums by another number.
    """
    kernel, steps, edges, _, size = _geometry("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None and (not isinstance(divisor_override, int) or divisor_override == 0):
        raise ValueError(f"avg_pool2d: divisor_override must be an int other than 0, got {divisor_override!r}")
    return AvgPool2d.apply(
        x,
        kernel=kernel,
        stride=steps,
        padding=(edges[0], edges[0], edges[1], edges[1]),
        size=size,
        count_include_pad=bool(count_include_pad),
        divisor=divisor_override or 0,
    )


@op
def global_avg_pool2d(x: Tensor) -> Tensor:
    """Each channel's mean over the picture, (N, H, W, C) -> (N, 1, 1, C). Lin et al. 2013, "Network in network"."""
    need_float("global_avg_pool2d", x=x)
    need_rank("global_avg_pool2d", "x", x, "N, H, W, C")
    return x.mean(dim=(1, 2), keepdim=True)


@op
def global_max_pool2d(x: Tensor) -> Tensor:
    """The largest of each channel over the picture. (N, H, W, C) -> (N, 1, 1, C)"""
    need_float("global_max_pool2d", x=x)
    need_rank("global_max_pool2d", "x", x, "N, H, W, C")
    return x.max(dim=(1, 2), keepdim=True)
