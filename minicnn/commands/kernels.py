"""`minicnn kernels`: what the GPU's kernels take up, without a GPU."""

from typing import TYPE_CHECKING, Any

import click

from .common import make_console, print_json, say

if TYPE_CHECKING:
    from ..kernels.cuda.inspection import Inspected
    from ..kernels.cuda.roofline import Call


@click.command(short_help="What the GPU's kernels take up.")
@click.argument("names", nargs=-1, metavar="[KERNEL]...")
@click.option("--cc", "capabilities", multiple=True, metavar="X.Y",
              help="Compute capability; may come again.  [default: 7.0, 8.0, 9.0]")
@click.option("--device", default="emulator", show_default=True,
              help="A GPU, to look at its own compute capability; without --cc.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def kernels(names: tuple[str, ...], capabilities: tuple[str, ...], device: str, as_json: bool) -> None:
    """Compile the GPU's kernels and say what each takes up: a row for each kernel and compute capability.

    KERNEL: those whose name begins so; all of them, if none is given. No GPU is needed, nothing runs. registers are
    those of a thread, shared_bytes those of a block, occupancy the share of a multiprocessor's threads that fits on
    it at once. roofline_us is a PREDICTION: what the stated call takes at least on the named GPU, by its data sheet.
    The exit code is 1 if a kernel breaks a rule or its budget (kernels/cuda/budgets.json).
    """
    from ..kernels.cuda.inspection import all_variants, findings, inspect_variant

    console = make_console(stderr=True)
    chosen = [v for v in all_variants() if not names or v.name.startswith(names)]
    if not chosen:
        raise click.BadParameter(f"no kernel's name begins with {' or '.join(names)}", param_hint="KERNEL")
    stated = _stated()
    rows, wrong = [], []
    with console.status("") as status:
        for variant in chosen:
            for capability in _capabilities(capabilities, device):
                status.update(f"{variant.name}, {capability[0]}.{capability[1]}")
                one = inspect_variant(variant, capability)
                rows.append(_row(one, stated.get(variant.name)))
                wrong += [f"{variant.name}, {rows[-1]['cc']}: {finding}" for finding in findings(one)]
    if as_json:
        print_json(rows)
    else:
        _print(rows)
    for finding in wrong:
        say(console, finding)
    if wrong:
        raise click.exceptions.Exit(1)


def _capabilities(asked: tuple[str, ...], device: str) -> list[tuple[int, int]]:
    from ..device import open_device, resolve
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


def _stated() -> "dict[str, Call]":
    """The stated call of each kernel that takes part in one."""
    from ..dispatch import check
    from ..kernels.cuda.roofline import stated_calls

    return {kernel: call for call in stated_calls(check) for kernel in reversed(call.kernels)}


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

    table = Table(box=None)
    titles = {"kernel": "kernel", "cc": "cc", "registers": "registers", "shared_bytes": "shared",
              "spill_stores": "spilled", "occupancy": "occupancy", "ptx_instructions": "instructions",
              "fma_share": "fma", "roofline_us": "predicted us"}
    for key, title in titles.items():
        table.add_column(title, no_wrap=True, justify="left" if key == "kernel" else "right")
    for row in rows:
        table.add_row(*[str(row.get(key, "")) for key in titles])
    make_console().print(table)
