"""The examples in docstrings run, and the README's."""

import contextlib
import doctest
import importlib
import inspect
import io
import re
import runpy
from pathlib import Path

import pytest

import minicnn

PACKAGE = Path(minicnn.__file__).parent
README = Path(__file__).resolve().parent.parent / "README.md"
MODULES = sorted(
    ".".join(("minicnn", *p.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for p in PACKAGE.rglob("*.py")
)
# What users import functions from. (Most functions of `data` read files that are not here.)
PUBLIC = ("minicnn", "minicnn.nn.functional", "minicnn.nn", "minicnn.optim", "minicnn.train", "minicnn.models",
          "minicnn.io", "minicnn.vis", "minicnn.teach")  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_function_has_an_example(name):
    package = importlib.import_module(name)
    names = getattr(package, "__all__", [key for key in vars(package) if not key.startswith("_")])
    functions = {key: getattr(package, key) for key in names if inspect.isfunction(getattr(package, key))}
    run = set()
    for module in {function.__module__ for function in functions.values()}:
        found = doctest.DocTestFinder().find(importlib.import_module(module))
        run |= {test.name for test in found if test.examples}
    without = [key for key, function in functions.items() if f"{function.__module__}.{function.__name__}" not in run]
    assert not without, f"no example in the docstring of {name}.{f', {name}.'.join(without)}"


@pytest.mark.slow
def test_readme_example_learns():
    code = re.search(r"## Twenty lines\n\n```python\n(.*?)```", README.read_text(), re.S).group(1)
    assert len(code.strip().splitlines()) <= 24
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(README), "exec"), {})
    assert float(printed.getvalue().split()[-1]) > 0.8, printed.getvalue()


@pytest.mark.slow
def test_readme_example_on_folders_of_pictures(tmp_path, monkeypatch):
    code = re.search(r"## Training on your own\n\n```python\n(.*?)```", README.read_text(), re.S).group(1)
    example = runpy.run_path(str(README.parent / "examples" / "train_your_pictures.py"))
    example["draw_pictures"](tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code.replace("epochs=40", "epochs=1"), str(README), "exec"), names)
    assert len(names["trainer"].history) == 1 and (tmp_path / "pictures.safetensors").exists()


def test_files_the_readme_names_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
