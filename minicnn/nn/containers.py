"""Modules made of modules: Sequential, ModuleList."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Self

from ..ops.arguments import is_int
from .fuse import run
from .module import Module, layer


class Container(Module):
    """Modules in a row, named "0", "1", ... or as a mapping names them."""

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, index: Any) -> Any:
        """One module by its place, or a container of several by a slice, under the names they have here."""
        if isinstance(index, slice):
            part = type(self).__new__(type(self))
            Container.__init__(part)
            part.training = self.training
            for name, module in list(self._modules.items())[index]:
                part.add_module(name if isinstance(self, Sequential) else str(len(part)), module)
            return part
        return self._modules[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(index), module)

    def append(self, module: Module) -> Self:
        """Add a module at the end, under the first number that is free."""
        self.add_module(next(name for name in map(str, count(len(self))) if name not in self._modules), module)
        return self

    def _name(self, index: Any) -> str:
        if not is_int(index) or not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__}: index must be an int from {-len(self)} to {len(self) - 1}, got "
                             f"{index!r}")
        return list(self._modules)[index]


@layer
class Sequential(Container):
    """Calls its modules one after the other, each with what the one before it returned. Layers that fuse.py knows are
    computed together, which gives the same: their own forward is not called, unless `mc.fusion(False)` asks for it.

    Sequential(a, b, c), or Sequential({"name": a, ...}) with names of one's own.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 8, 3), mc.nn.ReLU(), mc.nn.Flatten(), mc.nn.Linear(6 * 6 * 8, 2))
    >>> model(mc.ones(5, 8, 8, 3)).shape
    (5, 2)
    >>> named = mc.nn.Sequential({"filters": mc.nn.Conv2d(3, 8, 3), "pool": mc.nn.MaxPool2d(2)})
    >>> list(named.state_dict()), named[:1](mc.ones(1, 8, 8, 3)).shape
    (['filters.weight', 'filters.bias'], (1, 6, 6, 8))
    """

    def __init__(self, *modules: Module | Mapping[str, Module]):
        super().__init__()
        first = modules[0] if modules else None
        named: Any = first.items() if len(modules) == 1 and isinstance(first, Mapping) else enumerate(modules)
        for name, module in named:
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: module {name} must be a Module, got {type(module).__name__}")
            self.add_module(str(name), module)

    @property
    def in_order(self) -> bool:  # type: ignore[override]
        return type(self).forward is Sequential.forward  # a subclass may do something else

    @property
    def in_a_row(self) -> list[Module] | None:  # type: ignore[override]
        return list(self._modules.values()) if self.in_order else None

    def forward(self, x: Any) -> Any:
        return run(x, *self)


@layer
class ModuleList(Container):
    """A list whose modules are registered; calling them is up to the module that holds it.

    >>> import minicnn as mc
    >>> branches = mc.nn.ModuleList(mc.nn.Conv2d(3, 4, size, padding="same") for size in (1, 3, 5))
    >>> mc.concat([branch(mc.ones(1, 8, 8, 3)) for branch in branches], dim=-1).shape
    (1, 8, 8, 12)
    >>> len(list(branches.parameters()))
    6
    """

    def __init__(self, modules: Iterable[Module] = ()):
        super().__init__()
        self.extend(modules)

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end."""
        for module in modules:
            self.append(module)
        return self
