"""Whole numbers: arithmetic with carries, bits, shifts."""

from llvmlite import ir

from .emitter import I1, I32, I64, Emitter, Value, constant, emits
from .layout import DIVISION
from .liveness import CARRY
from .parser import Instruction
from .types import TYPES

_U32 = TYPES["u32"]


def _operands(e: Emitter, i: Instruction) -> list[Value]:
    return [e.read(operand, i.types[-1], i) for operand in i.operands[1:]]


def _finish(e: Emitter, i: Instruction, value: Value) -> None:
    e.write(i.operands[0], value, i, i.types[-1].is_signed)


def _wide(e: Emitter, value: Value, signed: bool) -> Value:
    return e.resize(value, ir.IntType(2 * value.type.width), signed)


def _carry_out(e: Emitter, value: Value, bits: int) -> None:
    """Keep bit number `bits` of a sum or difference that was made with twice as many."""
    high = e.builder.lshr(value, constant(value.type, bits))
    e.builder.store(e.builder.trunc(high, I1), e.registers[CARRY])


def _carry_in(e: Emitter, type_: ir.IntType) -> Value:
    return e.builder.zext(e.builder.load(e.registers[CARRY], typ=I1), type_)


@emits("add", "sub", floats=False)
@emits("addc", "subc")
def add(e: Emitter, i: Instruction) -> None:
    a, b = _operands(e, i)
    combine = e.builder.sub if i.name.startswith("sub") else e.builder.add
    if "sat" in i.modifiers:
        name = "sadd.sat" if i.name == "add" else "ssub.sat"
        _finish(e, i, e.math(name, a, b))
    elif "cc" in i.modifiers or i.name.endswith("c"):
        total = combine(_wide(e, a, False), _wide(e, b, False))
        if i.name.endswith("c"):
            total = combine(total, _carry_in(e, total.type))
        if "cc" in i.modifiers:
            _carry_out(e, total, a.type.width)
        _finish(e, i, e.resize(total, a.type))
    else:
        _finish(e, i, combine(a, b))


def _half(e: Emitter, i: Instruction, a: Value, b: Value) -> Value:
    """The low or high half of a product, or all of it."""
    if "lo" in i.modifiers:
        return e.builder.mul(a, b)
    signed = i.types[-1].is_signed
    product = e.builder.mul(_wide(e, a, signed), _wide(e, b, signed))
    if "wide" in i.modifiers:
        return product
    if "hi" in i.modifiers:
        return e.builder.trunc(e.builder.lshr(product, constant(product.type, a.type.width)), a.type)
    raise i.error("lo, hi or wide expected")


@emits("mul", floats=False)
def multiply(e: Emitter, i: Instruction) -> None:
    _finish(e, i, _half(e, i, *_operands(e, i)))


@emits("mad", floats=False)
@emits("madc")
def multiply_add(e: Emitter, i: Instruction) -> None:
    type_ = i.types[-1]
    a, b = (e.read(operand, type_, i) for operand in i.operands[1:3])
    product = _half(e, i, a, b)
    if "wide" in i.modifiers:
        c = e.read(i.operands[3], TYPES[f"{type_.kind}{2 * type_.bits}"], i)
        _finish(e, i, e.builder.add(product, c))
        return
    c = e.read(i.operands[3], type_, i)
    if "cc" not in i.modifiers and i.name == "mad":
        _finish(e, i, e.builder.add(product, c))
        return
    total = e.builder.add(_wide(e, product, False), _wide(e, c, False))
    if i.name == "madc":
        total = e.builder.add(total, _carry_in(e, total.type))
    if "cc" in i.modifiers:
        _carry_out(e, total, a.type.width)
    _finish(e, i, e.resize(total, a.type))


@emits("div", "rem", floats=False)
def divide(e: Emitter, i: Instruction) -> None:
    """A processor traps where a GPU gives an unspecified number: by zero (all ones here), and the least by -1."""
    a, b = _operands(e, i)
    builder, type_ = e.builder, a.type
    zero, one, ones = (constant(type_, value) for value in (0, 1, -1))
    by_zero = builder.icmp_unsigned("==", b, zero)
    e.fault_if(by_zero, DIVISION, i)
    divisor = builder.select(by_zero, one, b)
    if i.types[-1].is_signed:
        by_minus_one = builder.icmp_unsigned("==", b, ones)
        divisor = builder.select(by_minus_one, one, divisor)
        plain = builder.sdiv(a, divisor) if i.name == "div" else builder.srem(a, divisor)
        plain = builder.select(by_minus_one, builder.sub(zero, a) if i.name == "div" else zero, plain)
    else:
        plain = builder.udiv(a, divisor) if i.name == "div" else builder.urem(a, divisor)
    _finish(e, i, builder.select(by_zero, ones if i.name == "div" else a, plain))


