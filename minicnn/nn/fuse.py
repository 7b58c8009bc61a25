"""Fusion: which layers may run as one op.

A run of layers can be computed in one pass over memory where each layer alone would take one. This file holds the
switch that allows it; no fused op exists yet, so every layer runs by itself either way.
"""

from typing import Any

_enabled = True


class fusion:  # noqa: N801 - called like a function, as no_grad is
    """Allow runs of layers to be computed as one op, or forbid it: `fusion(False)`, or `with fusion(False):` for a
    while.

    >>> import minicnn as mc
    >>> with mc.fusion(False):
    ...     y = mc.nn.Sequential(mc.nn.ReLU())(mc.ones(2, 3))
    """

    def __init__(self, enabled: bool):
        global _enabled
        if not isinstance(enabled, bool):
            raise TypeError(f"fusion: expected True or False, got {enabled!r}")
        self._before, _enabled = _enabled, enabled

    def __enter__(self) -> "fusion":
        return self

    def __exit__(self, *error: Any) -> None:
        global _enabled
        _enabled = self._before


def fusion_enabled() -> bool:
    """Whether layers may run as one op."""
    return _enabled


def run(x: Any, *modules: Any, add: Any = None, activation: Any = None) -> Any:
    """Call modules one after the other on x, then add a tensor of the same shape, then call an activation.

    What a block with a shortcut does at its end: `run(y, self.conv2, self.bn2, add=x, activation=self.relu)`.
    """
    for module in modules:
        x = module(x)
    if add is not None:
        x = x + add
    return x if activation is None else activation(x)
