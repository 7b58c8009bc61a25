"""Device functions from text."""

import linecache
from collections.abc import Callable, Sequence
from typing import Any

from numba import njit


def define(name: str, arguments: str, lines: list[str], **space: Any) -> Callable[..., Any]:
    """A device function of this text, which sees the names in `space`; inlined where it is called. Its text stays with
    it, as `source`: for whoever reads it, for error messages, and for the cache of compiled kernels."""
    source = "\n    ".join([f"def {name}({arguments}):", *lines]) + "\n"
    file = f"<{name} of {space.get('real', 'any number')}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space["__name__"] = __name__
    exec(compile(source, file, "exec"), space)  # noqa: S102 - our own text
    space[name].source = source
    return njit(inline="always")(space[name])


def horner(variable: str, coefficients: Sequence[float]) -> str:
    """The text of a polynomial: coefficients[0] + variable * (coefficients[1] + ..."""
    *others, last = coefficients
    text = f"real({last!r})"
    for coefficient in reversed(others):
        text = f"real({coefficient!r}) + {variable} * ({text})"
    return text
