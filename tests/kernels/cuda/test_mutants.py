"""What mutation testing breaks, and that it mends it again."""

import ast
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from minicnn.kernels.cuda import reduce  # noqa: E402

from .mutants import Changes, broken, mutants  # noqa: E402

KERNEL = """
def walk(x, y, n, length):
    shared = cuda.shared.array(32, real)
    i = position()
    if i >= n:
        return
    best, total, far = real(worst), real(0), False
    end, at = min(length, n), uint32(0)
    while at < end and not far:
        total += x[at] if at > i else real(1)
        at = uint32(at + 1)
    shared[i] = total
    cuda.syncthreads()
    total, apart = shared[0], uint32(16)
    for k in range(1, 32):
        total += shared[k]
    h = i
    while h != end:
        h = uint32(h + 1)
    if total > best:
        y[i] = total
    else:
        y[i] = best
"""

FOUND = {
    "barrier": ["without cuda.syncthreads()"],
    "guard": [
        "as if not i >= n", "min(length, n): always length", "min(length, n): always n",
        "at < end and (not far): without at < end", "at < end and (not far): without not far",
        "x[at] if at > i else real(1): always x[at]", "x[at] if at > i else real(1): always real(1)",
        "as if total > best", "as if not total > best"],
    "bound": [
        "apart = uint32(16) -> uint32(16 + 1)",
        "i >= n -> i > n", "at < end -> at <= end", "at > i -> at >= i", "range(1, 32) -> range(1 + 1, 32)",
        "range(1, 32) -> range(1, 32 + 1)", "while h != end + 1", "total > best -> total >= best"],
    "start": ["best = real(worst) -> real(113)", "total = real(0) -> real(113)", "far = False -> True",
              "total = shared[0] -> shared[0] + 113"],
}


def changed(wanted: int) -> tuple[str, list[tuple[str, str]]]:
    tree, changes = ast.parse(KERNEL), Changes(wanted)
    return ast.unparse(ast.fix_missing_locations(changes.visit(tree))), changes.found


def test_every_kind_of_change_is_found_wherever_it_can_be_made() -> None:
    found = changed(-1)[1]
    assert {kind: sorted(what for its, what in found if its == kind) for kind in FOUND} == \
        {kind: sorted(whats) for kind, whats in FOUND.items()}
    texts = [changed(number)[0] for number in range(len(found))]
    assert len({*texts, ast.unparse(ast.parse(KERNEL))}) == len(found) + 1, "two mutants are the same, or one is none"


@pytest.mark.parametrize(("what", "gone", "there"), [
    ("as if not i >= n", "return", "i = position()"),
    ("as if not total > best", "y[i] = total", "y[i] = best"),
    ("without cuda.syncthreads()", "syncthreads", "shared[i] = total"),
    ("total = real(0) -> real(113)", "real(0)", "real(113)"),
    ("far = False -> True", "False", "real(worst), real(0), True"),
    ("at < end and (not far): without at < end", "at < end", "while not far"),
])
def test_a_change_is_what_its_name_says(what: str, gone: str, there: str) -> None:
    text = changed([name for _, name in changed(-1)[1]].index(what))[0]
    assert gone not in text
    assert there in text


@pytest.mark.parametrize(("name", "text", "change"), [
    ("reduce.sums: total = real(0) -> real(113)", "0d405C400000000000", 1),
    ("layout.sum_over: without cuda.syncthreads()", "bar.sync", -1),
    ("layout.slots: min(width, uint32(32)): always width", "min.u32", -1)])
def test_a_broken_kernel_or_function_reaches_the_compiler_and_is_mended(
        name: str, text: str, change: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the function is called by another one, and all was compiled before."""
    monkeypatch.setenv("MINICNN_CACHE", str(tmp_path))
    (mutant,) = [mutant for mutant in mutants([name.split(".")[0]]) if mutant.name == name]
    variant = reduce.sums(np.float64, False)
    variant._compiled.clear()
    counts = [variant.compiled((8, 0)).ptx.count(text)]
    with broken(mutant):
        counts.append(variant.compiled((8, 0)).ptx.count(text))
    for file in tmp_path.iterdir():
        file.unlink()
    counts.append(variant.compiled((8, 0)).ptx.count(text))
    assert (counts[1] - counts[0]) * change > 0
    assert counts[2] == counts[0]


def test_no_two_mutants_have_the_same_name() -> None:
    names = [mutant.name for mutant in mutants(["reduce", "tile"])]
    assert len(names) == len(set(names))
