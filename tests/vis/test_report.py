"""The report: what it gathers, its numbers against ones computed here, and the page as a file."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import minicnn as mc
from minicnn import nn
from minicnn.vis import report

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
DETECTOR = report.Answer(("no", "yes"), (0.25, 0.75), 1)


@pytest.fixture
def detector():
    mc.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(196, 1))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("target", [0, 1])
def test_the_numbers_are_those_of_the_class(detector, target):
    """A detector's "no" is its logit negated; the curve begins and ends at probabilities that are computed here."""
    answer = report.Answer(("no", "yes"), (0.5, 0.5), target)
    found = report.explain(detector, PIXELS, report.find(["integrated-gradients", "grad_cam"]), answer)
    detector.eval()
    logit = float(detector(mc.tensor(PIXELS[None] / np.float32(255))).numpy()[0, 0])
    black = float(detector(mc.zeros(1, 16, 16, 3)).numpy()[0, 0])
    sign = 1 if target else -1
    assert found.score == pytest.approx(sign * logit, rel=1e-5) and found.layer == "1"
    cam, integrated = found.maps
    assert [cam.method.name, integrated.method.name] == ["grad_cam", "integrated_gradients"]
    assert cam.values.shape == integrated.values.shape == (16, 16)
    assert cam.deletion[[0, -1]] == pytest.approx([sigmoid(sign * logit), sigmoid(sign * black)], rel=1e-4)
    assert cam.numbers["deletion area"] == pytest.approx(np.trapezoid(cam.deletion, np.linspace(0, 1, 33)), abs=0.01)
    error = integrated.numbers["completeness error"]
    assert error == pytest.approx(integrated.values.sum() - sign * (logit - black), abs=1e-4) and abs(error) < 0.05
    assert cam.numbers["highest"] == cam.values.max()


def test_layers_that_only_pass_on_are_left_out(detector):
    found = report.explain(detector, PIXELS, report.find(["saliency"]), DETECTOR)
    assert [seen.name for seen in found.layers] == ["0", "1", "3", "5"]
    assert found.layers[0].shape == (14, 14, 4) and found.layers[-1].shape == (1,)
    silent = report.LayerSeen.of("x", "ReLU", np.zeros((3, 3, 4)) + np.array([0, 0, 1, 0]))
    assert silent.silent == 0.75


def test_slopes_are_ranked_by_their_steepness_and_called_slopes(detector, tmp_path):
    """A gradient says which way to change a pixel; what it has in three channels may cancel."""
    saliency, integrated = (report.find([name]) for name in ("saliency", "integrated_gradients"))
    found = report.explain(detector, PIXELS, saliency, DETECTOR)
    x = PIXELS[None] / np.float32(255)
    steepness = np.abs(mc.vis.saliency(detector, x, 0)).max(axis=-1)
    expected = mc.vis.deletion_curve(detector, x, steepness, lambda outputs: nn.functional.sigmoid(outputs[:, 0]))
    np.testing.assert_allclose(found.maps[0].deletion, expected.scores[0], rtol=1e-5)
    report.write_report(tmp_path, [found], "model")
    page = (tmp_path / "index.html").read_text()
    assert "<br>darker helps<" in page and "<br>against<" not in page and "most for it" not in page
    report.write_report(tmp_path, [report.explain(detector, PIXELS, integrated, DETECTOR)], "model")
    page = (tmp_path / "index.html").read_text()
    assert "<br>against<" in page and "darker helps<" not in page


@pytest.mark.parametrize(("right", "noted"), [(-0.99, True), (1.0, False)])
def test_a_grad_cam_whose_gradients_cancel_has_a_note(right, noted, tmp_path):
    """Bright pixels, 3 each, at the left, where the gradient is 1: the score is 384, and Grad-CAM, which has the mean
    of the gradients everywhere, adds up to 384 times that mean."""
    model = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.Flatten(), nn.Linear(256, 1, bias=False))
    nn.init.constant_(model[0].weight, 1.0)
    model[2].weight.detach().copy_(np.tile(np.float32([1] * 8 + [right] * 8), 16)[:, None])
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:, :8] = 255
    found = report.explain(model, picture, report.find(["grad_cam", "hires_cam"]), DETECTOR)
    assert found.score == pytest.approx(384) and [one.note != "" for one in found.maps] == [noted, False]
    report.write_report(tmp_path, [found], "model")
    assert ("adds up to 1.9, next to a score of 384" in (tmp_path / "index.html").read_text()) is noted


def test_windows_are_as_many_on_both_sides_of_any_picture():
    (method,) = report.find(["occlusion"])
    assert report._options(method, None, (64, 64, 3)) == {"window": [8, 8], "stride": [4, 4]}
    assert report._options(method, None, (32, 224, 3)) == {"window": [4, 28], "stride": [2, 14]}


