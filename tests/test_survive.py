"""Runs that survive: killed, interrupted, out of disk, out of data - the last checkpoint is whole, and going on from it
ends in the same bits."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from minicnn.train import checkpoint
from minicnn.train.run import checkpoint_of

SAME = ("model.safetensors", "history.csv", "metrics.json",
        "learning_curves.png", "confusion_matrix.png", "mistakes.png")  # fmt: skip


def command(out, data, *more):
    """All that a training can have: augmentation, early stopping, a schedule, limits, averages, a threshold."""
    return [sys.executable, "-m", "minicnn", "train", "smile", "--data", str(data), "--out", str(out), "--epochs", "3",
            "--batch-size", "16", "--augment", "--validation", "0.2", "--patience", "2", "--schedule", "cosine",
            "--warmup", "1", "--clip-norm", "1", "--average", "0.9", "--false-alarm-cost", "1", "--miss-cost", "3",
            "--checkpoint-every", "0", *more]  # fmt: skip


def resume(out, data, *more):
    ran = subprocess.run(command(out, data, "--resume", *more), capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout == "", ran.stderr
    return ran.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 20)):
        y = np.arange(count) % 2
        x = rng.integers(0, 200, (count, 64, 64, 3)) + 40 * y[:, None, None, None]
        with h5py.File(folder / f"{split}_happy.h5", "w") as file:
            file[f"{split}_set_x"], file[f"{split}_set_y"] = x.astype(np.uint8), y
    return folder


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """The files of a run that was left alone, and the seconds that it took."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    began = time.perf_counter()
    ran = subprocess.run(command(out, data), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return {name: (out / name).read_bytes() for name in SAME}, time.perf_counter() - began


def check_same(out, undisturbed):
    assert sorted(p.name for p in out.iterdir()) == sorted([*SAME, "config.json"])
    for name, content in undisturbed[0].items():
        assert (out / name).read_bytes() == content, name


def kill_and_resume(out, data, after):
    """Start a training, kill it after so many seconds, go on; returns what was said."""
    process = subprocess.Popen(command(out, data), stderr=subprocess.DEVNULL)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if checkpoint_of(out).exists():
        checkpoint.read(checkpoint_of(out))  # whole, whenever the process was killed
    return resume(out, data)


def test_killed_once(data, undisturbed, tmp_path):
    kill_and_resume(tmp_path / "run", data, 0.7 * undisturbed[1])
    check_same(tmp_path / "run", undisturbed)


def test_killed_after_it_was_complete(data, undisturbed, tmp_path):
    """Its checkpoint has lost its name, but not all of it is removed."""
    out = tmp_path / "run"
    subprocess.run(command(out, data), check=True, capture_output=True)
    (out / ".discarded").mkdir()
    (out / ".discarded" / "checkpoint.safetensors").write_bytes(b"of no use any more")
    assert "is complete" in resume(out, data)
    check_same(out, undisturbed)


@pytest.mark.slow
def test_killed_at_fifty_random_moments(data, undisturbed, tmp_path):
    moments = random.Random(0)
    said = []
    for number in range(50):
        out = tmp_path / f"run{number}"
        said.append(kill_and_resume(out, data, moments.uniform(0, undisturbed[1])))
        check_same(out, undisturbed)
        shutil.rmtree(out)
    fresh = sum("no checkpoint" in message for message in said)
    done = sum("is complete" in message for message in said)
    assert fresh + done < 40, f"of 50 runs {fresh} had no checkpoint yet and {done} were complete: none was interrupted"


def test_killed_again_and_again(data, undisturbed, tmp_path):
    """Each time it gets a little further."""
    out = tmp_path / "run"
    for _ in range(3):
        process = subprocess.Popen(command(out, data, "--resume"), stderr=subprocess.DEVNULL)
        time.sleep(0.5 * undisturbed[1])
        process.send_signal(signal.SIGKILL)
        process.wait()
    resume(out, data)
    check_same(out, undisturbed)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_writes_a_checkpoint(how, data, undisturbed, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(command(out, data, "--checkpoint-every", "1000"), stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(how, signal.SIG_DFL))  # background jobs ignore it
    while not checkpoint_of(out).exists():  # the one after the first step
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(how)
    said = process.communicate()[1]
    assert process.returncode == 130, said
    assert "Finishing this step" in said and "Training paused in epoch" in said and "--resume" in said
    again = subprocess.run(command(out, data), capture_output=True, text=True)  # without --resume nothing is touched
    assert again.returncode == 2 and "--resume goes on with it, --restart gives it up" in again.stderr
    assert "no checkpoint" not in resume(out, data)
    check_same(out, undisturbed)


def test_a_full_disk(data, undisturbed, tmp_path):
    """A limit on the size of files stands for it: the model alone fits, the checkpoint with Adam's moments does not."""
    out = tmp_path / "run"
    interrupted = subprocess.Popen(command(out, data), stderr=subprocess.DEVNULL)
    while not checkpoint_of(out).exists():
        time.sleep(0.01)
    interrupted.send_signal(signal.SIGTERM)
    interrupted.wait()
    before = checkpoint_of(out).read_bytes()

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))

    full = subprocess.run(command(out, data, "--resume"), capture_output=True, text=True, preexec_fn=limit)
    assert full.returncode == 2, full.stderr
    assert full.stderr.splitlines()[-1].startswith("error: ") and "File too large" in full.stderr
    assert "The last checkpoint" in full.stderr and "Traceback" not in full.stderr
    assert checkpoint_of(out).read_bytes() == before
    assert not [name for name in os.listdir(checkpoint_of(out).parent) if name.endswith(".tmp")]
    resume(out, data)
    check_same(out, undisturbed)


