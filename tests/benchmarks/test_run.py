"""`python -m benchmarks run`, with runs too short to say anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import minicnn as mc
from minicnn.benchmarks import parts
from minicnn.benchmarks.__main__ import commands
from minicnn.benchmarks.results import Settings
from minicnn.benchmarks.run import measure
from minicnn.benchmarks.worker import Task, results
from minicnn.benchmarks.workloads import find

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["run", "--nets", "mnist", "--batch", "2", "--seconds", "0.2", "--threads", "1", "--peers", ""]


def test_a_run_writes_its_files(tmp_path):
    ran = CliRunner().invoke(commands, [*SHORT, "--parts", "train,memory", "--device", "cpu,cuda", "--json",
                                        "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    printed = json.loads(ran.stdout)
    assert printed == json.loads((tmp_path / "out" / "results.json").read_text())
    cpu, cuda, memory = printed["rows"]
    assert cpu["part"] == "train" and cpu["ours"] > 0 and cpu["batch"] == 2 and cpu["status"] == "run"
    assert cuda["device"] == "cuda" and (printed["machine"]["gpu"] or cuda["status"] == "not run")
    assert memory["unit"] == "MiB" and memory["ours"] >= 0
    assert printed["settings"]["threads"] == 1 and "written" in ran.stderr
    assert "## Training steps" in (tmp_path / "out" / "report.md").read_text()


def test_in_the_source_tree(tmp_path):
    ran = subprocess.run([sys.executable, "-m", "benchmarks", *SHORT, "--parts", "train", "--out", tmp_path],
                         capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0 and ran.stdout == "", ran.stderr
    assert (tmp_path / "results.json").exists()


@pytest.mark.parametrize("arguments, expected", [
    (["--nets", "resnet81"], "did you mean resnet18"),
    (["--peers", "tensorflow"], "there is torch, onnxruntime"),
    (["--parts", "trains"], "did you mean train"),
    (["--device", "tpus"], "there is cpu, cuda"),
    (["--batch", "0"], "expected positive integers"),
])
def test_wrong_options_are_refused(tmp_path, arguments, expected):
    ran = CliRunner().invoke(commands, ["run", *arguments, "--out", str(tmp_path / "out")])
    assert ran.exit_code == 2 and expected in ran.stderr and not (tmp_path / "out").exists()


def test_processes_at_once():
    task = Task("minicnn", "mnist", 2, threads=1, seconds=0.05)
    assert all(0 < seconds < 60 for seconds in results([task, task]))


def test_a_process_that_ends_says_why():
    with pytest.raises(RuntimeError, match="KeyError: 'nothing'"):
        results([Task("minicnn", "nothing", 2, threads=1)])


def test_what_each_way_to_be_fast_is_worth():
    settings = Settings(parts=("without", "limits"), works=(find("mnist"),), peers=(), threads=1, batches=(2,),
                        seconds=0.01)
    rows = [measure(job) for job in parts.jobs(settings)]
    assert [row.measured.status for row in rows] == ["run"] * len(rows), rows
    assert [row.work for row in rows[:2]] == ["mnist without Winograd's algorithm", "mnist without fusion"]
    assert {row.measured.unit for row in rows[2:]} == {"GFLOP/s", "GB/s"}
    assert mc.nn.fuse.fusion_enabled()
