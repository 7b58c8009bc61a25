"""Maps and feature maps as pictures: plain arrays of bytes, without a drawing library.

Two tables of colours, both made in OKLab (Ottosson 2020), where equal distances look equally large. A map that can be
negative is blue below and orange above a bright zero: the two arms mirror each other in lightness, so neither sign
looks stronger, and blue and orange are told apart by nearly everyone. A map that cannot goes from black to a pale
yellow and only gets lighter, so it reads in grey too.
"""

from io import BytesIO
from typing import NamedTuple

import numpy as np

STEPS = 256
CLIPPED = 99.5  # percentile of the absolute values that gets the last colour: one wild pixel must not hide the rest
GAP = 1  # pixels between the tiles of a sheet


class Scale(NamedTuple):
    """What the first and the last colour stand for, and whether the map goes beyond them."""

    low: float
    high: float
    clipped: bool

    @property
    def signed(self) -> bool:
        return self.low < 0


# ------------------------------------------------------------------------------------------------------------- colours

_TO_CONE = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                     [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
_TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                    [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip


def _to_oklab(colours: tuple[str, ...]) -> np.ndarray:
    """Colours "#rrggbb" in OKLab, (N, 3): lightness, green to red, blue to yellow."""
    coded = np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in colours]) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_CONE.T) @ _TO_LAB.T


def _to_bytes(lab: np.ndarray) -> np.ndarray:
    linear = ((lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_CONE).T).clip(0, 1)
    coded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(coded * 255).astype(np.uint8)


def _table(colours: tuple[str, ...], steps: int = STEPS) -> np.ndarray:
    """A way through the colours in equal steps of OKLab, uint8 (steps, 3)."""
    lab = _to_oklab(colours)
    way = np.concatenate([[0], np.linalg.norm(np.diff(lab, axis=0), axis=1).cumsum()])
    return _to_bytes(np.stack([np.interp(np.linspace(0, way[-1], steps), way, part) for part in lab.T], axis=1))


