"""`minicnn bench`."""

import json

import pytest

import minicnn as mc
from minicnn.benchmarks import peers


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No peers, and the number of threads that there was."""
    before = mc.get_num_threads()
    monkeypatch.setattr(peers, "missing", lambda peer: f"{peer} is not installed")
    yield
    mc.set_num_threads(before)


def test_bench(run):
    code, out, err = run("bench", "mnist", "--batch", "2", "--seconds", "0.05", "--threads", "1", "--json")
    assert code == 0, err
    found = json.loads(out)
    train, inference = found["rows"]
    assert found["threads"] == 1 and found["machine"]["vector_level"]
    assert (train["part"], train["work"], train["batch"], train["status"]) == ("train", "mnist_net", 2, "run")
    assert (inference["part"], inference["batch"]) == ("inference", 1) and inference["ours"] > 0
    assert train["peer"] == "" and train["theirs"] is None


def test_a_table_for_people(run):
    code, out, _ = run("bench", "mnist_net", "--batch", "1", "--seconds", "0.01", "--threads", "1")
    assert code == 0 and "mnist_net" in out and " ms" in out


def test_unknown_models_and_devices_are_refused(run):
    code, out, err = run("bench", "mnist_nett")
    assert code == 2 and out == "" and "did you mean mnist_net" in err
    code, out, err = run("bench", "mnist", "--device", "gpu")
    assert code == 2 and out == "" and "gpu" in err
