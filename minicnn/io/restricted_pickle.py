"""Pickles from strangers, read as data.

A pickle is a program for a small machine with a stack and a memo (`python -m pickletools` prints it). Python's own
reader runs all of it: any function that can be imported may be called. Here only the steps that build numbers, text,
bytes, lists, tuples and dicts are taken, and the only functions called are those of a table that the caller gives.
The restricted subclass of `pickle.Unpickler` that Python's documentation shows would refuse strange functions too, but
not a memo index that makes it allocate gigabytes, a key whose hash takes years, or a state written into a function.
"""

import io
import os
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

Table = Mapping[tuple[str, str], Callable[..., Any]]
Kept = Callable[[Any], Any]

MOST_BYTES = 1 << 30
MOST_DIMENSIONS = 64  # NumPy's own limit
MOST_ARGUMENTS = 16
MOST_KEY = 1 << 60  # larger whole numbers can be chosen so that they meet in one place of a dict
MOST_MEMO = 1 << 32
MOST_STEPS = 2_000_000  # a step of one byte can make an object of a hundred; CIFAR-10's files take 40,000


def load_restricted(source: bytes | str | os.PathLike[str], allowed: Table) -> Any:
    """What the pickle (its bytes, or the path of its file) holds.

    allowed: for each global name that the pickle may use, as (module, name), the function that is called instead of
        it. `NUMPY_ARRAYS` is such a table.

    Text that Python 2 wrote as str comes as bytes. Arrays that share bytes share memory.
    ValueError, in one line that names the file, if the pickle is damaged or wants to build anything else, or more than
    its own bytes can hold. FileNotFoundError if there is no such file.
    """
    name = "pickle" if isinstance(source, bytes) else os.fspath(source)
    content = source if isinstance(source, bytes) else _read_file(Path(source))
    try:
        return read_restricted(io.BytesIO(content), allowed)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error.__cause__


def read_restricted(file: IO[bytes], allowed: Table, kept: Kept | None = None, leave_out: bool = False) -> Any:
    """As `load_restricted`, of a pickle that begins where the file stands; it stands behind the pickle's end then.

    kept: called with each persistent id, by which a pickle names what lies outside of it; without, there may be none.
    leave_out: whatever else a pickle wants to build is not refused but left out: a LeftOut stands in its place.
    """
    try:
        return _Machine(file, allowed, kept, leave_out).run()
    except Refused as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # a damaged program fails in any way: an empty stack, an odd argument, a wrong escape
        reason = " ".join(str(error).split())
        raise ValueError(f"not a readable pickle ({reason or type(error).__name__:.200})") from error


