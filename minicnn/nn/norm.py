"""Normalisation as layers."""

from typing import Any

import numpy as np

from ..ops.arguments import check_eps, need_float
from ..ops.norm import Normalize as GivenStatistics
from ..tape import no_grad
from ..tensor import Tensor, ones, zeros
from . import functional as F
from . import init
from .layout import Flow
from .linear import positive_int
from .module import Module, Parameter, layer


class BatchNorm(Module):
    """Batch normalisation over all axes but the channels, see `functional.batch_norm`.

    weight, bias: (num_features,), 1 and 0 at first, if affine. In training the batch's own statistics are used and the
    buffers running_mean and running_var follow them by `momentum`; outside training those two are used. Without
    track_running_stats it is the batch's statistics always. Ioffe & Szegedy 2015.

    >>> import minicnn as mc
    >>> layer = mc.nn.BatchNorm2d(1, momentum=0.5)
    >>> y = layer(mc.tensor([1.0, 3.0]).reshape(1, 1, 2, 1))
    >>> print(y.numpy().ravel().round(3), layer.running_mean.tolist())  # the batch's mean is 2
    [-1.  1.] [1.0]
    >>> layer.eval()(mc.ones(5, 4, 4, 1)).shape
    (5, 4, 4, 1)
    """

    layouts: tuple[str, ...]  # which shapes it takes

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True,
                 track_running_stats: bool = True):
        super().__init__()
        name = type(self).__name__
        self.num_features = positive_int(self, "num_features", num_features)
        if isinstance(momentum, bool) or not isinstance(momentum, int | float) or not 0 <= momentum <= 1:
            raise ValueError(f"{name}: momentum must be a number from 0 to 1, got {momentum!r}")
        self.eps, self.momentum = check_eps(name, eps), momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(ones(num_features)) if affine else None
        self.bias = Parameter(zeros(num_features)) if affine else None
        self.register_buffer("running_mean", zeros(num_features) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features) if track_running_stats else None)

    def reset_parameters(self) -> None:
        """Back to weight 1, bias 0, running mean 0 and running variance 1."""
        for tensor, value in ((self.weight, 1), (self.bias, 0), (self.running_mean, 0), (self.running_var, 1)):
            if tensor is not None:
                init.constant_(tensor, value)

    @property
    def uses_batch_statistics(self) -> bool:
        """Whether it takes mean and variance of the batch, rather than the running ones."""
        return self.training or not self.track_running_stats

    @property
    def settings(self) -> tuple[Any, ...]:
        """What `functional.batch_norm` takes behind x."""
        return (self.running_mean, self.running_var, self.weight, self.bias, self.uses_batch_statistics, self.momentum,
                self.eps)

    def check(self, x: Any) -> None:
        """Refuse shapes that this layer is not for."""
        if isinstance(x, Tensor) and x.ndim not in [layout.count(",") + 1 for layout in self.layouts]:
            expected = " or ".join(f"({layout})" for layout in self.layouts)
            raise ValueError(f"{type(self).__name__}: x must have shape {expected}, got {x.shape}")

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        return F.batch_norm(x, *self.settings)

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"track_running_stats={self.track_running_stats}")


@layer
class BatchNorm1d(BatchNorm):
    """Batch normalisation of features (N, C) or sequences (N, L, C). Arguments and buffers as for BatchNorm2d.

    >>> import minicnn as mc
    >>> mc.nn.BatchNorm1d(3)(mc.ones(8, 3)).shape, mc.nn.BatchNorm1d(3)(mc.ones(8, 20, 3)).shape
    ((8, 3), (8, 20, 3))
    """

    layouts = ("N, C", "N, L, C")
    flat_inputs = ("weight", "bias", "running_mean", "running_var")

    def follow(self, flow: Flow) -> Flow:
        news = flow.certain and not flow.flat and flow.channels != self.num_features
        return flow.of_picture(self.num_features) if news else flow


@layer
class BatchNorm2d(BatchNorm):
    __doc__ = BatchNorm.__doc__
    layouts = ("N, H, W, C",)

    def follow(self, flow: Flow) -> Flow:
        return flow.of_picture(self.num_features)


@layer
class BatchNorm3d(BatchNorm):
    """Batch normalisation of volumes (N, D, H, W, C). Arguments and buffers as for BatchNorm2d."""

    layouts = ("N, D, H, W, C",)

    def follow(self, flow: Flow) -> Flow:
        return flow.of_picture(self.num_features)


@layer
class Normalize(Module):
    """y = (x - mean) / std, channel by channel, with statistics of the training data, which are not trained.
    x: (..., num_channels).

    Stands in front of a network, so that a saved model takes pictures as they are, pixels from 0 to 1. mean, std:
    (num_channels,), or one number for all channels; buffers, in the state dict. Until they are given, here or to
    `set_statistics`, they are 0 and 1, and nothing changes.

    >>> import minicnn as mc
    >>> mc.nn.Normalize(3, mean=[0.5, 0.5, 0.5], std=0.25)(mc.ones(1, 3)).tolist()
    [[2.0, 2.0, 2.0]]
    """

    flat_inputs = ("mean", "std")

    def __init__(self, num_channels: int, mean: Any = None, std: Any = None):
        super().__init__()
        self.num_channels = positive_int(self, "num_channels", num_channels)
        self.register_buffer("mean", zeros(num_channels))
        self.register_buffer("std", ones(num_channels))
        self.set_statistics(0.0 if mean is None else mean, 1.0 if std is None else std)

    def set_statistics(self, mean: Any, std: Any) -> None:
        """Use these from now on. mean, std: (num_channels,), or one number for all channels; std above 0."""
        given = [self._checked(name, value) for name, value in (("mean", mean), ("std", std))]
        if not (given[1] > 0).all():
            raise ValueError(f"Normalize: std must be above 0, got {given[1].tolist()}")
        with no_grad():
            for own, new in zip((self.mean, self.std), given, strict=True):
                own.copy_(new)

    def _checked(self, name: str, value: Any) -> np.ndarray:
        array = np.asarray(value, self.mean.dtype)
        if array.shape not in ((), (self.num_channels,)) or not np.isfinite(array).all():
            raise ValueError(f"Normalize: {name} must be {self.num_channels} finite numbers, or one, got {value!r}")
        return np.broadcast_to(array, (self.num_channels,))

    def forward(self, x: Tensor) -> Tensor:
        need_float("Normalize", x=x, mean=self.mean)
        if x.ndim < 1 or x.shape[-1] != self.num_channels:
            raise ValueError(f"Normalize: x must have shape (..., {self.num_channels}), got {x.shape}")
        return GivenStatistics.apply(x, self.mean, 1.0 / self.std, None, None, None)

    def follow(self, flow: Flow) -> Flow:
        news = flow.certain and not flow.flat and flow.channels != self.num_channels
        return flow.of_picture(self.num_channels) if news else flow

    def extra_repr(self) -> str:
        return f"{self.num_channels}"
