"""Formulas as device functions: for the elementwise kernels, and for those that apply an activation to what they store.

    def scale(real, name):
        activate = activation(name, real)

        def scale(x, y, factor, n):
            i = position()
            if i < n:
                y[i] = activate(x[i] * factor)
        return scale

Each is made once from its contract's formula, as text that is kept with it (`source`), and inlined where it is called.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from ..contracts import CONTRACTS
from ..formula import to_numba
from .define import define
from .functions import functions


@cache
def activation(name: str, real: Any) -> Callable[..., Any]:
    """The function x -> y of the activation called `name`, of numbers of type `real`; of "", x itself."""
    if not name:
        return define("nothing", "x", ["return x"])
    return define(f"{name}_of", "x", [f"return {to_numba(CONTRACTS[name].formula)}"], real=real, **functions(real))


@cache
def activation_grad(name: str, real: Any) -> Callable[..., Any]:
    """The function (g, x) -> the gradient of x, from g, the gradient of the activation's value; of "", g itself."""
    if not name:
        return define("nothing_grad", "g, x", ["return g"])
    contract = CONTRACTS[f"{name}_grad"]
    value = [f"y = {to_numba(CONTRACTS[name].formula)}"] if contract.inputs[1].name == "y" else []
    return define(f"{contract.name}_of", "g, x", [*value, f"return {to_numba(contract.formula)}"],
                  real=real, **functions(real))


@cache
def formula(name: str, real: Any) -> Callable[..., Any]:
    """The formula of an elementwise contract as a function of its inputs, then of PARAMS numbers, its params first."""
    contract = CONTRACTS[name]
    names = [*(argument.name for argument in contract.inputs), *contract.params]
    names += [f"unused{i}" for i in range(PARAMS - len(contract.params))]
    return define(f"{name}_of", ", ".join(names), [f"return {to_numba(contract.formula)}"],
                  real=real, **functions(real))


#: Most params of a formula.
PARAMS = 4
