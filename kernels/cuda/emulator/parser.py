"""PTX text -> an Entry: its parameters, variables, registers and a flat list of instructions."""

import re
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod

from .faults import PtxError
from .types import TYPES, PtxType, parse_number, struct_letter


@dataclass(frozen=True)
class Instruction:
    """`@!%p1 ld.global.nc.v2.f32 {%f1, %f2}, [%rd1+8];` taken apart.

    name "ld"; modifiers ("global", "nc", "v2"); types (f32,); operands ("{%f1, %f2}", "[%rd1+8]");
    predicate "%p1", negated True.
    """

    number: int  # its index in the entry's list
    line: int
    text: str
    name: str
    modifiers: tuple[str, ...]
    types: tuple[PtxType, ...]
    operands: tuple[str, ...]
    predicate: str | None = None
    negated: bool = False

    @property
    def opcode(self) -> str:
        return ".".join((self.name, *self.modifiers, *(type_.name for type_ in self.types)))

    def error(self, message: str) -> PtxError:
        return PtxError(message, self.line, self.text)


@dataclass(frozen=True)
class Parameter:
    offset: int  # bytes from the start of the packed parameters
    type: PtxType


@dataclass(frozen=True)
class Variable:
    """A named piece of memory. space: shared, local, global or const; offset: within the shared or local memory."""

    space: str
    size: int  # bytes; 0: dynamic shared memory
    align: int
    offset: int = 0
    data: bytes | None = None  # of the global and const ones


@dataclass
class Entry:
    """A kernel as PTX has it, an `.entry`, taken apart."""

    name: str
    target: str  # "sm_80"
    parameters: dict[str, Parameter] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    registers: dict[str, PtxType] = field(default_factory=dict)
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)  # name -> index of the instruction that follows
    branch_tables: dict[str, tuple[str, ...]] = field(default_factory=dict)
    format: str = "@"  # of the packed parameters, for struct
    most_threads: int | None = None  # of a block, where the kernel was compiled for so many
    shared_size: int = 0  # bytes of static shared memory; the dynamic follows
    local_size: int = 0  # bytes of local memory a thread


