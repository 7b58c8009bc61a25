"""What a hostile or clumsy user may give: each command says in a line what is wrong, and nothing is made or lost."""

import json
import os
import struct

import h5py
import numpy as np
import pytest

import minicnn as mc
from minicnn import cli, data, nn, optim
from minicnn.data import transforms as t
from minicnn.io.atomic import write_bytes
from minicnn.io.safetensors import read_safetensors, write_safetensors
from minicnn.nn import functional as F
from minicnn.train import (
    Callback,
    CSVLog,
    EarlyStopping,
    History,
    Paused,
    Trainer,
    best_threshold,
    checkpoint,
    provenance,
    recipes,
    training,
)
from minicnn.train.run import checkpoint_of


@pytest.fixture
def fails(capsys):
    """Run a command that must fail as all do: code 2, nothing on standard output, an error in the last line."""
    def call(*arguments, trained=False):
        with pytest.raises(SystemExit) as exited:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert exited.value.code == 2 and out == "", (exited.value.code, out, err)
        assert err.splitlines()[-1].startswith("error: ") and err.count("error: ") == 1 and "Traceback" not in err, err
        assert trained or "epoch 1/" not in err, f"found only after an epoch: {err}"
        return err

    return call


def listing(folder):
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def write_faces(folder, counts=(14, 6), smiles=None):
    folder.mkdir()
    for split, count in zip(("train", "test"), counts, strict=True):
        y = np.arange(count) % 2 if smiles is None else (np.arange(count) < smiles).astype(int)
        x = np.random.default_rng(count).integers(0, 120, (count, 64, 64, 3)) + 120 * y[:, None, None, None]
        with h5py.File(folder / f"{split}_happy.h5", "w") as file:
            file[f"{split}_set_x"], file[f"{split}_set_y"] = x.astype(np.uint8), y
    return folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("faces") / "faces")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    for split, count in (("train", 30), ("t10k", 10)):
        y = np.arange(count) % 10
        x = np.random.default_rng(0).integers(0, 20, (count, 28, 28)) + 23 * y[:, None, None]
        head = struct.pack(">IIII", 2051, count, 28, 28), struct.pack(">II", 2049, count)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(head[0] + x.astype(np.uint8).tobytes())
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(head[1] + y.astype(np.uint8).tobytes())
    return folder


class PauseIn(Callback):
    def on_step(self, trainer, loss):
        if (trainer.epoch, trainer.step) == (1, 1):
            trainer.pause()


@pytest.fixture(scope="module")
def unfinished(faces, tmp_path_factory):
    """The state in the checkpoint of a run that paused in its second epoch, with all that a training can have."""
    out = tmp_path_factory.mktemp("unfinished")
    settings = recipes.SMILE.settings(epochs=3, batch_size=5, validation=0.3, patience=2, average=0.9, warmup=1,
                                      schedule="cosine", clip_norm=1.0, augment=True)
    with pytest.raises(Paused):
        examples = recipes.SMILE.examples(faces)
        training.train(recipes.SMILE, examples, settings, out, callbacks=[PauseIn()])
    return checkpoint.read(checkpoint_of(out))


# -------------------------------------------------------------------------------------------- where things are written

@pytest.mark.parametrize("name", ["", "file/run", "unfinished is a file"])
def test_train_to_odd_places(name, fails, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "unfinished is a file").mkdir()
    (tmp_path / "unfinished is a file" / "unfinished").write_text("mine")
    before = listing(tmp_path)
    fails("train", "mnist", "--data", digits, "--epochs", 1, "--out", name)
    assert listing(tmp_path) == before


def test_a_folder_of_the_users_own_called_unfinished_is_left_alone(fails, digits, tmp_path):
    for name in ("unfinished", ".discarded"):
        (tmp_path / name / name).mkdir(parents=True)
        (tmp_path / name / name / "novel.txt").write_text("years of work")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "unfinished").symlink_to(tmp_path / "unfinished")
    before = listing(tmp_path)
    for name in ("unfinished", ".discarded", "link"):
        for more in ((), ("--restart",)):
            assert "left alone" in fails("train", "mnist", "--data", digits, "--out", tmp_path / name, *more)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("config", ['{"architectures": ["ResNet"]}', "[]", "{", ""])
