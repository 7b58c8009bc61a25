"""Dropout as layers (Srivastava et al. 2014), and stochastic depth (Huang et al. 2016)."""

from ..tensor import Tensor
from . import functional as F
from .module import Module, layer


class DropoutLayer(Module):
    """p: the probability with which something becomes 0, in training only."""

    in_order = True

    def __init__(self, p: float = 0.5):
        super().__init__()
        if not isinstance(p, int | float) or not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p must be a probability from 0 to 1, got {p!r}")
        self.p = p

    def extra_repr(self) -> str:
        return f"p={self.p}"


@layer
class Dropout(DropoutLayer):
    """In training each element is 0 with probability p, else divided by 1 - p. See `functional.dropout`.

    >>> import minicnn as mc
    >>> layer = mc.nn.Dropout(p=0.75)
    >>> sorted(set(layer(mc.ones(1000)).tolist())), set(layer.eval()(mc.ones(1000)).tolist())
    ([0.0, 4.0], {1.0})
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)


@layer
class Dropout2d(DropoutLayer):
    """In training whole channels of a picture (N, H, W, C) are 0 with probability p. Tompson et al. 2015."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.p, self.training)


@layer
class StochasticDepth(DropoutLayer):
    """In training each example is 0 with probability p, else divided by 1 - p: with a shortcut around what comes in, a
    residual block is passed over then. mode "row" draws for each example, "batch" once for all. Huang et al. 2016.
    """

    def __init__(self, p: float, mode: str = "row"):
        super().__init__(p)
        if mode not in ("row", "batch"):
            raise ValueError(f"StochasticDepth: mode must be 'row' or 'batch', got {mode!r}")
        self.mode = mode

    @property
    def in_a_row(self) -> list[Module] | None:  # type: ignore[override]
        """Nothing at all where nothing is dropped, so that what stands around it can run as one op."""
        return None if self.training and self.p > 0 else []

    def forward(self, x: Tensor) -> Tensor:
        return F.stochastic_depth(x, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode!r}"
