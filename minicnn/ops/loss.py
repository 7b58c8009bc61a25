"""Losses. Class scores come last: (N, ..., classes); class indices are int64. reduction: "mean", "sum" or "none"."""

from math import prod

import numpy as np

from ..dispatch import dispatch
from ..tape import Function, op
from ..tensor import FLOATS, Tensor
from .arguments import need_float, need_tensor
from .checks import check_classes, check_probabilities
from .compare import mask, where
from .constants import counting
from .definition import gradients_of_definition
from .elementwise import log, maximum
from .reduce import Pick, log_softmax, scaled_sum, softmax


class Bce(Function):
    """-t log(x) - (1 - t) log(1 - x) for probabilities x; logarithms are not taken below -100."""

    saves = ("x", "t")

    def forward(self, x, t):
        return dispatch("bce", x, t)

    def backward(self, grad):
        x, t = self.saved
        dx = BceGrad.apply(grad, x, t) if self.needs[0] else None
        dt = grad * (maximum(log(1 - x), -100.0) - maximum(log(x), -100.0)) if self.needs[1] else None
        return dx, dt


class BceGrad(Function):
    """g (x - t) / (x (1 - x)), the divisor at least 1e-12."""

    saves = ("g", "x", "t")

    def forward(self, g, x, t):
        return dispatch("bce_grad", g, x, t)

    def backward(self, grad):
        g, x, t = self.saved
        dg = BceGrad.apply(grad, x, t) if self.needs[0] else None
        spread = maximum(x * (1 - x), 1e-12)
        return dg, grad * g * (x * x - x * t * 2 + t) / (spread * spread), -grad * g / spread


class BceLogits(Function):
    """-t log(s(x)) - (1 - t) log(1 - s(x)) with s the sigmoid, in a form that doesn't overflow."""

    saves = ("x", "t")

    def forward(self, x, t):
        return dispatch("bce_logits", x, t)

    def backward(self, grad):
        x, t = self.saved
        dx = BceLogitsGrad.apply(grad, x, t) if self.needs[0] else None
        return dx, -grad * x if self.needs[1] else None


class BceLogitsGrad(Function):
    """g (s(x) - t)"""

    saves = ("g", "x", "t")

    def forward(self, g, x, t):
        return dispatch("bce_logits_grad", g, x, t)

    def backward(self, grad):
        g, x, t = self.saved
        dg = BceLogitsGrad.apply(grad, x, t) if self.needs[0] else None
        s = x.sigmoid()
        return dg, grad * g * s * (1 - s), -grad * g


class CrossEntropy(Function):
    """-log softmax(x)[i, index[i]] for rows x (M, C), 0 where the index is `ignore`; also all of log softmax(x)."""

    saves = ("x", "index", "output1")
    ignore: int

    def forward(self, x, index):
        return dispatch("cross_entropy", x, index, ignore=self.ignore)

    def backward(self, grad, _):
        x, index, log = self.saved
        return CrossEntropyGrad.apply(grad, x, log.detach(), index, ignore=self.ignore), None


class CrossEntropyGrad(Function):
    """g (softmax(x) - 1 at the index), 0 where the index is `ignore`."""

    saves = ("g", "x", "index")
    ignore: int

    def forward(self, g, x, log, index):
        return dispatch("cross_entropy_grad", g, log, index, ignore=self.ignore)

    def backward(self, grad):
        dg, dx, _ = gradients_of_definition(self.definition, self.saved, (grad,))
        return dg, dx, None, None

    def definition(self, g, x, index):
        counted = index != self.ignore
        column = where(counted, index, 0).reshape((-1, 1))
        hit = counting(x.device, x.shape[1]) == column
        g = mask(g, counted).reshape((-1, 1))
        return (g * softmax(x, dim=1) - mask(g.expand(x.shape), hit),)


def _reduced(name: str, values: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    if reduction == "none":
        return values
    raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def _same_shape(name: str, x: Tensor, target: Tensor) -> None:
    need_float(name, input=x, target=target)
    if x.shape != target.shape:
        raise ValueError(f"{name}: target has shape {target.shape}, expected that of the input, {x.shape}")


@op
def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)^2, the squared error. input, target: of one shape; reduction: "mean" over all elements, their
    "sum", or "none", which keeps the shape.

    >>> import minicnn as mc
    >>> mc.nn.functional.mse_loss(mc.tensor([1.0, 5.0]), mc.tensor([2.0, 3.0])).item()
    2.5
    """
    _same_shape("mse_loss", input, target)
    distance = input - target
    return _reduced("mse_loss", distance * distance, reduction)


@op
def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|input - target|, the absolute error; the derivative is 0 where they are equal. Shapes and reduction as for
    mse_loss.

    >>> import minicnn as mc
    >>> mc.nn.functional.l1_loss(mc.tensor([1.0, 5.0]), mc.tensor([2.0, 3.0])).item()
    1.5
    """
    _same_shape("l1_loss", input, target)
    return _reduced("l1_loss", (input - target).abs(), reduction)


