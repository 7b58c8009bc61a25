"""What the commands share: reading a run, speaking to the user, checking numbers."""

import json
import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ..device import get_num_threads, resolve, set_num_threads

if TYPE_CHECKING:
    from rich.console import Console

    from ..nn import Module


WIDTH = 200  # of what isn't written to a terminal


def is_path(name: str) -> bool:
    """A path names a run, a bare word a model."""
    return os.sep in name or (os.altsep or os.sep) in name or name in (".", "..") or name.endswith(".safetensors")


def load_run(run: str, device: str = "cpu") -> "Module":
    """The model of a run, on a device."""
    from ..models import load
    from ..nn import Module

    resolve(device)
    model = load(run)
    if not isinstance(model, Module):
        raise ValueError(f"{run} holds weights, but not which model they belong to")
    return model.to(device)


def set_threads(threads: int | None) -> None:
    """Use so many threads, or say why not."""
    if threads is not None:
        set_num_threads(threads)
        if get_num_threads() != threads:
            click.echo(f"minicnn was built without OpenMP: {get_num_threads()} thread, not {threads}", err=True)


@contextmanager
def compiling_announced() -> Iterator[None]:
    """Say so when the first kernel has to be compiled for a GPU: a first step may take minutes."""
    log, handler = logging.getLogger("minicnn.kernels.cuda.compiler"), _Once(logging.INFO)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _Once(logging.Handler):
    """Tells of the first record only."""

    told = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.told:
            self.told = True
            click.echo("Compiling the GPU's kernels; they are kept, and later runs start at once ...", err=True)


def print_json(content: Any) -> None:
    """What a program reads: strict JSON, which has no NaN, on standard output."""
    click.echo(json.dumps(content, indent=2, allow_nan=False))


def make_console(stderr: bool = False) -> "Console":
    """Where tables and progress go. What goes to a file or another program is not cut to the width of a terminal."""
    from rich.console import Console

    console = Console(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH
    return console


def say(console: "Console", text: str) -> None:
    """A line of plain text."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def positive(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """An option's callback: a positive number, if there is one."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter(f"{value} is not a positive number")
    return value


def a_number(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """An option's callback: a number, if there is one, and not nan."""
    if value is not None and math.isnan(value):
        raise click.BadParameter(f"{value} is not a number")
    return value


def filled(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """An option's callback: not the empty name that an unset variable of a shell leaves."""
    if value == "":
        raise click.BadParameter("the name is empty")
    return value


def fraction(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """An option's callback: a number above 0 and below 1, if there is one."""
    if value is not None and not 0 < value < 1:
        raise click.BadParameter(f"{value} is not above 0 and below 1")
    return value
