"""CIFAR-10 in its two official layouts: what is read from good files, and what is said about broken ones."""

import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.data import DataError, load_cifar10, load_cifar10_split

GENERATOR = np.random.default_rng(0)
X = GENERATOR.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)  # two pictures in each of six files
Y = np.array([0, 9, 1, 8, 2, 7, 3, 6, 4, 5, 9, 0])
NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def planes(pictures):
    """The 3,072 bytes of each picture, as the site describes them: red, green and blue, each row by row."""
    return np.stack([np.concatenate([picture[..., channel].ravel() for channel in range(3)]) for picture in pictures])


def records(pictures, labels):
    return b"".join(bytes([label]) + pixels.tobytes() for label, pixels in zip(labels, planes(pictures), strict=True))


def write_binary(folder, **changes):
    place = folder / "cifar-10-batches-bin"
    place.mkdir(parents=True)
    for i, name in enumerate(NAMES):
        content = changes.get(name, records(X[2 * i : 2 * i + 2], Y[2 * i : 2 * i + 2]))
        (place / f"{name}.bin").write_bytes(content)
    return place


def batch(i, **changes):
    content = {"batch_label": b"one", "labels": Y[2 * i : 2 * i + 2].tolist(), "data": planes(X[2 * i : 2 * i + 2]),
               "filenames": [b"a.png", b"b.png"], **changes}  # fmt: skip
    return {key.encode(): value for key, value in content.items() if value is not None}


def write_pickles(folder, protocol=2, **changes):
    place = folder / "cifar-10-batches-py"
    place.mkdir(parents=True)
    for i, name in enumerate(NAMES):
        content = changes.get(name, pickle.dumps(batch(i), protocol))
        (place / name).write_bytes(content)
    return place


def check(cifar):
    for part, rows in ((cifar.train, slice(0, 10)), (cifar.test, slice(10, 12))):
        x, y = part.arrays
        assert x.dtype == np.uint8 and y.dtype == np.int64 and y.ndim == 1
        np.testing.assert_array_equal(x, X[rows])
        np.testing.assert_array_equal(y, Y[rows])
    assert cifar.classes[0] == "airplane" and cifar.classes[9] == "truck" and len(cifar.classes) == 10


@pytest.mark.parametrize("write", [write_binary, write_pickles])
def test_reading(tmp_path, write):
    place = write(tmp_path)
    check(load_cifar10(str(tmp_path)))
    check(load_cifar10(place))
    place.rename(tmp_path / "renamed")
    check(load_cifar10(tmp_path / "renamed"))


def test_pickles_of_other_protocols_and_with_keys_of_text(tmp_path):
    write_pickles(tmp_path, 4, test_batch=pickle.dumps({"data": planes(X[10:]), "labels": Y[10:].tolist()}, 3))
    check(load_cifar10(tmp_path))


def test_the_binary_layout_comes_first(tmp_path):
    write_pickles(tmp_path, test_batch=b"rubbish")
    write_binary(tmp_path)
    check(load_cifar10(tmp_path))


def test_the_names_of_the_classes(tmp_path):
    meta = write_binary(tmp_path) / "batches.meta.txt"
    meta.write_text("".join(f"thing {i}\n" for i in range(10)) + "\n")  # the official file ends with an empty line too
    assert load_cifar10(tmp_path).classes == tuple(f"thing {i}" for i in range(10))
    for content, message in ((b"one\ntwo\n", "holds 2 names, expected 10"), (b"\xff" * 10, "can't be read")):
        meta.write_bytes(content)
        with pytest.raises(DataError, match=f"{meta}: {message}"):
            load_cifar10(tmp_path)


@pytest.mark.parametrize("write", [write_binary, write_pickles])
def test_one_split_needs_only_its_files(tmp_path, write):
    place = write(tmp_path)
    for path in place.glob("data_batch_*"):
        if "5" not in path.name:
            path.unlink()
    assert len(load_cifar10_split(tmp_path, "test")) == 2
    with pytest.raises(DataError, match=r"data_batch_1(\.bin)?: no such file"):
        load_cifar10_split(tmp_path, "train")
    with pytest.raises(ValueError, match='"train" or "test", got \'all\''):
        load_cifar10_split(tmp_path, "all")


def test_missing_folders(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such directory; expected one with cifar-10-batches-bin/"):
        load_cifar10(tmp_path / "nowhere")
    with pytest.raises(DataError, match=f"{tmp_path}: neither cifar-10-batches-bin/ nor cifar-10-batches-py/"):
        load_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match="data_batch_1: no such file"):
        load_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").mkdir()
    with pytest.raises(DataError, match="data_batch_1: not a file"):
        load_cifar10(tmp_path)


@pytest.mark.parametrize(("content", "message"), [
    (b"", "0 bytes, expected 1 to 60000 records of 3073"),
    (records(X[:2], Y[:2])[:-1], "6145 bytes, expected"),
    (records(X[:2], Y[:2]) + b"\0", "6147 bytes, expected"),
    (records(X[:2], [3, 10]), "holds the label 10, expected 0 to 9"),
    (b"\xff" * 3073, "holds the label 255"),
])  # fmt: skip
def test_broken_binary_files(tmp_path, content, message):
    place = write_binary(tmp_path, data_batch_3=content)
    with pytest.raises(DataError, match=f"{place / 'data_batch_3.bin'}: {message}"):
        load_cifar10(tmp_path)


