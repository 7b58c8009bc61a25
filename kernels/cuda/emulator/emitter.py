"""What the translation of every instruction needs: reading operands, writing registers, calling LLVM's functions."""

import re
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir

from .layout import TRAP
from .parser import Entry, Instruction
from .types import PtxType, parse_number

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32, F64, VOID = ir.FloatType(), ir.DoubleType(), ir.VoidType()
POINTER = ir.PointerType()

Value = Any  # of llvmlite.ir

_CLOCKS = {"%clock": 0, "%clock64": 0, "%clock_hi": 32}  # bits to leave out


@cache
def llvm_type(type_: PtxType) -> ir.Type:
    if type_.kind == "p":
        return I1
    if type_.is_float:
        return F32 if type_.size == 4 else F64
    return ir.IntType(type_.bits)


def bits_of(type_: ir.Type) -> int:
    return {F32: 32, F64: 64}.get(type_) or type_.width


def constant(type_: ir.Type, value: float) -> ir.Constant:
    if isinstance(type_, ir.IntType):
        value = int(value) & ((1 << type_.width) - 1)
        if type_.width > 1 and value >> (type_.width - 1):
            value -= 1 << type_.width
        return ir.Constant(type_, bool(value) if type_.width == 1 else value)
    return ir.Constant(type_, float(value))


