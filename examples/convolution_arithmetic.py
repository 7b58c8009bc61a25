"""The arithmetic of convolution, each idea in a few lines that run: what it is, its derivatives, what it costs.

    python examples/convolution_arithmetic.py [--out FILE.png]

Prints nine short lessons and draws four of them. Every number is computed by minicnn and, where the lesson says so, by
hand or by another library beside it.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import minicnn as mc
from minicnn.figure import BLUE, GREY, ORANGE, new_figure, save_png

F, nn = mc.nn.functional, mc.nn


# --------------------------------------------------------------------------------------------- 1. what a convolution is

def two_dice(axes: Any) -> None:
    """The sum of two dice is distributed as the convolution of their distributions: to throw a 7 is to throw (1 and 6)
    or (2 and 5) or ..., so P(7) is a sum of products whose places add up to 7."""
    die = np.full(6, 1 / 6, np.float32)
    first, second = mc.tensor(die.reshape(1, 6, 1)), mc.tensor(die[::-1].reshape(6, 1, 1).copy())
    # One of them is turned around, for a network's convolution is a correlation.
    chances = F.conv1d(first, second, padding="full").numpy().ravel()
    print("P(2), ..., P(12) of two dice, in 36ths:", np.round(chances * 36).astype(int).tolist())
    np.testing.assert_allclose(chances, np.convolve(die, die), rtol=1e-5)
    axes.bar(range(2, 13), chances, color=BLUE)
    axes.set_title("1. The sum of two dice is a convolution", fontsize=10)
    axes.set_xlabel("sum")
    axes.set_ylabel("probability")


# ------------------------------------------------------------------------------------------------- 2. its backward pass

def backward_by_hand() -> None:
    """A picture of 3x3, a filter of 2x2, four outputs:

        y[p, q] = sum over r, s of w[r, s] x[p + r, q + s]

    By the chain rule, with g = dL/dy, each product w x gives its other factor times the g of the output it went to:

        dL/dw[r, s] = sum over p, q of g[p, q] x[p + r, q + s]     x correlated with g
        dL/dx[i, j] = sum over r, s of g[i - r, j - s] w[r, s]     g in zeros, correlated with w turned by 180 degrees
    """
    random = np.random.default_rng(0)
    x, w, g = (random.integers(-3, 4, shape).astype(np.float64) for shape in ((3, 3), (2, 2), (2, 2)))
    dw, dx = np.zeros((2, 2)), np.zeros((3, 3))
    for p, q, r, s in np.ndindex(2, 2, 2, 2):
        dw[r, s] += g[p, q] * x[p + r, q + s]
        dx[p + r, q + s] += g[p, q] * w[r, s]
    picture = mc.tensor(x.reshape(1, 3, 3, 1), requires_grad=True)
    filters = mc.tensor(w.reshape(2, 2, 1, 1), requires_grad=True)
    F.conv2d(picture, filters).backward(mc.tensor(g.reshape(1, 2, 2, 1)))
    print("dL/dw by hand:", dw.tolist(), " by the tape:", filters.grad.numpy()[..., 0, 0].tolist())
    print("dL/dx by hand:", dx.tolist(), " by the tape:", picture.grad.numpy()[0, ..., 0].tolist())
    assert (filters.grad.numpy()[..., 0, 0] == dw).all() and (picture.grad.numpy()[0, ..., 0] == dx).all()


# ---------------------------------------------------------------------------------------------------------- 3. a matrix

def sparse_matrix(axes: Any) -> None:
    """A convolution is linear, y = C x, and C is mostly zeros: a row for each output, in it the weights of the filter
    at the pixels that it sees. The transposed convolution is the product with C transposed: it goes from y's shape to
    x's. It undoes the shape, not the convolution."""
    w = np.arange(1.0, 10).reshape(3, 3)
    size, out = 5, 3
    rows, columns, values = [], [], []
    for p, q, r, s in np.ndindex(out, out, 3, 3):
        rows.append(p * out + q)
        columns.append((p + r) * size + q + s)
        values.append(w[r, s])
    matrix = sparse.csr_array((values, (rows, columns)), shape=(out * out, size * size))
    x, y = np.random.default_rng(1).normal(size=(size, size)), np.random.default_rng(2).normal(size=(out, out))
    filters = mc.tensor(w.reshape(3, 3, 1, 1))
    forward = F.conv2d(mc.tensor(x.reshape(1, size, size, 1)), filters).numpy().ravel()
    backward = F.conv_transpose2d(mc.tensor(y.reshape(1, out, out, 1)), filters).numpy().ravel()
    np.testing.assert_allclose(forward, matrix @ x.ravel(), rtol=1e-12)
    np.testing.assert_allclose(backward, matrix.T @ y.ravel(), rtol=1e-12)
    print(f"C is {matrix.shape[0]} x {matrix.shape[1]}; {matrix.nnz} of its {np.prod(matrix.shape)} entries are not 0, "
          "made of 9 different weights; conv2d is C x, conv_transpose2d is C^T y")
    axes.imshow(matrix.toarray(), cmap="Blues")
    axes.set_title("3. 3x3 over 5x5 as a matrix: 9 outputs of 25 pixels", fontsize=10)
    axes.set_xlabel("pixel")
    axes.set_ylabel("output")


