"""Where data sets lie."""

from pathlib import Path

import pytest

from minicnn.data import default_folder, find

MNIST = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte.gz")
CIFAR10 = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("MINICNN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "minicnn"


def fill(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_the_cache(cache, monkeypatch):
    assert default_folder("mnist") == cache / "mnist"
    for value in ("relative", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert default_folder("fashion") == Path.home() / ".cache/minicnn/fashion"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder("cifar10") == Path.home() / ".cache/minicnn/cifar10"


def test_what_is_fetched_goes_to_the_cache(cache, monkeypatch, tmp_path):
    (tmp_path / "mnist").mkdir()
    monkeypatch.setenv("MINICNN_DATA", str(tmp_path))
    assert default_folder("mnist") == cache / "mnist"


def test_finding(cache, monkeypatch, tmp_path):
    assert find("mnist") is None
    fill(cache / "mnist", MNIST[:3])
    assert find("mnist") is None
    fill(cache / "mnist", MNIST)
    assert find("mnist") == cache / "mnist" and find("fashion") is None
    monkeypatch.setenv("MINICNN_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    assert find("mnist") == cache / "mnist"
    fill(tmp_path / "mnist", MNIST)
    assert find("mnist") == tmp_path / "mnist"


def test_finding_cifar10(cache):
    fill(cache / "cifar10" / "cifar-10-batches-bin", CIFAR10[:5])
    assert find("cifar10") is None
    fill(cache / "cifar10" / "cifar-10-batches-py", [name.removesuffix(".bin") for name in CIFAR10])
    assert find("cifar10") == cache / "cifar10"


def test_unknown_names():
    for function in (find, default_folder):
        with pytest.raises(ValueError, match="no data set 'imagenet'; there are mnist, fashion, cifar10"):
            function("imagenet")
