"""The trainings that `minicnn train` knows: data, model, optimizer and loss of each, and its defaults."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import data, optim
from ..data import transforms as t
from ..nn import functional as F
from .metrics import accuracy
from .settings import Settings


class Examples(NamedTuple):
    """What a recipe learns from and is tested with, and where it comes from."""

    train: data.ArrayDataset
    test: data.ArrayDataset
    classes: tuple[str, ...]
    source: str
    synthetic: bool = False


@dataclass(frozen=True)
class Recipe:
    """How one kind of network is trained.

    about: what comes out of it. things: what its pictures show. model: its name.
    load, load_test: read all examples from a folder, or the test examples alone.
    optimizer: makes it, of the parameters and the learning rate. augment: the transforms that --augment adds.
    defaults: of the Settings; augmented: those that augmentation changes; drawn: those that change without a folder
    of data, on pictures that the computer draws (None: it can't).
    binary: one logit for two classes.
    """

    name: str
    about: str
    things: str
    model: str
    load: Callable[[Path], Any]
    load_test: Callable[[Path], data.ArrayDataset]
    optimizer: Callable[..., optim.Optimizer]
    augment: tuple[Any, ...]
    defaults: Mapping[str, Any]
    augmented: Mapping[str, Any] = field(default_factory=dict)
    drawn: Mapping[str, Any] | None = None
    binary: bool = False

    def settings(self, drawn: bool = False, **asked: Any) -> Settings:
        """The defaults, and what is asked for instead (None: not asked for). drawn: on pictures that are drawn."""
        given = {name: value for name, value in asked.items() if value is not None}
        chosen = {**self.defaults, **(self.augmented if given.get("augment") else {}),
                  **((self.drawn or {}) if drawn else {}), **given}
        self.check(settings := Settings(**chosen))
        return settings

    def check(self, settings: Settings) -> None:
        """ValueError if the settings ask for what such a network can't do."""
        if settings.miss_cost is not None and not self.binary:
            raise ValueError(f"costs of false alarms and misses are for a detector, which {self.name} is not: its "
                             "pictures are of more than two classes")

    def examples(self, folder: str | Path | None) -> Examples:
        """The data in a folder; without one, from where `data.find` finds it, or drawn by the computer."""
        if folder is None and self.drawn is not None:
            faces = data.load_synthetic_faces()
            return Examples(faces.train, faces.test, faces.classes, "synthetic faces, drawn by minicnn", True)
        where = data.find(self.name) if folder is None else folder
        if where is None:
            raise data.DataError(f"there is no data for {self.name} on this machine: name its folder (--data, or "
                                 f"MINICNN_DATA for the one above it), or fetch it by `minicnn data download "
                                 f"{self.name}`")
        found = self.load(Path(where))
        return Examples(found.train, found.test, tuple(found.classes), str(Path(where).resolve()))

    def test_examples(self, folder: str | Path | None) -> data.ArrayDataset:
        """The test examples; of a folder, no other files are read."""
        return self.examples(None).test if folder is None else self.load_test(Path(folder))

    @property
    def loss(self) -> Callable[..., Any]:
        return F.binary_cross_entropy_with_logits if self.binary else F.cross_entropy

    def accuracy(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        """The share of outputs that are right; a soft target counts as its likeliest class."""
        if self.binary:
            return accuracy(targets > 0.5, outputs > 0)
        return accuracy(targets if targets.ndim == 1 else targets.argmax(-1), outputs.argmax(-1))


def _rmsprop(parameters: Any, lr: float) -> optim.Optimizer:
    return optim.RMSprop(parameters, lr=lr, alpha=0.9, eps=1e-7)  # the decay and the epsilon of Keras


SMILE = Recipe(
    "smile", "a detector of smiles in faces of 64 x 64", "faces", "smile_detector",
    data.load_happy_house, lambda folder: data.load_split(folder, "test"), optim.Adam,
    augment=(t.RandomHorizontalFlip(), t.RandomAffine(12, translate=(0.1, 0.1), scale=(0.85, 1.15), shear=5),
             t.ColorJitter(brightness=0.3, contrast=0.3), t.MixUp(0.2)),
    defaults={"epochs": 20, "batch_size": 32, "lr": 1e-3},
    augmented={"epochs": 60, "validation": 0.1, "patience": 40, "schedule": "cosine", "average": 0.99},
    drawn={"epochs": 6, "schedule": "cosine"},
    binary=True,
)  # fmt: skip

MNIST = Recipe(
    "mnist", "a reader of handwritten digits", "digits", "mnist_net",
    data.load_mnist, lambda folder: data.load_mnist_split(folder, "test"), _rmsprop,
    augment=(t.RandomAffine(10, translate=(0.08, 0.08), scale=(0.9, 1.1), fill=0.0),),
    defaults={"epochs": 5, "batch_size": 64, "lr": 1e-3, "schedule": "cosine"},
)  # fmt: skip

FASHION = replace(
    MNIST, name="fashion", about="a sorter of clothes (Fashion-MNIST)", things="clothes",
    load=data.load_fashion, load_test=lambda folder: data.load_fashion_split(folder, "test"),
    augment=(t.RandomHorizontalFlip(),),
    defaults={"epochs": 10, "batch_size": 64, "lr": 1e-3},
)  # fmt: skip

CIFAR10 = Recipe(
    "cifar10", "a namer of ten kinds of things in pictures of 32 x 32", "pictures", "cifar10_net",
    data.load_cifar10, lambda folder: data.load_cifar10_split(folder, "test"), optim.Adam,
    augment=(t.RandomHorizontalFlip(),),
    defaults={"epochs": 50, "batch_size": 50, "lr": 1e-3},
)  # fmt: skip

RECIPES = {recipe.name: recipe for recipe in (SMILE, MNIST, FASHION, CIFAR10)}


def find(name: str) -> Recipe:
    """A recipe by its name or its model's; ValueError with suggestions if there is none."""
    names = RECIPES | {recipe.model: recipe for recipe in (SMILE, MNIST, CIFAR10)}
    if name in names:
        return names[name]
    near = difflib.get_close_matches(name, names, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(RECIPES)}"
    raise ValueError(f"there is no training called {name!r}: {hint}")
