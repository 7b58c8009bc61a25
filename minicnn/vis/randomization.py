"""Does a map depend on what the network has learned? What becomes of it when the weights are drawn anew.

Adebayo et al., "Sanity Checks for Saliency Maps" (2018).
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .. import random
from ..nn import Module, init
from ..tape import no_grad
from ..tensor import Tensor
from .looking import Looking, Progress, Target, alone_with, check_seed, numbered

#: How a map is made: called (model, x, target), it gives floats (N, h, w) or (N, H, W, C).
Method = Callable[[Module, Any, Any], np.ndarray]


class Randomization(NamedTuple):
    """layers (L,): those whose weights were drawn anew, in turn. Of each and each picture (L, N), how like the maps of
    the trained model the maps then are, 1 for the same: rank_correlation (Spearman's) of the maps, absolute_correlation
    and ssim (structural similarity) of their absolute values. constant (L + 1, N): which maps have one value everywhere
    and so order nothing (correlation 0), first those of the trained model."""

    layers: tuple[str, ...]
    rank_correlation: np.ndarray
    absolute_correlation: np.ndarray
    ssim: np.ndarray
    constant: np.ndarray

    @property
    def kept(self) -> float:
        """How much of the maps stays: the larger of the rank correlation, whatever its sign, and that of the absolute
        values, so that a map which only changes its sign stays. The mean over all layers and the pictures whose trained
        map isn't constant."""
        kept = np.maximum(abs(self.rank_correlation), self.absolute_correlation)
        return float(kept[:, ~self.constant[0]].mean())

    @property
    def passed(self) -> bool:
        """Whether less than half of the maps stays. (The bound is ours: the paper lets the reader judge.) See also how
        many maps are `constant`."""
        return self.kept < 0.5


def randomization_check(model: Module, x: Tensor | np.ndarray, method: Method, target: Target = None, *,
                        independent: bool = False, seed: int = 0, progress: Progress | None = None) -> Randomization:
    """How much of a method's maps stays when the weights go, layer by layer from the output to the input.

    A map that explains the model must change with it. One that stays much the same shows the picture, as an edge
    detector does, whatever else it is called. As in the paper, layers are drawn anew one after the other, until none is
    left that has learned anything (cascading), or each on its own, the others as trained (independent). A map of one
    value everywhere is like no other (correlation 0); that the method warns of such maps, once weights are drawn anew,
    is not shown. Of the trained model they tell nothing: a warning names them, and if all are so that's a ValueError.

    method: `vis.saliency`, say, or `lambda model, x, target: vis.grad_cam(model, x, target, layer="6")`. target: as
    everywhere; None is the highest class of the trained model all along. A layer is a module with parameters of its
    own; its `reset_parameters` draws them, and where it has none each array gets normal numbers of its mean and
    standard deviation. The model has its weights back at the end, bit for bit, and also after an error.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(144, 2))
    >>> x = mc.tensor(np.random.default_rng(0).random((2, 8, 8, 3), np.float32))
    >>> found = mc.vis.randomization_check(model, x, mc.vis.saliency)
    >>> found.layers, found.ssim.shape, bool((found.rank_correlation[-1] < 0.5).all())
    (('3', '0'), (2, 2), True)
    """
    check_seed("randomization_check", seed)
    with Looking("randomization_check", model, x, target) as look:
        wanted = target if callable(target) else look.classes
        pictures = look.x
    layers = [(name, module) for name, module in reversed(list(model.named_modules()))
              if list(module.parameters(recurse=False))]
    if not layers:
        raise ValueError(f"randomization_check: {type(model).__name__} has no parameters to draw anew")
    trained = _maps(method, model, pictures, wanted)
    constant = [_constant(trained)]
    if constant[0].any():
        told = "randomization_check: the method's map has one value everywhere for the trained model, in picture "
        if constant[0].all():
            raise ValueError(told + f"{numbered(np.flatnonzero(constant[0]))}: there is none that could change")
        warnings.warn(told + f"{numbered(np.flatnonzero(constant[0]))}: left out of what is kept", stacklevel=2)
    found = []
    with alone_with(model), _weights_come_back(model) as restore:
        random.manual_seed(seed)
        for done, (_, module) in enumerate(layers, 1):
            _draw(module)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that nothing speaks for the target, say: nothing has been learned
                drawn = _maps(method, model, pictures, wanted)
            constant.append(_constant(drawn))
            found.append([_likeness(a, b) for a, b in zip(trained, drawn, strict=True)])
            if independent:
                restore()
            if progress is not None:
                progress(done, len(layers))
    rank, absolute, ssim = np.moveaxis(np.array(found), -1, 0)
    return Randomization(tuple(name for name, _ in layers), rank, absolute, ssim, np.array(constant))


@contextmanager
def _weights_come_back(model: Module) -> Iterator[Callable[[], None]]:
    """Parameters, buffers and the random stream are as they were at the end; the function in between is for the first
    two."""
    before = random.get_state()
    kept = [(own, own.numpy().copy()) for own in (*model.parameters(), *model.buffers())]

    def restore() -> None:
        with no_grad():
            for own, values in kept:
                own.copy_(values)

    try:
        yield restore
    finally:
        restore()
        random.set_state(before)


def _draw(module: Module) -> None:
    """Draw a layer's own parameters anew."""
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()
        return
    for parameter in module.parameters(recurse=False):
        values = parameter.numpy()
        init.normal_(parameter, float(values.mean()), float(values.std()))


def _maps(method: Method, model: Module, x: np.ndarray, target: Any) -> np.ndarray:
    maps = np.asarray(method(model, x, target), np.float64)
    if maps.ndim not in (3, 4) or len(maps) != len(x) or not np.isfinite(maps).all():
        raise ValueError(f"randomization_check: the method gave an array of shape {maps.shape}, expected finite maps "
                         f"({len(x)}, h, w) or ({len(x)}, H, W, C)")
    return maps.sum(axis=-1) if maps.ndim == 4 else maps


def _constant(maps: np.ndarray) -> np.ndarray:
    """Which of maps (N, h, w) have one value everywhere."""
    return np.ptp(maps.reshape(len(maps), -1), axis=1) == 0


def _likeness(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Of two maps (h, w): Spearman's correlation, that of the absolute values, and their structural similarity."""
    return rank_correlation(a, b), rank_correlation(abs(a), abs(b)), structural_similarity(_unit(a), _unit(b))


def _unit(a: np.ndarray) -> np.ndarray:
    """Absolute values, the greatest of which is 1."""
    return abs(a) / (abs(a).max() or 1.0)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two arrays' values, ties sharing their mean rank; 0 where one of them is constant,
    which orders nothing.

    >>> rank_correlation(np.array([1.0, 2.0, 9.0]), np.array([10.0, 30.0, 20.0]))
    0.5
    """
    from scipy.stats import rankdata

    ranks = [rankdata(values, axis=None) - (values.size + 1) / 2 for values in (a, b)]
    length = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float((ranks[0] * ranks[1]).sum() / length) if length else 0.0


def structural_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """The mean structural similarity (SSIM) of two pictures (H, W) with values from 0 to 1: Wang et al. 2004,
    equation 13, with Gaussian windows of standard deviation 1.5 cut off at 11 x 11, K1 = 0.01 and K2 = 0.03.

    >>> picture = np.random.default_rng(0).random((16, 16))
    >>> round(structural_similarity(picture, picture), 6), structural_similarity(picture, 1 - picture) < 0
    (1.0, True)
    """
    from scipy.ndimage import gaussian_filter

    def mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, 1.5, truncate=5 / 1.5)

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    return float((((2 * mean_a * mean_b + c1) * (2 * covariance + c2))
                  / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))).mean())
