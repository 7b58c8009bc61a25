"""Kernels broken in one small place, each a mutant (DeMillo, Lipton & Sayward 1978, "Hints on test data selection").

| kind | what is looked for | what becomes of it |
|---|---|---|
| barrier | a call of `syncthreads`, `syncwarp` or `syncthreads_or` | it is gone; of the last its own value is left |
| guard | `if`, `x if condition else y` | each of both ways is always taken; a mere `return` never is |
| | `and`, `or` | one side is gone |
| | `min(x, y)`, `max(x, y)` | each of both alone |
| bound | `<`, `<=`, `>`, `>=`, wherever they stand | the equal one is let in, or out |
| | `range(...)`, `while x != end` | its end, and its start if it isn't 0, is one more |
| | a whole number that is assigned and isn't 0, `apart = uint32(16)` | one more |
| start | a constant of the numbers' type that is assigned, `sums[i] = real(0)`, a place that stands for none | 113 |
| | the first of the numbers that a loop puts together, `total = shared[0]` | 113 more |
| | `False` that is assigned | `True` |

A kernel is made by a function of types and sizes, and so are some of the functions that it calls; what is broken is the
code inside. It is put in the place of the original code object, so that whoever holds the function has the broken one.
"""

import ast
import inspect
import linecache
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import CodeType, FunctionType
from typing import Any

from minicnn.kernels import cuda
from minicnn.kernels.cuda.compiler import KERNELS, Kernel
from minicnn.kernels.cuda.define import device
from minicnn.kernels.cuda.devices import open_device

PACKAGE = cuda.__name__
BARRIERS = ("cuda.syncthreads()", "cuda.syncwarp()")
FURTHER = {ast.Lt: ast.LtE, ast.GtE: ast.Gt, ast.LtE: ast.Lt, ast.Gt: ast.GtE}
STRANGE = 113
FORGOTTEN: list[Any] = []  # what was compiled: Numba knows it by its id, which must not come again


@dataclass(frozen=True)
class Target:
    """A function of `module` to break: device code, or (makes) what makes device code."""

    module: str
    name: str
    function: FunctionType
    makes: bool


@dataclass(frozen=True)
class Mutant:
    """A target with its change number `number`; what: in words, not the same twice."""

    target: Target
    number: int
    kind: str
    what: str

    @property
    def name(self) -> str:
        return f"{self.target.module}.{self.target.name}: {self.what}"


