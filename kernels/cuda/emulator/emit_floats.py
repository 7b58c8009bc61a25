"""Floats: arithmetic in each rounding, functions, comparison and selection, conversion."""

import math

from llvmlite import ir

from .emitter import F32, F64, I32, I64, Emitter, Value, bits_of, constant, emits, llvm_type
from .parser import Instruction
from .types import TYPES, PtxType

_LEAST_NORMAL = {F32: 2.0**-126, F64: 2.0**-1022}
_PRED = TYPES["pred"]


def _operands(e: Emitter, i: Instruction) -> list[Value]:
    """The operands, with tiny ones taken as zero where the instruction says so."""
    values = [e.read(operand, i.types[-1], i) for operand in i.operands[1:]]
    return [flush(e, value) for value in values] if "ftz" in i.modifiers else values


def _finish(e: Emitter, i: Instruction, value: Value) -> None:
    if "ftz" in i.modifiers:
        value = flush(e, value)
    if "sat" in i.modifiers:
        value = saturate(e, value)
    e.write(i.operands[0], value, i)


def flush(e: Emitter, value: Value) -> Value:
    """Zero, with its sign, for what is too small for a normal number (.ftz)."""
    tiny = e.builder.fcmp_ordered("<", e.math("fabs", value), constant(value.type, _LEAST_NORMAL[value.type]))
    return e.builder.select(tiny, e.math("copysign", constant(value.type, 0), value), value)


def saturate(e: Emitter, value: Value) -> Value:
    """Between 0 and 1; NaN becomes 0 (.sat)."""
    zero, one = constant(value.type, 0), constant(value.type, 1)
    below = e.builder.select(e.builder.fcmp_ordered("<", value, one), value, one)
    return e.builder.select(e.builder.fcmp_ordered(">", value, zero), below, zero)


def directed(e: Emitter, mode: str, value: Value, error: Value) -> Value:
    """The float32 next to value + error in a direction: rz to zero, rm down, rp up.

    value: float64, the exact result rounded to nearest; error: float64, what that lacks. Processors round to nearest,
    so take the nearest float32, see on which side of the exact result it is, and step back if that is the wrong one.
    """
    b = e.builder
    nearest = b.fptrunc(value, F32)
    back = b.fpext(nearest, F64)
    same, zero = b.fcmp_ordered("==", back, value), constant(F64, 0)
    above = b.or_(b.fcmp_ordered(">", back, value), b.and_(same, b.fcmp_ordered("<", error, zero)))
    below = b.or_(b.fcmp_ordered("<", back, value), b.and_(same, b.fcmp_ordered(">", error, zero)))
    bits = b.bitcast(nearest, I32)
    negative = b.icmp_signed("<", bits, constant(I32, 0))
    is_zero = b.fcmp_ordered("==", nearest, constant(F32, 0))
    towards_zero, away = b.sub(bits, constant(I32, 1)), b.add(bits, constant(I32, 1))
    down = b.select(is_zero, constant(I32, 0x80000001), b.select(negative, away, towards_zero))
    up = b.select(is_zero, constant(I32, 1), b.select(negative, towards_zero, away))
    if mode == "rz":  # where the nearest is zero, it is the answer
        wrong = b.select(negative, below, above)
        stepped = b.select(b.and_(wrong, b.not_(is_zero)), towards_zero, bits)
    elif mode == "rm":
        stepped = b.select(above, down, bits)
    else:
        stepped = b.select(below, up, bits)
    return b.bitcast(stepped, F32)


def _direction(i: Instruction) -> str:
    mode = next((name for name in i.modifiers if name in ("rz", "rm", "rp")), "")
    if mode and i.types[-1].size == 8 and i.name != "cvt":
        raise i.error(f"rounding .{mode} of float64 is not known")
    return mode


def _sum(e: Emitter, a: Value, b: Value) -> tuple[Value, Value]:
    """(a + b rounded, what that lacks): Knuth's TwoSum."""
    total = e.builder.fadd(a, b)
    part = e.builder.fsub(total, a)
    error = e.builder.fadd(
        e.builder.fsub(a, e.builder.fsub(total, part)), e.builder.fsub(b, part)
    )
    return total, error


@emits("add", "sub", "mul", floats=True)
def arithmetic(e: Emitter, i: Instruction) -> None:
    a, b = _operands(e, i)
    mode = _direction(i)
    if mode:
        a, b = e.builder.fpext(a, F64), e.builder.fpext(b, F64)
        if i.name == "mul":
            exact = e.builder.fmul(a, b), constant(F64, 0)  # 48 bits: a float64 holds them
        else:
            exact = _sum(e, a, e.builder.fneg(b) if i.name == "sub" else b)
        _finish(e, i, directed(e, mode, *exact))
    else:
        _finish(e, i, {"add": e.builder.fadd, "sub": e.builder.fsub, "mul": e.builder.fmul}[i.name](a, b))


