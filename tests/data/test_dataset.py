"""Data sets: samples, batches, and the errors of wrong arrays and indices."""

import numpy as np
import pytest

from minicnn.data import ArrayDataset, Dataset, Subset
from minicnn.data.dataset import take

X = np.arange(24, dtype=np.float32).reshape(6, 2, 2)
Y = np.arange(6)


class Squares(Dataset):
    """Samples one by one: (a Python float, a row)."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        if not 0 <= index < 5:
            raise IndexError(index)
        return float(index**2), np.full(3, index)


def test_array_dataset_gives_samples():
    data = ArrayDataset(X, Y)
    assert len(data) == 6
    x, y = data[2]
    np.testing.assert_array_equal(x, [[8, 9], [10, 11]])
    assert y == 2
    assert data[-1][1] == 5
    assert [y for _, y in data] == [0, 1, 2, 3, 4, 5]


def test_array_dataset_gives_batches_that_are_copies():
    data = ArrayDataset(X, Y)
    x, y = data[np.array([4, 0, 4])]
    np.testing.assert_array_equal(y, [4, 0, 4])
    np.testing.assert_array_equal(x[1], [[0, 1], [2, 3]])
    x[:] = -1
    assert X.min() == 0
    assert [part.shape for part in data[np.array([], int)]] == [(0, 2, 2), (0,)]


def test_array_dataset_checks_its_arrays():
    with pytest.raises(ValueError, match="one length, got 6, 5"):
        ArrayDataset(X, Y[:5])
    with pytest.raises(ValueError, match="at least one array"):
        ArrayDataset()
    with pytest.raises(TypeError, match=r"argument 1 .* shape \(\)"):
        ArrayDataset(X, 3.0)
    with pytest.raises(TypeError, match="argument 0 .* object"):
        ArrayDataset(np.array([None, None]))


@pytest.mark.parametrize("index", [1.0, np.array([True] * 6), slice(2), "1", np.array([[0, 1]]), None])
def test_wrong_kinds_of_index_are_refused(index):
    with pytest.raises(TypeError, match="expected an int or a row of ints"):
        ArrayDataset(X, Y)[index]


def test_an_index_beyond_the_end():
    with pytest.raises(IndexError):
        ArrayDataset(X)[6]
    with pytest.raises(IndexError):
        ArrayDataset(X)[np.array([0, 6])]


def test_subset():
    part = Subset(ArrayDataset(X, Y), [5, 1, 3])
    assert len(part) == 3
    assert part[0][1] == 5
    assert [y for _, y in part] == [5, 1, 3]
    np.testing.assert_array_equal(part[np.array([2, 1])][1], [3, 1])
    nested = Subset(part, np.array([2, 0]))
    np.testing.assert_array_equal(take(nested, np.array([0, 1]))[1], [3, 5])


def test_subset_of_samples_one_by_one():
    part = Subset(Squares(), [4, 2])
    assert part[1][0] == 4.0
    np.testing.assert_array_equal(take(part, np.array([0, 1]))[0], [16, 4])


def test_subset_checks_its_indices():
    data = ArrayDataset(X, Y)
    with pytest.raises(IndexError, match="from 0 to 5, got 6"):
        Subset(data, [0, 6])
    with pytest.raises(IndexError, match="got -1"):
        Subset(data, [-1])
    with pytest.raises(TypeError, match="row of ints"):
        Subset(data, [0.5])
    assert len(Subset(data, [])) == 0


def test_samples_are_stacked_field_by_field():
    squares, rows = take(Squares(), np.array([3, 1]))
    assert squares.dtype == np.float32
    np.testing.assert_array_equal(squares, [9, 1])
    np.testing.assert_array_equal(rows, [[3, 3, 3], [1, 1, 1]])


def test_samples_may_come_from_a_list():
    (numbers,) = take([np.int64(3), np.int64(4)], np.array([1, 0]))
    np.testing.assert_array_equal(numbers, [4, 3])


def test_samples_that_do_not_fit_together():
    with pytest.raises(ValueError, match=r"field 1 .* \[\(2,\), \(3,\)\]"):
        take([(0, np.zeros(2)), (0, np.zeros(3))], np.array([0, 1]))
    with pytest.raises(ValueError, match="different numbers of fields"):
        take([(0, 1), (0,)], np.array([0, 1]))


def test_dataset_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Dataset()
