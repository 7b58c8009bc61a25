"""Starting weights of whole networks."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from .. import nn

Builder = Callable[..., nn.Module]


def start_by_fan_out(linear_std: float | None = None) -> Callable[[Builder], Builder]:
    """Decorator for a function that builds a model: draw the starting weights of its convolutions and linear layers.

    Convolutions: normal with standard deviation sqrt(2 / fan_out), so that gradients keep their size on the way back
    through ReLUs (He et al. 2015, "Delving deep into rectifiers", equation 14). Linear: normal with standard deviation
    linear_std. The biases of both: 0. If linear_std is None, Linear layers start as they do by themselves; norms do.
    """

    def decorate(build: Builder) -> Builder:
        @wraps(build)
        def started(*args: Any, **options: Any) -> nn.Module:
            with nn.init.undrawn():  # each layer's own start would be drawn for nothing
                model = build(*args, **options)
            for module in model.modules():
                if isinstance(module, nn.Linear) and linear_std is None:
                    module.reset_parameters()
                elif isinstance(module, nn.Conv2d | nn.Linear):
                    _start(module, linear_std)
            return model

        return started

    return decorate


def _start(module: Any, linear_std: float | None) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    else:
        nn.init.normal_(module.weight, 0, linear_std or 0.0)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
