"""Back through the rectifiers by other rules than the derivative: guided backpropagation, and the deconvnet.

A rule holds for every relu and relu6 on the way, layer or function. Other activations pass back their derivative, and
so do clip and maximum. (captum's rules hold for ReLU layers only, and where a ReLU's input is used elsewhere too they
change that gradient as well.)
"""

from collections.abc import Callable, Sequence

import numpy as np

from ..nn import Module
from ..nn import functional as F
from ..tape import enable_grad, grad
from ..tensor import Tensor
from .cams import mean_gradient_map
from .class_maps import by_gradient, draw, resized
from .gradients import gradients_of_pictures
from .looking import Looking, Progress, Target

Gradient = Callable[[Tensor], Tensor]


def _guided(slopes: Tensor, derivative: Gradient) -> Tensor:
    return derivative(F.relu(slopes))


def _rectified(slopes: Tensor, derivative: Gradient) -> Tensor:
    return F.relu(slopes)


def guided_backprop(model: Module, x: Tensor | np.ndarray, target: Target = None, *, batch_size: int = 32,
                    progress: Progress | None = None) -> np.ndarray:
    """The gradient of the score by the picture, where rectifiers pass back only what is above 0, and only where they
    let something through. Springenberg et al. 2014, "Striving for simplicity". Arguments and result as for `saliency`.

    The rule is for relu and relu6; other activations pass back their derivative. Sharp, but mostly about edges: it
    hardly changes where the layers near the output are drawn anew (Adebayo et al. 2018, "Sanity checks for saliency
    maps").

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(144, 2))
    >>> mc.vis.guided_backprop(model, mc.ones(5, 8, 8, 3), target=1).shape
    (5, 8, 8, 3)
    """
    with Looking("guided_backprop", model, x, target, batch_size=batch_size, progress=progress, rule=_guided) as look:
        return gradients_of_pictures(look)


def guided_grad_cam(model: Module, x: Tensor | np.ndarray, target: Target = None, layer: str | None = None,
                    smooth: bool = False, *, batch_size: int = 32, progress: Progress | None = None) -> np.ndarray:
    """Guided backpropagation times Grad-CAM: fine where it looks, and about the target. Selvaraju et al. 2016,
    "Grad-CAM".

    x, target and result as for `saliency`. layer: as for `grad_cam`. smooth: Grad-CAM is brought to the size of the
    picture by bilinear interpolation, as in the paper, not from the nearest place.

    >>> import minicnn as mc
    >>> mc.manual_seed(0)
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(144, 2))
    >>> x = np.random.default_rng(0).random((1, 8, 8, 3))
    >>> mc.vis.guided_grad_cam(model, x).shape
    (1, 8, 8, 3)
    """
    coarse = draw("guided_grad_cam", by_gradient(mean_gradient_map), model, x, target, layer, True, False,
                  {"batch_size": batch_size})
    fine = guided_backprop(model, x, target, batch_size=batch_size, progress=progress)
    return fine * resized(coarse, fine.shape[1:-1], linear=smooth)[..., None]


def deconvnet(model: Module, x: Tensor | np.ndarray, target: Target = None, layer: str | None = None,
              channel: int | Sequence[int] | np.ndarray | None = None, start: np.ndarray | Tensor | None = None, *,
              batch_size: int = 32, progress: Progress | None = None) -> np.ndarray:
    """Back to the picture through a deconvnet: what comes down is put where each max pooling found its maximum
    (switches), rectified at each rectifier whatever that let through, and convolved with the filters turned round. The
    map has a sign. Zeiler & Fergus 2013, "Visualizing and understanding convolutional networks".

    x and result as for `saliency`. Without a layer it starts from the score of the target; with one, as in the paper,
    from its strongest activation alone: that of `channel`, one for all pictures or one for each; of all its channels if
    that is None; or from the map `start`, (N, h, w, C) as the layer gives them. Norms and
    average pooling are no part of the paper: they pass back what their derivative says, as activations other than relu
    and relu6 do.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.MaxPool2d(2), mc.nn.Conv2d(4, 2, 3))
    >>> x = np.random.default_rng(0).random((1, 16, 16, 3))
    >>> seen = mc.vis.deconvnet(model, x, layer="3", channel=1)
    >>> places = np.argwhere(seen[0].any(axis=-1))  # what one place of the last layer sees is 8 x 8
    >>> bool(((places.max(axis=0) - places.min(axis=0)) < 8).all())
    True
    """
    name = "deconvnet"
    with Looking(name, model, x, target, batch_size=batch_size, progress=progress, rule=_rectified) as look:
        if layer is None:
            if channel is not None or start is not None:
                raise ValueError(f"{name}: channel and start are for a layer, which is None")
            return gradients_of_pictures(look)
        if target is not None:
            raise ValueError(f"{name}: it starts from the target or from a layer, both came")
        look.layer(layer)
        begin = _beginning(look, layer, channel, start)
        found = np.empty_like(look.x)
        for rows in look.batches(len(found)):
            with enable_grad():
                inputs = look.tensor(look.x[rows], requires_grad=True)
                output = look.run_until([layer], inputs)[layer]
                found[rows] = grad(output, inputs, grad_outputs=look.tensor(begin(output.numpy(), rows)))[0].numpy()
        return found


def _beginning(look: Looking, layer: str, channel: int | Sequence[int] | np.ndarray | None,
               start: np.ndarray | Tensor | None) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """What goes back instead of a layer's output, a function of that and of the numbers of the pictures."""
    name, count = look.name, len(look.x)
    if start is not None:
        if channel is not None:
            raise ValueError(f"{name}: it starts from a channel or from the map `start`, both came")
        given = start.numpy() if isinstance(start, Tensor) else np.asarray(start)

        def as_given(output: np.ndarray, rows: np.ndarray) -> np.ndarray:
            if given.shape != (count, *output.shape[1:]):
                raise ValueError(f"{name}: start has shape {given.shape}, expected that of layer {layer!r}, "
                                 f"{(count, *output.shape[1:])}")
            return given[rows]

        return as_given
    wanted = None if channel is None else np.asarray(channel)
    if wanted is not None:
        if wanted.dtype.kind not in "iu" or wanted.shape not in ((), (count,)) or wanted.min() < 0:
            raise ValueError(f"{name}: channel must be an int of at least 0, or one for each picture, got "
                             f"{channel!r:.60}")
        wanted = np.broadcast_to(wanted, (count,))

    def strongest(output: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if wanted is not None and wanted.max() >= output.shape[-1]:
            raise ValueError(f"{name}: channel {wanted.max()} is out of range, layer {layer!r} has {output.shape[-1]}")
        begin = np.zeros_like(output)
        for one, values, row in zip(begin, output, rows, strict=True):
            allowed = slice(None) if wanted is None else wanted[row]
            among = np.full_like(values, -np.inf)
            among[..., allowed] = values[..., allowed]
            place = np.unravel_index(among.argmax(), among.shape)
            one[place] = values[place]
        return begin

    return strongest
