"""Losses as modules. What each computes stands with the function in ops/loss.py; class scores come last.

reduction: "mean", "sum" or "none". All but `weight` (and the margin loss's p and margin) are keyword arguments.
"""

from ..tensor import Tensor
from . import functional as F
from .module import Module, layer


class Loss(Module):
    """A function of predictions and targets."""

    def __init__(self, reduction: str = "mean", weight: Tensor | None = None):
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"{type(self).__name__}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = reduction
        self.register_buffer("weight", weight)


@layer
class CrossEntropyLoss(Loss):
    """Softmax and negative log-likelihood. weight: one a class. See `functional.cross_entropy`.

    >>> import minicnn as mc
    >>> loss = mc.nn.CrossEntropyLoss(ignore_index=-1)
    >>> logits = mc.tensor([[0.0, 0.0], [0.0, 0.0]])  # undecided: log(2)
    >>> f"{loss(logits, mc.tensor([1, -1])).item():.3f}"
    '0.693'
    """

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean",
                 label_smoothing: float = 0.0):
        super().__init__(reduction, weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


@layer
class NLLLoss(Loss):
    """Negative log-likelihood of log-probabilities. weight: one a class. See `functional.nll_loss`.

    >>> import minicnn as mc
    >>> mc.nn.NLLLoss()(mc.tensor([[-1.0, -2.0], [-3.0, -4.0]]), mc.tensor([0, 1])).item()
    2.5
    """

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(reduction, weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


@layer
class BCELoss(Loss):
    """Binary cross-entropy of probabilities. See `functional.binary_cross_entropy`.

    >>> import minicnn as mc
    >>> mc.nn.BCELoss()(mc.tensor([1.0, 0.0]), mc.tensor([1.0, 0.0])).item()
    0.0
    """

    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean"):
        super().__init__(reduction, weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


@layer
class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of logits. See `functional.binary_cross_entropy_with_logits`.

    >>> import minicnn as mc
    >>> loss = mc.nn.BCEWithLogitsLoss(reduction="sum", pos_weight=mc.tensor(3.0))  # a positive counts three times
    >>> loss(mc.tensor([-1000.0, 1000.0]), mc.tensor([1.0, 0.0])).item()
    4000.0
    """

    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean", pos_weight: Tensor | None = None):
        super().__init__(reduction, weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


@layer
class MSELoss(Loss):
    """(input - target)^2. See `functional.mse_loss`.

    >>> import minicnn as mc
    >>> mc.nn.MSELoss(reduction="sum")(mc.tensor([1.0, 2.0]), mc.tensor([0.0, 4.0])).item()
    5.0
    """

    def __init__(self, *, reduction: str = "mean"):
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, self.reduction)


@layer
class L1Loss(Loss):
    """|input - target|. See `functional.l1_loss`.

    >>> import minicnn as mc
    >>> mc.nn.L1Loss()(mc.tensor([1.0, 2.0]), mc.tensor([0.0, 4.0])).item()
    1.5
    """

    def __init__(self, *, reduction: str = "mean"):
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, self.reduction)


@layer
class SmoothL1Loss(Loss):
    """Square below a distance of beta, straight above. See `functional.smooth_l1_loss`.

    >>> import minicnn as mc
    >>> mc.nn.SmoothL1Loss(reduction="none")(mc.tensor([1.0, 9.0]), mc.zeros(2)).tolist()
    [0.5, 8.5]
    """

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0):
        super().__init__(reduction)
        if beta < 0:
            raise ValueError(f"SmoothL1Loss: beta must not be negative, got {beta}")
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


@layer
class MultiMarginLoss(Loss):
    """The hinge loss of several classes. See `functional.multi_margin_loss`.

    >>> import minicnn as mc
    >>> mc.nn.MultiMarginLoss()(mc.tensor([[5.0, 1.0, 4.5, 1.0]]), mc.tensor([0])).item()
    0.125
    """

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, *, reduction: str = "mean"):
        super().__init__(reduction, weight)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2, got {p!r}")
        self.p, self.margin = p, margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, self.reduction)
