"""Which layers a model has to look at: those that run for a picture, and the last convolution among them."""

from contextlib import ExitStack
from typing import Any, NamedTuple

from ..nn import Module
from ..nn.conv import Convolution
from ..nn.local import Local
from ..ops.activation import Activation
from ..tape import enable_grad
from ..tensor import Tensor
from .looking import Looking

CONVOLUTIONS = (Convolution, Local)  # all that slide filters, or one filter for each place, over a picture


class Ran(NamedTuple):
    """A layer that gave a Tensor: its dotted name, and what it gave, with the tape entry that made it."""

    name: str
    module: Module
    output: Tensor


def layers_that_run(look: Looking) -> list[Ran]:
    """The layers in the order in which they are done, inner ones before the blocks around them, for the first picture.
    One that runs several times in a pass is left out: its name doesn't say which output is meant."""
    found: list[Ran] = []
    times: dict[str, int] = {}

    def hook_for(name: str) -> Any:
        def hook(module: Module, inputs: Any, output: Any) -> None:
            times[name] = times.get(name, 0) + 1
            if isinstance(output, Tensor):
                found.append(Ran(name, module, output))

        return hook

    with ExitStack() as hooks, enable_grad():
        for name, module in look.model.named_modules():
            if name:
                hooks.enter_context(module.register_forward_hook(hook_for(name)))  # that keeps it from being fused too
        look.model(look.tensor(look.x[:1], requires_grad=True))
    return [ran for ran in found if times[ran.name] == 1]


def last_convolution(look: Looking) -> str:
    """The layer that class activation maps are drawn for unless one is named.

    The last convolution that runs and whose output has more than one place, with what belongs to it: the largest block
    around it that gives a picture of the same size; if there is none its activation, a norm or the sum at the end of a
    residual block in between. That is what people take by hand: a ResNet's last stage, an Inception's last block, the
    ReLU behind a VGG's last convolution.
    """
    ran = layers_that_run(look)
    places = [i for i, (_, module, output) in enumerate(ran)
              if isinstance(module, CONVOLUTIONS) and output.ndim > 2 and max(output.shape[1:-1]) > 1]
    if not places:
        raise ValueError(f"{look.name}: {type(look.model).__name__} has no convolution that runs once in a pass; "
                         "name a layer")
    last = ran[places[-1]]
    behind = [r for r in ran[places[-1] + 1 :] if r.output.shape[:-1] == last.output.shape[:-1]]
    blocks = [r.name for r in behind if last.name.startswith(f"{r.name}.")]
    activations = [r.name for r in behind if isinstance(r.output.entry, Activation)]
    return blocks[-1] if blocks else activations[0] if activations else last.name


def named_or_last(look: Looking, layer: str | None) -> str:
    """The layer that is asked for, if there is one of that name; the last convolution if it is None."""
    if layer is None:
        return last_convolution(look)
    look.layer(layer)
    return layer
