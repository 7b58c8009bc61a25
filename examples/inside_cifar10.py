"""Inside a network that names ten kinds of things: what each class looks like to it, and what it looks at.

    python examples/inside_cifar10.py RUN [--data DIR] [--steps 192] [--out DIR]

RUN is what `minicnn train cifar10` wrote. For each class a picture is painted that the network is as sure of as can be,
and then shifted by four pixels: what survives the shift is more than a trick of single pixels. With the data (in DIR,
or where `minicnn data download cifar10` puts it) three test pictures are explained, and for three filters of a
convolution halfway the parts of test pictures are found that drive them most. A minute or more.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filters_of_every_depth import convolutions

import minicnn as mc
from minicnn import data, nn
from minicnn.figure import save_png
from minicnn.vis import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def chances(model: nn.Module, pictures: np.ndarray) -> np.ndarray:
    """What the model says of pictures (N, H, W, C): probabilities (N, classes)."""
    with nn.evaluating(model):
        return nn.functional.softmax(model(mc.tensor(pictures)), dim=-1).numpy()


def shifted(pictures: np.ndarray, down: int, right: int) -> np.ndarray:
    """The same pictures, moved by a few pixels; what comes in at an edge mirrors what is there."""
    reach = max(abs(down), abs(right))
    wide = np.pad(pictures, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    height, width = pictures.shape[1:3]
    return wide[:, reach - down : reach - down + height, reach - right : reach - right + width]


def classes_figure(model: nn.Module, names: list[str], steps: int) -> "Figure":
    """What each class looks like to the model, and how sure it stays at least when that is shifted by four pixels."""
    painted = mc.vis.maximize_activation(model, list(range(len(names))), max_iter=steps)
    shifts = [shifted(painted.pictures, down, right) for down in (-4, 4) for right in (-4, 4)]
    sure = np.min([np.diag(chances(model, moved)) for moved in shifts], axis=0)
    captions = [f"{name}\nat least {min(np.floor(1000 * chance) / 10, 99.9)}%" for name, chance
                in zip(names, sure, strict=True)]
    return figures.tiles_figure(painted.pictures, captions, "What each class looks like to it", columns=5)


def maps_figure(model: nn.Module, names: list[str], pictures: np.ndarray) -> "Figure":
    """What speaks for the likeliest class of each of a few pictures."""
    best = chances(model, pictures).argmax(axis=1)
    maps = {"Grad-CAM": mc.vis.grad_cam(model, pictures, best, upsample=True),
            "occlusion": mc.vis.occlusion(model, pictures, best, window=6, stride=2),
            "integrated gradients": mc.vis.integrated_gradients(model, pictures, best)}
    return figures.comparison_figure(pictures, maps, [names[k] for k in best], "What speaks for its answer")


def patches_figure(model: nn.Module, pictures: np.ndarray) -> "Figure":
    """The parts of pictures that drive three filters of a convolution most, above what these saw in them."""
    layers = convolutions(model)
    layer = layers[len(layers) // 2]
    found = mc.vis.top_patches(model, pictures, layer, [0, 1, 2], count=8)
    tiles, captions = [], []
    for patches, drawn, channel in zip(found.patches, found.reconstructions, (0, 1, 2), strict=True):
        reach = np.abs(drawn).max() or 1.0
        tiles += [*patches.clip(0, 1), *(0.5 + 0.5 * drawn / reach)]
        captions += [f"filter {channel}", *[""] * 7, "sees", *[""] * 7]
    return figures.tiles_figure(tiles, captions, f"What drives filters of layer {layer}", columns=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=192)
    parser.add_argument("--out", type=Path, default=Path("inside_cifar10"))
    options = parser.parse_args()

    model = mc.load(options.run)
    names = list(model.config["classes"])
    options.out.mkdir(parents=True, exist_ok=True)
    save_png(classes_figure(model, names, options.steps), options.out / "classes.png")
    folder = options.data or data.find("cifar10")
    if folder is None:
        print("no test pictures: `minicnn data download cifar10` fetches them, --data names their folder")
    else:
        pictures = data.load_cifar10_split(folder, "test").arrays[0][:2000].astype(np.float32) / 255
        save_png(maps_figure(model, names, pictures[:3]), options.out / "maps.png")
        save_png(patches_figure(model, pictures), options.out / "patches.png")
    print(f"{options.out}: {', '.join(sorted(path.name for path in options.out.iterdir()))}")


if __name__ == "__main__":
    main()
