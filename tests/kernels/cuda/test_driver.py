"""The backend for real GPUs, over a driver that isn't one: what it asks of it, and in which form."""

import gc
import re
from collections.abc import Iterator
from dataclasses import replace
from threading import Thread
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba.cuda", reason="the GPU's kernels need numba-cuda")

import minicnn as mc  # noqa: E402
from minicnn.kernels.cuda import devices, driver  # noqa: E402
from minicnn.kernels.cuda.assembler import find_ptxas  # noqa: E402
from minicnn.kernels.cuda.compiler import Kernel, newest_capability  # noqa: E402
from minicnn.kernels.cuda.intrinsics import position  # noqa: E402
from minicnn.kernels.cuda.launcher import Device, cover, launch  # noqa: E402
from minicnn.kernels.cuda.memory import empty, to_device, to_numpy  # noqa: E402

from .fake_driver import OK, FakeDriver  # noqa: E402


def scale(real: Any) -> Any:
    def scale(x, y, small, factor, n):
        i = position()
        if i < n:
            y[i] = x[i] * factor + small
    return scale


SCALE = Kernel(scale, "x: real*, y: real*, small: u8, factor: real, n: u32", 128, ())


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    made = FakeDriver()
    monkeypatch.setattr(driver, "bindings", lambda: made)
    monkeypatch.setattr(driver, "find_ptxas", lambda: None)  # so that the driver gets PTX, which the fake can run
    return made


@pytest.fixture
def gpu(fake: FakeDriver) -> Iterator[Device]:
    fake.contexts = ["another library's"]
    yield Device(driver.Driver(0))
    assert fake.contexts == ["another library's"]  # whatever we did, it is current again


def known_as_cuda(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """For this test, the device of that name."""
    monkeypatch.setitem(devices._opened, "cuda:0", gpu)
    monkeypatch.setattr(mc.device, "_opened", {})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_kernel_there_and_back(gpu: Device, dtype: type) -> None:
    x = np.arange(1000, dtype=dtype)
    there = to_device(x, gpu)
    y = empty(x.shape, x.dtype, gpu)
    launch(SCALE(x.dtype), cover(x.size, 128), there, y, 3, 2.5, x.size)  # a byte before a float: packed with a gap
    np.testing.assert_array_equal(to_numpy(y), x * 2.5 + 3)


def test_calls_from_another_thread_find_the_context(gpu: Device, fake: FakeDriver) -> None:
    fake.contexts = []
    found = []
    thread = Thread(target=lambda: found.append(to_numpy(to_device(np.arange(5), gpu))))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found[0], np.arange(5))
    assert fake.contexts == []
    fake.contexts = ["another library's"]


def test_two_gpus_side_by_side(gpu: Device, fake: FakeDriver) -> None:
    fake.devices = 2
    second = Device(driver.Driver(1))
    here, there = to_device(np.arange(3), gpu), to_device(np.arange(4), second)
    assert (to_numpy(here).size, to_numpy(there).size) == (3, 4)


def test_what_fails_leaves_the_context_as_it_was(gpu: Device, fake: FakeDriver) -> None:
    fake.old = True
    with pytest.raises(driver.DriverError):
        gpu.backend.load(SCALE(np.float32).compiled((8, 6)))
    assert fake.contexts == ["another library's"]


def test_memory_comes_back_and_is_given_back(gpu: Device, fake: FakeDriver) -> None:
    for _ in range(5):
        to_device(np.ones(1000), gpu)
    assert len(fake.blocks) == 1
    assert gpu.allocator.in_use == 0 < gpu.allocator.kept
    gpu.allocator.clear()
    assert not fake.blocks


def test_too_large_an_array_empties_the_cache_first(gpu: Device, fake: FakeDriver) -> None:
    fake.room = 1 << 20
    del_me = to_device(np.ones(60000), gpu)
    del del_me
    kept = to_device(np.ones(80000), gpu)
    with pytest.raises(MemoryError, match=r"cuda:0: no memory for an array of 480000 bytes; \d+ bytes are in use"):
        to_device(np.ones(60000), gpu)
    assert len(fake.blocks) == 1
    assert to_numpy(kept).sum() == 80000