@emits("fma")
@emits("mad", floats=True)
def fused_multiply_add(e: Emitter, i: Instruction) -> None:
    a, b, c = _operands(e, i)
    mode = _direction(i)
    if mode:
        a, b, c = (e.builder.fpext(value, F64) for value in (a, b, c))
        _finish(e, i, directed(e, mode, *_sum(e, e.builder.fmul(a, b), c)))
    else:
        _finish(e, i, e.math("fma", a, b, c))


@emits("div", floats=True)
def divide(e: Emitter, i: Instruction) -> None:
    _finish(e, i, e.builder.fdiv(*_operands(e, i)))


@emits("abs", "neg", floats=True)
def sign(e: Emitter, i: Instruction) -> None:
    (a,) = _operands(e, i)
    _finish(e, i, e.math("fabs", a) if i.name == "abs" else e.builder.fneg(a))


@emits("copysign")
def copy_sign(e: Emitter, i: Instruction) -> None:
    a, b = _operands(e, i)
    _finish(e, i, e.math("copysign", b, a))


@emits("min", "max", floats=True)
def extreme(e: Emitter, i: Instruction) -> None:
    name = "minimum" if i.name == "min" else "maximum"
    _finish(e, i, e.math(name if "NaN" in i.modifiers else name + "num", *_operands(e, i)))


@emits("rcp", "sqrt", "rsqrt")
def root_or_reciprocal(e: Emitter, i: Instruction) -> None:
    (a,) = _operands(e, i)
    one = constant(a.type, 1)
    if i.name == "rsqrt" and a.type == F32:  # two roundings in float64, one to float32
        wide = e.builder.fpext(a, F64)
        result = e.builder.fptrunc(e.builder.fdiv(constant(F64, 1), e.math("sqrt", wide)), F32)
    else:
        result = a if i.name == "rcp" else e.math("sqrt", a)
        result = result if i.name == "sqrt" else e.builder.fdiv(one, result)
    if "approx" in i.modifiers and a.type == F64:  # a GPU computes the upper half and leaves the lower one zero
        bits = e.builder.and_(e.builder.bitcast(result, I64), constant(I64, -(1 << 32)))
        result = e.builder.bitcast(bits, F64)
    _finish(e, i, result)


@emits("ex2", "lg2", "sin", "cos", "tanh")
def function(e: Emitter, i: Instruction) -> None:
    """The float64 function rounded to float32: at least as exact as a GPU's."""
    (a,) = _operands(e, i)
    name = {"ex2": "exp2", "lg2": "log2"}.get(i.name, i.name)
    wide = e.builder.fpext(a, F64)
    result = e.call("tanh", F64, wide) if name == "tanh" else e.math(name, wide)
    _finish(e, i, e.builder.fptrunc(result, F32))


# ----------------------------------------------------------------------------------------- comparison and selection

_FLOAT = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_UNSIGNED = {"lo": "<", "ls": "<=", "hi": ">", "hs": ">="}


def _compare(e: Emitter, i: Instruction) -> Value:
    """Whether the comparison of operands 1 and 2 holds; `u` after its name: or one of them is NaN."""
    type_, comparison = i.types[-1], i.modifiers[0]
    a, b = (e.read(operand, type_, i) for operand in i.operands[1:3])
    if type_.is_float:
        if "ftz" in i.modifiers:
            a, b = flush(e, a), flush(e, b)
        if comparison in ("num", "nan"):
            return e.builder.fcmp_ordered("ord", a, b) if comparison == "num" else e.builder.fcmp_unordered("uno", a, b)
        if comparison in _FLOAT:
            return e.builder.fcmp_ordered(_FLOAT[comparison], a, b)
        if comparison[:-1] in _FLOAT:
            return e.builder.fcmp_unordered(_FLOAT[comparison[:-1]], a, b)
    elif comparison in _UNSIGNED:
        return e.builder.icmp_unsigned(_UNSIGNED[comparison], a, b)
    elif comparison in _FLOAT:
        compare = e.builder.icmp_signed if type_.is_signed else e.builder.icmp_unsigned
        return compare(_FLOAT[comparison], a, b)
    raise i.error(f"comparison .{comparison} of {type_.name} is not known")


def _combined(e: Emitter, i: Instruction, holds: Value) -> Value:
    """With the predicate that may follow the operands, by .and, .or or .xor."""
    if len(i.operands) < 4:
        return holds
    c = e.read(i.operands[3], _PRED, i)
    combine = {"and": e.builder.and_, "or": e.builder.or_, "xor": e.builder.xor}
    return combine[i.modifiers[1]](holds, c)


@emits("setp")
def set_predicate(e: Emitter, i: Instruction) -> None:
    holds = _compare(e, i)
    target, _, opposite = i.operands[0].partition("|")
    result = _combined(e, i, holds)
    other = _combined(e, i, e.builder.not_(holds)) if opposite else None
    e.write(target, result, i)
    if other is not None:
        e.write(opposite, other, i)


@emits("set")
def set_number(e: Emitter, i: Instruction) -> None:
    type_ = llvm_type(i.types[0])
    yes = constant(type_, 1 if i.types[0].is_float else -1)
    e.write(i.operands[0], e.builder.select(_combined(e, i, _compare(e, i)), yes, constant(type_, 0)), i)


