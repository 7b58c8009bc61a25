"""The idx format of the MNIST files: a header that names the sizes, then the bytes of one array; plain or in gzip.

The header is two zero bytes, a code for the type of the numbers, the number of dimensions, and each size as a
big-endian 32-bit number (LeCun, Cortes, Burges: http://yann.lecun.com/exdb/mnist/, "the IDX file format").
A file is taken as data from a stranger: what its header claims is checked before memory of that size is asked for.
"""

import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from .dataset import DataError

UNSIGNED_BYTE = 0x08
MOST_BYTES = 1 << 30  # far above any set in this format (MNIST: 47 MB), far below what a header can claim
DEFLATE_LIMIT = 1032  # no deflate stream unpacks to more than this many times its length (zlib's documentation)
CHUNK = 1 << 20

Stream = IO[bytes] | gzip.GzipFile


def read_idx(path: str | os.PathLike[str], item: tuple[int, ...] = (), count: int | None = None) -> np.ndarray:
    """The array of a file, uint8 (N, *item).

    item: the sizes that each of the N items must have: (28, 28) for pictures, () for labels.
    count: the N that it must be, where the labels that go with the items say so.

    DataError if the file is missing or damaged, holds another array, or goes on after it. A gzip file is unpacked as
    far as its header promises and no further.
    """
    path = Path(path)
    with _opened(path) as (file, most):
        shape = _read_sizes(file, 1 + len(item))
        _check_sizes(shape, item, count)
        array = np.empty(_bytes_within(shape, most), np.uint8)
        _fill(array, file)
        if file.read(1):  # for gzip this is also where the checksum is compared
            raise DataError(f"goes on after the {array.size} bytes that its header promises")
    return array.reshape(shape)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Stream, int]]:
    """The unpacked bytes of a file, and how many there can be at most. Every error becomes one that names the file."""
    if not path.is_file():
        raise DataError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        with open(path, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=raw) as file:
                    yield file, size * DEFLATE_LIMIT
            else:
                yield raw, size
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: a damaged file ({' '.join(str(error).split())})") from error


def _read_sizes(file: Stream, dimensions: int) -> tuple[int, ...]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise DataError(f"not an idx file: starts with {head!r}, expected two zero bytes, a type and a dimension")
    if head[2] != UNSIGNED_BYTE:
        raise DataError(f"holds numbers of the type 0x{head[2]:02x}, expected 0x08 (unsigned bytes)")
    if head[3] != dimensions:
        raise DataError(f"holds an array of {head[3]} dimensions, expected {dimensions}")
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DataError("ends within its header")
    return struct.unpack(f">{dimensions}I", sizes)


def _check_sizes(shape: tuple[int, ...], item: tuple[int, ...], count: int | None) -> None:
    if shape[1:] != item:
        raise DataError(f"claims an array {shape}, expected {str(('N', *item)).replace(repr('N'), 'N')}")
    if shape[0] == 0:
        raise DataError("holds no items, expected at least one")
    if count is not None and shape[0] != count:
        raise DataError(f"claims {shape[0]} items, expected {count}, as many as there are labels")


def _bytes_within(shape: tuple[int, ...], most: int) -> int:
    size = int(np.prod(shape, dtype=object))
    if size > MOST_BYTES:
        raise DataError(f"claims {size} bytes, expected at most {MOST_BYTES}")
    if size > most:
        raise DataError(f"claims {size} bytes, but the file can't hold more than {most}")
    return size


def _fill(array: np.ndarray, file: Stream) -> None:
    done = 0
    while done < array.size:
        chunk = file.read(min(CHUNK, array.size - done))
        if not chunk:
            raise DataError(f"ends after {done} of the {array.size} bytes that its header promises")
        array[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
        done += len(chunk)
