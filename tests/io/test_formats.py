import io
import os
import pickle
import stat
import struct
import zipfile

import numpy as np
import pytest

import minicnn as mc
from minicnn.io import atomic, load_state
from minicnn.io.safetensors import read_metadata, write_safetensors

STATE = {
    "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "half": np.ones((2, 1), np.float16),
    "double": np.array([1e300, -0.0]),
    "index": np.array([[3]], np.int64),
    "flag": np.array([True, False]),
    "number": np.array(7.0, np.float32),
    "nothing": np.empty((0, 3), np.float32),
}


def write(path, state):
    if path.suffix == ".npz":
        np.savez(path, **state)
    else:
        write_safetensors(path, state)


def assert_same(first, second):
    assert set(first) == set(second)
    for name, array in first.items():
        assert array.dtype == second[name].dtype and array.shape == second[name].shape, name
        assert array.tobytes() == second[name].tobytes(), name


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_arrays_come_back_as_they_were(suffix, tmp_path):
    path = tmp_path / f"state{suffix}"
    write(path, STATE)
    assert_same(STATE, load_state(path))
    assert_same(STATE, load_state(str(path)))


def test_packed_npz(tmp_path):
    np.savez_compressed(tmp_path / "state.npz", zeros=np.zeros((100, 1000)))
    assert load_state(tmp_path / "state.npz")["zeros"].shape == (100, 1000)


def test_arrays_of_any_strides_are_written_as_they_read(tmp_path):
    state = {"t": STATE["weight"].T, "s": STATE["weight"][::2, 1::2], "big": STATE["weight"].astype(">f4")}
    write_safetensors(tmp_path / "s.safetensors", {**state, "tensor": mc.tensor([[1.0, 2.0]])})
    back = load_state(tmp_path / "s.safetensors")
    for name, array in state.items():
        assert np.array_equal(back[name], array)
    assert back["tensor"].tolist() == [[1.0, 2.0]]


def test_metadata(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", STATE, {"note": "grüß dich"})
    write_safetensors(tmp_path / "b.safetensors", STATE)
    assert read_metadata(tmp_path / "a.safetensors") == {"note": "grüß dich"}
    assert read_metadata(tmp_path / "b.safetensors") == {}


def test_what_is_no_number_is_not_written(tmp_path):
    with pytest.raises(TypeError, match="'who' is of dtype"):
        write_safetensors(tmp_path / "a.safetensors", {"who": np.array(["me"])})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.bin", "model", "model.txt"])
def test_other_formats_are_refused_with_a_list(name, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"expected \.safetensors, \.npz, \.pth or \.pt"):
        load_state(tmp_path / name)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_state(tmp_path / "gone.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(FileNotFoundError, match="not a file"):
        load_state(tmp_path / "folder.npz")


def refused(path):
    with pytest.raises(ValueError, match="not a readable") as caught:
        load_state(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_every_truncation_is_refused(suffix, tmp_path):
    path = tmp_path / f"state{suffix}"
    write(path, STATE)
    whole = path.read_bytes()
    for length in (*range(0, 200), *range(200, len(whole), 61), len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_damaged_bytes_give_a_value_error_or_arrays(suffix, tmp_path):
    path = tmp_path / f"state{suffix}"
    write(path, STATE)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load_state(path)
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("header", [
    b'{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}',
    b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
    b'{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}',
    b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}',
    b'{"w":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}',
    b"[]", b"{", b"",
])
def test_safetensors_headers_that_lie(header, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0\0\0")
    refused(tmp_path / "w.safetensors")


def test_safetensors_of_bfloat16_are_refused_whatever_is_loaded(tmp_path):
    pytest.importorskip("ml_dtypes")  # with it the safetensors library does read them
    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0\0\0")
    assert "'w' is of dtype bfloat16" in refused(tmp_path / "w.safetensors")


def test_safetensors_header_longer_than_the_file(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    refused(tmp_path / "w.safetensors")


class Bomb:
    def __reduce__(self):
        return os.abort, ()


def zipped(path, name, content, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)


def npy(header, data=b""):
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def test_npz_pickles_are_never_opened(tmp_path):
    bomb = pickle.dumps(Bomb())
    zipped(tmp_path / "a.npz", "w.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", bomb))
    assert "Python objects" in refused(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(bomb)
    refused(tmp_path / "b.npz")


def test_npz_that_promises_more_than_it_has(tmp_path):
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }"
    zipped(tmp_path / "a.npz", "w.npy", npy(header, b"12345678"))
    assert "promises" in refused(tmp_path / "a.npz")


def test_npz_with_something_else_inside(tmp_path):
    zipped(tmp_path / "a.npz", "readme.txt", b"hello")
    assert "'readme.txt' is not an array" in refused(tmp_path / "a.npz")
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    zipped(tmp_path / "b.npz", "w.npy", buffer.getvalue(), zipfile.ZIP_LZMA)
    assert "packed in a way" in refused(tmp_path / "b.npz")


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")

    def breaks(file):
        file.write(b"half of it")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        atomic.write_atomically(path, breaks)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_write_replaces_the_file_behind_a_link(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    atomic.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_others_may_read_what_is_written(tmp_path):
    before = os.umask(0o022)
    try:
        write_safetensors(tmp_path / "w.safetensors", STATE)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w.safetensors").stat().st_mode) == 0o644
