"""The folder of a run: the model and all that is known about how it was made.

    model.safetensors      weights, and the name and options to build the model from (`minicnn.load`)
    config.json            how it was trained: data, recipe, seed, versions, time
    history.csv            loss and metrics of each epoch
    metrics.json           how good the final model is on the test examples
    learning_curves.png
    confusion_matrix.png
    mistakes.png           the most confident ones on the test examples

While a training is not complete, its files are in a folder `unfinished` in there, with a checkpoint to go on from.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..io.atomic import write_text
from ..models.saving import MODEL_FILE

CONFIG_FILE = "config.json"
CHECKPOINT_FILE = "checkpoint.safetensors"
UNFINISHED = "unfinished"
DISCARDED = ".discarded"  # what is left of `unfinished` when the run is complete, until it is removed
WRITTEN = (MODEL_FILE, CONFIG_FILE, CHECKPOINT_FILE, "history.csv", "metrics.json", "learning_curves.png",
           "confusion_matrix.png", "mistakes.png")  # fmt: skip


def is_run(path: Path) -> bool:
    """Whether a folder is that of a complete run. Others keep models in files of the same names: the content tells."""
    return (path / MODEL_FILE).is_file() and "recipe" in read_config(path)


def read_config(path: Path) -> dict[str, Any]:
    """What a run's config.json says; empty if it is missing or not that of a run."""
    try:
        config = json.loads((path / CONFIG_FILE).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def checkpoint_of(path: str | Path) -> Path:
    """Where the checkpoint of an unfinished run is, if there is one."""
    return Path(path) / UNFINISHED / CHECKPOINT_FILE


def check_target(path: Path) -> None:
    """ValueError unless a run may be written to `path`: nothing is there yet, an empty folder, or an older run."""
    for parent in path.parents:
        if parent.exists() and not parent.is_dir():
            raise ValueError(f"{path}: {parent} is not a folder, choose another name")
    if path.is_dir():
        for name in (UNFINISHED, DISCARDED):
            _check_own(path / name)
        others = [file for file in path.iterdir() if file.name not in (UNFINISHED, DISCARDED)]
        torn = checkpoint_of(path).exists()  # killed while its files were put in their places
        if others and not is_run(path) and not (torn and all(file.name in WRITTEN for file in others)):
            raise ValueError(f"{path} holds files that are not of a run: it is left alone, choose another folder")
    elif path.exists() or path.is_symlink():
        raise ValueError(f"{path} is not a folder: it is left alone, choose another name")


def _check_own(folder: Path) -> None:
    """ValueError if a folder that will be emptied holds anything that no training has written."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{folder} is not the folder of an unfinished training: it is left alone, choose another name")
    for file in folder.iterdir() if folder.is_dir() else ():
        torn = file.name.startswith(".") and file.suffix == ".tmp"
        if file.is_symlink() or not file.is_file() or not (torn or file.name in WRITTEN):
            raise ValueError(f"{file} is not of an unfinished training: it is left alone, choose another folder")


@contextmanager
def open_run(path: str | Path, *, resume: bool = False, restart: bool = False) -> Iterator[Path]:
    """`with open_run(path) as folder:` the folder `path/unfinished`, to write the files of a run to.

    When the block ends, the files take the place of those in `path`, but for the checkpoint, which goes. If the block
    fails, what was in `path` is as it was, and `unfinished` stays if it holds a checkpoint.

    ValueError before anything else if `path` must not be written to, if another process is at it, or if it holds an
    unfinished training and neither `resume` (go on with it) nor `restart` (give it up) is asked for.
    """
    target = Path(os.path.realpath(path))
    check_target(target)
    folder = target / UNFINISHED
    checkpoint = folder / CHECKPOINT_FILE
    if checkpoint.exists() and not (resume or restart):
        raise ValueError(f"{path} holds an unfinished training: resume it, restart it, or choose another folder")
    parents = [parent for parent in (target, *target.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        try:
            _tidy(folder, everything=not resume)
            yield folder
            _finish(folder, target)
        except BaseException:
            if not checkpoint.exists():
                shutil.rmtree(folder, ignore_errors=True)
                for parent in parents:  # innermost first; one that others have begun to use stays
                    with suppress(OSError):
                        parent.rmdir()
            raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time: the lock goes with the process that holds it, however that ends."""
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder.parent} is being written by another training") from None
        yield
    finally:
        os.close(handle)


def _tidy(folder: Path, everything: bool) -> None:
    """Remove what a training that was killed left half written, or all that it left."""
    for file in folder.iterdir():
        if everything or file.suffix == ".tmp":
            file.unlink()


def _finish(folder: Path, target: Path) -> None:
    """Put a complete run in its place. Files of the user's own in an older run's folder stay.

    Until the folder gets another name, in one step, the training counts as unfinished and can be gone on with.
    """
    remove_discarded(target)
    for file in folder.iterdir():
        if file.name != CHECKPOINT_FILE:
            os.replace(file, target / file.name)
    folder.rename(target / DISCARDED)
    remove_discarded(target)


def remove_discarded(path: Path) -> None:
    """Remove what a training leaves that is killed after its run was complete, if there is any."""
    discarded = path / DISCARDED
    with suppress(FileNotFoundError):  # the training is not killed at all, and about to remove it itself
        _check_own(discarded)
        if discarded.exists():
            shutil.rmtree(discarded)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """A JSON file that people can read, in strict JSON (no NaN)."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
