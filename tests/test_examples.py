"""The examples run."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.stem)
def test_example(path):
    ran = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]


@pytest.mark.slow
def test_the_cost_of_an_op():
    """Three files and thirty lines, as the example counts them."""
    ran = subprocess.run([sys.executable, "-c", "import runpy; e = runpy.run_path('add_an_op.py'); "
                          "print(len(e['EDITS']), sum(len([x for x in t.splitlines() if x.strip()]) for t, _ in e['EDITS'].values()))"],
                         capture_output=True, text=True, cwd=EXAMPLES, check=True)
    files, lines = map(int, ran.stdout.split())
    assert files <= 3 and lines <= 30
