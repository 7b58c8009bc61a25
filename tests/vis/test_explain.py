"""`minicnn explain`, from the command line to its files."""

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minicnn as mc


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the run of a smile detector that knows nothing, and two pictures of other sizes."""
    folder = tmp_path_factory.mktemp("explain")
    mc.manual_seed(0)
    model = mc.models.create("smile_detector")
    model.config |= {"recipe": "smile", "classes": ["not smiling", "smiling"]}
    mc.save(model, folder / "model.safetensors")
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (80, 100, 3)), ("b.jpg", (64, 64, 3))):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return made


def test_the_quick_methods_by_default(run, here):
    code, out, err = run("explain", here, here / "a.png", here / "b.jpg")
    assert code == 0 and len(out.splitlines()) == 2, err
    assert re.fullmatch(r".*a\.png: (not )?smiling \d+\.\d%", out.splitlines()[0])
    assert err.strip() == "What speaks for it is in explained/index.html"
    names = {file.name for file in Path("explained").iterdir()}
    assert {"index.html", "a-grad_cam.png", "a-saliency.png", "b-integrated_gradients.png", "b-layer-5.png"} <= names


def test_json_says_what_predict_says(run, here):
    code, out, _ = run("explain", here, here / "a.png", "--method", "grad-cam,saliency", "--json", "--out", "x")
    (told,) = json.loads(out)["images"]
    _, predicted, _ = run("predict", here, here / "a.png", "--json")
    (said,) = json.loads(predicted)
    assert code == 0 and told["class"] == said["answer"] and told["layer"] == "6"
    assert told["probabilities"] == {one["class"]: one["probability"] for one in said["classes"]}
    assert [found["method"] for found in told["maps"]] == ["grad_cam", "saliency"]
    assert all(0 <= found["deletion_area"] <= 1 for found in told["maps"])


def test_a_device_is_checked_and_used(run, here):
    code, out, err = run("explain", here, here / "a.png", "--device", "abacus")
    assert code == 2 and out == "" and "abacus" in err and not Path("explained").exists()
    assert run("explain", here, here / "a.png", "--device", "cpu", "--method", "saliency")[0] == 0


def test_a_picture_whose_name_is_not_text(run, here):
    name = os.fsdecode(b"\xff.png")
    Path(name).write_bytes((here / "a.png").read_bytes())
    code, out, err = run("explain", here, name, "--method", "saliency")
    assert code == 0 and out.startswith("\ufffd.png: "), err
    assert Path("explained/_-saliency.png").is_file()


def test_both_classes_of_a_detector_by_name_and_number(run, here):
    def score(target):
        options = ("--method", "saliency", "--json", "--out", "x", "--target", target)
        return json.loads(run("explain", here, here / "a.png", *options)[1])["images"][0]["score"]

    assert score("smiling") == score("1") == -score("not smiling") == -score("0")
    out = [run("explain", here, here / "a.png", "--method", "saliency", "--target", k)[1] for k in ("0", "1")]
    assert sum(" - explained: " in line for line in out) == 1


def test_a_named_model_with_weights_of_its_own_or_pytorchs_layout(run, here, tmp_path):
    run("explain", here, here / "b.jpg", "--method", "saliency", "--out", "run")
    mc.save(mc.load(here).state_dict(layout="torch"), tmp_path / "torch.safetensors")
    for file, noted in ((here / "model.safetensors", False), (tmp_path / "torch.safetensors", True)):
        options = ("--weights", file, "--method", "saliency", "--out", "named")
        code, _, err = run("explain", "smile", here / "b.jpg", *options)
        assert code == 0 and ("PyTorch's layout" in err) is noted
        assert Path("named/b-saliency.png").read_bytes() == Path("run/b-saliency.png").read_bytes()


def test_grey_pictures_and_swapping_light_and_dark(run, here):
    pixels = np.random.default_rng(1).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(pixels).save("digit.png")
    Image.fromarray(255 - pixels).save("ink.png")
    mc.save(mc.models.create("mnist").state_dict(), "weights.safetensors")
    options = ("--weights", "weights.safetensors", "--method", "saliency,grad_cam", "--out", "x")
    answers = []
    for file, swapped in (("digit.png", ()), ("ink.png", ("--invert",))):
        code, out, err = run("explain", "mnist", file, *options, *swapped)
        assert code == 0, err
        answers.append(out.split(":")[1])
    assert answers[0] == answers[1]
    assert Path("x/digit-saliency.png").read_bytes() == Path("x/ink-saliency.png").read_bytes()


def test_a_model_without_weights_is_told_to_know_nothing(run, here):
    code, _, err = run("explain", "smile", here / "b.jpg", "--method", "saliency")
    assert code == 0 and "learned NOTHING" in err


@pytest.mark.parametrize(("options", "said"), [
    (["--method", "grad_kam"], "did you mean 'grad_cam'"),
    (["--method", "xyz"], "there is all, quick, grad_cam, grad_cam_plus_plus, hires_cam"),
    (["--layer", "66"], "has no layer '66': did you mean '6'"),
    (["--target", "7"], "--target 7: the model has 2 classes, 0 to 1: not smiling, smiling"),
    (["--target", "smilin"], "did you mean 'smiling'"),
    (["--weights", "x.npz"], "has weights of its own"),
    (["--out", ""], "the name is empty"),
])  # fmt: skip
def test_bad_options(run, here, options, said):
    code, out, err = run("explain", here, here / "a.png", *options)
    assert code == 2 and out == "" and said in err and len(err.splitlines()) == 1, err
    assert not Path("explained").exists()


def test_a_bad_picture_among_good_ones_stops_it_before_anything_is_written(run, here, tmp_path):
    Path("no.png").write_text("no picture")
    for file, said in (("no.png", "not a picture"), ("missing.png", "no such file")):
        code, out, err = run("explain", here, here / "a.png", file)
        assert code == 2 and out == "" and said in err and not Path("explained").exists()


def test_a_folder_of_anything_else_is_left_alone(run, here):
    Path("mine").mkdir()
    Path("mine/index.html").write_text("mine")
    code, _, err = run("explain", here, here / "a.png", "--out", "mine")
    assert code == 2 and "left alone" in err and [file.name for file in Path("mine").iterdir()] == ["index.html"]


def test_weights_that_do_not_fit(run, here):
    np.savez("other.npz", weight=np.zeros(3, np.float32))
    code, _, err = run("explain", "smile", here / "a.png", "--weights", "other.npz")
    assert code == 2 and "other.npz" in err and len(err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("methods", "seconds"), [("quick", 3), ("all", 20)])
def test_how_long_it_takes(here, methods, seconds):
    """Of the processor, as a busy machine would not let a clock tell."""
    command = [sys.executable, "-m", "minicnn", "explain", str(here), str(here / "a.png"), "--method", methods]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < seconds
