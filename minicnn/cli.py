"""The command line: `minicnn train | evaluate | summary | models | doctor`.

What a program reads goes to standard output, messages and progress to standard error. A path names a run, a bare word a
model. What goes wrong is said in a line or two, and the exit code is 2.
"""

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from . import __version__
from .device import get_num_threads, set_num_threads

if TYPE_CHECKING:
    from rich.console import Console

    from .nn import Module

FAILED = 2
INTERRUPTED = 130  # what a shell makes of an interrupt


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 if it went well, 2 with a message on standard error if not."""
    from .train import TrainingError

    try:
        code = commands.main(arguments, prog_name="minicnn", standalone_mode=False)
    except click.UsageError as error:
        where = f" (minicnn {error.ctx.info_name} --help)" if error.ctx and error.ctx.parent else " (minicnn --help)"
        code = _fail(error.format_message() + where)
    except click.ClickException as error:
        code = _fail(error.format_message())
    except click.Abort:
        click.echo("interrupted: nothing was written", err=True)
        code = INTERRUPTED
    except BrokenPipeError:  # the reader, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        code = _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except (ValueError, TrainingError) as error:
        code = _fail(str(error))
    sys.exit(code or 0)


def _fail(message: str) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return FAILED


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """Train a small convolutional network, evaluate it, look at it."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _positive_number(context: click.Context, option: click.Parameter, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise click.BadParameter(f"{value} is not a positive number")
    return value


@commands.command(short_help="Train a model and keep the run.")
@click.argument("model")
@click.option("--data", metavar="DIR", help="Folder with train_happy.h5 and test_happy.h5.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the faces.  [default: 20; 6 without --data]")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Faces in a step.")
@click.option("--lr", type=float, default=1e-3, show_default=True, callback=_positive_number,
              help="Adam's learning rate.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True,
              help="Governs first weights, order and dropout: the same seed gives the same model, bit for bit.")
@click.option("--threads", type=click.IntRange(min=1), help="Processors to use; the results don't depend on it.")
@click.option("--out", metavar="RUN", default="runs/smile", show_default=True, help="Folder to write to.")
def train(model: str, data: str | None, epochs: int | None, batch_size: int, lr: float, seed: int, threads: int | None,
          out: str) -> None:
    """Train MODEL: smile, a detector of smiles in faces of 64 x 64.

    Without --data it learns from built-in synthetic faces: drawn by the computer, not photographs.

    RUN then holds model.safetensors (see `minicnn evaluate`), history.csv, metrics.json, config.json, and
    learning_curves.png and confusion_matrix.png. An older run there is replaced once the new one is complete; a folder
    of anything else is left alone.
    """
    from .models import registry
    from .train.run import check_target

    name = registry.find(model).name
    if name != "smile_detector":
        raise click.BadParameter(f"there is no training recipe for {name}, only for smile_detector", param_hint="MODEL")
    check_target(Path(out))
    _set_threads(threads)

    from .train.progress import ProgressReport
    from .train.smile import Recipe, default_epochs, load_faces, train_smile

    console = _console(stderr=True)
    if data is None:
        _say(console, "Without --data, these are SYNTHETIC faces: drawn by minicnn, not photographs. Drawing them ...")
    faces = load_faces(data)
    _say(console, f"Training on {len(faces.train):,} faces ({faces.source}), testing on {len(faces.test):,}.")
    recipe = Recipe(epochs or default_epochs(faces), batch_size, lr, seed)
    metrics = train_smile(faces, out, recipe, [ProgressReport(console)])
    kind = "synthetic test faces" if faces.synthetic else "test faces"
    _say(console, f"Accuracy on {metrics['examples']:,} {kind}: {metrics['accuracy']:.1%}. The run is in {out}")


@commands.command(short_help="How good the model of a run is.")
@click.argument("run")
@click.option("--data", metavar="DIR", help="Folder with test_happy.h5.  [default: the built-in synthetic faces]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(run: str, data: str | None, as_json: bool) -> None:
    """How well the model of RUN tells the faces in DIR/test_happy.h5, or without --data the built-in synthetic ones.

    RUN is a folder that `minicnn train` wrote, or its model.safetensors. The confusion matrix is
    [[true negatives, false positives], [false negatives, true positives]].
    """
    from .data import load_split
    from .train.smile import evaluate_smile, load_faces

    model = _load(run)
    if data is None:
        click.echo("Without --data, these are SYNTHETIC faces: drawn by minicnn, not photographs.", err=True)
    report = evaluate_smile(model, load_faces(None).test if data is None else load_split(data, "test"))
    if as_json:
        _print_json(report)
        return
    for key, value in report.items():
        if key != "notes":
            text = f"{value:.4f}" if isinstance(value, float) else "undefined" if value is None else value
            click.echo(f"{key:17} {text}")
    for note in report["notes"]:
        click.echo(f"note: {note}", err=True)


@commands.command(short_help="The layers of a model and their parameters.")
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def summary(model: str, as_json: bool) -> None:
    """The layers of MODEL, what shapes they give, and their parameters.

    MODEL is a name (see `minicnn models`) or the path of a run.
    """
    from .models import create
    from .summary import summarize

    found = summarize(_load(model) if _is_path(model) else create(model))
    if as_json:
        _print_json(found.as_dict())
    else:
        _console().print(found.table())


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(as_json: bool) -> None:
    """The models there are."""
    from .models import list_models, registry

    entries = [registry.find(name) for name in list_models()]
    if as_json:
        _print_json([{"name": e.name, "aliases": list(e.aliases), "options": e.options, "about": e.title}
                     for e in entries])
        return
    for entry in entries:
        also = f" (also {', '.join(entry.aliases)})" if entry.aliases else ""
        click.echo(f"{entry.name}{also}: {entry.title}")


@commands.command(short_help="What minicnn finds on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """What minicnn finds on this machine: processor, threads, GPU, data."""
    from .doctor import diagnose, lines

    found = diagnose()
    if as_json:
        _print_json(found)
    else:
        click.echo("\n".join(lines(found)))


def _is_path(name: str) -> bool:
    return os.sep in name or (os.altsep or os.sep) in name or name in (".", "..") or name.endswith(".safetensors")


def _load(run: str) -> "Module":
    """The model of a run."""
    from .models import load
    from .nn import Module

    model = load(run)
    if not isinstance(model, Module):
        raise ValueError(f"{run} holds weights, but not which model they belong to")
    return model


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        set_num_threads(threads)
        if get_num_threads() != threads:
            click.echo(f"minicnn was built without OpenMP: {get_num_threads()} thread, not {threads}", err=True)


def _print_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2, allow_nan=False))  # strict JSON has no NaN


def _console(stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


def _say(console: "Console", text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
