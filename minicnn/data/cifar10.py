"""Reading CIFAR-10: 32 x 32 colour pictures of ten kinds of things, in the official binary or Python layout.

Krizhevsky, "Learning multiple layers of features from tiny images" (2009), https://www.cs.toronto.edu/~kriz/cifar.html
Both layouts keep a picture as 1,024 red, 1,024 green and 1,024 blue bytes, row by row. In the binary one, each record
is a byte for the label and a picture; in the Python one, each file is a pickled dict with `data` and `labels`.
A file is taken as data from a stranger: pickles are read as data, and sizes are checked against the file.
"""

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..io.restricted_pickle import NUMPY_ARRAYS, load_restricted
from .dataset import ArrayDataset, DataError, TrainTest, check_names

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PIXELS = 3 * 32 * 32
MOST_PICTURES = 60_000  # in a file: as many as the whole set has
BINARY, PICKLED = "cifar-10-batches-bin", "cifar-10-batches-py"
NAMES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
FILES = {
    BINARY: tuple(f"{name}.bin" for names in NAMES.values() for name in names),
    PICKLED: tuple(name for names in NAMES.values() for name in names),
}


def load_cifar10(folder: str | PathLike[str]) -> TrainTest:
    """Reads cifar-10-batches-bin/ or else cifar-10-batches-py/ in `folder`, which may be one of these itself.

    x: uint8 (N, 32, 32, 3); y: int64 (N,), 0 to 9. The official files hold 50,000 pictures to train on and 10,000 to
    test with; files with fewer are read too. The classes are those of batches.meta.txt where there is one.
    DataError if anything about the files is not as it should be.
    """
    place = _find(Path(folder))
    return TrainTest(load_cifar10_split(place, "train"), load_cifar10_split(place, "test"), _read_classes(place))


def load_cifar10_split(folder: str | PathLike[str], split: str) -> ArrayDataset:
    """Reads only the five files of the "train" split or the one file of the "test" split."""
    if split not in NAMES:
        raise ValueError(f'load_cifar10_split: split must be "train" or "test", got {split!r}')
    place = _find(Path(folder))
    read, suffix = (_read_binary, ".bin") if _is_binary(place) else (_read_pickle, "")
    paths = [place / f"{name}{suffix}" for name in NAMES[split]]
    for path in paths:  # all of them before the first is read
        _check_file(path)
    pictures, labels = zip(*(read(path) for path in paths), strict=True)
    return ArrayDataset(np.concatenate(pictures), np.concatenate(labels))


def has_cifar10(folder: Path) -> bool:
    """Whether all six files of either layout are there."""
    return any(
        all((place / name).is_file() for name in names)
        for layout, names in FILES.items()
        for place in (folder / layout, folder)
    )


def _find(folder: Path) -> Path:
    """The folder that holds the files themselves."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such directory; expected one with {BINARY}/ or {PICKLED}/")
    for place in (folder / BINARY, folder / PICKLED):
        if place.is_dir():
            return place
    if folder.name in FILES or any((folder / name).exists() for name in (*FILES[BINARY], *FILES[PICKLED])):
        return folder
    raise DataError(f"{folder}: neither {BINARY}/ nor {PICKLED}/ in it, nor their files")


def _is_binary(place: Path) -> bool:
    return place.name == BINARY or any((place / name).exists() for name in FILES[BINARY])


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path}: {'not a file' if path.exists() else 'no such file'}")


def _read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The pictures, uint8 (n, 32, 32, 3), and the labels, int64 (n,), of one file."""
    size = path.stat().st_size
    count, rest = divmod(size, 1 + PIXELS)
    if rest or not 0 < count <= MOST_PICTURES:
        raise DataError(f"{path}: {size} bytes, expected 1 to {MOST_PICTURES} records of {1 + PIXELS}")
    try:
        records = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error
    if records.size != size:
        raise DataError(f"{path}: ends after {records.size} of {size} bytes")
    records = records.reshape(count, 1 + PIXELS)
    labels = records[:, 0]
    if labels.max() >= len(CLASSES):
        raise DataError(f"{path}: holds the label {labels.max()}, expected 0 to 9")
    return _channels_last(records[:, 1:]), labels.astype(np.int64)


def _read_pickle(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The same from a file of the Python layout."""
    if path.stat().st_size > MOST_PICTURES * (2 * PIXELS):
        raise DataError(f"{path}: {path.stat().st_size} bytes, expected at most {MOST_PICTURES} pictures")
    try:
        content = load_restricted(path, NUMPY_ARRAYS)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error
    except ValueError as error:
        raise DataError(str(error)) from error
    pictures, labels = _entry(path, content, "data"), _entry(path, content, "labels")
    if not isinstance(pictures, np.ndarray) or pictures.dtype != np.uint8 or pictures.shape[1:] != (PIXELS,):
        raise DataError(f"{path}: data is {_describe(pictures)}, expected uint8 (n, {PIXELS})")
    if not isinstance(labels, list) or len(labels) != len(pictures) or not labels:
        raise DataError(f"{path}: labels is {_describe(labels)}, expected a list of {max(1, len(pictures))} ints")
    strange = [label for label in labels if type(label) is not int or not 0 <= label < len(CLASSES)]
    if strange:
        raise DataError(f"{path}: holds the label {_describe(strange[0])}, expected 0 to 9")
    return _channels_last(pictures), np.array(labels, np.int64)


def _channels_last(planes: np.ndarray) -> np.ndarray:
    """(n, 3072) with the planes one after the other to (n, 32, 32, 3)."""
    pictures = np.empty((len(planes), 32 * 32, 3), np.uint8)
    for channel, plane in enumerate(np.split(planes, 3, axis=1)):  # four times as fast as a transpose of all
        pictures[:, :, channel] = plane
    return pictures.reshape(-1, 32, 32, 3)


def _entry(path: Path, content: Any, key: str) -> Any:
    """What stands under a key. Python 2 wrote keys as bytes, Python 3 writes them as text."""
    if isinstance(content, dict):
        for spelling in (key.encode(), key):
            if spelling in content:
                return content[spelling]
    raise DataError(f"{path}: holds {_describe(content)} without {key!r}, expected a dict with 'data' and 'labels'")


def _read_classes(place: Path) -> tuple[str, ...]:
    """The lines of batches.meta.txt, which only the binary layout has."""
    path = place / "batches.meta.txt"
    if not path.is_file():
        return CLASSES
    try:
        with open(path, encoding="utf-8") as file:
            names = tuple(file.read(10_000).split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can't be read ({error})") from error
    names = tuple(name.strip() for name in names if name.strip())
    if len(names) != len(CLASSES):
        raise DataError(f"{path}: holds {len(names)} names, expected {len(CLASSES)}")
    check_names(str(path), names)
    return names


def _describe(value: Any) -> str:
    """What came, shortly; never by printing it, for a pickle can hold itself."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if type(value) is int:
        return f"{value}" if abs(value) < 10**12 else "a large number"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list | tuple | dict) else "")
