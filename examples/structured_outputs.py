"""Outputs with a structure: a label for every pixel, and a number.

    python examples/structured_outputs.py [--steps 300] [--out FILE.png]

Two small networks without a dense layer over places, so pictures of any size go in; both train in seconds on pictures
of circles, squares and triangles that are drawn as they are needed, and are asked about larger ones.

1. A fully convolutional network (Long, Shelhamer & Darrell 2015) names each pixel: two strided convolutions go down to
   a quarter of the size, dilated ones see a whole shape there, two transposed ones come back up, and a softmax over the
   classes at every pixel says what is there.
2. A network that ends in a global average and one unit says which share of the picture the shapes cover.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import minicnn as mc
from minicnn.figure import new_figure, save_png

F, nn = mc.nn.functional, mc.nn
CLASSES = ("background", "circle", "square", "triangle")
SIZE, LARGER = (48, 48), (80, 128)
FEW, MANY = (0, 5), (0, 20)  # shapes in a picture of either size, at least and at most
COLOURS = np.array([[0.93, 0.93, 0.93], [0.12, 0.37, 0.66], [0.85, 0.45, 0.05], [0.35, 0.62, 0.25]])


def draw(random: np.random.Generator, size: tuple[int, int], shapes: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture (H, W, 3) of shapes in random colours, and the class (H, W) of each pixel."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    picture, labels = np.broadcast_to(random.uniform(0, 0.3, 3), (*size, 3)).copy(), np.zeros(size, np.int64)
    for _ in range(shapes):
        kind, reach = random.integers(1, 4), random.uniform(6, 10)
        y, x = rows - random.uniform(reach, size[0] - reach), columns - random.uniform(reach, size[1] - reach)
        inside = [x**2 + y**2 < reach**2, np.maximum(abs(x), abs(y)) < reach * 0.85,
                  (y < reach * 0.7) & (2 * abs(x) < y + reach)][kind - 1]
        picture[inside], labels[inside] = random.uniform(0.3, 1, 3), kind
    return (picture + random.normal(0, 0.05, picture.shape)).astype(np.float32), labels


def batch(random: np.random.Generator, count: int, size: tuple[int, int],
          shapes: tuple[int, int]) -> tuple[mc.Tensor, np.ndarray]:
    """Pictures (count, H, W, 3) and the classes (count, H, W) of their pixels."""
    drawn = [draw(random, size, random.integers(shapes[0], shapes[1], endpoint=True)) for _ in range(count)]
    pictures, labels = zip(*drawn, strict=True)
    return mc.tensor(np.stack(pictures)), np.stack(labels)


def conv(channels: int, filters: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels, filters, 3, stride, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(filters), nn.ReLU()]


def up(channels: int, filters: int) -> list[nn.Module]:
    """Twice the size: a stride of 2, transposed. A kernel of 4 covers every pixel equally often; one of 3 would leave a
    checkerboard (Odena, Dumoulin & Olah 2016)."""
    return [nn.ConvTranspose2d(channels, filters, 4, 2, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]


def labeller() -> nn.Sequential:
    """(N, H, W, 3) -> (N, H, W, classes), for H and W that 4 divides."""
    return nn.Sequential(*conv(3, 16), *conv(16, 32, stride=2), *conv(32, 64, stride=2), *conv(64, 64, dilation=2),
                         *conv(64, 64, dilation=2), *up(64, 32), *up(32, 16), nn.Conv2d(16, len(CLASSES), 1))


def gauge() -> nn.Sequential:
    """(N, H, W, 3) -> (N, 1)"""
    return nn.Sequential(*conv(3, 16, stride=2), *conv(16, 32, stride=2), *conv(32, 32), nn.GlobalAvgPool2d(),
                         nn.Flatten(), nn.Linear(32, 1))


def train(model: nn.Module, loss_of: object, steps: int) -> None:
    """Adam on fresh pictures in each step; prints the loss now and then."""
    random, start = np.random.default_rng(0), time.perf_counter()
    optimizer = mc.optim.Adam(model.parameters(), lr=3e-3)
    schedule = mc.optim.CosineAnnealingLR(optimizer, steps)
    for step in range(1, steps + 1):
        pictures, labels = batch(random, 16, SIZE, FEW)
        optimizer.zero_grad()
        loss = loss_of(model(pictures), labels)  # type: ignore[operator]
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % max(1, steps // 5) == 0:
            print(f"  step {step:4}  loss {loss.item():.4f}  {time.perf_counter() - start:.0f} s")
    model.eval()


def overlap(predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Intersection over union for each class: what both call so, of what either does."""
    return {name: float(((predicted == k) & (labels == k)).sum() / ((predicted == k) | (labels == k)).sum())
            for k, name in enumerate(CLASSES)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="of training, for each network (default: 300)")
    parser.add_argument("--out", type=Path, default=Path("structured_outputs.png"))
    options = parser.parse_args()
    mc.manual_seed(0)
    test, labels = batch(np.random.default_rng(1), 16, LARGER, MANY)

    print(f"a label for every pixel, learned on pictures of {SIZE[0]} x {SIZE[1]}:")
    model = labeller()
    train(model, lambda y, classes: F.cross_entropy(y, mc.tensor(classes)), options.steps)
    with mc.no_grad():
        predicted = model(test).numpy().argmax(axis=-1)
    found = ", ".join(f"{name} {value:.2f}" for name, value in overlap(predicted, labels).items())
    print(f"  on pictures of {LARGER[0]} x {LARGER[1]}: {(predicted == labels).mean():.1%} of the pixels, intersection "
          f"over union: {found}")

    print("a number, the share of the picture that the shapes cover:")
    model = gauge()
    train(model, lambda y, classes: F.mse_loss(y, mc.tensor(covered(classes))), options.steps)
    with mc.no_grad():
        shares = model(test).numpy()
    truth = covered(labels)
    print(f"  on pictures of {LARGER[0]} x {LARGER[1]}: off by {np.abs(shares - truth).mean():.3f} in the mean, where "
          f"shares are {truth.min():.2f} to {truth.max():.2f}; always saying their mean is off by "
          f"{np.abs(truth.mean() - truth).mean():.3f}")
    show(test.numpy(), labels, predicted, shares, truth, options.out)


def covered(labels: np.ndarray) -> np.ndarray:
    """The share of each picture's pixels that belong to a shape, (N, 1)."""
    return (labels > 0).mean(axis=(1, 2)).astype(np.float32)[:, None]


def show(pictures: np.ndarray, labels: np.ndarray, predicted: np.ndarray, shares: np.ndarray, truth: np.ndarray,
         path: Path) -> None:
    """Draw some pictures with what the networks say."""
    figure = new_figure(10, 6.5, "A label for every pixel: circles blue, squares orange, triangles green")
    for i, row in enumerate(figure.subplots(4, 3)):
        for axes, image in zip(row, (pictures[i].clip(0, 1), COLOURS[labels[i]], COLOURS[predicted[i]]), strict=True):
            axes.imshow(image)
            axes.axis("off")
        row[0].set_title(f"covered: {truth[i, 0]:.2f}, the second network says {shares[i, 0]:.2f}", fontsize=9)
        row[1].set_title("drawn" if i == 0 else "", fontsize=9)
        row[2].set_title("named by the first network" if i == 0 else "", fontsize=9)
    save_png(figure, path)
    print(f"drawn: {path}")


if __name__ == "__main__":
    main()
