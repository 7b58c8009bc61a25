"""Which kernels make a convolution: those of depthwise ones where each group has one channel, else implicit GEMM."""

from collections.abc import Callable
from typing import Any

from .. import contracts
from . import conv_depthwise, conv_gather, conv_weight
from .memory import DeviceArray, empty

#: The launch rules, by contract and algorithm.
RULES: dict[str, dict[str, Callable[..., None]]] = {
    "conv2d_forward": {"gemm": conv_gather.forward, "depthwise": conv_depthwise.forward},
    "conv2d_input_grad": {"gemm": conv_gather.input_grad, "depthwise": conv_depthwise.input_grad},
    "conv2d_weight_grad": {"gemm": conv_weight.weight_grad, "depthwise": conv_depthwise.weight_grad},
}


def choose(name: str, sizes: dict[str, int], params: dict[str, Any]) -> tuple[str, Callable[..., None]]:
    """The algorithm for a contract's sizes and params, and what launches it, called as the contract says."""
    if name == "conv2d_depthwise":
        return "direct", depthwise_behind
    algorithm = "depthwise" if 1 < params["groups"] == sizes["C"] else "gemm"
    rule = RULES[name][algorithm]

    def run(*arguments: Any, kept: Any = None) -> None:
        """kept: nothing is prepared of the weights here."""
        rule(*arguments)

    return algorithm, run


def depthwise_behind(x: DeviceArray, w: DeviceArray, bias: DeviceArray | None, filters: DeviceArray,
                     shift: DeviceArray | None, y: DeviceArray, stride: Any, padding: Any, dilation: Any, low: float,
                     high: float, deep_stride: Any, deep_padding: Any, deep_dilation: Any, deep_low: float,
                     deep_high: float, kept: Any = None) -> None:
    """The contract conv2d_depthwise: one launch after the other. kept: as above."""
    moves = {"stride": stride, "padding": padding, "dilation": dilation}
    size = contracts.conv2d_outputs(x.shape[1], x.shape[2], w.shape[0], w.shape[1], moves)
    wide = empty((x.shape[0], *size, w.shape[3]), x.dtype, x.device)
    conv_gather.forward(x, w, bias, None, wide, stride, padding, dilation, 1, low, high)
    conv_depthwise.forward(wide, filters, shift, None, y, deep_stride, deep_padding, deep_dilation, w.shape[3],
                           deep_low, deep_high)


def _by_sizes(name: str) -> Callable[..., None]:
    """What chooses and launches at once."""
    contract = contracts.CONTRACTS[name]
    arrays = [argument.name for argument in contract.inputs + contract.outputs]
    x = arrays.index("dx" if "dx" in arrays else "x")

    def run(*arguments: Any) -> None:
        params = dict(zip(contract.params, arguments[len(arrays):], strict=True))
        choose(name, {"C": arguments[x].shape[3]}, params)[1](*arguments)

    return run


LAUNCHES = {name: _by_sizes(name) for name in RULES} | {"conv2d_depthwise": depthwise_behind}
