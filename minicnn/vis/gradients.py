"""Attributions by gradient: how the score changes with each value of the picture. All are called as `saliency` is.

The map of a picture is that of its own score, and doesn't depend on the other pictures of the batch.
"""

from collections.abc import Callable, Iterator
from typing import Literal, overload

import numpy as np

from ..nn import Module
from ..ops.arguments import is_int
from ..tensor import Tensor
from .looking import Looking, Progress, Target, check_noise, check_seed
from .perturb import Baseline, filling


def saliency(model: Module, x: Tensor | np.ndarray, target: Target = None, absolute: bool = False,
             positive: bool = False, *, batch_size: int = 32, progress: Progress | None = None) -> np.ndarray:
    """The gradient of the score by the picture, with its sign. Simonyan et al. 2013, "Deep inside convolutional
    networks".

    x: (N, H, W, C), or a batch of whatever the model reads, a float Tensor or array; brought to the model's device and
    dtype. target: what the score is. None: the model's single logit, or each picture's highest; a class, or one for
    each picture; or a function of the model's outputs that gives (N,), as `region` makes them. A softmax, log_softmax
    or sigmoid that is the last thing the model does is looked through to the logits. absolute: the size of the
    gradient. positive: itself where it is above 0, else 0. batch_size: how many pictures a pass takes. progress: called
    as `progress(done, total)` after each.

    Returns an array laid out like x, float32, or float64 if the model is. The paper draws the largest size over the
    channels: `saliency(..., absolute=True).max(axis=-1)`. TypeError or ValueError if an argument doesn't fit, before
    the model runs where that can be told.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(144, 2))
    >>> mc.vis.saliency(model, mc.ones(5, 8, 8, 3), target=1).shape
    (5, 8, 8, 3)
    """
    if absolute and positive:
        raise ValueError("saliency: absolute and positive exclude each other")
    with Looking("saliency", model, x, target, batch_size=batch_size, progress=progress) as look:
        slopes = gradients_of_pictures(look)
    return np.abs(slopes) if absolute else np.maximum(slopes, 0) if positive else slopes


def input_x_gradient(model: Module, x: Tensor | np.ndarray, target: Target = None, *, batch_size: int = 32,
                     progress: Progress | None = None) -> np.ndarray:
    """The picture times the gradient of the score by it: what each value would add if the model were linear. Shrikumar
    et al. 2016, "Not just a black box". Arguments and result as for `saliency`.

    >>> import minicnn as mc
    >>> linear = mc.nn.Sequential(mc.nn.Flatten(), mc.nn.Linear(12, 1, bias=False))
    >>> x = mc.tensor(np.random.default_rng(0).random((1, 2, 2, 3), np.float32))
    >>> bool(np.isclose(mc.vis.input_x_gradient(linear, x).sum(), linear(x).item()))
    True
    """
    with Looking("input_x_gradient", model, x, target, batch_size=batch_size, progress=progress) as look:
        return look.x * gradients_of_pictures(look)


def smooth_grad(model: Module, x: Tensor | np.ndarray, target: Target = None, samples: int = 25, noise: float = 0.15,
                seed: int = 0, *, batch_size: int = 32, progress: Progress | None = None) -> np.ndarray:
    """The mean gradient over noisy copies of the picture. Smilkov et al. 2017, "SmoothGrad".

    x, target and result as for `saliency`. samples: how many copies. noise: the standard deviation of the normal noise,
    as a share of the picture's range, max - min; the paper finds 0.1 to 0.2 good. The noise follows from `seed` alone
    and is the same for each picture.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Flatten(), mc.nn.Linear(12, 1))
    >>> x = mc.tensor(np.random.default_rng(0).random((1, 2, 2, 3), np.float32))
    >>> bool(np.allclose(mc.vis.smooth_grad(model, x, samples=4), mc.vis.saliency(model, x)))  # the same everywhere
    True
    """
    look = Looking("smooth_grad", model, x, target, batch_size=batch_size, progress=progress)
    mean, _ = _moments_under_noise(look, samples, noise, seed)
    return mean.astype(look.dtype)


def var_grad(model: Module, x: Tensor | np.ndarray, target: Target = None, samples: int = 25, noise: float = 0.15,
             seed: int = 0, *, batch_size: int = 32, progress: Progress | None = None) -> np.ndarray:
    """The variance of the gradient over noisy copies of the picture, E[g^2] - E[g]^2: where the model bends. Adebayo et
    al. 2018, "Local explanation methods for deep neural networks lack sensitivity to parameter values".

    x, target and result as for `saliency`, samples, noise and seed as for `smooth_grad`.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Flatten(), mc.nn.Linear(12, 1))  # doesn't bend
    >>> x = mc.tensor(np.random.default_rng(0).random((1, 2, 2, 3), np.float32))
    >>> float(mc.vis.var_grad(model, x, samples=4).max().round(6))
    0.0
    """
    look = Looking("var_grad", model, x, target, batch_size=batch_size, progress=progress)
    mean, square = _moments_under_noise(look, samples, noise, seed)
    return np.maximum(square - mean**2, 0).astype(look.dtype)  # rounding could leave it below 0


