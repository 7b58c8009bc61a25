"""Normalisation as layers."""

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
    """

    layouts: tuple[str, ...]  # which shapes it takes

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True,
                 track_running_stats: bool = True):
        super().__init__()
        name = type(self).__name__
        self.num_features = positive_int(self, "num_features", num_features)
        if not isinstance(momentum, int | float) or not 0 <= momentum <= 1:
            raise ValueError(f"{name}: momentum must be a number from 0 to 1, got {momentum!r}")
        if not isinstance(eps, int | float) or eps < 0:
            raise ValueError(f"{name}: eps must be a number that is not negative, got {eps!r}")
        self.eps, self.momentum = eps, momentum
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

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Tensor) and x.ndim not in [layout.count(",") + 1 for layout in self.layouts]:
            expected = " or ".join(f"({layout})" for layout in self.layouts)
            raise ValueError(f"{type(self).__name__}: x must have shape {expected}, got {x.shape}")
        own = self.training or not self.track_running_stats
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, own, self.momentum,
                            self.eps)

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"track_running_stats={self.track_running_stats}")


@layer
class BatchNorm1d(BatchNorm):
    """Batch normalisation of features (N, C) or sequences (N, L, C). Arguments and buffers as for BatchNorm2d."""

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