def test_a_limit_of_ones_own(gpu: Device) -> None:
    gpu.allocator.limit = 1 << 20
    with pytest.raises(MemoryError, match="the limit is 1048576"):
        to_device(np.ones(1 << 18), gpu)


def test_the_capability_is_one_that_the_compiler_knows(gpu: Device) -> None:
    assert gpu.backend.capability == (8, 6)
    assert newest_capability((9, 9)) == (9, 0)
    with pytest.raises(ValueError, match="older"):
        newest_capability((3, 5))


def test_no_such_gpu(fake: FakeDriver) -> None:
    with pytest.raises(driver.DriverMissing, match="has 1 devices"):
        driver.Driver(1)
    fake.devices = 0
    with pytest.raises(driver.DriverMissing, match="finds no GPU"):
        driver.Driver(0)


def test_arrays_lent_and_borrowed(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    known_as_cuda(gpu, monkeypatch)
    x = mc.tensor(np.arange(6.0).reshape(2, 3), device="cuda")
    assert (x.device, x.__dlpack_device__()) == ("cuda:0", (2, 0))
    borrowed = mc.from_dlpack(x)
    assert borrowed.array.address == x.array.address
    del x
    gc.collect()
    np.testing.assert_array_equal(borrowed.numpy(), np.arange(6.0).reshape(2, 3))
    assert gpu.allocator.in_use > 0
    interface = borrowed.array.__cuda_array_interface__
    assert (interface["shape"], interface["typestr"], interface["strides"]) == ((2, 3), "<f8", None)
    del borrowed
    gc.collect()
    assert gpu.allocator.in_use == 0
    capsule = mc.ones(3, device="cuda").__dlpack__()
    assert gpu.allocator.in_use > 0
    del capsule  # that nobody took
    gc.collect()
    assert gpu.allocator.in_use == 0


def test_borrowed_memory_that_vectors_cannot_be_read_from(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    known_as_cuda(gpu, monkeypatch)
    x = mc.tensor(np.arange(6.0), device="cuda")
    inside = x.array._view((3,), x.array.address + 8)
    with pytest.raises(ValueError, match="8 bytes behind a multiple of 16"):
        mc.from_dlpack(inside)


class Foreign:
    """An array of another library, on the memory of a tensor."""

    def __init__(self, x: mc.Tensor, **changes: Any) -> None:
        self.x = x
        self.__cuda_array_interface__ = x.__cuda_array_interface__ | changes


def test_arrays_that_only_have_the_cuda_interface(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    known_as_cuda(gpu, monkeypatch)
    waited: list[str] = []
    monkeypatch.setattr(gpu.backend, "wait_for_others", lambda: waited.append("others"))
    x = mc.tensor(np.arange(6.0).reshape(2, 3), device="cuda")
    address = x.array.address
    taken = mc.from_cuda_array(Foreign(x, stream=7, strides=(24, 8)))
    assert waited == ["others"] and (taken.device, taken.array.address) == ("cuda:0", address)
    del x
    gc.collect()
    np.testing.assert_array_equal(taken.numpy(), np.arange(6.0).reshape(2, 3))  # its owner is still there
    for foreign, copy in ((Foreign(taken), True), (Foreign(taken, data=(address, True)), None)):
        copied = mc.from_cuda_array(foreign, copy=copy)
        assert copied.array.address != address and copied.tolist() == taken.tolist()
    assert mc.from_cuda_array(Foreign(taken, shape=(0, 3), data=(0, False))).shape == (0, 3)


@pytest.mark.parametrize(("changes", "error", "words"), [
    ({"strides": (8, 16)}, ValueError, "not contiguous"), ({"strides": (48, 8)}, ValueError, "not contiguous"),
    ({"mask": 1}, ValueError, "mask"), ({"typestr": "<c8"}, TypeError, "dtype complex64"),
    ({"data": (64, False)}, ValueError, "in no GPU's memory")])
def test_what_is_no_tensor_on_a_gpu(gpu: Device, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any],
                                    error: type[Exception], words: str) -> None:
    known_as_cuda(gpu, monkeypatch)
    x = mc.tensor(np.ones((2, 3)), device="cuda")
    with pytest.raises(error, match=words):
        mc.from_cuda_array(Foreign(x, **changes))


def test_read_only_memory_is_not_shared(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    known_as_cuda(gpu, monkeypatch)
    x = mc.ones(3, device="cuda")
    with pytest.raises(ValueError, match="copy=False"):
        mc.from_cuda_array(Foreign(x, data=(x.array.address, True)), copy=False)
    with pytest.raises(TypeError, match="got list"):
        mc.from_cuda_array([1.0])


def test_lent_memory_waits_for_whoever_borrowed_it(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    known_as_cuda(gpu, monkeypatch)
    waited: list[str] = []
    monkeypatch.setattr(gpu.backend, "wait_for_others", lambda: waited.append("others"))
    x = mc.ones(3, device="cuda")
    capsule = x.__dlpack__()
    del x, capsule
    gc.collect()
    assert waited == ["others"]


def test_errors_name_the_device_and_the_reason(gpu: Device) -> None:
    compiled = SCALE(np.float32).compiled((8, 6))
    with pytest.raises(driver.DriverError, match="cuda:0: CUDA_ERROR_NOT_FOUND"):
        gpu.backend.load(replace(compiled, name="another"))


def test_the_driver_gets_machine_code_where_ptxas_is(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_ptxas() is None:
        pytest.skip("ptxas is not installed")
    monkeypatch.setattr(driver, "find_ptxas", find_ptxas)
    images: list[bytes] = []
    monkeypatch.setattr(gpu.backend.api, "cuModuleLoadData", lambda image: (images.append(image), (OK, "module"))[1])
    monkeypatch.setattr(gpu.backend.api, "cuModuleGetFunction", lambda module, name: (OK, (module, name)))
    assert gpu.backend.load(SCALE(np.float32).compiled((8, 6))) == ("module", b"scale_float32")
    assert images[0].startswith(b"\x7fELF")


def test_a_driver_older_than_the_ptx(gpu: Device, fake: FakeDriver) -> None:
    fake.old = True
    with pytest.raises(driver.DriverError, match="takes a newer one"):
        gpu.backend.load(SCALE(np.float32).compiled((8, 6)))


def test_what_the_hardware_could_do(gpu: Device) -> None:
    arithmetic, traffic = gpu.backend.peak()
    assert arithmetic == pytest.approx(35.6e12 / 2, rel=0.05)  # NVIDIA's figures for that GPU: 35.6 TFLOP/s, 936 GB/s
    assert traffic == pytest.approx(936e9, rel=0.01)


def test_events(gpu: Device, fake: FakeDriver) -> None:
    first, last = gpu.backend.event(), gpu.backend.event()
    assert gpu.backend.milliseconds(first, last) == 1.5
    assert fake.events == 2
    del first, last
    gc.collect()
    assert fake.events == 0
    to_device(np.ones(3), gpu)
    gc.collect()
    assert fake.events == 0  # the copy is over


def test_the_fake_takes_what_the_real_bindings_take() -> None:
    """As many arguments, by the first line of the documentation of each."""
    real = pytest.importorskip("cuda.bindings.driver")
    for name in dir(FakeDriver):
        if name.startswith("cu"):
            documented = re.match(r"\w+\((.*?)\)", getattr(real, name).__doc__)
            count = len([part for part in documented[1].split(",") if part.strip()])
            assert getattr(FakeDriver, name).__code__.co_argcount - 1 == count, name


def test_the_enumerations_have_the_names_that_are_used() -> None:
    real = pytest.importorskip("cuda.bindings.driver")
    for kind in ("CUresult", "CUstream_flags", "CUevent_flags", "CUdevice_attribute", "CUpointer_attribute"):
        ours = getattr(FakeDriver, kind)
        names = [m.name for m in ours] if kind == "CUresult" else list(vars(ours))
        for name in names:
            assert hasattr(getattr(real, kind), name), (kind, name)
