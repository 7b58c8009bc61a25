"""Which file is read by which format."""

from pathlib import Path

import numpy as np

from .npz import read_npz
from .safetensors import read_safetensors
from .torch_file import read_torch

READERS = {".safetensors": read_safetensors, ".npz": read_npz, ".pth": read_torch, ".pt": read_torch}


def load_state(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a weight file by name, as the file has them: for a model's `load_state_dict`.

    The suffix decides on the format: .safetensors, .npz, or PyTorch's .pth and .pt, which are read as data, so that
    nothing in them is run; their arrays go to `load_state_dict(..., layout="torch")`. FileNotFoundError if there is no
    such file, ValueError (one line that names it) if it is broken or of another format.

    >>> import minicnn as mc
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> with TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "layer.npz", weight=np.ones((2, 3), np.float32), bias=np.zeros(3, np.float32))
    ...     state = mc.io.load_state(Path(folder) / "layer.npz")
    >>> mc.nn.Linear(2, 3).load_state_dict(state)
    LoadResult(missing_keys=[], unexpected_keys=[])
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        *others, last = READERS
        raise ValueError(f"{path}: can't read weights from a {path.suffix or 'suffixless'} file; "
                         f"expected {', '.join(others)} or {last}")
    return reader(path)
