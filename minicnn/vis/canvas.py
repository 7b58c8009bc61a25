"""A picture as a function of numbers that an optimizer may move freely: what activation maximization paints on.

Gradients by pixels favour high frequencies, and the pictures that come of following them are noise to the eye. Olah,
Mordvintsev & Schubert, "Feature Visualization" (Distill 2017, https://distill.pub/2017/feature-visualization) change
what a step is measured in: frequencies as strong as those of natural pictures, and colours as they vary there.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..nn import Parameter
from ..nn import functional as F
from ..tape import no_grad
from ..tensor import Tensor, tensor

#: What the colours of natural pictures vary in (columns: lightness, red to blue, green to purple), by how much, the
#: first as 1: the principal components of the pixels (R, G, B) of CIFAR-10's training pictures.
NATURAL = np.array([[0.5576, 0.1898, 0.0548], [0.5767, 0.0147, -0.1012], [0.5971, -0.1915, 0.0466]])

#: Values closer to the ends of the range than this share of it need endless numbers.
EDGE = 1e-3


class Canvas:
    """Pictures (N, H, W, C) within a range, made of the numbers in `parameter`.

    shape: (N, H, W, C). fourier: the numbers are amplitudes of the picture's frequencies rather than its pixels.
    colours: "decorrelated" (of three channels, as in NATURAL), "plain" (each channel its own), "grey" (all channels
    alike), or a matrix (C, C) whose columns are mixed.

    picture = low + (high - low) * sigmoid(frequencies to pixels (parameter) @ colours.T)
    """

    def __init__(self, shape: tuple[int, int, int, int], fourier: bool, colours: str | np.ndarray,
                 value_range: tuple[float, float], dtype: Any, device: str):
        count, height, width, channels = shape
        self.shape, self.range = shape, value_range
        self.mix = _mix(colours, channels)
        self.waves = [_waves(n) if fourier else np.eye(n) for n in (height, width)]
        self.frequency = np.hypot(*np.meshgrid(_frequencies(height), _frequencies(width), indexing="ij"))
        self.fourier = fourier
        # Natural pictures hold a frequency f about as 1 / f; the lowest, 0, counts as the next.
        self.scale = 0.25 / np.maximum(self.frequency, 1 / max(height, width)) if fourier else np.ones((height, width))
        self.parameter = Parameter(tensor(np.zeros((count, channels, height, width), dtype), device=device))
        rows, columns = self.waves
        self.rows, self.columns, self.scales, self.mixes = (
            tensor(a.astype(dtype), device=device) for a in (rows, columns.T.copy(), self.scale, self.mix.T.copy()))

    def pictures(self) -> Tensor:
        """The pictures, as far as the tape goes."""
        planes = F.matmul(F.matmul(self.rows, self.parameter * self.scales), self.columns)
        low, high = self.range
        return F.sigmoid(F.matmul(planes.permute(0, 2, 3, 1), self.mixes)) * (high - low) + low

    def scatter(self, randoms: Sequence[np.random.Generator], amount: float = 0.01) -> None:
        """Start from faint noise, each picture from a generator of its own."""
        self._set(np.stack([random.normal(0, amount, self.parameter.shape[1:]) for random in randoms]))

    def paint(self, pictures: np.ndarray) -> None:
        """Start from pictures that broadcast to the canvas's shape."""
        low, high = self.range
        share = np.clip((np.broadcast_to(pictures, self.shape).astype(np.float64) - low) / (high - low), EDGE, 1 - EDGE)
        planes = np.moveaxis(np.log(share / (1 - share)) @ np.linalg.pinv(self.mix).T, -1, 1)
        rows, columns = self.waves
        self._set(rows.T @ planes @ columns / self.scale)

    def blur(self, sigma: float) -> None:
        """Blur what is painted by a Gaussian (sigma in pixels) that goes around the edges."""
        damping = np.exp(-2 * (np.pi * sigma * self.frequency) ** 2)  # the Gaussian among the frequencies
        values = self.parameter.numpy().astype(np.float64)
        if self.fourier:
            self._set(values * damping)
        else:
            rows, columns = (_waves(n) for n in values.shape[2:])
            self._set(rows @ (rows.T @ values @ columns * damping) @ columns.T)

    def _set(self, values: np.ndarray) -> None:
        with no_grad():
            self.parameter.copy_(values)


def _frequencies(length: int) -> np.ndarray:
    """In cycles per pixel, of the columns of `_waves`."""
    return (np.arange(length) + 1) // 2 / length


def _waves(length: int) -> np.ndarray:
    """The discrete Fourier transform in real numbers: an orthonormal matrix (length, length) whose columns are a
    constant, then a cosine and a sine of each frequency."""
    place = np.arange(length)[:, None]
    turn = 2 * np.pi * place * _frequencies(length)
    waves = np.where(np.arange(length) % 2 == 1, np.cos(turn), np.sin(turn))
    waves[:, 0] = 1
    return waves / np.linalg.norm(waves, axis=0)


def _mix(colours: str | np.ndarray | Sequence[Sequence[float]], channels: int) -> np.ndarray:
    """The matrix (C, C) by which colours are mixed."""
    if isinstance(colours, str):
        known = {"plain": np.eye(channels), "grey": np.eye(channels)[0] * np.ones((channels, 1))}
        if channels == 3:
            known["decorrelated"] = NATURAL
        if colours not in known:
            raise ValueError(f"colours: expected {', '.join(map(repr, known))} or a matrix for pictures of {channels} "
                             f"channels, got {colours!r}")
        return known[colours]
    mix = np.asarray(colours, np.float64)
    if mix.shape != (channels, channels) or not np.isfinite(mix).all():
        raise ValueError(f"colours: expected a matrix ({channels}, {channels}), got {mix.dtype} {mix.shape}")
    return mix
