"""The filters of image processing on a real photo: a network's first layer learns such tables by itself.

    python examples/classic_filters.py [PHOTO] [--out FILE.png]

Without a photo of yours it takes the one that matplotlib brings along (Rear Admiral Grace Hopper, US Navy, public
domain). Each filter is a depthwise convolution with a table of numbers that somebody thought of. Below them, what it
means that a network's "convolution" is a correlation: Sobel's table finds edges with the wrong sign if it is turned.
"""

import argparse
from pathlib import Path

import numpy as np

from minicnn.data import filters, read_picture
from minicnn.figure import new_figure, save_png

SIDE = 256  # pixels

FILTERS = {
    "identity": filters.identity(),
    "mean, 9x9": filters.mean(9),
    "Gaussian, 9x9": filters.gaussian(9),
    "blur, 3x3": filters.blur(),
    "sharpen": filters.sharpen(),
    "Prewitt, along x": filters.prewitt("x"),
    "Sobel, along x": filters.sobel("x"),
    "Sobel, along y": filters.sobel("y"),
    "Laplacian": filters.laplacian(),
    "Laplacian, with diagonals": filters.laplacian(diagonals=True),
    "correlation with Sobel": filters.sobel("x"),
    "convolution: Sobel, turned": filters.turned(filters.sobel("x")),
}


def photo(path: Path | None) -> np.ndarray:
    """A photo as float32 (1, H, W, 3) in [0, 1]."""
    if path is None:
        from matplotlib.cbook import get_sample_data

        path = Path(get_sample_data("grace_hopper.jpg", asfileobj=False))
    return read_picture(path, (SIDE, SIDE, 3)).astype(np.float32)[None] / 255


def shown(kernel: np.ndarray, picture: np.ndarray) -> tuple[np.ndarray, float, float]:
    """What to draw, and the values that are black and white. A filter whose weights sum to 0 gives differences, which
    are drawn in grey, 0 in the middle."""
    if abs(kernel.sum()) > 1e-3:
        return filters.apply(kernel, picture).numpy()[0].clip(0, 1), 0.0, 1.0
    difference = filters.apply(kernel, picture.mean(axis=3, keepdims=True)).numpy()[0, ..., 0]
    reach = float(np.percentile(np.abs(difference), 99.5)) or 1.0
    return difference, -reach, reach


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", type=Path, help="a picture file")
    parser.add_argument("--out", type=Path, default=Path("classic_filters.png"))
    options = parser.parse_args()
    picture = photo(options.photo)
    figure = new_figure(12, 9.5, "Filters of image processing")
    for axes, (name, kernel) in zip(figure.subplots(3, 4).flat, FILTERS.items(), strict=True):
        values, black, white = shown(kernel, picture)
        axes.imshow(values, cmap="gray", vmin=black, vmax=white)
        axes.set_title(name, fontsize=10)
        axes.axis("off")
        table = np.array2string(kernel, precision=2, suppress_small=True) if kernel.size <= 9 else ""
        print(f"{name}\n{table}".rstrip(), end="\n\n")
    save_png(figure, options.out)
    print(f"drawn: {options.out}")


if __name__ == "__main__":
    main()
