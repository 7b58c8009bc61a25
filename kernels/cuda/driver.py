"""A GPU as a backend: NVIDIA's driver, through cuda-bindings.

One stream for everything: launches and copies run in the order in which they were asked for, and a launch returns
before its kernel is done. It is the device's primary context, which other libraries in the process share.
"""

import ctypes
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from .assembler import assemble, find_ptxas
from .compiler import Compiled, newest_capability

BUFFER_POINTER, BUFFER_SIZE, END = 1, 2, 0  # CU_LAUNCH_PARAM_...: the words that say where packed arguments lie

#: float32 multiply-adds that a multiprocessor starts in a cycle (CUDA C++ Programming Guide, "Arithmetic
#: Instructions").
FLOAT32_LANES = {(7, 0): 64, (7, 5): 64, (8, 0): 64, (8, 6): 128, (8, 9): 128, (9, 0): 128, (10, 0): 128, (12, 0): 128}


class DriverMissing(Exception):
    """Why a GPU can't be used."""


class DriverError(RuntimeError):
    """What the driver refused."""


def bindings() -> Any:
    """The driver's functions; DriverMissing where there is no driver."""
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise DriverMissing(f"{error.name} is not installed (pip install 'minicnn[cuda]')") from error
    try:
        (code,) = driver.cuInit(0)
    except (RuntimeError, ImportError, OSError) as error:  # the library itself is not there
        raise DriverMissing(f"there is no CUDA driver: {error}") from error
    if code != driver.CUresult.CUDA_SUCCESS:
        raise DriverMissing(f"the CUDA driver does not start: {code.name}")
    return driver


def ordinal_of(address: int) -> int:
    """The number of the GPU in whose memory an address lies; ValueError if it is in none's."""
    api = bindings()
    code, ordinal = api.cuPointerGetAttribute(api.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address)
    if code != api.CUresult.CUDA_SUCCESS:
        raise ValueError(f"the address {address:#x} is in no GPU's memory")
    return int(ordinal)


class Event:
    """A mark in a stream, for as long as somebody holds it."""

    def __init__(self, driver: "Driver", handle: Any) -> None:
        self.driver, self.handle = driver, handle

    def __del__(self, ends: Callable[[], bool] = sys.is_finalizing) -> None:
        if not ends():
            with self.driver:
                self.driver.api.cuEventDestroy(self.handle)