class Changes(ast.NodeTransformer):
    """Walks a function and makes its change number `wanted`; with -1 none. found: the kind of each, and it in words."""

    def __init__(self, wanted: int = -1) -> None:
        self.wanted = wanted
        self.found: list[tuple[str, str]] = []
        self._locals: set[str] = set()
        self._growing: set[str] = set()

    def _now(self, kind: str, what: str) -> bool:
        self.found.append((kind, what))
        return len(self.found) - 1 == self.wanted

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        self._locals = {argument.arg for argument in node.args.args}
        self._locals |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        loops = [part for loop in ast.walk(node) if isinstance(loop, (ast.For, ast.While)) for part in ast.walk(loop)]
        self._growing = {part.target.id for part in loops if isinstance(part, ast.AugAssign)
                         and isinstance(part.target, ast.Name)}
        self._growing |= {name for part in loops if isinstance(part, ast.Assign)
                          for name in _names(part.targets[0]) & _names(part.value)}
        # Not of the docstring, decorators or annotations.
        node.body = [part for old in node.body for part in self._listed(self.visit(old))]
        return node

    @staticmethod
    def _listed(found: Any) -> list[Any]:
        return found if isinstance(found, list) else [found]

    def visit_Expr(self, node: ast.Expr) -> Any:
        text = ast.unparse(node)
        if text in BARRIERS and self._now("barrier", f"without {text}"):
            return ast.Pass()
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> Any:
        test = ast.unparse(node.test)
        leaves = isinstance(node.body[0], ast.Return) and node.body[0].value is None
        if not leaves and self._now("guard", f"as if {test}"):
            return node.body
        if (leaves or node.orelse) and self._now("guard", f"as if not {test}"):
            return node.orelse or ast.Pass()
        return self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        text = ast.unparse(node)
        for way in (node.body, node.orelse):
            if self._now("guard", f"{text}: always {ast.unparse(way)}"):
                return way
        return self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        text = ast.unparse(node)
        for one in node.values:
            if self._now("guard", f"{text}: without {ast.unparse(one)}"):
                rest = [value for value in node.values if value is not one]
                return rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        return self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> Any:
        kind = type(node.ops[0])
        if len(node.ops) == 1 and kind in FURTHER:
            moved = ast.Compare(node.left, [FURTHER[kind]()], node.comparators)
            if self._now("bound", f"{ast.unparse(node)} -> {ast.unparse(moved)}"):
                return moved
        return self.generic_visit(node)

    def visit_While(self, node: ast.While) -> Any:
        test = node.test
        if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.NotEq):
            moved = ast.Compare(test.left, test.ops, [_one_more(test.comparators[0])])
            if self._now("bound", f"while {ast.unparse(moved)}"):
                return ast.While(moved, node.body, node.orelse)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> Any:
        text, called = ast.unparse(node), ast.unparse(node.func)
        if called == "range":
            for place, argument in enumerate(node.args[:2]):
                moved = deepcopy(node)
                moved.args[place] = _one_more(argument)
                if ast.unparse(argument) != "0" and self._now("bound", f"{text} -> {ast.unparse(moved)}"):
                    return moved
        if called in ("min", "max"):
            for way in node.args:
                if self._now("guard", f"{text}: always {ast.unparse(way)}"):
                    return way
        if called == "cuda.syncthreads_or" and self._now("barrier", f"without {text}"):
            return node.args[0]
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> Any:
        for place, start in enumerate(_parts(node.value)):
            target = ast.unparse(_parts(node.targets[0])[place])
            kind, other = self._elsewhere(target, start)
            if kind and self._now(kind, f"{target} = {ast.unparse(start)} -> {ast.unparse(other)}"):
                parts = [*_parts(node.value)]
                parts[place] = other
                return ast.Assign(node.targets, ast.Tuple(parts) if len(parts) > 1 else other)
        return self.generic_visit(node)

    def _elsewhere(self, target: str, start: ast.expr) -> tuple[str, ast.expr]:
        """The kind of a start, and where it could be instead; "" if it is none."""
        if isinstance(start, ast.Constant) and start.value is False:
            return "start", ast.Constant(True)
        if isinstance(start, ast.Subscript) and target in self._growing:
            return "start", ast.BinOp(start, ast.Add(), ast.Constant(STRANGE))
        if isinstance(start, ast.Call) and len(start.args) == 1 and isinstance(start.func, ast.Name):
            number = start.args[0].operand if isinstance(start.args[0], ast.UnaryOp) else start.args[0]
            if isinstance(number, ast.Constant) and start.func.id != "real":
                return "bound" if number.value else "", ast.Call(start.func, [_one_more(number)], [])
            if isinstance(number, ast.Constant) or isinstance(number, ast.Attribute) and number.attr == "inf" \
                    or isinstance(number, ast.Name) and number.id not in self._locals:
                return "start", ast.Call(start.func, [ast.Constant(STRANGE)], [])
        return "", start


def _one_more(node: ast.expr) -> ast.expr:
    return ast.BinOp(node, ast.Add(), ast.Constant(1))


def _parts(node: ast.expr) -> list[ast.expr]:
    """Of `a, b = c, d` both sides' parts; else the one that there is."""
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


# ----------------------------------------------------------------------------------------------- what there is to break


@cache
def modules() -> tuple[str, ...]:
    """Those of kernels/cuda that hold kernels, or functions that kernels call."""
    names = sorted(module.name for module in iter_modules(cuda.__path__) if not module.ispkg)
    return tuple(name for name in names if list(targets(name)))