@emits("abs", "neg", floats=False)
def sign(e: Emitter, i: Instruction) -> None:
    (a,) = _operands(e, i)
    negative = e.builder.sub(constant(a.type, 0), a)
    if i.name == "abs":
        negative = e.builder.select(e.builder.icmp_signed("<", a, constant(a.type, 0)), negative, a)
    _finish(e, i, negative)


@emits("min", "max", floats=False)
def extreme(e: Emitter, i: Instruction) -> None:
    prefix = "s" if i.types[-1].is_signed else "u"
    _finish(e, i, e.math(prefix + i.name, *_operands(e, i)))


@emits("sad")
def sum_of_difference(e: Emitter, i: Instruction) -> None:
    a, b, c = _operands(e, i)
    prefix = "s" if i.types[-1].is_signed else "u"
    difference = e.builder.sub(e.math(prefix + "max", a, b), e.math(prefix + "min", a, b))
    _finish(e, i, e.builder.add(c, difference))


# ------------------------------------------------------------------------------------------------------------ bits


@emits("and", "or", "xor")
def logic(e: Emitter, i: Instruction) -> None:
    a, b = _operands(e, i)
    _finish(e, i, {"and": e.builder.and_, "or": e.builder.or_, "xor": e.builder.xor}[i.name](a, b))


@emits("not", "cnot")
def invert(e: Emitter, i: Instruction) -> None:
    (a,) = _operands(e, i)
    if i.name == "cnot":
        _finish(e, i, e.builder.zext(e.builder.icmp_unsigned("==", a, constant(a.type, 0)), a.type))
    else:
        _finish(e, i, e.builder.xor(a, constant(a.type, -1)))


@emits("lop3")
def lookup(e: Emitter, i: Instruction) -> None:
    """Bit n of the table says what comes out where a, b and c have the bits of n."""
    a, b, c = (e.read(operand, i.types[0], i) for operand in i.operands[1:4])
    table, ones, result = int(i.operands[4].rstrip("U"), 0), constant(I32, -1), constant(I32, 0)
    for row in range(8):
        if table >> row & 1:
            term = ones
            for value, bit in ((a, row & 4), (b, row & 2), (c, row & 1)):
                term = e.builder.and_(term, value if bit else e.builder.xor(value, ones))
            result = e.builder.or_(result, term)
    _finish(e, i, result)


@emits("shl", "shr")
def shift(e: Emitter, i: Instruction) -> None:
    a = e.read(i.operands[1], i.types[0], i)
    amount = e.resize(e.read(i.operands[2], _U32, i), I64)
    bits = a.type.width
    too_large = e.builder.icmp_unsigned(">=", amount, constant(I64, bits))
    safe = e.resize(e.builder.select(too_large, constant(I64, bits - 1), amount), a.type)
    if i.name == "shr" and i.types[0].is_signed:
        result = e.builder.ashr(a, safe)
    else:
        moved = e.builder.shl(a, safe) if i.name == "shl" else e.builder.lshr(a, safe)
        result = e.builder.select(too_large, constant(a.type, 0), moved)
    _finish(e, i, result)


@emits("shf")
def funnel_shift(e: Emitter, i: Instruction) -> None:
    a, b, amount = (e.read(operand, i.types[0], i) for operand in i.operands[1:])
    if "wrap" in i.modifiers:
        amount = e.builder.and_(amount, constant(I32, 31))
    else:
        amount = e.math("umin", amount, constant(I32, 32))
    both = e.builder.or_(e.builder.shl(e.builder.zext(b, I64), constant(I64, 32)), e.builder.zext(a, I64))
    amount = e.builder.zext(amount, I64)
    if "l" in i.modifiers:
        both = e.builder.lshr(e.builder.shl(both, amount), constant(I64, 32))
    else:
        both = e.builder.lshr(both, amount)
    _finish(e, i, e.builder.trunc(both, I32))


@emits("popc", "clz", "brev")
def count_bits(e: Emitter, i: Instruction) -> None:
    (a,) = _operands(e, i)
    if i.name == "brev":
        _finish(e, i, e.math("bitreverse", a))
    elif i.name == "popc":
        _finish(e, i, e.resize(e.math("ctpop", a), I32))
    else:
        _finish(e, i, e.resize(_leading_zeros(e, a), I32))


