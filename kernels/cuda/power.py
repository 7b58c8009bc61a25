"""a to the power of b in float64. A relative error of b log a becomes |b log a| times as large in the result, and that
product reaches 745: the logarithm is calculated with about 70 bits, as a sum of two numbers.

Where a product's rounding error is calculated after it, dmul_rn keeps the compiler from joining it with a sum."""

import math
from typing import Any

from numba import float64
from numba.cuda import libdevice

from .define import define, device, horner

SQRT_2 = math.sqrt(2)
#: log 2 as a sum: the first has 42 bits, so that 2^11 times it is still exact.
LOG_2 = (0.6931471805598903, 5.497923018708371e-14)
#: 1/3 as a sum.
THIRD = (1 / 3, 1 / 3 * 2.0**-54)
#: (atanh(s)/s - 1 - s^2/3) / s^4 in z = s^2, z <= 0.0295; the next term is below 2^-60 of the first.
_tail = define("atanh_tail", "z", [f"return {horner('z', [1 / (2 * k + 5) for k in range(11)])}"], real=float64)


@device
def power(a: Any, b: Any) -> Any:
    """As IEEE 754's pow: of a negative number real only if b is whole; 1 for b = 0 or a = 1, whatever the other is."""
    if b == 0.0 or a == 1.0:
        return 1.0
    size = abs(a)
    if size > 0.0 and size < math.inf and abs(b) < math.inf:
        high, low = _log(size)
        product = libdevice.dmul_rn(b, high)
        rest = libdevice.fma(b, high, -product) + b * low
        result = math.exp(product)
        if result > 0.0 and result < math.inf:
            result += result * rest
    elif size == 1.0 and b == b:  # -1 to an infinite power
        result = 1.0
    else:
        result = math.exp(b * math.log(size))  # 0, infinite or NaN
    if libdevice.signbitd(a):
        whole = libdevice.floor(b) == b
        if not whole and size > 0.0 and size < math.inf:
            return math.nan
        if whole and abs(b) < math.inf and libdevice.floor(0.5 * b) != 0.5 * b:
            return -result
    return result


@device
def _log(a):
    """log a of a finite a > 0 as a sum of two numbers. a = 2^k m with m from sqrt(1/2) to sqrt(2); log m = 2 atanh(s)
    with s = (m - 1) / (m + 1): s + s^3/3 + s^5/5 ..., of which the first two terms need more bits than a number has."""
    k = 0
    if a < 2.2250738585072014e-308:  # subnormal
        a *= 18014398509481984.0  # 2^54
        k = -54
    bits = libdevice.double_as_longlong(a)
    k += (bits >> 52) - 1023
    m = libdevice.longlong_as_double(bits & ((1 << 52) - 1) | 1023 << 52)
    if m > SQRT_2:
        m *= 0.5
        k += 1

    top, bottom = m - 1.0, m + 1.0
    missing = m - (bottom - 1.0)  # what m + 1 has lost to rounding
    s = top / bottom
    s_low = (libdevice.fma(-s, bottom, top) - s * missing) / bottom

    square = libdevice.dmul_rn(s, s)
    square_low = libdevice.fma(s, s, -square) + 2.0 * s * s_low
    third = libdevice.dmul_rn(square, THIRD[0])
    third_low = libdevice.fma(square, THIRD[0], -third) + (square * THIRD[1] + square_low * THIRD[0])
    tail = square * square * _tail(square)
    more = third + tail  # log m = 2 s (1 + more)
    more_low = (third - more) + tail + third_low

    extra = libdevice.dmul_rn(s, more)
    extra_low = libdevice.fma(s, more, -extra) + (s * more_low + s_low * more)
    of_m = s + extra
    of_m_low = (s - of_m) + extra + (s_low + extra_low)

    whole = float64(k) * LOG_2[0]
    high = whole + 2.0 * of_m
    low = (whole - high) + 2.0 * of_m + (2.0 * of_m_low + float64(k) * LOG_2[1])
    return high, low
