import json
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

import minicnn as mc

PICTURES = ["confusion_matrix.png", "learning_curves.png", "mistakes.png"]
FILES = sorted([*PICTURES, "config.json", "history.csv", "metrics.json", "model.safetensors"])


@pytest.fixture
def fails(run):
    """Run a command that must fail as all do: exit code 2, one or two lines on standard error, nothing else."""
    def call(*arguments):
        code, out, err = run(*arguments)
        assert code == 2 and out == "", (code, out, err)
        assert 1 <= len(err.splitlines()) <= 2 and err.startswith("error: ") and "Traceback" not in err, err
        return err

    return call


def write_faces(folder, split, x, y):
    import h5py

    folder.mkdir(exist_ok=True)
    with h5py.File(folder / f"{split}_happy.h5", "w") as file:
        file[f"{split}_set_x"], file[f"{split}_set_y"] = x, y


def faces(count, seed):
    """Pictures whose label is easy to see: the bright ones are the smiles."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 2
    x = rng.integers(0, 120, (count, 64, 64, 3)) + 120 * y[:, None, None, None]
    return x.astype(np.uint8), y


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A folder of data: 20 faces to train on, 12 to test with."""
    folder = tmp_path_factory.mktemp("small")
    write_faces(folder, "train", *faces(20, 0))
    write_faces(folder, "test", *faces(12, 1))
    return folder


