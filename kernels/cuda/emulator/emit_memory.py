"""Moving numbers: between registers, to and from memory, atomically, and between the threads of a warp or block."""

from contextlib import AbstractContextManager, nullcontext

from llvmlite import ir

from . import layout
from .emitter import I1, I32, I64, POINTER, Emitter, Value, constant, emits, llvm_type
from .parser import Instruction
from .types import TYPES

_SPACES = {"global": layout.GLOBAL, "shared": layout.SHARED, "local": layout.LOCAL, "const": layout.GLOBAL}
_U32, _PRED = TYPES["u32"], TYPES["pred"]


def _tuple(operand: str) -> list[str]:
    """The registers in `{%f1, %f2}`, or the only one."""
    return [name.strip() for name in operand.strip("{}").split(",")]


@emits("mov")
def move(e: Emitter, i: Instruction) -> None:
    type_, (target, source) = i.types[0], i.operands
    if source.startswith("{"):
        _pack(e, i, target, _tuple(source))
    elif target.startswith("{"):
        _unpack(e, i, _tuple(target), source)
    else:
        e.write(target, e.read(source, type_, i), i)


def _pack(e: Emitter, i: Instruction, target: str, sources: list[str]) -> None:
    """Several registers as the parts of a wide one, the first lowest."""
    wide, part = llvm_type(i.types[0]), TYPES[f"b{i.types[0].bits // len(sources)}"]
    result = constant(wide, 0)
    for number, source in enumerate(sources):
        value = e.resize(e.read(source, part, i), wide)
        result = e.builder.or_(result, e.builder.shl(value, constant(wide, number * part.bits)))
    e.write(target, result, i)