def _read_file(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes, expected a pickle of at most {MOST_BYTES}")
    return path.read_bytes()


class Refused(ValueError):
    """A step that is well formed and not taken. Functions of a table, and `kept`, may raise it too."""


@dataclass(frozen=True)
class Global:
    """A function of the table, on the stack. Nothing but a call can be done with it; `kept` may look at it."""

    function: Callable[..., Any]


@dataclass(frozen=True)
class LeftOut:
    """Stands for what isn't built, whatever is done with it: the name of what the pickle wanted to call."""

    name: str


@dataclass
class _DType:
    """A dtype that is being built: its kind and size first ("u1"), then its byte order."""

    code: str
    order: str = "|"

    def numpy(self) -> np.dtype:
        return np.dtype(self.order + self.code)


class _Machine:
    """Runs one pickle. `stack` holds what is being built, `marks` where groups on it begin."""

    def __init__(self, file: IO[bytes], allowed: Table, kept: Kept | None, leave_out: bool) -> None:
        self.file = file
        self.allowed = allowed
        self.kept = kept
        self.leave_out = leave_out
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.size = self._length()
        self.made = 0  # bytes that calls and arrays added to those of the file

    def _length(self) -> int:
        """Of all of the file."""
        place = self.file.tell()
        self.file.seek(0, os.SEEK_END)
        length = self.file.tell()
        self.file.seek(place)
        return length

    def run(self) -> Any:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(self.file)):
            if number >= MOST_STEPS:
                raise Refused(f"takes more than {MOST_STEPS} steps")
            self.step(opcode.name, argument)
        (result,) = self.stack  # the last step was STOP, or genops would have complained
        return result

    def step(self, name: str, argument: Any) -> None:
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self.stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "INT" | "BININT" | "BININT1" | "BININT2" | "LONG" | "LONG1" | "LONG4" | "FLOAT" | "BINFLOAT":
                self.stack.append(argument)
            case "UNICODE" | "SHORT_BINUNICODE" | "BINUNICODE" | "BINUNICODE8":
                self.stack.append(argument)
            case "SHORT_BINBYTES" | "BINBYTES" | "BINBYTES8":
                self.stack.append(argument)
            case "STRING" | "SHORT_BINSTRING" | "BINSTRING":
                self.stack.append(argument.encode("latin-1"))  # pickletools shows Python 2's bytes as text
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                if not 0 <= argument < MOST_MEMO:
                    raise Refused(f"would remember something under a number above {MOST_MEMO}")
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                self.push_global(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                self.push_global(*self.pop(2))
            case "BINPERSID" if self.kept is not None:
                (name,) = self.pop(1)
                self.stack.append(self.kept(name))
            case "REDUCE" | "NEWOBJ":
                self.call(*self.pop(2))
            case "BUILD":
                self.set_state(*self.pop(2))
            case _:
                self.step_container(name)

    def step_container(self, name: str) -> None:
        match name:
            case "MARK":
                self.marks.append(len(self.stack))
            case "EMPTY_LIST":
                self.stack.append([])
            case "LIST":
                self.stack.append(self.pop_group())
            case "APPEND":
                self.extend(self.pop(1))
            case "APPENDS":
                self.extend(self.pop_group())
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(self.pop(int(name[-1]))))
            case "TUPLE":
                self.stack.append(tuple(self.pop_group()))
            case "EMPTY_DICT":
                self.stack.append({})
            case "DICT":
                items = self.pop_group()
                self.stack.append({})
                self.set_items(items)
            case "SETITEM":
                self.set_items(self.pop(2))
            case "SETITEMS":
                self.set_items(self.pop_group())
            case _:
                raise Refused(f"would take the step {name}, expected arrays only")

    def pop(self, count: int) -> list[Any]:
        """The last `count` things on the stack, which must lie above the last mark."""
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise ValueError("too little on the stack")
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def pop_group(self) -> list[Any]:
        """All that lies above the last mark, and the mark."""
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is LeftOut:
            return
        if type(target) is not list:
            raise ValueError("an item for what is no list")
        target.extend(values)

    def set_items(self, flat: list[Any]) -> None:
        """Keys and values in turn."""
        target = self.stack[-1]
        if type(target) is LeftOut:
            return
        if type(target) not in (dict, OrderedDict):
            raise ValueError("an entry for what is no dict")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            check_key(key)
            target[key] = value

    def push_global(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise Refused("would build what has no name, expected arrays only")
        function = self.allowed.get((module, name))
        if function is None and self.leave_out:
            self.stack.append(LeftOut(f"{module}.{name}"))
            return
        if function is None:
            raise Refused(f"would build {f'{module}.{name}'!r:.80}, expected arrays only")
        self.stack.append(Global(function))

    def call(self, target: Any, arguments: Any) -> None:
        if type(target) is LeftOut:
            self.stack.append(target)
            return
        if type(target) is not Global or type(arguments) is not tuple or len(arguments) > MOST_ARGUMENTS:
            raise Refused("would call what is no function, expected arrays only")
        result = target.function(*arguments)
        self.count(result)
        self.stack.append(result)

    def set_state(self, target: Any, state: Any) -> None:
        if type(target) is np.ndarray:
            _set_array(target, *state)
            self.count(target)
        elif type(target) is _DType:
            _set_byte_order(target, *state)
        elif type(target) is LeftOut or (isinstance(target, OrderedDict) and type(state) is dict):
            pass  # attributes of an OrderedDict: a state dict has the versions of its layers there
        else:
            raise Refused(f"would set the state of a {type(target).__name__}, expected arrays only")
        self.stack.append(target)

    def count(self, made: Any) -> None:
        """The same text can be taken from the memo and made into bytes, and these into an array, again and again."""
        self.made += made.nbytes if isinstance(made, np.ndarray) else len(made) if isinstance(made, bytes) else 0
        if self.made > 2 * self.size:
            raise Refused(f"would build more than its {self.size} bytes can hold")


def check_key(key: Any) -> None:
    """Refused unless it is a plain key of a dict: the hash of tuples nested in each other would take for ever."""
    if type(key) not in (str, bytes, int):
        raise Refused(f"has a dict key of type {type(key).__name__}, expected text, bytes or a number")
    if type(key) is int and abs(key) >= MOST_KEY:
        raise Refused(f"has a dict key above {MOST_KEY}, expected text, bytes or a smaller number")


def _encode(text: Any, encoding: Any) -> bytes:
    """_codecs.encode: how Python 3 writes bytes for protocol 2."""
    if type(text) is not str or encoding != "latin1":
        raise Refused("would encode something else than bytes written as text")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    """__builtin__.bytes: how Python 3 writes empty bytes for protocol 2."""
    return b""


def _empty_array(*_: Any) -> np.ndarray:
    """numpy.core.multiarray._reconstruct: an array whose shape and content come later, with its state."""
    return np.empty(0, np.uint8)


def _make_dtype(code: Any, *_: Any) -> _DType:
    """numpy.dtype. Bools, ints, unsigned ints and floats of known sizes; no objects, text, records or times."""
    code = code.decode("ascii") if isinstance(code, bytes) else code
    if code not in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"):
        raise Refused(f"would build an array of dtype {_show(code)}, expected numbers")
    return _DType(code)


def _not_a_function(*_: Any) -> None:
    """numpy.ndarray, which is only named: as the class that is to be reconstructed."""
    raise Refused("would call numpy.ndarray, expected arrays only")


def _set_byte_order(dtype: _DType, _version: Any, order: Any, *_: Any) -> None:
    order = order.decode("ascii") if isinstance(order, bytes) else order
    if order not in ("<", ">", "|", "="):
        raise Refused(f"would build an array with the byte order {_show(order)}, expected '<', '>', '|' or '='")
    dtype.order = order


def _set_array(array: np.ndarray, _version: Any, shape: Any, dtype: Any, by_columns: Any, content: Any) -> None:
    """The state that NumPy writes for an array; its own reader takes it once the sizes are known to agree."""
    if type(dtype) is not _DType or type(content) is not bytes:
        raise Refused("would build an array of objects, expected numbers")
    sizes = shape if type(shape) is tuple and len(shape) <= MOST_DIMENSIONS else (None,)
    if not all(type(size) is int and 0 <= size <= MOST_BYTES for size in sizes):
        raise Refused(f"would build an array with an impossible shape, expected at most {MOST_DIMENSIONS} sizes")
    promised = int(np.prod(shape, dtype=object)) * dtype.numpy().itemsize
    if promised != len(content):
        raise Refused(f"promises an array {shape!r:.80} of {dtype.code}, {promised} bytes, and has {len(content)}")
    array.__setstate__((1, shape, dtype.numpy(), bool(by_columns), content))  # type: ignore[arg-type]


def _show(value: Any) -> str:
    """Text as it is, of other things only the type: to print tuples nested in each other could take for ever."""
    return f"{value!r:.40}" if isinstance(value, str) else f"of type {type(value).__name__}"


NUMPY_ARRAYS: Table = {
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,  # its name since NumPy 2
    ("numpy", "ndarray"): _not_a_function,
    ("numpy", "dtype"): _make_dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
}
