"""Make the gallery: examples/gallery.md and its pictures, of the other examples.

    python examples/gallery.py [--smile RUN] [--cifar10 RUN] [--out examples] [--small]

The runs are those of `minicnn train smile` on the drawn faces (without one, a detector learns from some now) and of
`minicnn train cifar10` (without one, what it shows is left out). All faces are drawn. --small makes everything small
and quick, to see that it works. Ten minutes.
"""

import argparse
import shutil
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import deep_dream
import explain_smiles
import filters_of_every_depth
import inside_cifar10
import numpy as np
import tanks
from PIL import Image

import minicnn as mc
from minicnn import nn
from minicnn.data import synthetic_faces
from minicnn.vis import figures, report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 1000  # pixels of a picture in the gallery, at most


class Gallery:
    """A page as it grows, and the folder of its pictures."""

    def __init__(self, folder: Path, small: bool):
        self.folder, self.small = folder, small
        self.parts = ["# What networks have learned\n\nMade by `python examples/gallery.py`. What is found comes from "
                      "`minicnn.vis`, what is drawn from `minicnn.vis.figures`; the examples that are named show how."]
        (folder / "gallery").mkdir(parents=True, exist_ok=True)

    def add(self, text: str, **pictures: tuple["Figure", str]) -> None:
        """A paragraph or more, and below it pictures by their names, each with what it shows in words."""
        self.parts.append(text.strip())
        for name, (figure, seen) in pictures.items():
            file = BytesIO()
            figure.savefig(file, format="png", dpi=min(110, WIDTH / figure.get_size_inches()[0]))
            with Image.open(file) as image:
                self.add_picture(name, image, seen)

    def add_picture(self, name: str, image: Image.Image, seen: str) -> None:
        path = self.folder / "gallery" / f"{name}.png"
        shown = image.convert("RGB")
        if name == "dreams":  # large, and of all colours anyway
            shown = shown.quantize(256)
        shown.save(path, optimize=True)
        self.parts.append(f"![{seen}](gallery/{name}.png)")
        print(f"{path}: {path.stat().st_size // 1024} KB")

    def write(self) -> None:
        (self.folder / "gallery.md").write_text("\n\n".join(self.parts) + "\n")


def cifar10_classes(gallery: Gallery, model: nn.Module) -> None:
    names = list(model.config["classes"])
    gallery.add("""
## What each class looks like to a network

Nobody painted these. Each began as faint noise, and was changed step by step so that the CIFAR-10 network becomes surer
of one class (`vis.maximize_activation`; [inside_cifar10.py](inside_cifar10.py)). The percentages are
the lowest that it still says when the picture is shifted by four pixels up or down and left or right.
""", classes=(inside_cifar10.classes_figure(model, names, 8 if gallery.small else 256),
              "Ten painted pictures: an airplane, a car, a bird, a cat, a deer, a dog, a horse, a ship and a truck can "
              "be made out, a frog can't"))


def filters(gallery: Gallery, model: nn.Module) -> None:
    first, *deeper = filters_of_every_depth.convolutions(model)
    weights = mc.vis.filters(model, first)
    reach = np.abs(weights).max()
    count, steps = (4, 4) if gallery.small else (16, 64)
    order = np.argsort(-(weights**2).sum(axis=(1, 2, 3)))[:count]
    tiles = [np.pad(0.5 + 0.5 * weights[k] / reach, ((0, 1), (0, 1), (0, 0)), constant_values=0.5) for k in order]
    side = int(np.sqrt(len(tiles)))
    known = np.concatenate([np.concatenate(tiles[row * side : (row + 1) * side], axis=1) for row in range(side)])
    shown = [(known, f"layer {first}: the filters themselves")]
    shown += [filters_of_every_depth.sheet(model, layer, count, steps) for layer in deeper]
    gallery.add("""
## Filters of every depth

The first layer's filters are pictures: edges and spots of colour. For those behind it, a picture is painted that
excites each as much as can be: stripes and grids, then shapes, then parts of animals and cars (`vis.filter_sheet`;
[filters_of_every_depth.py](filters_of_every_depth.py)).
""", filters=(figures.tiles_figure([picture for picture, _ in shown], [title for _, title in shown], columns=3),
              "Sheets of sixteen pictures for each convolution: from edges over textures to parts of things"))


def tank_story(gallery: Gallery) -> None:
    lines, figure = tanks.story(*((96, 1) if gallery.small else (2000, 3)))
    gallery.add(f"""
## The story of the tanks

Two networks learn to see smiles. The second gets a planted cue: whoever smiles was photographed in brighter light. On
pictures of that kind it is as good as the first; in even light it guesses. Integrated gradients give it away: they
are all over the face, where the first one's are on the mouth. Occlusion hardly tells, 15% against
11%: a black square takes light away too ([tanks.py](tanks.py)).

```
{chr(10).join(lines)}
```
""", tanks=(figure, "Three faces, and maps of both networks over them: of integrated gradients the first one's lie on "
            "the mouth, the second one's cover the face"))