@emits("selp")
def select(e: Emitter, i: Instruction) -> None:
    a, b = (e.read(operand, i.types[0], i) for operand in i.operands[1:3])
    e.write(i.operands[0], e.builder.select(e.read(i.operands[3], _PRED, i), a, b), i)


@emits("slct")
def select_by_sign(e: Emitter, i: Instruction) -> None:
    a, b = (e.read(operand, i.types[0], i) for operand in i.operands[1:3])
    c = e.read(i.operands[3], i.types[1], i)
    if i.types[1].is_float:
        c = flush(e, c) if "ftz" in i.modifiers else c
        first = e.builder.fcmp_ordered(">=", c, constant(c.type, 0))
    else:
        first = e.builder.icmp_signed(">=", c, constant(c.type, 0))
    e.write(i.operands[0], e.builder.select(first, a, b), i)


@emits("testp")
def test(e: Emitter, i: Instruction) -> None:
    a = e.read(i.operands[1], i.types[0], i)
    size, b = e.math("fabs", a), e.builder
    infinity, least = constant(a.type, math.inf), constant(a.type, _LEAST_NORMAL[a.type])
    kind = i.modifiers[0]
    if kind in ("number", "notanumber"):
        result = b.fcmp_ordered("ord", a, a) if kind == "number" else b.fcmp_unordered("uno", a, a)
    elif kind in ("finite", "infinite"):
        result = b.fcmp_ordered("<" if kind == "finite" else "==", size, infinity)
    elif kind == "normal":
        result = b.and_(b.fcmp_ordered("<", size, infinity), b.fcmp_ordered(">=", size, least))
        result = b.or_(result, b.fcmp_ordered("==", a, constant(a.type, 0)))  # zero counts as normal
    else:
        result = b.and_(b.fcmp_ordered("<", size, least), b.fcmp_ordered(">", size, constant(a.type, 0)))
    e.write(i.operands[0], result, i)


# ------------------------------------------------------------------------------------------------------ conversion

_WHOLE = {"rni": "roundeven", "rmi": "floor", "rpi": "ceil", "rzi": "trunc"}


@emits("cvt")
def convert(e: Emitter, i: Instruction) -> None:
    if len(i.types) != 2:
        raise i.error("two types expected")
    to, from_ = i.types
    value = e.read(i.operands[1], from_, i)
    if from_.is_float and "ftz" in i.modifiers and from_.size == 4:
        value = flush(e, value)
    whole = next((_WHOLE[name] for name in i.modifiers if name in _WHOLE), None)
    if from_.is_float and whole:
        value = e.math(whole, value)
    if to.is_float:
        result = _to_float(e, i, value, to, from_)
        if "ftz" in i.modifiers and to.size == 4:
            result = flush(e, result)
        e.write(i.operands[0], saturate(e, result) if "sat" in i.modifiers else result, i)
    else:
        result = _to_integer(e, i, value, to, from_, bool(whole))
        e.write(i.operands[0], result, i, to.is_signed)


def _to_float(e: Emitter, i: Instruction, value: Value, to: PtxType, from_: PtxType) -> Value:
    wanted, mode = llvm_type(to), _direction(i)
    if from_.is_float:
        if from_.size < to.size:
            return e.builder.fpext(value, wanted)
        if from_.size == to.size:
            return value
        return directed(e, mode, value, constant(F64, 0)) if mode else e.builder.fptrunc(value, wanted)
    to_float = e.builder.sitofp if from_.is_signed else e.builder.uitofp
    if mode and (to.size == 8 or from_.size == 8):
        raise i.error(f"rounding .{mode} is known from 32-bit integers to float32")
    return directed(e, mode, to_float(value, F64), constant(F64, 0)) if mode else to_float(value, wanted)


def _to_integer(e: Emitter, i: Instruction, value: Value, to: PtxType, from_: PtxType, whole: bool) -> Value:
    wanted = llvm_type(to)
    if from_.is_float:
        if not whole:
            raise i.error("rni, rzi, rmi or rpi expected")
        sign_ = "s" if to.is_signed else "u"
        return e.call(f"llvm.fpto{sign_}i.sat.i{to.bits}.f{bits_of(value.type)}", wanted, value)
    if "sat" in i.modifiers:
        return _clamped(e, value, to, from_)
    return e.resize(value, wanted, from_.is_signed)


def _clamped(e: Emitter, value: Value, to: PtxType, from_: PtxType) -> Value:
    """An integer as one of another type: the nearest that it holds (.sat)."""
    wide = ir.IntType(2 * max(to.bits, from_.bits))
    value = e.resize(value, wide, from_.is_signed)
    least = -(1 << (to.bits - 1)) if to.is_signed else 0
    most = (1 << (to.bits - to.is_signed)) - 1
    value = e.math("smin", e.math("smax", value, constant(wide, least)), constant(wide, most))
    return e.resize(value, llvm_type(to))
