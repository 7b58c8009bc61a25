"""What each layer makes of a picture."""

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import numpy as np

from ..nn import Module, evaluating
from ..tensor import Tensor


def activations(model: Module, x: Tensor, layers: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The outputs of layers, by dotted name in the order they ran (Zeiler & Fergus 2014 show what to read in them).

    x: a batch of inputs. layers: names as in `model.named_modules()`; all innermost layers unless given. The model runs
    in eval mode and is left as it was. Returns arrays of the layers' own shapes, pictures as (N, h, w, C).
    """
    inner = [name for name, module in model.named_modules() if name and not list(module.children())]
    names = inner if layers is None else list(layers)
    found: dict[str, np.ndarray] = {}

    def keep(name: str) -> Any:
        def hook(module: Module, inputs: Any, output: Any) -> None:
            found[name] = output.numpy()

        return hook

    with ExitStack() as stack, evaluating(model):
        for name in names:
            stack.enter_context(model.get_submodule(name).register_forward_hook(keep(name)))
        model(x)
    return found
