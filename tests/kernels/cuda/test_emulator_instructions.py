"""Every instruction the emulator knows against its definition, on awkward and random numbers, bit by bit."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="the emulator needs Numba and llvmlite")

from minicnn.kernels.cuda.emulator.instructions import KNOWN  # noqa: E402

from .emulating import assemble, execute  # noqa: E402

RANDOM = np.random.default_rng(1)
DTYPES = {"u8": "u1", "s8": "i1", "u16": "u2", "s16": "i2", "u32": "u4", "s32": "i4", "u64": "u8", "s64": "i8",
          "f32": "f4", "f64": "f8", "b32": "u4", "b64": "u8"}  # fmt: skip
BITS = {name: int(name[1:]) for name in DTYPES}


@dataclass(frozen=True)
class Case:
    """`text` computes %d, of type `out`, from %a, %b and %c, all of one type."""

    text: str
    expect: Callable[..., Any]
    out: str


def integers(type_: str) -> list[np.ndarray]:
    """Three columns of numbers: every pair of edges, and random ones of every size."""
    bits, signed = BITS[type_], type_[0] == "s"
    half = 2 ** (bits - 1)
    edges = [0, 1, 2, 31, 32, 33, 63, 64, 2 * half - 1, half, half - 1, 0x5A5A5A5A % (2 * half)]
    rows = [(a, b, edges[(7 * n) % len(edges)]) for n, (a, b) in enumerate(product(edges, edges))]
    random = RANDOM.integers(0, 2**bits - 1, (300, 3), np.uint64) >> RANDOM.integers(0, bits, (300, 3), np.uint64)
    columns = np.concatenate([np.array(rows, np.uint64), random]).T.astype(f"u{bits // 8}")
    return [column.view(f"{'i' if signed else 'u'}{bits // 8}").copy() for column in columns]


def floats(type_: str) -> list[np.ndarray]:
    info = np.finfo(DTYPES[type_])
    one = float(1 + info.eps)
    tiny = float(info.tiny)
    edges = [0.0, -0.0, 1.0, -1.0, one, 0.5, -2.5, 3.5, math.inf, -math.inf, math.nan, float(info.max), tiny,
             -tiny / 2, float(info.smallest_subnormal), 1e9, -3e9, 255.5, -0.7, 1e19]  # fmt: skip
    rows = [(a, b, edges[(7 * n) % len(edges)]) for n, (a, b) in enumerate(product(edges, edges))]
    scale = RANDOM.integers(-60, 60, (400, 3)) if type_ == "f32" else RANDOM.integers(-300, 300, (400, 3))
    random = RANDOM.normal(size=(400, 3)) * 2.0**scale
    near = RANDOM.uniform(-4, 4, size=(400, 3))
    with np.errstate(all="ignore"):
        return list(np.concatenate([np.array(rows), random, near]).T.astype(DTYPES[type_]).copy())


def wrap(value: int, out: str) -> int:
    return value & (2 ** BITS[out] - 1)


def signed(value: int, bits: int) -> int:
    value &= 2**bits - 1
    return value - 2**bits if value >> (bits - 1) else value


def quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def clamp(value: int, out: str) -> int:
    bits = BITS[out]
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if out[0] == "s" else (0, 2**bits - 1)
    return min(max(value, low), high)


def integer_cases(type_: str) -> list[Case]:
    n, s = BITS[type_], type_[0] == "s"
    high = 2 * n
    wide = f"{type_[0]}{high}"
    cases = [
        (f"add.{type_} %d, %a, %b;", lambda a, b, c: a + b),
        (f"sub.{type_} %d, %a, %b;", lambda a, b, c: a - b),
        (f"mul.lo.{type_} %d, %a, %b;", lambda a, b, c: a * b),
        (f"mul.hi.{type_} %d, %a, %b;", lambda a, b, c: (a * b) >> n),
        (f"mad.lo.{type_} %d, %a, %b, %c;", lambda a, b, c: a * b + c),
        (f"mad.hi.{type_} %d, %a, %b, %c;", lambda a, b, c: ((a * b) >> n) + c),
        (f"min.{type_} %d, %a, %b;", lambda a, b, c: min(a, b)),
        (f"max.{type_} %d, %a, %b;", lambda a, b, c: max(a, b)),
        (f"sad.{type_} %d, %a, %b, %c;", lambda a, b, c: c + abs(a - b)),
        (f"and.b{n} %d, %a, %b;", lambda a, b, c: a & b),
        (f"or.b{n} %d, %a, %b;", lambda a, b, c: a | b),
        (f"xor.b{n} %d, %a, %b;", lambda a, b, c: a ^ b),
        (f"not.b{n} %d, %a;", lambda a, b, c: ~a),
        (f"cnot.b{n} %d, %a;", lambda a, b, c: int(a == 0)),
        (f"or.b{n} %t, %b, 1; div.{type_} %d, %a, %t;", lambda a, b, c: quotient(a, b | 1)),
        (f"or.b{n} %t, %b, 1; rem.{type_} %d, %a, %t;", lambda a, b, c: a - quotient(a, b | 1) * (b | 1)),
        (f"cvt.u32.u{n} %r, %b; and.b32 %r, %r, 127; shl.b{n} %d, %a, %r;",
         lambda a, b, c: a << (b & 127) if b & 127 < n else 0),
        (f"cvt.u32.u{n} %r, %b; and.b32 %r, %r, 127; shr.{type_} %d, %a, %r;", lambda a, b, c: a >> (b & 127)),
        (f"shr.{type_} %d, %a, 3;", lambda a, b, c: a >> 3),
        (f"set.lt.u32.{type_} %r, %a, %b; cvt.s{n}.s32 %d, %r;", lambda a, b, c: -int(a < b)),
        (f"setp.eq.{type_} %p, %c, 0; setp.gt.xor.{type_} %p|%q, %a, %b, %p; selp.b{n} %d, %a, %b, %q;",
         lambda a, b, c: a if (not a > b) ^ (c == 0) else b),
        (f"mov.b{n} %d, %a;", lambda a, b, c: a),
    ]  # fmt: skip
    cases += [
        (f"setp.{name}.{type_} %p, %a, %b; selp.{type_} %d, %a, %c, %p;",
         lambda a, b, c, holds=holds: a if holds(a, b) else c)
        for name, holds in {"eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "le": lambda a, b: a <= b,
                            "ge": lambda a, b: a >= b}.items()
    ]  # fmt: skip
    if s:
        cases += [
            (f"abs.{type_} %d, %a;", lambda a, b, c: abs(a)),
            (f"neg.{type_} %d, %a;", lambda a, b, c: -a),
        ]
    else:
        cases += [
            (f"setp.lo.{type_} %p, %a, %b; @%p mov.b{n} %d, %a; @!%p mov.b{n} %d, %b;", lambda a, b, c: min(a, b)),
            (f"setp.hs.{type_} %p, %a, %b; selp.b{n} %d, %b, %a, %p;", lambda a, b, c: min(a, b)),
        ]
    if n >= 32:
        cases += [
            (f"{{ .reg .b{n} %lo; add.cc.u{n} %lo, %a, %b; addc.u{n} %d, %c, 0; }}",
             lambda a, b, c: c + (wrap(a, f"u{n}") + wrap(b, f"u{n}") >> n)),
            (f"{{ .reg .b{n} %lo; sub.cc.u{n} %lo, %a, %b; subc.u{n} %d, %c, %b; }}",
             lambda a, b, c: c - b - (wrap(a, f"u{n}") < wrap(b, f"u{n}"))),
            (f"{{ .reg .b{n} %lo; mad.lo.cc.u{n} %lo, %a, %b, %c; madc.hi.u{n} %d, %a, %b, %c; }}",
             lambda a, b, c: (x := wrap(a, f"u{n}") * wrap(b, f"u{n}"), w := wrap(c, f"u{n}"),
                              (x >> n) + w + ((x % 2**n + w) >> n))[2]),
            (f"{{ .reg .b{n} %lo; mad.lo.cc.u{n} %lo, %a, %b, %c; madc.hi.cc.u{n} %lo, %a, %b, %c;"
             f" addc.u{n} %d, 0, 0; }}",
             lambda a, b, c: (x := wrap(a, f"u{n}") * wrap(b, f"u{n}"), w := wrap(c, f"u{n}"),
                              ((x >> n) + w + ((x % 2**n + w) >> n)) >> n)[2]),
            (f"{{ .reg .b{n} %lo; add.cc.u{n} %lo, %a, %b; madc.lo.u{n} %d, %a, %b, %c; }}",
             lambda a, b, c: a * b + c + (wrap(a, f"u{n}") + wrap(b, f"u{n}") >> n)),
            (f"bfe.{type_} %d, %a, 5, 9;", lambda a, b, c: signed(a >> 5, 9) if s else (a >> 5) & 511),
            (f"cvt.u32.u{n} %r, %b; cvt.u32.u{n} %s, %c; bfe.{type_} %d, %a, %r, %s;",
             lambda a, b, c: bit_field(a, b & 255, c & 255, n, s)),
            (f"cvt.u32.u{n} %r, %c; bfi.b{n} %d, %a, %b, %r, 7;",
             lambda a, b, c: insert_field(a, b, c & 255, 7, n)),
            (f"popc.b{n} %r, %a; cvt.u{n}.u32 %d, %r;", lambda a, b, c: wrap(a, f"u{n}").bit_count()),
            (f"clz.b{n} %r, %a; cvt.u{n}.u32 %d, %r;", lambda a, b, c: n - wrap(a, f"u{n}").bit_length()),
            (f"brev.b{n} %d, %a;", lambda a, b, c: int(f"{wrap(a, f'u{n}'):0{n}b}"[::-1], 2)),
            (f"bfind.{type_} %r, %a; cvt.s{n}.s32 %d, %r;",
             lambda a, b, c: (~a if s and a < 0 else a).bit_length() - 1),
            (f"bfind.shiftamt.{type_} %r, %a; cvt.s{n}.s32 %d, %r;",
             lambda a, b, c: -1 if (x := (~a if s and a < 0 else a).bit_length()) == 0 else n - x),
            (f"slct.{type_}.s32 %d, %a, %b, %one;", lambda a, b, c: a),
        ]  # fmt: skip
    result = [Case(text, expect, type_) for text, expect in cases]
    if n < 64:
        result += [
            Case(f"mul.wide.{type_} %d, %a, %b;", lambda a, b, c: a * b, wide),
            Case(f"cvt.{wide}.{type_} %d, %c; mad.wide.{type_} %d, %a, %b, %d;", lambda a, b, c: a * b + c, wide),
        ]
    for out in ("s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"):
        result.append(Case(f"cvt.{out}.{type_} %d, %a;", lambda a, b, c: a, out))
        result.append(Case(f"cvt.sat.{out}.{type_} %d, %a;", lambda a, b, c, out=out: clamp(a, out), out))
    result.append(Case(f"cvt.rn.f32.{type_} %d, %a;", lambda a, b, c: rounded(Fraction(a), "f32", "rn"), "f32"))
    result.append(Case(f"cvt.rn.f64.{type_} %d, %a;", lambda a, b, c: float(a), "f64"))
    if n == 32:
        result += [
            Case(f"cvt.{mode}.f32.{type_} %d, %a;", lambda a, b, c, mode=mode: rounded(Fraction(a), "f32", mode), "f32")
            for mode in ("rz", "rm", "rp")
        ]
    return result


def bit_field(a: int, place: int, length: int, n: int, is_signed: bool) -> int:
    """bfe as the definition's loop has it."""
    a = wrap(a, f"u{n}")
    sign = (a >> min(place + length - 1, n - 1)) & 1 if is_signed and length else 0
    return sum(((a >> place + k) & 1 if k < length and place + k < n else sign) << k for k in range(n))