@op
def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where the distance d is below beta, else d - beta / 2: an outlier pulls no harder than its
    direction says. Shapes and reduction as for mse_loss. Girshick 2015, "Fast R-CNN", equation 3.

    >>> import minicnn as mc
    >>> mc.nn.functional.smooth_l1_loss(mc.tensor([1.0, 5.0]), mc.tensor([1.5, 3.0]), reduction="none").tolist()
    [0.125, 1.5]
    """
    _same_shape("smooth_l1_loss", input, target)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    d = (input - target).abs()
    values = d if beta == 0 else where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta)
    return _reduced("smooth_l1_loss", values, reduction)


@op
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-target * log(input) - (1 - target) * log(1 - input) for probabilities; logarithms are not taken below -100.

    input, target: of one shape, input from 0 to 1 (ValueError); weight: of each element, broadcast; reduction as for
    mse_loss. From logits, binary_cross_entropy_with_logits is more accurate.

    >>> import minicnn as mc
    >>> round(mc.nn.functional.binary_cross_entropy(mc.tensor([0.5]), mc.tensor([1.0])).item(), 4)
    0.6931
    >>> p, labels = mc.tensor([1.0, 0.0, 0.0]), mc.tensor([1.0, 1.0, 0.0])  # very sure, once wrongly
    >>> mc.nn.functional.binary_cross_entropy(p, labels, reduction="none").tolist()
    [0.0, 100.0, 0.0]
    """
    _same_shape("binary_cross_entropy", input, target)
    check_probabilities("binary_cross_entropy", input)
    values = Bce.apply(input, target)
    return _reduced("binary_cross_entropy", values if weight is None else values * weight, reduction)


@op
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of labels (or probabilities) `target` against sigmoid(input), without overflow.

    input, target: of one shape. weight: of each element; pos_weight: of the positive labels; both broadcast. reduction
    as for mse_loss.

    >>> import minicnn as mc
    >>> round(mc.nn.functional.binary_cross_entropy_with_logits(mc.tensor([0.0]), mc.tensor([1.0])).item(), 4)
    0.6931
    >>> logits, labels = mc.tensor([1000.0, -1000.0]), mc.tensor([1.0, 1.0])  # very sure, once rightly
    >>> mc.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").tolist()
    [0.0, 1000.0]
    """
    _same_shape("binary_cross_entropy_with_logits", input, target)
    values = BceLogits.apply(input, target)
    if pos_weight is not None:  # log(s(x)) = -bce(x, 1) is the part that belongs to the positive labels
        values = values + (pos_weight - 1) * target * BceLogits.apply(input, target * 0 + 1)
    return _reduced("binary_cross_entropy_with_logits", values if weight is None else values * weight, reduction)


def _class_rows(name: str, scores: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Scores as (rows, classes) and class indices as (rows,), checked except for their range."""
    need_float(name, input=scores, weight=weight)
    need_tensor(name, target=target)
    if target.dtype != np.int64:
        raise TypeError(f"{name}: target must be int64 class indices, got {target.dtype}")
    if scores.ndim < 1 or target.shape != scores.shape[:-1]:
        raise ValueError(
            f"{name}: target has shape {target.shape}, expected {scores.shape[:-1]} for input {scores.shape}"
        )
    if weight is not None and weight.shape != scores.shape[-1:]:
        raise ValueError(f"{name}: weight has shape {weight.shape}, expected one a class, {scores.shape[-1:]}")
    rows = prod(target.shape)
    return scores.reshape((rows, scores.shape[-1])), target.reshape((rows,))


def _weighted_pick(
    name: str,
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    smoothing: float = 0.0,
) -> Tensor:
    """-weight[t] * scores[t] (smoothed towards the mean over classes), ignored rows left out; the mean is by weight."""
    rows, classes = _class_rows(name, scores, target, weight)
    count = rows.shape[1]
    check_classes(name, classes, count, ignore_index)
    counted = classes != ignore_index
    safe = where(counted, classes, 0)
    values = -mask(_picked(rows, safe), counted)
    weights = counted.to(rows.dtype)
    if weight is not None:
        weights = mask(_picked(weight.reshape((1, count)).expand((rows.shape[0], count)), safe), counted)
        values = values * weights
    if smoothing:
        spread = rows if weight is None else rows * weight
        values = values * (1 - smoothing) - mask(spread.sum(dim=1), counted) * (smoothing / count)
    if reduction == "mean":
        return values.sum() / weights.sum()
    return _reduced(name, values, reduction).reshape(target.shape if reduction == "none" else ())


def _picked(rows: Tensor, index: Tensor) -> Tensor:
    """rows[i, index[i]]"""
    n, classes = rows.shape
    return Pick.apply(rows.reshape((n, classes, 1)), index.reshape((n, 1))).reshape((n,))


