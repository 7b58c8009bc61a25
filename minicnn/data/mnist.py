"""Reading MNIST and Fashion-MNIST: 28 x 28 grey pictures of digits or clothes, each set in four idx files.

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition" (1998);
Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms" (2017).
"""

from os import PathLike
from pathlib import Path

import numpy as np

from .dataset import ArrayDataset, DataError, TrainTest
from .idx import read_idx

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
PICTURE = (28, 28)
PREFIXES = {"train": "train", "test": "t10k"}
KINDS = {"labels": "idx1-ubyte", "images": "idx3-ubyte"}


def load_mnist(folder: str | PathLike[str]) -> TrainTest:
    """Reads train-images-idx3-ubyte and its three siblings, plain or as .gz: handwritten digits.

    x: uint8 (N, 28, 28, 1), 0 for the background; y: int64 (N,), 0 to 9. The official files hold 60,000 pictures to
    train on and 10,000 to test with; files with fewer are read too.
    DataError if anything about the files is not as it should be.
    """
    return TrainTest(load_mnist_split(folder, "train"), load_mnist_split(folder, "test"), DIGITS)


def load_fashion(folder: str | PathLike[str]) -> TrainTest:
    """Reads Fashion-MNIST: pictures of clothes in files of the same names and kind as `load_mnist`'s."""
    return TrainTest(load_fashion_split(folder, "train"), load_fashion_split(folder, "test"), CLOTHES)


def load_mnist_split(folder: str | PathLike[str], split: str) -> ArrayDataset:
    """Reads only the two files of the "train" or the "test" split."""
    if split not in PREFIXES:
        raise ValueError(f'load_mnist_split: split must be "train" or "test", got {split!r}')
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such directory; expected one with train-images-idx3-ubyte[.gz] and its siblings")
    label_file, picture_file = (_find(folder, PREFIXES[split], what) for what in KINDS)
    y = read_idx(label_file)
    if y.max() >= len(DIGITS):
        raise DataError(f"{label_file}: holds the label {y.max()}, expected 0 to 9")
    x = read_idx(picture_file, PICTURE, len(y))
    return ArrayDataset(x[..., None], y.astype(np.int64))


load_fashion_split = load_mnist_split  # the files of both sets are alike in all but their pictures


def has_mnist(folder: Path) -> bool:
    """Whether the four files of either set are there."""
    stems = [(f"{prefix}-{what}", kind) for prefix in PREFIXES.values() for what, kind in KINDS.items()]
    return all(any((folder / name).is_file() for name in _spellings(*stem)) for stem in stems)


def _find(folder: Path, prefix: str, what: str) -> Path:
    """The first of the names that a file can have."""
    names = _spellings(f"{prefix}-{what}", KINDS[what])
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder}: no file {names[0]} or {names[1]}")


def _spellings(stem: str, kind: str) -> list[str]:
    """Plain or in gzip; some mirrors write a dot where the official names have a dash."""
    return [f"{stem}{mark}{kind}{suffix}" for mark in "-." for suffix in ("", ".gz")]
