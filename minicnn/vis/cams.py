"""Class activation maps: which places of a layer's output the score comes from. All are called as `grad_cam` is.

Each is a formula for the activations a (n, h, w, C) of a layer and the gradients g of the scores by them; Score-CAM and
Ablation-CAM do without gradients. What they share is in class_maps.py.
"""

from collections.abc import Callable
from typing import Unpack

import numpy as np

from ..nn import Module
from .class_maps import (
    MapOptions,
    Pictures,
    by_activations,
    by_gradient,
    draw,
    resized,
    scaled,
    space,
    weighted,
)
from .looking import Looking, Target


def mean_gradient_map(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Grad-CAM's map (n, h, w) of activations (n, h, w, C) and the gradients by them."""
    return weighted(a, g.mean(axis=space(a)))


def grad_cam(model: Module, x: Pictures, target: Target = None, layer: str | None = None, relu: bool = True,
             upsample: bool = False, **options: Unpack[MapOptions]) -> np.ndarray:
    """The channels added up, each weighted with its mean gradient. Selvaraju et al. 2016, "Grad-CAM".

    x, target: as for `saliency`. layer: the dotted name of the one whose output is looked at, (N, h, w, C); unless
    given the last convolution, with the activation or the block that belongs to it (`last_convolution` in layers.py).
    relu: what is below 0, against the target, is 0; False gives the signed map. upsample: bring the map to the size of
    the picture, bilinear. normalize: scale each map to 0..1, as it is drawn. batch_size, progress: as for `saliency`.

    Returns (N, h, w), float32, or float64 if the model is; of a sequence (N, l), of a volume (N, d, h, w). A warning
    says for which pictures the map is 0 everywhere. ValueError for a layer that is not there, runs several times or has
    no places.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(144, 2))
    >>> x = mc.ones(5, 8, 8, 3)
    >>> mc.vis.grad_cam(model, x, 1, layer="1", relu=False).shape
    (5, 6, 6)
    >>> mc.vis.grad_cam(model, x, 1, relu=False, upsample=True).shape
    (5, 8, 8)
    """
    return draw("grad_cam", by_gradient(mean_gradient_map), model, x, target, layer, relu, upsample, options)


def grad_cam_plus_plus(model: Module, x: Pictures, target: Target = None, layer: str | None = None, relu: bool = True,
                       upsample: bool = False, epsilon: float = 1e-6, **options: Unpack[MapOptions]) -> np.ndarray:
    """Grad-CAM in which the places where the gradient is above 0 count, each with a weight of its own; better where
    several things of a kind are in the picture. Chattopadhyay et al. 2017, "Grad-CAM++", equations 10 and 19.

    The weight of a place is g^2 / (2 g^2 + sum(A) g^3 + epsilon). epsilon: against division by zero; small gradients
    are lost in it. The paper has none: epsilon=0. Its gradient is that of exp(score), which multiplies the map of a
    picture by a number.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(144, 2))
    >>> mc.vis.grad_cam_plus_plus(model, mc.ones(1, 8, 8, 3), 0, relu=False).shape
    (1, 6, 6)
    """
    if not epsilon >= 0:
        raise ValueError(f"grad_cam_plus_plus: epsilon must be at least 0, got {epsilon!r}")


    def combine(a: np.ndarray, g: np.ndarray) -> np.ndarray:
        rising = np.maximum(g, 0)
        below = 2 * rising**2 + a.sum(axis=space(a), keepdims=True) * rising**3 + epsilon
        share = np.divide(rising**2, below, out=np.zeros_like(below), where=below != 0)
        return weighted(a, (rising * share).sum(axis=space(a)))

    return draw("grad_cam_plus_plus", by_gradient(combine), model, x, target, layer, relu, upsample, options)


def xgrad_cam(model: Module, x: Pictures, target: Target = None, layer: str | None = None, relu: bool = True,
              upsample: bool = False, **options: Unpack[MapOptions]) -> np.ndarray:
    """Grad-CAM whose mean gradient is weighted with the activation, so that taking a channel away changes the map as
    it changes the score. Fu et al. 2020, "Axiom-based Grad-CAM".

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(144, 2))
    >>> mc.vis.xgrad_cam(model, mc.ones(1, 8, 8, 3), 0, relu=False).shape
    (1, 6, 6)
    """

    def combine(a: np.ndarray, g: np.ndarray) -> np.ndarray:
        total = a.sum(axis=space(a), keepdims=True) + 1e-7
        return weighted(a, (g * a / total).sum(axis=space(a)))

    return draw("xgrad_cam", by_gradient(combine), model, x, target, layer, relu, upsample, options)


def hires_cam(model: Module, x: Pictures, target: Target = None, layer: str | None = None, relu: bool = True,
              upsample: bool = False, **options: Unpack[MapOptions]) -> np.ndarray:
    """Gradient times activation at each place, added up over the channels. Where a linear layer follows, the map adds
    up to what the layer adds to the score. Draelos & Carin 2020, "Use HiResCAM instead of Grad-CAM".

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(144, 1, bias=False))
    >>> x = mc.ones(1, 8, 8, 3)
    >>> bool(np.isclose(mc.vis.hires_cam(model, x, relu=False).sum(), model(x).item(), atol=1e-5))
    True
    """

    def combine(a: np.ndarray, g: np.ndarray) -> np.ndarray:
        return (g * a).sum(axis=-1)

    return draw("hires_cam", by_gradient(combine), model, x, target, layer, relu, upsample, options)


def layer_cam(model: Module, x: Pictures, target: Target = None, layer: str | None = None, relu: bool = True,
              upsample: bool = False, **options: Unpack[MapOptions]) -> np.ndarray:
    """HiRes-CAM of the gradients above 0; good for early layers too. Jiang et al. 2021, "LayerCAM".

    The paper lifts faint maps of early layers before it draws them: np.tanh(2 * map) of a map scaled to 0..1.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(144, 2))
    >>> mc.vis.layer_cam(model, mc.ones(1, 8, 8, 3), 0, relu=False).shape
    (1, 6, 6)
    """

    def combine(a: np.ndarray, g: np.ndarray) -> np.ndarray:
        return (np.maximum(g, 0) * a).sum(axis=-1)

    return draw("layer_cam", by_gradient(combine), model, x, target, layer, relu, upsample, options)


def eigen_cam(model: Module, x: Pictures, target: Target = None, layer: str | None = None, relu: bool = True,
              upsample: bool = False, centre: bool = True, **options: Unpack[MapOptions]) -> np.ndarray:
    """The direction in which the channels of a picture vary most, at each place: what the layer sees, whatever the
    class; `target` changes nothing. Muhammad & Yeasin 2020, "Eigen-CAM".

    The activations, (places, channels), are projected on their first right singular vector. centre: less each channel's
    mean before; the paper doesn't: centre=False. A singular vector has no sign: it is taken so that the map rises with
    the sum of the channels.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(144, 2))
    >>> x = np.random.default_rng(0).random((1, 8, 8, 3))
    >>> mc.vis.eigen_cam(model, x).shape
    (1, 6, 6)
    """

    def combine(a: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.stack([_principal(one, centre) for one in a])

    return draw("eigen_cam", by_activations(combine), model, x, target, layer, relu, upsample, options)


def _principal(a: np.ndarray, centre: bool) -> np.ndarray:
    rows = a.reshape(-1, a.shape[-1])
    if centre:
        rows = rows - rows.mean(axis=0)
    projected = rows @ np.linalg.svd(rows, full_matrices=False)[2][0]
    total = rows.sum(axis=1)
    sign = -1 if projected @ (total - total.mean()) < 0 else 1
    return (sign * projected).reshape(a.shape[:-1])


# ------------------------------------------------------------------- without gradients: a pass for each channel


def score_cam(model: Module, x: Pictures, target: Target = None, layer: str | None = None, relu: bool = True,
              upsample: bool = False, softmax: bool = True, **options: Unpack[MapOptions]) -> np.ndarray:
    """The channels added up, each weighted with the score of the picture seen through it. Wang et al. 2019,
    "Score-CAM".

    A channel, at the size of the picture and from 0 to 1, is what the picture is multiplied with. softmax: the weights
    are the softmax of those scores over the channels, the last lines of the paper's algorithm. False: how much more
    they are than the score of a picture of zeros, the paper's equation 6 (increase of confidence).

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(144, 2))
    >>> mc.vis.score_cam(model, mc.ones(1, 8, 8, 3), 0, relu=False).shape
    (1, 6, 6)
    """

    def read(look: Looking, layer: str) -> np.ndarray:
        nothing = None if softmax else look.all_scores(np.zeros_like(look.x))[:, None]

        def combine(a: np.ndarray, rows: np.ndarray) -> np.ndarray:
            def seen_through(pictures: np.ndarray, channels: np.ndarray) -> np.ndarray:
                chosen = np.stack([a[picture - rows[0], ..., channel]
                                   for picture, channel in zip(pictures, channels, strict=True)])
                masks = scaled(resized(chosen, look.x.shape[1:-1], align_corners=True), epsilon=1e-8)
                return look.score_values(look.x[pictures] * masks[..., None].astype(look.dtype), pictures)

            scores = _for_each_channel(look, rows, a.shape[-1], seen_through)
            if nothing is not None:
                return weighted(a, scores - nothing[rows])
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            return weighted(a, scores / scores.sum(axis=1, keepdims=True))

        return by_activations(combine)(look, layer)

    return draw("score_cam", read, model, x, target, layer, relu, upsample, options)


def ablation_cam(model: Module, x: Pictures, target: Target = None, layer: str | None = None, relu: bool = True,
                 upsample: bool = False, relative: bool = True, **options: Unpack[MapOptions]) -> np.ndarray:
    """The channels added up, each weighted with how much of the score is lost where it is 0. Desai & Ramaswamy 2020,
    "Ablation-CAM".

    relative: the weight is (F - F without it) / F, as in the paper: where the score F is below 0 the map changes its
    sign, and where it is near 0 it grows. False: F - F without it, whatever the sign of F.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(144, 2))
    >>> mc.vis.ablation_cam(model, mc.ones(1, 8, 8, 3), 0, relu=False).shape
    (1, 6, 6)
    """

    def read(look: Looking, layer: str) -> np.ndarray:
        scores = look.all_scores(look.x)[:, None].astype(np.float64)

        def combine(a: np.ndarray, rows: np.ndarray) -> np.ndarray:
            def without(pictures: np.ndarray, channels: np.ndarray) -> np.ndarray:
                keep = 1.0 - np.eye(a.shape[-1])[channels].reshape(len(channels), *(1,) * (a.ndim - 2), a.shape[-1])
                with look.changing(layer, lambda output: output * look.tensor(keep)):
                    return look.score_values(look.x[pictures], pictures)

            whole = scores[rows]
            lost = whole - _for_each_channel(look, rows, a.shape[-1], without)
            return weighted(a, lost / np.where(whole == 0, 1, whole) if relative else lost)

        return by_activations(combine)(look, layer)

    return draw("ablation_cam", read, model, x, target, layer, relu, upsample, options)


def _for_each_channel(look: Looking, rows: np.ndarray, channels: int,
                      score: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """(n, channels) of `score(pictures, channels)` for pictures in a row, computed in batches."""
    first = int(rows[0])
    found = np.empty((len(rows), channels))
    for jobs in look.batches(len(look.x) * channels, first * channels, (first + len(rows)) * channels):
        pictures, numbers = np.divmod(jobs, channels)
        found[pictures - first, numbers] = score(pictures, numbers)
    return found