def insert_field(a: int, b: int, place: int, length: int, n: int) -> int:
    for k in range(length):
        if place + k < n:
            b = b & ~(1 << place + k) | ((a >> k) & 1) << place + k
    return b


WORDS = [
    Case("shf.l.clamp.b32 %d, %a, %b, %c;", lambda a, b, c: (b << 32 | a) << min(c, 32) >> 32, "u32"),
    Case("shf.r.clamp.b32 %d, %a, %b, %c;", lambda a, b, c: (b << 32 | a) >> min(c, 32), "u32"),
    Case("shf.l.wrap.b32 %d, %a, %b, %c;", lambda a, b, c: (b << 32 | a) << (c & 31) >> 32, "u32"),
    Case("shf.r.wrap.b32 %d, %a, %b, %c;", lambda a, b, c: (b << 32 | a) >> (c & 31), "u32"),
    Case("prmt.b32 %d, %a, %b, 0x6240;", lambda a, b, c: (b << 32 | a).to_bytes(8, "little")[0]
         | (b << 32 | a).to_bytes(8, "little")[4] << 8 | (b << 32 | a).to_bytes(8, "little")[2] << 16
         | (b << 32 | a).to_bytes(8, "little")[6] << 24, "u32"),
    Case("prmt.b32 %d, %a, %b, %c;", lambda a, b, c: sum(
        ((0xFF if x & 0x80 else 0) if (c >> 4 * k) & 8 else x) << 8 * k
        for k in range(4) for x in [(b << 32 | a) >> 8 * ((c >> 4 * k) & 7) & 0xFF]), "u32"),
    Case("lop3.b32 %d, %a, %b, %c, 0x96;", lambda a, b, c: a ^ b ^ c, "u32"),
    Case("lop3.b32 %d, %a, %b, %c, 0xEA;", lambda a, b, c: (a & b) | c, "u32"),
    Case("mov.b64 %d, {%a, %b};", lambda a, b, c: b << 32 | a, "u64"),
    Case("{ .reg .b64 %w; .reg .b32 %x; mov.b64 %w, {%a, %b}; mov.b64 {_, %x}, %w; mov.b32 %d, %x; }",
         lambda a, b, c: b, "u32"),
    Case("{ .reg .b16 %x, %y; mov.b32 {%x, %y}, %a; mov.b32 %d, {%y, %x}; }",
         lambda a, b, c: (a >> 16) | (a & 0xFFFF) << 16, "u32"),
    Case("slct.u32.s32 %d, %a, %b, %c;", lambda a, b, c: a if c < 2**31 else b, "u32"),
    Case("mov.b32 %d, 0f40490FDB;", lambda a, b, c: 0x40490FDB, "u32"),
    Case("add.s32 %d, %a, -5;", lambda a, b, c: a - 5, "u32"),
    Case("add.u32 %d, %a, 0xFFFFFFFF;", lambda a, b, c: a - 1, "u32"),
    Case("add.sat.s32 %d, %a, %b;", lambda a, b, c: clamp(signed(a, 32) + signed(b, 32), "s32"), "u32"),
    Case("sub.sat.s32 %d, %a, %b;", lambda a, b, c: clamp(signed(a, 32) - signed(b, 32), "s32"), "u32"),
    Case("set.ge.f32.u32 %d, %a, %b;", lambda a, b, c: float(a >= b), "f32"),
]  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- floats


