"""PyTorch's .pth and .pt: a pickle that describes tensors, beside the bytes of their storages.

Since PyTorch 1.6 a file is a zip archive, uncompressed:

    NAME/data.pkl     the pickle; in the place of each storage a persistent id, ("storage", type, key, device, length)
    NAME/data/KEY     the bytes of a storage
    NAME/byteorder    "little" or "big" (older files lack it, and are little)

Before, it was five pickles in a row - a magic number, the version, facts about the machine, the object, the keys of the
storages - and behind them for each key the number of elements, in eight bytes, and the elements.
https://pytorch.org/docs/stable/notes/serialization.html

The pickle is read as data (restricted_pickle.py): it can describe tensors, and call nothing.
"""

import io
import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any

import numpy as np

from .restricted_pickle import Global, Refused, read_restricted

MAGIC = 0x1950A86A20F9469CFC6C  # the first of the pickles of an old file
VERSION = 1001
#: Where a training's checkpoint, which holds more than weights, may have them.
PLACES = ("state_dict", "model_state_dict", "model")
DTYPES = {"Double": "f8", "Float": "f4", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1",
          "Byte": "u1", "Bool": "b1"}
OTHERS = {"BFloat16": 2, "ComplexFloat": 8, "ComplexDouble": 16}  # types that are not read: bytes of an element


