"""`python -m benchmarks run`: what is fast, beside others, and by how much."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from minicnn.commands.common import make_console, positive, print_json, say
from minicnn.device import MOST_THREADS

from .machine import describe
from .peers import PEERS
from .report import cells
from .results import DEVICES, FAILED, PARTS, Row, Settings
from .run import as_dict, save
from .run import run as run_jobs
from .workloads import WORKLOADS, find, suggestion

Names = tuple[str, ...]


def some_of(known: Any) -> Callable[[click.Context, click.Parameter, str], Names]:
    """An option's callback: names with commas between them, all of which are known."""
    def names(context: click.Context, option: click.Parameter, value: str) -> Names:
        found = tuple(dict.fromkeys(filter(None, (name.strip() for name in value.split(",")))))
        for name in found:
            if name not in known:
                raise click.BadParameter(f"{name!r}: {suggestion(name, known)}")
        return found

    return names


def sizes(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, ...]:
    """An option's callback: positive integers with commas between them."""
    words = value.split(",") if value else []
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise click.BadParameter(f"{value!r}: expected positive integers, as 2,32")
    return tuple(map(int, words))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def commands() -> None:
    """Measure minicnn beside other libraries."""


@commands.command()
@click.option("--parts", default="train,inference,memory", callback=some_of(PARTS), metavar="PART,...",
              help=f"Of {', '.join(PARTS)}.")
@click.option("--nets", default=",".join(WORKLOADS), callback=some_of(WORKLOADS), metavar="NET,...",
              help="Networks to train and to ask.")
@click.option("--device", "devices", default="cpu", callback=some_of(DEVICES), metavar="DEVICE,...",
              help=f"Of {', '.join(DEVICES)}.")
@click.option("--peers", default=",".join(PEERS), callback=some_of(PEERS), metavar="PEER,...",
              help="What to compare with; '' for minicnn alone.")
@click.option("--threads", type=click.IntRange(1, MOST_THREADS), default=2, help="On either side.")
@click.option("--batch", "batches", callback=sizes, metavar="N,...",
              help="Batch sizes.  [default: each network's own]")
@click.option("--seconds", type=float, default=10.0, callback=positive, help="For each pair, at least.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="runs/benchmark",
              help="Folder for results.json, report.md and the pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print results.json too.")
def run(parts: Names, nets: Names, devices: Names, peers: Names, threads: int, batches: tuple[int, ...],
        seconds: float, out: Path, as_json: bool) -> None:
    """Measure training steps, inference and more, minicnn and each peer in turn.

    Both sides get the same weights and inputs and must give the same results before they are timed. Whatever stops the
    run, what was measured until then is written. The exit code is 1 if a measurement failed.
    """
    settings = Settings(parts, tuple(map(find, nets)), devices, peers, threads, batches, seconds)
    machine, console = describe(), make_console(stderr=True)
    rows: list[Row] = []
    status = console.status("")

    def after(row: Row) -> None:
        rows.append(row)
        say(console, f"{row.label}: {told(row)}")

    try:
        with status:
            run_jobs(settings, lambda row: status.update(row.label), after)
    finally:
        if rows:
            for path in save(out, machine, settings, rows):
                say(console, f"written: {path}")
    if as_json:
        print_json(as_dict(machine, settings, rows))
    if any(row.measured.status == FAILED for row in rows):
        raise click.exceptions.Exit(1)


def told(row: Row) -> str:
    """A row in a few words."""
    texts = cells(row)
    theirs, ratio, note = texts[-3:]
    return ", ".join(filter(None, (texts[3], f"against {theirs}" if theirs else "", ratio.replace("*", ""), note)))


if __name__ == "__main__":
    commands(prog_name="python -m benchmarks")
