"""The folder of a run: the model and all that is known about how it was made.

    model.safetensors      weights, and the name and options to build the model from (`minicnn.load`)
    config.json            how it was trained: data, recipe, seed, versions, time
    history.csv            loss and metrics of each epoch
    metrics.json           how good the final model is on the test examples
    learning_curves.png
    confusion_matrix.png
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..io.atomic import write_text
from ..models.saving import MODEL_FILE

CONFIG_FILE = "config.json"


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run."""
    return (path / MODEL_FILE).is_file() and (path / CONFIG_FILE).is_file()


def check_target(path: Path) -> None:
    """ValueError unless a run may be written to `path`: nothing is there yet, an empty folder, or an older run."""
    if path.is_dir():
        if not is_run(path) and any(path.iterdir()):
            raise ValueError(f"{path} holds files that are not of a run: it is left alone, choose another folder")
    elif path.exists() or path.is_symlink():
        raise ValueError(f"{path} is not a folder: it is left alone, choose another name")


@contextmanager
def new_run(path: str | Path) -> Iterator[Path]:
    """`with new_run(path) as folder:` an empty folder to write the files of a run to.

    It lies beside `path`. When the block ends, its files take the place of those in `path`; if the block fails, they
    are removed and `path` is as it was. ValueError before anything else if `path` must not be written to.
    """
    target = Path(os.path.realpath(path))
    check_target(target)
    parents = [parent for parent in target.parents if not parent.exists()]
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    beside.mkdir(parents=True)
    try:
        yield beside
        check_target(target)
        _move(beside, target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        for parent in parents:  # innermost first; one that others have begun to use stays
            try:
                parent.rmdir()
            except OSError:
                break
        raise


def _move(complete: Path, target: Path) -> None:
    """Put a complete run in its place. Files of the user's own in an older run's folder stay."""
    if not target.exists():
        complete.rename(target)
        return
    for file in complete.iterdir():
        os.replace(file, target / file.name)
    complete.rmdir()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """A JSON file that people can read, in strict JSON (no NaN)."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
