"""The types of PTX, and how an operand that is a number is written."""

import re
import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class PtxType:
    """One type: `.s32` is PtxType("s32", "s", 4). kind: b(its), u(nsigned), s(igned), f(loat), p(redicate)."""

    name: str
    kind: str
    size: int  # bytes

    @property
    def bits(self) -> int:
        return 8 * self.size

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_signed(self) -> bool:
        return self.kind == "s"


TYPES = {f"{kind}{8 * size}": PtxType(f"{kind}{8 * size}", kind, size) for kind in "bus" for size in (1, 2, 4, 8)}
TYPES |= {"f32": PtxType("f32", "f", 4), "f64": PtxType("f64", "f", 8), "pred": PtxType("pred", "p", 1)}

_STRUCT = {"f32": "f", "f64": "d"} | {
    f"{kind}{8 * size}": letter if kind != "s" else letter.lower()
    for kind in "bus"
    for size, letter in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))
}


def struct_letter(type_: PtxType) -> str:
    """The letter of the struct module for a value of this type: "I" for .u32."""
    return _STRUCT[type_.name]


def parse_number(text: str) -> int | float:
    """The value of a literal: `-5`, `0x1F`, `7U`, `0f3F800000` (float32 bits), `0d3FF0...` (float64 bits).

    Raises ValueError for anything else.
    """
    if re.fullmatch(r"0[fF][0-9a-fA-F]{8}", text):
        return struct.unpack(">f", bytes.fromhex(text[2:]))[0]
    if re.fullmatch(r"0[dD][0-9a-fA-F]{16}", text):
        return struct.unpack(">d", bytes.fromhex(text[2:]))[0]
    if match := re.fullmatch(r"(-?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)U?", text):
        digits = match[2]
        base = {"x": 16, "b": 2}.get(digits[1:2].lower(), 8 if digits.startswith("0") else 10)
        value = int(digits, base)
        return -value if match[1] else value
    raise ValueError(f"not a number of PTX: {text!r}")
