"""Device functions, which kernels call: written as any function, or made of text.

    @device
    def twice(x):
        return x + x

Numba compiles one once for the types of its arguments, whichever kernels call it, and NVIDIA's compiler puts it in the
place of each call: the PTX holds none. (Numba's own inlining, inline="always", copies a function's statements into each
caller and looks for their types there: a kernel in tiles took three times as long to compile.)
"""

import linecache
from collections.abc import Callable, Sequence
from typing import Any

from numba.cuda.compiler import compile_cuda
from numba.cuda.dispatcher import CUDADispatcher

#: What variants are compiled for at least. Numba's part is done for it once and for all; NVIDIA's compiler, which comes
#: behind, is told which GPU the PTX is for.
OLDEST = (7, 0)


def lower(function: Callable[..., Any], arguments: tuple[Any, ...], result: Any, *, inlined: bool) -> Any:
    """Numba's part of the compilation, from Python to LLVM's intermediate code. result: its type, None to find it."""
    return compile_cuda(function, result, arguments, forceinline=inlined, nvvm_options={"opt": 3}, cc=OLDEST)


class device(CUDADispatcher):
    """A device function. Numba's own asks the driver for the GPU before it is compiled; this one needs no driver."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, {"device": True})

    def compile_device(self, args: tuple[Any, ...], return_type: Any = None) -> Any:
        if args not in self.overloads:
            made = lower(self.py_func, args, return_type, inlined=True)
            self.overloads[args] = made
            made.target_context.insert_user_function(made.entry_point, made.fndesc, [made.library])
        return self.overloads[args]


def define(name: str, arguments: str, lines: list[str], **space: Any) -> Callable[..., Any]:
    """A device function of this text, which sees the names in `space`. Its text stays with it, as `source`: for whoever
    reads it, for error messages, and for the cache of compiled kernels."""
    source = "\n    ".join([f"def {name}({arguments}):", *lines]) + "\n"
    file = f"<{name} of {space.get('real', 'any number')}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space["__name__"] = __name__
    exec(compile(source, file, "exec"), space)  # noqa: S102 - our own text
    space[name].source = source
    return device(space[name])


def horner(variable: str, coefficients: Sequence[float]) -> str:
    """The text of a polynomial: coefficients[0] + variable * (coefficients[1] + ..."""
    *others, last = coefficients
    text = f"real({last!r})"
    for coefficient in reversed(others):
        text = f"real({coefficient!r}) + {variable} * ({text})"
    return text
