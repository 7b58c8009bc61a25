"""Which kernels make a convolution: those of depthwise ones where each group has one channel, else implicit GEMM."""

from collections.abc import Callable
from typing import Any

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

    def launch_it(*arguments: Any, kept: Any = None) -> None:
        """kept: nothing is prepared of the weights here."""
        rule(*arguments)

    return algorithm, launch_it


def _rule(name: str, channels_of: int) -> Callable[..., None]:
    """What launches a contract's kernel by itself. channels_of: which argument is x, or of its shape."""
    groups_at = {"conv2d_forward": -3}.get(name, -1)

    def run(*arguments: Any) -> None:
        _, launch_it = choose(name, {"C": arguments[channels_of].shape[3]}, {"groups": arguments[groups_at]})
        launch_it(*arguments)

    return run


CONTRACTS = {"conv2d_forward": _rule("conv2d_forward", 0), "conv2d_input_grad": _rule("conv2d_input_grad", 2),
             "conv2d_weight_grad": _rule("conv2d_weight_grad", 0)}