def targets(module: str) -> Iterator[Target]:
    """The kernels, device functions and makers of such that a module defines; one for each text."""
    home = import_module(f"{PACKAGE}.{module}")
    here = {name: value for name, value in vars(home).items() if getattr(value, "__module__", "") == home.__name__
            or isinstance(value, Kernel) and value.make.__module__ == home.__name__}
    seen: set[CodeType] = set()
    for name, value in here.items():
        function = getattr(value, "py_func", None)
        if function is not None and function.__code__ not in seen and _has_source(function):
            seen.add(function.__code__)
            yield Target(module, name, function, makes=False)
    for name, value in here.items():
        function = value.make if isinstance(value, Kernel) else value
        inside = {part for part in getattr(getattr(function, "__code__", None), "co_consts", ())
                  if isinstance(part, CodeType)}
        if inside and not inside & seen and (function is not value or "@device" in inspect.getsource(function)):
            yield Target(module, name, function, makes=True)


def _has_source(function: FunctionType) -> bool:
    """Not if it was made from a formula."""
    try:
        return bool(inspect.getsource(function))
    except OSError:
        return False


def mutants(chosen: Sequence[str]) -> list[Mutant]:
    """All mutants of these modules."""
    found = []
    for target in (target for module in chosen for target in targets(module)):
        times: Counter[str] = Counter()
        for number, (kind, what) in enumerate(_changed(target, -1)[1]):
            times[what] += 1
            found.append(Mutant(target, number, kind, what if times[what] == 1 else f"{what} (no. {times[what]})"))
    return found


def _changed(target: Target, wanted: int) -> tuple[ast.FunctionDef, list[tuple[str, str]]]:
    """The target's text with one change, and what changes there are."""
    (outer,) = ast.parse(textwrap.dedent(inspect.getsource(target.function))).body
    assert isinstance(outer, ast.FunctionDef)
    outer.decorator_list = []
    changes = Changes(wanted)
    for inner in [node for node in outer.body if isinstance(node, ast.FunctionDef)] if target.makes else [outer]:
        changes.visit(inner)
    return outer, changes.found


# ------------------------------------------------------------------------------------------------------- breaking it


@contextmanager
def broken(mutant: Mutant) -> Iterator[None]:
    """Inside, the mutant is in the place of what it was made from."""
    original = mutant.target.function.__code__
    _exchange(mutant.target, original, _code(mutant))
    try:
        yield
    finally:
        _exchange(mutant.target, mutant.target.function.__code__, original)


def _code(mutant: Mutant) -> CodeType:
    """The mutant as a code object, whose text can be found again (the cache of PTX goes by it)."""
    outer, _ = _changed(mutant.target, mutant.number)
    name, free = outer.name, mutant.target.function.__code__.co_freevars
    body = ast.Module([outer], [])
    if free:  # it takes them from a function around it
        around = ast.parse(f"def around({', '.join(free)}): pass")
        around.body[0].body = [outer]  # type: ignore[attr-defined]
        body = around
    text = ast.unparse(ast.fix_missing_locations(body))
    file = f"<{mutant.name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    code = compile(text, file, "exec")
    while code.co_name != name:
        code = next(part for part in code.co_consts if isinstance(part, CodeType) and part.co_name in (name, "around"))
    return code


def _exchange(target: Target, old: CodeType, new: CodeType) -> None:
    """Put new code in the place of old, in all functions that have it, and forget what was made with it."""
    for home in [module for name, module in sys.modules.items() if name.startswith(PACKAGE)]:
        for value in vars(home).values():
            function = getattr(value, "py_func", value)
            if getattr(function, "__code__", None) is old:
                function.__code__ = new
            if hasattr(value, "cache_clear"):
                value.cache_clear()
            if type(value) is device:
                FORGOTTEN.append(dict(value.overloads))
                value.overloads.clear()
    target.function.__code__ = new
    for kernel in KERNELS.values():
        for variant in kernel._made.values():
            variant._compiled.clear()
            variant.__dict__.pop("function", None)
    open_device("emulator")._loaded.clear()
