"""The models by name.

A model's name and its options, `{"model": "smile_detector", "options": {"dropout": 0.1}}`, say how to build it again.
`create` keeps them on the model as `config`; `minicnn.save` writes them beside the weights.
"""

import difflib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from ..nn import Module
from .options import checked

Builder = Callable[..., Module]


class Entry(NamedTuple):
    """A registered model: its name, further names, and the function that builds it."""

    name: str
    aliases: tuple[str, ...]
    build: Builder

    @property
    def title(self) -> str:
        """The first line of the builder's docstring."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0]

    @property
    def options(self) -> list[str]:
        """What `create` takes beside the name."""
        return list(inspect.signature(self.build).parameters)


_entries: dict[str, Entry] = {}
_names: dict[str, str] = {}  # every name and alias -> the name


def register(name: str, aliases: tuple[str, ...] = ()) -> Callable[[Builder], Builder]:
    """Decorator: make a function that builds a model known under `name` and `aliases`.

    The function takes options as keywords, all with defaults that JSON can write down, and returns a Module with an
    attribute `input_shape`, the shape of one input without the batch: (H, W, C) for pictures.

    >>> import minicnn as mc
    >>> @mc.models.register("resnet18")  # so it is written, but under a name that is free
    ... def one_layer(classes: int = 10) -> mc.nn.Module:
    ...     model = mc.nn.Sequential(mc.nn.Flatten(), mc.nn.Linear(784, classes))
    ...     model.input_shape = (28, 28, 1)
    ...     return model
    Traceback (most recent call last):
    ...
    ValueError: register: the name 'resnet18' belongs to 'resnet18' already
    """
    def add(build: Builder) -> Builder:
        for known in (name, *aliases):
            if known in _names:
                raise ValueError(f"register: the name {known!r} belongs to {_names[known]!r} already")
            _names[known] = name
        _entries[name] = Entry(name, aliases, build)
        return build

    return add


def find(name: str) -> Entry:
    """The entry of a name or alias; ValueError with suggestions if there is none."""
    if name in _names:
        return _entries[_names[name]]
    near = list(dict.fromkeys(_names[n] for n in difflib.get_close_matches(str(name), _names, n=3)))
    hint = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(list_models())}"
    raise ValueError(f"no model is called {name!r}: {hint}")


def create(name: str, **options: Any) -> Module:
    """Build a model by its name or an alias, with fresh weights from the random stream (see `manual_seed`).

    The model has two attributes that others don't: `config`, how to build it again (a training adds the names of the
    "classes"), and `input_shape`, the shape of one input. ValueError for an unknown name, with suggestions, and for an
    option that makes no sense; TypeError for one that the model doesn't have.

    >>> import minicnn as mc
    >>> mc.models.create("smile_detector").input_shape
    (64, 64, 3)
    """
    entry = find(name)
    unknown = [option for option in options if option not in entry.options]
    if unknown:
        raise TypeError(f"{entry.name} has no option {', '.join(map(repr, unknown))}; expected "
                        f"{', '.join(entry.options) or 'none'}")
    options = checked(entry.name, entry.build, options)
    model = entry.build(**options)
    model.config = {"model": entry.name, "options": options}
    return model


def list_models() -> list[str]:
    """The names of all models, in alphabetical order (aliases left out).

    >>> import minicnn as mc
    >>> "resnet18" in mc.models.list_models()
    True
    """
    return sorted(_entries)
