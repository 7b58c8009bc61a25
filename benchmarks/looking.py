"""Do the maps explain, and do the painted pictures show what they say? On real faces and the CIFAR-10 net.

    python -m benchmarks.looking deletion --data DIR --net FILE [--baseline black]   # maps beside blind ones
    python -m benchmarks.looking randomization --data DIR --run runs/smile           # maps without the weights
    python -m benchmarks.looking pairs --data DIR --net FILE                         # which of two faces is smiling?
    python -m benchmarks.looking maximize --data DIR --run runs/smile [--colours grey] [--tv 300] [--classes 1,3]

Each prints a table. DIR holds train_happy.h5 and test_happy.h5, for a --run of cifar10 its files. Instead of a run, a
smile detector with a global average pool in place of Flatten is taken from FILE; if there is none yet, it is trained
and written there.
"""

import argparse
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import minicnn as mc
from minicnn import nn, vis
from minicnn.nn import functional as F
from minicnn.train.recipes import find

Maps = Callable[[nn.Module, np.ndarray, object], np.ndarray]


# ---------------------------------------------------------------------------------------------------------- deletion


def gaussian(model: nn.Module, x: np.ndarray, target: object) -> np.ndarray:
    """The middle of the picture matters, whatever it shows."""
    places = [np.linspace(-2, 2, size) for size in x.shape[1:3]]
    return np.broadcast_to(np.exp(-(places[0][:, None] ** 2 + places[1] ** 2) / 2), x.shape[:3])


def edges(model: nn.Module, x: np.ndarray, target: object) -> np.ndarray:
    """The strength of edges (Sobel)."""
    from scipy.ndimage import sobel

    grey = x.mean(axis=-1, dtype=np.float64)
    return np.hypot(sobel(grey, axis=1), sobel(grey, axis=2))


def chance(model: nn.Module, x: np.ndarray, target: object) -> np.ndarray:
    return np.random.default_rng(0).random(x.shape[:3])


BLIND: dict[str, Maps] = {"random": chance, "centred Gaussian": gaussian, "edges": edges}


def deletion(options: argparse.Namespace) -> None:
    """Areas under the deletion curves of the class that the detector names, the mean over all test faces."""
    model, (x, _) = network(options), test_pictures(options)
    fill = x.mean(axis=(1, 2), keepdims=True) if options.baseline == "mean" else np.zeros((len(x), 1, 1, 1), "f4")
    with nn.evaluating(model):
        smiling = model(mc.tensor(x)).numpy()[:, 0] > 0
    print(f"{'map':22} {'deletion':>9} {'insertion':>10} {'ROAD':>7}      (probability of the class named)")
    for name in ("Grad-CAM", "HiRes-CAM", "integrated gradients", "occlusion", *BLIND):
        rows = []
        for sign, part in ((1.0, smiling), (-1.0, ~smiling)):
            logit, probability = answer(sign)
            maps = drawn(name, model, x[part], logit, fill[part])
            curves = [curve(model, x[part], maps, probability, steps=16, baseline=fill[part], batch_size=128).areas
                      for curve in (vis.deletion_curve, vis.insertion_curve)]
            score = vis.road(model, x[part], maps, probability, shares=(0.1, 0.3, 0.5, 0.7, 0.9), batch_size=128).score
            rows.append([*curves, score])
        areas = np.concatenate(rows, axis=1).mean(axis=1)
        print(f"{name:22} {areas[0]:9.3f} {areas[1]:10.3f} {areas[2]:7.3f}", flush=True)


def answer(sign: float) -> tuple[Callable[[mc.Tensor], mc.Tensor], Callable[[mc.Tensor], mc.Tensor]]:
    """The logit and the probability of "smiling" (1) or "not smiling" (-1), as targets."""
    return lambda outputs: outputs[:, 0] * sign, lambda outputs: F.sigmoid(outputs[:, 0] * sign)


