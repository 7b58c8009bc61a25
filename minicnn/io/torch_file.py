"""PyTorch's .pth and .pt: a pickle that describes tensors, beside the bytes of their storages.

Since PyTorch 1.6 a file is a zip archive, uncompressed:

    NAME/data.pkl     the pickle; in the place of each storage a persistent id, ("storage", type, key, device, length)
    NAME/data/KEY     the bytes of a storage
    NAME/byteorder    "little" or "big" (older files lack it, and are little)

Before, it was five pickles in a row - a magic number, the version, facts about the machine, the object, the keys of the
storages - and behind them for each key the number of elements, in eight bytes, and the elements, little ends first.
https://pytorch.org/docs/stable/notes/serialization.html

The pickle is read as data (restricted_pickle.py): it can describe tensors, and call nothing.
"""

import io
import os
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any

import numpy as np

from .restricted_pickle import MOST_DIMENSIONS, Global, LeftOut, Refused, check_key, read_restricted

MAGIC = 0x1950A86A20F9469CFC6C  # the first of the pickles of an old file
VERSION = 1001
#: Where a training's checkpoint, which holds more than weights, may have them.
PLACES = ("state_dict", "model_state_dict", "model")
DTYPES = {"Double": "f8", "Float": "f4", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1",
          "Byte": "u1", "Bool": "b1"}
OTHERS = {"BFloat16": 2, "ComplexFloat": 8, "ComplexDouble": 16}  # types that are not read: bytes of an element
LONGEST_KEY = 100  # of a storage; PyTorch's are numbers
LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip archive's member: signature, lengths of name and of extra fields


def read_torch(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, in PyTorch's layout: for `load_state_dict(..., layout="torch")`.

    Of a training's checkpoint, the state dict that lies in it under "state_dict", "model_state_dict" or "model"; what
    lies beside it is left out, and so are entries that are None. Tensors that share a storage share memory.
    ValueError, in one line that names the file, if it is broken, holds a whole module, or other numbers than those of
    DTYPES.
    """
    try:
        with open(path, "rb") as file:
            found, storages = _read(file)
            return {name: _array(name, tensor, storages) for name, tensor in _state_dict(found).items()}
    except Exception as error:  # zipfile raises a dozen classes for broken archives
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: not a readable PyTorch file ({reason:.300})") from error


# ---------------------------------------------------------------------------------------------- what a pickle describes

@dataclass(frozen=True)
class _Type:
    """A type of storage, torch.FloatStorage say. It is named, never called."""

    name: str

    def __call__(self, *_: Any) -> None:
        raise Refused(f"would call torch.{self.name}Storage, expected tensors only")


@dataclass(frozen=True)
class _Storage:
    """Numbers in a row, of which tensors show parts."""

    type: str
    key: str
    length: int


@dataclass(frozen=True)
class _Tensor:
    """Where the elements of a tensor are in its storage: the first at `offset`, neighbours along axis i strides[i]
    apart."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Described:
    """The storages that a pickle names, by key."""

    def __init__(self) -> None:
        self.storages: dict[str, _Storage] = {}

    def __call__(self, described: Any) -> _Storage:
        """For a persistent id."""
        if type(described) is not tuple or len(described) not in (5, 6) or _text(described[0]) != "storage":
            raise Refused("names something outside of the pickle that is no storage; save model.state_dict()")
        kind, key, length = described[1], _text(described[2]), described[4]
        if type(kind) is not Global or not isinstance(kind.function, _Type) or key is None:
            raise Refused("names a storage of no known type, or with no key")
        if not _is_size(length) or described[5:] not in ((), (None,)):
            raise Refused(f"names the storage {key!r} without a length, or as a part of another")
        storage = _Storage(kind.function.name, key, length)
        if self.storages.setdefault(key, storage) != storage:
            raise Refused(f"describes the storage {key!r} in two ways")
        return storage


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, _gradient: Any = None, _hooks: Any = None,
                    metadata: Any = None) -> _Tensor:
    """torch._utils._rebuild_tensor and _rebuild_tensor_v2."""
    if type(storage) is not _Storage or not _is_size(offset) or not _are_sizes(shape) or not _are_sizes(strides):
        raise Refused("describes a tensor by what is no storage or no size")
    if len(shape) != len(strides):
        raise Refused(f"describes a tensor of {len(shape)} sizes and {len(strides)} strides")
    if metadata:
        raise Refused("describes a tensor whose numbers are to be conjugated or negated; save tensor.clone()")
    return _Tensor(storage, offset, shape, strides)


