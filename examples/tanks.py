"""The story of the tanks, retold: a network that scores well, for the wrong reason, and the maps that give it away.

    python examples/tanks.py [--faces 2000] [--epochs 3] [--out tanks.png]

An army, so the story goes, had a network learn to see tanks. It was right on every photo of the test, and useless in
the field: the tanks had been photographed on cloudy days, the empty woods on sunny ones, and it had learned the
weather. Here two networks learn to see smiles on drawn faces. One gets them as they are. The other gets a planted cue:
whoever smiles was photographed in brighter light. On more pictures of that kind it looks as good as the first, or
better; in even light it falls to guessing.

No map needs the even light to tell. The faces are drawn, so each can be drawn twice, smiling and not, and where the two
differ is the mouth: the only place that has the answer. How much of a map is there? A minute.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import minicnn as mc
from minicnn import data, nn
from minicnn.data.drawing import Dice
from minicnn.data.faces import GROUP, draw_group
from minicnn.figure import save_png
from minicnn.train import Trainer
from minicnn.vis import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BRIGHTER = 0.25  # what the light adds to each pixel of a smiling face, of 1


def twins(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """16 faces, each drawn not smiling and smiling, float32 (16, 64, 64, 3), and where the two differ, the mouth, bool
    (16, 64, 64)."""
    stern, smiling = (draw_group(np.full((GROUP, 1, 1), smile), Dice(np.random.SeedSequence(seed), GROUP), 64)
                      .astype(np.float32) / 255 for smile in (0, 1))
    return stern, smiling, (np.abs(smiling - stern) > 0.02).any(axis=3)


def lit(faces: np.ndarray, smiling: np.ndarray) -> np.ndarray:
    """The same faces, in brighter light where they smile."""
    return (faces + BRIGHTER * smiling.reshape(-1, 1, 1, 1)).clip(0, 1)


def learn(faces: np.ndarray, smiling: np.ndarray, epochs: int) -> nn.Module:
    """A smile detector that has seen these faces."""
    mc.manual_seed(0)
    model = mc.models.create("smile_detector")
    trainer = Trainer(model, loss=nn.functional.binary_cross_entropy_with_logits,
                      optimizer=mc.optim.Adam(model.parameters(), lr=1e-3))
    trainer.fit(data.DataLoader(data.ArrayDataset(faces, smiling), 32, shuffle=True), epochs=epochs)
    return model.eval()


def accuracy(model: nn.Module, faces: np.ndarray, smiling: np.ndarray) -> float:
    with nn.evaluating(model):
        logits = np.concatenate([model(mc.tensor(some)).numpy() for some in np.array_split(faces, 10)])
    return float(((logits > 0) == (smiling > 0.5)).mean())


def share_on(mouths: np.ndarray, maps: np.ndarray) -> float:
    """How much of what the maps (N, 64, 64) or (N, 64, 64, 3) hold lies on the mouths, for or against."""
    size = np.abs(maps if maps.ndim == 3 else maps.sum(axis=3))
    return float((size * mouths).sum() / size.sum())


def story(faces: int, epochs: int) -> tuple[list[str], "Figure"]:
    """The story in figures, and as a picture."""
    given = data.load_synthetic_faces(train=faces, test=min(faces, 500))
    models = {
        "even light": learn(given.train_x, given.train_y, epochs),
        "brighter smiles": learn(lit(given.train_x, given.train_y), given.train_y, epochs),
    }
    lines = [f"{'right on':28} even light   brighter smiles"]
    for name, model in models.items():
        even = accuracy(model, given.test_x, given.test_y)
        bright = accuracy(model, lit(given.test_x, given.test_y), given.test_y)
        lines.append(f"{f'learned from {name}':28} {even:10.1%}   {bright:15.1%}")

    _, smiling, mouths = twins(seed=7)
    shown = lit(smiling, np.ones(len(smiling)))
    lines.append(f"of each map on the mouth, which is {mouths.mean():.1%} of the picture:")
    columns = {}
    for name, model in models.items():
        for title, maps in (("occlusion", mc.vis.occlusion(model, shown, target=0)),
                            ("integrated gradients", mc.vis.integrated_gradients(model, shown, target=0))):
            lines.append(f"  {title}, learned from {name}: {share_on(mouths, maps):.0%}")
            columns[f"{title}\nlearned from {name}"] = maps[:3]
    return lines, figures.comparison_figure(shown[:3], columns, [""] * 3, "What makes these faces smile?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=2000, help="to learn from")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("tanks.png"))
    options = parser.parse_args()
    lines, figure = story(options.faces, options.epochs)
    print("\n".join(lines))
    save_png(figure, options.out)
    print(f"drawn: {options.out}")


if __name__ == "__main__":
    main()
