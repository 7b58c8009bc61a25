"""Which kernels make a convolution: those of depthwise ones where each group has one channel, else implicit GEMM."""

from collections.abc import Callable
from typing import Any

from .. import contracts
from . import conv_depthwise, conv_gather, conv_weight

#: The launch rules, by contract and algorithm.
RULES: dict[str, dict[str, Callable[..., None]]] = {
    "conv2d_forward": {"gemm": conv_gather.forward, "depthwise": conv_depthwise.forward},
    "conv2d_input_grad": {"gemm": conv_gather.input_grad, "depthwise": conv_depthwise.input_grad},
    "conv2d_weight_grad": {"gemm": conv_weight.weight_grad, "depthwise": conv_depthwise.weight_grad},
}


def choose(name: str, sizes: dict[str, int], params: dict[str, Any]) -> tuple[str, Callable[..., None]]:
    """The algorithm for a contract's sizes and params, and what launches it, called as the contract says."""
    algorithm = "depthwise" if 1 < params["groups"] == sizes["C"] else "gemm"
    rule = RULES[name][algorithm]

    def run(*arguments: Any, kept: Any = None) -> None:
        """kept: nothing is prepared of the weights here."""
        rule(*arguments)

    return algorithm, run


def _by_sizes(name: str) -> Callable[..., None]:
    """What chooses and launches at once."""
    contract = contracts.CONTRACTS[name]
    arrays = [argument.name for argument in contract.inputs + contract.outputs]
    x = arrays.index("dx" if "dx" in arrays else "x")

    def run(*arguments: Any) -> None:
        params = dict(zip(contract.params, arguments[len(arrays):], strict=True))
        choose(name, {"C": arguments[x].shape[3]}, params)[1](*arguments)

    return run


CONTRACTS = {name: _by_sizes(name) for name in RULES}