def _rebuild_parameter(data: Any, *_: Any) -> _Tensor:
    """torch._utils._rebuild_parameter, and _rebuild_parameter_with_state, whose state are attributes."""
    if type(data) is not _Tensor:
        raise Refused("describes a parameter by what is no tensor")
    return data


def _rebuild_with_attributes(function: Any, _type: Any, arguments: Any, _state: Any) -> _Tensor:
    """torch._tensor._rebuild_from_type_v2: a tensor, or one of a subclass such as nn.Buffer, with attributes."""
    if type(function) is not Global or type(arguments) is not tuple or isinstance(function.function, _Type):
        raise Refused("describes a tensor with attributes by what makes no tensor")
    made = function.function(*arguments)
    if type(made) is not _Tensor:
        raise Refused("describes a tensor with attributes by what makes no tensor")
    return made


def _ordered_dict(*arguments: Any) -> OrderedDict[Any, Any]:
    """OrderedDict(): empty, or as Python 2 wrote it, of a list of pairs."""
    pairs = arguments[0] if arguments else []
    if type(pairs) is not list or not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise Refused("would build an OrderedDict of what are no pairs")
    for key, _ in pairs:
        check_key(key)
    found = OrderedDict(pairs)
    pairs.clear()  # a list that is named again and again would make as many dicts
    return found


TABLE: Mapping[tuple[str, str], Callable[..., Any]] = {
    **{("torch", f"{name}Storage"): _Type(name) for name in (*DTYPES, *OTHERS)},
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_with_attributes,
    ("collections", "OrderedDict"): _ordered_dict,
}


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _are_sizes(values: Any) -> bool:
    return type(values) is tuple and len(values) <= MOST_DIMENSIONS and all(map(_is_size, values))


def _text(value: Any) -> str | None:
    """The key of a storage, which Python 2 wrote as bytes; None if it is no text, or too long."""
    if type(value) not in (str, bytes) or len(value) > LONGEST_KEY:
        return None
    return value.decode("utf-8", "replace") if type(value) is bytes else value


# ------------------------------------------------------------------------------------------------------ the two formats

class _Storages:
    """The numbers of the storages of a file, each read once, when it is first asked for.

    read: gives the bytes of a storage by its key. big: whether a number's big end comes first.
    """

    def __init__(self, read: Callable[[str], bytearray], big: bool = False) -> None:
        self.read = read
        self.big = big
        self.known: dict[str, np.ndarray] = {}

    def array(self, storage: _Storage) -> np.ndarray:
        """All elements of a storage."""
        if storage.type not in DTYPES:
            raise ValueError(f"holds numbers of the type {storage.type}, which is not read; convert them in PyTorch, "
                             "as by tensor.float()")
        if storage.key not in self.known:
            dtype = np.dtype(DTYPES[storage.type])
            content = self.read(storage.key)
            if len(content) != storage.length * dtype.itemsize:
                raise ValueError(f"the storage {storage.key!r} has {len(content)} bytes, and {storage.length} elements "
                                 f"of {dtype.itemsize} are promised")
            self.known[storage.key] = np.frombuffer(content, dtype.newbyteorder(">" if self.big else "<")).astype(
                dtype, copy=False)
        return self.known[storage.key]


def _read(file: IO[bytes]) -> tuple[Any, _Storages]:
    """What the pickle describes, and where its numbers are."""
    first = file.read(4)
    file.seek(0)
    if first == b"PK\x03\x04":
        return _read_zip(file)
    if first[:1] != b"\x80":
        raise ValueError("neither a zip archive nor a row of pickles, as PyTorch writes them")
    # Of a mapped file, what is longer than the file can't be read, nor is memory asked for it.
    with mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
        return _read_old(mapped)


def _read_zip(file: IO[bytes]) -> tuple[Any, _Storages]:
    members = {member.filename: member for member in zipfile.ZipFile(file).infolist()}
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"the archive holds {len(pickles) or 'no'} data.pkl, expected one")
    root, left = pickles[0].removesuffix("data.pkl"), file.seek(0, os.SEEK_END)

    def read(name: str) -> bytearray:
        nonlocal left
        if name not in members:
            raise ValueError(f"the archive lacks {name!r:.120}")
        left -= members[name].file_size  # members may lie on top of each other
        if left < 0:
            raise ValueError(f"{name!r:.120} is more than the archive can hold")
        return _member(file, members[name])

    big = f"{root}byteorder" in members and bytes(read(f"{root}byteorder")).strip() == b"big"
    found = read_restricted(io.BytesIO(read(pickles[0])), TABLE, _Described(), leave_out=True)
    return found, _Storages(lambda key: read(f"{root}data/{key}"), big)


