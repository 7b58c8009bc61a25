"""The safetensors format: a JSON header with names, dtypes, shapes and places, then the bytes of the arrays.

The format holds data alone, and the library checks every length of a header against the file.
https://github.com/huggingface/safetensors#format
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import write_bytes


def _is_number(dtype: np.dtype) -> bool:
    """Whether arrays of it are read and written: NumPy's bools, integers and floats, not complex numbers, nor what
    other packages add to NumPy (bfloat16, small floats)."""
    return dtype.kind in "biuf" and dtype.isbuiltin != 2  # 2: a type that another package has defined


def write_safetensors(path: str | Path, state: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays (or tensors) by name, and metadata, text by name.

    The same content gives the same bytes if there is one entry of metadata at most: the library writes several in no
    certain order.
    """
    from safetensors.numpy import save

    # The library reads raw memory, whatever the strides: arrays have to be contiguous (those that are aren't copied).
    arrays = {name: np.asarray(value, order="C") for name, value in state.items()}
    for name, array in arrays.items():
        if not _is_number(array.dtype):
            raise TypeError(f"{path}: {name!r} is of dtype {array.dtype}, expected numbers")
    write_bytes(path, save(arrays, metadata=dict(metadata) if metadata else None))


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a file by name. ValueError, in one line that names the file, if it is broken or holds other numbers
    than NumPy's bools, integers and floats: bfloat16 the library reads only where a package that adds it is loaded."""
    with _Opened(path) as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a file is not a mapping
        for name, array in arrays.items():
            if not _is_number(array.dtype):
                raise ValueError(f"{name!r} is of dtype {array.dtype}, expected NumPy's bools, integers or floats")
    return arrays


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a file, empty if it has none. ValueError as `read_safetensors`."""
    with _Opened(path) as file:
        return file.metadata() or {}


class _Opened:
    """`with _Opened(path) as file`: the library's reader, every failure of which becomes a ValueError."""

    def __init__(self, path: str | Path):
        self.path = path

    def __enter__(self) -> Any:
        from safetensors import safe_open

        try:
            self.file = safe_open(str(self.path), framework="numpy")
        except Exception as error:  # the library's error classes differ between its versions
            raise self.broken(error) from error
        return self.file.__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.file.__exit__(kind, error, trace)
        if isinstance(error, Exception):
            raise self.broken(error) from error

    def broken(self, error: Exception) -> ValueError:
        return ValueError(f"{self.path}: not a readable safetensors file ({' '.join(str(error).split())})")
