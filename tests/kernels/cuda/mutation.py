"""Are the checks of the GPU's kernels good enough? Break the kernels, one small thing at a time, and see.

    python -m tests.kernels.cuda.mutation                    # every mutant of every kernel: hours
    python -m tests.kernels.cuda.mutation conv pool          # of the kernels in these modules
    python -m tests.kernels.cuda.mutation --sample 40        # so many, picked by a fixed seed

A mutant is a kernel (or a function that kernels call) with one barrier removed, one guard dropped, one bound moved by
one, or one sum that starts elsewhere. It runs on the test cases of the contracts that launch it, in the emulator's
checked mode, until a check finds a fault or a value is not the reference's. One that nobody notices must stand in
survivors.json with the reason why it is harmless. (DeMillo, Lipton & Sayward 1978, "Hints on test data selection".)
"""

import argparse
import ast
import inspect
import json
import random
import signal
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from numba.core.errors import NumbaError

from minicnn.kernels import cuda
from minicnn.kernels.contracts import CONTRACTS
from minicnn.kernels.cuda import launcher
from minicnn.kernels.cuda.compiler import KERNELS, Kernel

from ..calling import on_devices
from ..cases import CASES, Case
from ..test_contracts import check

SURVIVORS = Path(__file__).with_name("survivors.json")
SECONDS = 120  # that one mutant may take: some never end
PACKAGE = "minicnn.kernels.cuda"


@dataclass(frozen=True)
class Mutant:
    """`function` of `module` with its change number `number`; what: in words."""

    module: str
    function: str
    number: int
    what: str

    @property
    def name(self) -> str:
        return f"{self.module}.{self.function}: {self.what}"


# ---------------------------------------------------------------------------------------------------- the changes


class Changes(ast.NodeTransformer):
    """Walks a function and makes its change number `wanted`; with -1 none. found: all of them in words."""

    def __init__(self, wanted: int = -1) -> None:
        self.wanted, self.found = wanted, [""][:0]

    def _now(self, what: str) -> bool:
        self.found.append(what)
        return len(self.found) - 1 == self.wanted

    def visit_Expr(self, node: ast.Expr) -> Any:
        text = ast.unparse(node)
        if text in ("cuda.syncthreads()", "cuda.syncwarp()") and self._now(f"line {node.lineno}: without {text}"):
            return ast.Pass()
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> Any:
        text = ast.unparse(node.test)
        if self._now(f"line {node.lineno}: whether or not {text}"):
            return [*node.body] if not node.orelse else ast.If(ast.Constant(True), node.body, node.orelse)
        return self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        if self._now(f"line {node.lineno}: {ast.unparse(node.body)} whether or not {ast.unparse(node.test)}"):
            return node.body
        return self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> Any:
        further = {ast.Lt: ast.LtE, ast.GtE: ast.Gt, ast.LtE: ast.Lt, ast.Gt: ast.GtE}
        kind = type(node.ops[0])
        if len(node.ops) == 1 and kind in further:
            moved = ast.Compare(node.left, [further[kind]()], node.comparators)
            if self._now(f"line {node.lineno}: {ast.unparse(moved)}"):
                return moved
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Name) and node.func.id == "range":
            end = 0 if len(node.args) == 1 else 1
            moved = deepcopy(node)
            moved.args[end] = ast.BinOp(moved.args[end], ast.Add(), ast.Constant(1))
            if self._now(f"line {node.lineno}: {ast.unparse(moved)}"):
                return moved
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> Any:
        start = node.value
        zero = isinstance(start, ast.Call) and len(start.args) == 1 and isinstance(start.args[0], ast.Constant) \
            and start.args[0].value == 0 and ast.unparse(start.func) not in ("uint32", "u32")
        if zero and self._now(f"line {node.lineno}: {ast.unparse(node.targets[0])} starts at 113"):
            other = deepcopy(node)
            other.value.args[0] = ast.Constant(113)  # type: ignore[attr-defined]
            return other
        return self.generic_visit(node)


