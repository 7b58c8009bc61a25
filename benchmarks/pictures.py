"""The results as pictures: the ratios side by side, and the cost per multiply-add as the work grows."""

from typing import TYPE_CHECKING, Any

from minicnn.figure import BLUE, GREY, ORANGE, new_figure, plain

from .peers import PEERS
from .report import cost
from .results import PARTS, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"torch": BLUE, "onnxruntime": ORANGE}


def ratios_figure(rows: list[Row]) -> "Figure | None":
    """A bar for each ratio, its quartiles as a line, a panel a part; None if there are no ratios."""
    shown = [row for row in rows if row.measured.ratio is not None and row.peer and row.part != "scaling"]
    parts = [part for part in PARTS if any(row.part == part for row in shown)]
    if not parts:
        return None
    counts = [sum(row.part == part for row in shown) for part in parts]
    figure = new_figure(8.5, 1.0 + sum(0.32 * count + 0.9 for count in counts), "The peer's figure over minicnn's")
    panels = figure.subplots(len(parts), 1, squeeze=False, height_ratios=[count + 1.5 for count in counts])
    for axes, part in zip(panels[:, 0], parts, strict=True):
        _draw_ratios(axes, part, [row for row in shown if row.part == part])
    return figure


def _draw_ratios(axes: Any, part: str, rows: list[Row]) -> None:
    for place, row in enumerate(rows):
        found = row.measured
        ratio = found.ratio or 0.0
        axes.barh(place, ratio, 0.65, color=COLOURS[row.peer], label=PEERS[row.peer])
        if found.low is not None and found.high is not None:
            axes.plot([found.low, found.high], [place, place], color="black", linewidth=1)
        axes.annotate(f"{ratio:.2f}", (max(ratio, found.high or 0.0), place), (4, 0), textcoords="offset points",
                      va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [plain(f"{row.work}, batch {row.batch}") for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(left=0, right=1.12 * max(1, *(row.measured.high or row.measured.ratio or 0.0 for row in rows)))
    axes.set_title(PARTS[part], fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles.keys(), frameon=False, fontsize=8)


def scaling_figure(rows: list[Row]) -> "Figure | None":
    """Time per multiply-add over the batch, and over the size of the pictures; None if that was not measured."""
    series = {"pictures in a batch (smile detector)": _series(rows, "smile", lambda row: row.batch),
              "side of a picture, in pixels": _series(rows, "pictures of ", lambda row: int(row.work.split()[-1]))}
    if not all(series.values()):
        return None
    figure = new_figure(9.0, 4.0, "Time of a training step per multiply-add")
    for axes, (label, points) in zip(figure.subplots(1, 2), series.items(), strict=True):
        sizes = [size for size, _, _ in points]
        axes.plot(sizes, [ours for _, ours, _ in points], "o-", color=BLUE, label="minicnn")
        if all(theirs is not None for _, _, theirs in points):
            axes.plot(sizes, [theirs for _, _, theirs in points], "o-", color=GREY, label="PyTorch")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_ylim(bottom=0)
        axes.set_xlabel(label, color=GREY)
        axes.set_ylabel("picoseconds", color=GREY)
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _series(rows: list[Row], work: str, size: Any) -> list[tuple[int, float, float | None]]:
    """(size, picoseconds per multiply-add of minicnn, the same of the peer) of a workload's rows."""
    found = []
    for row in rows:
        ours, theirs = (cost(time, row.measured) for time in (row.measured.ours, row.measured.theirs))
        if row.part == "scaling" and row.device == "cpu" and row.work.startswith(work) and ours is not None:
            found.append((size(row), ours, theirs))
    return found
