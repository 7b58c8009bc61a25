"""NumPy's .npz: a zip archive of .npy files, one for each array. Object arrays, which are pickles, are refused."""

import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

DEFLATE_LIMIT = 1032  # no deflate stream unpacks to more than this many times its length (zlib's documentation)


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a file by name. ValueError, in one line that names the file, if it is broken."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _check_member(archive, member)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen classes for broken archives
        raise ValueError(f"{path}: not a readable .npz file ({' '.join(str(error).split())})") from error


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Compare what the headers promise with the bytes that are there, before any memory is asked for."""
    if not member.filename.endswith(".npy"):
        raise ValueError(f"{member.filename!r} is not an array")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename!r} is packed in a way that NumPy doesn't write")
    if member.file_size > member.compress_size * DEFLATE_LIMIT:
        raise ValueError(f"{member.filename!r} can't unpack to the {member.file_size} bytes that the archive promises")
    with archive.open(member) as file:
        shape, dtype = _read_header(file)
        promised = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if dtype.hasobject:
            raise ValueError(f"{member.filename!r} holds Python objects, not numbers")
        if promised != member.file_size - file.tell():
            raise ValueError(f"{member.filename!r} promises an array of shape {shape} and {dtype}, "
                             f"{promised} bytes, and has {member.file_size - file.tell()}")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype
