"""Module: a piece of a network that owns its parameters. Parameter: a tensor that is trained.

What is assigned to an attribute is registered by its kind: parameters, submodules, and buffers (tensors that belong
to the state without being trained). `_parameters`, `_modules` and `_buffers` hold them by name; everything else here
walks through those three.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from ..hooks import HookHandle
from ..ops.arguments import dtype_of
from ..tape import no_grad
from ..tensor import FLOATS, Tensor, tensor
from . import state as states
from .layout import Flow
from .names import near

M = TypeVar("M", bound="type[Module]")


class Parameter(Tensor):
    """A tensor that a Module registers as its own and an optimizer trains.

    data: a tensor (whose memory it shares) or anything that `minicnn.tensor` takes (copied).

    >>> import minicnn as mc
    >>> mc.nn.Parameter([1.0, 2.0])
    tensor([1., 2.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        source = data.detach() if isinstance(data, Tensor) else tensor(data)
        super().__init__(source.array, version=source._version)
        self.requires_grad_(requires_grad)


REGISTRIES = ("_parameters", "_modules", "_buffers")


class Changes:
    """How often a module has been given another attribute, parameter, submodule, mode or hook: while the number stays,
    what was found out about any module holds (see fuse.py)."""

    count = 0


changes = Changes()


def note_change() -> None:
    changes.count += 1


class Module:
    """The base of all layers and models.

    A subclass calls `super().__init__()`, assigns parameters and submodules to attributes, and writes `forward`.
    `training` says whether it is being trained (dropout and batch norm ask).

    A layer converts its own arrays from and to other frameworks' layouts (`from_torch` and its three companions). Where
    PyTorch's weights stand behind a flattened picture, their order differs too: that is found out by `follow` and by
    the three attributes below (see nn/layout.py).

    >>> import minicnn as mc
    >>> class Scale(mc.nn.Module):
    ...     def __init__(self, channels: int):
    ...         super().__init__()
    ...         self.factors = mc.nn.Parameter(mc.ones(channels))
    ...
    ...     def forward(self, x: mc.Tensor) -> mc.Tensor:
    ...         return x * self.factors
    >>> Scale(3)(mc.ones(1, 4, 4, 3)).shape, [name for name, _ in Scale(3).named_parameters()]
    ((1, 4, 4, 3), ['factors'])
    """

    #: The features come out in the order they came in, but for what the children did, one after the other.
    in_order: bool = False
    #: Arrays whose first axis runs over the input features, one weight each.
    flat_inputs: ClassVar[tuple[str, ...]] = ()
    #: How many groups of neighbours among its `num_channels` features it normalises, 0 if it does no such thing. Behind
    #: a Flatten, PyTorch's groups are others.
    flat_groups: int = 0
    #: Submodules (by dotted name) whose inputs are a flattened picture, of so many channels; None: are none.
    torch_flatten: Mapping[str, int | None] = {}

    #: Modules, if forward does no more than call them one after the other; a matter of this module's attributes alone.
    in_a_row: "Sequence[Module] | None" = None

    training: bool

    def __init__(self) -> None:
        for registry in REGISTRIES:
            object.__setattr__(self, registry, {})
        self._transient: set[str] = set()  # buffers that are no part of the state dict
        self._forward_pre_hooks: list[Callable[..., Any]] = []
        self._forward_hooks: list[Callable[..., Any]] = []
        self.training = True

    # ------------------------------------------------------------------------------------------------ attributes

    def __setattr__(self, name: str, value: Any) -> None:
        kind = "_parameters" if isinstance(value, Parameter) else "_modules" if isinstance(value, Module) else ""
        if not kind:  # a registered attribute may be emptied, and a buffer replaced
            kind = next((r for r in REGISTRIES if name in self.__dict__.get(r, ())), "")
            if not kind:
                known = self.__dict__.get(name, changes)
                object.__setattr__(self, name, value)
                return None if known is value else note_change()
            if value is not None and not (kind == "_buffers" and isinstance(value, Tensor)):
                expected = {"_parameters": "a Parameter", "_modules": "a Module", "_buffers": "a Tensor"}[kind]
                raise TypeError(f"{type(self).__name__}.{name} must be {expected} or None, got {type(value).__name__}")
        self._register(kind, name, value)

    def _register(self, kind: str, name: str, value: Any) -> None:
        if kind not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning {name!r}")
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"{type(self).__name__}: a name must be a word without dots, got {name!r}")
        for other in REGISTRIES:
            if other != kind:
                self.__dict__[other].pop(name, None)
        self.__dict__.pop(name, None)
        self.__dict__[kind][name] = value
        note_change()

    def __getattr__(self, name: str) -> Any:
        for registry in REGISTRIES:
            if name in self.__dict__.get(registry, ()):
                return self.__dict__[registry][name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}", name=name, obj=self)

    def __delattr__(self, name: str) -> None:
        owner = next((r for r in REGISTRIES if name in self.__dict__.get(r, ())), None)
        if owner is None:
            object.__delattr__(self, name)
        else:
            del self.__dict__[owner][name]
        note_change()

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(name for registry in REGISTRIES for name in self.__dict__.get(registry, ()))]

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module without being trained; in the state dict if persistent."""
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"register_buffer: {name} must be a Tensor or None, got {type(tensor).__name__}")
        self._register_new("_buffers", name, tensor)
        (self._transient.discard if persistent else self._transient.add)(name)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Add a parameter by name; None reserves the name for one that is absent."""
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"register_parameter: {name} must be a Parameter or None, got {type(parameter).__name__}")
        self._register_new("_parameters", name, parameter)

    def add_module(self, name: str, module: "Module | None") -> None:
        """Add a submodule by name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module: {name} must be a Module, got {type(module).__name__}")
        self._register_new("_modules", name, module)

    def _register_new(self, kind: str, name: str, value: Any) -> None:
        if name not in self.__dict__.get(kind, ()) and isinstance(name, str) and hasattr(self, name):
            raise KeyError(f"{type(self).__name__} has an attribute {name!r} already")
        self._register(kind, name, value)

    # --------------------------------------------------------------------------------------------------- running

    def forward(self, *inputs: Any, **options: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        for hook in tuple(self._forward_pre_hooks):
            changed = hook(self, inputs)
            if changed is not None:
                inputs = changed if isinstance(changed, tuple) else (changed,)
        output = self.forward(*inputs, **options)
        for hook in tuple(self._forward_hooks):
            changed = hook(self, inputs, output)
            output = output if changed is None else changed
        return output

    def register_forward_pre_hook(self, hook: Callable[["Module", tuple[Any, ...]], Any]) -> HookHandle:
        """Call `hook(module, inputs)` before each forward; what it returns takes the place of the inputs."""
        return _with_hook(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[["Module", tuple[Any, ...], Any], Any]) -> HookHandle:
        """Call `hook(module, inputs, output)` after each forward; what it returns takes the place of the output.

        The handle that comes back removes the hook again: handle.remove(), or at the end of its `with` block.
        """
        return _with_hook(self._forward_hooks, hook)

    # ---------------------------------------------------------------------------------------------- walking through

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> "Iterator[tuple[str, Module]]":
        """This module and all below it with dotted names, parents first; what is shared comes once."""
        seen: set[int] = set()

        def walk(module: Module, path: str) -> Iterator[tuple[str, Module]]:
            if remove_duplicate and id(module) in seen:
                return
            seen.add(id(module))
            yield path, module
            for name, child in module._modules.items():
                if child is not None:
                    yield from walk(child, f"{path}.{name}" if path else name)

        return walk(self, prefix)

    def modules(self) -> "Iterator[Module]":
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> "Iterator[tuple[str, Module]]":
        """The modules directly below this one; what is shared comes once."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> "Iterator[Module]":
        """The modules directly below this one."""
        return (child for _, child in self.named_children())

    def _named(self, registry: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, value in module.__dict__[registry].items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """All parameters with dotted names; a shared one comes once, under its first name."""
        return self._named("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """All buffers with dotted names, each once."""
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, name: str) -> "Module":
        """The module with that dotted name; "" is this one."""
        names = dict(self.named_modules(remove_duplicate=False))
        if name not in names:
            raise AttributeError(f"{type(self).__name__} has no submodule {name!r}{near(name, names)}")
        return names[name]

    # ---------------------------------------------------------------------------------------------------- changing

    def train(self, mode: bool = True) -> Self:
        """Set training mode here and below."""
        if not isinstance(mode, bool):
            raise TypeError(f"train: mode must be True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Leave training mode: dropout does nothing, batch norm uses its running statistics."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Ask for gradients of all parameters, or no longer."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with 0."""
        for parameter in self.parameters():
            clear_grad(parameter, set_to_none)

    def apply(self, function: Callable[["Module"], Any]) -> Self:
        """Call `function` with every module, children before parents."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def to(self, target: Any) -> Self:
        """Move to a device ("cpu", "cuda"), or cast to float32 or float64 all parameters, buffers and gradients that
        are floats. Parameters stay the same objects. Make optimizers afterwards: theirs is the state of the old
        dtype, on the old device."""
        dtype = dtype_of(target)
        if dtype is not None and dtype not in FLOATS:
            raise TypeError(f"to: modules have float32 or float64 parameters, got {dtype}")
        changed: list[tuple[Tensor, Tensor]] = []
        with no_grad():
            for own in [*self.parameters(), *self.buffers()]:
                for one in (own, own.grad):
                    if one is not None and (dtype is None or one.dtype in FLOATS):
                        changed.append((one, one.detach().to(target)))
        for one, new in changed:
            if new.array is not one.array:
                one.array = new.array
                one.touch()
        return self

    # ------------------------------------------------------------------------------------------------------- state

    def state_dict(self, layout: str = "minicnn",
                   flatten: Mapping[str, int | None] | None = None) -> dict[str, np.ndarray]:
        """Parameters and buffers by dotted name, as copies.

        layout: "torch" or "keras" give the arrays as those frameworks lay them out, under our names; flatten: as for
        load_state_dict, whose inverse this is.
        """
        return states.dump(self, layout, flatten)

    def load_state_dict(self, state: Mapping[str, Any], layout: str = "minicnn", strict: bool = True,
                        flatten: Mapping[str, int | None] | None = None) -> states.LoadResult:
        """Overwrite parameters and buffers with those of `state`: NumPy arrays (or what NumPy can read) by dotted name.

        layout: whose layout the arrays have, "minicnn", "torch" or "keras". Names are ours in each case.
        strict: every name must be there and no other. If False they are returned: (missing_keys, unexpected_keys).
        flatten: for "torch", whose Flatten reads a picture channels first. {"fc1": 64} says that the inputs of fc1
            are a flattened picture of 64 channels, {"fc1": None} that they are not. Needn't be said where the layers
            before it tell: in a Sequential, and where fc1 has as many inputs as the layer before it has channels.
            Where neither helps - a Flatten behind an unknown layer, or a Linear in a hand-written module whose number
            of inputs is a multiple of some channel count before it - it must be said.

        Shapes, dtypes and names are all checked before anything changes; ValueError lists all that is wrong.
        """
        return states.load(self, state, layout, strict, flatten)

    def from_torch(self, name: str, array: np.ndarray) -> np.ndarray:
        """One of this layer's own arrays as PyTorch lays it out, in our layout."""
        return array

    def to_torch(self, name: str, array: np.ndarray) -> np.ndarray:
        """The inverse of from_torch."""
        return array

    def from_keras(self, name: str, array: np.ndarray) -> np.ndarray:
        """One of this layer's own arrays as Keras lays it out, in our layout."""
        return array

    def to_keras(self, name: str, array: np.ndarray) -> np.ndarray:
        """The inverse of from_keras."""
        return array

    def follow(self, flow: Flow) -> Flow:
        """What is known of the features behind this module, given what is known before it (see nn/layout.py).

        A module with an attribute `out_channels` gives pictures of so many channels.
        """
        channels = getattr(self, "out_channels", None)
        if isinstance(channels, int):
            return flow.of_picture(channels)
        return flow if self.in_order else flow._replace(certain=False)

    # -------------------------------------------------------------------------------------------------------- showing

    def extra_repr(self) -> str:
        """What stands between the parentheses of this layer's repr."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        below = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self._modules.items()]
        if not below:
            return f"{type(self).__name__}({extra})"
        return f"{type(self).__name__}(\n  " + "\n  ".join([extra, *below] if extra else below) + "\n)"


def _with_hook(hooks: list[Callable[..., Any]], hook: Callable[..., Any]) -> HookHandle:
    hooks.append(hook)
    note_change()
    return HookHandle(hooks, hook, note_change)


def clear_grad(tensor: Tensor, set_to_none: bool) -> None:
    """Drop a gradient, or fill it with 0."""
    if set_to_none or tensor.grad is None:
        tensor.grad = None
    else:
        with no_grad():
            tensor.grad = tensor.grad.detach().zero_()


def layer(cls: M) -> M:
    """Mark a public layer: it joins its file's `__all__`, from where `minicnn.nn` gathers it."""
    vars(sys.modules[cls.__module__]).setdefault("__all__", []).append(cls.__name__)
    return cls
