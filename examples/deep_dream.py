"""DeepDream: a photo in which a network sees more and more of what it looks for.

    python examples/deep_dream.py [PHOTO] [--run RUN] [--layer NAME] [--steps 10] [--out dream.png]

RUN is what `minicnn train` wrote; without one a smile detector learns from drawn faces first, and dreams of them. A run
of `minicnn train cifar10` has seen animals and cars. PHOTO is a picture file; without one it is the photo that
matplotlib brings along (Rear Admiral Grace Hopper, US Navy, public domain). The early layers dream of edges and
textures, the later ones of parts of things.
"""

import argparse
from pathlib import Path

import numpy as np
from classic_filters import photo
from explain_smiles import detector
from filters_of_every_depth import convolutions

import minicnn as mc
from minicnn import nn
from minicnn.figure import save_png
from minicnn.vis import figures


def dream(model: nn.Module, picture: np.ndarray, layer: str, steps: int) -> np.ndarray:
    """The picture (H, W, 3), floats from 0 to 1, as the layer would have it."""
    return mc.vis.deep_dream(model, picture, layer, steps=steps, octaves=4, jitter=16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--layer", help="by default the last convolution")
    parser.add_argument("--steps", type=int, default=10, help="at each of the four sizes")
    parser.add_argument("--out", type=Path, default=Path("dream.png"))
    options = parser.parse_args()

    model, picture = detector(options.run), photo(options.photo)[0]
    layer = options.layer or convolutions(model)[-1]
    dreamt = dream(model, picture, layer, options.steps)
    save_png(figures.before_after_figure(picture, dreamt, captions=("the photo", f"layer {layer} dreams")), options.out)
    print(f"drawn: {options.out}")


if __name__ == "__main__":
    main()