@pytest.fixture(scope="session")
def trained(small, tmp_path_factory):
    """A run on that data, and what the command wrote to standard error."""
    out = tmp_path_factory.mktemp("runs") / "smile"
    ran = subprocess.run([sys.executable, "-m", "minicnn.cli", "train", "smile", "--data", small, "--epochs", "3",
                          "--batch-size", "8", "--out", out], capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout == "", ran.stderr
    return out, ran.stderr


# --------------------------------------------------------------------------------------------------------- what works

def test_a_run_holds_all_its_files(trained, small):
    out, messages = trained
    assert sorted(p.name for p in out.iterdir()) == FILES
    assert [p.name for p in out.parent.iterdir()] == ["smile"]
    history = (out / "history.csv").read_text().splitlines()
    assert history[0] == "epoch,loss,accuracy,test_loss,test_accuracy" and len(history) == 4
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["synthetic"] is False and metrics["data"] == str(small)
    assert metrics["examples"] == 12 and metrics["train_examples"] == 20 and metrics["epochs"] == 3
    assert metrics["accuracy"] == float(history[-1].split(",")[-1])
    config = json.loads((out / "config.json").read_text())
    assert config["model"] == "smile_detector" and config["parameters"] == 1_062_977
    assert config["recipe"]["seed"] == 0 and config["recipe"]["lr"] == 0.001 and config["recipe"]["batch_size"] == 8
    for name in PICTURES:
        with Image.open(out / name) as picture:
            picture.load()
    assert len(re.findall(r"^epoch \d/3  loss \d", messages, re.M)) == 3
    assert "synthetic" not in messages.lower()


def test_the_run_can_be_loaded(trained, small):
    model = mc.load(trained[0])
    assert not model.training
    x, y = mc.data.load_split(small, "test").arrays
    with mc.no_grad():
        right = (model(mc.tensor(x)).numpy() > 0) == (y > 0)
    assert right.mean() == json.loads((trained[0] / "metrics.json").read_text())["accuracy"]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_seed_gives_the_same_run(threads, run, trained, small, tmp_path):
    before = mc.get_num_threads()
    try:
        code, _, err = run("train", "smile_detector", "--data", small, "--epochs", 3, "--batch-size", 8,
                           "--threads", threads, "--out", tmp_path / "run")
    finally:
        mc.set_num_threads(before)
    assert code == 0, err
    for name in set(FILES) - {"config.json"}:  # it notes the time and the threads
        assert (tmp_path / "run" / name).read_bytes() == (trained[0] / name).read_bytes(), name


def test_another_seed_gives_another_run(run, trained, small, tmp_path):
    code, _, _ = run("train", "smile", "--data", small, "--epochs", 1, "--seed", 1, "--out", tmp_path / "run")
    assert code == 0
    assert (tmp_path / "run" / "model.safetensors").read_bytes() != (trained[0] / "model.safetensors").read_bytes()


def test_evaluate(run, trained, small):
    code, out, err = run("evaluate", trained[0], "--data", small, "--json")
    assert code == 0 and err == ""
    report = json.loads(out)
    metrics = json.loads((trained[0] / "metrics.json").read_text())
    assert all(metrics[key] == value for key, value in report.items())
    assert {"accuracy", "precision", "recall", "f1", "auc", "confusion_matrix"} <= set(report)
    assert np.sum(report["confusion_matrix"]) == 12
    code, out, err = run("evaluate", trained[0] / "model.safetensors", "--data", small)
    assert code == 0 and re.search(r"^accuracy +\d\.\d{4}$", out, re.M) and err == ""


def test_evaluate_notes_what_is_undefined(run, trained, tmp_path):
    x, _ = faces(4, 0)
    write_faces(tmp_path / "d", "test", x, np.zeros(4, int))
    code, out, _ = run("evaluate", trained[0], "--data", tmp_path / "d", "--json")
    report = json.loads(out)
    assert code == 0 and report["auc"] is None and any("one class" in note for note in report["notes"])
    code, out, err = run("evaluate", trained[0], "--data", tmp_path / "d")
    assert code == 0 and "auc               undefined" in out and "note: all examples are of one class" in err


def test_without_data_the_faces_are_synthetic_and_called_so(run, tmp_path, monkeypatch):
    drawn = mc.data.load_synthetic_faces(train=16, test=8)
    monkeypatch.setattr(mc.data, "load_synthetic_faces", lambda: drawn)
    code, _, err = run("train", "smile", "--out", tmp_path / "run")
    assert code == 0 and "SYNTHETIC" in err.splitlines()[0] and "synthetic test faces" in err.splitlines()[-1]
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["synthetic"] is True and "synthetic" in metrics["data"] and metrics["epochs"] == 6
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"]["synthetic"] is True and config["recipe"]["schedule"] == "cosine"


def test_an_older_run_is_replaced(run, small, tmp_path):
    for seed in (0, 1):
        assert run("train", "smile", "--data", small, "--epochs", 1, "--seed", seed, "--out", tmp_path / "run")[0] == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["recipe"]["seed"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_summary(run, trained):
    code, out, err = run("summary", "smile")
    assert code == 0 and err == "" and "1,062,977" in out and "(N, 16, 16, 32)" in out
    code, out, _ = run("summary", "smile_detector", "--json")
    found = json.loads(out)
    assert code == 0 and (found["trainable"], found["not_trainable"], found["total"]) == (1_062_977, 96, 1_063_073)
    assert found["layers"][10]["output_shape"] == [None, 8192] and len(found["layers"]) == 14
    assert json.loads(run("summary", trained[0], "--json")[1]) == found


def test_models(run):
    code, out, _ = run("models")
    assert code == 0 and re.search("^smile_detector, smile +Is the face smiling[?]", out, re.MULTILINE)
    assert re.search("^alexnet +Five convolutions", out, re.MULTILINE)
    found = {entry["name"]: entry["aliases"] for entry in json.loads(run("models", "--json")[1])}
    assert found["smile_detector"] == ["smile"] and {"mnist_net", "cifar10_net"} <= set(found)


def test_help_and_version(run):
    assert run("--version")[1] == f"minicnn {mc.__version__}\n"
    for arguments in ((), ("--help",), ("train", "--help"), ("evaluate", "-h"), ("summary", "-h"), ("doctor", "-h")):
        code, out, err = run(*arguments)
        assert code == 0 and "Usage: minicnn" in out and err == ""


def test_the_command_line_starts_quickly():
    heavy = ("matplotlib", "h5py", "scipy", "rich", "safetensors", "PIL", "numba")
    code = f"import sys, minicnn.cli; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_reader_that_stops_reading():
    command = f"{sys.executable} -m minicnn.cli summary smile | head -n 1"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stderr == "", ran.stderr


# --------------------------------------------------------------------------------------------------------- what fails

@pytest.mark.parametrize(("arguments", "said"), [
    (["frob"], "No such command 'frob'"),
    (["train"], "Missing argument 'NAME'"),
    (["train", "smlie"], "did you mean smile?"),
    (["train", "smile", "--epochs", "0"], "'--epochs'"),
    (["train", "smile", "--epochs", "many"], "'--epochs'"),
    (["train", "smile", "--batch-size", "-3"], "'--batch-size'"),
    (["train", "smile", "--lr", "0"], "'--lr'"),
    (["train", "smile", "--lr", "nan"], "'--lr'"),
    (["train", "smile", "--lr", "inf"], "'--lr'"),
    (["train", "smile", "--seed", "-1"], "'--seed'"),
    (["train", "smile", "--threads", "0"], "'--threads'"),
    (["train", "smile", "--speed", "9"], "No such option"),
    (["summary", "nothing_like_it"], "there is"),
    (["summary", "./nothing"], "nothing: no such file"),
])
def test_bad_arguments(arguments, said, fails, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in fails(*arguments)
    assert not list(tmp_path.iterdir())


def spoil(folder, how):
    """A folder of data with one thing wrong, and a word of what should be said about it."""
    x, y = faces(4, 0)
    write_faces(folder, "train", x, y)
    write_faces(folder, "test", x, y)
    path = folder / "train_happy.h5"
    if how == "missing file":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:9000])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "no HDF5":
        path.write_text("these are faces, believe me")
    elif how == "wrong keys":
        (folder / "test_happy.h5").rename(path)
        write_faces(folder, "test", x, y)
    elif how == "wrong shapes":
        write_faces(folder, "train", x[:, :32], y)
    elif how == "wrong dtype":
        write_faces(folder, "train", x / 255, y)
    elif how == "labels missing":
        write_faces(folder, "train", x, y[:3])
    elif how == "labels of another kind":
        write_faces(folder, "train", x, y + 1)
    elif how == "no test file":
        (folder / "test_happy.h5").unlink()


@pytest.mark.parametrize(("how", "said"), [
    ("missing file", "train_happy.h5"),
    ("truncated", "train_happy.h5"),
    ("empty", "train_happy.h5"),
    ("no HDF5", "train_happy.h5"),
    ("wrong keys", "train_set_x"),
    ("wrong shapes", "(4, 32, 64, 3)"),
    ("wrong dtype", "float64"),
    ("labels missing", "train_set_y"),
    ("labels of another kind", "label 2"),
    ("no test file", "test_happy.h5"),
])
def test_bad_data(how, said, fails, tmp_path):
    spoil(tmp_path / "data", how)
    err = fails("train", "smile", "--data", tmp_path / "data", "--out", tmp_path / "runs" / "run")
    assert said in err
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_no_folder_of_data(fails, trained, tmp_path):
    assert "gone" in fails("train", "smile", "--data", tmp_path / "gone", "--out", tmp_path / "run")
    assert "gone" in fails("evaluate", trained[0], "--data", tmp_path / "gone", "--json")
    assert not list(tmp_path.iterdir())


def test_folders_that_are_no_run(fails, small, tmp_path):
    assert "not the folder of a run" in fails("evaluate", tmp_path, "--data", small)
    assert "no such file" in fails("evaluate", tmp_path / "gone.safetensors", "--data", small)
    (tmp_path / "gone").write_text("")
    fails("evaluate", tmp_path / "gone", "--data", small)
    (tmp_path / "model.safetensors").write_bytes(b"not weights at all")
    assert "not a readable safetensors file" in fails("evaluate", tmp_path, "--data", small)
    mc.save({"w": np.zeros(3)}, tmp_path / "model.safetensors")
    assert "not which model" in fails("evaluate", tmp_path, "--data", small)


def test_a_model_that_gives_no_numbers(fails, small, tmp_path):
    model = mc.models.create("smile")
    model[13].bias.requires_grad_(False).fill_(np.nan)
    mc.save(model, tmp_path / "model.safetensors")
    assert "nan" in fails("evaluate", tmp_path, "--data", small, "--json")
    model[13].bias.fill_(np.inf)
    mc.save(model, tmp_path / "model.safetensors")
    fails("evaluate", tmp_path, "--data", small, "--json")


def test_what_is_no_run_is_not_overwritten(fails, small, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "left alone" in fails("train", "smile", "--data", small, "--out", tmp_path)
    assert "left alone" in fails("train", "smile", "--data", small, "--out", tmp_path / "thesis.tex")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_interrupt_leaves_nothing(run, small, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(mc.optim.Adam, "step", interrupted)
    code, out, err = run("train", "smile", "--data", small, "--out", tmp_path / "runs" / "run")
    assert code == 130 and out == "" and err.splitlines()[-1] == "interrupted"
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_no_number_leaves_the_older_run(run, fails, small, tmp_path):
    out = tmp_path / "run"
    assert run("train", "smile", "--data", small, "--epochs", 1, "--out", out)[0] == 0
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()}
    code, stdout, err = run("train", "smile", "--data", small, "--epochs", 3, "--lr", "1e30", "--out", out)
    last = err.splitlines()[-1]
    assert code == 2 and stdout == "" and re.search(r"error: (test_)?loss is (nan|inf) (in|after) epoch \d", last), err
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


# -------------------------------------------------------------------------------------------------------------- device


def test_the_commands_compute_on_a_device(gpu, run, small, tmp_path):
    out = tmp_path / "run"
    code, _, err = run("train", "smile", "--data", small, "--epochs", 1, "--batch-size", 10, "--device", gpu, "--out",
                       out)
    assert code == 0, err
    assert json.loads((out / "config.json").read_text())["machine"]["device"] == gpu
    scores = {device: run("evaluate", out, "--data", small, "--device", device, "--json") for device in ("cpu", gpu)}
    assert {code for code, _, _ in scores.values()} == {0}
    here, there = (json.loads(text)["loss"] for _, text, _ in scores.values())
    assert there == pytest.approx(here, rel=1e-4)


# ------------------------------------------------------------------------------------------------------------- doctor

def test_doctor(run, monkeypatch, tmp_path):
    (tmp_path / "smiles").mkdir()
    (tmp_path / "smiles" / "train_happy.h5").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MINICNN_DATA", str(tmp_path))
    code, out, err = run("doctor", "--json")
    found = json.loads(out)
    assert code == 0 and re.fullmatch(r"(Compiling .*\n)?", err)  # the emulator is tried, with an empty cache
    assert found["minicnn"]["version"] == mc.__version__ and found["python"]["numpy"] == np.__version__
    assert found["cpu"]["vector_level"] in found["cpu"]["vector_levels"]
    assert found["cpu"]["threads"] == mc.get_num_threads() and isinstance(found["cpu"]["openmp"], bool)
    driver = found["gpu"]["driver"]
    assert isinstance(found["gpu"]["numba"], str) and bool(driver["reason"]) != bool(driver["devices"])
    assert found["gpu"]["usable"] == (found["gpu"]["note"] is None) == mc.cuda_is_available()
    lacking = find_spec("numba_cuda") is None
    assert found["gpu"]["emulator"] == "works" if not lacking else "is not installed" in found["gpu"]["emulator"]
    assert found["data"] == {"folder": str(tmp_path), "note": None,
                             "sets": {"smiles": str(tmp_path / "smiles")}}
    code, out, err = run("doctor")
    assert code == 0 and err == "" and re.search(r"^vectors +\w+ in use", out, re.M) and "smiles" in out


def test_doctor_without_data(run, monkeypatch, tmp_path):
    monkeypatch.delenv("MINICNN_DATA", raising=False)
    assert "MINICNN_DATA is not set" in run("doctor")[1]
    monkeypatch.setenv("MINICNN_DATA", str(tmp_path / "gone"))
    assert "is not a folder" in run("doctor")[1]


class Driver:
    """Plays libcuda."""

    def __init__(self, code=0, names=("Tesla T0",)):
        self.code, self.names = code, names

    def cuInit(self, flags):
        return self.code

    def cuGetErrorName(self, code, name):
        name._obj.value = b"CUDA_ERROR_NO_DEVICE"

    def cuDriverGetVersion(self, version):
        version._obj.value = 12040

    def cuDeviceGetCount(self, count):
        count._obj.value = len(self.names)

    def cuDeviceGet(self, handle, index):
        handle._obj.value = index

    def cuDeviceGetName(self, name, size, handle):
        name.value = self.names[handle.value].encode()
        return 0


@pytest.mark.parametrize(("driver", "found"), [
    (Driver(), {"version": "12.4", "devices": ["Tesla T0"], "reason": None}),
    (Driver(names=()), {"version": "12.4", "devices": [], "reason": "the driver finds no GPU"}),
    (Driver(100), {"version": None, "devices": [], "reason": "cuInit gives CUDA_ERROR_NO_DEVICE (100)"}),
    (object(), {"version": None, "devices": [], "reason": "libcuda.so.1 is not a CUDA driver: "
                                                          "'object' object has no attribute 'cuInit'"}),
])
def test_doctor_asks_the_driver(driver, found, monkeypatch):
    import ctypes

    from minicnn import doctor

    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert doctor.diagnose()["gpu"]["driver"] == found
    assert any(line.startswith("driver") for line in doctor.lines(doctor.diagnose()))


def test_doctor_without_a_driver(monkeypatch):
    import ctypes

    from minicnn import doctor

    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    reason = doctor.diagnose()["gpu"]["driver"]["reason"]
    assert reason == "no CUDA driver: libcuda.so.1: cannot open shared object file"
