"""Are the checks of the GPU's kernels good enough? Break the kernels, one small thing at a time, and see.

    python -m tests.kernels.cuda.mutation                    # every mutant of every kernel: hours
    python -m tests.kernels.cuda.mutation conv pool          # of the kernels and functions in these modules
    python -m tests.kernels.cuda.mutation --sample 40        # so many, picked by a digest of the kernels' sources

A mutant is a kernel, or a function that kernels call, with one barrier removed, one guard dropped, one bound moved by
one, or one sum that starts elsewhere (mutants.py). It runs on the test cases of the contracts whose kernels contain it,
in the emulator's checked mode and in both orders of the threads, until a check finds a fault or a value is not the
reference's. One that nobody notices must stand in survivors.json with the reason why it is harmless, unless the
compiler makes the very same PTX of it.
"""

import argparse
import inspect
import json
import random
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from hashlib import sha256
from importlib import import_module
from itertools import islice, product
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from numba.core.errors import NumbaError
from numba.types import Type

from minicnn.kernels.contracts import CONTRACTS
from minicnn.kernels.cuda.compiler import KERNELS, Variant, _sources
from minicnn.kernels.cuda.devices import open_device
from minicnn.kernels.cuda.emulated import mode
from minicnn.kernels.cuda.emulator import KernelFault
from minicnn.kernels.cuda.tile import LARGE

from ..calling import Backend, call, on_devices
from ..cases import CASES, Case
from ..test_contracts import check
from . import test_copies, test_functions, test_indexing, test_layouts, test_tiles
from .mutants import PACKAGE, Mutant, Target, broken, modules, mutants

SURVIVORS = Path(__file__).with_name("survivors.json")
#: Tests of wrong indices, and of numbers that are none of a probability.
OF_INDICES = ("test_the_first_wrong_index_of_the_first_call_is_named", "test_what_is_an_index",
              "test_what_is_a_probability", "test_nothing_is_read_or_written_through_a_wrong_index",
              "test_an_index_into_nothing", "test_sparse_rows_must_follow_each_other",
              "test_sparse_columns_must_be_there")
SECONDS = 600  # that one mutant may take
VERDICTS = ("finding", "value", "refused", "same PTX", "harmless", "stillborn", "SURVIVED", "UNTRIED")

#: A case, its dtype, and the kernels that it launches.
Launch = tuple[Case, type, tuple[Variant, ...]]


def emulator() -> Backend:
    (backend,) = [backend for backend in on_devices() if backend.name == "emulator"]
    return backend


@cache
def launches() -> list[Launch]:
    """All cases that are not large, and what they launch; from quick ones to slow ones. Nothing runs."""
    found, backend, device = [], emulator(), open_device("emulator")
    launched: dict[Variant, None] = {}

    def load(variant: Variant) -> tuple[None, Callable[..., bytes]]:
        launched[variant] = None
        return None, lambda *arguments: b""

    with patch.object(device, "load", load), patch.object(device.backend, "run", lambda *arguments: None):
        for case in (case for name in CASES for case in CASES[name] if not case.label.startswith("large")):
            for dtype in case.dtypes:
                inputs, params = case.inputs(dtype)
                launched.clear()
                call(backend.kernel(case.kernel), CONTRACTS[case.kernel], inputs, params, dtype)
                work = (1 + sum(array.size for array in inputs if array is not None)) * case.terms
                found.append((work, (case, dtype, tuple(launched))))
    return [launch for _, launch in sorted(found, key=lambda one: one[0])]


@cache
def launches_of(target: Target, few: int) -> list[Launch]:
    """Those that run the target's code. What launches the same kernels comes together; first one type of numbers of
    each kernel and setting, and those with most cases for the text that is to be compiled. Of a function that dozens
    of kernels call, `few` of them.

    Of the elementwise kernels each walk is run with one formula: all formulas have it in common.
    """
    found: dict[Any, Launch] = {}
    for launch in launches():
        case, dtype, variants = launch
        if any(_contains(variant, target) for variant in variants):
            walk = case.label, dtype, *(variant.kernel for variant in variants)
            found.setdefault(walk if target.module == "elementwise" else launch, launch)
    groups: dict[tuple[Variant, ...], list[Launch]] = {}
    for launch in found.values():
        groups.setdefault(launch[2], []).append(launch)
    of_kind: Counter[Any] = Counter()
    ordered = []
    for variants, group in sorted(groups.items(), key=lambda one: sum(map(_length, one[0])) / len(one[1])):
        kind = tuple((one.kernel, *(s for s in one.settings if not isinstance(s, Type))) for one in variants)
        ordered.append((of_kind[kind], group))
        of_kind[kind] += 1
    return [launch for _, group in sorted(ordered, key=lambda one: one[0])[:few] for launch in group]


