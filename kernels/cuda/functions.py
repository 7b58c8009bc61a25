"""The functions that formulas may call, as device code for one type of numbers; named as in formula.FUNCTIONS."""

import math
from collections.abc import Callable
from typing import Any

from numba import types
from numba.cuda import libdevice

from .power import power
from .trigonometry import cosine, sine

#: The same name for both types: NVIDIA's library, within a few units in the last place, neither branching into float64
#: for float32 nor calling a function that is not inlined. Not so its sin, cos, and pow of float64: those are ours.
_SHARED: dict[str, Callable[..., Any]] = {
    "abs": abs, "exp": math.exp, "expm1": math.expm1, "log": math.log, "log1p": math.log1p, "sqrt": math.sqrt,
    "tanh": math.tanh, "erf": math.erf}


def functions(real: Any) -> dict[str, Callable[..., Any]]:
    """What a formula of numbers of type `real` may call; nothing for integers."""
    if real == types.float32:
        return _SHARED | {"cdf": libdevice.normcdff, "floor": libdevice.floorf, "ceil": libdevice.ceilf,
                          "round": libdevice.rintf, "pow": libdevice.powf, "sin": sine(real), "cos": cosine(real)}
    if real == types.float64:
        return _SHARED | {"cdf": libdevice.normcdf, "floor": libdevice.floor, "ceil": libdevice.ceil,
                          "round": libdevice.rint, "pow": power, "sin": sine(real), "cos": cosine(real)}
    return {"abs": abs}
