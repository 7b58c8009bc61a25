"""`minicnn kernels`: what the GPU's kernels take up, without a GPU."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import click

from ..device import get_num_threads, open_device, resolve
from .common import make_console, print_json, say

if TYPE_CHECKING:
    from ..kernels.cuda.compiler import Variant
    from ..kernels.cuda.inspection import Inspected
    from ..kernels.cuda.roofline import Call


@click.command(short_help="What the GPU's kernels take up.")
@click.argument("names", nargs=-1, metavar="[KERNEL]...")
@click.option("--cc", "capabilities", multiple=True, metavar="X.Y",
              help="Compute capability; may come again.  [default: 7.0, 8.0, 9.0]")
@click.option("--device", default="emulator", show_default=True,
              help="A GPU, to look at its own compute capability; without --cc.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--ptx", "as_ptx", is_flag=True, help="Print the PTX, which the emulator's findings name lines of.")
def kernels(names: tuple[str, ...], capabilities: tuple[str, ...], device: str, as_json: bool, as_ptx: bool) -> None:
    """Compile the GPU's kernels and say what each takes up: a row for each of their variants and compute capability.

    KERNEL: those whose name begins so, or that the op of this name is made of (conv2d_forward, reduce_sum, ...: what
    `mc.trace_kernels()` shows); all of them, if none is given. No GPU is needed, nothing runs. What was not compiled
    before takes a second or two for each kernel. registers are those of a thread, shared_bytes those of a block,
    occupancy the share of a multiprocessor's threads that fits on it at once. roofline_us is a PREDICTION: what the
    stated call takes at least on the named GPU, by its data sheet. The exit code is 1 if a kernel breaks a rule or its
    budget (kernels/cuda/budgets.json).
    """
    console = make_console(stderr=True)
    open_device("emulator")  # which says what is not installed, or doesn't fit
    chosen = _chosen(names)
    if as_ptx:
        _print_ptx(chosen, _capabilities(capabilities or ("8.0",), device)[0])
        return
    rows, wrong = [], []
    with console.status("") as status:
        for number, (of_one, found) in enumerate(_look_at(chosen, _capabilities(capabilities, device)), 1):
            rows += of_one
            wrong += found
            status.update(f"{number} of {len(chosen)}: {of_one[-1]['kernel']}")
    if as_json:
        print_json(rows)
    else:
        _print(rows)
    for finding in wrong:
        say(console, finding)
    if wrong:
        raise click.exceptions.Exit(1)


def _chosen(names: tuple[str, ...]) -> list[str]:
    """The names of the kernels that are meant."""
    begins = (*names, *[f"{kernel}_" for name in names for kernel in _launched_by(name)])
    chosen = [name for name in _variants() if not names or f"{name}_".startswith(begins)]
    if not chosen:
        raise click.BadParameter(f"no kernel's name begins with {' or '.join(names)}, and no op is called so",
                                 param_hint="KERNEL")
    return chosen


def _launched_by(op: str) -> set[str]:
    """The kernels in the stated call of an op."""
    return {kernel for call in _stated_calls() if call.contract == op for kernel in call.kernels}


def _print_ptx(chosen: list[str], capability: tuple[int, int]) -> None:
    """With the numbers of its lines."""
    for name in chosen:
        click.echo(f"{name}, compute capability {capability[0]}.{capability[1]}")
        for number, line in enumerate(_variants()[name].compiled(capability).ptx.splitlines(), 1):
            click.echo(f"{number:5} {line}")


_Seen = tuple[list[dict[str, Any]], list[str]]  # rows and findings


def _look_at(chosen: list[str], capabilities: list[tuple[int, int]]) -> Iterator[_Seen]:
    """Rows and findings of each kernel in turn, worked out by as many processes as the machine has cores. New ones, not
    forks: this one may have threads."""
    look = partial(_look_at_one, capabilities)
    processes = min(get_num_threads(), len(chosen))
    if processes == 1:
        yield from map(look, chosen)
    else:
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            yield from pool.map(look, chosen)


def _look_at_one(capabilities: list[tuple[int, int]], name: str) -> _Seen:
    from ..kernels.cuda.inspection import findings, inspect_variant

    variant, rows, wrong = _variants()[name], [], []
    variant.compile(*capabilities)
    for capability in capabilities:
        one = inspect_variant(variant, capability)
        rows.append(_row(one, _stated().get(name)))
        wrong += [f"{name}, {rows[-1]['cc']}: {finding}" for finding in findings(one)]
    return rows, wrong


@cache
def _variants() -> "dict[str, Variant]":
    from ..kernels.cuda.inspection import all_variants

    return {variant.name: variant for variant in all_variants()}


def _capabilities(asked: tuple[str, ...], device: str) -> list[tuple[int, int]]:
    from ..kernels.cuda.inspection import CAPABILITIES, PROCESSORS

    if not asked:
        name = resolve(device)
        return [open_device(name).backend.capability] if name.startswith("cuda") else list(CAPABILITIES)
    found = []
    for text in asked:
        major, _, minor = text.partition(".")
        if not (major.isdecimal() and minor.isdecimal() and (int(major), int(minor)) in PROCESSORS):
            known = ", ".join(f"{a}.{b}" for a, b in PROCESSORS)
            raise click.BadParameter(f"{text!r} is none of {known}", param_hint="--cc")
        found.append((int(major), int(minor)))
    return found


@cache
def _stated_calls() -> "list[Call]":
    from ..dispatch import check
    from ..kernels.cuda.roofline import stated_calls

    return list(stated_calls(check))


@cache
def _stated() -> "dict[str, Call]":
    """The stated call of each kernel that takes part in one."""
    return {kernel: call for call in _stated_calls() for kernel in reversed(call.kernels)}


def _row(one: "Inspected", call: "Call | None") -> dict[str, Any]:
    from ..kernels.cuda.inspection import fma_share
    from ..kernels.cuda.roofline import GPUS

    major, minor = one.capability
    gpu = GPUS.get(one.capability)  # of others no data sheet is stated here
    made = one.assembled
    row = {
        "kernel": one.variant.name, "cc": f"{major}.{minor}", "threads": one.variant.threads,
        "registers": made.registers, "shared_bytes": made.shared_bytes, "spill_stores": made.spill_stores,
        "spill_loads": made.spill_loads, "occupancy": round(one.occupancy, 3),
        "ptx_instructions": len(one.instructions), "fma_share": round(fma_share(one.ptx), 3),
    }
    if call:
        row |= {"call": str(call), "launches": list(call.kernels), "multiply_adds": call.multiply_adds,
                "bytes": call.nbytes}
    if call and gpu:
        row |= {"gpu": gpu.name, "roofline_us": round(call.seconds(gpu) * 1e6, 2), "status": "prediction"}
    return row


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    titles = {"kernel": "kernel", "cc": "cc", "registers": "regis-\nters", "shared_bytes": "shared",
              "spill_stores": "spil-\nled", "occupancy": "occu-\npancy", "ptx_instructions": "instruc-\ntions",
              "fma_share": "fma", "roofline_us": "predicted\nus"}
    for key, title in titles.items():
        if key == "kernel":  # long names are folded, the numbers are what the table is for
            table.add_column(title, overflow="fold", min_width=16)
        else:
            table.add_column(title, no_wrap=True, justify="right")
    for row in rows:
        table.add_row(*[str(row.get(key, "")) for key in titles])
    make_console().print(table)
