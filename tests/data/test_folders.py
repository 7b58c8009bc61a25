"""Folders of pictures by class."""

import os

import numpy as np
import pytest

from minicnn.data import DataError, DataLoader, PictureFolder, load_picture_folders

Image = pytest.importorskip("PIL.Image")


def paint(path, grey, size=(6, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, grey, grey)).save(path)


@pytest.fixture
def folder(tmp_path):
    for name, grey in (("cats/b.png", 20), ("cats/a.PNG", 10), ("ants/x.bmp", 30), ("dogs/0.gif", 40)):
        paint(tmp_path / name, grey)
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "cats" / ".hidden").touch()
    return tmp_path


def test_classes_and_files_are_sorted(folder):
    pictures = PictureFolder(str(folder), (4, 5))
    assert pictures.classes == ("ants", "cats", "dogs") and len(pictures) == 4
    assert [file.name for file in pictures.files] == ["x.bmp", "a.PNG", "b.png", "0.gif"]
    assert pictures.labels.tolist() == [0, 1, 1, 2]
    x, label = pictures[2]
    assert x.shape == (4, 5, 3) and x.dtype == np.uint8 and (x == 20).all()
    assert label == 1 and label.dtype == np.int64
    with pytest.raises(IndexError):
        pictures[4]


def test_batches(folder):
    pictures = PictureFolder(folder, (4, 4), channels=1)
    x, y = pictures.batch(np.array([3, 0]))
    assert x.shape == (2, 4, 4, 1) and x[:, 0, 0, 0].tolist() == [40, 30]
    assert y.dtype == np.int64 and y.tolist() == [2, 0]
    (batch,) = DataLoader(pictures, 4)
    assert batch[0].shape == (4, 4, 4, 1) and batch[1].numpy().tolist() == [0, 1, 1, 2]


def test_pictures_are_read_when_they_are_asked_for(folder):
    pictures = PictureFolder(folder, (4, 4))
    (folder / "cats" / "a.PNG").unlink()
    (folder / "cats" / "b.png").write_bytes(b"rubbish")
    assert (pictures[0][0] == 30).all()
    with pytest.raises(DataError, match="a.PNG: no such file"):
        list(DataLoader(pictures, 4))
    with pytest.raises(DataError, match="b.png: not a picture"):
        pictures[2]


def test_what_is_no_folder_of_pictures(folder):
    def refused(message):
        with pytest.raises(DataError, match=message) as caught:
            PictureFolder(folder, (4, 4))
        assert len(str(caught.value).splitlines()) == 1

    (folder / "birds").mkdir()
    refused("birds: a class without pictures")
    (folder / "birds" / "notes.txt").touch()
    refused(r"notes.txt: not a picture by its name; expected .png, .jpg")
    (folder / "birds" / "notes.txt").unlink()
    (folder / "birds" / "deeper.png").mkdir()
    refused("deeper.png: not a picture by its name")
    (folder / "birds" / "deeper.png").rmdir()
    (folder / "birds").rmdir()
    paint(folder / "stray.png", 1)
    refused("stray.png: not a folder; expected .* one folder for each class")


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such directory"):
        PictureFolder(tmp_path / "nowhere", (4, 4))
    with pytest.raises(DataError, match=f"{tmp_path}: empty; expected a folder for each class"):
        PictureFolder(tmp_path, (4, 4))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: not a directory"):
        PictureFolder(tmp_path / "file", (4, 4))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every folder")
def test_folders_that_may_not_be_read(folder):
    (folder / "cats").chmod(0)
    try:
        with pytest.raises(DataError, match="cats: can't be read"):
            PictureFolder(folder, (4, 4))
    finally:
        (folder / "cats").chmod(0o755)


@pytest.mark.parametrize(("size", "channels"), [((0, 4), 3), ((4,), 3), ((4, 4), 2)])
def test_odd_sizes(folder, size, channels):
    with pytest.raises(ValueError, match="PictureFolder: expected a height, a width and 1 or 3 channels"):
        PictureFolder(folder, size, channels)


def test_train_and_test(tmp_path):
    for name, grey in (("train/a/1.png", 1), ("train/a/2.png", 2), ("train/b/1.png", 3), ("test/a/1.png", 4)):
        paint(tmp_path / name, grey)
    with pytest.raises(DataError, match=f"{tmp_path}: the class 'b' is only in train/"):
        load_picture_folders(tmp_path, (4, 4))
    paint(tmp_path / "test/b/1.png", 5)
    train, test, classes = load_picture_folders(tmp_path, (4, 4), channels=1)
    assert classes == ("a", "b")
    x, y = train.arrays
    assert x.shape == (3, 4, 4, 1) and x.dtype == np.uint8 and x[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert y.dtype == np.int64 and y.tolist() == [0, 0, 1]
    assert test.arrays[0][:, 0, 0, 0].tolist() == [4, 5]
    (tmp_path / "test/b/1.png").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match="test/b/1.png: "):
        load_picture_folders(tmp_path, (4, 4))
    with pytest.raises(DataError, match="train/train: no such directory"):
        load_picture_folders(tmp_path / "train", (4, 4))
