"""What the figures of a run show."""

import numpy as np
import pytest

from minicnn.figure import save_png
from minicnn.train.history import History
from minicnn.train.report import confusion_matrix_figure, learning_curves, mistakes_figure

DIGITS = [str(n) for n in range(10)]


def history(epochs, *names):
    return History({"epoch": e, **{name: 1 - 0.5 / e for name in names}} for e in range(1, epochs + 1))


def lines(figure):
    """For each panel its title and its lines' labels."""
    return {axes.get_title(): [line.get_label() for line in axes.get_lines()] for axes in figure.axes}


def test_curves_are_those_of_the_columns():
    both = learning_curves(history(3, "loss", "accuracy", "val_loss", "val_accuracy", "test_loss", "lr"), "a run")
    assert lines(both) == {"loss": ["training", "validation", "test"], "accuracy": ["training", "validation"],
                           "learning rate": ["training"]}
    assert lines(learning_curves(history(1, "loss"), "a run")) == {"loss": ["training"]}
    assert both.get_suptitle() == "a run"
    first = both.axes[0].get_lines()[0]
    assert first.get_xdata().tolist() == [1, 2, 3] and first.get_ydata().tolist() == [0.5, 0.75, 1 - 0.5 / 3]


def test_long_runs_have_no_dots_and_show_the_best_epoch():
    short, long = (learning_curves(history(n, "loss", "accuracy"), "", best_epoch=4) for n in (5, 60))
    assert [figure.axes[0].get_lines()[0].get_marker() for figure in (short, long)] == ["o", "None"]
    assert lines(long)["loss"] == ["training", "best epoch, 4"]
    assert set(long.axes[1].get_lines()[1].get_xdata()) == {4}


@pytest.mark.parametrize("lowest, bottom", [(0.99, 0.9), (0.93, 0.9), (0.52, 0.5), (0.387, 0.35), (0.1, 0.1)])
def test_the_accuracy_axis_begins_where_the_accuracies_do(lowest, bottom):
    rows = History([{"epoch": 1, "loss": 1.0, "accuracy": lowest}, {"epoch": 2, "loss": 1.0, "accuracy": 0.995}])
    assert learning_curves(rows, "").axes[1].get_ylim() == pytest.approx((bottom, 1))


def test_confusion_matrix_of_two_classes():
    figure = confusion_matrix_figure([[70, 5], [9, 66]], ("no", "yes"), "88% right")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["70", "93.3% of 75", "5", "6.7% of 75", "9", "12.0% of 75", "66", "88.0% of 75"]


@pytest.mark.parametrize("classes", [1, 5, 10, 20])
def test_confusion_matrix_of_many_classes(classes, tmp_path):
    matrix = np.diag(np.arange(classes) + 1000)
    matrix[0, -1] += 7
    figure = confusion_matrix_figure(matrix, [f"class {i}" for i in range(classes)], "")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == (classes + 1 if classes > 1 else 2)  # nothing where there is nothing
    image = figure.axes[0].images[0].get_array()
    assert image.mask.diagonal().all() and not image.mask.sum() > classes  # right answers have no colour
    save_png(figure, tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")


def test_the_surest_mistakes_come_first():
    pictures = np.zeros((4, 6, 6, 1), np.uint8)
    pictures[:, 0, 0, 0] = [10, 20, 30, 40]
    chances = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
    figure = mistakes_figure(pictures, [0, 0, 0, 1], chances, ("cat", "dog"), "mistakes")
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == ["cat → dog, 0.80", "dog → cat, 0.70", "cat → dog, 0.60"]
    assert [int(axes.images[0].get_array()[0, 0]) for axes in shown] == [30, 40, 20]
    assert figure.get_suptitle() == "mistakes: 3 of 3"


def test_predictions_may_be_given():
    """As where the threshold is not one half."""
    figure = mistakes_figure(np.zeros((1, 4, 4, 3)), [1], [[0.4, 0.6]], ("no", "yes"), "", predicted=[0])
    assert [axes.get_title() for axes in figure.axes if axes.images] == ["yes → no, 0.40"]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_holds_rows_times_columns(dtype, channels, tmp_path):
    rng = np.random.default_rng(0)
    pictures = (rng.random((40, 8, 8, channels)) * (255 if dtype == np.uint8 else 1)).astype(dtype)
    labels = np.arange(40) % 10
    chances = np.full((40, 10), 0.05)
    chances[np.arange(40), (labels + 1) % 10] = 0.55
    figure = mistakes_figure(pictures, labels, chances, DIGITS, "mistakes", rows=2, columns=3)
    assert len([axes for axes in figure.axes if axes.images]) == 6 and figure.get_suptitle() == "mistakes: 6 of 40"
    save_png(figure, tmp_path / "mistakes.png")


def test_no_mistakes(tmp_path):
    figure = mistakes_figure(np.zeros((2, 4, 4, 1)), [0, 1], np.eye(2), ("a", "b"), "mistakes")
    assert figure.axes[0].texts[0].get_text() == "no mistakes in 2 pictures"
    save_png(figure, tmp_path / "mistakes.png")


@pytest.mark.parametrize("call, error, words", [
    (lambda: learning_curves(History(), ""), ValueError, "learning_curves: the history has no epochs"),
    (lambda: confusion_matrix_figure([[1, 2]], "ab", ""), ValueError, r"matrix has shape \(1, 2\)"),
    (lambda: mistakes_figure(np.zeros((1, 4, 4)), [0], [[1]], "a", ""), ValueError, r"pictures must .* \(1, 4, 4\)"),
    (lambda: mistakes_figure(np.ones((1, 4, 4, 1)) * 2, [0], [[1]], "a", ""), ValueError, "from 0 to 1, got 2.0 to 2"),
    (lambda: mistakes_figure(np.ones((1, 4, 4, 1), int), [0], [[1]], "a", ""), TypeError, "got int64"),
    (lambda: mistakes_figure(np.ones((1, 4, 4, 1)), [[0]], [[1]], "a", ""), ValueError, r"labels .* got \(1, 1\)"),
    (lambda: mistakes_figure(np.ones((1, 4, 4, 1)), [0], [[1]], "ab", ""), ValueError, r"\(1, 2\), got \(1, 1\)"),
    (lambda: mistakes_figure(np.ones((1, 4, 4, 1)), [-1], [[1]], "a", ""), ValueError, "classes from 0 to 0, got -1"),
])
def test_wrong_calls(call, error, words):
    with pytest.raises(error, match=words):
        call()
