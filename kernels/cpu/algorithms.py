"""Which algorithm a convolution uses: a matter of its shape, never of a measurement at run time."""

from collections.abc import Mapping
from typing import Any


def choose(contract_name: str, sizes: Mapping[str, int], params: Mapping[str, Any]) -> str:
    """The algorithm for a kernel of the conv family, given its contract's sizes and parameters.

    "depthwise" where each of several channels has one filter of its own, else "direct", which can do every shape.
    """
    if sizes["C"] == sizes["K"] == params["groups"] > 1:
        return "depthwise"
    return "direct"
