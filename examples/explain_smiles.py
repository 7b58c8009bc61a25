"""Does a smile detector look at the mouth? Its maps, and whether they can be believed.

    python examples/explain_smiles.py [RUN] [--data DIR] [--faces 32] [--black] [--out DIR]

RUN is what `minicnn train smile` wrote; without one a detector learns from drawn faces first. DIR holds
train_happy.h5 and test_happy.h5, photographs; without it, where the variable MINICNN_DATA names no folder with
`smiles` in it either, the faces that are looked at are drawn.

A map is only a claim. The deletion curve tests it: the pixels that it calls most important are put out of focus first,
and what is left of the detector's probability is drawn; the smaller the area under the curve, the truer the map. They
could be blacked out instead (--black), but a black patch looks like an open mouth; out of focus, on the other hand, a
pixel takes on the colour of its neighbours, which does little where a map is scattered over single pixels. Three rivals
keep the maps honest, as none of them has seen the network: chance, a blob in the middle, and edges. A fourth is the
answer that we expect: the mouth first, or where photographs have it.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from tanks import learn, twins

import minicnn as mc
from minicnn import data, nn
from minicnn.figure import save_png
from minicnn.vis import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def detector(run: Path | None) -> nn.Module:
    """The model of a run, or one that learns from drawn faces now."""
    if run is not None:
        return mc.load(run)
    faces = data.load_synthetic_faces(train=2000, test=1)
    return learn(faces.train_x, faces.train_y, epochs=3)


def test_faces(folder: Path | None, count: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Smiling faces (N, 64, 64, 3), a map (N, 64, 64) that is 1 about the mouth, and what they are."""
    given = os.environ.get("MINICNN_DATA")
    if folder is None and given and Path(given, "smiles", "test_happy.h5").is_file():
        folder = Path(given, "smiles")
    if folder is None:
        return drawn_faces(count)
    faces, smiling = data.load_split(folder, "test").arrays
    faces = faces[smiling[:, 0] > 0.5][:count]
    mouths = np.zeros(faces.shape[:3], np.float32)
    mouths[:, 40:58, 14:50] = 1  # the photographs are cut so that the mouth lies here
    return faces, mouths, "photographs"


def drawn_faces(count: int) -> tuple[np.ndarray, np.ndarray, str]:
    """The same of drawn faces."""
    faces, mouths = (np.concatenate(part)[:count] for part in
                     zip(*(twins(seed)[1:] for seed in range(-(-count // 16))), strict=True))
    about = np.stack([ndimage.binary_dilation(mouth, iterations=2) for mouth in mouths])
    return faces, about.astype(np.float32), "drawn faces"


def maps_of(model: nn.Module, faces: np.ndarray, mouths: np.ndarray) -> dict[str, np.ndarray]:
    """What each method, and each rival that knows nothing of the network, calls important."""
    height, width = faces.shape[1:3]
    rows, columns = np.mgrid[:height, :width]
    blob = np.exp(-((rows - height / 2) ** 2 + (columns - width / 2) ** 2) / (2 * (height / 4) ** 2))
    grey = faces.mean(axis=3)
    return {
        "integrated gradients": mc.vis.integrated_gradients(model, faces, target=0),
        "occlusion": mc.vis.occlusion(model, faces, target=0),
        "Layer-CAM": mc.vis.layer_cam(model, faces, target=0),
        "the mouth first": mouths,
        "chance": np.random.default_rng(0).random(grey.shape),
        "a blob in the middle": np.broadcast_to(blob, grey.shape),
        "edges": np.hypot(ndimage.sobel(grey, axis=1), ndimage.sobel(grey, axis=2)),
    }


def look(model: nn.Module, faces: np.ndarray, mouths: np.ndarray, kind: str, black: bool = False
         ) -> tuple[list[str], "Figure", "Figure"]:
    """What was found, in figures; the deletion curves; and the maps of three faces."""
    maps = maps_of(model, faces, mouths)
    curves = {name: mc.vis.deletion_curve(model, faces, found, target=0, baseline=0.0 if black else "blur")
              for name, found in maps.items()}
    lines = [f"{len(faces)} smiling faces, {kind}: the mean area under the deletion curve, the smaller the truer"]
    lines += [f"  {name:22} {curve.areas.mean():.3f}"
              for name, curve in sorted(curves.items(), key=lambda one: one[1].areas.mean())]
    found = np.maximum(maps["integrated gradients"].sum(axis=3), 0)
    share = (found * (mouths > 0)).sum() / found.sum()
    lines.append(f"about the mouth lie {(mouths > 0).mean():.0%} of the picture, and {share:.0%} of what integrated "
                 "gradients find that speaks for a smile")
    shown = {name: maps[name][:3] for name in ("occlusion", "integrated gradients")}
    shown["Layer-CAM"] = mc.vis.layer_cam(model, faces[:3], target=0, upsample=True)
    means = {name: (curve.shares, curve.scores.mean(axis=0)) for name, curve in curves.items()}
    return (lines, figures.curves_figure(means, f"Deletion, mean of {len(faces)} {kind}", up="probability of a smile"),
            figures.comparison_figure(faces[:3], shown, [""] * 3, "What speaks for a smile"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--faces", type=int, default=32, help="to look at")
    parser.add_argument("--black", action="store_true", help="delete pixels by blacking them out")
    parser.add_argument("--out", type=Path, default=Path("explained_smiles"))
    options = parser.parse_args()
    lines, curves, maps = look(detector(options.run), *test_faces(options.data, options.faces), options.black)
    print("\n".join(lines))
    options.out.mkdir(parents=True, exist_ok=True)
    save_png(curves, options.out / "deletion.png")
    save_png(maps, options.out / "maps.png")
    print(f"{options.out}: {', '.join(sorted(path.name for path in options.out.iterdir()))}")


if __name__ == "__main__":
    main()