def _tree(function: Any) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def _inner(tree: ast.Module, is_kernel: bool) -> list[ast.FunctionDef]:
    """The device code: of a kernel's maker the functions inside it, of a helper itself."""
    outer = tree.body[0]
    assert isinstance(outer, ast.FunctionDef)
    return [n for n in ast.walk(outer) if isinstance(n, ast.FunctionDef) and n is not outer] if is_kernel else [outer]


def changed(function: Any, is_kernel: bool, wanted: int) -> tuple[ast.Module, list[str]]:
    """The source of a function with one change, and what changes there are."""
    tree, changes = _tree(function), Changes(wanted)
    for inner in _inner(tree, is_kernel):
        inner.body = [part for node in inner.body for part in _listed(changes.visit(node))]
    return ast.fix_missing_locations(tree), changes.found


def _listed(found: Any) -> list[Any]:
    """A transformer gives a statement, or several."""
    return found if isinstance(found, list) else [found]


def mutable(module: ModuleType) -> Iterator[tuple[str, Any, bool]]:
    """The kernels and helper functions that a module defines."""
    for name, value in vars(module).items():
        if isinstance(value, Kernel) and value.make.__module__ == module.__name__:
            yield name, value.make, True
        elif hasattr(value, "py_func") and value.py_func.__module__ == module.__name__:
            yield name, value.py_func, False


def mutants(modules: Sequence[str]) -> list[Mutant]:
    found = []
    for module in modules:
        for name, function, is_kernel in mutable(import_module(f"{PACKAGE}.{module}")):
            try:
                texts = changed(function, is_kernel, -1)[1]
            except OSError:  # made from a formula: no file holds it
                continue
            found += [Mutant(module, name, number, what) for number, what in enumerate(texts)]
    return found


@cache
def modules() -> tuple[str, ...]:
    """Those of kernels/cuda that hold kernels, or functions that kernels call."""
    names = sorted(module.name for module in iter_modules(cuda.__path__) if not module.ispkg)
    return tuple(name for name in names if list(mutable(import_module(f"{PACKAGE}.{name}"))))


def put(mutant: Mutant) -> None:
    """Put a mutant in the place of what it was made from, in this process."""
    module = import_module(f"{PACKAGE}.{mutant.module}")
    original = vars(module)[mutant.function]
    is_kernel = isinstance(original, Kernel)
    tree, _ = changed(original.make if is_kernel else original.py_func, is_kernel, mutant.number)
    outer = tree.body[0]
    assert isinstance(outer, ast.FunctionDef)
    outer.decorator_list = []
    source = ast.unparse(tree)
    space = dict(vars(module))
    exec(compile(source, f"<{mutant.name}>", "exec"), space)
    made = space[mutant.function if not is_kernel else original.make.__name__]
    made.__module__ = module.__name__
    made.source = source
    if is_kernel:
        new: Any = Kernel(_with_source(made, source), original.signature, original.threads, original.variants)
    else:
        from numba import njit

        new = njit(inline="always")(made)
    for name in modules():
        users = vars(import_module(f"{PACKAGE}.{name}"))
        for key, value in list(users.items()):
            if value is original:
                users[key] = new
    for kernel in KERNELS.values():
        kernel._made.clear()  # what was compiled with the original


def _with_source(make: Any, source: str) -> Any:
    """The maker, whose functions tell their source, so that the cache of PTX tells them from the original's."""
    def marked(*settings: Any) -> Any:
        function = make(*settings)
        function.source = source
        return function
    marked.__name__ = make.__name__
    marked.__signature__ = inspect.signature(make)  # type: ignore[attr-defined]
    return marked


# --------------------------------------------------------------------------------------------------------- running


