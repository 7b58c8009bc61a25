"""From Python to PTX and machine code: what is made once, what it is known by, and who makes it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba.cuda", reason="the GPU's kernels need numba-cuda")

from numba import cuda, types  # noqa: E402
from numba import uint32 as u32  # noqa: E402

from minicnn.kernels.cuda import assembler, compiler  # noqa: E402
from minicnn.kernels.cuda.compiler import Kernel, Variant  # noqa: E402
from minicnn.kernels.cuda.define import device  # noqa: E402
from minicnn.kernels.cuda.devices import open_device  # noqa: E402
from minicnn.kernels.cuda.emulated import Emulated, mode  # noqa: E402
from minicnn.kernels.cuda.intrinsics import position  # noqa: E402
from minicnn.kernels.cuda.launcher import Device, launch  # noqa: E402
from minicnn.kernels.cuda.matmul import add_parts  # noqa: E402
from minicnn.kernels.cuda.memory import DeviceArray, to_device, to_numpy  # noqa: E402

CAPABILITIES = (7, 0), (8, 0), (9, 0)


@device
def add_to(values: Any, at: Any, more: Any) -> None:
    for lane in range(4):
        values[at + lane] += more


@device
def twice(value: Any) -> Any:
    return value + value


def sums(real: Any) -> Any:
    """Device functions that take an array and a number, call each other's likes and return."""
    def sums(x, y, n):
        i = position()
        kept = cuda.local.array(4, real)
        for lane in range(4):
            kept[lane] = x[u32(i + u32(lane))]
        add_to(kept, 0, twice(x[i]))
        if i < n:
            y[i] = twice(kept[0] + kept[1]) + kept[2] * kept[3]
    return sums


def new(make: Any = sums) -> Variant:
    """A variant that nothing was compiled for."""
    return Kernel(make, "x: real*, y: real*, n: u32", 128, ())(np.float32)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINICNN_CACHE", str(tmp_path))


def text(ptx: str) -> str:
    """PTX but for the kernel's name, and Numba's record of constants, which is named by a running number."""
    entry = re.search(r"\.entry (\S+)\(", ptx)
    assert entry
    lines = ptx.replace(entry[1], "kernel").splitlines()
    return "\n".join(line for line in lines if "NumbaEnv" not in line)


def test_ptx_for_several_gpus_is_what_each_gets_alone() -> None:
    together, alone = new(), [new() for _ in CAPABILITIES]
    together.compile(*CAPABILITIES)
    for path in compiler.cache_folder().iterdir():
        path.unlink()
    for one, capability in zip(alone, CAPABILITIES, strict=True):
        expected = one.compiled(capability).ptx
        assert text(together.compiled(capability).ptx) == text(expected)
        assert f".target sm_{capability[0]}{capability[1]}" in expected


def test_ptx_is_what_numba_makes_of_the_same_function() -> None:
    """Numba's own door, which compiles for one GPU and forgets what it did."""
    variant = new()
    pointer = types.CPointer(types.float32)
    expected, _ = cuda.compile_ptx(variant.function, types.void(pointer, pointer, types.uint32), cc=(8, 0),
                                   launch_bounds=128)
    assert text(variant.compiled((8, 0)).ptx) == text(expected)


def test_no_device_function_is_left_to_be_called() -> None:
    ptx = new().compiled((8, 0)).ptx
    assert not re.search(r"\.func|\bcall\b|\.local", ptx)


def count_lowered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    lowered = []
    original = compiler.lower
    monkeypatch.setattr(compiler, "lower", lambda function, *a, **k: (lowered.append(function),
                                                                      original(function, *a, **k))[1])
    return lowered


def test_numba_is_asked_once_for_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    lowered = count_lowered(monkeypatch)
    new().compile(*CAPABILITIES)
    assert len(lowered) == 1
    again = new()
    again.compile(*CAPABILITIES)  # from the cache
    assert len(lowered) == 1 and again.compiled((9, 0)).ptx


def test_a_device_function_is_compiled_once_for_all_kernels() -> None:
    def other(real: Any) -> Any:
        def other(x, y, n):
            i = position()
            if i < n:
                y[i] = twice(twice(x[i]))
        return other

    new().compiled((8, 0))
    (before,) = [made for types_, made in twice.overloads.items() if types_ == (types.float32,)]
    new(other).compiled((8, 0))
    assert twice.overloads[types.float32,] is before


