"""What several test files use."""

import sys
import types
import warnings
from importlib import import_module

import pytest


@pytest.fixture
def run(capsys):
    """Run a command in this process: (exit code, standard output, standard error)."""
    from minicnn import cli  # not at the top: the tests of the kernels run where there is no command line

    def call(*arguments):
        with pytest.raises(SystemExit) as exited:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return exited.value.code, out, err

    return call


@pytest.fixture
def torchvision():
    """A function that imports a module of torchvision, even where its operators for detection don't load. The test is
    skipped where there is no torchvision."""
    pytest.importorskip("torch")

    def module(name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those operators
            try:
                pytest.importorskip("torchvision")
            except RuntimeError:
                states_their_shapes = "torchvision._meta_registrations"
                sys.modules[states_their_shapes] = types.ModuleType(states_their_shapes)
            return import_module(f"torchvision.{name}")

    return module
