"""sin and cos of any number. NVIDIA's library has them too, but turns to float64 for large float32 arguments and calls
a function for large float64 ones, which costs every thread registers and a stack.

x = q pi/2 + r with q whole and |r| <= pi/4; then sin x is +-sin r or +-cos r, as the last two bits of q say. For |x| up
to NEAR, r comes from pi/2 in three pieces (W. J. Cody, W. Waite, "Software Manual for the Elementary Functions", 1980).
Beyond, x is a whole number times a power of two, and its product with the bits of 2/pi that matter is exact in integers
(M. Payne, R. Hanek, "Radian reduction for trigonometric functions", 1983).
"""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from math import factorial
from typing import Any

import numpy as np
from numba import cuda, int32, int64, types, uint64
from numba.cuda import libdevice

from .define import define, device, horner

HALF_PI = Fraction("1.57079632679489661923132169163975144209858469968755291048747229615390820314310449931401741267")
NEAR = 1e5

#: The bits of 2/pi, 64 a word, after a word of zeros: for the largest float64 about 1200 of them.
TWO_OVER_PI = np.array([
    0, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561, 0xB7246E3A424DD2E0,
    0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484, 0xE99C7026B45F7E41, 0x3991D639835339F4,
    0x9C845F8BBDF9283B, 0x1FF897FFDE05980F, 0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7, 0x4F463F669E5FEA2D,
    0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB, 0xF0CFBC209AF4361D], np.uint64)


@cache
def sine(real: Any) -> Callable[..., Any]:
    """sin as device code for float32 or float64."""
    return _circular(real, 0)


@cache
def cosine(real: Any) -> Callable[..., Any]:
    """cos as device code: the sine a quarter further."""
    return _circular(real, 1)


def _circular(real: Any, ahead: int) -> Callable[..., Any]:
    near, far, (of_sine, of_cosine) = _reduce_near(real), _reduce_far(real), _series(real)

    @device
    def circular(x):
        if abs(x) < NEAR:
            r, quadrant = near(x)
        else:
            r, quadrant = far(x)
        quadrant += ahead
        square = r * r
        value = of_cosine(square) if quadrant & 1 else r * of_sine(square)
        return -value if quadrant & 2 else value
    return circular


def _series(real: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """sin(r) / r and cos(r) as functions of r^2: Taylor's series, whose next terms no longer count for |r| <= pi/4."""
    terms = 6 if real == types.float32 else 10
    return tuple(define(name, "z", [f"return {horner('z', c)}"], real=real)  # type: ignore[return-value]
                 for name, c in (("sine_series", [(-1)**k / factorial(2 * k + 1) for k in range(terms)]),
                                 ("cosine_series", [(-1)**k / factorial(2 * k) for k in range(terms)])))


def _reduce_near(real: Any) -> Callable[..., Any]:
    """x -> r, q for |x| < NEAR. x - q times the first piece is exact: both are whole multiples of the piece's last bit,
    and the difference, below 1, has no more bits than a number holds. The other pieces correct it."""
    first, second, third = _pieces(np.float32 if real == types.float32 else np.float64)
    inverse = float(1 / HALF_PI)
    fma, nearest = (libdevice.fmaf, libdevice.rintf) if real == types.float32 else (libdevice.fma, libdevice.rint)

    @device
    def near(x):
        q = nearest(x * real(inverse))
        r = fma(-q, real(third), fma(-q, real(second), fma(-q, real(first), x)))
        return x if q == real(0) else r, int32(q)  # -0 stays -0
    return near


def _pieces(of: Any) -> list[float]:
    """Three numbers of a type that sum up to pi/2, each what the ones before leave, rounded."""
    found: list[float] = []
    for _ in range(3):
        found.append(float(of(float(HALF_PI - sum(map(Fraction, found), Fraction())))))
    return found


def _reduce_far(real: Any) -> Callable[..., Any]:
    """x -> r, q for |x| >= NEAR."""
    if real == types.float32:
        as_bits, fraction_bits, bias = libdevice.float_as_int, 23, 150
    else:
        as_bits, fraction_bits, bias = libdevice.double_as_longlong, 52, 1075
    half_pi, sign = float(HALF_PI), 1 << (31 if real == types.float32 else 63)

    @device
    def far(x):
        bits = int64(as_bits(x)) & (sign - 1)
        whole = uint64(bits & ((1 << fraction_bits) - 1) | 1 << fraction_bits)  # |x| = whole * 2^exponent
        exponent = int32((bits >> fraction_bits) - bias)
        # |x| 2/pi counts modulo 4 only: bits of 2/pi from which multiples of 4 come are left out. Of those that follow,
        # 192 are enough, for no float64 comes closer than about 2^-61 to a multiple of pi/2.
        start = exponent - 2 + 64
        high, middle, low = _bits_at(start), _bits_at(start + 64), _bits_at(start + 128)
        carried = libdevice.umul64hi(whole, low)
        second = uint64(whole * middle + carried)
        carry = uint64(1) if second < uint64(carried) else uint64(0)
        product = uint64(whole * high + libdevice.umul64hi(whole, middle) + carry)
        # Two bits before the point, then the fraction, which is taken as one from -1/2 to 1/2.
        quadrant = int32(product >> uint64(62))
        fraction = int64(product << uint64(2) | second >> uint64(62))
        rest = uint64(second << uint64(2))
        if fraction < 0:
            quadrant += 1
        r = (real(fraction) * real(2.0**-64) + real(rest) * real(2.0**-64) * real(2.0**-64)) * real(half_pi)
        if not abs(x) < real(np.inf):
            r = x - x  # NaN
        return (-r, -quadrant) if x < real(0) else (r, quadrant)
    return far


@device
def _bits_at(start):
    """64 bits of 2/pi, from number `start` on."""
    words = cuda.const.array_like(TWO_OVER_PI)
    word, shift = start >> 6, uint64(start & 63)
    following = words[word + 1] >> uint64(uint64(63) - shift) >> uint64(1)  # in two steps: a shift by 64 isn't one
    return uint64(words[word] << shift | following)
