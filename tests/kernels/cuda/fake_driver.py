"""A CUDA driver that isn't one: the functions of cuda-bindings that driver.py calls, over this machine's memory and the
emulator. It holds what is asked of a driver - contexts, order, sizes - and counts what is open."""

import ctypes
from enum import Enum
from types import SimpleNamespace
from typing import Any

from minicnn.kernels.cuda import emulator


class CUresult(Enum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222
    CUDA_ERROR_NOT_FOUND = 500


OK = CUresult.CUDA_SUCCESS


class FakeDriver:
    """devices: how many GPUs there are. room: bytes of memory of each."""

    CUresult = CUresult
    CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
    CUevent_flags = SimpleNamespace(CU_EVENT_DEFAULT=0)
    CUpointer_attribute = SimpleNamespace(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL=9)
    CUdevice_attribute = SimpleNamespace(**{f"CU_DEVICE_ATTRIBUTE_{name}": name for name in (
        "COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR", "MULTIPROCESSOR_COUNT", "CLOCK_RATE",
        "MEMORY_CLOCK_RATE", "GLOBAL_MEMORY_BUS_WIDTH")})

    def __init__(self, devices: int = 1, room: int = 1 << 28, capability: tuple[int, int] = (8, 6)) -> None:
        self.devices, self.room = devices, room
        self.attributes = {"COMPUTE_CAPABILITY_MAJOR": capability[0], "COMPUTE_CAPABILITY_MINOR": capability[1],
                           "MULTIPROCESSOR_COUNT": 82, "CLOCK_RATE": 1_695_000, "MEMORY_CLOCK_RATE": 9_751_000,
                           "GLOBAL_MEMORY_BUS_WIDTH": 384}  # of an RTX 3090, about
        self.contexts: list[Any] = []  # what is current comes last
        self.events = 0  # that are open
        self.blocks: dict[int, Any] = {}
        self.memory = emulator.Memory()
        self.old = False  # whether it is older than the PTX

    def _here(self) -> CUresult:
        current = self.contexts[-1] if self.contexts else ""
        return OK if current.startswith("context of") else CUresult.CUDA_ERROR_INVALID_CONTEXT

    def cuInit(self, flags: int) -> Any:
        return (OK,)

    def cuGetErrorString(self, code: CUresult) -> Any:
        return OK, code.name.lower().replace("_", " ").encode()

    def cuDeviceGetCount(self) -> Any:
        return OK, self.devices

    def cuDeviceGet(self, ordinal: int) -> Any:
        return OK, ordinal + 1000

    def cuDeviceGetName(self, length: int, device: int) -> Any:
        return OK, b"Fake GPU".ljust(length, b"\0")

    def cuDeviceGetAttribute(self, kind: str, device: int) -> Any:
        return OK, self.attributes[kind]

    def cuDevicePrimaryCtxRetain(self, device: int) -> Any:
        return OK, f"context of {device}"

    def cuCtxPushCurrent(self, context: Any) -> Any:
        self.contexts.append(context)
        return (OK,)

    def cuCtxPopCurrent(self) -> Any:
        return OK, self.contexts.pop()

    def cuStreamCreate(self, flags: int) -> Any:
        return self._here(), "stream"

    def cuStreamSynchronize(self, stream: Any) -> Any:
        return (self._here(),)

    def cuCtxSynchronize(self) -> Any:
        return (self._here(),)

    def cuMemAlloc(self, nbytes: int) -> Any:
        taken = sum(len(block) for block in self.blocks.values())
        if taken + nbytes > self.room:
            return CUresult.CUDA_ERROR_OUT_OF_MEMORY, 0
        block = ctypes.create_string_buffer(nbytes + 512)
        address = -(-ctypes.addressof(block) // 256) * 256
        self.blocks[address] = block
        self.memory.add(address, nbytes)
        return self._here(), address

    def cuMemFree(self, address: int) -> Any:
        del self.blocks[address]
        self.memory.remove(address)
        return (self._here(),)

    def cuPointerGetAttribute(self, attribute: int, address: int) -> Any:
        inside = any(start <= address < start + len(block) for start, block in self.blocks.items())
        return (OK, 0) if inside else (CUresult.CUDA_ERROR_INVALID_VALUE, None)

    def cuMemcpyHtoDAsync(self, target: int, source: int, nbytes: int, stream: Any) -> Any:
        ctypes.memmove(target, source, nbytes)
        return (self._here(),)

    def cuMemcpyDtoHAsync(self, target: int, source: int, nbytes: int, stream: Any) -> Any:
        return self.cuMemcpyHtoDAsync(target, source, nbytes, stream)

    def cuModuleLoadData(self, image: bytes) -> Any:
        if self.old:
            return CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION, None
        text = image.decode().rstrip("\0")
        return self._here(), SimpleNamespace(text=text, program=emulator.load(text, checked=True))

    def cuModuleGetFunction(self, module: Any, name: bytes) -> Any:
        found = f".entry {name.decode()}(" in module.text
        return (self._here() if found else CUresult.CUDA_ERROR_NOT_FOUND), module.program

    def cuLaunchKernel(self, function: Any, x: int, y: int, z: int, bx: int, by: int, bz: int, shared: int, stream: Any,
                       parameters: int, extra: int) -> Any:
        words = (ctypes.c_size_t * 5).from_address(extra)
        if parameters or (words[0], words[2], words[4]) != (1, 2, 0):
            return (CUresult.CUDA_ERROR_INVALID_VALUE,)
        size = ctypes.c_size_t.from_address(words[3]).value
        packed = ctypes.string_at(words[1], size)
        function.run((x, y, z), (bx, by, bz), shared, packed, self.memory)
        return (self._here(),)

    def cuEventCreate(self, flags: int) -> Any:
        self.events += 1
        return self._here(), SimpleNamespace(recorded=False)

    def cuEventRecord(self, event: Any, stream: Any) -> Any:
        event.recorded = True
        return (self._here(),)

    def cuEventQuery(self, event: Any) -> Any:
        return (OK if event.recorded else CUresult.CUDA_ERROR_INVALID_VALUE,)

    def cuEventDestroy(self, event: Any) -> Any:
        self.events -= 1
        return (self._here(),)

    def cuEventSynchronize(self, event: Any) -> Any:
        return (OK if event.recorded else CUresult.CUDA_ERROR_INVALID_VALUE,)

    def cuEventElapsedTime(self, first: Any, last: Any) -> Any:
        return OK, 1.5
