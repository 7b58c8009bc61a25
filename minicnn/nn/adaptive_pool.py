"""Pooling to a given size as layers. Arguments as those of the functions in ops/adaptive_pool.py."""

from collections.abc import Sequence
from typing import Any, ClassVar

from ..ops.adaptive_pool import Size, check_levels, check_output_size
from ..tensor import Tensor
from . import functional as F
from .layout import Flow
from .module import Module, layer


class AdaptivePool(Module):
    """output_size: one for all spatial axes or one for each; None keeps the size."""

    in_order = True
    axes: ClassVar[int]

    def __init__(self, output_size: Size):
        super().__init__()
        check_output_size(type(self).__name__, self.axes, output_size)
        self.output_size = output_size

    def follow(self, flow: Flow) -> Flow:
        sizes = self.output_size if isinstance(self.output_size, Sequence) else (self.output_size,)
        return flow.of_one_place() if set(sizes) == {1} else flow.of_places()

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool(AdaptivePool):
    """return_indices: also the places of the largest."""

    def __init__(self, output_size: Size, return_indices: bool = False):
        super().__init__(output_size)
        self.return_indices = return_indices


@layer
class AdaptiveAvgPool1d(AdaptivePool):
    """Means over windows that cover x. (N, L, C) -> (N, L_out, C), see `functional.adaptive_avg_pool1d`."""

    axes = 1

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(x, self.output_size)


@layer
class AdaptiveAvgPool2d(AdaptivePool):
    """Means over windows that cover x. (N, H, W, C) -> (N, H_out, W_out, C), see `functional.adaptive_avg_pool2d`.

    >>> import minicnn as mc
    >>> pool = mc.nn.AdaptiveAvgPool2d((6, 6))
    >>> pool(mc.ones(1, 13, 13, 8)).shape, pool(mc.ones(1, 20, 31, 8)).shape
    ((1, 6, 6, 8), (1, 6, 6, 8))
    """

    axes = 2

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)


@layer
class AdaptiveAvgPool3d(AdaptivePool):
    """Means over windows that cover x. (N, D, H, W, C) -> (N, D_out, H_out, W_out, C), see
    `functional.adaptive_avg_pool3d`."""

    axes = 3

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool3d(x, self.output_size)


@layer
class AdaptiveMaxPool1d(AdaptiveMaxPool):
    """The largest of windows that cover x. (N, L, C) -> (N, L_out, C), see `functional.adaptive_max_pool1d`."""

    axes = 1

    def forward(self, x: Tensor) -> Any:
        return F.adaptive_max_pool1d(x, self.output_size, self.return_indices)


@layer
class AdaptiveMaxPool2d(AdaptiveMaxPool):
    """The largest of windows that cover x. (N, H, W, C) -> (N, H_out, W_out, C), see
    `functional.adaptive_max_pool2d`."""

    axes = 2

    def forward(self, x: Tensor) -> Any:
        return F.adaptive_max_pool2d(x, self.output_size, self.return_indices)


@layer
class AdaptiveMaxPool3d(AdaptiveMaxPool):
    """The largest of windows that cover x. (N, D, H, W, C) -> (N, D_out, H_out, W_out, C), see
    `functional.adaptive_max_pool3d`."""

    axes = 3

    def forward(self, x: Tensor) -> Any:
        return F.adaptive_max_pool3d(x, self.output_size, self.return_indices)


@layer
class SpatialPyramidPool2d(Module):
    """The largest of each window of several grids, (N, H, W, C) -> (N, (sum of level^2) C), so that a Linear behind it
    takes pictures of any size. He et al. 2014, see `functional.spatial_pyramid_pool2d`.

    >>> import minicnn as mc
    >>> head = mc.nn.Sequential(mc.nn.SpatialPyramidPool2d((2, 1)), mc.nn.Linear(5 * 8, 10))
    >>> [head(mc.ones((1, size, size + 3, 8))).shape for size in (6, 31)]
    [(1, 10), (1, 10)]
    """

    def __init__(self, levels: Sequence[int]):
        super().__init__()
        self.levels = check_levels("SpatialPyramidPool2d", levels)

    def forward(self, x: Tensor) -> Tensor:
        return F.spatial_pyramid_pool2d(x, self.levels)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"