def rounded(exact: Fraction, type_: str, mode: str) -> float:
    """The float32 or float64 that an exact number becomes in a rounding mode."""
    dtype = np.dtype(DTYPES[type_]).type
    with np.errstate(all="ignore"):
        try:
            near = dtype(float(exact))
        except OverflowError:
            near = dtype(np.inf if exact > 0 else -np.inf)
        around = [np.nextafter(near, dtype(-np.inf)), near, np.nextafter(near, dtype(np.inf))]

    def value(x: Any) -> Fraction:  # to nearest, infinity stands where the next number would
        step = Fraction(2) ** (128 if type_ == "f32" else 1024)
        return Fraction(float(x)) if np.isfinite(x) else step * (1 if x > 0 else -1)

    if mode == "rm":
        return float(max(x for x in around if x == -np.inf or np.isfinite(x) and value(x) <= exact))
    if mode == "rp":
        return float(min(x for x in around if x == np.inf or np.isfinite(x) and value(x) >= exact))
    if mode == "rz":
        return rounded(exact, type_, "rm" if exact >= 0 else "rp")
    even = {id(x): int(np.frombuffer(x.tobytes(), f"u{x.nbytes}")[0]) & 1 for x in around}
    return float(min(around, key=lambda x: (abs(value(x) - exact), even[id(x)])))


