"""Where arrays live and kernels run: names of devices, transfers between them, threads.

"cpu" is the processor. "cuda" or "cuda:0", "cuda:1" ... are NVIDIA's GPUs. "emulator" runs the GPU's kernels, the very
code that a GPU would run, on the processor: slowly, for who writes them or has no GPU.

Nothing moves by itself: an op takes tensors of one device, and what it makes is there too.

    model, loader = model.to("cuda"), mc.data.DataLoader(data, batch_size=64, device="cuda")

Results agree between devices to rounding, random numbers to the bit. Where Python reads a tensor (`numpy`, `item`,
`print`, an `if`), it is copied to the CPU, which waits for all that was started before. So do index arrays and masks in
x[...]; and x[...] = y with either goes by way of the CPU as a whole. Slices stay where they are.

What is wrong with a call's shapes and dtypes is said at once, on every device. What is wrong with the numbers in an
array - a label that is no class, an index outside - the CPU says at once too; on a GPU one would have to wait for it.
There the kernel passes over a wrong index, and the error, which names the op, is raised where a tensor is read next: by
a Trainer where it reads the loss, before the optimizer moves anything.
"""

from importlib.metadata import requires, version
from typing import Any

import numpy as np

from .kernels import cpu
from .kernels.cuda.memory import DeviceArray, to_device
from .kernels.cuda.memory import to_numpy as from_device

MOST_THREADS = 1024  # beyond what processors have; where a system gives no more threads, OpenMP ends the process
EXPECTED = "expected 'cpu', 'cuda', 'cuda:N' or 'emulator'"


def resolve(device: str) -> str:
    """The full name of a device; ValueError for a name of none, RuntimeError with the reason if it can't be used.

    >>> import minicnn as mc
    >>> mc.device.resolve("cpu")
    'cpu'
    """
    if device == "cpu":
        return device
    name = "cuda:0" if device == "cuda" else device
    if not isinstance(name, str) or not (name == "emulator" or name.startswith("cuda:") and name[5:].isdecimal()):
        raise ValueError(f"device: {EXPECTED}, got {device!r}")
    if name != "emulator":
        name = f"cuda:{int(name[5:])}"
    open_device(name, device)
    return name


_opened: dict[str, Any] = {}


def open_device(name: str, asked: str = "") -> Any:
    """The device itself, not the CPU, by its full name; errors call it as it was asked for."""
    found = _opened.get(name)
    if found is None:
        found = _opened[name] = _open(name, asked or name)
    return found


def _open(name: str, asked: str) -> Any:
    try:
        version("numba-cuda")  # Numba alone brings an older compiler of the same name
        from .kernels.cuda import devices
        from .kernels.cuda.driver import DriverMissing
    except ModuleNotFoundError as error:
        raise RuntimeError(f"device {asked!r} can't be used: {error.name} is not installed (pip install "
                           "'minicnn[cuda]'); device 'cpu' works") from error
    except ImportError as error:
        if "NumPy" not in str(error):
            raise RuntimeError(f"device {asked!r} can't be used: {error}; device 'cpu' works") from error
        # Numba knows a new NumPy only some months later, and refuses it until then.
        numpy = next((need.partition(";")[0] for need in requires("numba") or () if need.startswith("numpy")), "numpy")
        raise RuntimeError(f"device {asked!r} can't be used: {error} Versions that fit: pip install 'minicnn[cuda]' "
                           f"'{numpy}'; device 'cpu' works") from error
    try:
        return devices.open_device(name)
    except DriverMissing as error:
        raise RuntimeError(f"device {asked!r} can't be used: {error}; device 'emulator' runs the same kernels on the "
                           "processor, slowly, and 'cpu' kernels of its own") from error


def gpu_kernels() -> Any:
    """The GPU's kernels, for `dispatch`."""
    from .kernels import cuda

    return cuda


def of(array: Any) -> str:
    """The device that an array lives on."""
    if isinstance(array, np.ndarray):
        return "cpu"
    if isinstance(array, DeviceArray):
        return array.device.name
    raise TypeError(f"not an array of any device: {type(array).__name__}")


def transfer(array: Any, device: str) -> Any:
    """The array on `device`; itself if it is there already."""
    here, there = of(array), resolve(device)
    if here == there:
        return array
    if here != "cpu":
        array = from_device(array)
    return array if there == "cpu" else to_device(array, open_device(there))


def to_numpy(array: Any) -> np.ndarray:
    """The array in the CPU's memory; itself if it is there already."""
    return transfer(array, "cpu")


def cuda_is_available() -> bool:
    """Whether device="cuda" can be used.

    >>> import minicnn as mc
    >>> device = "cuda" if mc.cuda_is_available() else "cpu"
    >>> mc.zeros(3, device=device).shape
    (3,)
    """
    try:
        resolve("cuda")
    except RuntimeError:
        return False
    return True


def set_num_threads(count: int) -> None:
    """How many threads the CPU kernels use, 1 to 1024; ValueError otherwise. Results don't depend on it.

    >>> import minicnn as mc
    >>> before = mc.get_num_threads()
    >>> mc.set_num_threads(1)
    >>> mc.get_num_threads()
    1
    >>> mc.set_num_threads(before)
    """
    if not isinstance(count, int) or not 1 <= count <= MOST_THREADS:
        raise ValueError(f"set_num_threads: expected an int from 1 to {MOST_THREADS}, got {count!r}")
    cpu.set_num_threads(count)


def get_num_threads() -> int:
    """How many threads the CPU kernels use: one a processor that this process may use, unless set otherwise.

    >>> import minicnn as mc
    >>> mc.get_num_threads() >= 1
    True
    """
    return cpu.get_num_threads()