def _contains(variant: Variant, target: Target) -> bool:
    text = _text(target)
    return any(one in text if target.makes else one == text for one in _texts(variant))


@cache
def _text(target: Target) -> str:
    return inspect.getsource(target.function)


@cache
def _texts(variant: Variant) -> frozenset[str]:
    """Of the kernel and all functions that it calls."""
    return frozenset(_sources(variant.function, set()))


def _length(variant: Variant) -> int:
    return sum(map(len, _texts(variant)))


def judge(mutant: Mutant, its_launches: Sequence[Launch]) -> tuple[str, str]:
    """One of VERDICTS, and what was noticed."""
    backend = emulator()
    checks = [(f"{case.kernel} {case.label}", partial(check, case, dtype, "", backend))
              for case, dtype, _ in its_launches]
    checks += [(test.func.__name__, partial(_checked, test)) for test in further(mutant.target.module)]
    try:
        with broken(mutant):
            for name, run in checks:  # noqa: B007 - it is named below
                run()
            changed = _compiled()
    except NumbaError as error:
        return "stillborn", _first_line(error)
    except KernelFault as error:
        return "finding", f"{name}: {_first_line(error)}"
    except (AssertionError, pytest.fail.Exception) as error:
        return "value", f"{name}: {_first_line(error)}"
    except Exception as error:  # noqa: BLE001 - whatever it is, somebody noticed
        return "refused", f"{name}: {type(error).__name__}: {_first_line(error)}"
    if not any(_contains(variant, mutant.target) for variant, _ in changed):
        return "UNTRIED", "nothing runs it"
    same = all(_numbered_anew(variant.compiled(capability).ptx) == _numbered_anew(ptx)
               for (variant, capability), ptx in changed.items())
    return ("same PTX", "") if same else ("SURVIVED", f"{len(checks)} checks")


@cache
def further(module: str) -> list[partial[None]]:
    """Tests of what the contracts' cases don't reach, for the mutants of a module."""
    if module == "copy":
        return [*_calls(test_copies.test_arrays_become_those_of_another_type),
                *_calls(test_copies.test_negative_floats_become_bytes_by_way_of_integers)]
    if module == "power":
        return [*_calls(test_functions.test_pow_of_large_and_small_results),
                *_calls(test_functions.test_pow_of_results_beyond_all_numbers),
                *_calls(test_functions.test_pow_where_ieee_754_says_what_it_is)]
    if module == "trigonometry":
        return [*_calls(test_functions.test_sin_and_cos_where_there_is_nothing_to_reduce),
                *_calls(test_functions.test_sin_of_the_float64_that_is_nearest_to_a_multiple_of_half_pi),
                *_calls(test_functions.test_sin_and_cos_of_any_number)]
    if module == "norm":
        return [*_calls(test_layouts.test_moments_in_layouts_of_larger_arrays, gpu="emulator")]
    if module == "optim":
        return [*_calls(test_copies.test_all_parameters_in_one_launch, monkeypatch=pytest.MonkeyPatch())]
    if module in ("indexing", "softmax", "picture"):
        return [*[call for name in OF_INDICES for call in _calls(getattr(test_indexing, name))],
                *_calls(test_indexing.test_losses_name_themselves, full_speed=None)]
    if module in ("tile", "matmul", "conv_gather", "conv_weight"):
        emulator = open_device("emulator")
        return [partial(test_tiles.test_products, LARGE, 3, emulator=emulator),
                *_calls(test_tiles.test_pieces_of_nothing, emulator=emulator),
                *_calls(test_tiles.test_tiles_that_small_cases_do_not_take_convolve, emulator=emulator)]
    return []


def _calls(test: Callable[..., None], **fixtures: Any) -> Iterator[partial[None]]:
    """The calls that pytest would make of a parametrised test."""
    tables = [mark.args for mark in getattr(test, "pytestmark", ())]
    for row in product(*(values for _, values in tables)):
        named = {}
        for (names, _), value in zip(tables, row, strict=True):
            named |= {names: value} if isinstance(names, str) else dict(zip(names, value, strict=True))
        yield partial(test, **named, **fixtures)