def exactly(type_: str, mode: str, compute: Callable[..., Fraction]) -> Callable[..., float]:
    """compute on exact numbers, rounded once; None (not looked at) beside infinity, NaN and 0."""

    def expect(a: float, b: float, c: float) -> float | None:
        if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
            return None
        try:
            result = compute(Fraction(a), Fraction(b), Fraction(c))
        except ZeroDivisionError:
            return None
        return rounded(result, type_, mode) if result else None

    return expect


def number(function: Callable[..., float]) -> Callable[..., float]:
    """Infinities and NaN as NumPy has them."""

    def expect(*operands: float) -> float:
        with np.errstate(all="ignore"):
            return float(function(*(np.float64(x) for x in operands)))

    return expect


def to_integer(round_: Callable, out: str) -> Callable[..., int]:
    def expect(a: float, b: float, c: float) -> int:
        if math.isnan(a):
            return 0
        return clamp(int(round_(a)) if math.isfinite(a) else (1 if a > 0 else -1) << 80, out)

    return expect


def flushed(x: float) -> float:
    return math.copysign(0.0, x) if abs(x) < 2.0**-126 else x


def smaller(a: float, b: float) -> float:
    """IEEE 754-2019 minimumNumber."""
    if math.isnan(a) or math.isnan(b):
        return b if math.isnan(a) else a
    return min(a, b, key=lambda x: (x, math.copysign(1, x)))