def drawn(name: str, model: nn.Module, x: np.ndarray, target: object, fill: np.ndarray) -> np.ndarray:
    """A map by its name; those that have a baseline take the one that pixels are deleted to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing in a picture speaks for the target
        if name in ("Grad-CAM", "HiRes-CAM"):
            return (vis.grad_cam if name == "Grad-CAM" else vis.hires_cam)(model, x, target)
        if name in BLIND:
            return BLIND[name](model, x, target)
        method = vis.occlusion if name == "occlusion" else vis.integrated_gradients
        return method(model, x, target, baseline=fill, batch_size=128)


# ----------------------------------------------------------------------------------------------------- randomization


def randomization(options: argparse.Namespace) -> None:
    """Rank correlation with the maps of the trained model as its layers are drawn anew, from the last to the first."""
    model, (x, _) = network(options), test_pictures(options)
    methods = {"guided backprop": vis.guided_backprop, "Grad-CAM": vis.grad_cam, "saliency": vis.saliency,
               "integrated gradients": vis.integrated_gradients}  # fmt: skip
    for place, (name, method) in enumerate(methods.items()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nothing in a face speaks for the target
            found = vis.randomization_check(model, x[:40], method)
        if not place:
            print(f"{'layers drawn anew':22} {' '.join(f'{layer:>7}' for layer in found.layers)}    mean    kept")
        means = " ".join(f"{mean:7.2f}" for mean in found.rank_correlation.mean(axis=1))
        mean = found.rank_correlation.mean()
        print(f"{name:22} {means} {mean:7.2f} {found.kept:7.2f}  {'passed' if found.passed else 'FAILED'}")


# ------------------------------------------------------------------------------------------------------------- pairs


def pairs(options: argparse.Namespace) -> None:
    """Of two faces side by side, how often Grad-CAM for "smile" puts more of its mass on the one that smiles."""
    model, (x, y) = network(options), test_pictures(options)
    with nn.evaluating(model):
        accuracy = ((model(mc.tensor(x)).numpy() > 0) == y).mean()
    random = np.random.default_rng(0)
    smiling, others = (random.choice(np.flatnonzero(y[:, 0] == label), 100) for label in (1, 0))
    left = random.random(100) < 0.5
    both = np.stack([np.concatenate([x[a], x[b]] if first else [x[b], x[a]], axis=1)
                     for a, b, first in zip(smiling, others, left, strict=True)])
    print(f"accuracy on {len(x)} single faces {accuracy:.1%}; right on 100 pairs of 64 x 128:")
    for name, method in (("Grad-CAM", vis.grad_cam), ("HiRes-CAM", vis.hires_cam), ("Layer-CAM", vis.layer_cam)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a map of zeros counts as wrong
            maps = method(model, both)
        half = maps.shape[2] // 2
        masses = [part.sum(axis=(1, 2)) for part in (maps[:, :, :half], maps[:, :, half:])]
        right = np.where(left, masses[0] > masses[1], masses[1] > masses[0])
        print(f"  {name:12} {right.sum()}")


# ---------------------------------------------------------------------------------------------------------- maximize


def maximize(options: argparse.Namespace) -> None:
    """The logits of painted pictures beside those of real ones, and after moves of 4 pixels."""
    model, (x, _) = network(options), test_pictures(options)
    with nn.evaluating(model):
        real = np.concatenate([model(mc.tensor(part)).numpy() for part in np.array_split(x, -(-len(x) // 500))])
    classes = options.classes if real.shape[1] > 1 else [0]
    painted = vis.maximize_activation(model, classes, colours=options.colours, tv=options.tv)
    moves = [(down, right) for down in (-4, 0, 4) for right in (-4, 0, 4) if (down, right) != (0, 0)]
    print(f"{'class':>6} {'painted':>8} {'95% of real are below':>22} {'lowest when moved':>18} {'recognised':>11}")
    for picture, score, wanted in zip(painted.pictures, painted.scores, classes, strict=True):
        rolled = np.stack([moved(picture, *move) for move in moves])
        with nn.evaluating(model):
            logits = model(mc.tensor(rolled)).numpy()
        seen = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(axis=1) == wanted
        print(f"{wanted:6} {score:8.1f} {np.quantile(real[:, wanted], 0.95):22.1f} {logits[:, wanted].min():18.1f} "
              f"{seen.sum():8} / {len(moves)}")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        from PIL import Image

        for picture, wanted in zip(painted.pictures, classes, strict=True):
            Image.fromarray((picture * 255).round().astype(np.uint8)).save(options.out / f"class_{wanted}.png")


def moved(picture: np.ndarray, down: int, right: int) -> np.ndarray:
    """A picture moved by whole pixels, its edges repeated."""
    wide = np.pad(picture, ((4, 4), (4, 4), (0, 0)), mode="edge")
    return wide[4 - down : 4 - down + picture.shape[0], 4 - right : 4 - right + picture.shape[1]]


# ------------------------------------------------------------------------------------------------------ for all parts


def network(options: argparse.Namespace) -> nn.Module:
    """The network of the run, or the pooled detector."""
    if options.run is not None:
        return mc.load(options.run)
    mc.manual_seed(0)
    model = pooled_detector()
    if options.net.exists():
        model.load_state_dict(mc.load(options.net))
        return model.eval()
    examples = mc.data.load_happy_house(options.large or options.data)
    flips = mc.data.transforms.Compose(mc.data.transforms.RandomHorizontalFlip())
    trainer = mc.train.Trainer(model, loss=F.binary_cross_entropy_with_logits,
                               optimizer=mc.optim.Adam(model.parameters(), lr=2e-3))  # fmt: skip
    trainer.fit(mc.data.DataLoader(examples.train, 32, shuffle=True, transform=flips), epochs=options.epochs)
    mc.save(model.state_dict(), options.net)
    return model.eval()


def pooled_detector() -> nn.Module:
    """The smile detector with a global average pool in place of Flatten: for pictures of any size."""
    layers = list(mc.models.create("smile_detector").children())
    return nn.Sequential(*layers[:10], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 128), nn.ReLU(),
                         nn.Linear(128, 1))  # fmt: skip


def test_pictures(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """The test pictures as floats, and their labels."""
    recipe = "smile" if options.run is None else mc.load(options.run).config["model"]
    pictures, labels = find(recipe).test_examples(options.data).arrays
    return pictures if pictures.dtype.kind == "f" else pictures / np.float32(255), labels


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--run", type=Path, help="folder of a run of smile, for maximize also of cifar10")
    parser.add_argument("--net", type=Path, help="instead: file of a detector with a global average pool")
    parser.add_argument("--large", type=Path, help="folder of more faces to train that one on")
    parser.add_argument("--epochs", type=int, default=25, help="of its training (default: 25)")
    parser.add_argument("--baseline", choices=("mean", "black"), default="mean", help="what deleted pixels become")
    parser.add_argument("--classes", type=lambda text: [int(word) for word in text.split(",")], default=[1, 3],
                        help="maximize: of cifar10, with commas between (default: 1,3)")  # fmt: skip
    parser.add_argument("--colours", help="maximize: decorrelated, plain or grey")
    parser.add_argument("--tv", type=float, default=0.0, help="maximize: weight of the total variation")
    parser.add_argument("--out", type=Path, help="maximize: folder for the pictures")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    if (options.run is None) == (options.net is None):
        parser.error("one of --run and --net is needed")
    mc.set_num_threads(options.threads)
    PARTS[options.part](options)


PARTS = {"deletion": deletion, "randomization": randomization, "pairs": pairs, "maximize": maximize}

if __name__ == "__main__":
    main()
