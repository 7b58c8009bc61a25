"""What several test files use."""

import ctypes
import sys
import types
import warnings
from importlib import import_module
from importlib.util import find_spec
from zlib import crc32

import pytest

#: Of the tests on the emulator one of so many always runs; the others are slow: they compile hundreds of kernels. Those
#: that one asks for by name (-k) run all.
QUICK_SHARE = 25


def pytest_collection_modifyitems(config, items):
    if config.option.keyword and config.option.markexpr == "not slow":  # what pyproject.toml says, and a name
        return
    for item in items:
        if "emulator" in item.nodeid.partition("[")[2] and crc32(item.nodeid.encode()) % QUICK_SHARE:
            item.add_marker(pytest.mark.slow)


def gpus():
    """The devices that run the GPU's kernels: the emulator, skipped where it can't be installed, and a GPU if there is
    one."""
    lacks = find_spec("numba_cuda") is None
    emulator = pytest.param("emulator", marks=pytest.mark.skipif(lacks, reason="numba-cuda is not installed"))
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return [emulator]
    from minicnn import cuda_is_available

    return [emulator, "cuda:0"] if cuda_is_available() else [emulator]


@pytest.fixture
def full_speed():
    """The emulator without its checks, which have their own tests."""
    if find_spec("numba_cuda") is None:
        yield
        return
    from minicnn.kernels.cuda.emulated import mode

    with mode("fast"):
        yield


@pytest.fixture(params=gpus())
def gpu(request, full_speed):
    """Each device that runs the GPU's kernels."""
    return request.param


@pytest.fixture(params=["cpu", *gpus()])
def device(request, full_speed):
    """Each device in turn."""
    return request.param


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
