"""Data sets: things with a length whose items are samples, each a tuple of arrays such as (picture, label)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class DataError(ValueError):
    """A data file is missing, damaged or not what it should be. The message names the file, in one or two lines."""


class Samples(Protocol):
    """The least that a DataLoader needs; a list of tuples has it too."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Dataset(ABC):
    """Base class of data sets: says how many samples there are and gets one.

    Override `batch` where many samples can be had faster at once than one by one.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        """One sample, for an int. IndexError beyond the end."""

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        """The samples at `indices` (B,), stacked field by field: arrays of shape (B, ...)."""
        return _stack([self[int(index)] for index in indices])


class ArrayDataset(Dataset):
    """Arrays of equal length side by side; sample i holds row i of each of them. The arrays are not copied.

    >>> import minicnn as mc
    >>> import numpy as np
    >>> data = mc.data.ArrayDataset(np.zeros((100, 32, 32, 3), np.float32), np.arange(100))
    >>> picture, label = data[7]
    >>> len(data), picture.shape, int(label)
    (100, (32, 32, 3), 7)
    """

    def __init__(self, *arrays: Any) -> None:
        if not arrays:
            raise ValueError("ArrayDataset: expected at least one array, got none")
        self.arrays = tuple(np.asarray(array) for array in arrays)
        for position, array in enumerate(self.arrays):
            if array.ndim == 0 or array.dtype == object:
                raise TypeError(f"ArrayDataset: argument {position} gives an array of shape {array.shape} and dtype "
                                f"{array.dtype}, expected rows of numbers")
        lengths = [len(array) for array in self.arrays]
        if len(set(lengths)) > 1:
            raise ValueError(f"ArrayDataset: the arrays must have one length, got {', '.join(map(str, lengths))}")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        """One sample for an int; for an array of ints (B,) a batch of copies, one array (B, ...) for each field."""
        rows = _check_index(index)
        return tuple(array[rows] for array in self.arrays)

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        return self[indices]


class TrainTest(NamedTuple):
    """What a reader of labelled pictures gives: pictures uint8 (N, H, W, C), labels int64 (N,).

    classes: the name of each label, in order.
    """

    train: ArrayDataset
    test: ArrayDataset
    classes: tuple[str, ...]


def check_names(where: str, names: Sequence[str]) -> None:
    """DataError if names of classes can't be told apart, or hold what a terminal would take for a command."""
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{where}: holds the name {name!r} twice, expected different names of classes")
        if not name.isprintable() or not name:
            raise DataError(f"{where}: holds the name {name!r:.80}, expected printable text")


class Subset(Dataset):
    """The samples of another data set at the given positions, in that order. Nothing is copied.

    >>> import minicnn as mc
    >>> import numpy as np
    >>> data = mc.data.ArrayDataset(np.array([10, 20, 30]))
    >>> [int(number) for (number,) in mc.data.Subset(data, [2, 0])]
    [30, 10]
    """

    def __init__(self, dataset: Samples, indices: Sequence[int] | np.ndarray) -> None:
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise TypeError(f"Subset: indices must be a row of ints, got shape {chosen.shape} and dtype {chosen.dtype}")
        beyond = chosen[(chosen < 0) | (chosen >= len(dataset))]
        if beyond.size:
            raise IndexError(f"Subset: indices must be from 0 to {len(dataset) - 1}, got {beyond[0]}")
        self.dataset = dataset
        self.indices = chosen.astype(np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        """One sample for an int, a batch for an array of ints (B,)."""
        rows = self.indices[_check_index(index)]
        return take(self.dataset, rows) if rows.ndim else _fields(self.dataset[int(rows)])

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        return self[indices]


def take(dataset: Samples, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    """The samples of any data set at `indices` (B,), stacked field by field; at once if the data set knows how."""
    if isinstance(dataset, Dataset):
        return dataset.batch(indices)
    return _stack([dataset[int(index)] for index in indices])


def _check_index(index: Any) -> Any:
    """Lets ints and rows of ints through. Floats, masks and slices would mean something else in NumPy."""
    array = np.asarray(index)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise TypeError(f"index: expected an int or a row of ints, got {index!r}")
    return array if array.ndim else int(array)


def _fields(sample: Any) -> tuple[Any, ...]:
    return tuple(sample) if isinstance(sample, tuple | list) else (sample,)


def _stack(samples: Sequence[Any]) -> tuple[np.ndarray, ...]:
    """One array for each field of the samples; Python floats become float32, as in `minicnn.tensor`."""
    rows = [_fields(sample) for sample in samples]
    if len({len(row) for row in rows}) > 1:
        raise ValueError(f"batch: the samples have different numbers of fields: {sorted({len(row) for row in rows})}")
    stacked = []
    for position, values in enumerate(zip(*rows, strict=True)):
        arrays = [np.asarray(value, np.float32 if type(value) is float else None) for value in values]
        shapes = sorted({array.shape for array in arrays})
        if len(shapes) > 1:
            raise ValueError(f"batch: field {position} must have one shape in all samples, got {shapes[:2]}")
        stacked.append(np.stack(arrays))
    return tuple(stacked)
