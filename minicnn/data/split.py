"""Setting examples aside, and telling data sets apart."""

import hashlib

import numpy as np

from .dataset import ArrayDataset, Dataset, Subset


def split_off(dataset: ArrayDataset, share: float, seed: int = 0) -> tuple[Subset, Subset]:
    """(the rest, the part set aside): `share` of the examples of each class, chosen by `seed`, for validation.

    The labels are the data set's second field: ints, or 0 and 1 as floats. Both parts keep the set's order. ValueError
    unless both parts have an example.

    >>> import minicnn as mc
    >>> import numpy as np
    >>> labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    >>> training, validation = mc.data.split_off(mc.data.ArrayDataset(np.arange(8), labels), share=0.5)
    >>> len(training), labels[validation.indices].tolist()  # half of each class
    (4, [0, 0, 0, 1])
    """
    if not isinstance(dataset, ArrayDataset) or len(dataset.arrays) < 2:
        fields = f" of {len(dataset.arrays)} field" if isinstance(dataset, ArrayDataset) else ""
        raise TypeError(f"split_off: expected an ArrayDataset of examples and labels, got {type(dataset).__name__}"
                        f"{fields}")
    if not len(dataset):
        raise ValueError("split_off: the data set is empty")
    if not 0 < share < 1:
        raise ValueError(f"split_off: share must be above 0 and below 1, got {share!r}")
    labels = dataset.arrays[1].reshape(len(dataset), -1)
    if labels.shape[1] != 1:
        raise ValueError(f"split_off: labels must be one number each, got {labels.shape[1]}")
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(2,))))
    aside = np.zeros(len(dataset), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels[:, 0] == label)
        aside[generator.permutation(members)[: round(share * len(members))]] = True
    if aside.all() or not aside.any():
        raise ValueError(f"split_off: {share} of {len(dataset)} examples leaves nothing on one side")
    return Subset(dataset, np.flatnonzero(~aside)), Subset(dataset, np.flatnonzero(aside))


def fingerprint(dataset: Dataset) -> str:
    """A SHA-256 of all that is in a data set of arrays: the same data give the same, in any file. TypeError for a data
    set that is not of arrays.

    >>> import minicnn as mc
    >>> import numpy as np
    >>> one, same, other = (mc.data.ArrayDataset(np.array(numbers)) for numbers in ([1, 2], [1, 2], [2, 1]))
    >>> mc.data.fingerprint(one) == mc.data.fingerprint(same), mc.data.fingerprint(one) == mc.data.fingerprint(other)
    (True, False)
    """
    if isinstance(dataset, Subset) and isinstance(dataset.dataset, Dataset):
        return hashlib.sha256(f"{fingerprint(dataset.dataset)} {dataset.indices.tolist()}".encode()).hexdigest()
    if not isinstance(dataset, ArrayDataset):
        raise TypeError(f"fingerprint: expected a data set of arrays, got {type(dataset).__name__}")
    found = hashlib.sha256()
    for array in dataset.arrays:
        found.update(f"{array.dtype} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