# -------------------------------------------------------------------------------------------------- 4. receptive fields

def receptive_fields(axes: Any) -> None:
    """How far a unit sees: each layer adds (kernel - 1) * dilation * (the strides before it). Found by asking the tape
    which pixels one unit in the middle depends on."""
    rows = {
        "3x3, five times": [nn.Conv2d(1, 1, 3, padding=1) for _ in range(5)],
        "3x3 and pooling, in turn": [nn.Conv2d(1, 1, 3, padding=1), nn.AvgPool2d(2), nn.Conv2d(1, 1, 3, padding=1),
                                     nn.AvgPool2d(2), nn.Conv2d(1, 1, 3, padding=1)],
        "3x3, dilation 1, 2, 4, 8, 16": [nn.Conv2d(1, 1, 3, padding=2**i, dilation=2**i) for i in range(5)],
    }
    for (name, layers), colour in zip(rows.items(), (BLUE, GREY, ORANGE), strict=True):
        fields = [1, *[field(layers[: depth + 1]) for depth in range(len(layers))]]
        print(f"{name}: a unit sees {', '.join(map(str, fields[1:]))} pixels along an axis")
        axes.plot(range(6), fields, "o-", color=colour, label=name)
    axes.set_title("4. What a unit sees, by depth", fontsize=10)
    axes.set_xlabel("layers")
    axes.set_ylabel("pixels along an axis")
    axes.legend(fontsize=8)


def field(layers: list[Any]) -> int:
    """Pixels along an axis that a unit in the middle of the last layer depends on."""
    x = mc.zeros(1, 96, 96, 1, requires_grad=True)
    y = x
    for layer in layers:
        y = layer(y)
    y[0, y.shape[1] // 2, y.shape[2] // 2, 0].backward()
    return int((x.grad.numpy()[0, ..., 0] != 0).any(axis=0).sum())


# ----------------------------------------------------------------------------------------------------- 5. what it costs

def parameter_counts() -> None:
    """From 64 to 128 channels: the taps times both channel counts. A depthwise separable one has a filter for each
    channel and then mixes them 1x1; a dilated one sees 5x5 with the weights of 3x3."""
    layers = {
        "3x3": nn.Conv2d(64, 128, 3, bias=False),
        "5x5": nn.Conv2d(64, 128, 5, bias=False),
        "3x3, dilation 2 (sees 5x5)": nn.Conv2d(64, 128, 3, dilation=2, bias=False),
        "3x3, four groups": nn.Conv2d(64, 128, 3, groups=4, bias=False),
        "3x3, depthwise separable": nn.SeparableConv2d(64, 128, 3, bias=False),
    }
    formulas = (9 * 64 * 128, 25 * 64 * 128, 9 * 64 * 128, 9 * 16 * 128, 9 * 64 + 64 * 128)
    for (name, layer), expected in zip(layers.items(), formulas, strict=True):
        counted = sum(p.numel() for p in layer.parameters())
        assert counted == expected
        print(f"{name:28} {counted:8,} weights")


# ------------------------------------------------------------------------------------------ 6. why weights start random

def equal_weights_stay_equal() -> None:
    """If all filters start alike they get the same gradient in each step, and stay alike: eight copies of one
    neuron."""
    def filters_that_differ(start: Callable[[Any], None]) -> int:
        mc.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))
        for parameter in model.parameters():
            start(parameter)
        optimizer = mc.optim.SGD(model.parameters(), lr=0.05)
        random = np.random.default_rng(0)
        x, y = mc.tensor(random.normal(size=(32, 8, 8, 1)).astype(np.float32)), mc.tensor(random.integers(0, 2, 32))
        for _ in range(20):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        return len(np.unique(np.round(model[0].weight.numpy().reshape(9, 8).T, 5), axis=0))

    print("different filters of 8 after 20 steps:", filters_that_differ(lambda p: nn.init.constant_(p, 0.1)),
          "from equal weights,", filters_that_differ(lambda p: None), "from random ones")


