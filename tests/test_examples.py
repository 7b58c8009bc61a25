"""The examples run."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.stem)
def test_example(path, tmp_path):
    ran = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]


def test_the_cost_of_an_op():
    """Three files and thirty lines at most, as the example counts them."""
    texts = [text for text, _ in runpy.run_path(str(EXAMPLES / "add_an_op.py"))["EDITS"].values()]
    assert len(texts) <= 3
    assert sum(1 for text in texts for line in text.splitlines() if line.strip()) <= 30
