"""Reading the Happy House data set: faces of 64 x 64 pixels, smiling or not, in two HDF5 files.

`train_happy.h5` has the keys train_set_x and train_set_y, `test_happy.h5` has test_set_x and test_set_y; either may
have list_classes too.
A file is taken as data from a stranger: what it claims is checked before anything of that size is read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .dataset import ArrayDataset, DataError, check_names

if TYPE_CHECKING:
    import h5py

PICTURE = (64, 64, 3)
MOST_PICTURES = 50_000  # 2.4 GB once they are float32: far above any such set, far below what a header can claim
CLASSES = ("not smiling", "smiling")


@dataclass(frozen=True, eq=False)
class HappyHouse:
    """Faces to train on and to test with. x: float32 (N, 64, 64, 3) in [0, 1]; y: float32 (N, 1), 1 for a smile."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: tuple[str, ...] = CLASSES

    @property
    def train(self) -> ArrayDataset:
        return ArrayDataset(self.train_x, self.train_y)

    @property
    def test(self) -> ArrayDataset:
        return ArrayDataset(self.test_x, self.test_y)


def load_happy_house(directory: str | PathLike[str]) -> HappyHouse:
    """Reads train_happy.h5 and test_happy.h5. DataError if anything about them is not as it should be."""
    with _open(directory, "train") as file:
        train_x, train_y = _read_pictures(file, "train")
        classes = _read_classes(file) if file.id.links.exists(b"list_classes") else CLASSES
    test_x, test_y = load_split(directory, "test").arrays
    return HappyHouse(train_x, train_y, test_x, test_y, classes)


def load_split(directory: str | PathLike[str], split: str) -> ArrayDataset:
    """Reads only the "train" or the "test" file. `x, y = load_split(directory, "test").arrays` gives the arrays."""
    if split not in ("train", "test"):
        raise ValueError(f'load_split: split must be "train" or "test", got {split!r}')
    with _open(directory, split) as file:
        return ArrayDataset(*_read_pictures(file, split))


def scale_pictures(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 pictures to float32 in [0, 1]; integer labels of any shape to a float32 column (N, 1)."""
    return np.divide(x, np.float32(255), dtype=np.float32), y.reshape(-1, 1).astype(np.float32)


@contextmanager
def _open(directory: str | PathLike[str], split: str) -> Iterator["h5py.File"]:
    """The file of a split; what h5py raises over a damaged file becomes a DataError, and each names the file."""
    import h5py

    folder = Path(directory)
    path = folder / f"{split}_happy.h5"
    if not folder.is_dir():
        raise DataError(f"{folder}: no such directory; expected one with train_happy.h5 and test_happy.h5")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not an HDF5 file, or a damaged one ({reason})") from error


def _read_pictures(file: "h5py.File", split: str) -> tuple[np.ndarray, np.ndarray]:
    """The pictures and labels of a split. Both are checked as far as possible before either is read."""
    pictures, labels = _find(file, f"{split}_set_x"), _find(file, f"{split}_set_y")
    if pictures.dtype != np.uint8 or pictures.shape[1:] != PICTURE:
        raise DataError(f"{split}_set_x is {_describe(pictures)}, expected uint8 (N, 64, 64, 3)")
    count = pictures.shape[0]
    if not 0 < count <= MOST_PICTURES:
        raise DataError(f"{split}_set_x claims {count} pictures, expected 1 to {MOST_PICTURES}")
    if labels.dtype.kind not in "iu" or labels.shape not in ((count,), (count, 1), (1, count)):
        raise DataError(f"{split}_set_y is {_describe(labels)}, expected {count} ints, one for each picture")
    _check_stored(pictures)
    _check_stored(labels)
    y = labels[()]
    strange = y[(y != 0) & (y != 1)]
    if strange.size:
        raise DataError(f"{split}_set_y holds the label {strange[0]}, expected 0 (not smiling) or 1 (smiling)")
    return scale_pictures(pictures[()], y)


def _read_classes(file: "h5py.File") -> tuple[str, ...]:
    names = _find(file, "list_classes")
    if names.shape != (2,) or names.dtype.kind not in "iuS" or names.dtype.itemsize > 256:
        raise DataError(f"list_classes is {_describe(names)}, expected 2 ints or strings of fixed length")
    if names.dtype.kind != "S":
        return CLASSES  # the labels 0 and 1, whose meaning is known
    _check_stored(names)
    found = tuple(name.decode("utf-8") for name in names[()])
    check_names("list_classes", found)
    return found


def _find(file: "h5py.File", key: str) -> "h5py.Dataset":
    """A data set whose content lies in this very file: no links or references that lead a reader elsewhere."""
    import h5py

    links = file.id.links  # `key in file` and `file.get` would follow a link into another file
    if not links.exists(key.encode()):
        there = ", ".join(f"{name!r:.40}" for name in islice(file, 8))
        raise DataError(f"no key {key!r}; the keys are: {there or 'none'}")
    if links.get_info(key.encode()).type != h5py.h5l.TYPE_HARD:
        raise DataError(f"{key} is a link to another place, expected the data itself")
    found = file[key]
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{key} is a {type(found).__name__.lower()}, expected an array")
    if found.external or found.is_virtual:
        raise DataError(f"{key} keeps its data in other files, expected them in this one")
    if found.shape is None or found.dtype.hasobject:
        raise DataError(f"{key} is {_describe(found)}, expected an array of numbers")
    return found


def _check_stored(dataset: "h5py.Dataset") -> None:
    """HDF5 fills what was never written with zeros: the file must hold all that it claims, in chunks of sane size."""
    name = (dataset.name or "").lstrip("/")
    if dataset.chunks is None:
        stored = dataset.id.get_storage_size()
        if stored < dataset.nbytes:
            raise DataError(f"{name} claims {dataset.nbytes} bytes, but the file holds {stored} of them")
        return
    expected = int(np.prod([-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)]))
    if dataset.id.get_num_chunks() != expected:
        raise DataError(f"{name} claims {expected} chunks, but the file holds {dataset.id.get_num_chunks()} of them")
    if np.prod(dataset.chunks, dtype=float) > MOST_PICTURES * np.prod(PICTURE):
        raise DataError(f"{name} claims chunks of {dataset.chunks}, expected smaller ones")


def _describe(dataset: "h5py.Dataset") -> str:
    return f"{str(dataset.dtype):.60} {dataset.shape}"
