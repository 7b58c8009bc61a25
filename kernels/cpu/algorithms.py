"""Which algorithm a convolution uses: a matter of its shape and dtype, never of a measurement at run time."""

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np

# What the parts of a convolution cost, measured with AVX2, in multiply-adds of the register tile (winograd.h and
# conv_winograd.pxi tell what they are). The others are the products themselves.
TRANSFORMED_NUMBER = {64: 14.0, 36: 12.0, 16: 12.0}  # of a picture or a gradient: one of a square, per channel
TRANSFORMED_TAP = {64: 20.0, 36: 25.0, 16: 15.0}  # of the filters, to so many: one tap of one filter in one channel
READ_NUMBER = 10.0  # of filters prepared long ago: one number, from memory
ROWS, COLUMNS, LANES = 6, 16, 8  # of the tile and of a vector: fewer cost as much,
HALF = 12  # but filters that fit one vector as much as this many
MOST_OVERLAPPING = 128  # squares of the output's gradient, a picture: more are not added up
FEW_SQUARES, MANY_NUMBERS = 4, 1048576  # so few squares and more than so many transformed filters: 2x2, not 4x4 pixels
PANEL_STEPS = 1024  # of a sum at most that is not made in pieces: a panel of filters stays in the second-level cache
GAIN = 1.1  # Winograd must be faster by this factor: it loses a digit


def can_winograd(sizes: Mapping[str, int], params: Mapping[str, Any], dtype: np.dtype) -> bool:
    """Whether the kernels have Winograd's algorithm for this convolution."""
    return (
        "groups" in params  # two convolutions at once have none
        and dtype == np.float32
        and sizes["R"] == sizes["S"]
        and sizes["R"] in (3, 5)
        and tuple(params["stride"]) == tuple(params["dilation"]) == (1, 1)
        and params["groups"] == 1
    )


def _up(count: int, step: int) -> int:
    return ceil(count / step) * step


def _squares(pictures: int, pixels: tuple[int, int], side: int) -> int:
    return pictures * ceil(pixels[0] / side) * ceil(pixels[1] / side)


def costs(name: str, sizes: Mapping[str, int], prepared: bool = False) -> tuple[float, float]:
    """(direct, winograd): the estimated costs of a convolution kernel that Winograd's algorithm can do.

    prepared: whether the filters have been packed or transformed before. Then they are read from memory, in which
    Winograd's are larger, 36 numbers for 9 taps and 64 for 25, or 16 for 9.
    """
    taps, channels, filters, pixels = sizes["R"] ** 2, sizes["C"], sizes["K"], (sizes["P"], sizes["Q"])
    if name == "conv2d_input_grad":
        channels, filters, pixels = filters, channels, (sizes["H"], sizes["W"])
    columns = _up(filters, COLUMNS)
    direct = sizes["N"] * pixels[0] * pixels[1] * taps * channels * (HALF if filters <= LANES else columns)
    points, squares = 36 if taps == 9 else 64, _squares(sizes["N"], pixels, 4)
    few = taps == 9 and squares <= FEW_SQUARES and points * channels * filters > MANY_NUMBERS
    if few and name != "conv2d_weight_grad":
        points, squares = 16, _squares(sizes["N"], pixels, 2)
    elif name == "conv2d_input_grad":
        read = _squares(sizes["N"], (sizes["P"], sizes["Q"]), 4)
        if 6 * read <= 5 * squares and read <= MOST_OVERLAPPING * sizes["N"]:
            squares = read
    products = points * _up(squares, ROWS) * channels * columns
    transformed = points * squares * (_up(channels, LANES) + _up(filters, LANES))
    winograd = products + transformed * TRANSFORMED_NUMBER[points]
    if prepared:
        return direct + taps * channels * columns * READ_NUMBER, winograd + points * channels * columns * READ_NUMBER
    return direct, winograd + taps * channels * columns * TRANSFORMED_TAP[points]


def choose(
    name: str, sizes: Mapping[str, int], params: Mapping[str, Any], dtype: np.dtype, prepared: bool = False
) -> str:
    """The algorithm for a kernel of the conv family, given its contract's sizes and parameters, and whether its filters
    have been prepared.

    "joined" where two convolutions are asked for at once, if the sums are short; "depthwise" where each of several
    channels has one filter of its own, "winograd" where fewer products pay for its transforms (see `costs`;
    `minicnn.trace_kernels()` shows which ran), else "direct", which can do every shape.
    """
    if name == "conv2d_depthwise":
        return "joined" if sizes["R"] * sizes["S"] * sizes["D"] <= PANEL_STEPS else "direct"
    if sizes["C"] == sizes["K"] == params["groups"] > 1:
        return "depthwise"
    if can_winograd(sizes, params, dtype):
        direct, winograd = costs(name, sizes, prepared)
        if winograd * GAIN < direct:
            return "winograd"
    return "direct"
