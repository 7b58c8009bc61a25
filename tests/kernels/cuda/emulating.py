"""Runs PTX written by hand, and kernels written with Numba, through the emulator, over NumPy arrays."""

import ctypes
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.kernels.cuda import emulator

GAP = 256  # bytes between arrays, as the allocator leaves


def assemble(body: str, parameters: str = "", head: str = "", target: str = "sm_80") -> str:
    """A kernel around instructions. parameters: types, "u64 u64 u32", found in %0, %1, ...."""
    types = parameters.split()
    names = [f"kernel_param_{number}" for number in range(len(types))]
    declared = ", ".join(f".param .{type_} {name}" for type_, name in zip(types, names, strict=True))
    loads = "\n".join(
        f"    .reg .{type_} %{number}; ld.param.{type_} %{number}, [{name}];"
        for number, (type_, name) in enumerate(zip(types, names, strict=True))
    )
    return f""".version 8.8
.target {target}
.address_size 64
{head}
.visible .entry kernel({declared})
{{
{loads}
{body}
    ret;
}}
"""


class Arrays:
    """Copies of arrays side by side in memory, with gaps; what a kernel wrote is read back from there."""

    def __init__(self, *arrays: np.ndarray) -> None:
        self.memory = emulator.Memory()
        sizes = [-(-array.nbytes // GAP) * GAP + GAP for array in arrays]
        self._bytes = np.zeros(sum(sizes) + 2 * GAP, np.uint8)
        place = -self._bytes.ctypes.data % GAP + GAP
        self.views: list[np.ndarray] = []
        for array, size in zip(arrays, sizes, strict=True):
            view = self._bytes[place : place + array.nbytes].view(array.dtype).reshape(array.shape)
            view[...] = array
            self.memory.add(view.ctypes.data, array.nbytes)
            self.views.append(view)
            place += size


def execute(
    ptx: str,
    arguments: list[Any],
    grid: Any = 1,
    block: Any = 32,
    *,
    checked: bool = True,
    order: str = "forward",
    shared_bytes: int = 0,
    threads: int = 1,
) -> list[np.ndarray]:
    """Run PTX; arguments: arrays, of which the kernel gets copies, and numbers. The arrays as it left them."""
    arrays = Arrays(*(argument for argument in arguments if isinstance(argument, np.ndarray)))
    views = iter(arrays.views)
    values = [next(views).ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    program = emulator.load(ptx, checked=checked)
    packed = struct.pack(program.parameters, *values)
    program.run(
        three(grid), three(block), shared_bytes, packed, arrays.memory, order=order, threads=threads
    )
    return arrays.views


def three(size: Any) -> tuple[int, int, int]:
    return (*((size,) if isinstance(size, int) else size), 1, 1)[:3]


def compiled(function: Callable, *signature: Any, cc: tuple[int, int] = (8, 0)) -> str:
    """The PTX of a function; signature: types of Numba's."""
    from numba import cuda, types

    return cuda.compile_ptx(function, types.void(*signature), cc=cc)[0]


def bits(value: float, type_: str) -> str:
    """A float as PTX writes it."""
    if type_ == "f32":
        return "0f" + struct.pack(">f", ctypes.c_float(value).value).hex()
    return "0d" + struct.pack(">d", value).hex()
