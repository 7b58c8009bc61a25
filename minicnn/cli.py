"""The command line: `minicnn train | evaluate | predict | explain | data | summary | models | kernels | bench |
doctor`.

What a program reads goes to standard output, messages and progress to standard error. A path names a run, a bare word a
model. What goes wrong is said in a line or two, and the exit code is 2.
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from . import __version__
from .commands.about import doctor, models, summary
from .commands.bench import bench
from .commands.common import compiling_announced
from .commands.data import data
from .commands.explain import explain
from .commands.judge import evaluate, predict
from .commands.kernels import kernels
from .commands.train import INTERRUPTED, train

FAILED = 2


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 if it went well, 2 with a message on standard error if not."""
    try:
        code = commands.main(arguments, prog_name="minicnn", standalone_mode=False)
    except click.UsageError as error:
        where = f" (minicnn {error.ctx.info_name} --help)" if error.ctx and error.ctx.parent else " (minicnn --help)"
        code = _fail(error.format_message() + where)
    except click.ClickException as error:
        code = _fail(error.format_message())
    except click.Abort:
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:  # the reader, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        code = _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except MemoryError as error:
        code = _fail(f"not enough memory ({error})" if str(error) else "not enough memory")
    except (ValueError, RuntimeError) as error:
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
    context.with_resource(compiling_announced())
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (train, evaluate, predict, explain, data, summary, models, kernels, bench, doctor):
    commands.add_command(command)


if __name__ == "__main__":
    main()
