"""The picture of a batch before and after augmentation."""

import subprocess
import sys

import numpy as np
import pytest

from minicnn.data import augmentation_figure
from minicnn.data.show import describe_label
from minicnn.figure import new_figure, save_png

CLASSES = ("cat", "dog", "bird")


def pictures(count, shape=(8, 6, 3), seed=0):
    return np.random.default_rng(seed).random((count, *shape), np.float32)


def parts(figure):
    axes = figure.axes[0]
    return axes.images, [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shows_each_picture_before_and_after(channels, dtype):
    before, after = (pictures(10, (8, 6, channels), seed) for seed in (0, 1))
    if dtype == np.uint8:
        before, after = ((x * 255).astype(np.uint8) for x in (before, after))
    images, texts = parts(augmentation_figure(before, after, np.arange(10) % 3, CLASSES))
    assert len(images) == 20 and texts == [CLASSES[k % 3] for k in range(10)]
    for image, picture in zip(images, (x for pair in zip(before, after, strict=True) for x in pair), strict=True):
        scaled = picture.astype(float) / (255 if dtype == np.uint8 else 1)
        np.testing.assert_allclose(np.asarray(image.get_array()).reshape(picture.shape), scaled, atol=1e-6)


def test_what_became_of_a_picture_lies_right_below_it():
    images, _ = parts(augmentation_figure(pictures(9), pictures(9), np.zeros(9, int), CLASSES))
    for before, after in zip(images[::2], images[1::2], strict=True):
        (left, right, bottom, top), (left2, right2, bottom2, top2) = before.get_extent(), after.get_extent()
        assert (left, right) == (left2, right2) and top < bottom < top2 < bottom2
        assert bottom - top == pytest.approx(8 / 6)


def test_at_most_32_pictures():
    assert len(parts(augmentation_figure(pictures(50), pictures(50), np.zeros(50, int), CLASSES))[0]) == 64


def test_without_an_after_only_the_pictures():
    figure = augmentation_figure(pictures(3), None, np.zeros(3, int), CLASSES)
    assert len(parts(figure)[0]) == 3 and figure.get_suptitle() == "the pictures as they are"


def test_the_sizes_before_and_after_may_differ():
    assert len(parts(augmentation_figure(pictures(2), pictures(2, (5, 5, 3)), np.zeros(2, int), CLASSES))[0]) == 4


def test_values_beyond_0_to_1_are_scaled_and_the_title_says_so():
    normalized = pictures(3) * 4 - 2
    figure = augmentation_figure(pictures(3), normalized, np.zeros(3, int), CLASSES)
    assert f"after: black is {normalized.min():.2f}, white is {normalized.max():.2f}" in figure.get_suptitle()
    assert "before:" not in figure.get_suptitle()
    shown = np.stack([np.asarray(image.get_array()) for image in parts(figure)[0][1::2]])
    assert shown.min() == 0 and shown.max() == pytest.approx(1)


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (2, "bird"),
        ([0, 1, 0], "dog"),
        ([0.7, 0.3, 0], "0.7 cat +\n0.3 dog"),
        ([0.1, 0.3, 0.6], "0.6 bird +\n0.3 dog"),
        ([0.98, 0.02, 0], "cat"),
    ],
)
def test_labels(label, text):
    assert describe_label(np.array(label), CLASSES) == text


@pytest.mark.parametrize(("weight", "text"), [(0.0, "no"), (1.0, "yes"), (0.25, "0.8 no +\n0.2 yes")])
def test_binary_labels(weight, text):
    assert describe_label(np.array([weight], np.float32), ("no", "yes")) == text


@pytest.mark.parametrize(
    ("before", "after", "labels", "words"),
    [
        (pictures(2), pictures(3), [0, 1], "after has 3 pictures for 2 labels"),
        (pictures(2), None, [0], "before has 2 pictures for 1 labels"),
        (pictures(2, (8, 6, 5)), None, [0, 1], r"before must be pictures \(N, H, W, 1 or 3\), got \(2, 8, 6, 5\)"),
        (pictures(0), None, [], "before must be pictures"),
        (pictures(1), pictures(1) * np.float32(np.nan), [0], "after has values that are not finite"),
        (pictures(1), None, [3], "the label 3 does not fit 3 classes"),
        (pictures(1), None, [[0.5, 0.5]], "does not fit 3 classes"),
    ],
)
def test_what_does_not_fit_together(before, after, labels, words):
    with pytest.raises(ValueError, match=f"augmentation_figure: .*{words}"):
        augmentation_figure(before, after, np.array(labels), CLASSES)


def test_a_figure_is_written_as_png_without_pyplot(tmp_path):
    path = tmp_path / "augmentation.png"
    save_png(augmentation_figure(pictures(2), pictures(2), np.array([0, 1]), CLASSES), path)
    assert path.read_bytes().startswith(b"\x89PNG") and list(tmp_path.iterdir()) == [path]
    code = "import sys, minicnn.figure as f; f.new_figure(3, 2, 'x'); print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
    assert new_figure(3, 2, "a title").get_suptitle() == "a title"
