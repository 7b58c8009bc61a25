"""Turning, scaling and moving pictures at random, in a way that gradients go back through."""

import numpy as np

from ..ops.sparse import SparseMatrix, along
from ..tensor import Tensor


def moved(pictures: Tensor, shift: tuple[float, float] = (0.0, 0.0), angle: float = 0.0, scale: float = 1.0) -> Tensor:
    """Pictures (N, H, W, C) moved by `shift` (down, right) pixels, turned by `angle` degrees clockwise and scaled
    about their middle, with bilinear interpolation; what comes in over an edge is the picture mirrored there."""
    count, height, width, channels = pictures.shape
    matrix = _matrix(height, width, shift, angle, scale)
    flat = pictures.reshape((count, height * width, channels))
    return along(flat, 1, matrix).reshape(pictures.shape)


def _matrix(height: int, width: int, shift: tuple[float, float], angle: float, scale: float) -> SparseMatrix:
    """Each pixel of the result as a mean of four (height * width rows and columns)."""
    turn = np.deg2rad(angle)
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).reshape(-1, 2)
    back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / scale
    source = (places - np.asarray(shift) - middle) @ back.T + middle
    corner = np.floor(source).astype(np.int64)
    share = source - corner
    index, weight = [], []
    for down in (0, 1):
        for right in (0, 1):
            rows, columns = _mirrored(corner[:, 0] + down, height), _mirrored(corner[:, 1] + right, width)
            index.append(rows * width + columns)
            weight.append(np.abs(1 - down - share[:, 0]) * np.abs(1 - right - share[:, 1]))
    start = np.arange(0, 4 * height * width + 1, 4)
    return SparseMatrix(height * width, start, np.stack(index, 1).reshape(-1), np.stack(weight, 1).reshape(-1))


def _mirrored(place: np.ndarray, length: int) -> np.ndarray:
    """Places beyond the edges, mirrored at the middle of the outermost pixels."""
    if length == 1:
        return np.zeros_like(place)
    place = np.abs(place) % (2 * (length - 1))
    return np.minimum(place, 2 * (length - 1) - place)