def read_torch(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, in PyTorch's layout: for `load_state_dict(..., layout="torch")`.

    Of a training's checkpoint, the state dict that lies in it under "state_dict", "model_state_dict" or "model".
    ValueError, in one line that names the file, if it is broken, holds a whole module, or anything but numbers that
    NumPy has.
    """
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            found, storages = _read_zip(file) if zipped else _read_old(file)
            return {name: _array(name, tensor, storages) for name, tensor in _state_dict(found).items()}
    except Exception as error:  # zipfile raises a dozen classes for broken archives
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: not a readable PyTorch file ({reason})") from error


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


def _kept(described: Any) -> _Storage:
    """A persistent id."""
    if type(described) is not tuple or len(described) < 5 or _text(described[0]) != "storage":
        raise Refused("names something outside of the pickle that is no storage")
    kind, key, length = described[1], _text(described[2]), described[4]
    if type(kind) is not Global or not isinstance(kind.function, _Type) or type(key) is not str:
        raise Refused("names a storage of no type or no key")
    if not _are_sizes((length,)) or any(part is not None for part in described[5:]):
        raise Refused(f"names the storage {key!r:.80} without a length, or as a part of another")
    return _Storage(kind.function.name, key, length)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    """torch._utils._rebuild_tensor and _rebuild_tensor_v2; what follows is about gradients."""
    if type(storage) is not _Storage or not _are_sizes((offset,)) or not _are_sizes(shape) or not _are_sizes(strides):
        raise Refused("describes a tensor by what is no storage or no size")
    if len(shape) != len(strides):
        raise Refused(f"describes a tensor of {len(shape)} sizes and {len(strides)} strides")
    return _Tensor(storage, offset, shape, strides)


def _rebuild_parameter(data: Any, *_: Any) -> _Tensor:
    if type(data) is not _Tensor:
        raise Refused("describes a parameter by what is no tensor")
    return data


def _ordered_dict(*arguments: Any) -> OrderedDict[Any, Any]:
    """OrderedDict(): empty, or as Python 2 wrote it, of a list of pairs."""
    pairs = arguments[0] if arguments else []
    if type(pairs) is not list or not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise Refused("would build an OrderedDict of what are no pairs")
    if not all(type(key) in (str, bytes, int) for key, _ in pairs):
        raise Refused("would build an OrderedDict with keys that are neither text nor numbers")
    return OrderedDict(pairs)


TABLE: Mapping[tuple[str, str], Callable[..., Any]] = {
    **{("torch", f"{name}Storage"): _Type(name) for name in (*DTYPES, *OTHERS)},
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("collections", "OrderedDict"): _ordered_dict,
}


def _are_sizes(values: Any) -> bool:
    return type(values) is tuple and all(type(value) is int and 0 <= value < 1 << 62 for value in values)


def _text(value: Any) -> Any:
    """Python 2 wrote names as bytes."""
    return value.decode("utf-8", "replace") if type(value) is bytes else value


# ------------------------------------------------------------------------------------------------------ the two formats

class _Storages:
    """The bytes of the storages of a file, each read once, when it is first asked for."""

    def __init__(self, read: Callable[[str], bytes | bytearray], order: str = "<") -> None:
        self.read = read
        self.order = order
        self.known: dict[str, np.ndarray] = {}

    def array(self, storage: _Storage) -> np.ndarray:
        """All elements of a storage."""
        if storage.type not in DTYPES:
            raise ValueError(f"holds numbers of the type {storage.type}, which is not read; convert them in "
                             "PyTorch, as by tensor.float()")
        dtype = np.dtype(self.order + DTYPES[storage.type])
        if storage.key not in self.known:
            self.known[storage.key] = np.frombuffer(bytearray(self.read(storage.key)), np.uint8)
        content = self.known[storage.key]
        if len(content) != storage.length * dtype.itemsize:
            raise ValueError(f"the storage {storage.key!r:.80} has {len(content)} bytes, and {storage.length} elements "
                             f"of {dtype.itemsize} are promised")
        return content.view(dtype)


def _read_zip(file: IO[bytes]) -> tuple[Any, _Storages]:
    archive = zipfile.ZipFile(file)
    (pickle,) = [name for name in archive.namelist() if name.endswith("/data.pkl")] or [""]
    if not pickle:
        raise ValueError("the archive holds no data.pkl")
    members, size, taken = archive.NameToInfo, file.seek(0, os.SEEK_END), 0

    def read(name: str) -> bytes:
        nonlocal taken
        member = members.get(name)
        if member is None:
            raise ValueError(f"the archive lacks {name!r:.120}")
        taken += member.file_size  # members may lie on top of each other
        if member.compress_type != zipfile.ZIP_STORED or taken > size:
            raise ValueError(f"{name!r:.120} is packed, or more than the archive can hold")
        return archive.read(member)

    root = pickle.removesuffix("data.pkl")
    big = f"{root}byteorder" in members and read(f"{root}byteorder").strip() == b"big"
    found = read_restricted(io.BytesIO(read(pickle)), TABLE, _kept)
    return found, _Storages(lambda key: read(f"{root}data/{key}"), ">" if big else "<")


def _read_old(opened: IO[bytes]) -> tuple[Any, _Storages]:
    # Of a mapped file, what is longer than the file can't be read, nor is memory asked for it.
    file: Any = mmap(opened.fileno(), 0, access=ACCESS_READ)
    if read_restricted(file, {}) != MAGIC or read_restricted(file, {}) != VERSION:
        raise ValueError("it begins with another number than PyTorch's")
    machine = read_restricted(file, {})
    used: dict[str, _Storage] = {}

    def kept(described: Any) -> _Storage:
        storage = _kept(described)
        if used.setdefault(storage.key, storage) != storage:
            raise Refused(f"describes the storage {storage.key!r:.80} in two ways")
        return storage

    found = read_restricted(file, TABLE, kept)
    keys = read_restricted(file, {})
    contents = dict(_old_contents(file, keys, used))

    def read(key: str) -> bytes:
        if key not in contents:
            raise ValueError(f"the file lacks the storage {key!r:.80}")
        return contents[key]

    little = type(machine) is not dict or machine.get("little_endian", True)
    return found, _Storages(read, "<" if little else ">")


def _old_contents(file: Any, keys: Any, used: Mapping[str, _Storage]) -> Iterable[tuple[str, bytes]]:
    """The bytes behind the last pickle, storage by storage."""
    if type(keys) is not list:
        raise ValueError("its list of storages is none")
    for key in map(_text, keys):
        storage = used.get(key) if type(key) is str else None
        if storage is None:
            raise ValueError(f"the storage {key!r:.80} is not described")
        length = int.from_bytes(file.read(8), "little")
        wanted = storage.length * (OTHERS.get(storage.type) or np.dtype(DTYPES[storage.type]).itemsize)
        if length != storage.length or len(content := file.read(wanted)) != wanted:
            raise ValueError(f"the storage {key!r:.80} ends before its {wanted} bytes")
        yield key, content


# ----------------------------------------------------------------------------------------------------------- the arrays

def _state_dict(found: Any) -> dict[str, _Tensor]:
    """The state dict itself, or the one that a checkpoint holds."""
    if not isinstance(found, dict):
        raise ValueError(f"holds a {type(found).__name__}, expected a state dict")
    named = {_text(key): value for key, value in found.items()}
    inner = next((named[place] for place in PLACES if isinstance(named.get(place), dict)), None)
    if inner is not None:
        named = {_text(key): value for key, value in inner.items()}
    strange = [key for key, value in named.items() if type(value) is not _Tensor]
    if strange:
        raise ValueError(f"{strange[0]!r:.80} is no tensor, nor is there a state dict under {' or '.join(PLACES)}; "
                         "save model.state_dict() alone")
    return {str(key): value for key, value in named.items()}


def _array(name: str, tensor: _Tensor, storages: _Storages) -> np.ndarray:
    try:
        storage = storages.array(tensor.storage)
    except ValueError as error:
        raise ValueError(f"{name!r:.80}: {error}") from None
    count = int(np.prod(tensor.shape, dtype=object))
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if count and (count > len(storage) or last >= len(storage)):
        raise ValueError(f"{name!r:.80}: a tensor of shape {tensor.shape!r:.80} is more than its storage of "
                         f"{len(storage)} holds")
    if not count:
        return np.empty(tensor.shape, storage.dtype.newbyteorder("="))
    strides = [stride * storage.itemsize for stride in tensor.strides]
    shown = np.lib.stride_tricks.as_strided(storage[tensor.offset:], tensor.shape, strides)
    return shown if shown.dtype.isnative else shown.astype(shown.dtype.newbyteorder("="))
