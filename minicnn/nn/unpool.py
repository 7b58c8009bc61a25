"""Max unpooling as layers. Arguments as those of the functions in ops/unpool.py."""

from collections.abc import Sequence
from typing import ClassVar

from ..ops.arguments import per_axis
from ..tensor import Tensor
from . import functional as F
from .layout import Flow
from .module import Module, layer
from .pool import Size


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

    def follow(self, flow: Flow) -> Flow:
        return flow.of_places()

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
