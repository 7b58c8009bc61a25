"""The rules of the house: who may import whom, what an import loads, how long the core may grow."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minicnn

PACKAGE = Path(minicnn.__file__).parent
HEAVY = ("numba", "matplotlib", "h5py", "scipy", "rich", "click", "PIL", "safetensors")


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("minicnn", *path.relative_to(PACKAGE).with_suffix("").parts)
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports_of(name, path, known, everywhere=False):
    """Modules of the package that a file imports at its top level (or anywhere)."""
    tree = ast.parse(path.read_text())
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree) if everywhere else top_level(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = package
            for _ in range(node.level - 1):
                base = base.rpartition(".")[0]
            target = f"{base}.{node.module}" if node.level and node.module else base if node.level else node.module
            for alias in node.names:
                inner = f"{target}.{alias.name}"
                if inner in known:
                    yield inner
                elif target in known:
                    yield target


def top_level(tree):
    """Statements that run on import: not those inside functions."""
    stack = list(tree.body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            stack += list(ast.iter_child_nodes(node))


def graph(everywhere=False):
    known = dict(modules())
    found = {}
    for name, path in known.items():
        # A package's __init__ runs before its modules; only what it is asked for counts as an import of it.
        found[name] = {i for i in imports_of(name, path, known, everywhere) if i != name}
    return found


def test_no_import_circles():
    edges = graph(everywhere=True)
    state = {}

    def visit(name, trail):
        if state.get(name) == "done":
            return
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        for other in sorted(edges[name]):
            visit(other, [*trail, name])
        state[name] = "done"

    for name in edges:
        visit(name, [])


LAYERS = {  # a part of the house, and the parts it may know
    "minicnn.tensor": {"minicnn.device", "minicnn.memory", "minicnn.dispatch", "minicnn.assign"},
    "minicnn.ops": {
        "minicnn.ops",
        "minicnn.tape",
        "minicnn.tensor",
        "minicnn.dispatch",
        "minicnn.assign",
        "minicnn.memory",
        "minicnn.random",
        "minicnn.device",
    },
    "minicnn.nn": {
        "minicnn.nn",
        "minicnn.ops",
        "minicnn.hooks",
        "minicnn.tape",
        "minicnn.tensor",
        "minicnn.random",
        "minicnn.device",
    },
}


@pytest.mark.parametrize("part", LAYERS)
def test_each_part_knows_only_what_is_below_it(part):
    for name, others in graph(everywhere=True).items():
        if name == part or name.startswith(part + "."):
            strangers = {o for o in others if not any(o == a or o.startswith(a + ".") for a in LAYERS[part])}
            assert not strangers, f"{name} imports {strangers}"


def test_kernels_know_nothing_above_them():
    kernels = Path(minicnn.kernels.__file__).parent
    for path in kernels.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not any(a.name.startswith("minicnn") for a in node.names), path
            if isinstance(node, ast.ImportFrom):
                depth = len(path.relative_to(kernels).parts)
                assert node.level <= depth and not (node.module or "").startswith("minicnn"), path


def test_nothing_below_the_command_line_prints():
    for name, path in modules():
        if name != "minicnn.cli":
            calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
            assert not any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls), name


def test_the_core_stays_short():
    lines = sum(len((PACKAGE / f).read_text().splitlines()) for f in ("tensor.py", "tape.py", "dispatch.py"))
    assert lines < 1000


def test_import_loads_nothing_heavy():
    code = (
        "import sys, minicnn; minicnn.nn.functional, minicnn.data, minicnn.models, minicnn.train, minicnn.io; "
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_import_from_an_unbuilt_tree_says_what_to_run(tmp_path):
    for folder in (PACKAGE, Path(minicnn.kernels.__file__).parent):
        link = tmp_path / folder.name
        link.mkdir()
        (link / "__init__.py").write_text((folder / "__init__.py").read_text())
    for code in ("import minicnn", "import kernels"):
        ran = subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert ran.returncode != 0 and "pip install" in ran.stderr.splitlines()[-1], ran.stderr


def test_public_names_resolve():
    for name in minicnn.__all__:
        assert getattr(minicnn, name) is not None


def test_state_of_numpy_warnings():
    """The suite turns warnings into errors; make sure that is on."""
    with pytest.raises(RuntimeWarning):
        np.log(np.zeros(1))
