"""What each layer makes of a picture."""

from collections.abc import Iterable

import numpy as np

from ..nn import Module, evaluating, features
from ..nn.features import run_until
from ..tensor import Tensor


def activations(model: Module, x: Tensor, layers: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The outputs of layers, by dotted name in the order they ran (Zeiler & Fergus 2014 show what to read in them).

    x: a batch of inputs. layers: names as in `nn.features`, whose order the result then has; all innermost layers that
    run unless given. The model runs in eval mode and is left as it was. Of a layer that runs twice, the first output.
    Returns arrays of the layers' own shapes, pictures as (N, h, w, C).

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 8, 3), mc.nn.ReLU(), mc.nn.MaxPool2d(2))
    >>> found = mc.vis.activations(model, mc.ones(1, 10, 10, 3))
    >>> {name: output.shape for name, output in found.items()}
    {'0': (1, 8, 8, 8), '1': (1, 8, 8, 8), '2': (1, 4, 4, 8)}
    """
    inner = [name for name, module in model.named_modules() if not list(module.children())]
    with evaluating(model):
        found = run_until(model, inner, x).found if layers is None else features(model, list(layers))(x)
    return {name: output.numpy() for name, output in found.items()}