def saturated(x: float) -> float:
    return min(x, 1.0) if x > 0 else 0.0


WHOLE = {"rni": round, "rmi": math.floor, "rpi": math.ceil, "rzi": math.trunc}


def float_cases(type_: str) -> list[Case]:
    n = BITS[type_]
    cases: list[tuple[str, Callable, str]] = []

    def add(text: str, expect: Callable, out: str = type_) -> None:
        cases.append((text.replace("T", type_), expect, out))

    add("add.rn.T %d, %a, %b;", number(lambda a, b, c: a + b))
    add("sub.T %d, %a, %b;", number(lambda a, b, c: a - b))
    add("mul.T %d, %a, %b;", number(lambda a, b, c: a * b))
    add("div.rn.T %d, %a, %b;", number(lambda a, b, c: a / b))
    add("fma.rn.T %d, %a, %b, %c;", exactly(type_, "rn", lambda a, b, c: a * b + c))
    add("mad.rn.T %d, %a, %b, %c;", exactly(type_, "rn", lambda a, b, c: a * b + c))
    add("sqrt.rn.T %d, %a;", number(lambda a, b, c: np.sqrt(a)))
    add("rcp.rn.T %d, %a;", number(lambda a, b, c: 1 / a))
    add("abs.T %d, %a;", lambda a, b, c: abs(a))
    add("neg.T %d, %a;", lambda a, b, c: -a)
    add("copysign.T %d, %a, %b;", lambda a, b, c: math.copysign(b, a))
    add("min.T %d, %a, %b;", lambda a, b, c: smaller(a, b))
    add("max.T %d, %a, %b;", lambda a, b, c: -smaller(-a, -b))
    add("cvt.sat.T.T %d, %a;", lambda a, b, c: saturated(a))
    add("mov.T %d, %a;", lambda a, b, c: a)
    add("setp.lt.T %p, %a, %b; selp.T %d, %a, %b, %p;", lambda a, b, c: a if a < b else b)
    add("slct.T.f32 %d, %a, %b, 0fBF800000;", lambda a, b, c: b)
    for name, round_ in WHOLE.items():
        add(f"cvt.{name}.T.T %d, %a;",
            lambda a, b, c, r=round_: math.copysign(r(a), a) if math.isfinite(a) else a)  # fmt: skip
        for out in ("s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"):
            add(f"cvt.{name}.{out}.T %d, %a;", to_integer(round_, out), out)
    compare = {"eq": lambda a, b: a == b, "ne": lambda a, b: a < b or a > b, "lt": lambda a, b: a < b,
               "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b}  # fmt: skip
    for name, holds in compare.items():
        add(f"setp.{name}.T %p, %a, %b; selp.u32 %d, 1, 0, %p;", lambda a, b, c, h=holds: int(h(a, b)), "u32")
        add(f"setp.{name}u.T %p, %a, %b; selp.u32 %d, 1, 0, %p;",
            lambda a, b, c, h=holds: int(h(a, b) or math.isnan(a) or math.isnan(b)), "u32")  # fmt: skip
    add("setp.num.T %p, %a, %b; selp.u32 %d, 1, 0, %p;",
        lambda a, b, c: int(not (math.isnan(a) or math.isnan(b))), "u32")  # fmt: skip
    add("setp.nan.T %p, %a, %b; selp.u32 %d, 1, 0, %p;",
        lambda a, b, c: int(math.isnan(a) or math.isnan(b)), "u32")  # fmt: skip
    add("set.gt.u32.T %d, %a, %b;", lambda a, b, c: -int(a > b), "u32")
    tiny = 2.0**-126 if n == 32 else 2.0**-1022
    for name, holds in {"finite": math.isfinite, "infinite": math.isinf, "notanumber": math.isnan,
                        "number": lambda x: not math.isnan(x), "normal": lambda x: x == 0 or tiny <= abs(x) < math.inf,
                        "subnormal": lambda x: 0 < abs(x) < tiny}.items():  # fmt: skip
        add(f"testp.{name}.T %p, %a; selp.u32 %d, 1, 0, %p;", lambda a, b, c, h=holds: int(h(a)), "u32")
    return [Case(*case) for case in cases]


def approximate(function: Callable) -> Callable:
    """A function's float64 value; compared after rounding to float32."""
    return number(lambda a, b, c: function(a))


SINGLE = [
    *(
        Case(f"{text.replace('RR', mode)}", exactly("f32", mode, compute), "f32")
        for mode in ("rz", "rm", "rp")
        for text, compute in {
            "add.RR.f32 %d, %a, %b;": lambda a, b, c: a + b,
            "sub.RR.f32 %d, %a, %b;": lambda a, b, c: a - b,
            "mul.RR.f32 %d, %a, %b;": lambda a, b, c: a * b,
            "fma.RR.f32 %d, %a, %b, %c;": lambda a, b, c: a * b + c,
        }.items()
    ),
    Case("ex2.approx.f32 %d, %a;", approximate(np.exp2), "f32"),
    Case("ex2.approx.ftz.f32 %d, %a;", lambda a, b, c: flushed(approximate(np.exp2)(a, b, c)), "f32"),
    Case("lg2.approx.f32 %d, %a;", approximate(np.log2), "f32"),
    Case("tanh.approx.f32 %d, %a;", approximate(np.tanh), "f32"),
    Case("sin.approx.f32 %d, %a;", approximate(np.sin), "f32"),
    Case("cos.approx.f32 %d, %a;", approximate(np.cos), "f32"),
    Case("rcp.approx.f32 %d, %a;", approximate(lambda a: 1 / a), "f32"),
    Case("sqrt.approx.f32 %d, %a;", approximate(np.sqrt), "f32"),
    Case("rsqrt.approx.f32 %d, %a;", approximate(lambda a: 1 / np.sqrt(a)), "f32"),
    Case("div.full.f32 %d, %a, %b;", number(lambda a, b, c: a / b), "f32"),
    Case("div.approx.f32 %d, %a, %b;", number(lambda a, b, c: a / b), "f32"),
    Case("mul.ftz.f32 %d, %a, %b;", number(lambda a, b, c: flushed(np.float32(flushed(a) * flushed(b)))), "f32"),
    Case("add.ftz.f32 %d, %a, %b;", number(lambda a, b, c: flushed(flushed(a) + flushed(b))), "f32"),
    Case("fma.rn.sat.f32 %d, %a, 0f3F000000, 0f3F000000;", lambda a, b, c: saturated(a * 0.5 + 0.5), "f32"),
    Case("cvt.f64.f32 %d, %a;", lambda a, b, c: a, "f64"),
    Case("mov.b32 %d, %a;", lambda a, b, c: int(np.float32(a).view(np.uint32)), "b32"),
    Case("min.NaN.f32 %d, %a, %b;", lambda a, b, c: math.nan if a != a or b != b else smaller(a, b), "f32"),
    Case("setp.lt.ftz.f32 %p, %a, %b; selp.u32 %d, 1, 0, %p;", lambda a, b, c: int(flushed(a) < flushed(b)), "u32"),
]  # fmt: skip
UPPER = -(1 << 32)
DOUBLE = [
    *(
        Case(f"cvt.{mode}.f32.f64 %d, %a;", lambda a, b, c, mode=mode:
             rounded(Fraction(a), "f32", mode) if a and math.isfinite(a) else a, "f32")
        for mode in ("rn", "rz", "rm", "rp")
    ),
    Case("mov.b64 %d, %a;", lambda a, b, c: int(np.float64(a).view(np.uint64)), "b64"),
    Case("rcp.approx.ftz.f64 %d, %c;", lambda a, b, c: None if not 1e-300 < abs(c) < 1e300 else
         float((np.array(1 / c).view(np.int64) & UPPER).view(np.float64)), "f64"),
]  # fmt: skip

GROUPS: dict[str, tuple[str, list[Case]]] = {
    **{type_: (type_, integer_cases(type_)) for type_ in ("s16", "u16", "s32", "u32", "s64", "u64")},
    "words": ("u32", WORDS),
    "f32": ("f32", float_cases("f32")),
    "f64": ("f64", float_cases("f64")),
    "float32 only": ("f32", SINGLE),
    "float64 only": ("f64", DOUBLE),
}

HEADER = """
    .reg .b32 %r, %s, %index; .reg .pred %p, %q; .reg .b64 %place; .reg .b32 %one;
    .reg .{type} %a, %b, %c; .reg .b{bits} %t;
    mov.u32 %index, %tid.x; mad.lo.u32 %index, %ctaid.x, 64, %index; mov.u32 %one, 1;
    setp.ge.u32 %p, %index, %4; @%p ret;
    mad.wide.u32 %place, %index, {size}, %0; ld.global.{type} %a, [%place];
    mad.wide.u32 %place, %index, {size}, %1; ld.global.{type} %b, [%place];
    mad.wide.u32 %place, %index, {size}, %2; ld.global.{type} %c, [%place];
"""
PART = """
    {{ .reg .{out} %d;
    {text}
    mad.lo.u32 %index, %4, {number}, %index; mad.wide.u32 %place, %index, 8, %3; st.global.{out} [%place], %d;
    mul.lo.u32 %r, %4, {number}; sub.u32 %index, %index, %r; }}
"""


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(("checked", "order"), [(False, "forward"), (True, "reverse")])
def test_instructions_compute_what_their_definitions_say(group, checked, order):
    type_, cases = GROUPS[group]
    columns = integers(type_) if type_[0] in "us" else floats(type_)
    rows = len(columns[0])
    body = HEADER.format(type=type_, bits=BITS[type_], size=BITS[type_] // 8) + "".join(
        PART.format(text=case.text, out=wider(case.out), number=number) for number, case in enumerate(cases)
    )
    out = np.zeros((len(cases), rows), np.uint64)
    *_, out = execute(
        assemble(body, "u64 u64 u64 u64 u32"), [*columns, out, rows], -(-rows // 64), 64, checked=checked, order=order
    )
    operands = [column.tolist() for column in columns]
    wrong = [line for case, got in zip(cases, out, strict=True) for line in differences(case, operands, got)]
    assert not wrong, "\n".join(wrong[:20])


def wider(out: str) -> str:
    """Registers of 8 bits don't exist: the sign of a narrow result must have gone into a register of 16."""
    return {"u8": "u16", "s8": "s16"}.get(out, out)


def differences(case: Case, operands: list[list], got: np.ndarray) -> list[str]:
    """A line for the first row where a result is not the expected one."""
    dtype = DTYPES[wider(case.out)]
    values = np.frombuffer(got.tobytes(), dtype)[:: 8 // np.dtype(dtype).itemsize]
    for row, value in enumerate(values.tolist()):
        abc = tuple(column[row] for column in operands)
        expected = case.expect(*abc)
        if expected is None:
            continue
        if case.out[0] == "f":
            with np.errstate(all="ignore"):
                expected = float(np.dtype(dtype).type(expected))
            same = value == expected and math.copysign(1, value) == math.copysign(1, expected)
            same = same or (math.isnan(value) and math.isnan(expected))
        else:
            narrow = signed(expected, BITS[case.out]) if case.out[0] == "s" else wrap(expected, case.out)
            same = value == narrow
        if not same:
            return [f"{case.text} of {abc}: {value} instead of {expected}"]
    return []


def test_every_instruction_of_the_list_is_tested():
    """Somewhere in the tests of the emulator."""
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_emulator_*.py"))
    assert not [name for name in KNOWN if not re.search(rf"\b{name}[.; ]", tests)]
