"""The pictures of a run: learning curves, confusion matrix, the most confident mistakes.

They are matplotlib figures, see figure.py, whose `save_png` writes them.
"""

from collections.abc import Sequence
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..figure import BLUE, GREY, ORANGE, new_figure, plain
from .history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREEN = "#2b8a3e"
CURVES = (("", "training", BLUE), ("val_", "validation", ORANGE), ("test_", "test", GREEN))  # by the column's prefix
MARKED = 30  # up to so many epochs each gets a dot


# ------------------------------------------------------------------------------------------------------ learning curves

def learning_curves(history: History, title: str, best_epoch: int | None = None) -> "Figure":
    """Loss, accuracy and learning rate over the epochs, side by side, as far as the history has them: of the training
    examples, and from columns "val_..." and "test_..." of validation and test examples. best_epoch: is marked.
    """
    if not history:
        raise ValueError("learning_curves: the history has no epochs")
    there = {column for row in history for column in row}
    panels = [name for name in ("loss", "accuracy", "lr") if there & {prefix + name for prefix, _, _ in CURVES}]
    figure = new_figure(4.8 * len(panels), 4.0, title)
    for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_curves(axes, history, name)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1,
                         label=f"best epoch, {best_epoch}")
        if name != "lr":
            axes.legend(frameon=False)
    return figure


def _draw_curves(axes: Any, history: History, name: str) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    lowest = 1.0
    for prefix, label, colour in CURVES:
        found = [(row["epoch"], row[prefix + name]) for row in history if prefix + name in row]
        if found:
            epochs, values = zip(*found, strict=True)
            lowest = min(lowest, *values)
            axes.plot(epochs, values, "o-" if len(history) <= MARKED else "-", color=colour,
                      markersize=3.5, linewidth=1.8, label=label, clip_on=False)
    axes.set_title("learning rate" if name == "lr" else name, fontsize=11)
    axes.set_xlabel("epoch", color=GREY)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    if name == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylim(bottom=min(0.9, floor(lowest * 20) / 20), top=1)  # the 5% below all that happened
    else:
        axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#e3e3e3")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


# ----------------------------------------------------------------------------------------------------- confusion matrix

def confusion_matrix_figure(matrix: Sequence[Sequence[int]], names: Sequence[str], title: str) -> "Figure":
    """A confusion matrix as a table of counts. What is right, on the diagonal, is grey; the mistakes are the redder the
    larger their share of the row.

    matrix: counts, a row for each true class. names: of the classes; up to about 20 can be read.
    """
    from matplotlib.colors import LinearSegmentedColormap

    counts = np.asarray(matrix)
    if counts.shape != (len(names), len(names)):
        raise ValueError(f"confusion_matrix_figure: matrix has shape {counts.shape}, expected a row and a column for "
                         f"each of the {len(names)} names")
    size = max(5.0, min(1.8 + 0.62 * len(names), 14.0))
    figure = new_figure(size + 0.4, size, title)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    mistakes = np.ma.masked_array(shares, np.eye(len(names), dtype=bool))
    shades = LinearSegmentedColormap.from_list("mistakes", ["#fdfdfd", "#f8d0ad", "#e8944a", "#c25700"])
    palette = shades.with_extremes(bad="#e4e7ea")  # of what is masked
    top = max(0.02, mistakes.max() if len(names) > 1 else 0)
    axes.imshow(mistakes, cmap=palette, vmin=0, vmax=top)
    for (row, column), share in np.ndenumerate(shares):
        dark = row != column and share > 0.6 * top
        _write_cell(axes, row, column, counts, "white" if dark else "#202020")
    _name_classes(axes, names)
    return figure


def _write_cell(axes: Any, row: int, column: int, counts: np.ndarray, colour: str) -> None:
    """The count, if there is something to count; with few classes its share of the row too."""
    count, total, classes = counts[row, column], counts[row].sum(), len(counts)
    if classes <= 4:
        axes.text(column, row - 0.04, f"{count:,}", ha="center", va="bottom", color=colour, fontsize=30 - 5 * classes)
        axes.text(column, row + 0.06, f"{count / max(total, 1):.1%} of {total:,}", ha="center", va="top", color=colour)
    elif count:
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour,
                  fontsize=max(4.5, 12 - 0.25 * classes - 0.5 * len(str(count))))


