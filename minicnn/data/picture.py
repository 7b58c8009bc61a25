"""Picture files of any size as a network wants them: cropped to its proportions and scaled to its size."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .dataset import DataError

if TYPE_CHECKING:
    from PIL import Image

# Decoders for these formats alone: others that Pillow has call outside programs (EPS) or are too rare to trust.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")
MOST_PIXELS = 80_000_000  # just below where Pillow starts to warn of decompression bombs; 240 MB in colour


def read_picture(path: str | os.PathLike[str], shape: tuple[int, int, int]) -> np.ndarray:
    """A picture file as uint8 (H, W, C), where `shape` is (H, W, C) and C is 1 (luminance) or 3 (RGB).

    The largest part of the picture that has the proportions H : W is cut out of its middle and scaled with an
    antialiased bicubic filter. A picture that has the size already keeps its pixels. The camera's orientation (EXIF)
    is applied, transparent parts become white, 16-bit greys are rounded to 8 bits, of an animation the first frame is
    taken.

    PNG, JPEG, BMP, GIF, WebP and PPM are read. DataError if the file is missing, damaged, none of these, or of more
    than 80 million pixels.

    >>> import minicnn as mc
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("RGB", (640, 480), "red").save(Path(folder) / "red.png")
    ...     picture = mc.data.read_picture(Path(folder) / "red.png", (32, 32, 3))
    >>> picture.shape, picture[0, 0].tolist()
    ((32, 32, 3), [255, 0, 0])
    """
    check_shape("read_picture", shape)
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: {'not a file' if path.exists() else 'no such file'}; expected a picture")
    from PIL import Image, ImageOps, UnidentifiedImageError

    height, width, channels = shape
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DataError(f"claims {image.width} x {image.height} pixels, expected at most {MOST_PIXELS}")
            fitted = ImageOps.fit(_plain(image, channels), (width, height), Image.Resampling.BICUBIC)
            return np.array(fitted).reshape(shape)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not a picture, or a damaged one; expected {', '.join(FORMATS)}") from error
    except Exception as error:  # Pillow's decoders raise a dozen classes for broken files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: a damaged picture ({reason:.200})") from error


def check_shape(who: str, shape: tuple[int, int, int]) -> None:
    """ValueError if `shape` is not (H, W, C) with sizes of at least 1 and 1 or 3 channels."""
    whole = len(shape) == 3 and all(isinstance(size, int | np.integer) and size >= 1 for size in shape)
    if not whole or shape[2] not in (1, 3):
        raise ValueError(f"{who}: expected a height, a width and 1 or 3 channels, got {tuple(shape)}")


def _plain(image: "Image.Image", channels: int) -> "Image.Image":
    """The picture upright, opaque, with 8 bits in each of its 1 or 3 channels."""
    from PIL import Image, ImageOps

    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        greys = np.asarray(upright).astype(np.int64)  # 0 to 65535: so Pillow reads 16-bit PNG and PPM
        upright = Image.fromarray(((greys + 128) // 257).clip(0, 255).astype(np.uint8))
    if upright.mode == "F":
        raise DataError("holds floats, expected whole numbers")
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright.convert("RGBA"))
    return upright.convert("L" if channels == 1 else "RGB")
