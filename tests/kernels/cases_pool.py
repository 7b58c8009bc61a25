"""Cases of the pooling kernels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.kernels import reference

from .case import INF, NAN, Built, Case, Draw
from .cases_conv import ROUND, Convolution


@dataclass(frozen=True)
class Pool:
    """size: batch, height, width, channels. padding: top, bottom, left, right. overhang: how many windows, down and
    across, there are beyond those that fit."""

    size: tuple[int, int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    overhang: tuple[int, int] = (0, 0)

    @property
    def outputs(self) -> tuple[int, int]:
        fit = Convolution(self.size[:3], 1, 1, self.kernel, self.stride, self.padding, self.dilation).outputs
        return fit[0] + self.overhang[0], fit[1] + self.overhang[1]

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def window(self) -> dict[str, Any]:
        """The params that all kernels of max pooling have."""
        return {"kernel": self.kernel, "stride": self.stride, "padding": self.padding[::2], "dilation": self.dilation}

    def x(self, draw: Draw) -> np.ndarray:
        return draw(*self.size)

    def y(self, draw: Draw) -> np.ndarray:
        return draw(self.size[0], *self.outputs, self.size[3])

    def positions(self, draw: Draw, somewhere: float) -> np.ndarray:
        """Positions as max pooling gives them. somewhere: the share of them that are a place in their window."""
        y = np.empty((self.size[0], *self.outputs, self.size[3]))
        found = np.empty(y.shape, np.uint8 if self.taps <= 256 else np.int32)
        reference.max_pool2d(draw.random.normal(size=self.size), y, found, **self.window, size=self.outputs,
                             rectified=False)
        found[draw.random.random(found.shape) > somewhere] = 255
        return found


POOLS = {
    "one": Pool((1, 1, 1, 1), (1, 1), (1, 1)),
    "halves": Pool((2, 6, 8, 3), (2, 2), (2, 2)),
    "halves_of_odd": Pool((1, 7, 9, 16), (2, 2), (2, 2)),
    "ceil_mode": Pool((1, 7, 9, 5), (2, 2), (2, 2), overhang=(1, 1)),
    "ceil_mode_padded": Pool((2, 6, 5, 7), (3, 3), (2, 2), ROUND, overhang=(1, 0)),
    "overlapping": Pool((1, 7, 8, 17), (3, 3), (1, 1), ROUND),
    "resnet_stem": Pool((1, 8, 8, 8), (3, 3), (2, 2), ROUND),
    "asymmetric": Pool((1, 5, 6, 3), (3, 3), (2, 2), (0, 1, 1, 0)),
    "oblong": Pool((1, 9, 7, 2), (3, 2), (1, 3)),
    "stride_beyond_kernel": Pool((1, 11, 9, 13), (2, 2), (3, 4)),
    "whole_picture": Pool((3, 5, 7, 33), (5, 7), (5, 7)),
    "sequence": Pool((2, 1, 13, 3), (1, 3), (1, 2), (0, 0, 1, 1)),
    "window_around_picture": Pool((2, 3, 2, 5), (5, 4), (1, 1), ROUND),
    "wide_window": Pool((1, 5, 130, 2), (2, 100), (1, 7)),
    "window_of_256": Pool((1, 17, 19, 3), (16, 16), (1, 3)),
    "window_of_272": Pool((1, 18, 17, 5), (17, 16), (1, 1)),
    "window_of_272_in_4_channels": Pool((1, 18, 16, 4), (17, 16), (1, 1)),
    "ceil_mode_in_4_channels": Pool((2, 5, 6, 4), (3, 3), (2, 2), ROUND, overhang=(0, 1)),
    "empty_batch": Pool((0, 4, 6, 3), (2, 2), (2, 2)),
    "no_channels": Pool((1, 4, 6, 0), (2, 2), (2, 2)),
    "no_window": Pool((1, 2, 3, 5), (3, 3), (1, 1)),
    "large": Pool((3, 22, 23, 19), (3, 3), (2, 2), ROUND),
    "large_halves": Pool((4, 32, 32, 16), (2, 2), (2, 2)),
    "large_overlapping": Pool((2, 21, 22, 33), (2, 3), (1, 1)),
}
DILATED = {
    "dilation": Pool((1, 9, 11, 5), (3, 2), (1, 2), ROUND, (2, 3)),
    "dilation_in_8_channels": Pool((2, 9, 8, 8), (2, 3), (2, 1), ROUND, (3, 2)),
    "window_outside": Pool((1, 1, 5, 3), (2, 2), (1, 1), (2, 2, 1, 1), (3, 1)),
    "window_outside_across": Pool((1, 5, 1, 3), (2, 2), (1, 1), (1, 1, 2, 2), (1, 3)),
    "windows_behind": Pool((1, 3, 2, 5), (2, 2), (1, 1), (0, 3, 0, 3)),
}
#: Values that decide a maximum.
CHOSEN = {"ties": [0, 1], "special": [0, 1, -1, INF, -INF, NAN], "mostly_minus_infinity": [-INF] * 9 + [0, NAN]}
OUTSIDE = {"window_in_the_padding": Pool((1, 3, 2, 5), (2, 2), (2, 2), (2, 2, 2, 3))}


def max_pool2d(pool: Pool, rectified: bool, draw: Draw) -> Built:
    return [pool.x(draw)], pool.window | {"size": pool.outputs, "rectified": rectified}


def max_pool2d_of(pool: Pool, values: list[float], rectified: bool, draw: Draw) -> Built:
    return [draw.few(values, *pool.size)], pool.window | {"size": pool.outputs, "rectified": rectified}


def max_pool2d_grad(pool: Pool, somewhere: float, draw: Draw) -> Built:
    return [pool.y(draw), pool.positions(draw, somewhere)], pool.window | {"size": pool.size[1:3]}


def max_pool2d_pick(pool: Pool, somewhere: float, draw: Draw) -> Built:
    return [pool.x(draw), pool.positions(draw, somewhere)], pool.window


def max_pool2d_index(pool: Pool, somewhere: float, draw: Draw) -> Built:
    return [pool.positions(draw, somewhere)], pool.window | {"size": pool.size[1:3]}


def avg_pool2d(pool: Pool, include: bool, divisor: int, draw: Draw) -> Built:
    return [pool.x(draw)], {"kernel": pool.kernel, "stride": pool.stride, "padding": pool.padding, "size": pool.outputs,
                            "count_include_pad": include, "divisor": divisor}


def avg_pool2d_grad(pool: Pool, include: bool, divisor: int, draw: Draw) -> Built:
    return [pool.y(draw)], avg_pool2d(pool, include, divisor, draw)[1] | {"size": pool.size[1:3]}


def cases() -> Iterator[Case]:
    for label, pool in (POOLS | DILATED).items():
        yield Case("max_pool2d", label, max_pool2d, (pool, False))
        yield Case("max_pool2d_grad", label, max_pool2d_grad, (pool, 1.0), terms=pool.taps)
        if pool.taps <= 255:
            yield Case("max_pool2d", f"{label}_rectified", max_pool2d, (pool, True))
            yield Case("max_pool2d_grad", f"{label}_rectified", max_pool2d_grad, (pool, 0.6), terms=pool.taps)
            yield Case("max_pool2d_pick", f"{label}_rectified", max_pool2d_pick, (pool, 0.6))
            yield Case("max_pool2d_index", f"{label}_rectified", max_pool2d_index, (pool, 0.6), (np.float64,))
        yield Case("max_pool2d_pick", label, max_pool2d_pick, (pool, 1.0))
        yield Case("max_pool2d_index", label, max_pool2d_index, (pool, 1.0), (np.float64,))
    for label in ("halves", "ceil_mode_padded", "overlapping", "large", "window_of_272"):
        for how, values in CHOSEN.items():
            yield Case("max_pool2d", f"{how}_{label}", max_pool2d_of, (POOLS[label], values, False))
            if POOLS[label].taps <= 255:
                yield Case("max_pool2d", f"{how}_{label}_rectified", max_pool2d_of, (POOLS[label], values, True))
    for label, pool in (POOLS | OUTSIDE).items():
        for how, include, divisor in (("inside", False, 0), ("padded", True, 0), ("by_3", False, 3)):
            if how == "inside" or any(pool.padding) or any(pool.overhang):  # else all places count
                for name, build in (("avg_pool2d", avg_pool2d), ("avg_pool2d_grad", avg_pool2d_grad)):
                    yield Case(name, f"{label}_{how}", build, (pool, include, divisor), terms=pool.taps)