def _checked(test: Callable[[], None]) -> None:
    for order in ("checked", "reverse"):
        with mode(order):
            test()


def _compiled() -> dict[tuple[Variant, tuple[int, int]], str]:
    """The PTX of what was compiled since the kernels were broken."""
    return {(variant, capability): compiled.ptx for kernel in KERNELS.values() for variant in kernel._made.values()
            for capability, compiled in variant._compiled.items()}


def judged(found: Iterable[Mutant], few: int, jobs: int) -> Iterator[tuple[Mutant, str, str]]:
    """Each mutant with what `judge` says of it, as they come; in a process each, since what is broken ends with it."""
    context, waiting = get_context("fork"), iter(found)
    running: dict[Connection, tuple[Mutant, Any]] = {}
    while True:
        for mutant in islice(waiting, jobs - len(running)):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_judge_there, args=(mutant, launches_of(mutant.target, few), sender))
            process.start()
            sender.close()
            running[receiver] = mutant, process
        if not running:
            return
        for receiver in wait(list(running)):
            assert isinstance(receiver, Connection)
            mutant, process = running.pop(receiver)
            try:
                verdict, how = receiver.recv()
                process.join()
            except EOFError:
                process.join()
                verdict, how = "UNTRIED", f"its process ended with {process.exitcode}"
            yield mutant, verdict, how


def _judge_there(mutant: Mutant, its_launches: Sequence[Launch], sender: Connection) -> None:
    signal.alarm(SECONDS)  # which ends the process
    sender.send(judge(mutant, its_launches))


def _numbered_anew(ptx: str) -> str:
    """PTX without the numbers that Numba gives to what it compiles in one process."""
    names: dict[str, str] = {}
    return re.sub(r"\b_(ZN|cudapy_)\w+", lambda found: names.setdefault(found[0], f"_{len(names)}"), ptx)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:150]


def digest() -> str:
    """Of all kernels' sources."""
    sources = [inspect.getsource(import_module(f"{PACKAGE}.{module}")) for module in modules()]
    return sha256("".join(sources).encode()).hexdigest()[:16]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help="of kernels/cuda; all, if none is named")
    parser.add_argument("--sample", type=int, help="so many mutants, picked by a digest of the kernels' sources")
    parser.add_argument("--only", default="", help="mutants whose name contains this text")
    parser.add_argument("--kernels", type=int, default=16, help="to try a function with that more of them call")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    chosen = parser.parse_args()
    known: dict[str, str] = json.loads(SURVIVORS.read_text())
    stale = known.keys() - {mutant.name for mutant in mutants(modules())}
    for name in sorted(stale):
        print(f"survivors.json names what is no mutant: {name}")

    found = [mutant for mutant in mutants(chosen.modules or modules()) if chosen.only in mutant.name]
    if chosen.sample:
        found = random.Random(digest()).sample(found, min(chosen.sample, len(found)))
        print(f"seed {digest()}")
    print(f"{len(found)} mutants, {len(launches())} launches", flush=True)
    case, dtype, _ = launches()[0]
    check(case, dtype, "", emulator())  # so that what each process needs to compile is loaded before they part

    counts: Counter[tuple[str, str]] = Counter()
    for mutant, verdict, how in judged(found, chosen.kernels, chosen.jobs):
        if verdict in ("SURVIVED", "same PTX") and mutant.name in known:
            verdict, how = "harmless", known[mutant.name]
        elif mutant.name in known:
            how += " - but survivors.json calls it harmless"
            stale.add(mutant.name)
        counts[mutant.kind, verdict] += 1
        print(f"{verdict:9} {mutant.name}: {how}", flush=True)
    for kind in ("barrier", "guard", "bound", "start"):
        print(f"{kind:8}", ", ".join(f"{counts[kind, verdict]} {verdict}" for verdict in VERDICTS))
    survived, untried = (sum(count for (_, verdict), count in counts.items() if verdict == one)
                         for one in ("SURVIVED", "UNTRIED"))
    print(f"{survived} survived that survivors.json does not explain, {untried} could not be tried; "
          f"{len(stale)} entries of survivors.json are wrong")
    return int(survived + untried + len(stale) > 0)


if __name__ == "__main__":
    sys.exit(main())
