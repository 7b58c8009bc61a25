"""What each layer makes of pictures: its outputs, its filters, and those of them that never speak."""

from collections.abc import Iterable

import numpy as np

from ..nn import Module
from ..nn.conv import Convolution
from ..nn.features import run_until
from ..ops.activation import Rectifier
from ..tensor import Tensor
from .layers import layers_that_run
from .looking import Looking, Progress, named


def activations(model: Module, x: Tensor | np.ndarray, layers: str | Iterable[str] | None = None, *,
                batch_size: int = 32, progress: Progress | None = None) -> dict[str, np.ndarray]:
    """The outputs of layers, by dotted name in the order they ran (Zeiler & Fergus 2013 show what to read in them).

    x: a batch of inputs. layers: names as in `nn.features`, whose order the result then has; unless given all innermost
    layers that run and give a Tensor. The model runs in eval mode and is left as it was. Of a layer that runs twice,
    the first output. batch_size, progress: as for `saliency`. Returns arrays of the layers' own shapes, pictures as
    (N, h, w, C), copies. ValueError or TypeError for a layer that isn't there, doesn't run or gives no Tensor.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 8, 3), mc.nn.ReLU(), mc.nn.MaxPool2d(2))
    >>> found = mc.vis.activations(model, mc.ones(1, 10, 10, 3))
    >>> {name: output.shape for name, output in found.items()}
    {'0': (1, 8, 8, 8), '1': (1, 8, 8, 8), '2': (1, 4, 4, 8)}
    """
    found: dict[str, list[np.ndarray]] = {}
    with Looking("activations", model, x, batch_size=batch_size, progress=progress) as look:
        names = _innermost(look) if layers is None else [layers] if isinstance(layers, str) else list(layers)
        for rows in look.batches(len(look.x)):
            for name, output in look.run_until(names, look.tensor(look.x[rows])).items():
                if len(rows) < len(look.x) and output.shape[:1] != rows.shape:
                    raise ValueError(f"activations: layer {name!r} gives shape {output.shape} for {len(rows)} inputs: "
                                     "expected something for each, or all in one batch, by batch_size")
                found.setdefault(name, []).append(output.numpy().copy())
    return {name: outputs[0] if len(outputs) == 1 else np.concatenate(outputs) for name, outputs in found.items()}


def _innermost(look: Looking) -> list[str]:
    """The layers without any inside that run and give a Tensor, in the order they ran."""
    inner = [name for name, module in look.model.named_modules() if not list(module.children())]
    found = run_until(look.model, inner, look.tensor(look.x[:1])).found
    return [name for name, output in found.items() if isinstance(output, Tensor)]


def dead_share(model: Module, x: Tensor | np.ndarray, layers: str | Iterable[str] | None = None, *,
               batch_size: int = 32, progress: Progress | None = None) -> dict[str, float]:
    """The share of each layer's channels that are above 0 at no place of any of the pictures, by dotted name. Behind a
    ReLU such filters add nothing, and while it stays so they don't learn.

    x: pictures, better hundreds than one. layers: dotted names; unless given, all whose output comes out of a ReLU or
    ReLU6 and that run once in a pass, in that order.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Linear(2, 4), mc.nn.ReLU())
    >>> _ = model[0].bias.detach().copy_([1.0, 1.0, 1.0, -100.0])
    >>> mc.vis.dead_share(model, mc.zeros(8, 2))
    {'1': 0.25}
    """
    with Looking("dead_share", model, x, batch_size=batch_size, progress=progress) as look:
        names = [layers] if isinstance(layers, str) else _rectified(look) if layers is None else list(layers)
        if not names:
            raise ValueError(f"dead_share: {type(model).__name__} has no layer that ends in a ReLU; name the layers")
        highest: dict[str, np.ndarray] = {}
        for rows in look.batches(len(look.x)):
            for name, output in look.run_until(names, look.tensor(look.x[rows])).items():
                values = output.numpy()
                values = values.reshape(-1, values.shape[-1]).max(axis=0)
                highest[name] = np.maximum(values, highest.get(name, values))
    return {name: float((highest[name] <= 0).mean()) for name in names}


def _rectified(look: Looking) -> list[str]:
    """The layers whose output a relu made; of a block that ends in such a layer, that layer only."""
    names: dict[int, str] = {}
    for name, _, output in layers_that_run(look):
        if isinstance(output.entry, Rectifier):
            names.setdefault(id(output), name)
    return list(names.values())


def filters(model: Module, layer: str | None = None) -> np.ndarray:
    """The filters of a convolution, each as a picture: (out_channels, kH, kW, in_channels / groups), a copy.

    layer: a dotted name; the first convolution unless given, whose filters for RGB can be looked at as they are. Of a
    transposed one too, a filter is what the inputs at a place add to one output channel around it.

    >>> import minicnn as mc
    >>> mc.vis.filters(mc.models.create("smile")).shape
    (16, 5, 5, 3)
    """
    if not isinstance(model, Module):
        raise TypeError(f"filters: model must be a Module, got {type(model).__name__}")
    if layer is None:
        found = [module for module in model.modules() if isinstance(module, Convolution)]
        if not found:
            raise ValueError(f"filters: {type(model).__name__} has no convolution")
        wanted: Module = found[0]
    else:
        wanted = named("filters", model, layer)
        if not isinstance(wanted, Convolution):
            raise TypeError(f"filters: layer {layer!r} is a {type(wanted).__name__}, expected a convolution")
    assert isinstance(wanted, Convolution)
    weight = wanted.weight.numpy()
    if wanted.transposed:  # (kH, kW, out_channels / groups, in_channels), both by groups
        weight = weight.reshape(*weight.shape[:-1], wanted.groups, -1)
        return np.moveaxis(weight, (-2, -3), (0, 1)).reshape(wanted.out_channels, *weight.shape[:-3], -1)
    return np.moveaxis(weight, -1, 0).copy()
