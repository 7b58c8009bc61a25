"""The idx files of MNIST and Fashion-MNIST: what is read from good ones, and what is said about broken ones."""

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.data import ArrayDataset, DataError, load_fashion, load_fashion_split, load_mnist, load_mnist_split
from minicnn.data.idx import read_idx

GENERATOR = np.random.default_rng(0)
X = GENERATOR.integers(0, 256, (7, 28, 28), dtype=np.uint8)
Y = np.array([3, 0, 9, 9, 1, 4, 2], np.uint8)


def idx(array, code=0x08):
    """The bytes of an idx file, as its description has them."""
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def write(folder, pack=False, mark="-", **changes):
    """The four files; a change replaces the content of `train_images` or a sibling."""
    for prefix, part in (("train", slice(None)), ("t10k", slice(3))):
        for what, array, kind in (("images", X, "idx3"), ("labels", Y, "idx1")):
            content = changes.get(f"{prefix}_{what}", idx(array[part]))
            name = f"{prefix}-{what}{mark}{kind}-ubyte"
            if pack:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
            else:
                (folder / name).write_bytes(content)


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("mark", ["-", "."])
def test_reading(tmp_path, pack, mark):
    write(tmp_path, pack, mark)
    train, test, classes = load_mnist(str(tmp_path))
    assert isinstance(train, ArrayDataset) and len(train) == 7 and len(test) == 3
    x, y = train.arrays
    assert x.shape == (7, 28, 28, 1) and x.dtype == np.uint8 and y.dtype == np.int64 and y.shape == (7,)
    np.testing.assert_array_equal(x[..., 0], X)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(test.arrays[0][..., 0], X[:3])
    assert classes == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def test_fashion_has_the_same_files_and_other_classes(tmp_path):
    write(tmp_path, pack=True)
    fashion = load_fashion(tmp_path)
    np.testing.assert_array_equal(fashion.train.arrays[1], Y)
    assert len(fashion.classes) == 10 and fashion.classes[0] == "T-shirt/top" and fashion.classes[9] == "Ankle boot"
    assert len(load_fashion_split(tmp_path, "test")) == 3


def test_one_split_needs_only_its_files(tmp_path):
    write(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    assert len(load_mnist_split(tmp_path, "test")) == 3
    with pytest.raises(DataError, match=f"{tmp_path}: no file train-images-idx3-ubyte or train-images-idx3-ubyte.gz"):
        load_mnist_split(tmp_path, "train")
    with pytest.raises(ValueError, match='"train" or "test", got \'validation\''):
        load_mnist_split(tmp_path, "validation")


def test_missing_folders_and_files(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such directory"):
        load_mnist(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: no such directory"):
        load_mnist(tmp_path / "file")
    with pytest.raises(DataError, match="no file train-labels"):
        load_mnist(tmp_path)
    with pytest.raises(DataError, match="nothing: no such file"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(DataError, match=f"{tmp_path}: not a file"):
        read_idx(tmp_path)


BROKEN = [
    ({"train_images": b""}, r"train-images.*: not an idx file: starts with b''"),
    ({"train_images": b"\x00\x00\x08"}, "not an idx file"),
    ({"train_images": b"GIF89a" + bytes(2000)}, "not an idx file: starts with b'GIF8'"),
    ({"train_images": b"\x00\x00\x08\x03\x00\x00"}, "ends within its header"),
    ({"train_images": idx(X, code=0x0D)}, "numbers of the type 0x0d, expected 0x08"),
    ({"train_images": idx(X[0])}, "an array of 2 dimensions, expected 3"),
    ({"train_labels": idx(X)}, "train-labels.*: holds an array of 3 dimensions, expected 1"),
    ({"train_images": idx(X[:, :27])}, r"claims an array \(7, 27, 28\), expected \(N, 28, 28\)"),
    ({"train_images": idx(X[:6])}, "claims 6 items, expected 7, as many as there are labels"),
    ({"train_labels": idx(Y[:0])}, "holds no items"),
    ({"train_images": idx(X)[:-20]}, "claims 5488 bytes, but the file can't hold more|ends after 5468 of the 5488"),
    ({"train_images": idx(X) + b"\0"}, "goes on after the 5488 bytes"),
    ({"train_labels": idx(Y + np.uint8(1))}, "train-labels.*: holds the label 10, expected 0 to 9"),
    ({"train_labels": struct.pack(">HBBI", 0, 8, 1, 2**32 - 1)}, "claims 4294967295 bytes, expected at most"),
    ({"train_labels": struct.pack(">HBBI", 0, 8, 1, 10**9)}, "claims 1000000000 bytes, but the file can't hold more"),
]


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(("changes", "message"), BROKEN)
def test_broken_files_are_named(tmp_path, changes, message, pack):
    write(tmp_path, pack, **changes)
    with pytest.raises(DataError, match=message) as caught:
        load_mnist(tmp_path)
    text = str(caught.value)
    assert text.startswith(str(tmp_path)) and len(text.splitlines()) == 1 and len(text) < 400


def test_damaged_gzip(tmp_path):
    write(tmp_path, pack=True)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for content in (whole[:-9], whole[:40], whole[:5], whole[:2], whole + b"rubbish", whole[:-8] + bytes(8)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{path}: (a damaged file|goes on after)"):
            load_mnist_split(tmp_path, "test")


def test_gzip_is_unpacked_no_further_than_the_header_promises(tmp_path):
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(idx(Y) + bytes(200_000_000), 1))
    tracemalloc.start()
    with pytest.raises(DataError, match="goes on after the 7 bytes"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_a_claim_is_not_believed_before_it_is_checked(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(struct.pack(">HBBI", 0, 8, 1, 900_000_000) + bytes(100))
    tracemalloc.start()
    with pytest.raises(DataError, match="can't hold more than 108"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@settings(max_examples=150, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4), pack=st.booleans(),
       kept=st.integers(0, 300))
def test_damaged_bytes_give_a_data_error_or_an_array_and_nothing_else(tmp_path_factory, flips, pack, kept):
    content = idx(X[:2, :3, :4])
    content = bytearray(gzip.compress(content, mtime=0) if pack else content)
    for position, value in flips:
        content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged-idx"
    path.write_bytes(bytes(content[:kept]))
    try:
        array = read_idx(path, (3, 4))
    except DataError as error:
        assert str(error).startswith(f"{path}: ") and len(str(error).splitlines()) == 1
    else:
        assert array.dtype == np.uint8 and array.shape[1:] == (3, 4)


def test_the_real_digits():
    root = os.environ.get("MINICNN_DATA")
    if not root or not (Path(root) / "mnist").is_dir():
        pytest.skip("set MINICNN_DATA to a folder that contains mnist/ to read the real digits")
    train, test, _ = load_mnist(Path(root) / "mnist")
    assert train.arrays[0].shape == (60_000, 28, 28, 1) and test.arrays[0].shape == (10_000, 28, 28, 1)
    # The first labels, the number of ones and the mean pixel, as the literature has them.
    assert train.arrays[1][:5].tolist() == [5, 0, 4, 1, 9] and test.arrays[1][:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(train.arrays[1])[1] == 6742
    assert train.arrays[0].mean() / 255 == pytest.approx(0.1307, abs=5e-5)
