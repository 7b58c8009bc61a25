"""Figures of what was found inside a network: maps over their pictures, feature maps, filters, curves.

They are matplotlib figures that nothing global knows of (see minicnn/figure.py, whose `save_png` writes them). The
colours are those of vis/paint.py: blue to orange about a bright 0 for maps with a sign, black to yellow for the others.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figure import BLUE, GREY, ORANGE, new_figure, plain
from . import paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 2.1  # inches of a picture in a figure
# Told apart by more than their colours.
CURVES = ((BLUE, "-"), (ORANGE, "--"), ("#2b8a3e", "-."), (GREY, ":"), ("#7b3fa0", (0, (5, 1, 1, 1))),
          ("#000000", "-"), (ORANGE, ":"))


# --------------------------------------------------------------------------------------------------- maps over pictures

def overlay_figure(picture: np.ndarray, maps: Mapping[str, np.ndarray], title: str = "",
                   opacity: float = 0.8) -> "Figure":
    """A picture, and beside it each map over it in colours, with the colour bar of its values.

    picture: (H, W, C), uint8 or floats from 0 to 1. maps: by the names to write above them; (H, W), or attributions
    (H, W, C), which are summed over the channels. opacity: of the maps; 0 shows the picture alone.

    >>> import numpy as np
    >>> figure = overlay_figure(np.ones((8, 8, 3)), {"a map": np.eye(8), "another": -np.eye(8)})
    >>> len(figure.axes)  # three pictures and two colour bars
    5
    """
    return comparison_figure(np.asarray(picture)[None], {name: np.asarray(one)[None] for name, one in maps.items()},
                             [""], title, opacity)


def comparison_figure(pictures: np.ndarray, maps: Mapping[str, np.ndarray], captions: Sequence[str], title: str = "",
                      opacity: float = 0.8) -> "Figure":
    """Several pictures, a row each, and in each column what one method makes of them, each map on a scale of its own.

    pictures: (N, H, W, C). maps: by method, (N, H, W) or (N, H, W, C). captions: what to write beside each picture.
    """
    count = len(pictures)
    if len(captions) != count or any(len(values) != count for values in maps.values()) or not maps:
        raise ValueError(f"comparison_figure: expected a caption and maps for each of the {count} pictures, got "
                         f"{len(captions)} captions and maps for {[len(values) for values in maps.values()]}")
    height = WIDTH * pictures.shape[1] / pictures.shape[2]
    figure = new_figure((WIDTH + 0.55) * (1 + len(maps)), height * count + 0.7, plain(title))
    grid = figure.subplots(count, 1 + len(maps), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, picture, caption in zip(grid, range(count), captions, strict=True):
        _show(row[0], paint.as_bytes(pictures[picture]), caption or ("the picture" if picture == 0 else ""))
        for axes, (name, values) in zip(row[1:], maps.items(), strict=True):
            shown = paint.overlay(pictures[picture], values[picture], opacity)
            _show(axes, shown, name if picture == 0 else "")
            add_colour_bar(axes, paint.scale_of(values[picture]))
    return figure


def add_colour_bar(axes: Any, scale: paint.Scale) -> None:
    """A colour bar beside a picture, pointed where the map goes beyond it."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    colours = ListedColormap((paint.SIGNED if scale.signed else paint.UNSIGNED) / 255)
    beyond = ("both" if scale.signed else "max") if scale.clipped else "neither"
    bar = axes.figure.colorbar(ScalarMappable(Normalize(scale.low, scale.high or 1), colours), ax=axes, extend=beyond,
                               fraction=0.05, pad=0.03, ticks=MaxNLocator(4))
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_visible(False)
    bar.formatter.set_powerlimits((-2, 3))
    bar.ax.yaxis.get_offset_text().set_fontsize(7)