_ENTRY = re.compile(r"\.entry\s+([\w$]+)\s*\(([^)]*)\)([^{;]*)\{")
_PARAMETER = re.compile(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+([\w$]+)\s*(\[\d+\])?\s*")
_VARIABLE = re.compile(
    r"\.(shared|local|global|const)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)((?:\[\d*\])*)\s*(?:=\s*([^;]*))?;"
)
_REGISTER = re.compile(r"\.reg\s+\.(\w+)\s+([^;]+);")
_INSTRUCTION = re.compile(r"(?:@(!?)(%[\w$]+)\s+)?([a-z][\w.:]*)\s*(.*);", re.DOTALL)
_LABEL = re.compile(r"([A-Za-z_$%][\w$]*)\s*:(?!:)")
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+")
_NO_MEANING = re.compile(r"^[ \t]*\.(?:loc|file|section|pragma)\b[^\n]*$", re.MULTILINE)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def parse(ptx: str) -> Entry:
    """Take apart PTX with one kernel (`.entry`). Raises PtxError, with the line, where it is not understood."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", _blank, ptx, flags=re.DOTALL)  # lines keep their numbers
    text = _NO_MEANING.sub(_blank, text)
    lines = [match.start() for match in re.finditer("\n", text)]

    def line(position: int) -> int:
        return bisect_right(lines, position - 1) + 1

    if function := re.search(r"\.func\b\s*(?:\([^)]*\))?\s*([\w$]+)", text):
        raise PtxError(f"functions are not known, only a kernel: .func {function[1]}", line(function.start()), ".func")
    entries = list(_ENTRY.finditer(text))
    if len(entries) != 1:
        raise PtxError(f"one kernel (.entry) expected, {len(entries)} found")
    found, target = entries[0], re.search(r"\.target\s+(\w+)", text)
    end = text.rfind("}")
    if end < found.end():
        raise PtxError("the kernel does not end: no closing brace", line(found.start()), found[1])
    entry = Entry(found[1], target[1] if target else "")
    _parameters(entry, found[2], line(found.start(2)))
    if bounds := re.search(r"\.maxntid\s+([\d\s,]+)", found[3]):
        entry.most_threads = prod(int(size) for size in bounds[1].split(","))
    head, body = text[: found.start()], text[found.end() : end]
    for match in _VARIABLE.finditer(head):
        _variable(entry, match, line(match.start()))
    _Body(entry).parse(body, lambda position: line(found.end() + position))
    _put_dynamic_shared(entry)
    return entry


def _type(name: str, line: int, text: str) -> PtxType:
    if name not in TYPES:
        raise PtxError(f"type .{name} is not known", line, text)
    return TYPES[name]


def _parameters(entry: Entry, text: str, line: int) -> None:
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _PARAMETER.fullmatch(part)
        if not match or match[3]:
            raise PtxError("only parameters that are one number or pointer are known", line, part)
        type_ = _type(match[1], line, part)
        offset = -(-struct.calcsize(entry.format) // type_.size) * type_.size
        entry.parameters[match[2]] = Parameter(offset, type_)
        entry.format += struct_letter(type_)


def _variable(entry: Entry, match: re.Match[str], line: int) -> None:
    space, align_text, type_name, name, dimensions, values = match.groups()
    type_ = _type(type_name, line, match[0])
    align = max(int(align_text or 1), type_.size)
    counts = [int(count or 0) for count in re.findall(r"\[(\d*)\]", dimensions)]
    size = type_.size
    for count in counts:
        size *= count
    offset, data = 0, None
    if space == "shared":
        offset = -(-entry.shared_size // align) * align
        entry.shared_size = offset + size
    elif space == "local":
        offset = -(-entry.local_size // align) * align
        entry.local_size = offset + size
    else:
        data = _data(values, type_, line).ljust(size, b"\0")
    entry.variables[name] = Variable(space, size, align, offset, data)


def _put_dynamic_shared(entry: Entry) -> None:
    """Arrays without a size begin where the static shared memory ends, wherever they are declared."""
    for name, variable in entry.variables.items():
        if variable.space == "shared" and not variable.size:
            align = max(variable.align, 16)
            entry.shared_size = -(-entry.shared_size // align) * align
            entry.variables[name] = replace(variable, offset=entry.shared_size)


def _data(values: str | None, type_: PtxType, line: int) -> bytes:
    """The bytes of an initialiser, `{1, 2, 3}`."""
    numbers = re.findall(r"[^\s,{}]+", values or "")
    try:
        letter = struct_letter(type_)
        parsed = [parse_number(number) for number in numbers]
        return struct.pack(f"<{len(parsed)}{letter}", *parsed)
    except (ValueError, struct.error) as error:
        raise PtxError("only initial values that are numbers are known", line, str(values)) from error


class _Body:
    """Reads what stands between an entry's braces. Braces within open a scope that may declare registers of its own."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.scopes: list[dict[str, str]] = [{}]  # a register's name in the text -> its name in the entry

    def parse(self, text: str, line_of) -> None:
        for position, kind, piece in self._pieces(text, line_of):
            line = line_of(position)
            if kind == "label":
                if piece in self.entry.labels:
                    raise PtxError("label defined twice", line, piece)
                self.entry.labels[piece] = len(self.entry.instructions)
            elif kind == "{":
                self.scopes.append({})
            elif kind == "}":
                if len(self.scopes) == 1:
                    raise PtxError("closing brace without an opening one", line, piece)
                self.scopes.pop()
            elif piece.startswith("."):
                self._directive(piece, line)
            else:
                self.entry.instructions.append(self._instruction(piece, line))
        if len(self.scopes) != 1:
            raise PtxError("a brace is not closed")
        self._check_labels()

    def _pieces(self, text: str, line_of) -> Iterator[tuple[int, str, str]]:
        """(position, "label" | "{" | "}" | "statement", text) of each piece, in order."""
        position = 0
        while True:
            while position < len(text) and text[position].isspace():
                position += 1
            if position == len(text):
                return
            if text[position] in "{}":
                yield position, text[position], text[position]
                position += 1
            elif label := _LABEL.match(text, position):
                yield position, "label", label[1]
                position = label.end()
            else:
                end = text.find(";", position) + 1
                if not end:
                    raise PtxError("a semicolon is missing", line_of(position), text[position:].strip())
                yield position, "statement", text[position:end]
                position = end

    def _directive(self, text: str, line: int) -> None:
        if match := _REGISTER.fullmatch(text):
            type_ = _type(match[1], line, text)
            for name in (piece.strip() for piece in match[2].split(",")):
                if many := re.fullmatch(r"(%[\w$]+)<(\d+)>", name):
                    for number in range(int(many[2])):
                        self._declare(f"{many[1]}{number}", type_)
                else:
                    self._declare(name, type_)
        elif match := _VARIABLE.fullmatch(text):
            _variable(self.entry, match, line)
        elif match := re.fullmatch(r"\.branchtargets\s+(.*);", text, re.DOTALL):
            names = [name for name, index in self.entry.labels.items() if index == len(self.entry.instructions)]
            targets = tuple(target.strip() for target in match[1].split(","))
            self.entry.branch_tables |= dict.fromkeys(names, targets)
        else:
            raise PtxError("directive not known", line, text)

    def _declare(self, name: str, type_: PtxType) -> None:
        unique = name
        while unique in self.entry.registers:  # an inner scope may use a name again
            unique += "'"
        self.scopes[-1][name] = unique
        self.entry.registers[unique] = type_

    def _resolve(self, text: str) -> str:
        """The operand with the names that its registers have in the entry."""

        def name(match: re.Match[str]) -> str:
            return next((scope[match[0]] for scope in reversed(self.scopes) if match[0] in scope), match[0])

        return re.sub(r"%[\w$]+", name, text)

    def _instruction(self, text: str, line: int) -> Instruction:
        match = _INSTRUCTION.fullmatch(text)
        if not match:
            raise PtxError("not an instruction", line, text)
        name, *parts = match[3].split(".")
        types: list[PtxType] = []
        while parts and parts[-1] in TYPES:
            types.insert(0, TYPES[parts.pop()])
        operands = tuple(self._resolve(operand) for operand in _OPERAND.findall(match[4]))
        predicate = self._resolve(match[2]) if match[2] else None
        text = " ".join(text.split())
        number = len(self.entry.instructions)
        return Instruction(number, line, text, name, tuple(parts), tuple(types), operands, predicate, bool(match[1]))

    def _check_labels(self) -> None:
        for targets in self.entry.branch_tables.values():
            for target in targets:
                if target not in self.entry.labels:
                    raise PtxError(f"label {target} does not exist")
        for instruction in self.entry.instructions:
            if instruction.name == "bra" and instruction.operands[0] not in self.entry.labels:
                raise instruction.error(f"label {instruction.operands[0]} does not exist")
