"""Looking at gradients, and changing them, as backward computes them."""

import weakref
from collections.abc import Callable
from typing import Any

from .tensor import Tensor, method


class HookHandle:
    """Takes a hook away again: `handle.remove()`, or leaving its `with` block. removed: called when that is done."""

    def __init__(self, hooks: list[Callable[..., Any]], hook: Callable[..., Any],
                 removed: Callable[[], None] | None = None):
        self._hooks = hooks
        self._hook: Callable[..., Any] | None = hook
        self._removed = removed

    def remove(self) -> None:
        for place, hook in enumerate(self._hooks):
            if hook is self._hook:
                del self._hooks[place]
                self._hook = None  # a second call must not take another hook of the same function
                if self._removed:
                    self._removed()
                return

    def __enter__(self) -> "HookHandle":
        return self

    def __exit__(self, *error: Any) -> None:
        self.remove()


@method
def register_hook(tensor: Tensor, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
    """Call `hook(grad)` with the tensor's whole gradient whenever it is computed; what it returns takes its place."""
    if not tensor.requires_grad:
        raise RuntimeError("register_hook: the tensor does not require a gradient")
    if tensor.entry is not None:
        tensor.entry.hooks = of_outputs = tensor.entry.hooks or {}
        hooks = of_outputs.setdefault(tensor.index, [])
    else:
        tensor._hooks = hooks = [] if tensor._hooks is None else tensor._hooks
    hooks.append(hook)
    return HookHandle(hooks, hook)


@method
def retain_grad(tensor: Tensor) -> None:
    """Keep `.grad` for a tensor that is not a leaf."""
    if not tensor.requires_grad:
        raise RuntimeError("retain_grad: the tensor does not require a gradient")
    if tensor.entry is not None:
        tensor.entry.retained = retained = tensor.entry.retained or {}
        retained[tensor.index] = weakref.ref(tensor)