class Emitter:
    """Emits LLVM's instructions for those of an entry, one after the other.

    The translator (translate.py) makes it, and keeps `builder` where the next instruction goes.
    """

    def __init__(self, entry: Entry, module: ir.Module, checked: bool) -> None:
        self.entry, self.module, self.checked = entry, module, checked
        self.builder: ir.IRBuilder
        self.registers: dict[str, Value] = {}  # a stack slot each, which LLVM turns into registers
        self.special: dict[str, Value] = {}
        self.parameters: Value
        self.board: Value
        self.thread: Value
        self.space_base: dict[str, Callable[[], Value]] = {}  # of shared and local memory: emits its address
        self.stop: Callable[..., tuple[Value, Value]]  # (kind, instruction, *operands) -> what it gives, its flag

    # ------------------------------------------------------------------------------------------------ operands

    def read(self, operand: str, type_: PtxType, instruction: Instruction) -> Value:
        """The value of an operand as this type."""
        wanted = llvm_type(type_)
        if operand in self.registers:
            slot = self.registers[operand]
            return self.fit(self.builder.load(slot, typ=slot.allocated_type), wanted)
        if operand in self.special:
            return self.fit(self.special[operand], wanted)
        if operand in _CLOCKS:
            ticks = self.call("llvm.readcyclecounter", I64)
            return self.fit(self.builder.lshr(ticks, constant(I64, _CLOCKS[operand])), wanted)
        if operand.startswith("!") and operand[1:] in self.registers:
            return self.builder.not_(self.read(operand[1:], type_, instruction))
        if operand.startswith("%"):
            raise instruction.error(f"register {operand} is not known")
        if operand[:1].isdigit() or operand[:1] == "-":
            return self._literal(operand, type_, instruction)
        return self.fit(self.address_of(operand, instruction), wanted)

    def _literal(self, text: str, type_: PtxType, instruction: Instruction) -> Value:
        try:
            number = parse_number(text)
        except ValueError as error:
            raise instruction.error(str(error)) from None
        if isinstance(number, float) and not type_.is_float:
            code = "fI" if text[1] in "fF" else "dQ"
            number = struct.unpack(code[1], struct.pack(code[0], number))[0]
        return constant(llvm_type(type_), number)

    def address_of(self, name: str, instruction: Instruction) -> Value:
        """The address of a variable, `name` or `name+4`, as a 64-bit number."""
        name, _, offset = name.partition("+")
        variable = self.entry.variables.get(name)
        if variable is None:
            raise instruction.error(f"{name} is not known")
        if variable.data is not None:
            base = self.builder.ptrtoint(self.module.get_global(name), I64)
        else:
            base = self.builder.add(self.space_base[variable.space](), constant(I64, variable.offset))
        return self.builder.add(base, constant(I64, int(offset or 0)))

    def address(self, operand: str, instruction: Instruction) -> Value:
        """The address that `[%rd1+8]` or `[name+8]` stands for, as a 64-bit number."""
        inner = operand.strip("[] \t")
        match = re.fullmatch(r"([^+\s]+?)\s*(?:\+\s*(-?\w+))?", inner)
        if not operand.startswith("[") or not match:
            raise instruction.error(f"not an address: {operand}")
        base, offset = match[1], int(match[2] or "0", 0)
        if base in self.entry.registers:
            if self.entry.registers[base].bits != 64:
                raise instruction.error(f"addresses have 64 bits, {base} has {self.entry.registers[base].bits}")
            value = self.builder.load(self.registers[base], typ=I64)
        elif base[:1].isdigit():
            value = constant(I64, int(base, 0))
        else:
            value = self.address_of(base, instruction)
        return self.builder.add(value, constant(I64, offset)) if offset else value

    def write(self, register: str, value: Value, instruction: Instruction, signed: bool = False) -> None:
        """Put a value into a register; into a wider one with its sign, if it has one. `_` takes it and forgets it."""
        if register == "_":
            return
        if register not in self.registers:
            raise instruction.error(f"register {register} is not known")
        slot = self.registers[register]
        self.builder.store(self.fit(value, slot.allocated_type, signed), slot)

    def fit(self, value: Value, wanted: ir.Type, signed: bool = False) -> Value:
        """The same bits as another type; cut off, or continued with zeros or the sign, where the width differs."""
        if value.type == wanted:
            return value
        if not isinstance(value.type, ir.IntType):
            value = self.builder.bitcast(value, ir.IntType(bits_of(value.type)))
        if isinstance(wanted, ir.IntType):
            return self.resize(value, wanted, signed)
        return self.builder.bitcast(self.resize(value, ir.IntType(bits_of(wanted)), signed), wanted)

    def resize(self, value: Value, wanted: ir.IntType, signed: bool = False) -> Value:
        if value.type.width == wanted.width:
            return value
        if value.type.width > wanted.width:
            return self.builder.trunc(value, wanted)
        return self.builder.sext(value, wanted) if signed else self.builder.zext(value, wanted)

    # ------------------------------------------------------------------------------------------------- helpers

    def call(self, name: str, returns: ir.Type, *arguments: Value) -> Value:
        """Call a function of LLVM's or of the checks'."""
        function = self.module.globals.get(name)
        if function is None:
            function = ir.Function(self.module, ir.FunctionType(returns, [value.type for value in arguments]), name)
        return self.builder.call(function, arguments)

    def math(self, name: str, *arguments: Value) -> Value:
        """llvm.NAME for the type of the arguments."""
        type_ = arguments[0].type
        suffix = f"i{type_.width}" if isinstance(type_, ir.IntType) else f"f{bits_of(type_)}"
        return self.call(f"llvm.{name}.{suffix}", type_, *arguments)

    def fault_if(self, condition: Value, kind: int, instruction: Instruction) -> None:
        """In checked mode: note a fault of this kind where the condition holds."""
        if self.checked:
            with self.builder.if_then(condition, likely=False):
                self.call(
                    "note_fault", VOID, self.board, constant(I32, kind), self.thread, constant(I32, instruction.number)
                )

    def trap(self, instruction: Instruction) -> None:
        self.fault_if(constant(I1, 1), TRAP, instruction)


Handler = Callable[[Emitter, Instruction], None]
HANDLERS: dict[tuple[str, bool | None], Handler] = {}


def emits(*names: str, floats: bool | None = None) -> Callable[[Handler], Handler]:
    """Say that a function translates these instructions; floats: only for that kind of type."""

    def note(handler: Handler) -> Handler:
        HANDLERS.update({(name, floats): handler for name in names})
        return handler

    return note
