"""Does a map explain, or does it only look good? The score as the pixels that a map calls relevant go or come.

Petsiuk, Das & Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models" (2018), section 4.2;
Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods" (2022).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..nn import Module
from ..nn import functional as F
from ..ops.arguments import is_int
from ..tensor import Tensor, tensor
from .imputation import impute
from .looking import Looking, Progress, Target, check_noise, check_seed
from .perturb import Baseline, filling

#: Which of the pixels that a map calls equal go first is left to chance, the same each time.
SEED = 0


class Curve(NamedTuple):
    """shares (S + 1,): how much of the picture has gone, or come, from 0 to 1. scores (N, S + 1): of each picture then.
    areas (N,): under each picture's curve, by the trapezoidal rule: its mean height."""

    shares: np.ndarray
    scores: np.ndarray
    areas: np.ndarray


class Road(NamedTuple):
    """shares (S,): how much of the picture was replaced. most, least (N, S): the scores after the most relevant pixels
    went, or the least relevant. score (N,): the mean of least - most over the shares, the more the better the map
    (pytorch-grad-cam's ROADCombined is half of that)."""

    shares: np.ndarray
    most: np.ndarray
    least: np.ndarray
    score: np.ndarray


def deletion_curve(model: Module, x: Tensor | np.ndarray, maps: np.ndarray, target: Target = None, *, steps: int = 32,
                   baseline: Baseline = 0.0, probability: bool = True, batch_size: int = 32,
                   progress: Progress | None = None) -> Curve:
    """The score as pixels are deleted, the most relevant first: the sooner it falls, the better the map (RISE).

    x: pictures (N, H, W, C). maps: what is relevant, the highest values first, (N, H, W, C), whose channels are added
    up, or (N, h, w), scaled to (H, W). steps: how many, each of the same number of pixels. baseline: what deleted
    pixels become, a number, values that broadcast to x, each picture's "mean" colour, or the picture but for a "blur".

    Scores are the target's probability, as in the paper: the softmax of the logits, of a single one the sigmoid;
    probability=False gives the logit itself. A target that is a function gives its own values either way.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Flatten(), mc.nn.Linear(4, 1))
    >>> x = mc.ones(1, 2, 2, 1)
    >>> curve = mc.vis.deletion_curve(model, x, mc.vis.saliency(model, x), steps=4, probability=False)
    >>> curve.shares.tolist(), curve.scores.shape
    ([0.0, 0.25, 0.5, 0.75, 1.0], (1, 5))
    """
    look = Looking("deletion_curve", model, x, target, batch_size=batch_size, progress=progress)
    return _curve(look, maps, steps, look.x, filling("deletion_curve", look.x, baseline), probability)


def insertion_curve(model: Module, x: Tensor | np.ndarray, maps: np.ndarray, target: Target = None, *, steps: int = 32,
                    baseline: Baseline = "blur", probability: bool = True, batch_size: int = 32,
                    progress: Progress | None = None) -> Curve:
    """The score as pixels come back into a picture that is all baseline, the most relevant first: the sooner it rises,
    the better the map (RISE). Arguments and result are those of `deletion_curve`.

    "blur" puts the picture out of focus by a Gaussian of 1/16 of its longest side, which leaves no edges of the
    baseline's own; the paper's has 5 of 224 pixels.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Flatten(), mc.nn.Linear(4, 1))
    >>> x = mc.ones(1, 2, 2, 1)
    >>> curve = mc.vis.insertion_curve(model, x, mc.vis.saliency(model, x), steps=2, baseline=0.0)
    >>> curve.scores.shape, curve.areas.shape
    ((1, 3), (1,))
    """
    look = Looking("insertion_curve", model, x, target, batch_size=batch_size, progress=progress)
    return _curve(look, maps, steps, filling("insertion_curve", look.x, baseline), look.x, probability)


