"""Rotation, shift, zoom and shear about the centre of pictures, all in one resampling."""

import numpy as np

from ...dispatch import dispatch
from .arguments import around, interval, number, pair
from .base import PictureTransform


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
        count, height, width, channels = pictures.shape
        maps = self._draw(count, height, width, generator)
        if self.fill is not None:  # a frame of one pixel: all that lies further out is the same
            framed = np.full((count, height + 2, width + 2, channels), self.fill, np.float32)
            framed[:, 1:-1, 1:-1] = pictures
            pictures = framed
            maps[:, :, 2] += 1
        return dispatch("affine_sample", np.ascontiguousarray(pictures), maps.astype(np.float32), size=(height, width))

    def _draw(self, count: int, height: int, width: int, generator: np.random.Generator) -> np.ndarray:
        """For each picture the map (N, 2, 3) from a place (row, column, 1) in the result to one (row, column) in it."""
        across, down = self.translate or (0.0, 0.0)
        angle = np.deg2rad(generator.uniform(*self.degrees, count))
        shift = generator.uniform(-1, 1, (count, 2)) * (down * height, across * width)
        scale = generator.uniform(*(self.scale or (1.0, 1.0)), count)
        lean = np.tan(np.deg2rad(generator.uniform(*(self.shear or (0.0, 0.0)), count)))
        # Forward, a place (row, column) seen from the centre goes to scale * turn @ shear @ place + shift, with turn
        # [[cos, sin], [-sin, cos]] and shear [[1, 0], [-lean, 1]]. The determinant of turn @ shear is 1.
        cos, sin = np.cos(angle), np.sin(angle)
        maps = np.empty((count, 2, 3))
        maps[:, 0, 0], maps[:, 0, 1] = cos, -sin
        maps[:, 1, 0], maps[:, 1, 1] = sin + cos * lean, cos - sin * lean
        maps[:, :, :2] /= scale[:, None, None]
        centre = np.array([(height - 1) / 2, (width - 1) / 2])
        maps[:, :, 2] = centre - np.einsum("nij,nj->ni", maps[:, :, :2], centre + np.rint(shift))
        return maps


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
