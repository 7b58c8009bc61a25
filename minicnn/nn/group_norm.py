"""Layer, group, instance and local response normalisation as layers. See the functions in ops/group_norm.py."""

from collections.abc import Sequence

import numpy as np

from ..ops.arguments import check_eps
from ..ops.group_norm import normalized_sizes
from ..tensor import Tensor, ones, zeros
from . import functional as F
from . import init
from .layout import Flow
from .linear import positive_int
from .module import Module, Parameter, layer
from .norm import BatchNorm


class AffineNorm(Module):
    """What layer and group norm share: a weight and a bias, or none."""

    weight: Parameter | None
    bias: Parameter | None

    def reset_parameters(self) -> None:
        """Back to weight 1 and bias 0."""
        for tensor, value in ((self.weight, 1), (self.bias, 0)):
            if tensor is not None:
                init.constant_(tensor, value)


@layer
class LayerNorm(AffineNorm):
    """Normalisation of each element of a batch over its last dimensions, see `functional.layer_norm`.

    normalized_shape: the sizes of those dimensions, channels last: (C,) or C for each place over its channels, (H, W,
    C) for whole pictures. weight, bias: of that shape, 1 and 0 at first, if elementwise_affine. PyTorch's weights of
    more than one dimension are taken to be those of a picture, channels first. Ba et al. 2016.

    >>> import minicnn as mc
    >>> mc.nn.LayerNorm(64)(mc.ones(2, 8, 8, 64)).shape, mc.nn.LayerNorm((8, 8, 64)).weight.shape
    ((2, 8, 8, 64), (8, 8, 64))
    """

    in_order = True

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
                 bias: bool = True):
        super().__init__()
        shape = self.normalized_shape = normalized_sizes("LayerNorm", normalized_shape, least=1)
        self.eps = check_eps(type(self).__name__, eps)
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(ones(shape)) if elementwise_affine else None
        self.bias = Parameter(zeros(shape)) if elementwise_affine and bias else None
        if len(shape) == 1:  # it may stand behind a Flatten
            self.flat_inputs = ("weight", "bias")  # type: ignore[misc]

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def from_torch(self, name: str, array: np.ndarray) -> np.ndarray:
        return np.moveaxis(array, 0, -1) if array.ndim > 1 else array

    def to_torch(self, name: str, array: np.ndarray) -> np.ndarray:
        return np.moveaxis(array, -1, 0) if array.ndim > 1 else array

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


@layer
class GroupNorm(AffineNorm):
    """Normalisation over groups of neighbouring channels of each picture, see `functional.group_norm`.

    weight, bias: (num_channels,), 1 and 0 at first, if affine. Behind a Flatten of a picture only one group can be
    converted from and to PyTorch: there, several would be of other numbers. Wu & He 2018.

    >>> import minicnn as mc
    >>> mc.nn.GroupNorm(num_groups=4, num_channels=64)(mc.ones(2, 8, 8, 64)).shape
    (2, 8, 8, 64)
    """

    flat_inputs = ("weight", "bias")

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True):
        super().__init__()
        self.num_groups = positive_int(self, "num_groups", num_groups)
        self.num_channels = positive_int(self, "num_channels", num_channels)
        self.flat_groups = self.num_groups
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_groups {num_groups} must divide num_channels {num_channels}")
        self.eps = check_eps(type(self).__name__, eps)
        self.affine = affine
        self.weight = Parameter(ones(num_channels)) if affine else None
        self.bias = Parameter(zeros(num_channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Tensor) and x.shape[-1:] != (self.num_channels,):
            raise ValueError(f"GroupNorm: x must have shape (N, ..., {self.num_channels}), got {x.shape}")
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def follow(self, flow: Flow) -> Flow:
        return flow if flow.flat else flow.of_picture(self.num_channels)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class InstanceNorm(BatchNorm):
    """Normalisation of each channel of each picture, see `functional.instance_norm`.

    weight, bias: (num_features,), if affine. With track_running_stats there are running statistics, as in batch norm,
    which are used outside training. Ulyanov et al. 2016.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
                 track_running_stats: bool = False):
        super().__init__(num_features, eps, momentum, affine, track_running_stats)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        if isinstance(x, Tensor) and x.shape[-1] != self.num_features:
            raise ValueError(f"{type(self).__name__}: x must have {self.num_features} channels, got {x.shape}")
        return F.instance_norm(x, *self.settings)

    def follow(self, flow: Flow) -> Flow:
        return flow.of_picture(self.num_features)


@layer
class InstanceNorm1d(InstanceNorm):
    __doc__ = InstanceNorm.__doc__
    layouts = ("N, L, C",)


@layer
class InstanceNorm2d(InstanceNorm):
    __doc__ = InstanceNorm.__doc__
    layouts = ("N, H, W, C",)


@layer
class InstanceNorm3d(InstanceNorm):
    __doc__ = InstanceNorm.__doc__
    layouts = ("N, D, H, W, C",)


@layer
class LocalResponseNorm(Module):
    """Each channel divided by what `size` channels around it say, see `functional.local_response_norm`. Krizhevsky et
    al. 2012, section 3.3."""

    in_order = True

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size = positive_int(self, "size", size)
        self.alpha, self.beta, self.k = alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