def _name_classes(axes: Any, names: Sequence[str]) -> None:
    places = range(len(names))
    font = 10 if len(names) <= 12 else 8
    slanted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if len("".join(names)) > 40 else {}
    shown = [plain(name) for name in names]
    axes.set_xticks(places, shown, fontsize=font, **slanted)
    axes.set_yticks(places, shown, fontsize=font)
    axes.set_xlabel("predicted", color=GREY)
    axes.set_ylabel("true", color=GREY)
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="#d9d9d9", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


# ------------------------------------------------------------------------------------------------------------- mistakes

def mistakes_figure(pictures: ArrayLike, labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[str],
                    title: str, predicted: ArrayLike | None = None, rows: int = 4, columns: int = 8) -> "Figure":
    """The wrong predictions that the model was surest of, the surest first: true class, predicted class, probability.

    pictures: (N, H, W, C) of 1 or 3 channels, uint8 or floats from 0 to 1. labels: (N,), ints. probabilities: (N, K).
    classes: K names. predicted: (N,), the class of the highest probability unless given. At most rows * columns are
    shown; the title gets how many there are.
    """
    images, chances = np.asarray(pictures), np.asarray(probabilities)
    truth = np.asarray(labels)
    guesses = chances.argmax(axis=-1) if predicted is None else np.asarray(predicted)
    _check_mistakes(images, truth, chances, guesses, classes)
    wrong = np.flatnonzero(guesses != truth)
    surest = wrong[np.argsort(-chances[wrong, guesses[wrong]], kind="stable")][: rows * columns]
    if not len(surest):
        figure = new_figure(9.6, 2.0, title)
        axes = figure.subplots()
        axes.set_axis_off()
        axes.text(0.5, 0.5, f"no mistakes in {len(images):,} pictures", ha="center", va="center", fontsize=14,
                  color=GREY)
        return figure
    captions = [f"{classes[truth[i]]} → {classes[guesses[i]]}, {chances[i, guesses[i]]:.2f}" for i in surest]
    if max(map(len, captions)) > 18:
        captions = [caption.replace("→ ", "→\n") for caption in captions]
    used, height = ceil(len(surest) / columns), 1.64 if "\n" in captions[0] else 1.5
    figure = new_figure(1.32 * columns, 0.6 + height * used, f"{title}: {len(surest):,} of {len(wrong):,}")
    grid = figure.subplots(used, columns, squeeze=False).reshape(-1)
    for axes in grid:
        axes.set_axis_off()
    for axes, place, caption in zip(grid, surest, captions, strict=False):
        image = images[place]
        axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0,
                    vmax=255 if image.dtype == np.uint8 else 1)
        axes.set_title(plain(caption), fontsize=7.5, pad=3)
    return figure


def _check_mistakes(images: np.ndarray, truth: np.ndarray, chances: np.ndarray, guesses: np.ndarray,
                    classes: Sequence[str]) -> None:
    name, count = "mistakes_figure", len(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"{name}: pictures must have shape (N, H, W, 1) or (N, H, W, 3), got {images.shape}")
    floats = images.dtype.kind == "f"
    if not floats and images.dtype != np.uint8:
        raise TypeError(f"{name}: pictures must be uint8 or floats from 0 to 1, got {images.dtype}")
    if floats and count and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"{name}: pictures of floats must be from 0 to 1, got {images.min()} to {images.max()}")
    for what, array, shape in (("labels", truth, (count,)), ("predicted", guesses, (count,)),
                               ("probabilities", chances, (count, len(classes)))):
        if array.shape != shape:
            raise ValueError(f"{name}: {what} must have shape {shape}, got {array.shape}")
    for what, array in (("labels", truth), ("predicted", guesses)):
        bad = array[~np.isin(array, np.arange(len(classes)))]
        if bad.size:
            raise ValueError(f"{name}: {what} must be classes from 0 to {len(classes) - 1}, got {bad[0]}")
