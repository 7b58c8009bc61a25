"""A long training does not grow."""

import os
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
    # A checkpoint's copies come and go. glibc keeps one of them or gives it back by what happens to lie above it in the
    # heap, 4 MiB more or less from one run to the next; pieces mapped by themselves always go back.
    allocator = {"MALLOC_MMAP_THRESHOLD_": "131072"}
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=ROOT,
                         env=os.environ | allocator)
    assert ran.returncode == 0, ran.stderr
    second, later = map(float, ran.stdout.split())
    assert later <= 1.01 * second, f"{second} MiB after epoch 2, {later} after epochs 21 to 30"