def cases_of_kernels(chosen: Sequence[str]) -> dict[str, list[Case]]:
    """The cases whose calls launch each kernel: of the families that these modules belong to, or of all, if one of them
    belongs to none. One run of them all, in the fast mode."""
    homes = {module: family for family, its in cuda.FAMILIES.items() for module in its}
    homes |= {module: "conv" for module in modules() if module.startswith("conv_")}
    families = {homes.get(module, "") for module in chosen}
    from minicnn.kernels.cuda.devices import open_device

    emulator = open_device("emulator").backend
    found: dict[str, list[Case]] = defaultdict(list)
    launched: set[str] = set()
    original = launcher.Device.load

    def load(device: Any, variant: Any) -> Any:
        launched.add(variant.kernel.make.__name__)
        return original(device, variant)

    launcher.Device.load = load  # type: ignore[method-assign]
    emulator.mode = "fast"
    (backend,) = [b for b in on_devices() if b.name == "emulator"]
    try:
        for name, cases in CASES.items():
            for case in cases if "" in families or CONTRACTS[name].family in families else ():
                if not case.label.startswith("large"):
                    launched.clear()
                    run_case(case, backend, case.dtypes[:1], count=None)
                    for kernel in launched:
                        found[kernel].append(case)
    finally:
        launcher.Device.load = original  # type: ignore[method-assign]
    return found


def run_case(case: Case, backend: Any, dtypes: Any, count: int | None = 1) -> None:
    """The test of a case; count: 1 for the emulator's checked mode and its reverse, None to leave its mode."""
    if count is None:
        backend = type(backend)(backend.name, backend.kernel, lambda n: None, its_memory=False)
    for dtype in dtypes:
        check(case, dtype, "", backend)


def judge(mutant: Mutant, cases: dict[str, list[Case]]) -> tuple[str, str]:
    """How a mutant was noticed, "" if it wasn't."""
    def give_up(*_: Any) -> None:
        raise TimeoutError("it does not end")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    (backend,) = [b for b in on_devices() if b.name == "emulator"]
    affected = cases_for(mutant, cases)
    put(mutant)
    try:
        for case in affected:
            run_case(case, backend, case.dtypes[:1])
    except NumbaError as error:
        return mutant.name, f"stillborn, it does not compile: {str(error).splitlines()[0][:100]}"
    except AssertionError as error:
        return mutant.name, f"value: {str(error).strip().splitlines()[0][:150]}"
    except BaseException as error:  # noqa: BLE001 - whatever it is, somebody noticed
        return mutant.name, f"{type(error).__name__}: {str(error).strip().splitlines()[0][:150] if str(error) else ''}"
    finally:
        signal.alarm(0)
    return mutant.name, ""


def cases_for(mutant: Mutant, cases: dict[str, list[Case]]) -> list[Case]:
    """Those of the kernel, or of all kernels that call the helper."""
    module = import_module(f"{PACKAGE}.{mutant.module}")
    value = vars(module)[mutant.function]
    if isinstance(value, Kernel):
        return cases[value.make.__name__]
    users = [kernel.make.__name__ for kernel in KERNELS.values()
             if mutant.function in inspect.getsource(sys.modules[kernel.make.__module__])]
    return [case for name in users for case in cases[name]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help="of kernels/cuda; all, if none is named")
    parser.add_argument("--sample", type=int, help="so many mutants, picked by a fixed seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    chosen = parser.parse_args()
    found = mutants(chosen.modules or modules())
    if chosen.sample:
        found = random.Random(0).sample(found, min(chosen.sample, len(found)))
    known = json.loads(SURVIVORS.read_text()) if SURVIVORS.exists() else {}
    cases = cases_of_kernels(chosen.modules or modules())
    print(f"{len(found)} mutants", flush=True)
    unknown = 0
    # A process each: a mutant stays where it was put.
    with get_context("fork").Pool(chosen.jobs, maxtasksperchild=1) as pool:
        for name, how in pool.imap_unordered(partial(judge, cases=cases), found):
            harmless = "" if how else known.get(name, "")
            unknown += not how and not harmless
            verdict = "caught" if how else "harmless" if harmless else "SURVIVED"
            print(f"{verdict:8} {name}: {how or harmless}", flush=True)
    print(f"{unknown} survived that survivors.json does not explain")
    return int(unknown > 0)


if __name__ == "__main__":
    sys.exit(main())
