"""Rows as tables and pictures."""

import io
import json

import pytest

from minicnn.benchmarks import pictures
from minicnn.benchmarks.machine import describe
from minicnn.benchmarks.pairs import Pairing
from minicnn.benchmarks.report import cells, cost, markdown
from minicnn.benchmarks.results import FAILED, NOT_RUN, Measured, Row, Settings, paired

TRAINED = Row("train", "smile", 32, "cpu", "torch", paired(
    Pairing([0.02] * 5, [0.03, 0.04, 0.05, 0.06, 0.07], rounds=8, clean=5), note="NCHW, fused Adam"))
ROWS = [
    TRAINED,
    Row("train", "smile", 32, "cuda", "torch", Measured(status=NOT_RUN, note="no GPU")),
    Row("train", "mnist", 2, "cpu", "torch", Measured(1.5, note="PyTorch is not installed")),
    Row("inference", "vgg16", 1, "cpu", "onnxruntime", Measured(status=FAILED, note="the outputs differ | much")),
    Row("memory", "smile", 32, "cpu", "torch", Measured(50.0, 75.0, 1.5, unit="MiB", note="NCHW")),
    Row("scaling", "smile", 4, "cpu", "torch", Measured(2.0, 3.0, 1.5, multiply_adds=10**9)),
    Row("scaling", "pictures of 64", 4, "cpu", "torch", Measured(4.0, 4.0, 1.0, multiply_adds=10**9)),
]


def test_a_paired_row():
    assert cells(TRAINED) == ["smile", "32", "cpu", "20 ms", "PyTorch", "50 ms", "**2.50** (2.00 - 3.00)",
                              "NCHW, fused Adam; 5 clean of 8 rounds"]


def test_too_few_clean_rounds_are_told():
    measured = paired(Pairing([1.0] * 9, [1.0] * 9, rounds=9, clean=2))
    assert cells(Row("train", "x", 1, "cpu", "torch", measured))[-1] == "2 clean of 9 rounds, so all of them count"


def test_cost_per_multiply_add():
    assert cost(2.0, Measured(multiply_adds=10**9)) == pytest.approx(2.0)  # 2 ms / 1e9 = 2 ps
    assert cost(None, Measured(multiply_adds=10**9)) is None and cost(2.0, Measured()) is None


def test_the_report_has_a_table_for_each_part():
    machine = describe() | {"processor": "Some Processor", "caches": {"L1d": "32K"}, "commit": "abc",
                            "vector_level": "avx2", "held_by": {"MINICNN_VECTOR": "avx2"}}
    text = markdown(machine, Settings(threads=1), ROWS)
    for expected in ("Some Processor", "L1d 32K", "commit abc",
                     "- 1 thread on either side; minicnn's vectors: avx2, MINICNN_VECTOR=avx2\n",
                     "| smile | 32 | cuda | not run | PyTorch |  |  | no GPU |",
                     "| mnist | 2 | cpu | 1.5 ms | PyTorch |  |  | PyTorch is not installed |",
                     "| vgg16 | 1 | cpu | failed | ONNX Runtime |  |  | the outputs differ / much |",
                     "| smile | 32 | cpu | 50 MiB | PyTorch | 75 MiB | **1.50** | NCHW |",
                     "| smile | 4 | cpu | 2 ms | 2.0 ps | PyTorch | 3 ms | **1.50** |  |"):
        assert expected in text
    assert text.count("\n## ") == 4
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_a_machine_is_plain_values(monkeypatch):
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    found = json.loads(json.dumps(describe(), allow_nan=False))
    assert found["cores"] >= 1 and found["vector_level"] and found["versions"]["numpy"]
    assert found["held_by"]["ATEN_CPU_CAPABILITY"] == "avx2" and "ONEDNN_MAX_CPU_ISA" not in found["held_by"]


def test_pictures_are_drawn():
    for figure in (pictures.ratios_figure(ROWS), pictures.scaling_figure(ROWS)):
        file = io.BytesIO()
        figure.savefig(file, format="png")
        assert file.getvalue().startswith(b"\x89PNG")


def test_nothing_to_draw():
    assert pictures.ratios_figure(ROWS[1:3]) is None and pictures.scaling_figure(ROWS[:1]) is None