def test_a_file_that_pretends_to_be_huge(tmp_path):
    place = write_binary(tmp_path)
    os.truncate(place / "test_batch.bin", 3073 * 10**8)  # a hole: nothing of it is on the disk
    tracemalloc.start()
    with pytest.raises(DataError, match="307300000000 bytes, expected"):
        load_cifar10_split(tmp_path, "test")
    place = write_pickles(tmp_path / "py")
    os.truncate(place / "test_batch", 10**12)
    with pytest.raises(DataError, match="test_batch: 1000000000000 bytes, expected at most"):
        load_cifar10_split(tmp_path / "py", "test")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


CYCLE = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(("content", "message"), [
    (b"", "not a readable pickle"),
    (b"GIF89a", "not a readable pickle|would take"),
    (pickle.dumps(batch(0), 2)[:-100], "not a readable pickle"),
    (pickle.dumps(Evil()), "would build '.*system', expected arrays only"),
    (pickle.dumps({**batch(0), b"more": Evil()}, 2), "would build"),
    (pickle.dumps([1]), "holds a list of 1 without 'data'"),
    (pickle.dumps(batch(0, labels=None), 2), "holds a dict of 3 without 'labels'"),
    (pickle.dumps(batch(0, data=b"abc"), 2), "data is a bytes, expected uint8"),
    (pickle.dumps(batch(0, data=np.zeros((2, 3072), np.float32)), 2), r"data is float32 \(2, 3072\), expected uint8"),
    (pickle.dumps(batch(0, data=np.zeros((2, 3071), np.uint8)), 2), r"data is uint8 \(2, 3071\)"),
    (pickle.dumps(batch(0, data=np.zeros((), np.uint8)), 2), r"data is uint8 \(\)"),
    (pickle.dumps(batch(0, data=np.zeros((2, 3072), object)), 2), "would build an array of dtype 'O8'"),
    (pickle.dumps(batch(0, labels=[1]), 2), "labels is a list of 1, expected a list of 2 ints"),
    (pickle.dumps(batch(0, labels=(1, 2)), 2), "labels is a tuple of 2"),
    (pickle.dumps(batch(0, labels=[], data=np.zeros((0, 3072), np.uint8)), 2), "labels is a list of 0"),
    (pickle.dumps(batch(0, labels=[1, 10]), 2), "holds the label 10, expected 0 to 9"),
    (pickle.dumps(batch(0, labels=[-1, 1]), 2), "holds the label -1"),
    (pickle.dumps(batch(0, labels=[1, 10**5000]), 2), "holds the label a large number"),
    (pickle.dumps(batch(0, labels=[1, True]), 2), "holds the label a bool"),
    (pickle.dumps(batch(0, labels=[1, 2.0]), 2), "holds the label a float"),
    (pickle.dumps(batch(0, labels=[1, CYCLE]), 2), "holds the label a list"),
])  # fmt: skip
def test_broken_pickles(tmp_path, content, message):
    place = write_pickles(tmp_path, data_batch_3=content)
    with pytest.raises(DataError, match=f"{place / 'data_batch_3'}: ({message})") as caught:
        load_cifar10(tmp_path)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 400


@settings(max_examples=100, deadline=None)
@given(binary=st.booleans(), kept=st.integers(0, 7000),
       flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4))
def test_damaged_bytes_give_a_data_error_or_pictures_and_nothing_else(tmp_path_factory, binary, kept, flips):
    folder = tmp_path_factory.getbasetemp() / f"damaged-{'bin' if binary else 'py'}"
    if not folder.exists():
        (write_binary if binary else write_pickles)(folder)
    content = bytearray(records(X[10:], Y[10:]) if binary else pickle.dumps(batch(5), 2))[: max(kept, 1)]
    for position, value in flips:
        content[position % len(content)] = value
    next(folder.glob("*/test_batch*")).write_bytes(bytes(content))
    try:
        x, y = load_cifar10_split(folder, "test").arrays
    except DataError as error:
        assert str(folder) in str(error) and len(str(error).splitlines()) == 1
    else:
        assert x.shape == (len(y), 32, 32, 3) and x.dtype == np.uint8 and y.min() >= 0 and y.max() <= 9


def test_the_real_pictures():
    root = os.environ.get("MINICNN_DATA")
    folder = Path(root or "") / "cifar10"
    if not root or not any((folder / f"cifar-10-batches-{kind}").is_dir() for kind in ("bin", "py")):
        pytest.skip("set MINICNN_DATA to a folder with cifar10/cifar-10-batches-bin/ to read the real pictures")
    train, test, _ = load_cifar10(folder)
    assert train.arrays[0].shape == (50_000, 32, 32, 3) and test.arrays[0].shape == (10_000, 32, 32, 3)
    assert (np.bincount(train.arrays[1]) == 5000).all() and (np.bincount(test.arrays[1]) == 1000).all()
    # The means of the channels, as the literature has them.
    means = [train.arrays[0][..., channel].mean() / 255 for channel in range(3)]
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=2e-3)
