"""Convolution layers, one by one, against PyTorch (channels_last), and Winograd's algorithm against the direct one.

    python -m benchmarks.conv_layers [--layers cifar,resnet] [--ops forward] [--seconds 2] [--threads 2]

For each layer the forward pass, the gradient by the picture and the gradient by the filters, by the algorithm that
"auto" chooses. Before anything is timed all must agree.
"""

import argparse
import statistics
from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

import numpy as np

import minicnn as mc
from minicnn.kernels import cpu
from minicnn.kernels.cpu.algorithms import choose

from .pairs import Pairing, alternate


class Layer(NamedTuple):
    """A batch of square pictures, size x size, and square filters; the padding is the same all around."""

    name: str
    batch: int
    size: int
    channels: int
    filters: int
    taps: int
    padding: int
    stride: int = 1
    groups: int = 1

    @property
    def outputs(self) -> int:
        """Rows and columns of the output."""
        return (self.size + 2 * self.padding - self.taps) // self.stride + 1

    @property
    def window(self) -> dict[str, Any]:
        """Those of the kernels' parameters that all three share."""
        return {
            "stride": (self.stride,) * 2,
            "padding": (self.padding,) * 4,
            "dilation": (1, 1),
            "groups": self.groups,
        }

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes by the names that the kernels' contracts give them."""
        names = ("N", "H", "W", "P", "Q", "C", "K", "R", "S")
        pixels = (self.batch, self.size, self.size, self.outputs, self.outputs)
        return dict(zip(names, (*pixels, self.channels, self.filters, self.taps, self.taps), strict=True))


LAYERS = (
    Layer("cifar 32-32", 50, 32, 32, 32, 3, 1),
    Layer("cifar 32-64", 50, 16, 32, 64, 3, 1),
    Layer("cifar 64-64", 50, 16, 64, 64, 3, 1),
    Layer("cifar 64-128", 50, 8, 64, 128, 3, 0),
    Layer("cifar 128-128", 50, 6, 128, 128, 3, 0),
    Layer("smile 16-32", 32, 32, 16, 32, 5, 2),
    Layer("resnet first 7x7", 8, 224, 3, 64, 7, 3, 2),
    Layer("resnet 64", 8, 56, 64, 64, 3, 1),
    Layer("resnet 128", 8, 28, 128, 128, 3, 1),
    Layer("resnet 256", 8, 14, 256, 256, 3, 1),
    Layer("resnet 512", 8, 7, 512, 512, 3, 1),
    Layer("resnet 64-128 /2", 8, 56, 64, 128, 3, 1, 2),
    Layer("resnet 128-128 /2", 8, 56, 128, 128, 3, 1, 2),
    Layer("resnet 256-512 /2", 8, 14, 256, 512, 3, 1, 2),
    Layer("resnet 512-512 /2", 8, 14, 512, 512, 3, 1, 2),
    Layer("shortcut 64-128 /2", 8, 56, 64, 128, 1, 0, 2),
    Layer("shortcut 1024-2048 /2", 8, 14, 1024, 2048, 1, 0, 2),
    Layer("1x1 64-256", 8, 56, 64, 256, 1, 0),
    Layer("1x1 256-64", 8, 56, 256, 64, 1, 0),
    Layer("1x1 512-128", 8, 28, 512, 128, 1, 0),
    Layer("1x1 256-1024", 8, 14, 256, 1024, 1, 0),
    Layer("1x1 1024-256", 8, 14, 1024, 256, 1, 0),
    Layer("1x1 512-2048", 8, 7, 512, 2048, 1, 0),
    Layer("1x1 2048-512", 8, 7, 2048, 512, 1, 0),
    Layer("mobilenet first 3x3", 8, 224, 3, 32, 3, 1, 2),
    Layer("mobilenet 16-96", 8, 112, 16, 96, 1, 0),
    Layer("mobilenet 144-24", 8, 56, 144, 24, 1, 0),
    Layer("mobilenet 32-192", 8, 28, 32, 192, 1, 0),
    Layer("mobilenet 384-64", 8, 14, 384, 64, 1, 0),
    Layer("depthwise 32", 8, 112, 32, 32, 3, 1, 1, 32),
    Layer("depthwise 96 /2", 8, 112, 96, 96, 3, 1, 2, 96),
    Layer("depthwise 144", 8, 56, 144, 144, 3, 1, 1, 144),
    Layer("depthwise 192", 8, 28, 192, 192, 3, 1, 1, 192),
    Layer("depthwise 384", 8, 14, 384, 384, 3, 1, 1, 384),
    Layer("depthwise 576 /2", 8, 14, 576, 576, 3, 1, 2, 576),
    Layer("depthwise 960", 8, 7, 960, 960, 3, 1, 1, 960),
)
OPS = {"forward": "conv2d_forward", "by picture": "conv2d_input_grad", "by filters": "conv2d_weight_grad"}
Ops = dict[str, Callable[[], Any]]


