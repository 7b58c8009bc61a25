"""A picture of what augmentation does: the pictures of a batch before and after, with their labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figure import GREY, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, MOST = 8, 32  # pictures in a row, and in all
PICTURE = 1.23  # width in inches
LINE, GAP = 0.13, 0.06  # a line of a label, the space between things: in widths of a picture


def augmentation_figure(before: np.ndarray, after: np.ndarray | None, labels: np.ndarray,
                        classes: Sequence[str]) -> "Figure":
    """Up to 32 pictures in rows of 8, each with what became of it right below; without `after` only the pictures.

    before, after: (N, H, W, C) of 1 or 3 channels, uint8, or float in [0, 1]; the two may differ in size. Floats
    beyond [0, 1], such as normalised pictures, are shown from black for the least to white for the greatest value of
    those shown, and the title says so.
    labels: after the transforms: (N,) class numbers, (N, 1) the weight of the second of two classes, or (N, K) weights
    of the classes; soft ones read "0.7 cat + 0.3 dog". classes: their names.
    ValueError if they do not fit together.

    >>> import minicnn as mc
    >>> import numpy as np
    >>> pictures = np.zeros((2, 32, 32, 3), np.uint8)
    >>> figure = mc.data.augmentation_figure(pictures, pictures[:, :, ::-1], np.array([0, 1]), ("cat", "dog"))
    >>> type(figure).__name__  # of matplotlib: figure.savefig("augmented.png") draws it
    'Figure'
    """
    kinds = {"before": np.asarray(before)} | ({} if after is None else {"after": np.asarray(after)})
    _check(kinds, labels)
    shown, notes = zip(*(_as_shown(name, pictures[:MOST]) for name, pictures in kinds.items()), strict=True)
    texts = [describe_label(label, classes) for label in np.asarray(labels)[:MOST]]
    columns, rows = min(COLUMNS, len(texts)), -(-len(texts) // COLUMNS)
    height = max(pictures.shape[1] / pictures.shape[2] for pictures in shown) + GAP
    label = LINE * (1 + max(text.count("\n") for text in texts)) + GAP
    step = label + len(shown) * height + GAP  # from one row of labels to the next
    title = "before (above) and after (below), with the label after" if len(shown) == 2 else "the pictures as they are"
    lines = [title, *filter(None, notes)]
    size = PICTURE * columns * (1 + GAP), PICTURE * rows * step
    figure = new_figure(max(size[0] + 0.3, 5.0), size[1] + 0.3 + 0.2 * len(lines), "\n".join(lines))
    axes = figure.subplots()
    for number, text in enumerate(texts):
        row, column = divmod(number, COLUMNS)
        left, top = column * (1 + GAP), row * step + label
        axes.text(left + 0.5, top - GAP, plain(text), ha="center", va="bottom", fontsize=7, linespacing=0.95)
        for place, pictures in enumerate(shown):
            _draw(axes, pictures[number], left, top + place * height)
    axes.set(xlim=(0, columns * (1 + GAP) - GAP), ylim=(rows * step, 0), aspect="equal")
    axes.set_axis_off()
    return figure


def _check(kinds: dict[str, np.ndarray], labels: np.ndarray) -> None:
    for name, pictures in kinds.items():
        if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3) or not pictures.size:
            raise ValueError(f"augmentation_figure: {name} must be pictures (N, H, W, 1 or 3), got {pictures.shape}")
        if len(pictures) != len(labels):
            raise ValueError(f"augmentation_figure: {name} has {len(pictures)} pictures for {len(labels)} labels")


def describe_label(label: Any, classes: Sequence[str]) -> str:
    """The name of a class; of a soft target its two heaviest classes: "0.7 cat + 0.3 dog", over two lines.

    label: a class number, or weights (K,), or (1,) the weight of the second of two classes.
    """
    weights = np.asarray(label)
    if weights.ndim == 0:
        weights = np.arange(len(classes)) == weights
    elif weights.shape == (1,):
        weights = np.array([1 - weights[0], weights[0]])
    if weights.shape != (len(classes),) or not weights.any():
        raise ValueError(f"augmentation_figure: the label {label} does not fit {len(classes)} classes")
    heaviest = [k for k in np.argsort(-weights.astype(float), kind="stable")[:2] if weights[k] >= 0.05]
    if len(heaviest) == 1:
        return classes[heaviest[0]]
    return " +\n".join(f"{weights[k]:.1f} {classes[k]}" for k in heaviest)


def _as_shown(name: str, pictures: np.ndarray) -> tuple[np.ndarray, str]:
    """Pictures as floats in [0, 1], and a remark if they had to be scaled for it."""
    if pictures.dtype == np.uint8:
        return pictures / 255, ""
    least, most = float(pictures.min()), float(pictures.max())
    if least >= 0 and most <= 1:
        return pictures, ""
    if not np.isfinite([least, most]).all():
        raise ValueError(f"augmentation_figure: {name} has values that are not finite")
    scaled = (pictures - least) / max(most - least, 1e-30)
    return scaled, f"{name}: black is {least:.2f}, white is {most:.2f}"


def _draw(axes: Any, picture: np.ndarray, left: float, top: float) -> None:
    """One picture, 1 wide, with a hair line around it (a white picture on white paper has no edge of its own)."""
    from matplotlib.patches import Rectangle

    height = picture.shape[0] / picture.shape[1]
    place = (left, left + 1, top + height, top)
    if picture.shape[2] == 1:
        axes.imshow(picture[..., 0], extent=place, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(picture, extent=place, interpolation="nearest")
    axes.add_patch(Rectangle((left, top), 1, height, fill=False, edgecolor=GREY, linewidth=0.3))