@overload
def integrated_gradients(model: Module, x: Tensor | np.ndarray, target: Target = None, steps: int = 50,
                         baseline: Baseline = 0.0, return_error: Literal[False] = False, *,
                         batch_size: int = 32, progress: Progress | None = None) -> np.ndarray: ...
@overload
def integrated_gradients(model: Module, x: Tensor | np.ndarray, target: Target = None, steps: int = 50,
                         baseline: Baseline = 0.0, *, return_error: Literal[True], batch_size: int = 32,
                         progress: Progress | None = None) -> tuple[np.ndarray, np.ndarray]: ...
def integrated_gradients(model, x, target=None, steps=50, baseline=0.0, return_error=False, *, batch_size=32,
                         progress=None):
    """The mean gradient on the straight way from a baseline to the picture, times their difference. Sundararajan et al.
    2017, "Axiomatic attribution for deep networks".

    x, target and result as for `saliency`. steps: points on the way, those of Gauss and Legendre with their weights;
    the paper takes equal steps, which need several times as many for the same error. baseline: where the way begins, as
    for `occlusion`. The class is that of the picture all the way. return_error: also how far
    the map is from complete, (N,): its sum less F(picture) - F(baseline), 0 for infinitely many steps.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Flatten(), mc.nn.Linear(12, 8), mc.nn.Tanh(), mc.nn.Linear(8, 1))
    >>> x = mc.tensor(np.random.default_rng(0).random((2, 2, 2, 3), np.float32))
    >>> attribution, error = mc.vis.integrated_gradients(model, x, steps=10, return_error=True)
    >>> attribution.shape, bool(np.abs(error).max() < 1e-5)
    ((2, 2, 2, 3), True)
    """
    name = "integrated_gradients"
    if not is_int(steps) or steps < 1:
        raise ValueError(f"{name}: steps must be an int of at least 1, got {steps!r}")
    look = Looking(name, model, x, target, batch_size=batch_size, progress=progress)
    start = filling(name, look.x, baseline)
    way = look.x - start
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # for -1..1
    places = ((1 + nodes) / 2).astype(look.dtype)
    total = np.zeros(look.x.shape)

    def at(pictures: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return start[pictures] + _beside(places[numbers], way) * way[pictures]

    with look:
        for picture, number, slopes in _gradients_of_variants(look, steps, at):
            total[picture] += weights[number] / 2 * slopes
        found = (way * total).astype(look.dtype)
        if not return_error:
            return found
        gained = look.all_scores(look.x) - look.all_scores(start)
    return found, found.reshape(len(found), -1).sum(axis=1, dtype=np.float64).astype(look.dtype) - gained


# -------------------------------------------------------------------------------------------------- what they share


def gradients_of_pictures(look: Looking) -> np.ndarray:
    """The gradients by all of the pictures."""
    found = np.empty_like(look.x)
    for rows in look.batches(len(found)):
        found[rows] = look.gradients(look.x[rows], rows)
    return found


def _beside(numbers: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """(n,) numbers, one for each picture, to be multiplied with pictures."""
    return numbers.reshape(-1, *(1,) * (pictures.ndim - 1))


def _gradients_of_variants(look: Looking, count: int, vary: Callable[[np.ndarray, np.ndarray], np.ndarray]
                           ) -> Iterator[tuple[int, int, np.ndarray]]:
    """(picture, number, gradient) for `count` variants of each picture, which `vary(pictures, numbers)` makes."""
    for rows in look.batches(len(look.x) * count):
        pictures, numbers = np.divmod(rows, count)
        yield from zip(pictures, numbers, look.gradients(vary(pictures, numbers), pictures), strict=True)


def _moments_under_noise(look: Looking, samples: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The means of the gradient and of its square over noisy copies."""
    if not is_int(samples) or samples < 1:
        raise ValueError(f"{look.name}: samples must be an int of at least 1, got {samples!r}")
    check_noise(look.name, noise)
    check_seed(look.name, seed)
    spread = noise * np.ptp(look.x.reshape(len(look.x), -1), axis=1)

    def noisy(pictures: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        drawn = [np.random.default_rng((seed, k)).standard_normal(look.x.shape[1:], look.dtype) for k in numbers]
        return look.x[pictures] + _beside(spread[pictures], look.x).astype(look.dtype) * np.stack(drawn)

    mean, square = np.zeros(look.x.shape), np.zeros(look.x.shape)
    with look:
        for picture, _, slopes in _gradients_of_variants(look, samples, noisy):
            mean[picture] += slopes
            square[picture] += slopes.astype(np.float64) ** 2
    return mean / samples, square / samples