# --------------------------------------------------------------------------------- 7. equivariance, and some invariance

def shifts() -> None:
    """A shifted picture gives shifted feature maps (equivariance: it is the same filter everywhere). The largest value
    of a window stays where it is as long as the shift stays within the window (a little invariance)."""
    mc.manual_seed(0)
    conv, pool = nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(4)
    picture = np.zeros((1, 16, 16, 1), np.float32)
    picture[:, [5, 5, 13], [5, 9, 5]] = 1  # dots: a 3x3 filter answers within one window of the pooling, on its left
    with mc.no_grad():
        maps = conv(mc.tensor(picture))
        for pixels in (1, 2):
            moved_maps = conv(mc.tensor(np.roll(picture, pixels, axis=2)))
            np.testing.assert_allclose(np.roll(maps.numpy(), pixels, axis=2), moved_maps.numpy(), atol=1e-6)
            print(f"moved by {pixels}, {share(maps, moved_maps):.0%} of the feature maps' numbers change, "
                  f"{share(pool(maps), pool(moved_maps)):.0%} of those behind a 4x4 max pooling")


def share(a: mc.Tensor, b: mc.Tensor) -> float:
    """Of numbers that differ."""
    return float((np.abs(a.numpy() - b.numpy()) > 1e-6).mean())


# -------------------------------------------------------------------------------------- 8. and 9. other numbers of axes

def time_series(axes: Any) -> None:
    """1-D: a filter that slides along time. Here a bump's own shape, which answers most where the bump is."""
    random, time = np.random.default_rng(3), np.arange(200)
    bump = np.exp(-(np.arange(-10, 11) ** 2) / 20)
    series = random.normal(0, 0.25, 200)
    for start in (40, 130):
        series[start : start + 21] += bump
    answer = F.conv1d(mc.tensor(series.reshape(1, 200, 1)), mc.tensor((bump - bump.mean()).reshape(21, 1, 1)),
                      padding="same").numpy().ravel()
    peaks = sorted(int(np.argmax(np.where((time > low) & (time < low + 100), answer, -np.inf))) for low in (0, 100))
    print(f"bumps around 50 and 140, the filter answers most at {peaks[0]} and {peaks[1]}")
    axes.plot(time, series, color=GREY, linewidth=0.8, label="series")
    axes.plot(time, answer, color=ORANGE, label="filter's answer")
    axes.set_title("8. A filter along time finds its own shape", fontsize=10)
    axes.set_xlabel("time")
    axes.legend(fontsize=8)


def volume() -> None:
    """3-D: a filter with a depth as well, for volumes and films. The derivative along the depth finds the two faces of
    a block."""
    block = np.zeros((1, 8, 8, 8, 1), np.float32)
    block[:, 2:6, 2:6, 2:6] = 1
    along_depth = mc.tensor(np.array([-1, 0, 1], np.float32).reshape(3, 1, 1, 1, 1))
    edges = F.conv3d(mc.tensor(block), along_depth, padding=((1, 1), (0, 0), (0, 0))).numpy()[0, ..., 0]
    print("the middle of a block in a volume of 8x8x8, derived along its depth:", edges[:, 4, 4].astype(int).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("convolution_arithmetic.png"))
    options = parser.parse_args()
    figure = new_figure(11, 8, "The arithmetic of convolution")
    axes = figure.subplots(2, 2).ravel()
    lessons: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
        (two_dice, (axes[0],)), (backward_by_hand, ()), (sparse_matrix, (axes[1],)), (receptive_fields, (axes[2],)),
        (parameter_counts, ()), (equal_weights_stay_equal, ()), (shifts, ()), (time_series, (axes[3],)), (volume, ()),
    ]
    for number, (lesson, drawn_on) in enumerate(lessons, 1):
        print(f"\n{number}. {lesson.__name__.replace('_', ' ').capitalize()}\n")
        print(f"    {' '.join((lesson.__doc__ or '').split())}\n" if number != 2 else f"    {lesson.__doc__}\n")
        lesson(*drawn_on)
    save_png(figure, options.out)
    print(f"\ndrawn: {options.out}")


if __name__ == "__main__":
    main()
