"""Fetching data sets, only when asked to: what arrives is kept if its size and SHA-256 are the known ones."""

import gzip
import hashlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from ..io.atomic import write_atomically
from .cifar10 import BINARY
from .cifar10 import FILES as CIFAR10_FILES
from .dataset import DataError

Progress = Callable[[int, int], object]

TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 16


@dataclass(frozen=True)
class Remote:
    """A file of a data set: its name, the places (ending in /) that have it, and what it must be."""

    name: str
    places: tuple[str, ...]
    size: int
    sha256: str


_MNIST = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
_FASHION = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
_CIFAR10 = ("https://www.cs.toronto.edu/~kriz/",)
_PICTURES, _LABELS = "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"

FILES = {
    "mnist": (
        Remote(f"train-{_PICTURES}", _MNIST, 9_912_422,
               "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        Remote(f"train-{_LABELS}", _MNIST, 28_881,
               "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        Remote(f"t10k-{_PICTURES}", _MNIST, 1_648_877,
               "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        Remote(f"t10k-{_LABELS}", _MNIST, 4_542,
               "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
    "fashion": (
        Remote(f"train-{_PICTURES}", _FASHION, 26_421_880,
               "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        Remote(f"train-{_LABELS}", _FASHION, 29_515,
               "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        Remote(f"t10k-{_PICTURES}", _FASHION, 4_422_102,
               "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        Remote(f"t10k-{_LABELS}", _FASHION, 5_148,
               "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
    "cifar10": (
        Remote("cifar-10-binary.tar.gz", _CIFAR10, 170_052_171,
               "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    ),
}

MEMBERS = CIFAR10_FILES[BINARY]  # what is taken from CIFAR-10's archive
MEMBER_SIZE = 30_730_000


def download(name: str, folder: str | os.PathLike[str], progress: Progress | None = None) -> Path:
    """Fetches "mnist", "fashion" or "cifar10" into `folder`, which is made if need be, and returns it.

    Files that are there and good are not fetched again; CIFAR-10's archive is unpacked and then removed.
    progress: called as `progress(done, total)` with the bytes fetched so far and to be fetched in all.

    DataError if a file can't be had (it says which one to download by hand, and from where), is not the known one, or
    can't be written. A file gets its name only when it is complete and checked.
    """
    if name not in FILES:
        raise ValueError(f"download: no data set {name!r}; there are {', '.join(FILES)}")
    folder = Path(folder)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if name == "cifar10" and _is_unpacked(folder):
            return folder
        missing = [remote for remote in FILES[name] if not _is_good(folder / remote.name, remote)]
        total, done = sum(remote.size for remote in missing), 0
        for remote in missing:
            _fetch(remote, folder, _counted(progress, done, total))
            done += remote.size
        if name == "cifar10":
            _unpack(folder, folder / FILES[name][0].name)
    return folder


def _counted(progress: Progress | None, before: int, total: int) -> Callable[[int], object]:
    """What one of several files tells about itself."""
    return (lambda size: progress(before + size, total)) if progress else (lambda size: None)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or folder}: can't be written ({error.strerror or error})") from error


def _is_good(path: Path, remote: Remote) -> bool:
    if not path.is_file() or path.stat().st_size != remote.size:
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == remote.sha256


def _fetch(remote: Remote, folder: Path, progress: Callable[[int], object]) -> None:
    """One file, from the first of its places that has it."""
    problems = []
    for place in remote.places:
        try:
            return write_atomically(folder / remote.name, partial(_copy, place + remote.name, remote, progress))
        except DataError as error:
            problems.append(str(error))
    raise DataError(f"{'; '.join(problems)}\ndownload {remote.name} by hand from {remote.places[0]}{remote.name} "
                    f"into {folder}")


def _copy(url: str, remote: Remote, progress: Callable[[int], object], file: IO[bytes]) -> None:
    """Writes what a server sends, and complains unless it is the known file. `file` is not yet under its own name."""
    digest, size = hashlib.sha256(), 0
    for chunk in _receive(url):
        file.write(chunk)
        digest.update(chunk)
        size += len(chunk)
        if size > remote.size:
            break
        progress(size)
    if size != remote.size:
        came = f"more than {remote.size}" if size > remote.size else f"{size} of {remote.size}"
        raise DataError(f"{url}: sent {came} bytes")
    if digest.hexdigest() != remote.sha256:
        raise DataError(f"{url}: sent a file of another content (SHA-256 {digest.hexdigest()}, "
                        f"expected {remote.sha256})")


def _receive(url: str) -> Iterator[bytes]:
    """The bytes of a URL. A DataError says what is wrong with the network, so that an OSError is about the disk."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=TIMEOUT) as answer:
            while chunk := answer.read(CHUNK):
                yield chunk
    except HTTPError as error:
        raise DataError(f"{url}: the server says {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise DataError(f"no connection to {urlsplit(url).hostname}: {reason or type(error).__name__}") from error


def _is_unpacked(folder: Path) -> bool:
    paths = [folder / BINARY / name for name in MEMBERS]
    return all(path.is_file() and path.stat().st_size == MEMBER_SIZE for path in paths)


def _unpack(folder: Path, archive: Path) -> None:
    """Takes the known members and no others, each written beside and renamed; then the archive goes."""
    (folder / BINARY).mkdir(exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as packed:
            for member in packed:
                place, _, name = member.name.rpartition("/")
                if place == BINARY and name in MEMBERS and member.isreg() and member.size == MEMBER_SIZE:
                    content = packed.extractfile(member)
                    assert content is not None  # it is a regular file
                    write_atomically(folder / BINARY / name, partial(shutil.copyfileobj, content))
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{archive}: a damaged archive ({error})") from error
    if not _is_unpacked(folder):
        raise DataError(f"{archive}: does not hold all of {BINARY}/")
    archive.unlink()
