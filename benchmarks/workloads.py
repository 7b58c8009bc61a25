"""What is measured: networks by name, with the batches they are trained on."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

import minicnn as mc

from .nets import smile_module

BATCHES = 4  # different ones, in turn: inputs change from step to step
Batch = tuple[np.ndarray, np.ndarray]


class Workload(NamedTuple):
    """A network and what it is fed: pictures of `shape` (H, W, C), labels of so many classes (1: yes or no).

    net: the name of a model, or a function that builds the network of either side's layers (see nets.py). train: the
    batch sizes for training steps; inference: those for answers. deep: from random weights it magnifies rounding:
    PyTorch's two memory layouts give losses that differ by up to 1% after two steps (see parts/train.py).
    """

    name: str
    net: str | Callable[[Any], Any]
    shape: tuple[int, int, int]
    classes: int
    train: tuple[int, ...]
    inference: tuple[int, ...]
    deep: bool = False


WORKLOADS = {work.name: work for work in (
    Workload("smile", "smile_detector", (64, 64, 3), 1, (32, 2), ()),
    Workload("smile_module", smile_module, (64, 64, 3), 1, (32,), ()),
    Workload("cifar10", "cifar10_net", (32, 32, 3), 10, (50,), ()),
    Workload("mnist", "mnist_net", (28, 28, 1), 10, (64, 2), ()),
    Workload("resnet18", "resnet18", (224, 224, 3), 1000, (8,), (1,), deep=True),
    Workload("resnet50", "resnet50", (224, 224, 3), 1000, (8,), (1,), deep=True),
    Workload("mobilenet_v2", "mobilenet_v2", (224, 224, 3), 1000, (8,), (1,), deep=True),
    Workload("vgg16", "vgg16", (224, 224, 3), 1000, (), (1,), deep=True),
)}  # fmt: skip


def find(name: str) -> Workload:
    """A workload by its name; ValueError with suggestions if there is none."""
    if name in WORKLOADS:
        return WORKLOADS[name]
    raise ValueError(f"no network to measure is called {name!r}: {suggestion(name, WORKLOADS)}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """What may have been meant, or all that there is."""
    near = get_close_matches(name, known := list(known), n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(known)}"


def of_model(name: str) -> Workload:
    """The workload of any model of `minicnn models`, by its name or an alias; ValueError with suggestions if there is
    none. Models that aren't in the table are taken for deep and trained on batches of 8."""
    entry = mc.models.registry.find(name)
    for work in WORKLOADS.values():
        if work.net == entry.name:
            return work
    model = mc.models.create(entry.name)
    with mc.nn.evaluating(model):
        classes = model(mc.zeros(1, *model.input_shape)).shape[-1]
    return Workload(entry.name, entry.name, model.input_shape, classes, (8,), (1,), deep=True)


def batches(work: Workload, size: int, count: int = BATCHES, dtype: Any = np.float32) -> list[Batch]:
    """Random pictures (size, H, W, C) and labels: (size,) int64, or for yes or no (size, 1), floats as the pictures."""
    random = np.random.default_rng(0)

    def labels() -> np.ndarray:
        if work.classes == 1:
            return random.integers(0, 2, (size, 1)).astype(dtype)
        return random.integers(0, work.classes, size)

    return [(random.random((size, *work.shape), dtype), labels()) for _ in range(count)]


def in_double(data: Iterable[Batch]) -> list[Batch]:
    """The same batches with all floats in float64."""
    return [(x.astype(np.float64), y if np.issubdtype(y.dtype, np.integer) else y.astype(np.float64)) for x, y in data]
