"""The Happy House files: what is read from good ones, and what is said about broken ones."""

import os
import random
from pathlib import Path

import numpy as np
import pytest

from minicnn.data import ArrayDataset, DataError, load_happy_house, load_split

h5py = pytest.importorskip("h5py")
GENERATOR = np.random.default_rng(0)
X = GENERATOR.integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
Y = np.array([1, 0, 0, 1, 1, 0])


def write(folder, split="train", **changes):
    """A good file, with keys replaced, or left out where None is given. A function makes what it likes of its key."""
    content = {f"{split}_set_x": X, f"{split}_set_y": Y, "list_classes": np.array([0, 1]), **changes}
    with h5py.File(folder / f"{split}_happy.h5", "w") as file:
        for key, value in content.items():
            if callable(value):
                value(file, key)
            elif value is not None:
                file.create_dataset(key, data=value)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "train")
    write(tmp_path, "test")
    return tmp_path


def test_reading(folder):
    house = load_happy_house(folder)
    assert house.train_x.dtype == house.train_y.dtype == np.float32
    assert house.train_x.shape == (6, 64, 64, 3) and house.train_y.shape == (6, 1)
    np.testing.assert_allclose(house.train_x, X.astype(np.float64) / 255, rtol=1e-7)
    assert house.train_x.max() == 1.0 and house.train_x.min() == 0.0
    np.testing.assert_array_equal(house.test_y[:, 0], Y)
    assert house.classes == ("not smiling", "smiling")
    assert len(house.train) == len(house.test) == 6
    assert house.test[1][0] is not None and house.test.arrays[0] is house.test_x


def test_reading_one_split_needs_only_its_file(folder):
    (folder / "train_happy.h5").unlink()
    test = load_split(str(folder), "test")
    assert isinstance(test, ArrayDataset)
    x, y = test.arrays
    assert x.shape == (6, 64, 64, 3) and y.shape == (6, 1)
    with pytest.raises(DataError, match=r"train_happy.h5: no such file"):
        load_split(folder, "train")


def test_the_split_must_be_one_that_there_is(folder):
    with pytest.raises(ValueError, match='"train" or "test", got \'validation\''):
        load_split(folder, "validation")


@pytest.mark.parametrize("labels", [Y, Y[:, None], Y[None, :], Y.astype(np.uint8), Y.astype(np.int8)])
def test_labels_come_in_several_shapes_and_types(folder, labels):
    write(folder, train_set_y=labels)
    _, y = load_split(folder, "train").arrays
    assert y.dtype == np.float32 and y.shape == (6, 1)
    np.testing.assert_array_equal(y[:, 0], Y)


def test_class_names(folder):
    write(folder, list_classes=np.array([b"sad", "fröhlich".encode()]))
    assert load_happy_house(folder).classes == ("sad", "fröhlich")
    write(folder, list_classes=None)
    assert load_happy_house(folder).classes == ("not smiling", "smiling")


def compressed(file, key):
    file.create_dataset(key, data=X, chunks=(4, 64, 64, 3), compression="gzip")


def test_compressed_and_chunked_files(folder):
    write(folder, train_set_x=compressed)
    np.testing.assert_allclose(load_split(folder, "train").arrays[0], X.astype(np.float64) / 255, rtol=1e-7)


def external_link(file, key):
    file[key] = h5py.ExternalLink("test_happy.h5", "test_set_x")


def soft_link(file, key):
    file[key] = h5py.SoftLink("/list_classes")


def group(file, key):
    file.create_group(key)


def external_storage(file, key):
    file.create_dataset(key, (6, 64, 64, 3), np.uint8, external=[("/etc/passwd", 0, X.size)])


def virtual(file, key):
    layout = h5py.VirtualLayout((6, 64, 64, 3), np.uint8)
    layout[:] = h5py.VirtualSource("test_happy.h5", "test_set_x", (6, 64, 64, 3))
    file.create_virtual_dataset(key, layout)


def objects(file, key):
    file.create_dataset(key, data=np.array([b"a"] * 6, object), dtype=h5py.string_dtype())


def empty_space(file, key):
    file[key] = h5py.Empty(np.uint8)


def absurd(file, key):
    file.create_dataset(key, (10**9, 64, 64, 3), np.uint8, chunks=(1, 64, 64, 3))


def never_written(file, key):
    file.create_dataset(key, (6, 64, 64, 3), np.uint8, chunks=(1, 64, 64, 3), compression="gzip")[:3] = X[:3]


def not_stored(file, key):
    file.create_dataset(key, (6, 64, 64, 3), np.uint8)


def huge_chunks(file, key):
    file.create_dataset(key, (6, 64, 64, 3), np.uint8, maxshape=(None, 64, 64, 3), chunks=(200_000, 64, 64, 3))


