"""Calls a kernel as its contract says: sizes resolved, outputs allocated and spoilt, results collected and compared."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from minicnn.kernels.contracts import Argument, Contract

Arrays = Sequence[np.ndarray | None]


@dataclass(frozen=True)
class Backend:
    """One set of kernels under test. its_memory: whether it takes NumPy arrays as they lie."""

    name: str
    kernel: Callable[[str], Callable[..., None]]
    set_num_threads: Callable[[int], None]
    its_memory: bool = True


def on_devices() -> list[Backend]:
    """Backends with a memory of their own. The emulator checks every access, in one order of the threads and, where the
    others run on two threads, in the reverse one."""
    if find_spec("numba") is None or find_spec("numba_cuda") is None:
        return []
    from minicnn import cuda_is_available
    from minicnn.kernels.cuda.devices import open_device

    def emulator(count: int) -> None:
        open_device("emulator").backend.mode = "checked" if count == 1 else "reverse"

    found = [Backend("emulator", partial(moved, "emulator"), emulator, its_memory=False)]
    if cuda_is_available():
        found.append(Backend("cuda", partial(moved, "cuda:0"), lambda count: None, its_memory=False))
    return found


@contextmanager
def settings_kept() -> Iterator[None]:
    """What is set inside, the processor's threads and the emulator's mode, is as before afterwards."""
    from minicnn.kernels import cpu

    threads, emulator = cpu.get_num_threads(), None
    if on_devices():
        from minicnn.kernels.cuda.devices import open_device

        emulator = open_device("emulator").backend
    mode = emulator and emulator.mode
    try:
        yield
    finally:
        cpu.set_num_threads(threads)
        if emulator:
            emulator.mode = mode


def moved(device: str, name: str) -> Callable[..., None]:
    """The kernel of a device, taking NumPy arrays there and back."""
    from minicnn.kernels import cuda
    from minicnn.kernels.cuda.devices import open_device
    from minicnn.kernels.cuda.memory import DeviceArray, to_device, to_numpy

    run, there = cuda.kernel(name), open_device(device)

    def call_there(*arguments: Any) -> None:
        taken = [to_device(a, there) if isinstance(a, np.ndarray) else a for a in arguments]
        run(*taken)
        for before, after in zip(arguments, taken, strict=True):
            if isinstance(after, DeviceArray):
                before[...] = to_numpy(after)

    return call_there


def backends() -> list[Backend]:
    """The CPU's vector levels, as far as this processor has them, the emulator, and a GPU where there is one."""
    from minicnn.kernels import cpu

    levels = [Backend(level, partial(cpu.kernel, level=level), cpu.set_num_threads) for level in cpu.LEVELS]
    return [*levels, *on_devices()]


def bind(contract: Contract, inputs: Arrays, params: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes by name, "..." and "~" among them as shapes; ValueError where inputs and params don't fit."""
    sizes: dict[str, Any] = {}
    for argument, array in zip(contract.inputs, inputs, strict=True):
        if array is None:
            if not argument.optional:
                raise ValueError(f"{contract.name}: {argument.name} is missing")
            continue
        if argument.dims == "~":
            sizes["~"] = np.broadcast_shapes(sizes.get("~", ()), array.shape)
            continue
        if argument.dims != "..." and len(argument.dims) != array.ndim:
            raise ValueError(f"{contract.name}: {argument.name} has shape {array.shape}, expected {argument.dims}")
        named = [("...", array.shape)] if argument.dims == "..." else zip(argument.dims, array.shape, strict=True)
        for name, size in named:
            if sizes.setdefault(name, size) != size:
                raise ValueError(f"{contract.name}: {argument.name} has {name} = {size}, expected {sizes[name]}")
    return sizes | (contract.sizes(sizes, params) if contract.sizes else {})


def output_dtype(contract: Contract, argument: Argument, params: Mapping[str, Any], dtype: Any) -> np.dtype:
    """`dtype`: what the case was built for."""
    if argument.kind == "p":
        height, width = params["kernel"]
        return np.dtype(np.uint8 if height * width <= 256 else np.int32)
    fixed = {"i": np.int64, "b": np.bool_, "u": np.uint32, "o": np.uint8}
    return np.dtype(fixed.get(argument.kind, dtype))


def spoil(array: np.ndarray) -> np.ndarray:
    """Fill with what no result looks like."""
    array[...] = {"f": np.nan, "b": True}.get(array.dtype.kind, 113)
    return array


def allocate(contract: Contract, inputs: Arrays, params: Mapping[str, Any], dtype: Any) -> list[np.ndarray]:
    """The outputs, spoilt: an element that a kernel forgets shows."""
    sizes = bind(contract, inputs, params)
    outputs = []
    for argument in contract.outputs:
        shape = sizes[argument.dims] if isinstance(argument.dims, str) else [sizes[d] for d in argument.dims]
        outputs.append(spoil(np.empty(shape, output_dtype(contract, argument, params, dtype))))
    return outputs


def copied(array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None else array.copy()


#: Elements in front of and behind a fenced array. Odd, so that no vector in it is aligned.
FENCE = 3


def fenced(array: np.ndarray | None) -> np.ndarray | None:
    """A copy in the middle of a larger, spoilt array: reading beside it gives nonsense, writing beside it shows."""
    if array is None:
        return None
    around = spoil(np.empty(array.size + 2 * FENCE, array.dtype))
    middle = around[FENCE:FENCE + array.size].reshape(array.shape)
    middle[...] = array
    return middle


def fence_stands(array: np.ndarray | None) -> bool:
    if array is None:
        return True
    around = array
    while around.base is not None:
        around = around.base
    sides = np.concatenate([around[:FENCE], around[FENCE + array.size:]])
    return same(sides, spoil(sides.copy()))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """The same bits; any NaN is the same as any other."""
    return a.tobytes() == b.tobytes() or np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def call(kernel: Callable[..., None], contract: Contract, inputs: Arrays, params: Mapping[str, Any], dtype: Any,
         *extra: Any, place: Callable[[np.ndarray | None], np.ndarray | None] = copied) -> list[np.ndarray]:
    """Run a kernel; returns what it changed in place and its outputs.

    place: makes the copy of each array that the kernel gets. Checks that it leaves everything else alone.
    """
    arrays = [place(array) for array in inputs]
    outputs = [place(array) for array in allocate(contract, inputs, params, dtype)]
    kernel(*arrays, *outputs, *(params[name] for name in contract.params), *extra)
    results = []
    for argument, before, after in zip(contract.inputs, inputs, arrays, strict=True):
        if argument.inplace and after is not None:
            results.append(after)
        elif before is not None:
            assert same(after, before), f"{contract.name} changed its input {argument.name}"
    if place is fenced:
        for argument, array in zip(contract.inputs + contract.outputs, arrays + outputs, strict=True):
            assert fence_stands(array), f"{contract.name} wrote beside {argument.name}"
    return [*results, *(output for output in outputs if output is not None)]


def result_names(contract: Contract, inputs: Arrays) -> list[str]:
    """The names of what `call` returns."""
    changed = [a.name for a, array in zip(contract.inputs, inputs, strict=True) if a.inplace and array is not None]
    return changed + [a.name for a in contract.outputs]


def in_float64(array: np.ndarray | None) -> np.ndarray | None:
    return array.astype(np.float64) if array is not None and array.dtype == np.float32 else array