class Driver:
    """The GPU number `ordinal`.

    `with driver:` calls go to its context. Which one is current belongs to the thread, and other libraries rely on
    theirs: the one before comes back.
    """

    def __init__(self, ordinal: int) -> None:
        self.api = bindings()
        count = self._ask(self.api.cuDeviceGetCount())
        if ordinal >= count:
            raise DriverMissing(f"the CUDA driver has {count} devices, 'cuda:0' to 'cuda:{count - 1}'" if count else
                                "the CUDA driver finds no GPU")
        self._device = self._ask(self.api.cuDeviceGet(ordinal))
        self.name = f"cuda:{ordinal}"
        self.product = self._ask(self.api.cuDeviceGetName(100, self._device)).rstrip(b"\0").decode()
        self.exact = self._attribute("COMPUTE_CAPABILITY_MAJOR"), self._attribute("COMPUTE_CAPABILITY_MINOR")
        try:
            self.capability = newest_capability(self.exact)  # a newer GPU takes the PTX of an older one
        except ValueError as error:
            raise DriverMissing(f"{self.product}: {error}") from error
        self._context = self._ask(self.api.cuDevicePrimaryCtxRetain(self._device))
        with self:
            self._stream = self._ask(self.api.cuStreamCreate(self.api.CUstream_flags.CU_STREAM_NON_BLOCKING))
        self._modules: list[Any] = []  # kept for as long as their kernels may run
        self._sent: deque[tuple[Event, np.ndarray]] = deque()  # what is on its way to the GPU, and the event behind it

    def _ask(self, result: tuple[Any, ...]) -> Any:
        """The value that came back with an error code."""
        code, *values = result
        if code != self.api.CUresult.CUDA_SUCCESS:
            _, text = self.api.cuGetErrorString(code)
            raise DriverError(f"{getattr(self, 'name', 'the CUDA driver')}: {code.name}, {(text or b'').decode()}")
        return values[0] if values else None

    def _attribute(self, name: str) -> int:
        kind = getattr(self.api.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return self._ask(self.api.cuDeviceGetAttribute(kind, self._device))

    def peak(self) -> tuple[float, float]:
        """float32 multiply-adds and bytes a second that the hardware could do at best, by its own account."""
        lanes = FLOAT32_LANES.get(self.exact, FLOAT32_LANES[max(FLOAT32_LANES)])
        arithmetic = self._attribute("MULTIPROCESSOR_COUNT") * lanes * self._attribute("CLOCK_RATE") * 1e3
        # Two transfers in a cycle of the memory's clock, of a bus whose width is told in bits.
        traffic = 2 * self._attribute("MEMORY_CLOCK_RATE") * 1e3 * self._attribute("GLOBAL_MEMORY_BUS_WIDTH") / 8
        return arithmetic, traffic

    def __enter__(self) -> None:
        self._ask(self.api.cuCtxPushCurrent(self._context))

    def __exit__(self, *error: object) -> None:
        self._ask(self.api.cuCtxPopCurrent())

    # ---------------------------------------------------------------------------------------------------- memory

    def allocate(self, nbytes: int) -> int:
        with self:
            code, address = self.api.cuMemAlloc(nbytes)
        if code == self.api.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            return 0
        return int(self._ask((code, address)))

    def release(self, address: int) -> None:
        with self:
            self._ask(self.api.cuMemFree(address))  # waits for what is under way

    def opened(self, address: int, nbytes: int) -> None:
        """The driver keeps no account of arrays."""

    def closed(self, address: int) -> None:
        """A kernel of ours that still uses the memory comes before any that will: there is one stream."""

    def write(self, address: int, source: np.ndarray) -> None:
        """Of a copy, for the caller may change the source before the GPU has read it."""
        copy = source.copy()
        with self:
            self._ask(self.api.cuMemcpyHtoDAsync(address, copy.ctypes.data, copy.nbytes, self._stream))
            self._sent.append((self.event(), copy))
            while self._sent and self._is_over(self._sent[0][0]):
                self._sent.popleft()

    def read(self, target: np.ndarray, address: int) -> None:
        with self:
            self._ask(self.api.cuMemcpyDtoHAsync(target.ctypes.data, address, target.nbytes, self._stream))
            self.synchronize()

    # --------------------------------------------------------------------------------------------------- kernels

    def load(self, compiled: Compiled) -> Any:
        """The kernel as a function of the driver. It is assembled by ptxas where that is installed, which need not be
        as old as the driver, and else by the driver."""
        assembled = self.exact == self.capability and find_ptxas() is not None
        image = assemble(compiled.ptx, self.capability).cubin if assembled else compiled.ptx.encode() + b"\0"
        with self:
            code, module = self.api.cuModuleLoadData(image)
            if code == self.api.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
                raise MemoryError(f"{self.name}: no memory for the kernel {compiled.name}")
            if code == self.api.CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
                raise DriverError(f"{self.name}: the driver is older than the PTX Numba makes; it takes a newer one, "
                                  "or ptxas beside it (pip install nvidia-cuda-nvcc-cu12)")
            self._modules.append(self._ask((code, module)))
            return self._ask(self.api.cuModuleGetFunction(module, compiled.name.encode()))

    def run(self, loaded: Any, grid: tuple[int, int, int], threads: int, packed: bytes) -> None:
        size = ctypes.c_size_t(len(packed))
        address = ctypes.cast(ctypes.c_char_p(packed), ctypes.c_void_p)
        extra = (ctypes.c_void_p * 5)(BUFFER_POINTER, address, BUFFER_SIZE, ctypes.addressof(size), END)
        with self:
            self._ask(self.api.cuLaunchKernel(loaded, *grid, threads, 1, 1, 0, self._stream, 0,
                                              ctypes.addressof(extra)))

    def synchronize(self) -> None:
        """Wait until all that was started is done; errors of kernels show here."""
        with self:
            self._ask(self.api.cuStreamSynchronize(self._stream))

    def wait_for_others(self) -> None:
        """Wait until all that any library started on the GPU is done."""
        with self:
            self._ask(self.api.cuCtxSynchronize())

    # ---------------------------------------------------------------------------------------------------- timing

    def event(self) -> Event:
        """A mark in the stream, at what was asked for last."""
        with self:
            mark = Event(self, self._ask(self.api.cuEventCreate(self.api.CUevent_flags.CU_EVENT_DEFAULT)))
            self._ask(self.api.cuEventRecord(mark.handle, self._stream))
        return mark

    def _is_over(self, mark: Event) -> bool:
        return self.api.cuEventQuery(mark.handle)[0] == self.api.CUresult.CUDA_SUCCESS

    def milliseconds(self, first: Event, last: Event) -> float:
        """The GPU's time from one event to another, when that has come."""
        with self:
            self._ask(self.api.cuEventSynchronize(last.handle))
            return self._ask(self.api.cuEventElapsedTime(first.handle, last.handle))
