"""Random words and dropout, from the generator that kernels/contracts.py states: the bits are those of every device.

A block of the generator gives four words and has no state, so a thread makes whichever it needs, in registers: ten
rounds of two products cost less than reading the words from memory.
"""

from typing import Any

import numpy as np
from numba import uint32, uint64
from numba.cuda.libdevice import umulhi

from ..contracts import PHILOX_MULTIPLIERS, PHILOX_ROUNDS, PHILOX_WEYL
from .axes import check_size
from .compiler import kernel
from .copy import fill
from .define import device
from .intrinsics import divide, load4, position, store4
from .launcher import cover, launch
from .memory import DeviceArray, empty

MULTIPLIER_0, MULTIPLIER_2 = PHILOX_MULTIPLIERS
WEYL_0, WEYL_1 = PHILOX_WEYL


@device
def philox(block: Any, seed: Any) -> Any:
    """The four words of a block of a seed's stream (both numbers uint64): words 4 block .. 4 block + 3 of it."""
    c0, c1, c2, c3 = uint32(block), uint32(block >> uint64(32)), uint32(0), uint32(0)
    key0, key1 = uint32(seed), uint32(seed >> uint64(32))
    for _ in range(PHILOX_ROUNDS):
        high0, low0 = umulhi(c0, uint32(MULTIPLIER_0)), uint32(c0 * uint32(MULTIPLIER_0))
        high2, low2 = umulhi(c2, uint32(MULTIPLIER_2)), uint32(c2 * uint32(MULTIPLIER_2))
        c0, c1, c2, c3 = uint32(high2 ^ c1 ^ key0), low2, uint32(high0 ^ c3 ^ key1), low0
        key0, key1 = uint32(key0 + uint32(WEYL_0)), uint32(key1 + uint32(WEYL_1))
    return c0, c1, c2, c3


@kernel("y: u32*, first: u64, skip: u32, seed: u64, count: u32", variants=((),))
def words():
    """y[i] = word 4 first + skip + i: a block a thread."""
    def words(y, first, skip, seed, count):
        t = position()
        w0, w1, w2, w3 = philox(uint64(first + t), seed)
        i = uint32(t * 4 - skip)  # before the beginning this is a number beyond the end
        if skip == 0 and i < count and uint32(count - i) >= 4:
            store4(y, i, w0, w1, w2, w3)
        else:
            if i < count:
                y[i] = w0
            if uint32(i + 1) < count:
                y[uint32(i + 1)] = w1
            if uint32(i + 2) < count:
                y[uint32(i + 2)] = w2
            if uint32(i + 3) < count:
                y[uint32(i + 3)] = w3
    return words


def random_bits(y: DeviceArray, count: int, seed: int, offset: int) -> None:
    skip = offset % 4
    launch(words(), cover(cover(count + skip, 4)) if count else 0, y, offset // 4, skip, seed, count)


# ------------------------------------------------------------------------------------------------------- dropout


@device
def _kept(x, word, threshold, scale, nothing):
    """Whatever x is, NaN too, it is gone where it is dropped."""
    return x * scale if word >= threshold else nothing


@kernel("x: real*, y: real*, first: u64, seed: u64, threshold: u32, scale: real, n: u32")
def dropout_elements(real):
    """Element i by word 4 first + i: four neighbours a thread, and the block of words that is theirs."""
    def dropout_elements(x, y, first, seed, threshold, scale, n):
        t = position()
        i = uint32(t * 4)
        if i >= n:
            return
        w0, w1, w2, w3 = philox(uint64(first + t), seed)
        none = real(0)
        if uint32(n - i) >= 4:
            x0, x1, x2, x3 = load4(x, i)
            store4(y, i, _kept(x0, w0, threshold, scale, none), _kept(x1, w1, threshold, scale, none),
                   _kept(x2, w2, threshold, scale, none), _kept(x3, w3, threshold, scale, none))
        else:
            y[i] = _kept(x[i], w0, threshold, scale, none)
            if uint32(n - i) >= 2:
                y[uint32(i + 1)] = _kept(x[uint32(i + 1)], w1, threshold, scale, none)
            if uint32(n - i) >= 3:
                y[uint32(i + 2)] = _kept(x[uint32(i + 2)], w2, threshold, scale, none)
    return dropout_elements


@kernel("x: real*, y: real*, word: u32*, places: u32, channels: u32, threshold: u32, scale: real, n: u32")
def dropout_channels(real):
    """A word for each picture and channel."""
    def dropout_channels(x, y, word, places, channels, threshold, scale, n):
        i = position()
        if i < n:
            row = divide(i, channels)
            channel = uint32(i - row * channels)
            y[i] = _kept(x[i], word[uint32(divide(row, places) * channels + channel)], threshold, scale, real(0))
    return dropout_channels


def dropout(x: DeviceArray, y: DeviceArray, p: float, seed: int, offset: int) -> None:
    threshold = round(p * 2**32)
    if threshold == 2**32:  # no word is as large: nothing is kept
        fill(y, 0)
        return
    check_size("dropout", x)
    pictures, places, channels = x.shape
    scale = 1 / (1 - p)
    if places == 1 and offset % 4 == 0:
        launch(dropout_elements(x.dtype), cover(cover(x.size, 4)), x, y, offset // 4, seed, threshold, scale, x.size)
        return
    word = empty((pictures * channels,), np.uint32, x.device)
    random_bits(word, word.size, seed, offset)
    launch(dropout_channels(x.dtype), cover(x.size), x, y, word, places, channels, threshold, scale, x.size)


LAUNCHES = {"random_bits": random_bits, "dropout": dropout}