def test_data_that_vanished_or_changed(data, undisturbed, tmp_path):
    faces, out = tmp_path / "faces", tmp_path / "run"
    shutil.copytree(data, faces)
    process = subprocess.Popen(command(out, faces), stderr=subprocess.DEVNULL)
    while not checkpoint_of(out).exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.wait()
    before = checkpoint_of(out).read_bytes()
    go_on = [sys.executable, "-m", "minicnn", "train", "smile", "--resume", "--out", str(out)]
    with h5py.File(faces / "train_happy.h5", "r+") as file:
        file["train_set_x"][0, 0, 0, 0] += 1
    (faces / "test_happy.h5").rename(tmp_path / "elsewhere.h5")
    for said in ("test_happy.h5: no such file", "not the data that the run was begun with"):
        ran = subprocess.run(go_on, capture_output=True, text=True)
        assert ran.returncode == 2 and said in ran.stderr.splitlines()[-1], ran.stderr
        assert checkpoint_of(out).read_bytes() == before
        (tmp_path / "elsewhere.h5").exists() and (tmp_path / "elsewhere.h5").rename(faces / "test_happy.h5")
    ran = subprocess.run([*go_on, "--data", str(data)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_resuming_otherwise_than_it_was_begun(data, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(command(out, data), stderr=subprocess.DEVNULL)
    while not checkpoint_of(out).exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    for asked, said in ((["smile", "--lr", "0.5"], "lr 0.5 (it was 0.001)"), (["mnist"], "mnist (it was smile)"),
                        (["smile", "--epochs", "9", "--seed", "1"], "epochs 9 (it was 3), seed 1 (it was 0)")):
        ran = subprocess.run([sys.executable, "-m", "minicnn", "train", *asked, "--resume", "--out", str(out)],
                             capture_output=True, text=True)
        assert ran.returncode == 2 and said in ran.stderr, ran.stderr
    (checkpoint_of(out)).write_bytes(b"not a checkpoint")
    ran = subprocess.run(command(out, data, "--resume"), capture_output=True, text=True)
    assert ran.returncode == 2 and "checkpoint.safetensors: not a readable" in ran.stderr
    assert checkpoint_of(out).read_bytes() == b"not a checkpoint"
    ran = subprocess.run(command(out, data, "--restart", "--epochs", "2"), capture_output=True, text=True)
    assert ran.returncode == 0 and not checkpoint_of(out).exists()
    assert "complete" in resume(out, data)