def road(model: Module, x: Tensor | np.ndarray, maps: np.ndarray, target: Target = None, *,
         shares: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), noise: float = 0.01, seed: int = 0,
         probability: bool = True, batch_size: int = 32, progress: Progress | None = None) -> Road:
    """Remove and debias (ROAD, Rong et al. 2022): the score after the most and after the least relevant pixels went,
    where those that went are filled in from their neighbours so that where they were tells the network nothing.

    x, maps, target, probability: as for `deletion_curve`. shares: how much of each picture goes, above 0 and below 1.
    noise: the standard deviation of what is added to pixels that are filled in (see `vis.imputation`), drawn from
    `seed` for each picture by itself.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Flatten(), mc.nn.Linear(48, 1))
    >>> x = mc.ones(1, 4, 4, 3)
    >>> found = mc.vis.road(model, x, mc.vis.saliency(model, x), shares=(0.25, 0.5))
    >>> found.most.shape, found.least.shape, found.score.shape
    ((1, 2), (1, 2), (1,))
    """
    share = np.asarray(shares, np.float64)
    if share.ndim != 1 or not share.size or not ((share > 0) & (share < 1)).all():
        raise ValueError(f"road: shares must be numbers above 0 and below 1, got {shares!r}")
    look = Looking("road", model, x, target, batch_size=batch_size, progress=progress)
    check_noise("road", noise)
    check_seed("road", seed)
    place = ranks("road", maps, look.x.shape)
    pixels = place[0].size
    gone = np.clip(np.rint(share * pixels), 1, pixels - 1).astype(int)

    def replaced(row: int, way: int) -> np.ndarray:
        count = gone[way % len(gone)]
        mask = place[row] < count if way < len(gone) else place[row] >= pixels - count
        return impute(look.x[row], mask, noise, np.random.default_rng((seed, row, way)))

    scores = _scores(look, 2 * len(gone), replaced, probability)
    most, least = scores[:, : len(gone)], scores[:, len(gone) :]
    return Road(share, most, least, (least - most).mean(axis=1))


def ranks(name: str, maps: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The place of each pixel (N, H, W) in its picture when the highest values of its map come first."""
    values = np.asarray(maps.numpy() if isinstance(maps, Tensor) else maps)
    if len(shape) != 4:
        raise ValueError(f"{name}: x must be pictures (N, H, W, C), got shape {shape}")
    if values.dtype.kind != "f" or values.ndim not in (3, 4) or len(values) != shape[0] \
            or (values.ndim == 4 and values.shape != shape):
        raise ValueError(f"{name}: maps must be floats of shape {shape} or ({shape[0]}, h, w), got {values.dtype} "
                         f"{values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: maps hold values that are infinite or not a number")
    values = values.sum(axis=-1) if values.ndim == 4 else values
    if values.shape[1:] != shape[1:3]:
        values = F.interpolate(tensor(values[..., None]), size=shape[1:3], mode="bilinear").numpy()[..., 0]
    flat = values.reshape(len(values), -1)
    chance = np.random.default_rng(SEED).permutation(flat.shape[1])
    order = chance[np.argsort(-flat[:, chance], axis=1, kind="stable")]
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(flat.shape[1]), order.shape), axis=1)
    return place.reshape(values.shape)


def _curve(look: Looking, maps: Any, steps: int, before: np.ndarray, after: np.ndarray, probability: bool) -> Curve:
    """The scores on the way from one picture to another, pixel by pixel in the order of a map."""
    if not is_int(steps) or steps < 1:
        raise ValueError(f"{look.name}: steps must be an int of at least 1, got {steps!r}")
    place = ranks(look.name, maps, look.x.shape)
    shares = np.linspace(0, 1, steps + 1)
    counts = np.rint(shares * place[0].size).astype(int)

    def picture(row: int, way: int) -> np.ndarray:
        return np.where((place[row] < counts[way])[..., None], after[row], before[row])

    scores = _scores(look, steps + 1, picture, probability)
    return Curve(shares, scores, np.trapezoid(scores, shares, axis=1))


def _scores(look: Looking, ways: int, picture: Callable[[int, int], np.ndarray], probability: bool) -> np.ndarray:
    """(N, ways) scores of what `picture(row, way)` makes of picture number `row`."""
    scores = np.empty((len(look.x), ways))
    with look:
        for jobs in look.batches(scores.size):
            rows = jobs // ways
            x = np.stack([picture(int(row), int(way)) for row, way in zip(rows, jobs % ways, strict=True)])
            scores.flat[jobs] = _probabilities(look, x, rows) if probability else look.score_values(x, rows)
    return scores


def _probabilities(look: Looking, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The probability of each one's class; the value itself of a target that is a function."""
    if callable(look.target):
        return look.score_values(x, rows)
    logits = look.logits(look.tensor(x))
    shares = F.sigmoid(logits) if logits.shape[1] == 1 else F.softmax(logits)
    return look.chosen(shares, rows).numpy()