def _leading_zeros(e: Emitter, a: Value) -> Value:
    return e.call(f"llvm.ctlz.i{a.type.width}", a.type, a, constant(I1, 0))


@emits("bfind")
def find_bit(e: Emitter, i: Instruction) -> None:
    (a,) = _operands(e, i)
    if i.types[0].is_signed:
        a = e.builder.xor(a, e.builder.ashr(a, constant(a.type, a.type.width - 1)))
    zeros = e.resize(_leading_zeros(e, a), I32)
    highest = zeros if "shiftamt" in i.modifiers else e.builder.sub(constant(I32, a.type.width - 1), zeros)
    none = e.builder.icmp_unsigned("==", a, constant(a.type, 0))
    _finish(e, i, e.builder.select(none, constant(I32, -1), highest))


def _byte(e: Emitter, operand: str, i: Instruction, type_: ir.IntType) -> Value:
    """The first bit of a field, or its length: its lowest 8 bits count."""
    return e.resize(e.builder.and_(e.read(operand, _U32, i), constant(I32, 255)), type_)


def _field_mask(e: Emitter, length: Value) -> Value:
    """`length` ones."""
    type_ = length.type
    all_ = e.builder.icmp_unsigned(">=", length, constant(type_, type_.width))
    safe = e.builder.select(all_, constant(type_, 0), length)
    ones = e.builder.sub(e.builder.shl(constant(type_, 1), safe), constant(type_, 1))
    return e.builder.select(all_, constant(type_, -1), ones)


@emits("bfe")
def extract_field(e: Emitter, i: Instruction) -> None:
    a = e.read(i.operands[1], i.types[0], i)
    type_, bits = a.type, a.type.width
    first, length = (_byte(e, operand, i, type_) for operand in i.operands[2:])
    outside = e.builder.icmp_unsigned(">=", first, constant(type_, bits))
    safe = e.builder.select(outside, constant(type_, bits - 1), first)
    if i.types[0].is_signed:
        moved = e.builder.ashr(a, safe)  # beyond the highest bit the field goes on with it
        kept = e.math("umin", length, constant(type_, bits))
        none = e.builder.icmp_unsigned("==", kept, constant(type_, 0))
        rest = e.builder.select(none, constant(type_, 0), e.builder.sub(constant(type_, bits), kept))
        field = e.builder.ashr(e.builder.shl(moved, rest), rest)
        result = e.builder.select(none, constant(type_, 0), field)
    else:
        moved = e.builder.select(outside, constant(type_, 0), e.builder.lshr(a, safe))
        result = e.builder.and_(moved, _field_mask(e, length))
    _finish(e, i, result)


@emits("bfi")
def insert_field(e: Emitter, i: Instruction) -> None:
    a, b = (e.read(operand, i.types[0], i) for operand in i.operands[1:3])
    type_ = a.type
    first, length = (_byte(e, operand, i, type_) for operand in i.operands[3:])
    outside = e.builder.icmp_unsigned(">=", first, constant(type_, type_.width))
    safe = e.builder.select(outside, constant(type_, 0), first)
    mask = e.builder.select(outside, constant(type_, 0), e.builder.shl(_field_mask(e, length), safe))
    put = e.builder.and_(e.builder.shl(a, safe), mask)
    _finish(e, i, e.builder.or_(put, e.builder.and_(b, e.builder.xor(mask, constant(type_, -1)))))


@emits("prmt")
def permute_bytes(e: Emitter, i: Instruction) -> None:
    """Each digit of c names one of eight bytes; its highest bit asks for that byte's sign instead."""
    a, b, c = (e.read(operand, i.types[0], i) for operand in i.operands[1:4])
    both = e.builder.or_(e.builder.shl(e.builder.zext(b, I64), constant(I64, 32)), e.builder.zext(a, I64))
    result = constant(I32, 0)
    for number in range(4):
        digit = e.builder.lshr(c, constant(I32, 4 * number))
        shift = e.builder.shl(e.builder.and_(digit, constant(I32, 7)), constant(I32, 3))
        moved = e.builder.trunc(e.builder.lshr(both, e.builder.zext(shift, I64)), I32)
        byte = e.builder.and_(moved, constant(I32, 255))
        negative = e.builder.icmp_unsigned(">=", byte, constant(I32, 128))
        sign_ = e.builder.select(negative, constant(I32, 255), constant(I32, 0))
        wants_sign = e.builder.trunc(e.builder.lshr(digit, constant(I32, 3)), I1)
        byte = e.builder.select(wants_sign, sign_, byte)
        result = e.builder.or_(result, e.builder.shl(byte, constant(I32, 8 * number)))
    _finish(e, i, result)
