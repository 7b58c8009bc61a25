"""Max unpooling, and pooling by a norm or by weights, as layers. Arguments as those of the functions."""

from collections.abc import Sequence
from typing import Any, ClassVar

from ..ops.arguments import per_axis
from ..tensor import Tensor, tensor
from . import functional as F
from .module import Module, layer
from .pool import Size, WindowedPool


class MaxUnpool(Module):
    """kernel_size, stride (None: the kernel size) and padding are those of the pooling that is undone."""

    in_order = True
    axes: ClassVar[int]

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0):
        super().__init__()
        name = type(self).__name__
        self.kernel_size = per_axis(name, "kernel_size", kernel_size, self.axes)
        self.stride = self.kernel_size if stride is None else per_axis(name, "stride", stride, self.axes)
        self.padding = per_axis(name, "padding", padding, self.axes, least=0)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


@layer
class MaxUnpool1d(MaxUnpool):
    """x where the maxima stood, 0 elsewhere. (N, L, C) -> (N, L_out, C), see `functional.max_unpool1d`."""

    axes = 1

    def forward(self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool1d(x, indices, self.kernel_size, self.stride, self.padding, output_size)


@layer
class MaxUnpool2d(MaxUnpool):
    """x where the maxima stood, 0 elsewhere. (N, H, W, C) -> (N, H_out, W_out, C), see `functional.max_unpool2d`.

    >>> import minicnn as mc
    >>> x = mc.tensor([[1.0, 2.0], [4.0, 3.0]]).reshape(1, 2, 2, 1)
    >>> y, indices = mc.nn.MaxPool2d(2, return_indices=True)(x)
    >>> mc.nn.MaxUnpool2d(2)(y, indices).flatten().tolist()
    [0.0, 0.0, 4.0, 0.0]
    """

    axes = 2

    def forward(self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool2d(x, indices, self.kernel_size, self.stride, self.padding, output_size)


@layer
class MaxUnpool3d(MaxUnpool):
    """x where the maxima stood, 0 elsewhere. (N, D, H, W, C) -> (N, D_out, H_out, W_out, C), see
    `functional.max_unpool3d`."""

    axes = 3

    def forward(self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool3d(x, indices, self.kernel_size, self.stride, self.padding, output_size)


class LPPool(WindowedPool):
    """norm_type: the p of the norm."""

    def __init__(self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False):
        super().__init__(kernel_size, stride, 0, ceil_mode)
        if isinstance(norm_type, bool) or not isinstance(norm_type, int | float) or norm_type == 0:
            raise ValueError(f"{type(self).__name__}: norm_type must be a number other than 0, got {norm_type!r}")
        self.norm_type = norm_type

    @property
    def settings(self) -> tuple[Any, ...]:
        """What the function takes behind x."""
        return self.norm_type, self.kernel_size, self.stride, self.ceil_mode

    def extra_repr(self) -> str:
        return (f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"ceil_mode={self.ceil_mode}")


@layer
class LPPool1d(LPPool):
    """The p-norm of each window. (N, L, C) -> (N, L_out, C), see `functional.lp_pool1d`."""

    axes = 1

    def forward(self, x: Tensor) -> Tensor:
        return F.lp_pool1d(x, *self.settings)


@layer
class LPPool2d(LPPool):
    """The p-norm of each window. (N, H, W, C) -> (N, H_out, W_out, C), see `functional.lp_pool2d`."""

    axes = 2

    def forward(self, x: Tensor) -> Tensor:
        return F.lp_pool2d(x, *self.settings)


@layer
class WeightedAvgPool2d(Module):
    """The weighted mean of each window. (N, H, W, C) -> (N, H_out, W_out, C), see `functional.weighted_avg_pool2d`.

    weights: (kH, kW), scaled to sum to one when used; a buffer, not trained. `functional.gaussian_weights` makes some.

    >>> import minicnn as mc
    >>> pool = mc.nn.WeightedAvgPool2d(mc.nn.functional.gaussian_weights(5), stride=2)
    >>> pool(mc.ones((1, 11, 13, 3))).shape
    (1, 4, 5, 3)
    """

    in_order = True

    def __init__(self, weights: Any, stride: Size | None = None):
        super().__init__()
        made = tensor(weights)
        if made.ndim != 2 or 0 in made.shape:
            raise ValueError(f"WeightedAvgPool2d: weights must have shape (kH, kW), got {made.shape}")
        if stride is not None:
            per_axis("WeightedAvgPool2d", "stride", stride, 2)
        self.register_buffer("weights", made)
        self.stride = made.shape if stride is None else stride

    def forward(self, x: Tensor) -> Tensor:
        return F.weighted_avg_pool2d(x, self.weights, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.weights.shape}, stride={self.stride}"
