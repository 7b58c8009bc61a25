"""The trainings of the books reach what the books report, on real data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder():
    """The folder of real data."""
    root = os.environ.get("MINICNN_DATA")
    if not root:
        pytest.skip("set MINICNN_DATA to a folder that holds smiles/, mnist/ and cifar10/ to train on real data")
    return Path(root)


@pytest.fixture(scope="module")
def cifar10(folder, tmp_path_factory):
    """CIFAR-10 in the official layout; where there are only its pictures, the script beside them makes it."""
    if (folder / "cifar10" / "cifar-10-batches-bin").is_dir():
        return folder / "cifar10"
    script = folder / "cifar10" / "make_cifar10.py"
    if not script.is_file():
        pytest.skip(f"no CIFAR-10 in {folder / 'cifar10'}")
    made = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, script, made], check=True, capture_output=True)
    return made


def train(out, *arguments):
    """The metrics of a run on the command line."""
    ran = subprocess.run([sys.executable, "-m", "minicnn", "train", *map(str, arguments), "--out", out],
                         capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return json.loads((out / "metrics.json").read_text())


def test_mnist_in_one_epoch(folder, tmp_path):
    """Five epochs get 0.990 and more, which takes minutes; the first gets most of it."""
    metrics = train(tmp_path / "run", "mnist", "--data", folder / "mnist", "--epochs", 1)
    assert metrics["examples"] == 10_000 and metrics["train_examples"] == 60_000
    assert metrics["accuracy"] >= 0.975


def test_cifar10_in_one_epoch(cifar10, tmp_path):
    metrics = train(tmp_path / "run", "cifar10", "--data", cifar10, "--augment", "--epochs", 1)
    assert metrics["examples"] == 10_000 and metrics["train_examples"] == 50_000
    assert metrics["accuracy"] >= 0.50


def test_smiles(folder, tmp_path):
    metrics = train(tmp_path / "run", "smile", "--data", folder / "smiles")
    assert metrics["examples"] == 150 and metrics["accuracy"] >= 0.79


def test_smiles_with_augmentation(folder, tmp_path):
    found = [train(tmp_path / str(seed), "smile", "--data", folder / "smiles", "--augment", "--seed", seed)
             for seed in (0, 1, 2)]
    assert all(metrics["train_examples"] == 540 and metrics["epochs"] <= 60 for metrics in found)
    assert sum(metrics["accuracy"] for metrics in found) / 3 >= 0.84