@pytest.mark.parametrize("name", ["\udcff.png", "a" * 250 + ".png", "\u4e16" * 80 + ".png"])
def test_awkward_names_of_pictures(detector, tmp_path, name):
    seen = report.explain(detector, PIXELS, report.find(["saliency"]), DETECTOR, name)
    told = report.write_report(tmp_path, [seen, seen], "model")
    assert len({found["file"] for image in told["images"] for found in image["layers"]}) == 2 * len(seen.layers)
    assert (tmp_path / "index.html").read_text(encoding="utf-8").endswith("</html>\n")
    json.dumps(told)


def test_names_of_layers_are_no_paths(tmp_path):
    mc.manual_seed(0)
    model = nn.Sequential()
    for name, layer in (("a/b", nn.Flatten()), ("a_b", nn.Linear(768, 4)), ("/c", nn.Linear(4, 1))):
        model.add_module(name, layer)
    told = report.write_report(tmp_path / "out", [report.explain(model, PIXELS, report.find(["saliency"]), DETECTOR)],
                               "model")
    (image,) = told["images"]
    assert [one["file"] for one in image["layers"]] == ["picture-layer-a_b.png", "picture-layer-a_b-2.png",
                                                        "picture-layer-_c.png"]
    assert [one["layer"] for one in image["layers"]] == ["a/b", "a_b", "/c"]


def test_a_class_of_several(detector):
    model = nn.Sequential(*list(detector)[:-1], nn.Linear(196, 5))
    found = report.explain(model, PIXELS, report.find(["saliency"]), report.Answer(tuple("abcde"), (0.2,) * 5, 3))
    expected = mc.vis.saliency(model, PIXELS[None] / np.float32(255), target=3)[0].sum(axis=2)
    np.testing.assert_allclose(found.maps[0].values, expected, rtol=1e-5, atol=1e-6)


def test_the_model_is_left_as_it_was(detector):
    detector.train()
    report.explain(detector, PIXELS, report.find(["all"]), DETECTOR)
    assert all(module.training for module in detector.modules())
    assert all(parameter.grad is None for parameter in detector.parameters())


def test_methods_by_name():
    assert [method.name for method in report.find([" Grad-CAM ", "saliency"])] == ["grad_cam", "saliency"]
    assert len(report.find(["all"])) == 17 == len({method.title for method in report.METHODS})
    assert all(getattr(mc.vis, method.name) is method.look for method in report.METHODS)
    with pytest.raises(ValueError, match="no method 'grad_kam': did you mean 'grad_cam'"):
        report.find(["grad_kam"])
    with pytest.raises(ValueError, match="there is all, quick, grad_cam, "):
        report.find(["xyz"])
    with pytest.raises(ValueError, match="at least one method"):
        report.find([])


class Page(HTMLParser):
    """The elements of a page; fails where a tag is closed that isn't open."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def written(detector, tmp_path):
    methods = report.find(["grad_cam", "occlusion"])
    names = ("a/face.png", "b/face.png", "<i>&.png")
    seen = [report.explain(detector, PIXELS, methods, DETECTOR, name) for name in names]
    told = report.write_report(tmp_path / "out", seen, "model <b>")
    return tmp_path / "out", told


def test_the_page_stands_alone_and_is_well_formed(written):
    folder, _ = written
    text = (folder / "index.html").read_text()
    page = Page(text)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text) and "@import" not in text
    assert set(re.findall(r"url\((\w+):", text)) == {"data"} and "http" not in text.replace("http-equiv", "")
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    references = [found[key] for _, found in page.elements for key in ("aria-labelledby", "aria-controls", "for")
                  if key in found]
    assert references and set(references) <= set(ids)
    assert all("alt" in image for image in page.all("img"))
    assert "<i>&.png" not in text and "&lt;i&gt;&amp;.png" in text and "model &lt;b&gt;" in text


def test_every_map_and_layer_is_a_file_too(written):
    folder, told = written
    files = {found["file"] for image in told["images"] for kind in ("maps", "layers") for found in image[kind]}
    assert {file.name for file in folder.iterdir()} == files | {"index.html"}
    assert len(files) == 3 * (2 + 4) and {"face-grad_cam.png", "face-2-grad_cam.png"} <= files
    for file in files:
        with Image.open(folder / file) as image:
            image.load()
    json.dumps(told, allow_nan=False)


def test_a_report_is_replaced_and_nothing_else(detector, written, tmp_path):
    folder, _ = written
    seen = [report.explain(detector, PIXELS, report.find(["saliency"]), DETECTOR, "other.png")]
    report.write_report(folder, seen, "again")
    assert "again" in (folder / "index.html").read_text()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "index.html").write_text("<p>mine")
    with pytest.raises(ValueError, match="left alone"):
        report.write_report(mine, seen, "model")
    assert [file.read_text() for file in mine.iterdir()] == ["<p>mine"]
    with pytest.raises(ValueError, match="not a folder"):
        report.write_report(mine / "index.html", seen, "model")


def test_a_failure_while_writing_leaves_the_older_report(detector, written, monkeypatch):
    folder, _ = written
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    calls = []
    write = type(folder).write_bytes

    def full(path, content):
        calls.append(path)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(type(folder), "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        report.write_report(folder, [report.explain(detector, PIXELS, report.find(["saliency"]), DETECTOR)], "model")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
