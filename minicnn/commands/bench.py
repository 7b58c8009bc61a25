"""`minicnn bench`: how fast the models are on this machine."""

from typing import TYPE_CHECKING

import click

from ..device import MOST_THREADS
from .common import make_console, positive, print_json, say

if TYPE_CHECKING:
    from rich.table import Table

    from ..benchmarks.results import Job, Row
    from ..benchmarks.workloads import Workload


@click.command(short_help="How fast models are here.")
@click.argument("nets", nargs=-1, metavar="[NET]...")
@click.option("--threads", type=click.IntRange(1, MOST_THREADS), help="Processors to use.  [default: all]")
@click.option("--batch", type=click.IntRange(min=1), help="Pictures in a training step.  [default: each model's own]")
@click.option("--seconds", type=float, callback=positive, default=3.0, show_default=True,
              help="To spend on each figure, at least.")
@click.option("--device", default="cpu", show_default=True, help="Where to run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(nets: tuple[str, ...], threads: int | None, batch: int | None, seconds: float, device: str,
          as_json: bool) -> None:
    """Time a training step and an answer to one picture of each NET (see `minicnn models`).

    Where PyTorch is installed, and has the same network, the two take turns, once they were seen to give the same
    results. Without NET: smile_detector, mnist_net, cifar10_net.
    """
    from ..benchmarks.machine import describe
    from ..benchmarks.peers import missing
    from ..benchmarks.report import note
    from ..benchmarks.results import FAILED
    from ..benchmarks.run import measure, set_threads
    from ..benchmarks.workloads import of_model
    from ..device import get_num_threads, resolve

    resolve(device)
    works = [of_model(name) for name in nets or ("smile_detector", "mnist_net", "cifar10_net")]
    set_threads(threads or get_num_threads())
    console = make_console(stderr=True)
    absent = missing("torch")
    rows = []
    with console.status("") as status:
        for job in _jobs(works, batch, device, "" if absent else "torch", seconds):
            status.update(job.row.label)
            rows.append(measure(job))
    machine = describe()
    if as_json:
        print_json({"machine": machine, "threads": get_num_threads(), "rows": [row.as_dict() for row in rows]})
    else:
        make_console().print(_table(rows, alone=bool(absent)))
        say(console, f"processor: {machine['processor']}; vectors: {machine['vector_level']}; "
                     f"threads: {get_num_threads()}")
        for row in rows:
            if note(row):
                say(console, f"{row.part}, {row.work}: {note(row)}")
        if absent:
            say(console, f"minicnn alone: {absent}.")
    if any(row.measured.status == FAILED for row in rows):
        raise click.exceptions.Exit(1)


def _jobs(works: "list[Workload]", batch: int | None, device: str, peer: str, seconds: float) -> "list[Job]":
    """Two for each model: its training step and its answer to one picture."""
    from functools import partial

    from ..benchmarks.parts import inference, train
    from ..benchmarks.results import Job, Row
    from ..device import get_num_threads

    found = []
    for work in works:
        size, name = batch or (work.train or (8,))[0], str(work.net)
        found += [
            Job(Row("train", name, size, device, peer), partial(train.measure, work, size, device, peer, seconds)),
            Job(Row("inference", name, 1, device, peer),
                partial(inference.measure, work, 1, device, peer, seconds, get_num_threads())),
        ]
    return found


def _table(rows: "list[Row]", alone: bool) -> "Table":
    """For a rich Console: what was measured, a line a row; without PyTorch's columns if minicnn is alone."""
    from rich.table import Table

    from ..benchmarks.report import cells

    table = Table(box=None)
    titles = ["", "model", "batch", "minicnn", *([] if alone else ["PyTorch", "PyTorch / minicnn"])]
    for title in titles:
        table.add_column(title, no_wrap=True)
    for row in rows:
        model, batch, _, ours, _, theirs, ratio, _ = cells(row)
        table.add_row(*[row.part, model, batch, ours, theirs, ratio.replace("*", "")][: len(titles)])
    return table
