"""Where data sets lie on this machine."""

import os
from pathlib import Path

from ..kernels.cache import user_cache
from .cifar10 import has_cifar10
from .mnist import has_mnist

HOLDS = {"mnist": has_mnist, "fashion": has_mnist, "cifar10": has_cifar10}


def default_folder(name: str) -> Path:
    """Where a data set is put that is fetched: minicnn/NAME in the user's cache ($XDG_CACHE_HOME or ~/.cache).

    name: "mnist", "fashion" or "cifar10"; ValueError for any other.

    >>> import minicnn as mc
    >>> mc.data.default_folder("mnist").parts[-2:]
    ('minicnn', 'mnist')
    """
    if name not in HOLDS:
        raise ValueError(f"no data set {name!r}; there are {', '.join(HOLDS)}")
    return user_cache(name)


def find(name: str) -> Path | None:
    """The folder that holds all files of a data set: $MINICNN_DATA/NAME or `default_folder`; None if neither does.

    >>> import minicnn as mc
    >>> folder = mc.data.find("mnist")  # None: `download` fetches it
    >>> folder is None or folder.is_dir()
    True
    """
    cached, given = default_folder(name), os.environ.get("MINICNN_DATA")
    candidates = [Path(given) / name, cached] if given else [cached]
    return next((folder for folder in candidates if HOLDS[name](folder)), None)