BROKEN = [
    ({"train_set_x": None}, r"no key 'train_set_x'; the keys are: 'list_classes', 'train_set_y'$"),
    ({"train_set_y": None}, "no key 'train_set_y'; the keys are: 'list_classes', 'train_set_x'$"),
    ({"train_set_x": X[0]}, r"train_set_x is uint8 \(64, 64, 3\), expected uint8 \(N, 64, 64, 3\)"),
    ({"train_set_x": X[:, :32]}, r"uint8 \(6, 32, 64, 3\)"),
    ({"train_set_x": X[..., 0]}, r"uint8 \(6, 64, 64\)"),
    ({"train_set_x": X.astype(np.float32)}, r"float32 \(6, 64, 64, 3\)"),
    ({"train_set_x": X.astype(np.int8)}, "int8"),
    ({"train_set_x": X[:5]}, r"train_set_y is int64 \(6,\), expected 5 ints"),
    ({"train_set_x": X[:0], "train_set_y": Y[:0]}, "claims 0 pictures, expected 1 to"),
    ({"train_set_x": np.uint8(3)}, r"uint8 \(\)"),
    ({"train_set_y": Y[:, None, None]}, r"int64 \(6, 1, 1\)"),
    ({"train_set_y": Y.astype(np.float64)}, "float64"),
    ({"train_set_y": Y.astype(bool)}, "bool"),
    ({"train_set_y": Y * 2}, "label 2, expected 0"),
    ({"train_set_y": -Y}, "label -1"),
    ({"train_set_y": objects}, "object"),
    ({"train_set_x": external_link}, "train_set_x is a link to another place"),
    ({"train_set_y": soft_link}, "train_set_y is a link to another place"),
    ({"train_set_x": group}, "train_set_x is a group, expected an array"),
    ({"train_set_x": external_storage}, "in other files"),
    ({"train_set_x": virtual}, "in other files"),
    ({"train_set_x": empty_space}, "expected an array of numbers"),
    ({"train_set_x": absurd}, "claims 1000000000 pictures"),
    ({"train_set_x": never_written}, "claims 6 chunks, but the file holds 3"),
    ({"train_set_x": not_stored}, "claims 73728 bytes, but the file holds 0"),
    ({"train_set_x": huge_chunks}, "claims"),
    ({"list_classes": np.array([0, 1, 2])}, r"list_classes is int64 \(3,\), expected 2"),
    ({"list_classes": np.array([b"\xff", b"a"])}, "utf-8"),
    ({"list_classes": objects}, "list_classes is object"),
    ({"list_classes": external_link}, "list_classes is a link"),
]


@pytest.mark.parametrize(("changes", "message"), BROKEN)
def test_broken_files_are_named(folder, changes, message):
    write(folder, **changes)
    with pytest.raises(DataError, match=message) as caught:
        load_happy_house(folder)
    text = str(caught.value)
    assert text.startswith(str(folder / "train_happy.h5")) and len(text.splitlines()) <= 2 and len(text) < 400


def test_a_broken_test_file_is_named_too(folder):
    write(folder, "test", test_set_y=Y[:2])
    with pytest.raises(DataError, match="test_happy.h5: test_set_y"):
        load_happy_house(folder)


def test_missing_directory(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such directory"):
        load_happy_house(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: no such directory"):
        load_happy_house(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not HDF5 at all", b"\x89HDF\r\n\x1a\n" + bytes(40)])
def test_files_of_another_kind(folder, content):
    (folder / "test_happy.h5").write_bytes(content)
    with pytest.raises(DataError, match="test_happy.h5: not an HDF5 file, or a damaged one"):
        load_split(folder, "test")


def test_truncated_files(folder):
    whole = (folder / "train_happy.h5").read_bytes()
    for length in range(0, len(whole), len(whole) // 23):
        (folder / "train_happy.h5").write_bytes(whole[:length])
        with pytest.raises(DataError, match="train_happy.h5: "):
            load_split(folder, "train")


def test_damaged_bytes_give_a_data_error_or_other_pixels_and_nothing_else(folder):
    write(folder, train_set_x=compressed)
    whole = (folder / "train_happy.h5").read_bytes()
    dice = random.Random(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(3):
            # Mostly in the first kilobytes, where the headers are.
            damaged[dice.randrange(4096 if dice.random() < 0.8 else len(whole))] = dice.randrange(256)
        (folder / "train_happy.h5").write_bytes(damaged)
        try:
            x, y = load_split(folder, "train").arrays
        except DataError as error:
            refused += 1
            assert len(str(error).splitlines()) == 1
        else:
            assert x.shape == (6, 64, 64, 3) and set(y.ravel()) <= {0, 1}
    assert refused > 20


def test_the_real_faces():
    root = os.environ.get("MINICNN_DATA")
    if not root or not (Path(root) / "smiles").is_dir():
        pytest.skip("set MINICNN_DATA to a folder that contains smiles/ to read the real faces")
    house = load_happy_house(Path(root) / "smiles")
    assert house.train_x.shape == (600, 64, 64, 3) and house.test_x.shape == (150, 64, 64, 3)
    assert house.train_y.mean() == house.test_y.mean() == 0.5
    with h5py.File(Path(root) / "smiles" / "test_happy.h5") as file:
        np.testing.assert_allclose(house.test_x, file["test_set_x"][()].astype(np.float64) / 255, rtol=1e-7)
        np.testing.assert_array_equal(house.test_y[:, 0], file["test_set_y"][()])