def _show(axes: Any, picture: np.ndarray, caption: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(plain(caption), fontsize=9, pad=4)


# ------------------------------------------------------------------------------------------------- tiles of all kinds

def tiles_figure(pictures: Sequence[np.ndarray] | np.ndarray, captions: Sequence[str], title: str = "",
                 columns: int = 8) -> "Figure":
    """Pictures in rows, each with its caption: what a class looks like to a network, the patches that drive a filter.

    pictures: each (H, W, C), uint8 or floats from 0 to 1; they may differ in size.
    """
    if len(pictures) != len(captions) or not len(pictures):
        raise ValueError(f"tiles_figure: expected a caption for each picture, got {len(captions)} for {len(pictures)}")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    shape = max(picture.shape[0] / picture.shape[1] for picture in pictures)
    lines = 1 + max(caption.count("\n") for caption in captions)
    width = WIDTH if columns <= 4 else 0.65 * WIDTH
    figure = new_figure(max(width * columns, 3.5), (width * shape + 0.17 * lines) * rows + 0.5, plain(title))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, picture, caption in zip(grid.flat, pictures, captions, strict=False):
        _show(axes, paint.as_bytes(picture), caption)
    return figure


def before_after_figure(before: np.ndarray, after: np.ndarray, title: str = "",
                        captions: tuple[str, str] = ("before", "after")) -> "Figure":
    """Two pictures side by side, as large as they may be."""
    height = 4.2 * max(picture.shape[0] / picture.shape[1] for picture in (before, after))
    figure = new_figure(8.6, height + 0.7, plain(title))
    for axes, picture, caption in zip(figure.subplots(1, 2), (before, after), captions, strict=True):
        _show(axes, paint.as_bytes(picture), caption)
    return figure


# ------------------------------------------------------------------------------------------------------------ in layers

def feature_maps_figure(output: np.ndarray, title: str = "", count: int = 64) -> "Figure":
    """What a layer makes of one picture: its `count` strongest feature maps, the strongest first, on one scale.

    output: (h, w, C), as `vis.activations` gives it for each picture; of a layer without places (C,), as a row.
    """
    output = np.asarray(output)
    if output.ndim == 1:
        output = output[None, None, :]
    if output.ndim != 3:
        raise ValueError(f"feature_maps_figure: expected an output of shape (h, w, C) or (C,), got {output.shape}")
    picture, channels = paint.feature_maps(output, count, side=24)
    note = f"{len(channels)} of {output.shape[-1]} channels, the strongest first"
    return _sheet_figure(picture, f"{title}\n{note}", paint.scale_of(output[..., channels].reshape(-1, len(channels))))


def filters_figure(filters: np.ndarray, title: str = "", count: int = 64) -> "Figure":
    """The filters of a convolution, those of the largest norm first.

    filters: (K, kH, kW, C_in), as `vis.filters` gives them. On 3 channels a filter is drawn as the picture that it
    looks for, grey meaning 0. On any other number each filter is a row: its slices for the strongest of its inputs,
    blue below and orange above 0. At most `count` pictures are drawn.
    """
    filters = np.asarray(filters)
    if filters.ndim != 4:
        raise ValueError(f"filters_figure: expected filters of shape (K, kH, kW, C_in), got {filters.shape}")
    order = np.argsort(-np.sqrt((filters**2).sum(axis=(1, 2, 3))), kind="stable")
    reach = float(np.abs(filters).max()) or 1.0
    if filters.shape[3] == 3:
        chosen, across, scale = order[:count], None, None
        tiles = [paint.as_bytes(0.5 + 0.5 * (filters[k] / reach).clip(-1, 1)) for k in chosen]
    else:
        across, scale = min(filters.shape[3], 16), paint.Scale(-reach, reach, False)
        chosen = order[: max(1, count // across)]
        tiles = [paint.paint(filters[k, :, :, place], scale) for k in chosen
                 for place in paint.strongest(filters[k], across)]
    picture = paint.sheet(np.stack([paint.enlarge(tile, 24) for tile in tiles]), across, gap=3)
    return _sheet_figure(picture, f"{title}\n{len(chosen)} of {len(filters)} filters, the largest first", scale)


def _sheet_figure(picture: np.ndarray, title: str, scale: paint.Scale | None) -> "Figure":
    figure = new_figure(6.4, max(6.4 * picture.shape[0] / picture.shape[1], 1.5) + 0.6, plain(title.strip()))
    axes = figure.subplots()
    _show(axes, picture, "")
    if scale is not None:
        add_colour_bar(axes, scale)
    return figure


# --------------------------------------------------------------------------------------------------------------- curves

def curves_figure(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str = "",
                  across: str = "share of the picture removed", up: str = "score") -> "Figure":
    """Deletion, insertion or ROAD curves: what is left of the score as more and more of the picture goes.

    curves: by name, the shares from 0 to 1 and the score at each. The legend gives each one's area, the lower the
    better for deletion, the higher for insertion.
    """
    figure = new_figure(7.4, 3.8, plain(title))
    axes = figure.subplots()
    for number, (name, (shares, scores)) in enumerate(curves.items()):
        colour, line = CURVES[number % len(CURVES)]
        area = np.trapezoid(scores, shares)
        axes.plot(shares, scores, color=colour, linestyle=line, linewidth=1.8, label=plain(f"{name}: {area:.3f}"))
    axes.set(xlabel=across, ylabel=up, xlim=(0, 1))
    axes.grid(axis="y", color="#e3e3e3")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, title="area", title_fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