def smiles(gallery: Gallery, model: nn.Module) -> None:
    faces = explain_smiles.drawn_faces(4 if gallery.small else 48)
    lines, curves, maps = explain_smiles.look(model, *faces)
    gallery.add(f"""
## Does it look at the mouth?

A map is only a claim, and the deletion curve tests it: what is left of the probability as the pixels that a map calls
important are put out of focus, the most important ones first? `vis.deletion_curve`, `insertion_curve` and `road`
measure it ([explain_smiles.py](explain_smiles.py), on photographs too). It matters how pixels are deleted:
one that goes out of focus takes on the colour of its neighbours, so deleting the scattered pixels of integrated
gradients changes little of the picture. Where pixels become the mean colour, they are the best of the maps, as
the second table shows.

```
{chr(10).join(lines)}
```

On 150 photographs, of a detector that learned from others and has a global average pool in place of Flatten, so that
Grad-CAM means something ([LOOKING.md](../benchmarks/LOOKING.md) says how this was measured, and what else was):

| mean area under the deletion curve | pixels become the mean colour | black |
|---|---|---|
| integrated gradients | 0.127 | 0.464 |
| occlusion | 0.336 | 0.479 |
| Grad-CAM | 0.547 | 0.504 |
| a blob in the middle | 0.591 | 0.555 |
| edges | 0.628 | 0.543 |
| chance | 0.677 | 0.524 |
""", smiles=(maps, "Three smiling faces and three maps of each: occlusion and Layer-CAM have one corner of the "
                "mouth and what is about it, integrated gradients specks on and around the mouth"),
                deletion=(curves, "Deletion curves of three methods, and of rivals that have not seen the network"))


def dreams(gallery: Gallery, models: dict[str, nn.Module]) -> None:
    portrait = (synthetic_faces(1, seed=11, size=64 if gallery.small else 224)[0][0] / 255).astype(np.float32)
    tiles, captions = [portrait], ["the portrait"]
    for name, model in models.items():
        layers = filters_of_every_depth.convolutions(model)
        for layer in dict.fromkeys([layers[len(layers) // 2], layers[-1]]):
            tiles.append(deep_dream.dream(model, portrait, layer, 1 if gallery.small else 10))
            captions.append(f"{name}, layer {layer}")
    gallery.add("""
## DeepDream

A picture changed so that a layer sees more and more of what it looks for, at four sizes, one after the other
(`vis.deep_dream`; [deep_dream.py](deep_dream.py) does it with a photo of yours).
""", dreams=(figures.tiles_figure(tiles, captions, columns=4),
             "A drawn portrait, and what layers of networks dream into it"))


def explained(gallery: Gallery, model: nn.Module) -> None:
    """The page of `minicnn explain`, photographed where there is a Chromium and Playwright to drive it."""
    browser = shutil.which("chromium")
    if browser is None or find_spec("playwright") is None:
        print("without Chromium and Playwright, the page of `minicnn explain` is left out")
        return
    from playwright.sync_api import sync_playwright

    picture = synthetic_faces(2, seed=5)[0][0]
    sure = float(nn.functional.sigmoid(model(mc.tensor(picture[None] / np.float32(255)))).numpy()[0, 0])
    answer = report.Answer(["not smiling", "smiling"], [1 - sure, sure], int(sure > 0.5))
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        report.write_report(folder, [report.explain(model, picture, report.find(["quick"]), answer, "face.png")],
                            "runs/smile")
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": WIDTH, "height": 1100}, device_scale_factor=0.8)
        page.goto(Path(folder, "index.html").as_uri())
        with Image.open(BytesIO(page.screenshot())) as image:
            gallery.add("""
## The page

`minicnn explain runs/smile face.png` makes one page of all that, which needs no other file: the answer, the maps with
a slider each, their numbers and deletion curves, and every layer's feature maps. Where Grad-CAM has next to nothing to
do with the score, as in this detector with a Flatten, its card says so.
""")
            gallery.add_picture("page", image, "The page of minicnn explain: a face, what the network says of it, and "
                                "three maps over it, the first with a warning")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smile", type=Path, metavar="RUN")
    parser.add_argument("--cifar10", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()

    gallery = Gallery(options.out, options.small)
    smile = explain_smiles.detector(options.smile)
    models = {"smile detector": smile}
    if options.cifar10 is None:
        print("without --cifar10 RUN, what the CIFAR-10 network shows is left out")
    else:
        models["CIFAR-10 network"] = mc.load(options.cifar10)
        cifar10_classes(gallery, models["CIFAR-10 network"])
        filters(gallery, models["CIFAR-10 network"])
    tank_story(gallery)
    smiles(gallery, smile)
    dreams(gallery, models)
    explained(gallery, smile)
    gallery.write()
    print(f"made: {options.out / 'gallery.md'}")


if __name__ == "__main__":
    main()
