"""Every kernel of every backend against the reference in float64; and the contracts themselves."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from minicnn.kernels import reference
from minicnn.kernels.contracts import CONTRACTS, Contract

from .calling import (
    Backend,
    allocate,
    backends,
    call,
    copied,
    fenced,
    in_float64,
    result_names,
    same,
    settings_kept,
)
from .cases import CASES, Case

BACKENDS = backends()
IN_PLACE = [backend for backend in BACKENDS if backend.its_memory]

# A sum of n numbers rounds n times, by at most eps of what it has come to: the errors, being of either sign, add up to
# about eps * sqrt(n) of the largest result. 16 leaves room for exp and its like (a few eps each, several in a formula)
# and for sums that end smaller than they were on the way. Both sides get the same inputs, so what is allowed is
# 1.9e-6 * sqrt(n) in float32 and 3.6e-15 * sqrt(n) in float64.
ROUNDINGS = 16

#: Formulas that are held to eps of each element, however small: small results are what expm1 and log1p are for.
#: Others may cancel digits; they are held to eps of the largest of 1, the element and the numbers it was made of.
RELATIVE = {"add", "sub", "mul", "div", "pow", "exp", "expm1", "log1p", "sqrt", "tanh", "erf", "sigmoid", "elu"}


def finite_size(array: np.ndarray) -> np.ndarray:
    return np.abs(np.where(np.isfinite(array), array, 0))


def tolerance(case: Case, dtype: Any, expected: np.ndarray, inputs: list[Any]) -> Any:
    """The error allowed: for each element of an elementwise kernel, else one for all of them."""
    info, scale = np.finfo(dtype), finite_size(expected)
    if not CONTRACTS[case.kernel].formula:
        scale = scale.max(initial=0)
    elif case.kernel not in RELATIVE:
        for array in inputs:
            scale = np.maximum(scale, np.maximum(1, finite_size(array)))
    return ROUNDINGS * float(info.eps) * np.sqrt(max(1, case.terms)) * scale + float(info.tiny)


def assert_close(got: np.ndarray, expected: np.ndarray, name: str, case: Case, inputs: list[Any]) -> None:
    assert got.shape == expected.shape
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected, err_msg=name)
        return
    with np.errstate(over="ignore"):
        rounded = expected.astype(got.dtype)  # what is too large for float32 is infinite there
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(np.where(finite, 0, got), np.where(finite, 0, rounded),
                                  err_msg=f"NaN and infinities of {name}")
    error = np.abs(np.where(finite, got, 0) - np.where(finite, expected, 0))
    worst = np.max(error / tolerance(case, got.dtype, expected, inputs), initial=0)
    assert worst <= 1, f"{name} is off by up to {error.max():.3g}, {worst:.3g} times what is allowed"


@lru_cache(maxsize=8)  # the backends' tests of a case follow each other
def by_reference(case: Case, dtype: type) -> list[np.ndarray]:
    inputs, params = case.inputs(dtype)
    wide = np.float64 if dtype == np.float32 else dtype
    with np.errstate(all="ignore"):
        return call(reference.kernel(case.kernel), CONTRACTS[case.kernel], list(map(in_float64, inputs)), params, wide)


def check(case: Case, dtype: type, algorithm: str, backend: Backend) -> None:
    contract, kernel = CONTRACTS[case.kernel], backend.kernel(case.kernel)
    inputs, params = case.inputs(dtype)
    names = result_names(contract, inputs)
    extra = (algorithm,) if algorithm else ()

    backend.set_num_threads(1)
    results = call(kernel, contract, inputs, params, dtype, *extra)
    for name, got, expected in zip(names, results, by_reference(case, dtype), strict=True):
        assert_close(got, expected, name, case, inputs)

    backend.set_num_threads(2)
    again = call(kernel, contract, inputs, params, dtype, *extra, place=fenced)
    for name, got, first in zip(names, again, results, strict=True):
        assert same(got, first), f"{name} differs with 2 threads, elsewhere in memory: {got} instead of {first}"


@pytest.fixture(autouse=True)
def backends_as_before() -> Iterator[None]:
    with settings_kept():
        yield


@pytest.mark.parametrize(("case", "backend"), [
    pytest.param(case, backend, id=f"{case.kernel}-{case.label}-{backend.name}")
    for cases in CASES.values() for case in cases for backend in BACKENDS
    if backend.its_memory or not case.label.startswith("large")])
def test_kernel(case: Case, backend: Backend) -> None:
    """It gives what the reference gives, and the same bits with two threads and at another place in memory."""
    algorithms = case.algorithms if backend.its_memory else ()
    for dtype, algorithm in product(case.dtypes, algorithms or ("",)):
        try:
            check(case, dtype, algorithm, backend)
        except Exception as error:
            error.add_note(f"{case.kernel} {algorithm} on {np.dtype(dtype)}, {backend.name}")
            raise


# ------------------------------------------------------------------------------- what a kernel refuses

def spaced(array: np.ndarray) -> np.ndarray:
    """The same numbers with gaps between them."""
    return np.repeat(array, 2, axis=-1)[..., ::2]


def fullest(name: str) -> Case:
    """The case with the most arrays of two elements or more."""
    def count(case: Case) -> int:
        inputs, params = case.inputs(case.dtypes[0])
        outputs = allocate(CONTRACTS[name], inputs, params, case.dtypes[0])
        return sum(array is not None and array.size > 1 for array in [*inputs, *outputs])

    return max((case for case in CASES[name] if not case.label.startswith("large")), key=count)


@pytest.mark.parametrize("backend", IN_PLACE, ids=lambda backend: backend.name)
@pytest.mark.parametrize("name", CONTRACTS)
def test_refuses_arrays_with_gaps(name: str, backend: Backend) -> None:
    contract, case = CONTRACTS[name], fullest(name)
    inputs, params = case.inputs(case.dtypes[0])
    arrays = [*inputs, *allocate(contract, inputs, params, case.dtypes[0])]
    extra = case.algorithms[:1]
    for place, argument in enumerate(contract.inputs + contract.outputs):
        if arrays[place] is None or arrays[place].size < 2:
            continue
        passed = [copied(array) for array in arrays]
        passed[place] = spaced(arrays[place])
        with pytest.raises(ValueError, match="contiguous"):
            backend.kernel(name)(*passed, *(params[p] for p in contract.params), *extra)
        for other, before, after in zip(contract.inputs + contract.outputs, arrays, passed, strict=True):
            assert before is None or same(before, after), f"{other.name} changed where {argument.name} has gaps"


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@pytest.mark.parametrize("wrong", [-1, 5, 2**40, -2**63])
@pytest.mark.parametrize("threads", [1, 2])
def test_take_pick_and_blend_refuse_an_index_outside(wrong: int, threads: int, backend: Backend) -> None:
    backend.set_num_threads(threads)
    x, index = np.zeros((3, 5, 4001)), np.zeros((3, 4001), np.int64)
    index[2, 4000] = wrong
    with pytest.raises(IndexError):
        backend.kernel("pick")(x, index, np.empty((3, 4001)))
    with pytest.raises(IndexError):
        backend.kernel("take")(x, np.array([0, 4, wrong, 1]), np.empty((3, 4, 4001)))
    with pytest.raises(IndexError):
        backend.kernel("blend")(np.zeros((5, 7)), np.array([0, 4, 3, wrong, 1]), np.ones(5), np.empty((5, 7)))


# ------------------------------------------------------------------------------- what a contract needs

@pytest.mark.parametrize("name", CONTRACTS)
def test_every_contract_has_cases_a_reference_and_kernels(name: str) -> None:
    assert CASES[name], f"tests/kernels/cases_*.py have no case for {name}"
    floats = {np.dtype(dtype) for case in CASES[name] for dtype in case.dtypes} & {np.dtype("f4"), np.dtype("f8")}
    takes_floats = any(a.kind in "ft" for a in CONTRACTS[name].inputs) and "f" in CONTRACTS[name].kinds
    assert len(floats) == 2 or not takes_floats, f"the cases of {name} are not tried with both float dtypes"
    assert callable(reference.kernel(name)), f"kernels/reference.py has no {name}"
    for backend in BACKENDS:
        assert callable(backend.kernel(name)), f"{backend.name} has no {name}"


def test_there_are_no_cases_without_a_contract() -> None:
    assert set(CASES) == set(CONTRACTS)
    names = [(case.kernel, case.label, dtype) for cases in CASES.values() for case in cases for dtype in case.dtypes]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS.keys())
def test_contract_reads_well(contract: Contract) -> None:
    arguments = contract.inputs + contract.outputs
    taken = [argument.name for argument in contract.inputs] + list(contract.params)
    assert len(taken) == len(set(taken))
    assert all(argument.kind in "fitbuop" for argument in arguments)
    assert contract.doc
    assert contract.family
    if contract.family == "conv":
        assert {"direct", "reference"} <= set(contract.algorithms)
