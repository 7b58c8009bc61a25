"""matplotlib figures that no global state knows of: drawn in memory, without windows and without pyplot."""

from pathlib import Path
from typing import TYPE_CHECKING

from .io.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#1f5fa8", "#d9730d", "#6b6b6b"  # told apart by the colour-blind too


def new_figure(width: float, height: float, title: str) -> "Figure":
    """An empty figure of width x height inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # type: ignore[union-attr, call-arg]
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12)
    return figure


def plain(text: str) -> str:
    """Text to be drawn as it stands: matplotlib takes what is between two dollar signs for a formula."""
    return text.replace("$", r"\$")


def check_png(path: str | Path) -> None:
    """ValueError or OSError if `save_png` could not write to `path`, to say so before there is anything to write."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: expected a name that ends in .png")
    if path.is_dir() or not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: {'a folder' if path.is_dir() else 'there is no folder for it'}, expected the "
                                "name of a file")


def save_png(figure: "Figure", path: str | Path) -> None:
    """Write a figure as PNG, atomically."""
    write_atomically(path, lambda file: figure.savefig(file, format="png"))
