import io
import json
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from minicnn.figure import save_png
from minicnn.train import History, report
from minicnn.train.progress import ProgressReport
from minicnn.train.run import CHECKPOINT_FILE, check_target, checkpoint_of, is_run, open_run, write_json

OLD, NEW = '{"recipe": "old"}', '{"recipe": "new"}'  # a run is known by a config.json that tells its recipe


def write_run(path, content, **how):
    with open_run(path, **how) as folder:
        for name in ("model.safetensors", "config.json", "history.csv"):
            (folder / name).write_text(content)


def leave_unfinished(path, content="half"):
    """As a training does that fails after its first checkpoint."""
    with pytest.raises(RuntimeError), open_run(path) as folder:
        (folder / CHECKPOINT_FILE).write_text(content)
        (folder / ".x.1.tmp").write_text("torn")
        raise RuntimeError


def listing(path):
    return {p.name: p.read_text() for p in path.iterdir()}


def test_a_new_run_appears_when_complete(tmp_path):
    target = tmp_path / "runs" / "smile"
    with open_run(target) as folder:
        (folder / "model.safetensors").write_text(OLD)
        (folder / "config.json").write_text(OLD)
        (folder / CHECKPOINT_FILE).write_text("1")
        assert not is_run(target) and folder == target / "unfinished"
    assert is_run(target) and listing(target) == {"model.safetensors": OLD, "config.json": OLD}


def test_an_older_run_is_replaced_only_when_the_new_one_is_complete(tmp_path):
    target = tmp_path / "run"
    write_run(target, OLD)
    (target / "notes.txt").write_text("mine")
    with pytest.raises(RuntimeError), open_run(target) as folder:
        (folder / "model.safetensors").write_text("half")
        raise RuntimeError
    assert listing(target) == {"model.safetensors": OLD, "config.json": OLD, "history.csv": OLD,
                               "notes.txt": "mine"}
    write_run(target, NEW)
    assert listing(target) == {"model.safetensors": NEW, "config.json": NEW, "history.csv": NEW,
                               "notes.txt": "mine"}


def test_a_run_that_failed_before_its_first_checkpoint_leaves_no_folders(tmp_path):
    with pytest.raises(KeyboardInterrupt), open_run(tmp_path / "a" / "b" / "run"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_an_unfinished_run_is_kept_until_it_is_resumed_or_given_up(tmp_path):
    target = tmp_path / "run"
    write_run(target, OLD)
    leave_unfinished(target)
    assert is_run(target) and checkpoint_of(target).read_text() == "half"
    with pytest.raises(ValueError, match="holds an unfinished training: resume it, restart it"), open_run(target):
        pytest.fail("opened")
    with pytest.raises(RuntimeError), open_run(target, resume=True) as folder:
        assert listing(folder) == {CHECKPOINT_FILE: "half"}  # and the torn file is gone
        raise RuntimeError
    assert checkpoint_of(target).read_text() == "half"
    write_run(target, NEW, restart=True)
    assert listing(target) == {"model.safetensors": NEW, "config.json": NEW, "history.csv": NEW}


def test_a_run_killed_while_it_is_put_in_its_place_is_still_unfinished(tmp_path, monkeypatch):
    target = tmp_path / "run"

    def killed(*_):
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit), open_run(target) as folder:
        for name in ("model.safetensors", "config.json", CHECKPOINT_FILE):
            (folder / name).write_text(OLD)
        patch.setattr("pathlib.Path.rename", killed)
    assert is_run(target) and checkpoint_of(target).exists()
    write_run(target, NEW, resume=True)
    assert listing(target) == {"model.safetensors": NEW, "config.json": NEW, "history.csv": NEW}


def test_one_training_at_a_time(tmp_path):
    with open_run(tmp_path / "run") as folder:
        (folder / CHECKPOINT_FILE).write_text("mine")
        with (pytest.raises(ValueError, match="is being written by another training"),
              open_run(tmp_path / "run", restart=True)):
            pytest.fail("opened")
        assert (folder / CHECKPOINT_FILE).read_text() == "mine"


def test_who_finds_a_run_locked_leaves_it_alone(tmp_path):
    """Also before its first checkpoint."""
    with open_run(tmp_path / "run") as folder:
        with pytest.raises(ValueError, match="is being written by another"), open_run(tmp_path / "run"):
            pytest.fail("opened")
        assert folder.is_dir()


