"""The windows of pooling over one, two or three axes: arguments checked, and brought into one form."""

from typing import Any, NamedTuple

from ..tensor import Tensor
from .arguments import need_float, need_rank, per_axis, remembered

#: Shapes of x by the number of spatial axes.
LAYOUTS = {1: "N, L, C", 2: "N, H, W, C", 3: "N, D, H, W, C"}


class PoolWindows(NamedTuple):
    """Where the windows lie, a number for each axis; size: how many there are."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def of_row(self) -> "PoolWindows":
        """Windows of a sequence as those of a picture of one row."""
        return PoolWindows(
            (1, *self.kernel), (1, *self.stride), (0, *self.padding), (1, *self.dilation), (1, *self.size)
        )

    @property
    def of_planes(self) -> "PoolWindows":
        """Those of each plane (H, W) of a volume."""
        return PoolWindows(*(along[1:] for along in self))

    @property
    def of_depth(self) -> "PoolWindows":
        """Those across the planes, where each plane of P * Q windows lies in one row."""
        places = self.size[1] * self.size[2]
        return PoolWindows((self.kernel[0], 1), (self.stride[0], 1), (self.padding[0], 0), (self.dilation[0], 1),
                       (self.size[0], places))  # fmt: skip


def need_picture(name: str, x: Tensor, axes: int) -> None:
    """x is a float tensor with so many spatial axes, none of them (nor the channels) empty."""
    need_float(name, x=x)
    need_rank(name, "x", x, LAYOUTS[axes])
    if 0 in x.shape[1:]:
        raise ValueError(f"{name}: x must not be empty but for the batch, got {x.shape}")


@remembered
def windows_over(
    name: str, x: Tensor, axes: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> PoolWindows:
    """The windows over x, once all arguments are known to fit."""
    need_picture(name, x, axes)
    return _windows_of(name, x.shape[1:-1], kernel_size, stride, padding, dilation, bool(ceil_mode))


def _windows_of(
    name: str, sizes: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> PoolWindows:
    """The same for spatial sizes of x."""
    axes = len(sizes)
    kernel = per_axis(name, "kernel_size", kernel_size, axes)
    steps = kernel if stride is None else per_axis(name, "stride", stride, axes)
    edges, holes = per_axis(name, "padding", padding, axes, least=0), per_axis(name, "dilation", dilation, axes)
    for p, k in zip(edges, kernel, strict=True):
        if p > k // 2:
            raise ValueError(f"{name}: padding must be at most half the kernel, got {p} for a kernel of {k}")
    size = tuple(_count(name, *along, ceil_mode) for along in zip(sizes, kernel, steps, edges, holes, strict=True))
    return PoolWindows(kernel, steps, edges, holes, size)


def _count(name: str, size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows there are along an axis."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    # A window of ceil_mode that hangs over counts if it begins inside the input or the padding before it (as PyTorch).
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    if count < 1:
        raise ValueError(
            f"{name}: a window of {dilation * (kernel - 1) + 1} is larger than the padded input of {size + 2 * padding}"
        )
    return count
