"""What the filters of a network look for, from its first convolution to its last.

    python examples/filters_of_every_depth.py [RUN] [--count 16] [--steps 96] [--out DIR]

RUN is what `minicnn train` wrote; without one a smile detector learns from drawn faces first. The filters of the first
convolution are pictures themselves. Those behind it look at feature maps, which nobody can read; so for each a picture
is painted that excites it as much as can be, by climbing its gradient. Edges and colours come first, then textures,
then parts of things. A minute or more; drawn into DIR, a sheet for each convolution.
"""

import argparse
from pathlib import Path

import numpy as np
from explain_smiles import detector

import minicnn as mc
from minicnn import nn
from minicnn.figure import save_png
from minicnn.vis import figures, paint


def convolutions(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]


def sheet(model: nn.Module, layer: str, count: int, steps: int) -> tuple[np.ndarray, str]:
    """The pictures that excite the strongest filters of a layer most, in one, and what to write above them. Each is as
    large as what a filter sees, and a little more."""
    top, left, bottom, right = mc.vis.receptive_field(model, layer)[0]
    size = min(max(bottom - top, right - left, 8) + 4, *model.input_shape[:2])
    painted = mc.vis.filter_sheet(model, layer, count, size=int(size), max_iter=steps, jitter=2).pictures
    tiles = [paint.enlarge(paint.as_bytes(one), 64) for one in painted]
    return paint.sheet(np.stack(tiles), gap=4), f"layer {layer}: {painted.shape[1]} x {painted.shape[2]} pixels each"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=16, help="filters of each layer")
    parser.add_argument("--steps", type=int, default=96, help="of the climb")
    parser.add_argument("--out", type=Path, default=Path("filters"))
    options = parser.parse_args()

    model = detector(options.run)
    options.out.mkdir(parents=True, exist_ok=True)
    first, *deeper = convolutions(model)
    save_png(figures.filters_figure(mc.vis.filters(model, first), f"layer {first}", options.count),
             options.out / f"layer-{first}.png")
    for layer in deeper:
        picture, title = sheet(model, layer, options.count, options.steps)
        save_png(figures.tiles_figure([picture], [title], columns=1), options.out / f"layer-{layer}.png")
        print(title)
    print(f"drawn: {', '.join(sorted(str(path) for path in options.out.iterdir()))}")


if __name__ == "__main__":
    main()