def _member(file: IO[bytes], member: zipfile.ZipInfo) -> bytearray:
    """The bytes of a member. Its checksum isn't looked at: PyTorch can be told not to write one."""
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise ValueError(f"{member.filename!r:.120} is packed or encrypted, which PyTorch's are not")
    file.seek(member.header_offset)
    signature, name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    file.seek(name + extra, os.SEEK_CUR)
    content = bytearray(member.file_size)
    if signature != b"PK\x03\x04" or file.readinto(content) != len(content):  # type: ignore[attr-defined]
        raise ValueError(f"{member.filename!r:.120} is not where the archive says")
    return content


def _read_old(file: Any) -> tuple[Any, _Storages]:
    if read_restricted(file, {}) != MAGIC or read_restricted(file, {}) != VERSION:
        raise ValueError("it begins with another number than PyTorch's")
    read_restricted(file, {})  # facts about the machine, which say nothing about the numbers
    described = _Described()
    found = read_restricted(file, TABLE, described, leave_out=True)
    keys = read_restricted(file, {})
    if type(keys) is not list:
        raise ValueError("its list of storages is none")
    contents = {}
    for key in map(_text, keys):
        if key is None or key not in described.storages:
            raise ValueError(f"the storage {key!r} is not described")
        contents[key] = _old_content(file, described.storages[key])

    def read(key: str) -> bytearray:
        if key not in contents:
            raise ValueError(f"the file lacks the storage {key!r}")
        return contents.pop(key)

    return found, _Storages(read)


def _old_content(file: Any, storage: _Storage) -> bytearray:
    """The bytes of the storage that comes next."""
    length = int.from_bytes(file.read(8), "little")
    wanted = storage.length * (OTHERS.get(storage.type) or np.dtype(DTYPES[storage.type]).itemsize)
    if length != storage.length or len(content := file.read(wanted)) != wanted:
        raise ValueError(f"the storage {storage.key!r} ends before its {wanted} bytes")
    return bytearray(content)


# ----------------------------------------------------------------------------------------------------------- the arrays

def _state_dict(found: Any) -> dict[str, _Tensor]:
    """The state dict itself, or the one that a checkpoint holds."""
    if not isinstance(found, dict):
        name = found.name if isinstance(found, LeftOut) else type(found).__name__
        raise ValueError(f"holds a {name:.80}, expected a state dict; save model.state_dict()")
    named = _named(found)
    inner = [named[place] for place in PLACES if isinstance(named.get(place), dict) and named[place]]
    named = _named(inner[0]) if inner else named
    for name, value in named.items():
        if type(value) is not _Tensor and value is not None:
            what = value.name if isinstance(value, LeftOut) else type(value).__name__
            raise ValueError(f"{name!r:.80} is no tensor but a {what:.80}, nor is there a state dict under "
                             f"{' or '.join(PLACES)}; save model.state_dict() alone")
    return {name: value for name, value in named.items() if value is not None}


def _named(found: dict[Any, Any]) -> dict[str, Any]:
    """With text as keys, which Python 2 wrote as bytes."""
    named = {key.decode("utf-8", "replace") if type(key) is bytes else str(key): value for key, value in found.items()}
    if len(named) < len(found):
        raise ValueError("two of its names read the same")
    return named


def _array(name: str, tensor: _Tensor, storages: _Storages) -> np.ndarray:
    try:
        storage = storages.array(tensor.storage)
    except ValueError as error:
        raise ValueError(f"{name!r:.80}: {error}") from None
    count = int(np.prod(tensor.shape, dtype=object))
    if not count:
        return np.empty(tensor.shape, storage.dtype)
    strides = [stride if size > 1 else 0 for size, stride in zip(tensor.shape, tensor.strides, strict=True)]
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, strides, strict=True))
    if count > len(storage) or last >= len(storage):
        raise ValueError(f"{name!r:.80}: a tensor of shape {tensor.shape!r:.80} is more than its storage of "
                         f"{len(storage)} holds; of one that repeats its numbers, save tensor.contiguous()")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset:], tensor.shape, steps)
