"""`minicnn kernels`: a row for each kernel and kind of GPU."""

import json

import pytest

pytest.importorskip("numba.cuda", reason="the GPU's kernels need numba-cuda")

from minicnn.kernels.cuda import assembler, inspection  # noqa: E402

if assembler.find_ptxas() is None:
    pytest.skip("ptxas is not installed", allow_module_level=True)


CHEAP = "mirrored", "blended"  # to compile


def rows_of(result):
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def test_rows_come_in_order_from_however_many_processes(run, monkeypatch):
    """Of each kernel by name, for each compute capability; the numbers don't depend on who worked them out."""
    monkeypatch.setattr("minicnn.commands.kernels.get_num_threads", lambda: 2)
    by_two = rows_of(run("kernels", *CHEAP, "--json"))
    names = [variant.name for variant in inspection.all_variants() if variant.name.startswith(CHEAP)]
    assert [(row["kernel"], row["cc"]) for row in by_two] == [(n, cc) for n in names for cc in ("7.0", "8.0", "9.0")]
    monkeypatch.setattr("minicnn.commands.kernels.get_num_threads", lambda: 1)
    assert rows_of(run("kernels", *CHEAP, "--json")) == by_two


def test_what_a_row_says(run):
    (row,) = rows_of(run("kernels", "add_parts_float32", "--cc", "8.0", "--json"))
    assert row["cc"] == "8.0" and row["threads"] == 256 and 0 < row["registers"] <= 64
    assert row["spill_stores"] == row["spill_loads"] == row["shared_bytes"] == 0
    assert row["occupancy"] == 1 and row["ptx_instructions"] > 10


def test_a_broken_budget_is_an_error(run, monkeypatch):
    """Exit code 1, and what is wrong on standard error."""
    monkeypatch.setattr(inspection, "_budgets", lambda: {"default": {"registers": 1, "shared_bytes": 0,
                                                                     "stack_bytes": 0}})
    code, out, err = run("kernels", "add_parts_float32", "--cc", "9.0", "--json")
    assert code == 1 and json.loads(out)[0]["cc"] == "9.0"
    assert "add_parts_float32, 9.0: " in err and "registers, its budget is 1" in err


def test_compiling_is_told_of_once(run, tmp_path, monkeypatch):
    """It may take minutes. Of PTX that is there already there is nothing to tell."""
    monkeypatch.setenv("MINICNN_CACHE", str(tmp_path))
    monkeypatch.setattr("minicnn.commands.kernels.get_num_threads", lambda: 1)
    for variant in inspection.all_variants():
        monkeypatch.setattr(variant, "_compiled", {})
    for expected in 1, 0:
        _, out, err = run("kernels", "add_parts", "--cc", "8.0", "--json")
        assert len(json.loads(out)) == 2 and err.count("Compiling") == expected


def test_wrong_names(run):
    code, out, err = run("kernels", "no_such_kernel")
    assert code == 2 and out == "" and "no_such_kernel" in err
    code, out, err = run("kernels", "add_parts", "--cc", "1.0")
    assert code == 2 and out == "" and "7.0" in err


def test_an_op_stands_for_its_kernels(run):
    rows = rows_of(run("kernels", "softmax", "--cc", "8.0", "--json"))
    assert {row["kernel"].partition("_float")[0] for row in rows} == {"normalised_exp"}


def test_the_ptx_has_numbered_lines(run):
    code, out, err = run("kernels", "add_parts_float32", "--ptx")
    assert code == 0, err
    first, *lines = out.splitlines()
    assert first == "add_parts_float32, compute capability 8.0"
    assert [int(line.split()[0]) for line in lines] == list(range(1, len(lines) + 1))
    assert any(".entry add_parts_float32(" in line for line in lines)


def test_an_unknown_name_is_refused(run):
    code, _, err = run("kernels", "conv9d")
    assert code == 2 and "conv9d" in err
