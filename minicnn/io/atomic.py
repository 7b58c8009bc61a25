"""Files that are complete or not there: written beside, flushed to the disk, then renamed."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a new file beside `path`, then put it in the place of `path`.

    However this ends, `path` holds either all of the new content or what it held before: a rename within a folder is
    atomic (POSIX rename(2)), and the content reaches the disk before the name does. OSError, naming `path`, if it can't
    be written, or if something else than a file is there: a folder, or a device such as /dev/null, which a rename would
    take from the whole machine.
    """
    target = Path(os.path.realpath(path))  # through a symbolic link: the link stays
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise OSError(errno.EINVAL, "is there and not a file", str(path))
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except OSError as error:
        if error.filename != str(beside):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # nobody knows the name that it has for now
    finally:
        with suppress(OSError):  # where there is no such folder, there is nothing to remove
            beside.unlink()
    _flush_folder(target.parent)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file atomically."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: str | Path, text: str) -> None:
    """Write a whole UTF-8 text file atomically."""
    write_bytes(path, text.encode())


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where folders can be opened (not on Windows)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems refuse; the rename itself has happened
    finally:
        os.close(handle)
