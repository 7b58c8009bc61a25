"""A whole run: every job in turn, then the files."""

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minicnn as mc
from minicnn.figure import save_png
from minicnn.io.atomic import write_text

from . import parts, pictures
from .peers import missing
from .report import markdown
from .results import FAILED, NOT_RUN, Job, Measured, Row, Settings

Tell = Callable[[Row], None]


def set_threads(threads: int) -> None:
    """The same number for minicnn and, where it is installed, for PyTorch; ONNX Runtime is told with each network."""
    mc.set_num_threads(threads)
    if missing("torch") is None:
        import torch

        torch.set_num_threads(threads)


def measure(job: Job) -> Row:
    """Do a job. What can't be measured, or went wrong, is a row that says so."""
    row = job.row
    try:
        if row.device == "cuda" and not mc.cuda_is_available():
            measured = Measured(status=NOT_RUN, note="no GPU here that minicnn can use")
        else:
            measured = job.measure()
    except Exception as error:  # whatever goes wrong in one measurement, the others are worth having
        measured = Measured(status=FAILED, note=" ".join(f"{type(error).__name__}: {error}".split()))
    gc.collect()
    mc.memory.clear()  # the next network begins with nothing of this one's
    return Row(row.part, row.work, row.batch, row.device, row.peer, measured)


def run(settings: Settings, before: Tell, after: Tell) -> list[Row]:
    """Do all jobs; `before` and `after` are told of each."""
    set_threads(settings.threads)
    rows = []
    for job in parts.jobs(settings):
        before(job.row)
        rows.append(measure(job))
        after(rows[-1])
    return rows


def as_dict(machine: dict[str, Any], settings: Settings, rows: list[Row]) -> dict[str, Any]:
    """All of it, for JSON."""
    return {"machine": machine, "settings": settings.as_dict(), "rows": [row.as_dict() for row in rows]}


def save(folder: Path, machine: dict[str, Any], settings: Settings, rows: list[Row]) -> list[Path]:
    """Write results.json, report.md and the pictures for which there is something to draw; what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "results.json", folder / "report.md"]
    write_text(written[0], json.dumps(as_dict(machine, settings, rows), indent=2, allow_nan=False) + "\n")
    write_text(written[1], markdown(machine, settings, rows))
    for name, draw in (("ratios.png", pictures.ratios_figure), ("scaling.png", pictures.scaling_figure)):
        figure = draw(rows)
        if figure is not None:
            save_png(figure, folder / name)
            written.append(folder / name)
    return written
