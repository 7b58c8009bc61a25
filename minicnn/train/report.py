"""The pictures of a run: learning curves and confusion matrix, as matplotlib figures that no global state knows of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io.atomic import write_atomically
from .loop import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#1f5fa8", "#d9730d", "#6b6b6b"  # told apart by the colour-blind too


def learning_curves(history: History, title: str, validation_name: str = "val") -> "Figure":
    """Loss and accuracy over the epochs, side by side, of the training and (if there are any) validation examples."""
    figure = _figure(9.6, 4.0, title)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        _draw_curves(axes, history, name, validation_name)
    return figure


def _draw_curves(axes: Any, history: History, name: str, validation_name: str) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = history.column("epoch")
    for key, label, colour in ((name, "training", BLUE), (f"{validation_name}_{name}", validation_name, ORANGE)):
        if key in history[0]:
            values = history.column(key)
            axes.plot(epochs, values, "o-", color=colour, markersize=3.5, linewidth=1.8, label=label, clip_on=False)
    axes.set_title(name, fontsize=11)
    axes.set_xlabel("epoch", color=GREY)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    if name == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylim(bottom=min(0.5, axes.get_ylim()[0]), top=1)  # a coin gets half of two classes right
    else:
        axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#e3e3e3")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def confusion_matrix_figure(matrix: Sequence[Sequence[int]], names: Sequence[str], title: str) -> "Figure":
    """A confusion matrix as a table of counts and shares of the row; the darker, the larger the share.

    matrix: counts, a row for each true class. names: of the classes.
    """
    counts = np.asarray(matrix)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    figure = _figure(5.4, 5.0, title)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row - 0.04, f"{counts[row, column]:,}", ha="center", va="bottom", color=colour, fontsize=20)
        axes.text(column, row + 0.06, f"{share:.1%} of {totals[row, 0]:,}", ha="center", va="top", color=colour)
    places = range(len(names))
    axes.set_xticks(places, names)
    axes.set_yticks(places, names, rotation=90, va="center")
    axes.set_xlabel("predicted", color=GREY)
    axes.set_ylabel("true", color=GREY)
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return figure


def save_png(figure: "Figure", path: str | Path) -> None:
    """Write a figure as PNG, atomically."""
    write_atomically(path, lambda file: figure.savefig(file, format="png"))


def _figure(width: float, height: float, title: str) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # type: ignore[union-attr, call-arg]
    FigureCanvasAgg(figure)  # draws in memory: no window, no pyplot
    figure.suptitle(title, fontsize=12)
    return figure