UNSIGNED = _table(("#08061c", "#4f1c7d", "#b5325f", "#f3792b", "#fdf5b5"))
SIGNED = np.concatenate([_table(("#0c4282", "#5397d9", "#f5f5f3"), STEPS // 2),
                         _table(("#f5f5f3", "#cf7a21", "#6f2e00"), STEPS // 2)])  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------- maps

def as_map(values: np.ndarray) -> np.ndarray:
    """A map (H, W) of a map (H, W) or of attributions (H, W, C), whose channels are summed: so what they add up to (the
    score, for integrated gradients) stays. ValueError for other shapes, and for what is not finite."""
    values = np.asarray(values)
    if values.ndim not in (2, 3) or not values.size:
        raise ValueError(f"expected a map of shape (H, W) or (H, W, C), got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("the map has values that are not finite")
    if values.dtype == bool:  # a region, say
        values = values.astype(np.float32)
    return values if values.ndim == 2 else values.sum(axis=2)


def scale_of(values: np.ndarray) -> Scale:
    """The scale of a map: symmetric about 0 if it has negative values, from 0 if not.

    >>> import numpy as np
    >>> scale_of(np.array([[0.0, 0.5], [-2.0, 1.0]])).signed
    True
    """
    values = as_map(values)
    size = np.abs(values)
    most, reach = float(size.max()), float(np.percentile(size, CLIPPED))
    reach = reach if reach > 0.05 * most else most  # nearly all of the map is 0: then its few values are what there is
    return Scale(-reach if values.min() < 0 else 0.0, reach, most > reach)


def paint(values: np.ndarray, scale: Scale | None = None) -> np.ndarray:
    """A map in colours, uint8 (H, W, 3).

    >>> import numpy as np
    >>> paint(np.array([[0.0, 1.0]])).tolist()  # nothing is black, the most a pale yellow
    [[[8, 6, 28], [253, 245, 181]]]
    """
    values = as_map(values)
    low, high, _ = scale or scale_of(values)
    table = SIGNED if low < 0 else UNSIGNED
    places = np.rint((values - low) / (high - low or 1.0) * (STEPS - 1)).clip(0, STEPS - 1)
    return table[places.astype(int)]


def clear(values: np.ndarray) -> np.ndarray:
    """A map in colours that can be seen through where it says nothing, uint8 (H, W, 4): the fourth channel, opacity,
    rises from 0 to full at a third of the scale.

    >>> import numpy as np
    >>> clear(np.array([[0.0, 1.0, 3.0]]))[0, :, 3].tolist()
    [0, 255, 255]
    """
    scale = scale_of(values)
    opacity = (3 * np.abs(as_map(values)) / (scale.high or 1.0)).clip(0, 1)
    return np.dstack([paint(values, scale), np.rint(255 * opacity).astype(np.uint8)])


def overlay(picture: np.ndarray, values: np.ndarray, opacity: float = 0.8) -> np.ndarray:
    """A map in colours over its picture in grey, which shows through where the map says nothing, uint8 (H, W, 3).

    picture: (H, W, C) with 1 or 3 channels, uint8, or floats from 0 to 1. values: a map of the same height and width.

    >>> import numpy as np
    >>> overlay(np.ones((2, 2, 3)), np.eye(2), opacity=1.0)[0, 0].tolist()
    [253, 245, 181]
    """
    grey, values = as_bytes(picture), as_map(values)
    if grey.shape[:2] != values.shape:
        raise ValueError(f"overlay: the map has shape {values.shape}, expected that of the picture, {grey.shape[:2]}; "
                         "class activation maps have it with upsample=True")
    if not 0 <= opacity <= 1:
        raise ValueError(f"overlay: opacity must be from 0 to 1, got {opacity}")
    colours = clear(values).astype(np.float64)
    cover = opacity * colours[..., 3:] / 255
    return np.rint((1 - cover) * luminance(grey)[..., None] + cover * colours[..., :3]).astype(np.uint8)


# ------------------------------------------------------------------------------------------------------------ pictures

def as_bytes(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, 1 or 3) as uint8 (H, W, 3). Floats must be from 0 to 1."""
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[2] not in (1, 3):
        raise ValueError(f"expected a picture of shape (H, W, 1) or (H, W, 3), got {picture.shape}")
    if picture.dtype != np.uint8:
        if not (picture.min() >= 0 and picture.max() <= 1):  # also where there is a nan
            raise ValueError(f"expected a picture of uint8 or of floats from 0 to 1, got {picture.dtype} from "
                             f"{picture.min()} to {picture.max()}")
        picture = np.rint(picture * 255).astype(np.uint8)
    return np.broadcast_to(picture, (*picture.shape[:2], 3))


def luminance(picture: np.ndarray) -> np.ndarray:
    """How bright a picture (H, W, 3) is, (H, W), of Rec. 601's weights."""
    return picture @ np.array([0.299, 0.587, 0.114])


def enlarge(picture: np.ndarray, side: int, smooth: bool = False) -> np.ndarray:
    """A uint8 picture at least `side` pixels high and wide: each pixel a block of equal size, or smooth."""
    from PIL import Image

    times = max(1, -(-side // min(picture.shape[:2])))
    if not smooth:
        return picture.repeat(times, axis=0).repeat(times, axis=1)
    size = picture.shape[1] * times, picture.shape[0] * times
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def with_bar(picture: np.ndarray, scale: Scale) -> np.ndarray:
    """A uint8 picture with the colour bar of a scale at its right, and its numbers; quick, as matplotlib isn't."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = picture.shape[:2]
    whole = np.full((height, width + 84, 3), 255, np.uint8)
    whole[:, :width] = picture
    table = SIGNED if scale.signed else UNSIGNED
    whole[8:-8, width + 10 : width + 24] = table[np.linspace(STEPS - 1, 0, height - 16).astype(int)][:, None]
    image = Image.fromarray(whole)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    for value, place in ((scale.high, 8), (scale.low, height - 8), *([(0.0, height // 2)] if scale.signed else [])):
        draw.text((width + 28, place), f"{value:.3g}", fill="black", font=font, anchor="lm")
    return np.asarray(image)


def png(picture: np.ndarray) -> bytes:
    """The bytes of a PNG file of a uint8 picture.

    >>> import numpy as np
    >>> png(np.zeros((2, 2, 3), np.uint8))[1:4]
    b'PNG'
    """
    from PIL import Image

    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def sheet(tiles: np.ndarray, columns: int | None = None, gap: int = GAP) -> np.ndarray:
    """Pictures (N, h, w, 3) of uint8 as one, row by row, about as wide as it is high unless `columns` says otherwise.

    >>> import numpy as np
    >>> sheet(np.zeros((5, 4, 4, 3), np.uint8), columns=3).shape  # two rows, and a pixel in between
    (9, 14, 3)
    """
    count, height, width = tiles.shape[:3]
    columns = columns or int(np.ceil(np.sqrt(count * height / width)))
    rows = -(-count // columns)
    whole = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 128, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        whole[top : top + height, left : left + width] = tile
    return whole


def strongest(output: np.ndarray, count: int) -> np.ndarray:
    """The channels of a layer's output (..., C) that have the largest absolute value anywhere, the largest first."""
    size = np.abs(output).reshape(-1, output.shape[-1]).max(axis=0)
    return np.argsort(-size, kind="stable")[:count]


def feature_maps(output: np.ndarray, count: int = 64, side: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A layer's output (h, w, C) as a sheet of its strongest feature maps, all on one scale, and which channels they
    are, row by row. side: each map at least so many pixels high and wide.

    >>> import numpy as np
    >>> picture, channels = feature_maps(np.arange(12.0).reshape(2, 2, 3), count=2)
    >>> picture.shape, channels.tolist()
    ((2, 5, 3), [2, 1])
    """
    channels = strongest(output, count)
    shown = output[..., channels]
    scale = scale_of(shown.reshape(-1, len(channels)).T)
    tiles = [enlarge(paint(one, scale), side) for one in np.moveaxis(shown, -1, 0)]
    return sheet(np.stack(tiles)), channels
