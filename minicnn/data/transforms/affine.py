"""Rotation, shift, zoom and shear about the centre of pictures, all in one resampling."""

import numpy as np

from .arguments import around, interval, number, pair
from .base import PictureTransform

PIXELS = 10_000  # resampled together: few NumPy calls for small pictures, and all of it fits into a core's cache


class RandomAffine(PictureTransform):
    """Rotates, shifts, zooms and shears each float32 picture of (N, H, W, C) at random, about its centre.

    All four are one linear map, so a picture is interpolated once, bilinearly. Arguments are torchvision's:

    degrees: of the rotation, clockwise, from a pair (min, max), or (-d, d) for a number d.
    translate: the largest shift as (fraction of the width, fraction of the height); shifts are whole pixels. None: 0.
    scale: (min, max) of the zoom; above 1 things look larger. None: 1.
    shear: (min, max), or (-s, s) for a number s, in degrees: how far the columns lean to the right. None: 0.
    fill: the value outside of the picture; None: that of the nearest pixel of its edge, so no borders appear.

    Random numbers are uniform. A picture that is moved by nothing keeps its values exactly.
    """

    def __init__(self, degrees: float | tuple[float, float] = 0, translate: tuple[float, float] | None = None,
                 scale: tuple[float, float] | None = None, shear: float | tuple[float, float] | None = None,
                 fill: float | None = None) -> None:
        name = type(self).__name__
        self.degrees = around(name, "degrees", degrees, centre=0)
        self.translate = None if translate is None else pair(name, "translate", translate, low=0, high=1)
        self.scale = None if scale is None else interval(name, "scale", scale, low=0.01)
        self.shear = None if shear is None else around(name, "shear", shear, centre=0, low=-89, high=89)
        self.fill = None if fill is None else number(name, "fill", fill)
        self.arguments = {"degrees": self.degrees, "translate": self.translate, "scale": self.scale,
                          "shear": self.shear, "fill": self.fill}

    def change(self, pictures: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        count, height, width, _ = pictures.shape
        maps = self._draw(count, height, width, generator)
        changed = np.empty(pictures.shape, np.float32)
        if self.fill is not None:  # a frame of one pixel: all that lies further out is the same
            pictures = np.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=self.fill)
            maps[:, :, 2] += 1
        rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
        together = max(1, PIXELS // (height * width))
        for start in range(0, count, together):
            group = slice(start, start + together)
            (yy, yx, y0), (xy, xx, x0) = maps[group].astype(np.float32).transpose(1, 2, 0)[..., None, None]
            y, x = rows * yy + (columns * yx + y0), rows * xy + (columns * xx + x0)
            sample(pictures[group], y, x, changed[group])
        return changed

    def _draw(self, count: int, height: int, width: int, generator: np.random.Generator) -> np.ndarray:
        """For each picture the map (N, 2, 3) from a place (row, column, 1) in the result to one (row, column) in it."""
        across, down = self.translate or (0.0, 0.0)
        angle = np.deg2rad(generator.uniform(*self.degrees, count))
        shift = generator.uniform(-1, 1, (count, 2)) * (down * height, across * width)
        scale = generator.uniform(*(self.scale or (1.0, 1.0)), count)
        lean = np.tan(np.deg2rad(generator.uniform(*(self.shear or (0.0, 0.0)), count)))
        # Forward, a place (row, column) seen from the centre goes to scale * turn @ shear @ place + shift.
        cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(count), np.ones(count)
        turn = np.array([[cos, sin], [-sin, cos]]).transpose(2, 0, 1)
        shear = np.array([[one, zero], [-lean, one]]).transpose(2, 0, 1)
        back = np.linalg.inv(scale[:, None, None] * (turn @ shear))
        centre = np.array([(height - 1) / 2, (width - 1) / 2])
        start = centre - (back @ (centre + np.rint(shift))[..., None])[..., 0]
        return np.concatenate([back, start[..., None]], axis=2)


class RandomRotation(RandomAffine):
    """Rotates each picture counterclockwise about its centre (as in torchvision, where RandomAffine goes clockwise).

    degrees: (min, max), or (-d, d) for a number d. fill: see RandomAffine.
    """

    def __init__(self, degrees: float | tuple[float, float], fill: float | None = None) -> None:
        low, high = around("RandomRotation", "degrees", degrees, centre=0)
        super().__init__(degrees=(-high, -low), fill=fill)
        self.arguments = {"degrees": (low, high), "fill": self.fill}


class RandomShift(RandomAffine):
    """Shifts each picture by whole pixels, up to a fraction of its size.

    fraction: of the width and of the height, as a pair or a number for both. fill: see RandomAffine.
    """

    def __init__(self, fraction: float | tuple[float, float], fill: float | None = None) -> None:
        both = fraction if isinstance(fraction, tuple | list) else (fraction, fraction)
        super().__init__(translate=pair("RandomShift", "fraction", both, low=0, high=1), fill=fill)
        self.arguments = {"fraction": self.translate, "fill": self.fill}


class RandomZoom(RandomAffine):
    """Enlarges (above 1) or shrinks (below 1) each picture about its centre.

    scale: (min, max), or (1 - z, 1 + z) for a number z. fill: see RandomAffine.
    """

    def __init__(self, scale: float | tuple[float, float], fill: float | None = None) -> None:
        super().__init__(scale=around("RandomZoom", "scale", scale, centre=1, low=0.01), fill=fill)
        self.arguments = {"scale": self.scale, "fill": self.fill}


class RandomShear(RandomAffine):
    """Leans the columns of each picture to the right (or left, below 0) about its centre.

    degrees: (min, max), or (-d, d) for a number d. fill: see RandomAffine.
    """

    def __init__(self, degrees: float | tuple[float, float], fill: float | None = None) -> None:
        super().__init__(shear=around("RandomShear", "degrees", degrees, centre=0, low=-89, high=89), fill=fill)
        self.arguments = {"degrees": self.shear, "fill": self.fill}


def sample(pictures: np.ndarray, y: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """The values of pictures (N, H, W, C) at places between their pixels, into out (N, h, w, C).

    y, x: (N, h, w) rows and columns in float32, used up as working memory; a place outside of the picture has the
    value of the nearest place inside. Bilinear, as `scipy.ndimage.map_coordinates(order=1, mode="nearest")` for each
    channel, but several times as fast: SciPy finds the four neighbours of a place anew for each channel.
    """
    count, height, width, channels = pictures.shape
    np.clip(y, 0, height - 1, out=y)
    np.clip(x, 0, width - 1, out=x)
    top, left = y.astype(np.intp), x.astype(np.intp)
    y -= top.astype(np.float32)  # now how far each place lies from its upper
    x -= left.astype(np.float32)  # and from its left neighbour
    top *= width
    top += left
    top += np.arange(count)[:, None, None] * (height * width)  # now the upper left neighbour among all pixels
    planes = np.ascontiguousarray(pictures.reshape(count * height * width, channels).T)
    # In the last column and row the part of the other neighbour is exactly 0, so any pixel will do for it.
    upper, lower = _between(planes, top, x), _between(planes, top + width, x)
    lower -= upper
    lower *= y
    np.add(upper, lower, out=np.moveaxis(out, 3, 0))


def _between(planes: np.ndarray, left: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Values (C, N, h, w) on the way from a pixel to the next. planes: (C, pixels); left and part: (N, h, w)."""
    start, end = (planes.take(index, axis=1, mode="clip") for index in (left, left + 1))
    end -= start
    end *= part
    start += end
    return start
