"""Add an op to minicnn, from the formula to the test: three files, and it has CPU kernels at every vector level, first
and second derivatives, and tests on float32 and float64.

    python examples/add_an_op.py

does it for softsign, x / (1 + |x|), which minicnn doesn't have - in a copy of the source tree, which it then builds and
tests, so this file is also the proof that the recipe works. It needs the source tree it lies in, a C compiler, pytest
and PyTorch to compare with (without it, only the derivatives are tested).

In a tree of your own, `pip install -e .` builds after such an edit. An op of two inputs derives from `Binary`
(minicnn/ops/broadcast.py) in place of `Activation`; one with parameters names values to test in
tests/kernels/cases_elementwise.py; `method(softsign)` makes it a method of tensors, and a class in
minicnn/nn/activation.py a layer.

A composition of ops needs none of this. It is a function, and can be differentiated as often as you like:

    def mish(x):
        return x * F.tanh(F.softplus(x))
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# 1. The contract: what the kernels compute. A formula is enough - the build makes C of it, the reference NumPy.
#    The gradient takes g, the gradient of the output, first.
CONTRACTS = """
elementwise("softsign", "x", "x / (1 + abs(x))")
elementwise("softsign_grad", "g x", "g / ((1 + abs(x)) * (1 + abs(x)))")
"""

# 2. The op: its class, with the second derivative written in ops, and the function that users call. Everything else
#    follows: `nn.functional` gathers whatever is marked @op.
OP = '''

class Softsign(Activation):
    kernel = "softsign"

    def curvature(self, at):
        return at.sign() * -2 / (1 + at.abs()) ** 3


@op
def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|). Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward networks"."""
    need_float("softsign", x=x)
    return Softsign.apply(x)
'''

# 3. The test: one line says how the op is called, what to compare with, and what to try it on.
TEST = """
case("softsign", F.softsign, lambda t, T, x: T.softsign(x), apart(3, 5))
"""

# Each text goes behind the first line that begins so (or to the end).
EDITS = {
    "kernels/contracts.py": (CONTRACTS, 'elementwise("hardswish_grad"'),
    "minicnn/ops/activation.py": (OP, None),
    "tests/ops/table.py": (TEST, None),
}


def edit(path: Path, text: str, after: str | None) -> int:
    """Insert the text; returns how many lines it adds."""
    lines = path.read_text().splitlines(keepends=True)
    place = len(lines) if after is None else 1 + next(i for i, line in enumerate(lines) if line.startswith(after))
    lines.insert(place, text)
    path.write_text("".join(lines))
    return sum(1 for line in text.splitlines() if line.strip())


def run(tree: Path, *command: str, **environment: str) -> None:
    """Run a command in the copied tree. What was built there comes before whatever is installed; the tree itself, which
    Python would look into first (-P), has no kernels in it."""
    print("$", " ".join(command), flush=True)
    subprocess.run(
        [sys.executable, "-P", *command],
        cwd=tree,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tree / "installed"), **environment},
    )


def main() -> None:
    from minicnn.kernels import cpu

    missing = [name for name in ("Cython", "setuptools", "pytest") if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(f"this needs {', '.join(missing)}: pip install -e '.[test]'")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for part in ("kernels", "minicnn", "tests"):
            shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, tree)
        counts = {path: edit(tree / path, *change) for path, change in EDITS.items()}
        for path, count in counts.items():
            print(f"{path:30} {count:3} lines")
        print(f"{len(counts)} files, {sum(counts.values())} lines\n")
        # Only the elementwise kernels changed, and one level is enough to see them work; the rest is copied.
        run(
            tree,
            "setup.py",
            "-q",
            "build_ext",
            "--build-lib",
            "installed",
            MINICNN_BUILD=f"elementwise:{cpu.level}",
            CFLAGS=os.environ.get("CFLAGS", "") + " -w",
        )
        compiled = Path(cpu.__file__).parent
        for library in compiled.glob("*.so"):
            if not library.name.startswith("_elementwise"):
                shutil.copy(library, tree / "installed/minicnn/kernels/cpu")
        shutil.copytree(tree / "minicnn", tree / "installed/minicnn", dirs_exist_ok=True)
        shutil.copytree(
            tree / "kernels",
            tree / "installed/minicnn/kernels",
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("*.so"),
        )
        run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/ops", "-k", "softsign or public")
        run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kernels", "-k", f"softsign and {cpu.level}")


if __name__ == "__main__":
    main()
