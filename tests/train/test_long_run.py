"""A long training does not grow."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
from statistics import median

import minicnn as mc
from benchmarks.long_run import measure
from minicnn.train.recipes import Examples

faces = mc.data.load_synthetic_faces(train=80, test=20)
rows = measure(30, Examples(faces.train, faces.test, faces.classes, "drawn", True))
print(rows[1][1], median(memory for _, memory in rows[20:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of a process from /proc")
def test_memory_stays_flat():
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    second, later = map(float, ran.stdout.split())  # a median: the system's heap may hold a checkpoint for a moment
    assert later <= 1.01 * second, f"{second} MiB after epoch 2, {later} after epochs 21 to 30"