def _unpack(e: Emitter, i: Instruction, targets: list[str], source: str) -> None:
    wide, part = llvm_type(i.types[0]), ir.IntType(i.types[0].bits // len(targets))
    value = e.read(source, i.types[0], i)
    for number, target in enumerate(targets):
        shifted = e.builder.lshr(value, constant(wide, number * part.width))
        e.write(target, e.builder.trunc(shifted, part), i)


@emits("cvta")
def convert_address(e: Emitter, i: Instruction) -> None:
    e.write(i.operands[0], e.read(i.operands[1], i.types[0], i), i)


# ---------------------------------------------------------------------------------------------------------- memory


def _access(e: Emitter, i: Instruction, address: Value, kind: int, count: int = 1) -> AbstractContextManager:
    """What runs inside `with` accesses memory: in checked mode only if the access is sound."""
    space = next((_SPACES[name] for name in i.modifiers if name in _SPACES), layout.GENERIC)
    if not e.checked:
        return nullcontext()
    numbers = (i.types[-1].size, count, kind, space)
    sound = e.call(
        "check_access", I32, e.board, address, *(constant(I32, n) for n in numbers), e.thread, constant(I32, i.number)
    )
    return e.builder.if_then(e.builder.trunc(sound, I1), likely=True)


def _count(i: Instruction) -> int:
    return next((int(name[1]) for name in i.modifiers if name in ("v2", "v4")), 1)


@emits("ld", "ldu")
def load(e: Emitter, i: Instruction) -> None:
    type_, count = i.types[0], _count(i)
    targets, element = _tuple(i.operands[0]), llvm_type(type_)
    if len(targets) != count:
        raise i.error(f"{count} registers expected")
    if "param" in i.modifiers:
        _load_parameter(e, i)
        return
    address = e.address(i.operands[1], i)
    with _access(e, i, address, layout.READ, count):
        pointer = e.builder.inttoptr(address, POINTER)
        if count == 1:
            e.write(targets[0], e.builder.load(pointer, typ=element, align=1), i, type_.is_signed)
        else:
            vector = e.builder.load(pointer, typ=ir.VectorType(element, count), align=1)
            for number, target in enumerate(targets):
                e.write(target, e.builder.extract_element(vector, constant(I32, number)), i, type_.is_signed)


def _load_parameter(e: Emitter, i: Instruction) -> None:
    name, _, offset = i.operands[1].strip("[] ").partition("+")
    parameter, type_ = e.entry.parameters.get(name), i.types[0]
    if parameter is None:
        raise i.error(f"parameter {name} is not known")
    start = int(offset or 0)
    if start < 0 or start + type_.size > parameter.type.size:
        raise i.error(f"outside the parameter, which has {parameter.type.size} bytes")
    pointer = e.builder.gep(e.parameters, [constant(I64, parameter.offset + start)], source_etype=ir.IntType(8))
    e.write(i.operands[0], e.builder.load(pointer, typ=llvm_type(type_)), i, type_.is_signed)


@emits("st")
def store(e: Emitter, i: Instruction) -> None:
    type_, count = i.types[0], _count(i)
    values = [e.read(source, type_, i) for source in _tuple(i.operands[1])]
    if len(values) != count:
        raise i.error(f"{count} registers expected")
    address = e.address(i.operands[0], i)
    with _access(e, i, address, layout.WRITE, count):
        pointer, value = e.builder.inttoptr(address, POINTER), values[0]
        if count > 1:
            value = ir.Constant(ir.VectorType(llvm_type(type_), count), ir.Undefined)
            for number, part in enumerate(values):
                value = e.builder.insert_element(value, part, constant(I32, number))
        e.builder.store(value, pointer, align=1)


_ATOMIC = {"and": "and", "or": "or", "xor": "xor", "exch": "xchg", "inc": "uinc_wrap", "dec": "udec_wrap"}
_OPERATIONS = ("add", "min", "max", "and", "or", "xor", "inc", "dec", "exch", "cas")


@emits("atom", "red")
def atomic(e: Emitter, i: Instruction) -> None:
    """In fast mode blocks run on both cores: the processor's own atomic instructions."""
    type_, operands = i.types[0], i.operands if i.name == "red" else i.operands[1:]
    operation = next((name for name in i.modifiers if name in _OPERATIONS), None)
    values = [e.read(operand, type_, i) for operand in operands[1:]]
    if operation is None or len(values) != (2 if operation == "cas" else 1):
        raise i.error("operation or operands not understood")
    address = e.address(operands[0], i)
    with _access(e, i, address, layout.ATOMIC):
        pointer = e.builder.inttoptr(address, POINTER)
        if operation == "cas":
            compare, value = values
            pair = e.builder.cmpxchg(pointer, compare, value, "monotonic", "monotonic")
            old = e.builder.extract_value(pair, 0)
        else:
            if type_.is_float and operation != "add":
                raise i.error(f"atomic {operation} of floats is not known")
            if operation == "add":
                name = "fadd" if type_.is_float else "add"
            elif operation in ("min", "max"):
                name = operation if type_.is_signed else "u" + operation
            else:
                name = _ATOMIC[operation]
            old = e.builder.atomic_rmw(name, pointer, values[0], "monotonic")
        if i.name == "atom":
            e.write(i.operands[0], old, i, type_.is_signed)


@emits("membar", "fence")
def fence(e: Emitter, i: Instruction) -> None:
    e.builder.fence("seq_cst")


# ------------------------------------------------------------------------------------------- threads that wait

_SHUFFLES = {"up": layout.SHFL_UP, "down": layout.SHFL_DOWN, "bfly": layout.SHFL_BFLY, "idx": layout.SHFL_IDX}
_VOTES = {"all": layout.VOTE_ALL, "any": layout.VOTE_ANY, "uni": layout.VOTE_UNI, "ballot": layout.VOTE_BALLOT}
_BARRIERS = {"popc": layout.BAR_POPC, "and": layout.BAR_AND, "or": layout.BAR_OR}


@emits("bar", "barrier")
def barrier(e: Emitter, i: Instruction) -> None:
    if "warp" in i.modifiers:
        e.stop(layout.BAR_WARP, i, mask=e.read(i.operands[0], _U32, i))
        return
    number = i.operands[1] if "red" in i.modifiers else i.operands[0]
    if number != "0" or len(i.operands) != (3 if "red" in i.modifiers else 1):
        raise i.error("only barrier 0, of the whole block, is known")
    if "red" in i.modifiers:
        kind = next((_BARRIERS[name] for name in i.modifiers if name in _BARRIERS), None)
        if kind is None:
            raise i.error("popc, and or or expected")
        result, _ = e.stop(kind, i, value=e.builder.zext(e.read(i.operands[2], _PRED, i), I32))
        e.write(i.operands[0], result if kind == layout.BAR_POPC else e.builder.trunc(result, I1), i)
    else:
        e.stop(layout.BAR, i)


@emits("shfl")
def shuffle(e: Emitter, i: Instruction) -> None:
    kind = next((_SHUFFLES[name] for name in i.modifiers if name in _SHUFFLES), None)
    if kind is None or "sync" not in i.modifiers:
        raise i.error("shfl.sync with up, down, bfly or idx expected")
    value, second, third, mask = (e.read(operand, _U32, i) for operand in i.operands[1:])
    result, flag = e.stop(kind, i, value=value, second=second, third=third, mask=mask)
    target, _, predicate = i.operands[0].partition("|")
    e.write(target, result, i)
    if predicate:
        e.write(predicate, e.builder.trunc(flag, I1), i)


@emits("vote")
def vote(e: Emitter, i: Instruction) -> None:
    kind = next((_VOTES[name] for name in i.modifiers if name in _VOTES), None)
    if kind is None or "sync" not in i.modifiers:
        raise i.error("vote.sync with all, any, uni or ballot expected")
    value = e.builder.zext(e.read(i.operands[1], _PRED, i), I32)
    result, _ = e.stop(kind, i, value=value, mask=e.read(i.operands[2], _U32, i))
    e.write(i.operands[0], result if kind == layout.VOTE_BALLOT else e.builder.trunc(result, I1), i)


@emits("activemask")
def active_mask(e: Emitter, i: Instruction) -> None:
    result, _ = e.stop(layout.ACTIVEMASK, i)
    e.write(i.operands[0], result, i)


@emits("nanosleep")
def sleep(e: Emitter, i: Instruction) -> None:
    """Nothing to wait for."""
