"""The examples run."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import minicnn as mc

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

# Those that look into networks do so at a small scale, into ones that know nothing; without arguments they would train.
SMALL = {
    "deep_dream": ["--run", "runs/smile", "--steps", "1"],
    "explain_smiles": ["runs/smile", "--faces", "3"],
    "filters_of_every_depth": ["runs/smile", "--count", "4", "--steps", "2"],
    "gallery": ["--smile", "runs/smile", "--cifar10", "runs/cifar10", "--small", "--out", "."],
    "inside_cifar10": ["runs/cifar10", "--steps", "2"],
    "tanks": ["--faces", "96", "--epochs", "1"],
}  # fmt: skip


def untrained_runs(folder):
    for name, model, classes in (("smile", "smile_detector", 2), ("cifar10", "cifar10_net", 10)):
        mc.manual_seed(0)
        made = mc.models.create(model)
        made.config["classes"] = [f"class {number}" for number in range(classes)]
        (folder / "runs" / name).mkdir(parents=True)
        mc.save(made, folder / "runs" / name / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.stem)
def test_example(path, tmp_path):
    if path.stem in SMALL:
        untrained_runs(tmp_path)
    ran = subprocess.run([sys.executable, str(path), *SMALL.get(path.stem, [])], capture_output=True, text=True,
                         timeout=600, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]


def test_the_cost_of_an_op():
    """Three files and thirty lines at most, as the example counts them."""
    texts = [text for text, _ in runpy.run_path(str(EXAMPLES / "add_an_op.py"))["EDITS"].values()]
    assert len(texts) <= 3
    assert sum(1 for text in texts for line in text.splitlines() if line.strip()) <= 30


def test_the_gallery_has_its_pictures_and_is_light():
    """Its page, the pictures it names, no others, and less than a megabyte."""
    here = EXAMPLES
    named = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (here / "gallery.md").read_text())
    there = {str(file.relative_to(here)) for file in (here / "gallery").iterdir()}
    assert set(named) == there and sum((here / file).stat().st_size for file in there) < 1_000_000