def arrays(layer: Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, w and dy."""
    random = np.random.default_rng(0)
    x = random.normal(size=(layer.batch, layer.size, layer.size, layer.channels))
    w = random.normal(size=(layer.taps, layer.taps, layer.channels // layer.groups, layer.filters))
    dy = random.normal(size=(layer.batch, layer.outputs, layer.outputs, layer.filters))
    return x.astype(np.float32), w.astype(np.float32), dy.astype(np.float32)


def chosen(layer: Layer, op: str) -> str:
    return choose(OPS[op], layer.sizes, layer.window, np.dtype(np.float32))


def ours(layer: Layer, x: np.ndarray, w: np.ndarray, dy: np.ndarray, algorithm: str = "auto") -> Ops:
    """The three kernels, by an algorithm; each returns its output."""
    y, dx, dw = np.empty_like(dy), np.empty_like(x), np.empty_like(w)

    def run(op: str, output: np.ndarray, *inputs: Any) -> np.ndarray:
        bounds = (-inf, inf) if op == "forward" else ()
        by = chosen(layer, op) if algorithm == "auto" else algorithm
        cpu.kernel(OPS[op])(*inputs, *layer.window.values(), *bounds, by)
        return output

    return {
        "forward": lambda: run("forward", y, x, w, None, None, y),
        "by picture": lambda: run("by picture", dx, dy, w, dx, (layer.size, layer.size)),
        "by filters": lambda: run("by filters", dw, x, dy, dw, (layer.taps, layer.taps)),
    }


def peer(layer: Layer, x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> Ops:
    """The same in PyTorch."""
    import torch

    def tensor(array: np.ndarray, *order: int) -> Any:
        return torch.from_numpy(array).permute(*order).contiguous(memory_format=torch.channels_last)

    pictures, filters, grad = tensor(x, 0, 3, 1, 2), tensor(w, 3, 2, 0, 1), tensor(dy, 0, 3, 1, 2)
    window = ([layer.stride] * 2, [layer.padding] * 2, [1, 1])

    def backward(*wanted: bool) -> Any:
        return torch.ops.aten.convolution_backward(
            grad, pictures, filters, [layer.filters], *window, False, [0, 0], layer.groups, wanted
        )

    def forward() -> Any:
        return torch.nn.functional.conv2d(pictures, filters, None, *window, layer.groups)

    return {
        "forward": lambda: forward().permute(0, 2, 3, 1),
        "by picture": lambda: backward(True, False, False)[0].permute(0, 2, 3, 1),
        "by filters": lambda: backward(False, True, False)[1].permute(2, 3, 1, 0),
    }


def short(pairing: Pairing) -> str:
    return f"{statistics.median(pairing.ratios):5.2f} ({min(pairing.other) / min(pairing.ours):.2f})"


def compare(layer: Layer, ops: list[str], seconds: float) -> None:
    """Print a line for each operation."""
    inputs = arrays(layer)
    mine, direct, theirs = ours(layer, *inputs), ours(layer, *inputs, "direct"), peer(layer, *inputs)
    for op in ops:
        result, expected, algorithm = mine[op]().copy(), theirs[op]().numpy(), chosen(layer, op)
        others = [theirs[op], direct[op]] if algorithm == "winograd" else [theirs[op]]
        for other in (result, direct[op]()):
            np.testing.assert_allclose(other, expected, rtol=0, atol=5e-5 * np.abs(expected).max())
        pairs = [alternate(mine[op], other, seconds) for other in others]
        best = min(min(pair.ours) for pair in pairs) * 1e3
        ratios = "  ".join(f"{short(pair):>12}" for pair in pairs)
        print(f"{layer.name:22} {op:10} {algorithm:9} {best:7.2f}  {ratios}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="", help="words, one of which a layer's name contains")
    parser.add_argument("--ops", default="", help=f"words, one of which the operation contains: {', '.join(OPS)}")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each pair")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    import torch

    mc.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    ops = [op for op in OPS if any(word in op for word in options.ops.split(","))]
    print("ratios of their times to ours, the median of the rounds (of the fastest of each side)\n")
    print(f"{'layer':22} {'op':10} {'algorithm':9} {'ms':>7}  {'PyTorch':>12}  {'direct':>12}")
    with torch.no_grad():
        for layer in LAYERS:
            if any(word in layer.name for word in options.layers.split(",")):
                compare(layer, ops, options.seconds)


if __name__ == "__main__":
    main()