def test_models_of_other_programs_in_files_of_the_same_names_are_no_older_run(config, fails, digits, tmp_path):
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.safetensors").write_bytes(b"weights of another")
    before = listing(tmp_path)
    assert "left alone" in fails("train", "mnist", "--data", digits, "--out", tmp_path)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", ["", ".", "folder", "folder.png", "sheet.jpg", "thesis.tex", "gone/sheet.png"])
def test_show_to_odd_places(name, fails, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "thesis.tex").write_text("years of work")
    before = listing(tmp_path)
    fails("data", "show", "mnist", "--data", digits, "--out", name)
    assert listing(tmp_path) == before


def test_download_to_no_name(fails):
    assert "the name is empty" in fails("data", "download", "mnist", "--to", "")


def test_a_device_or_pipe_is_never_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # a rename would put a file in its place, and in that of /dev/null too
    with pytest.raises(OSError, match="not a file"):
        write_bytes(tmp_path / "pipe", b"x")
    assert (tmp_path / "pipe").is_fifo() and [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_errors_of_writing_name_the_file_that_was_asked_for(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "gone" / "x", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(OSError) as failed:
            write_bytes(path, b"x")
        assert failed.value.filename == str(path)


# ------------------------------------------------------------------------------------------------------------- options

@pytest.mark.parametrize(("more", "said"), [
    (["--epochs", "1", "--warmup", "1"], "warmup must be shorter"),
    (["--validation", "0.001"], "leaves nothing on one side"),
    (["--validation", "0.999"], "leaves nothing on one side"),
    (["--validation", "nan"], "'--validation'"),
    (["--threads", "1000000"], "'--threads'"),
    (["--threads", "1" + "0" * 30], "'--threads'"),
    (["--seed", str(2**63)], "'--seed'"),
    (["--checkpoint-every", "nan"], "'--checkpoint-every'"),
    (["--validation", "0.3", "--miss-cost", "1", "--false-alarm-cost", "1"], "mnist is not"),
    (["--data", ""], "no file train-labels"),
])
def test_odd_options(more, said, fails, digits, tmp_path):
    assert said in fails("train", "mnist", "--data", digits, "--out", tmp_path / "run", *more)
    assert not list(tmp_path.iterdir())


def test_a_threshold_needs_both_classes_and_says_so_before_training(fails, tmp_path):
    write_faces(tmp_path / "faces", smiles=1)  # a tenth of one smile is none
    err = fails("train", "smile", "--data", tmp_path / "faces", "--epochs", 1, "--validation", 0.1, "--miss-cost", 2,
                "--false-alarm-cost", 1, "--out", tmp_path / "run")
    assert "both classes" in err and [p.name for p in tmp_path.iterdir()] == ["faces"]


@pytest.mark.parametrize("costs", [(1e308, 1e308), (1e-320, 1e-320), (1e308, 1e-320)])
def test_thresholds_of_extreme_costs(costs):
    found = best_threshold([0, 0, 1, 1], [0.0, 1.0, 2.0, 3.0], *costs)
    assert (found.threshold, found.cost) == (1.5, 0.0)
    assert best_threshold([1, 0, 1, 0] * 9, [0.0, 1.0, 2.0, 3.0] * 9, *costs).cost <= max(costs)


# -------------------------------------------------------------------------------------------------------------- models

@pytest.mark.parametrize(("config", "said"), [
    ({"options": {"classes": 10**8}}, "the file holds 93322 numbers only"),
    ({"options": {"classes": 10**30}}, "numbers only"),
    ({"threshold": float("nan")}, "configuration"),
    ({"threshold": float("inf")}, "configuration"),
    ({"classes": ["a"] * 10}, "the model is for 10 classes"),
    ({"classes": ["a", "b", "c"]}, "the model is for 10 classes"),
])
def test_hostile_model_files(config, said, fails, digits, tmp_path):
    file = tmp_path / "m.safetensors"
    whole = {"model": "mnist_net", "options": {}} | config
    write_safetensors(file, mc.models.create("mnist").state_dict(), {"minicnn": json.dumps(whole)})
    assert said in fails("evaluate", file, "--data", digits, "--json")


@pytest.mark.parametrize("value", [np.nan, 3e38])
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_model_that_gives_no_numbers_gives_no_answers(value, more, fails, digits, tmp_path):
    from PIL import Image

    model = mc.models.create("mnist")
    mc.save(model, tmp_path / "m.safetensors")
    config = {"minicnn": json.dumps(model.config)}
    state = read_safetensors(tmp_path / "m.safetensors")
    write_safetensors(tmp_path / "m.safetensors", {n: np.full_like(v, value) for n, v in state.items()}, config)
    Image.new("L", (28, 28), 200).save(tmp_path / "digit.png")
    for arguments in (("predict", tmp_path / "m.safetensors", tmp_path / "digit.png"),
                      ("evaluate", tmp_path / "m.safetensors", "--data", digits)):
        assert "nan or infinite outputs" in fails(*arguments, *more)


# --------------------------------------------------------------------------------------------------------- checkpoints

def changed(state, path, value):
    """The state with one thing in it changed, or left out if the value is `...`."""
    first, _, rest = path.partition("/")
    place = int(first) if isinstance(state, list) else first
    if rest:
        value = changed(state[place], rest, value)
    if isinstance(state, list):
        return [*state[:place], value, *state[place + 1 :]]
    return {key: item for key, item in (state | {place: value}).items() if item is not ...}


DAMAGE = [
    *(("Provenance", value) for value in (..., None, "x", [], np.zeros(3))),
    *(("Provenance/recipe", value) for value in (..., None, "smlie", [])),
    *(("Provenance/source", value) for value in (..., 7, None, {})),
    *(("Provenance/synthetic", value) for value in (..., None, "no")),
    *(("Provenance/fingerprint", value) for value in (..., None, "0" * 64)),
    *((f"Provenance/settings/{name}", value) for name, values in {
        "epochs": (..., None, "3", 2.5, 0, True), "batch_size": (None, "x", -1, True),
        "lr": (None, 0, float("nan"), "x"),
        "seed": ("x", -1, 2.5, float("nan")), "augment": (1, "yes", None), "validation": ("x", 1, -0.5, None),
        "patience": (0, 2.5, "x"), "schedule": ("sine", None, []), "warmup": (-1, 3, None), "clip_norm": (0, "x", [1]),
        "average": (1, "x"), "miss_cost": (1.0, "x"), "unknown": (1,)}.items() for value in values),
    *(("trainer", value) for value in (..., None, [], "x", {}, np.zeros(3))),
    *((f"trainer/{name}", value) for name, values in {
        "epoch": (..., None, -1, 2.5, 7, 10**30, "x"), "step": (..., None, -1, 2.5, 99, 10**30, 0, 2),
        "stopped": (..., None, 1), "seconds": (..., None, -1, float("nan"), "x"), "history": (..., None, [], [1], "x"),
        "history/0/epoch": (9,), "random": (..., None, [1], [-1, 0], ["a", "b"], [0, 2**70])}.items()
      for value in values),
    *((f"EarlyStopping{name}", value) for name, values in {
        "": (..., None, []), "/best_epoch": (None, -1, 2.5, 10**30), "/best_value": (None, "x"),
        "/best_weights": ("x", {}, {"0.weight": np.zeros(3)})}.items() for value in values),
    *(("model", value) for value in (..., None, {}, "x")), ("model/0.bias", np.zeros(3)), ("model/0.bias", "x"),
    *((f"optimizer{name}", value) for name, values in {
        "": (..., None, {}), "/state": (..., None, {}), "/state/0": (...,), "/state/0/step": (..., -1, 2.5, 10**30),
        "/state/0/exp_avg": (..., np.zeros(3)), "/param_groups": ([], None, [1]),
        "/param_groups/0/lr": (-1, "x", float("nan")),
        "/param_groups/0/betas": (None, [2, 3])}.items() for value in values),
    *((f"schedule{name}", value) for name, values in {
        "": (..., None, {}), "/last_epoch": (..., None, "x", -1, 2.5, 10**30, [1]),
        "/milestones": (None, "x", [], [1, 2]), "/schedulers": (None, [], [1]),
        "/schedulers/0/last_epoch": (..., None, "x", float("nan"), {})}.items()
      for value in values),
    *((f"average{name}", value) for name, values in {
        "": (..., None), "/updates": (-1, 2.5, 0, 10**30), "/averages": ({}, None)}.items() for value in values),
    *((f"seen{name}", value) for name, values in {
        "": (..., None), "/count": (..., -1, "x"), "/loss": (float("nan"), None), "/several": (1,),
        "/outputs": (None, [1], [[1]])}.items() for value in values),
]


@pytest.fixture(scope="module")
def resumable(faces, unfinished, tmp_path_factory):
    """A function that goes on, to its first step, with a changed state, which it is given in place of the file's."""
    out, examples = tmp_path_factory.mktemp("resumable"), recipes.SMILE.examples(faces)
    checkpoint_of(out).parent.mkdir()
    checkpoint.write(checkpoint_of(out), unfinished)
    written = checkpoint_of(out).stat()

    class Reached(Callback):
        def on_step(self, trainer, loss):
            raise InterruptedError

    def go_on(state):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoint, "read", lambda path: state)
            try:
                made = provenance.unfinished(out)
                training.train(made.recipe, examples, made.settings, out, resume=True, callbacks=[Reached()])
            finally:
                assert [*out.rglob("*")] == [out / "unfinished", checkpoint_of(out)]
                assert checkpoint_of(out).stat().st_mtime_ns == written.st_mtime_ns

    return go_on


def test_a_checkpoint_that_is_whole_is_gone_on_with(resumable, unfinished):
    with pytest.raises(InterruptedError):
        resumable(unfinished)


@pytest.mark.parametrize(("path", "value"), DAMAGE, ids=[f"{path}={str(value)[:20]}" for path, value in DAMAGE])
def test_damaged_checkpoints(path, value, resumable, unfinished):
    with pytest.raises(ValueError) as failed:
        resumable(changed(unfinished, path, value))
    assert len(str(failed.value)) < 1200


@pytest.mark.parametrize(("path", "value"), [
    ("Provenance", np.zeros(3)), ("Provenance/source", 7), ("Provenance/settings/batch_size", "x"),
    ("trainer/epoch", 10**30), ("optimizer/state", {}), ("schedule/last_epoch", "x")])
def test_resume_says_what_is_damaged(path, value, fails, unfinished, tmp_path):
    checkpoint_of(tmp_path).parent.mkdir()
    checkpoint.write(checkpoint_of(tmp_path), changed(unfinished, path, value))
    before = listing(tmp_path)
    fails("train", "smile", "--resume", "--out", tmp_path)
    assert listing(tmp_path) == before


# ---------------------------------------------------------------------------------------------------------------- data

@pytest.mark.parametrize(("names", "said"), [
    (["a"] * 10, "holds the name 'a' twice"), (["\x1b[2J", *"abcdefghi"], "expected printable text")])
def test_names_of_classes(names, said, tmp_path):
    record = bytes([0]) + bytes(3072)
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        (tmp_path / f"{name}.bin").write_bytes(record)
    (tmp_path / "batches.meta.txt").write_text("\n".join(names))
    with pytest.raises(data.DataError, match=said):
        data.load_cifar10(tmp_path)


def test_faces_whose_classes_have_one_name(faces, tmp_path):
    write_faces(tmp_path / "faces")
    with h5py.File(tmp_path / "faces" / "train_happy.h5", "r+") as file:
        file["list_classes"] = np.array([b"a", b"a"])
    with pytest.raises(data.DataError, match="train_happy.h5: list_classes: holds the name 'a' twice"):
        data.load_happy_house(tmp_path / "faces")


def test_names_that_look_like_formulas_are_drawn(tmp_path):
    from minicnn.data import augmentation_figure
    from minicnn.figure import save_png
    from minicnn.train.report import confusion_matrix_figure, mistakes_figure

    names, pictures = (r"$\frac{a$", r"$\x$"), np.zeros((2, 4, 4, 3), np.uint8)
    save_png(confusion_matrix_figure([[1, 2], [3, 4]], names, "title"), tmp_path / "a.png")
    save_png(mistakes_figure(pictures, [0, 1], [[0.2, 0.8], [0.7, 0.3]], names, "title"), tmp_path / "b.png")
    save_png(augmentation_figure(pictures, None, np.array([0, 1]), names), tmp_path / "c.png")


# ------------------------------------------------------------------------------------------------------- from Python

X, Y = np.random.default_rng(0).random((20, 2, 2, 3)).astype(np.float32), np.arange(20) % 2


def trainer(**more):
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    return Trainer(model, loss=F.cross_entropy, optimizer=optim.SGD(model.parameters(), lr=0.1), **more)


@pytest.mark.parametrize(("more", "said"), [
    ({"metrics": {"loss": lambda targets, outputs: 3.0}}, "a column 'loss' already"),
    ({"callbacks": [EarlyStopping("loss"), EarlyStopping("loss", 3)]}, "two callbacks are called EarlyStopping")])
def test_trainers_that_would_mix_things_up(more, said):
    with pytest.raises(ValueError, match=said):
        trainer(**more)


def test_a_log_into_a_missing_folder_is_found_before_the_first_step(tmp_path):
    log = trainer(callbacks=[CSVLog(tmp_path / "gone" / "history.csv")])
    with pytest.raises(FileNotFoundError, match="gone: no such folder"):
        log.fit(data.DataLoader(data.ArrayDataset(X, Y), 4), epochs=1)
    assert log.step == 0


def test_validation_that_begins_later_still_has_a_log(tmp_path):
    log, batches = trainer(callbacks=[CSVLog(tmp_path / "h.csv")]), data.DataLoader(data.ArrayDataset(X, Y), 4)
    log.fit(batches, epochs=1)
    log.fit(batches, batches, epochs=2)
    lines = (tmp_path / "h.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,val_loss" and lines[1].endswith(",") and not lines[2].endswith(",")
    assert History([{"epoch": 1}, {"epoch": 2, "a": 3}]).to_csv() == "epoch,a\n1,\n2,3\n"


def test_an_epoch_cannot_begin_beyond_its_end():
    loader = data.DataLoader(data.ArrayDataset(X, Y), 4)
    loader.set_epoch(0, 5)
    assert list(loader) == []
    with pytest.raises(ValueError, match="an epoch has 5 batches, got batch 6"):
        loader.set_epoch(0, 6)


@pytest.mark.parametrize(("dataset", "error", "said"), [
    (data.ArrayDataset(X[:0], Y[:0]), ValueError, "the data set is empty"),
    (data.ArrayDataset(X), TypeError, "of 1 field"), ([(X[0], 0)], TypeError, "got list"),
    (data.Subset(data.ArrayDataset(X, Y), [0, 1]), TypeError, "got Subset"),
    (data.ArrayDataset(X, np.eye(20)), ValueError, "one number each, got 20")])
def test_sets_that_cannot_be_split(dataset, error, said):
    with pytest.raises(error, match=said):
        data.split_off(dataset, 0.2)


def test_transforms_in_the_wrong_order():
    generator, batch = np.random.default_rng(0), ((X * 255).astype(np.uint8), Y)
    with pytest.raises(TypeError, match=r"put ToFloat\(\) before it"):
        t.ColorJitter(0.1)(batch, generator)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        t.Compose(t.ToFloat(), t.Normalize([0.5] * 3, [0.1] * 3), t.ColorJitter(0.1))(batch, generator)


@pytest.mark.parametrize("count", [0, -1, 1025, 10**6, 10**30])
def test_numbers_of_threads(count):
    before = mc.get_num_threads()
    with pytest.raises(ValueError, match="from 1 to 1024"):
        mc.set_num_threads(count)
    assert mc.get_num_threads() == before


@pytest.mark.parametrize("state", [(1,), (-1, 0), (0, 2**64), ("a", 0), (0.5, 1)])
def test_states_of_the_generator(state):
    from minicnn import random

    before = random.get_state()
    with pytest.raises(ValueError, match="set_state"):
        random.set_state(state)
    assert random.get_state() == before
