"""The onnx package's own cases for operators, node by node, and networks that PyTorch once exported to it."""

import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from .adapter import OPERATORS, NotHere, run  # noqa: E402 - it is of no use without onnx

CONVERTED = "exported by PyTorch"
WINDOWED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool",
            "MaxUnpool")
#: A case a line, with the reason why it isn't run.
NOT_RUN = dict(line.split(": ", 1) for line in Path(__file__).with_name("not_run.txt").read_text().splitlines())


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Any]]:
    """All cases whose operators the adapter knows, by the last operator, or as CONVERTED."""
    from onnx.backend.test.loader import load_model_tests

    found = defaultdict(list)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the arithmetic by which onnx makes its cases
        for case in load_model_tests(kind="node"):
            found[case.model.graph.node[-1].op_type].append((case, case.model, case.data_sets))
        for case in load_model_tests(kind="pytorch-converted"):
            folder = Path(case.model_dir)
            found[CONVERTED].append((case, onnx.load(folder / "model.onnx"), stored_data(folder)))
    return {name: [entry for entry in entries if known(entry[1])] for name, entries in found.items()}


def known(model: Any) -> bool:
    return all(node.op_type in OPERATORS for node in model.graph.node)


def stored_data(folder: Path) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Inputs and expected outputs, from files."""
    def arrays(place: Path, kind: str) -> list[np.ndarray]:
        files = [place / f"{kind}_{i}.pb" for i in range(len(list(place.glob(f"{kind}_*.pb"))))]
        return [onnx.numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes())) for file in files]

    return [(arrays(place, "input"), arrays(place, "output")) for place in sorted(folder.glob("test_data_set_*"))]


def check(case: Any, model: Any, data: Any) -> None:
    for inputs, expected in data:
        for result, wanted in zip(run(model, inputs), expected, strict=True):
            assert result.shape == wanted.shape
            np.testing.assert_allclose(result, wanted, rtol=case.rtol, atol=case.atol)


@pytest.mark.parametrize("name", [CONVERTED, *sorted(OPERATORS)])
def test_cases_pass_or_are_listed(cases, name):
    failed, not_run = [], {}
    for case, model, data in cases.get(name, []):
        try:
            check(case, model, data)
        except NotHere as reason:
            not_run[case.name] = str(reason)
        except Exception as error:
            failed.append(f"{case.name}: {type(error).__name__}: {error}")
    assert not failed, "\n".join(failed)
    names = {case.name for case, _, _ in cases.get(name, [])}
    assert not_run == {case: reason for case, reason in NOT_RUN.items() if case in names}


def test_nothing_is_listed_that_is_no_case(cases):
    assert not set(NOT_RUN) - {case.name for entries in cases.values() for case, _, _ in entries}


def test_nearly_all_convolutions_and_pools_in_floats_run(cases):
    names = [case.name for entries in cases.values() for case, model, data in entries
             if any(node.op_type in WINDOWED for node in model.graph.node) and data[0][0][0].dtype.kind == "f"]
    run = [name for name in names if name not in NOT_RUN]
    assert len(names) > 90 and len(run) / len(names) >= 0.95, f"{len(run)} of {len(names)}"
