"""Running a model for its outputs rather than to train it."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..tape import no_grad
from .module import Module


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """`with evaluating(model):` eval mode and nothing recorded; then each module is in the mode it had.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Linear(3, 2), mc.nn.Dropout())
    >>> with mc.nn.evaluating(model):
    ...     model.training, model(mc.ones(1, 3)).requires_grad
    (False, False)
    >>> model.training
    True
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
