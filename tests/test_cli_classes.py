"""The command line on data of ten classes, and on single pictures."""

import gzip
import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import minicnn as mc

FILES = ["config.json", "confusion_matrix.png", "history.csv", "learning_curves.png", "metrics.json", "mistakes.png",
         "model.safetensors"]  # fmt: skip


def digits(count, seed):
    """Pictures whose class is easy to see: the brightness of the middle."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 10
    x = rng.integers(0, 20, (count, 28, 28))
    x[:, 8:20, 8:20] += 23 * y[:, None, None]
    return x.astype(np.uint8), y.astype(np.uint8)


def write_idx(folder, zipped):
    folder.mkdir(exist_ok=True)
    for split, count, seed in (("train", 200, 0), ("t10k", 50, 1)):
        x, y = digits(count, seed)
        for name, content in (("images-idx3-ubyte", struct.pack(">IIII", 2051, count, 28, 28) + x.tobytes()),
                              ("labels-idx1-ubyte", struct.pack(">II", 2049, count) + y.tobytes())):
            path = folder / f"{split}-{name}"
            path.write_bytes(content) if not zipped else path.with_name(path.name + ".gz").write_bytes(
                gzip.compress(content))


def write_cifar10(folder):
    batches = folder / "cifar-10-batches-bin"
    batches.mkdir(parents=True)
    for number, name in enumerate([*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]):
        rng = np.random.default_rng(number)
        y = np.arange(20) % 10
        x = rng.integers(0, 20, (20, 3, 32, 32)) + 23 * y[:, None, None, None]
        records = np.concatenate([y[:, None], x.reshape(20, -1)], axis=1).astype(np.uint8)
        batches.joinpath(name).write_bytes(records.tobytes())


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """A folder of idx files, and a run on them."""
    folder = tmp_path_factory.mktemp("mnist")
    write_idx(folder, zipped=True)
    ran = subprocess.run([sys.executable, "-m", "minicnn", "train", "mnist", "--data", folder, "--epochs", "6",
                          "--batch-size", "8", "--out", folder / "run"], capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout == "", ran.stderr
    return folder


def test_a_run_on_digits(mnist):
    assert sorted(p.name for p in (mnist / "run").iterdir()) == FILES
    metrics = json.loads((mnist / "run" / "metrics.json").read_text())
    assert metrics["examples"] == 50 and metrics["accuracy"] > 0.5 and "top5" in metrics
    config = json.loads((mnist / "run" / "config.json").read_text())
    assert (config["model"], config["parameters"]) == ("mnist_net", 93_322)
    assert config["classes"] == list("0123456789") and config["recipe"]["optimizer"] == "RMSprop"


def test_evaluate(run, mnist):
    code, out, err = run("evaluate", mnist / "run", "--data", mnist, "--json")
    report, metrics = json.loads(out), json.loads((mnist / "run" / "metrics.json").read_text())
    assert code == 0 and err == "" and all(metrics[key] == value for key, value in report.items())
    assert np.trace(report["confusion_matrix"]) / 50 == report["accuracy"]
    code, out, _ = run("evaluate", mnist / "run", "--data", mnist)
    assert code == 0 and "top5" in out and "\n7                 precision" in out


def test_plain_and_zipped_files_are_the_same_data(run, mnist, tmp_path):
    write_idx(tmp_path / "plain", zipped=False)
    assert (run("evaluate", mnist / "run", "--data", tmp_path / "plain", "--json")[1]
            == run("evaluate", mnist / "run", "--data", mnist, "--json")[1])


def test_predict(run, mnist, tmp_path):
    x, y = digits(50, 1)
    model = mc.load(mnist / "run")
    with mc.no_grad():
        logits = model(mc.tensor(x[:3, ..., None].astype("f4") / 255)).numpy().astype(float)
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for number in range(3):
        Image.fromarray(x[number]).save(tmp_path / f"{number}.png")
    names = [tmp_path / f"{number}.png" for number in range(3)]
    code, out, err = run("predict", mnist / "run", *names, "--top", 2, "--json")
    answers = json.loads(out)
    assert code == 0 and err == "" and [a["image"] for a in answers] == [str(n) for n in names]
    for answer, expected in zip(answers, chances, strict=True):
        order = np.argsort(-expected)[:2]
        assert [c["class"] for c in answer["classes"]] == [str(k) for k in order]
        assert [c["probability"] for c in answer["classes"]] == pytest.approx(expected[order], abs=1e-5)
        assert "probability" not in answer
    code, out, err = run("predict", mnist / "run", names[0])
    assert code == 0 and out.startswith(f"{names[0]}: ") and out.count("%") == 3
    Image.fromarray(255 - x[0]).save(tmp_path / "ink.png")
    inverted = json.loads(run("predict", mnist / "run", tmp_path / "ink.png", "--invert", "--json", "--top", 2)[1])
    assert inverted[0]["classes"] == answers[0]["classes"]


def test_predict_with_a_detector_crops_and_scales(run, tmp_path):
    mc.manual_seed(0)
    model = mc.models.create("smile")
    model.config["classes"] = ["not smiling", "smiling"]
    mc.save(model, tmp_path / "model.safetensors")
    face = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(face).save(tmp_path / "face.png")
    wide = np.zeros((64, 100, 3), np.uint8)
    wide[:, 18:82] = face
    Image.fromarray(wide).save(tmp_path / "wide.png")
    code, out, _ = run("predict", tmp_path, tmp_path / "face.png", tmp_path / "wide.png", "--json")
    face_answer, wide_answer = json.loads(out)
    with mc.no_grad():
        logit = model.eval()(mc.tensor(face[None].astype("f4") / 255)).item()
    assert code == 0 and face_answer["probability"] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
    assert wide_answer["classes"] == face_answer["classes"]
    assert {c["class"] for c in face_answer["classes"]} == {"not smiling", "smiling"}


@pytest.mark.parametrize(("how", "said"), [
    ("missing", "gone.png: no such file"), ("empty", "x.png"), ("text", "x.png"), ("truncated", "x.png"),
    ("folder", "x.png")])
def test_predict_reads_all_pictures_before_it_answers(how, said, run, mnist, tmp_path):
    Image.fromarray(digits(1, 0)[0][0]).save(tmp_path / "good.png")
    path = tmp_path / ("gone.png" if how == "missing" else "x.png")
    if how == "folder":
        path.mkdir()
    elif how != "missing":
        path.write_bytes({"empty": b"", "text": b"a face, believe me",
                          "truncated": (tmp_path / "good.png").read_bytes()[:-40]}[how])
    code, out, err = run("predict", mnist / "run", tmp_path / "good.png", path, "--json")
    assert code == 2 and out == "" and said in err and len(err.splitlines()) <= 2, err


def test_cifar10(run, tmp_path):
    write_cifar10(tmp_path / "data")
    code, out, err = run("train", "cifar10", "--data", tmp_path / "data", "--epochs", 2, "--batch-size", 20,
                         "--augment", "--validation", 0.2, "--out", tmp_path / "run")
    assert code == 0 and out == "" and "val_accuracy" in err, err
    model = mc.load(tmp_path / "run")
    x = mc.data.load_cifar10(tmp_path / "data").train.arrays[0]
    learned = mc.data.split_off(mc.data.load_cifar10(tmp_path / "data").train, 0.2)[0]
    pixels = learned.batch(np.arange(len(learned)))[0].astype(np.float64) / 255
    assert len(learned) == 80 and len(x) == 100
    assert np.allclose(model[0].mean.numpy(), pixels.mean((0, 1, 2)), atol=1e-6)
    assert np.allclose(model[0].std.numpy(), pixels.std((0, 1, 2)), atol=1e-6)
    assert json.loads(run("evaluate", tmp_path / "run", "--data", tmp_path / "data", "--json")[1])["examples"] == 20


def test_a_run_on_clothes_is_judged_by_clothes(run, mnist, tmp_path, monkeypatch):
    """The files and the network of MNIST and Fashion-MNIST are alike."""
    monkeypatch.setenv("MINICNN_DATA", str(tmp_path))
    for name in ("mnist", "fashion"):
        write_idx(tmp_path / name, zipped=True)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(struct.pack(">II", 2049, 50) + bytes(50)))
    assert run("train", "fashion", "--epochs", 4, "--batch-size", 8, "--out", tmp_path / "run")[0] == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    report = json.loads(run("evaluate", tmp_path / "run", "--json")[1])
    assert metrics["accuracy"] > 0.5 and report["accuracy"] == metrics["accuracy"]
    assert "Ankle boot" in report["per_class"] and mc.load(tmp_path / "run").config["recipe"] == "fashion"


def test_predict_goes_by_the_threshold(run, tmp_path):
    mc.manual_seed(0)
    model = mc.models.create("smile")
    model.config |= {"classes": ["not smiling", "smiling"], "threshold": 2.0}
    face = np.zeros((1, 64, 64, 3), "f4")
    with mc.no_grad():
        logit = model.eval()(mc.tensor(face)).item()
        model[13].bias += 1.0 - logit  # the logit becomes 1: likely, but not above the threshold
    mc.save(model, tmp_path / "model.safetensors")
    Image.fromarray(face[0].astype(np.uint8)).save(tmp_path / "face.png")
    (found,) = json.loads(run("predict", tmp_path, tmp_path / "face.png", "--json")[1])
    assert found["answer"] == "not smiling" and found["classes"][0]["class"] == "smiling"
    assert found["probability"] == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-5)
    assert found["threshold"] == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-5)
    assert "so not smiling, as the threshold is 88.1%" in run("predict", tmp_path, tmp_path / "face.png")[1]


def test_without_data_it_looks_in_the_cache(run, mnist, tmp_path, monkeypatch):
    monkeypatch.delenv("MINICNN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for arguments in (["train", "mnist", "--out", tmp_path / "run"], ["evaluate", mnist / "run"],
                      ["data", "show", "mnist"]):
        code, out, err = run(*arguments)
        assert code == 2 and out == "" and "minicnn data download mnist" in err
    write_idx(tmp_path / "minicnn", zipped=True)
    (tmp_path / "minicnn").rename(tmp_path / "m")
    (tmp_path / "minicnn").mkdir()
    (tmp_path / "m").rename(tmp_path / "minicnn" / "mnist")
    assert run("evaluate", mnist / "run", "--json")[0] == 0


@pytest.mark.parametrize("more", [(), ("--augment",)])
def test_data_show(more, run, mnist, tmp_path):
    code, out, err = run("data", "show", "mnist", "--data", mnist, "--count", 8, "--out", tmp_path / "d.png", *more)
    assert code == 0 and out == "" and "8 of 200 training digits" in err
    with Image.open(tmp_path / "d.png") as picture:
        assert len(set(np.asarray(picture.convert("L")).ravel().tolist())) > 20


@pytest.mark.parametrize(("arguments", "said"), [
    (["train", "mnist", "--patience", "3"], "early stopping (patience) needs validation examples"),
    (["train", "mnist", "--validation", "1.5"], "'--validation'"),
    (["train", "mnist", "--average", "1"], "'--average'"),
    (["train", "mnist", "--clip-norm", "-1"], "'--clip-norm'"),
    (["train", "mnist", "--warmup", "5"], "warmup must be shorter than the training of 5 epochs"),
    (["train", "mnist", "--schedule", "sine"], "'--schedule'"),
    (["train", "mnist", "--miss-cost", "2"], "belong together"),
    (["train", "mnist", "--device", "cuda"], "device 'cuda' can't be used"),
    (["train", "mnist", "--resume", "--restart"], "choose one"),
    (["train", "cifar11"], "did you mean cifar10 or cifar10_net?"),
    (["data", "download", "imagenet"], "'mnist', 'fashion', 'cifar10'"),
    (["data", "show", "imagenet"], "there is no training called 'imagenet'"),
    (["predict", "runs/gone", "a.png"], "runs/gone: no such file"),
    (["predict", "runs/gone"], "Missing argument 'IMAGE...'"),
])
def test_bad_arguments(arguments, said, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert code == 2 and out == "" and said in err and err.startswith("error: "), err
    assert not list(tmp_path.iterdir())
