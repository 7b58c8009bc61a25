"""The trainings of the books: data, model, optimizer and loss of each, and what `minicnn train` does by default."""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import data, optim
from ..data import transforms as t
from ..nn import functional as F
from ..ops.arguments import is_int
from .metrics import accuracy


@dataclass(frozen=True)
class Settings:
    """What a training can be asked for.

    seed: governs the first weights, the order of the examples, augmentation, dropout and the validation split.
    augment: change the training pictures at random. validation: the share of the training examples that is set aside
    to evaluate each epoch. patience: end when the validation loss has not got better for so many epochs, and keep the
    weights of the best. schedule: of the learning rate, "constant" or "cosine" (down to 0 in the last epoch). warmup:
    epochs over which the learning rate rises to `lr`. clip_norm: the most that the norm of the gradients may be.
    average: the decay of an exponential moving average of the weights, which is then what is evaluated and kept.
    false_alarm_cost, miss_cost: what the two mistakes of a detector cost; the threshold follows from them, on the
    validation examples.
    """

    epochs: int
    batch_size: int
    lr: float
    seed: int = 0
    augment: bool = False
    validation: float = 0.0
    patience: int | None = None
    schedule: str = "constant"
    warmup: int = 0
    clip_norm: float | None = None
    average: float | None = None
    false_alarm_cost: float | None = None
    miss_cost: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("patience", 1), ("warmup", 0)):
            value = getattr(self, name)
            if not (is_int(value) and value >= least) and not (name == "patience" and value is None):
                raise ValueError(f"{name} must be an int of at least {least}, got {value!r:.80}")
        for name in ("lr", "clip_norm", "false_alarm_cost", "miss_cost"):
            value = getattr(self, name)
            if not (_is_number(value) and value > 0) and not (name != "lr" and value is None):
                raise ValueError(f"{name} must be a positive number, got {value!r:.80}")
        if not _is_number(self.validation) or not 0 <= self.validation < 1:
            raise ValueError(f"validation must be from 0 to below 1, got {self.validation!r:.80}")
        if self.average is not None and not (_is_number(self.average) and 0 < self.average < 1):
            raise ValueError(f"average must be above 0 and below 1, got {self.average!r:.80}")
        if not isinstance(self.augment, bool):
            raise ValueError(f"augment must be True or False, got {self.augment!r:.80}")
        if self.patience is not None and not self.validation:
            raise ValueError("early stopping (patience) needs validation examples: the test examples choose nothing")
        if (self.false_alarm_cost is None) != (self.miss_cost is None):
            raise ValueError("the costs of a false alarm and of a miss belong together: give both or none")
        if self.miss_cost is not None and not self.validation:
            raise ValueError("a threshold by costs needs validation examples: the test examples choose nothing")
        if not isinstance(self.schedule, str) or self.schedule not in ("constant", "cosine"):
            raise ValueError(f"schedule must be 'constant' or 'cosine', got {self.schedule!r:.80}")
        if self.warmup >= self.epochs:
            raise ValueError(f"warmup must be shorter than the training of {self.epochs} epochs, got {self.warmup}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


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
    augmented={"epochs": 60, "validation": 0.1, "patience": 20, "schedule": "cosine", "average": 0.99},
    drawn={"epochs": 6},
    binary=True,
)  # fmt: skip

MNIST = Recipe(
    "mnist", "a reader of handwritten digits", "digits", "mnist_net",
    data.load_mnist, lambda folder: data.load_mnist_split(folder, "test"), _rmsprop,
    augment=(t.RandomAffine(10, translate=(0.08, 0.08), scale=(0.9, 1.1), fill=0.0),),
    defaults={"epochs": 5, "batch_size": 64, "lr": 1e-3},
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


def changed(settings: Settings, asked: Mapping[str, Any]) -> list[str]:
    """What is asked for (not None) and differs from the settings, in words."""
    return [f"{f.name} {asked[f.name]} (it was {getattr(settings, f.name)})" for f in fields(settings)
            if asked.get(f.name) is not None and asked[f.name] != getattr(settings, f.name)]
