import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from minicnn.train import checkpoint

STATE = {
    "model": {"0.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "0.bias": np.zeros(0), "array": np.ones(2)},
    "optimizer": {"state": {0: {"step": 3, "square": np.full((2, 2), np.pi)}}, "groups": [{"betas": (0.9, 0.999)}]},
    "best": None, "stopped": False, "history": [{"loss": 0.1 + 0.2, "auc": float("nan")}], "infinite": float("inf"),
    "count": np.int64(2**40), "labels": np.array([1, -1]), "word": "naïve",
}  # fmt: skip


def test_what_is_written_is_read(tmp_path):
    checkpoint.write(tmp_path / "c.safetensors", STATE)
    back = checkpoint.read(tmp_path / "c.safetensors")
    assert np.array_equal(back["model"]["0.weight"], STATE["model"]["0.weight"]) and back["model"]["0.bias"].size == 0
    assert back["optimizer"]["state"]["0"]["step"] == 3 and back["optimizer"]["groups"] == [{"betas": [0.9, 0.999]}]
    assert back["optimizer"]["state"]["0"]["square"].dtype == np.float64 and back["labels"].dtype == np.int64
    assert back["history"][0]["loss"] == 0.1 + 0.2 and np.isnan(back["history"][0]["auc"])
    assert (back["best"], back["stopped"], back["infinite"], back["count"], back["word"]) == (
        None, False, float("inf"), 2**40, "naïve")
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize(("state", "said"), [
    ({"a": {"b": object()}}, "a.b is object"), ({"a": [1, b"x"]}, r"a\.1 is bytes"),
    ({"a": {"minicnn.array": 1}}, "a has a key"), ({"a": {1: 2, "1": 3}}, "two keys that read the same"),
    ({"a.b": {"c": np.zeros(1)}, "a": {"b.c": np.zeros(1)}}, "two arrays are called a.b.c")])
def test_what_cannot_be_written_leaves_the_file_as_it_was(state, said, tmp_path):
    checkpoint.write(tmp_path / "c.safetensors", STATE)
    before = (tmp_path / "c.safetensors").read_bytes()
    with pytest.raises((TypeError, ValueError), match=said):
        checkpoint.write(tmp_path / "c.safetensors", state)
    assert (tmp_path / "c.safetensors").read_bytes() == before


@pytest.mark.parametrize("outline", [None, "{", "[]", "3", '{"a": {"minicnn.array": "gone"}}',
                                     '{"a": {"minicnn.array": [1]}}',
                                     "[" * 100_000])
def test_broken_checkpoints(outline, tmp_path):
    file = tmp_path / "c.safetensors"
    save_file({"x": np.zeros(1)}, file, metadata=None if outline is None else {checkpoint.KEY: outline})
    with pytest.raises(ValueError, match=str(file)):
        checkpoint.read(file)


def test_files_that_are_no_checkpoint(tmp_path):
    checkpoint.write(tmp_path / "c.safetensors", STATE)
    whole = (tmp_path / "c.safetensors").read_bytes()
    for content in (b"", b"\0" * 100, whole[:-1], whole[: len(whole) // 2], json.dumps({}).encode()):
        (tmp_path / "d.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match="d.safetensors"):
            checkpoint.read(tmp_path / "d.safetensors")


def test_a_writer_writes_when_it_is_due(tmp_path, monkeypatch):
    clock = iter([3.0, 3.0, 9.0, 13.0, 13.0, 22.0, 23.0, 23.0, 45.0, 45.0])  # read once more where one is written
    monkeypatch.setattr(checkpoint, "monotonic", lambda: next(clock))
    writer = checkpoint.Writer(tmp_path / "c.safetensors", every=10)
    written = []
    for call in range(6):
        writer.write_if_due(lambda call=call: written.append(call) or {"call": call})
    assert written == [0, 2, 4, 5] and checkpoint.read(tmp_path / "c.safetensors") == {"call": 5}
    monkeypatch.undo()
    checkpoint.Writer(None, every=0).write_if_due(lambda: pytest.fail("there is nowhere to write to"))
    with pytest.raises(ValueError, match="checkpoint_every"):
        checkpoint.Writer(None, every=-1)