@pytest.mark.parametrize("moves", [1, 2, 3])
def test_a_first_run_killed_between_two_moves_is_gone_on_with(moves, tmp_path, monkeypatch):
    target, done = tmp_path / "run", []

    def replace(source, destination):
        if len(done) == moves:
            raise SystemExit
        done.append(destination)
        os.rename(source, destination)

    with monkeypatch.context() as patch, pytest.raises(SystemExit), open_run(target) as folder:
        for name in ("model.safetensors", "history.csv", "metrics.json", "config.json", CHECKPOINT_FILE):
            (folder / name).write_text(NEW)
        patch.setattr("minicnn.train.run.os.replace", replace)
    assert checkpoint_of(target).exists()
    write_run(target, NEW, resume=True)
    assert not (target / "unfinished").exists()


def test_an_empty_folder_may_be_used(tmp_path):
    write_run(tmp_path, NEW)
    assert is_run(tmp_path)


def test_what_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("words")
    (tmp_path / "file").write_text("words")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name, said in (("thesis", "not of a run"), ("file", "not a folder"), ("dangling", "not a folder")):
        with pytest.raises(ValueError, match=said):
            check_target(tmp_path / name)
    for name in ("thesis", "file", "file/below"):
        with pytest.raises((ValueError, OSError)):
            write_run(tmp_path / name, NEW)
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == (tmp_path / "file").read_text() == "words"


def test_json_is_strict(tmp_path):
    write_json(tmp_path / "m.json", {"a": 1.5, "b": [None]})
    assert json.loads((tmp_path / "m.json").read_text()) == {"a": 1.5, "b": [None]}
    with pytest.raises(ValueError):
        write_json(tmp_path / "m.json", {"a": float("nan")})


HISTORY = History({"epoch": e, "loss": 1 / e, "accuracy": 1 - 0.4 / e, "val_loss": 1.2 / e, "val_accuracy": 1 - 0.5 / e}
                  for e in range(1, 6))


@pytest.mark.parametrize("epochs", [1, 5])
def test_learning_curves(epochs, tmp_path):
    figure = report.learning_curves(History(HISTORY[:epochs]), "a title")
    loss, accuracy = figure.axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [HISTORY[:epochs] and [r[k] for r in HISTORY[:epochs]]
                                                                 for k in ("loss", "val_loss")]
    assert [line.get_label() for line in accuracy.lines] == ["training", "validation"]
    save_png(figure, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1440, 600) and len(set(np.asarray(picture.convert("L")).ravel().tolist())) > 10


def test_learning_curves_without_validation():
    history = History({"epoch": r["epoch"], "loss": r["loss"], "accuracy": r["accuracy"]} for r in HISTORY)
    assert all(len(axes.lines) == 1 for axes in report.learning_curves(history, "a title").axes)


def test_confusion_matrix_figure(tmp_path):
    figure = report.confusion_matrix_figure([[1200, 0], [0, 0]], ("no", "yes"), "a title")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["1,200", "100.0% of 1,200", "0", "0.0% of 1,200", "0", "0.0% of 0", "0", "0.0% of 0"]
    save_png(figure, tmp_path / "matrix.png")


def test_pictures_are_the_same_each_time(tmp_path):
    for name in ("a.png", "b.png"):
        save_png(report.learning_curves(HISTORY, "a title"), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("terminal", [False, True])
def test_progress(terminal):
    text = io.StringIO()
    progress = ProgressReport(Console(file=text, force_terminal=terminal, width=100))
    trainer = SimpleNamespace(epoch=0, step=0, history=[])
    progress.on_start(trainer, 10, 2)
    trainer.step = 1
    progress.on_step(trainer, 0.5)
    trainer.epoch, trainer.step = 1, 0
    progress.on_epoch(trainer, {"epoch": 1, "loss": 0.51234, "test_accuracy": 0.75, "lr": 0.000125})
    progress.on_end(trainer)
    line = r"epoch  1/10  loss 0\.512  test_accuracy 0\.750  lr 0\.000125  \(\d+\.\d s\)"
    assert re.search(line, text.getvalue())
    if not terminal:
        assert re.fullmatch(line + r"\n", text.getvalue())