@op
def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """-input[target] for log-probabilities input (..., classes) and class indices target (...), int64.

    weight: one a class; "mean" divides by the sum of the weights. Rows whose target is ignore_index don't count; any
    other that is no class is an IndexError.

    >>> import minicnn as mc
    >>> mc.nn.functional.nll_loss(mc.tensor([[-0.5, -1.0], [-2.0, -0.25]]), mc.tensor([0, 1])).item()
    0.375
    >>> log_p = mc.tensor([[-1.0, -2.0], [-3.0, -4.0], [-5.0, -6.0]])
    >>> mc.nn.functional.nll_loss(log_p, mc.tensor([0, 1, -100])).item()  # (1 + 4) / 2: the third is ignored
    2.5
    """
    return _weighted_pick("nll_loss", input, target, weight, ignore_index, reduction)


@op
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of softmax(input) with the true class or with a distribution over classes.

    input: logits (..., classes), classes last: (N, classes), or (N, H, W, classes) to label pixels. target: class
    indices (...), int64, or probabilities (..., classes).
    weight: one a class; "mean" over class indices divides by the sum of their weights, over probabilities by the number
    of rows. Rows whose index is ignore_index don't count; any other that is no class is an IndexError.
    reduction: "mean", "sum", or "none" for the shape (...).
    label_smoothing: that share of each target is spread evenly over the classes (Szegedy et al. 2016, section 7).

    >>> import minicnn as mc
    >>> round(mc.nn.functional.cross_entropy(mc.tensor([[0.0, 0.0]]), mc.tensor([1])).item(), 4)
    0.6931
    >>> round(mc.nn.functional.cross_entropy(mc.tensor([[0.0, 0.0]]), mc.tensor([[0.5, 0.5]])).item(), 4)
    0.6931
    >>> logits = mc.tensor([[0.0, 0.0], [0.0, 0.0], [9.0, 0.0]])  # the first two: undecided, log(2) each
    >>> f"{mc.nn.functional.cross_entropy(logits, mc.tensor([0, 1, -100])).item():.3f}"
    '0.693'
    >>> pixels, labels = mc.zeros(8, 32, 32, 10), mc.zeros(8, 32, 32, dtype="int64")
    >>> mc.nn.functional.cross_entropy(pixels, labels, reduction="none").shape
    (8, 32, 32)
    """
    name = "cross_entropy"
    need_tensor(name, input=input, target=target)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing must be from 0 to 1, got {label_smoothing}")
    if target.dtype not in FLOATS:
        rows, classes = _class_rows(name, input, target, weight)
        if weight is None and not label_smoothing:
            return _plain_cross_entropy(rows, classes, target.shape, ignore_index, reduction)
        return _weighted_pick(name, log_softmax(input), target, weight, ignore_index, reduction, label_smoothing)
    _same_shape(name, input, target)
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / input.shape[-1]
    scores = log_softmax(input) * target
    values = -(scores if weight is None else scores * weight).sum(dim=-1)
    if reduction == "mean":
        return values.sum() * (1.0 / max(values.numel(), 1)) if values.numel() else values.mean()
    return _reduced(name, values, reduction)


def _plain_cross_entropy(
    rows: Tensor, classes: Tensor, shape: tuple[int, ...], ignore_index: int, reduction: str
) -> Tensor:
    """Every row that counts does so alike."""
    values = CrossEntropy.apply(rows, classes, ignore=ignore_index)[0]
    if reduction == "mean":
        if values.device != "cpu":  # the number of rows that count stays there: nobody waits for it
            return values.sum() / (classes != ignore_index).to(values.dtype).sum()
        count = np.count_nonzero(classes.array != ignore_index)
        return scaled_sum(values, (0,), False, 1.0 / count if count else float("nan"))
    return _reduced("cross_entropy", values, reduction).reshape(shape if reduction == "none" else ())


@op
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The hinge loss of several classes: sum over j != t of max(0, margin - input[t] + input[j])^p / classes.

    input: (..., classes), scores; target: class indices (...), int64. p: 1 or 2. weight: one a class, that of the
    target. reduction: "mean" over the rows, "sum", or "none" for the shape (...). Weston & Watkins 1999, "Support
    vector machines for multi-class pattern recognition".

    >>> import minicnn as mc
    >>> mc.nn.functional.multi_margin_loss(mc.tensor([[2.0, 1.5]]), mc.tensor([0])).item()
    0.25
    """
    name = "multi_margin_loss"
    if p not in (1, 2):
        raise ValueError(f"{name}: p must be 1 or 2, got {p!r}")
    rows, classes = _class_rows(name, input, target, weight)
    count = rows.shape[1]
    check_classes(name, classes, count)
    others = counting(rows.device, count).reshape((1, count)) != classes.reshape((rows.shape[0], 1))
    gap = rows - _picked(rows, classes).reshape((rows.shape[0], 1)) + margin
    values = mask(gap if p == 1 else gap * gap, others & (gap > 0))
    if weight is not None:
        values = values * _picked(weight.reshape((1, count)).expand((rows.shape[0], count)), classes).reshape(
            (rows.shape[0], 1)
        )
    return _reduced(name, values.sum(dim=1) * (1.0 / count), reduction).reshape(
        target.shape if reduction == "none" else ()
    )
