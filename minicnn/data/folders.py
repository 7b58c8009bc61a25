"""Folders of pictures by class: FOLDER/CLASS/picture.jpg."""

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .dataset import ArrayDataset, DataError, Dataset, TrainTest
from .picture import check_shape, read_picture

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm")


class PictureFolder(Dataset):
    """The pictures in FOLDER/CLASS/, each read when it is asked for: (uint8 (H, W, C), int64 label).

    size: (H, W) that all pictures are cropped and scaled to, see `read_picture`.
    channels: 3 for RGB, 1 for luminance.

    classes: the names of the class folders, sorted; a label is a position in it.
    files: the paths of the pictures, class after class, sorted by name; `labels` (N,) goes with it.

    Hidden files are passed over. DataError if there is no class, a class has no pictures, or there is anything else
    among the class folders or the pictures; and, when it is asked for, if a picture can't be read.
    """

    def __init__(self, folder: str | PathLike[str], size: tuple[int, int], channels: int = 3) -> None:
        self.shape = (*size, channels)
        check_shape("PictureFolder", self.shape)
        folder = Path(folder)
        places = _entries(folder)
        for place in places:
            if not place.is_dir():
                raise DataError(f"{place}: not a folder; expected {folder} to hold one folder for each class")
        if not places:
            raise DataError(f"{folder}: empty; expected a folder for each class")
        groups = [_pictures(place) for place in places]
        self.classes = tuple(place.name for place in places)
        self.files = [file for group in groups for file in group]
        self.labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> tuple[np.ndarray, np.int64]:
        """One sample, for an int."""
        return read_picture(self.files[index], self.shape), self.labels[index]


def load_picture_folders(folder: str | PathLike[str], size: tuple[int, int], channels: int = 3) -> TrainTest:
    """Reads all pictures of FOLDER/train/CLASS/ and FOLDER/test/CLASS/ into memory, as `PictureFolder` reads them.

    DataError if the classes of the two differ, or anything else is not as it should be.

    >>> import minicnn as mc
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png"):
    ...         (Path(folder) / name).parent.mkdir(parents=True)
    ...         Image.new("RGB", (64, 48)).save(Path(folder) / name)
    ...     pets = mc.data.load_picture_folders(folder, size=(32, 32))
    >>> pets.classes, pets.train.arrays[0].shape, pets.test.arrays[1].tolist()
    (('cat', 'dog'), (2, 32, 32, 3), [0, 1])
    """
    folder = Path(folder)
    train, test = (PictureFolder(folder / split, size, channels) for split in ("train", "test"))
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))[0]
        raise DataError(f"{folder}: the class {odd!r} is only in {'train' if odd in train.classes else 'test'}/, "
                        "expected the same classes in both")
    return TrainTest(_load(train), _load(test), train.classes)


def _load(pictures: PictureFolder) -> ArrayDataset:
    x = np.empty((len(pictures), *pictures.shape), np.uint8)
    for index, file in enumerate(pictures.files):
        x[index] = read_picture(file, pictures.shape)
    return ArrayDataset(x, pictures.labels)


def _pictures(place: Path) -> list[Path]:
    """The picture files of one class."""
    files = _entries(place)
    for file in files:
        if file.is_dir() or file.suffix.lower() not in SUFFIXES:
            raise DataError(f"{file}: not a picture by its name; expected {', '.join(SUFFIXES)}")
    if not files:
        raise DataError(f"{place}: a class without pictures")
    return files


def _entries(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, sorted by name."""
    if not folder.is_dir():
        raise DataError(f"{folder}: {'not a directory' if folder.exists() else 'no such directory'}")
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: can't be read ({error.strerror})") from error