@pytest.mark.parametrize("change", ["nvvm", "capability", "device function"])
def test_what_ptx_is_known_by(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lowered = count_lowered(monkeypatch)
    new().compiled((8, 0))
    if change == "nvvm":
        monkeypatch.setattr(compiler, "_nvvm", lambda: "another")
    elif change == "device function":
        monkeypatch.setattr(twice.py_func, "source", "return value * 2", raising=False)
    new().compiled((7, 0) if change == "capability" else (8, 0))
    assert len(lowered) == 2


# ----------------------------------------------------------------------------------------------------------- ptxas


def test_ptxas_is_not_taken_from_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be older than the PTX."""
    old = tmp_path / "ptxas"
    old.write_text("#!/bin/sh\necho release 9.0\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MINICNN_PTXAS", raising=False)
    assert assembler.find_ptxas.__wrapped__() != str(old)
    monkeypatch.setenv("MINICNN_PTXAS", str(old))
    assert assembler.find_ptxas.__wrapped__() == str(old)


def test_a_ptxas_that_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "ptxas"
    old.write_text("#!/bin/sh\necho Cuda compilation tools, release 9.0\n[ $1 = --version ] && exit\n"
                   "echo 'Unsupported .version 8.8' >&2\nexit 1\n")
    old.chmod(0o755)
    monkeypatch.setattr(assembler, "find_ptxas", lambda: str(old))
    with pytest.raises(ValueError, match=r"/ptxas \(.*release 9\.0\) refuses the PTX: Unsupported \.version 8\.8"):
        assembler.assemble(".version 8.8", (8, 0))


@pytest.mark.parametrize("found", ["/nowhere/ptxas", None])
def test_without_ptxas(found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembler, "find_ptxas", lambda: found)
    with pytest.raises(FileNotFoundError, match="/nowhere/ptxas|not installed"):
        assembler.assemble(".version 8.8", (8, 0))


# ------------------------------------------------------------------------------------------------- wrong by mistake


def made(signature: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A kernel of two parameters, x and n, that says it has those of the signature."""
    monkeypatch.setattr(compiler, "KERNELS", {})

    @compiler.kernel(signature)
    def nothing(real):
        def nothing(x, n):
            x[n] = real(0)
        return nothing
    return nothing


@pytest.mark.parametrize(("signature", "message"), [
    ("x: real*, n: f23", "'f23', is none of u32"),
    ("n: u32, x: real*", r"signature says \(n, x\), but the function takes \(x, n\)"),
    ("x: real*", r"signature says \(x\)")])
def test_a_signature_must_be_the_functions(signature: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=message):
        _ = made(signature, monkeypatch)(np.float32).parameters


def test_settings_must_be_those_of_the_function_around(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = made("x: real*, n: u32", monkeypatch)
    with pytest.raises(TypeError, match="<kernel nothing>: 2 settings came, .* expected 1: real"):
        kernel(np.float32, 4)
    with pytest.raises(TypeError, match="the setting real is the type of x, expected one such as .* got 'float32'"):
        _ = kernel("float32").parameters


def test_a_kernel_needs_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"expected a variant, .* scale\(np.float32\), got <kernel nothing>"):
        launch(made("x: real*, n: u32", monkeypatch), 1, on_emulator(np.float32), 3)


def test_blocks_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"nothing_float32: blocks: expected an int, .* got 0\.5"):
        launch(made("x: real*, n: u32", monkeypatch)(np.float32), 0.5, on_emulator(np.float32), 3)  # type: ignore


def test_a_function_typed_at_a_prompt_is_refused() -> None:
    space: dict[str, Any] = {"__name__": "prompt"}
    exec("def typed(real):\n    def typed(x, y, n):\n        x[n] = y[n]\n    return typed\n", space)
    with pytest.raises(OSError, match="typed: PTX is known by the source .* write the function into a file"):
        new(space["typed"]).compiled((8, 0))


def test_a_launch_without_an_array_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="none of the arguments is a DeviceArray .* got ndarray, int"):
        launch(made("x: real*, n: u32", monkeypatch)(np.float32), 1, np.zeros(3, np.float32), 3)


def on_emulator(dtype: Any) -> DeviceArray:
    return to_device(np.zeros(3, dtype), open_device("emulator"))


@pytest.mark.parametrize(("x", "n", "message"), [
    (np.float64, 3, "nothing_float32: x is an array of float64, expected float32"),
    (np.int32, 3, "nothing_float32: x is an array of int32, expected float32"),
    (np.zeros(3, np.float32), np.float32, "x is of type ndarray, expected a DeviceArray of float32"),
    (np.float32, np.uint32, r"n is an array, expected a number \(uint32\)")])
def test_arguments_are_held_against_the_signature(x: Any, n: Any, message: str,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """x, n: a type: of an array on the device."""
    arguments = [on_emulator(one) if isinstance(one, type) else one for one in (x, n)]
    with pytest.raises(TypeError, match=message):
        launch(made("x: real*, n: u32", monkeypatch)(np.float32), 1, *arguments)


def test_too_few_arguments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"nothing_float32: 1 arguments came, expected 2: x: real\*, n: u32"):
        launch(made("x: real*, n: u32", monkeypatch)(np.float32), 1, on_emulator(np.float32))


def test_arrays_of_two_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x, n = (to_device(np.zeros(3, np.float32), Device(Emulated())) for _ in range(2))
    with pytest.raises(ValueError, match="n is on emulator, arrays before it on emulator"):
        launch(made("x: real*, n: real*", monkeypatch)(np.float32), 1, x, n)


def test_bools_are_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    x = to_device(np.array([True, True]), open_device("emulator"))
    launch(made("x: real*, n: u32", monkeypatch)(np.bool_), 1, x, 1)
    assert to_numpy(x).tolist() == [True, False]


def test_only_kernels_of_others_are_looked_at() -> None:
    """Arrays for those of the package are held against a contract, once for all calls of a kind."""
    variant = add_parts(np.float32)
    assert variant.has_launch_rule and not new().has_launch_rule


def test_a_device_has_its_full_name() -> None:
    with pytest.raises(ValueError, match="'cuda:0'.* got 'cuda'"):
        open_device("cuda")


def test_the_emulator_has_three_modes() -> None:
    with pytest.raises(ValueError, match="checked.* got 'chekced'"), mode("chekced"):
        pass
