"""Everything that has to be seen on a machine with a GPU, in one go, and one report of it.

    pip install -e ".[test,cuda]" && python -m benchmarks.gpu_ladder

Each rung is a command; what it prints goes to a file beside report.md, which tells how each of them ended. A rung that
fails does not stop the others. compute-sanitizer comes with the CUDA toolkit; PyTorch with CUDA, and CuPy, are compared
with where they are installed.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from minicnn.commands.common import make_console, say
from minicnn.io.atomic import write_text

from .machine import describe

PYTHON = sys.executable
PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"
#: What the sanitizer looks for: accesses out of bounds, races in shared memory, barriers that not all threads reach,
#: memory that is read before it was written.
TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")


@dataclass(frozen=True)
class Rung:
    """A command, and what it shows. needs: a program without which it is skipped."""

    name: str
    shows: str
    command: list[str]
    needs: str = ""


def rungs(out: Path, quick: bool) -> Iterator[Rung]:
    """From the lowest: if one fails, those above tell less."""
    yield Rung("doctor", "driver, compiler, GPU", [PYTHON, "-m", "minicnn.cli", "doctor"])
    yield Rung("kernels", "what each kernel takes up on this GPU",
               [PYTHON, "-m", "minicnn.cli", "kernels", "--device", "cuda", "--json"])
    yield Rung("contracts", "every kernel against the float64 reference, on the GPU",
               [PYTHON, "-m", "pytest", "-q", "tests/kernels/test_contracts.py", "-k", "cuda"])
    yield Rung("ops", "values, first and second derivatives of every op, on the GPU",
               [PYTHON, "-m", "pytest", "-q", "tests/ops", "tests/nn", "-k", "cuda"])
    for tool in TOOLS:
        yield Rung(tool, f"compute-sanitizer's {tool} over the kernels' tests",
                   ["compute-sanitizer", "--tool", tool, "--error-exitcode", "1", PYTHON, "-m", "pytest", "-q",
                    "tests/kernels/test_contracts.py", "-k", "cuda"], needs="compute-sanitizer")
    seconds = "1" if quick else "10"
    yield Rung("benchmark", "the GPU beside the CPU, PyTorch and CuPy",
               [PYTHON, "-m", "benchmarks", "run", "--device", "cpu,cuda", "--parts", "train,inference,ops,kernels",
                "--seconds", seconds, "--out", str(out / "benchmark")])


def climb(rung: Rung, out: Path) -> tuple[str, float]:
    """How a rung ended, and after how many seconds; what it printed is in NAME.txt."""
    if rung.needs and shutil.which(rung.needs) is None:
        return f"{SKIPPED}: {rung.needs} is not installed", 0.0
    start = time.monotonic()
    with open(out / f"{rung.name}.txt", "w") as file:
        exact = {"MINICNN_POOL": "0"} if rung.needs else {}  # so that the sanitizer sees each array by itself
        done = subprocess.run(rung.command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **exact})
    return PASSED if done.returncode == 0 else f"{FAILED}, exit code {done.returncode}", time.monotonic() - start


def report(rows: list[tuple[Rung, str, float]], out: Path) -> str:
    lines = ["# The GPU path on this machine", "", "| rung | shows | result | seconds |", "|---|---|---|---|"]
    lines += [f"| [{rung.name}]({rung.name}.txt) | {rung.shows} | {how} | {taken:.0f} |" for rung, how, taken in rows]
    lines += ["", "```json", json.dumps(describe(), indent=2), "```", ""]
    figures = out / "benchmark" / "report.md"
    return "\n".join(lines) + (figures.read_text() if figures.exists() else "")


@click.command(context_settings={"show_default": True})
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="runs/gpu",
              help="Folder for the report.")
@click.option("--quick", is_flag=True, help="A second for each figure of the benchmark instead of ten.")
def main(out: Path, quick: bool) -> None:
    """Check and measure the GPU path from the driver up to whole networks; writes OUT/report.md."""
    from minicnn.device import resolve

    try:
        resolve("cuda")
    except RuntimeError as error:  # which says what is missing
        raise click.ClickException(str(error)) from error
    out.mkdir(parents=True, exist_ok=True)
    console = make_console(stderr=True)
    rows: list[tuple[Rung, str, float]] = []
    for rung in rungs(out, quick):
        with console.status(rung.name):
            rows.append((rung, *climb(rung, out)))
        say(console, f"{rung.name}: {rows[-1][1]}")
        write_text(out / "report.md", report(rows, out))
    say(console, f"written: {out / 'report.md'}")
    if any(how.startswith(FAILED) for _, how, _ in rows):
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.gpu_ladder")
