"""What a model computes on its way: the outputs of chosen layers, and of places in a forward that are marked with
`tap`. The model is cut there: once all that was asked for has come, the rest of it does not run.
"""

import threading
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, TypeVar

from .module import Module
from .names import near

T = TypeVar("T")


class Enough(BaseException):
    """Ends a run that has given all it was asked for. No Exception: a model that handles errors lets it through."""


class Run:
    """One run of a model: what is wanted of its layers and of its taps, and what has come, in that order."""

    def __init__(self, layers: Iterable[str], taps: Iterable[str]):
        self.layers, self.taps = set(layers), set(taps)
        self.passed: set[str] = set()  # all taps so far
        self.found: dict[str, Any] = {}

    def take(self, name: str, value: Any) -> None:
        """Keep what comes first under a name; raise Enough after the last of the names."""
        self.found.setdefault(name, value)
        if len(self.found) == len(self.layers) + len(self.taps):
            raise Enough(self)


class Running(threading.local):
    runs: tuple[Run, ...] = ()  # of this thread, the innermost last


_running = Running()


def tap(name: str, x: T) -> T:
    """Name an intermediate output inside a forward, for `features`: `x = nn.tap("attention", x)`. Returns x itself.

    name: a word without dots. Where nobody asks for anything, this costs no more than a function call.

    >>> import minicnn as mc
    >>> class Model(mc.nn.Module):
    ...     def forward(self, x):
    ...         return mc.nn.tap("doubled", x * 2) + 1
    >>> mc.nn.features(Model(), "doubled")(mc.ones(2)).tolist()
    [2.0, 2.0]
    """
    for run in _running.runs:  # the outermost first: what an inner one cuts off, the outer ones have seen
        run.passed.add(name)
        if name in run.taps:
            run.take(name, x)
    return x


def features(model: Module, layers: str | Iterable[str]) -> "Features":
    """A module that gives the outputs of layers of a model, and runs it no further than needed.

    layers: dotted names, as in `model.named_modules()`, or names that the model's forwards give to `tap` (the name of a
    layer comes first). For one name, calling it returns that output itself, a Tensor or whatever the layer returns;
    for several, a dict of them in the order of the names.

    >>> from minicnn import nn, ones
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
    >>> nn.features(model, "1")(ones(2, 6, 6, 3)).shape
    (2, 4, 4, 8)
    """
    return Features(model, layers)


class Features(Module):
    """The outputs of layers of a model; made by `features`, which says how.

    Its parameters are the model's own, its modes too: train(), eval() and the optimizer reach the model through it. The
    outputs are on the tape. Of a layer that runs more than once, or a name that is tapped more than once, it gives the
    first output.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential({"conv": mc.nn.Conv2d(3, 8, 3), "relu": mc.nn.ReLU(), "flat": mc.nn.Flatten()})
    >>> found = mc.nn.Features(model, ["relu", "conv"])(mc.ones(1, 6, 6, 3))
    >>> {name: output.shape for name, output in found.items()}
    {'relu': (1, 4, 4, 8), 'conv': (1, 4, 4, 8)}
    """

    def __init__(self, model: Module, layers: str | Iterable[str]):
        super().__init__()
        if not isinstance(model, Module):
            raise TypeError(f"features: model must be a Module, got {type(model).__name__}")
        self.names = (layers,) if isinstance(layers, str) else tuple(layers)
        self.single = isinstance(layers, str)
        _check_names(model, self.names)
        self.model = model

    def forward(self, *inputs: Any, **options: Any) -> Any:
        run = run_until(self.model, self.names, *inputs, **options)
        for name in self.names:
            if name not in run.found:
                known = dict(self.model.named_modules(remove_duplicate=False))
                if name in known:
                    raise RuntimeError(f"features: layer {name!r} was not called")
                raise AttributeError(f"features: {type(self.model).__name__} has no layer and passed no tap {name!r}"
                                     f"{near(name, [*known, *sorted(run.passed)])}")
        return run.found[self.names[0]] if self.single else {name: run.found[name] for name in self.names}

    def extra_repr(self) -> str:
        return ", ".join(map(repr, self.names))


def run_until(model: Module, names: Iterable[str], *inputs: Any, **options: Any) -> Run:
    """Run a model until all of `names` (see `features`) have come, or to its end."""
    wanted = tuple(names)
    _check_names(model, wanted)
    modules = dict(model.named_modules(remove_duplicate=False))
    layers = dict.fromkeys(name for name in wanted if name in modules)
    run = Run(layers, [name for name in wanted if name not in modules])

    def hook_for(name: str) -> Any:
        def hook(module: Module, inputs: Any, output: Any) -> None:
            if run in _running.runs:  # another thread may run the model too
                run.take(name, output)

        return hook

    outer = _running.runs
    with ExitStack() as hooks:
        for name in layers:
            hooks.enter_context(modules[name].register_forward_hook(hook_for(name)))
        _running.runs = (*outer, run)
        try:
            model(*inputs, **options)
        except Enough as enough:
            if enough.args[0] is not run:
                raise
        finally:
            _running.runs = outer
    return run


def _check_names(model: Module, names: tuple[str, ...]) -> None:
    """Refuse what can be neither a layer nor a tap, which has no dots; a number is a place in a Sequential."""
    if not names:
        raise ValueError("features: expected at least one layer")
    known = dict(model.named_modules(remove_duplicate=False))
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"features: the names of layers must be words, got {name!r}")
        if name not in known and ("." in name or name.isdecimal()):
            raise AttributeError(f"features: {type(model).__name__} has no layer {name!r}{near(name, known)}")
