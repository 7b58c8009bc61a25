"""Convolution layers, one by one: Winograd's algorithm against the direct one and against PyTorch (channels_last).

    python -m benchmarks.conv_layers [--layers cifar,resnet] [--seconds 2] [--threads 2]

For each layer the forward pass, the gradient by the picture and the gradient by the filters. Before anything is timed
all three must agree.
"""

import argparse
import statistics
from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

import numpy as np

import minicnn as mc
from minicnn.kernels import cpu

from .pairs import Pairing, alternate


class Layer(NamedTuple):
    """A batch of square pictures, size x size, and square filters, stride 1, the padding the same all around."""

    name: str
    batch: int
    size: int
    channels: int
    filters: int
    taps: int
    padding: int


LAYERS = (
    Layer("cifar 32-32", 50, 32, 32, 32, 3, 1),
    Layer("cifar 32-64", 50, 16, 32, 64, 3, 1),
    Layer("cifar 64-64", 50, 16, 64, 64, 3, 1),
    Layer("cifar 64-128", 50, 8, 64, 128, 3, 0),
    Layer("cifar 128-128", 50, 6, 128, 128, 3, 0),
    Layer("resnet 64", 8, 56, 64, 64, 3, 1),
    Layer("resnet 128", 8, 28, 128, 128, 3, 1),
    Layer("resnet 256", 8, 14, 256, 256, 3, 1),
    Layer("resnet 512", 8, 7, 512, 512, 3, 1),
    Layer("smile 16-32", 32, 32, 16, 32, 5, 2),
)
Ops = dict[str, Callable[[], Any]]


def arrays(layer: Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, w and dy."""
    random = np.random.default_rng(0)
    out = layer.size + 2 * layer.padding - layer.taps + 1
    x = random.normal(size=(layer.batch, layer.size, layer.size, layer.channels))
    w = random.normal(size=(layer.taps, layer.taps, layer.channels, layer.filters))
    dy = random.normal(size=(layer.batch, out, out, layer.filters))
    return x.astype(np.float32), w.astype(np.float32), dy.astype(np.float32)


def ours(layer: Layer, x: np.ndarray, w: np.ndarray, dy: np.ndarray, algorithm: str) -> Ops:
    """The three kernels, by an algorithm; each returns its output."""
    y, dx, dw = np.empty_like(dy), np.empty_like(x), np.empty_like(w)
    window = ((1, 1), (layer.padding,) * 4, (1, 1), 1)

    def run(name: str, output: np.ndarray, *inputs: Any) -> np.ndarray:
        bounds = (-inf, inf) if name == "conv2d_forward" else ()
        cpu.kernel(name)(*inputs, *window, *bounds, algorithm)
        return output

    return {
        "forward": lambda: run("conv2d_forward", y, x, w, None, None, y),
        "by picture": lambda: run("conv2d_input_grad", dx, dy, w, dx, (layer.size, layer.size)),
        "by filters": lambda: run("conv2d_weight_grad", dw, x, dy, dw, (layer.taps, layer.taps)),
    }


def peer(layer: Layer, x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> Ops:
    """The same in PyTorch."""
    import torch

    def tensor(array: np.ndarray, *order: int) -> Any:
        return torch.from_numpy(array).permute(*order).contiguous(memory_format=torch.channels_last)

    pictures, filters, grad = tensor(x, 0, 3, 1, 2), tensor(w, 3, 2, 0, 1), tensor(dy, 0, 3, 1, 2)
    geometry = ([1, 1], [layer.padding] * 2, [1, 1], False, [0, 0], 1)

    def backward(*wanted: bool) -> Any:
        return torch.ops.aten.convolution_backward(grad, pictures, filters, [layer.filters], *geometry, wanted)

    return {
        "forward": lambda: torch.nn.functional.conv2d(pictures, filters, padding=layer.padding).permute(0, 2, 3, 1),
        "by picture": lambda: backward(True, False, False)[0].permute(0, 2, 3, 1),
        "by filters": lambda: backward(False, True, False)[1].permute(2, 3, 1, 0),
    }


def short(pairing: Pairing) -> str:
    return f"{statistics.median(pairing.ratios):5.2f} ({min(pairing.other) / min(pairing.ours):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="", help="words, one of which a layer's name contains")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each pair")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    import torch

    mc.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    print("ratios of times to Winograd's, the median of the rounds (of the fastest of each side)\n")
    print(f"{'layer':14} {'op':10} {'ms':>7}  {'direct':>12}  {'PyTorch':>12}")
    for layer in LAYERS:
        if not any(word in layer.name for word in options.layers.split(",")):
            continue
        inputs = arrays(layer)
        winograd, direct = ours(layer, *inputs, "winograd"), ours(layer, *inputs, "direct")
        theirs = peer(layer, *inputs)
        with torch.no_grad():
            for op, step in winograd.items():
                result, expected = step(), direct[op]()
                for other in (expected, theirs[op]().numpy()):
                    np.testing.assert_allclose(result, other, rtol=0, atol=5e-5 * np.abs(expected).max())
                pairs = [alternate(step, other[op], options.seconds) for other in (direct, theirs)]
                best = min(min(pair.ours) for pair in pairs) * 1e3
                print(f"{layer.name:14} {op:10} {best:7.2f}  {short(pairs[0]):>12}  {short(pairs[1]):>12}", flush=True)


if __name__ == "__main__":
    main()
