"""What minicnn finds on this machine: processor, threads, GPU, data.

Nothing here fails: what is missing is given as a reason.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

import minicnn

from .device import get_num_threads, resolve
from .kernels import cpu


def diagnose() -> dict[str, Any]:
    """Everything, as plain values for JSON, in sections."""
    return {
        "minicnn": {"version": minicnn.__version__, "folder": str(Path(minicnn.__file__).parent)},
        "python": {"version": platform.python_version(), "platform": platform.platform(), "numpy": np.__version__},
        "cpu": _cpu(),
        "gpu": _gpu(),
        "data": _data(),
    }


def _cpu() -> dict[str, Any]:
    return {
        "vector_level": cpu.level,
        "vector_levels": list(cpu.LEVELS),
        "openmp": cpu.host.openmp,
        "threads": get_num_threads(),
        "processors": os.cpu_count(),
    }


def _gpu() -> dict[str, Any]:
    reason, emulator = _why_not("cuda"), _why_not("emulator")
    return {
        "usable": reason is None,
        "note": reason,
        "emulator": emulator or "works",
        "numba": _package("numba", "numba"),
        "numba_cuda": _package("numba-cuda", "numba_cuda"),
        "driver": _driver(),
    }


def _why_not(device: str) -> str | None:
    """Why a device can't be used; None if it can: a kernel was compiled and ran there."""
    try:
        resolve(device)
        return None if (minicnn.ones(3, device=device) * 2).tolist() == [2, 2, 2] else "it computes wrong results"
    except Exception as error:  # whatever a half-installed compiler or driver raises
        return str(error).removeprefix(f"device {device!r} can't be used: ") or type(error).__name__


def _package(package: str, module: str) -> str:
    """The version of a package, found without importing it."""
    try:
        if importlib.util.find_spec(module) is None:
            return "not installed"
        return importlib.metadata.version(package)
    except (ImportError, ValueError) as error:  # half-installed packages
        return f"can't be used ({error})"


def _driver() -> dict[str, Any]:
    """The CUDA driver and its devices, asked through its C interface; or why there are none."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return {"version": None, "devices": [], "reason": f"no CUDA driver: {error}"}
    try:
        return _ask_driver(library)
    except (AttributeError, OSError) as error:
        return {"version": None, "devices": [], "reason": f"libcuda.so.1 is not a CUDA driver: {error}"}


def _ask_driver(library: Any) -> dict[str, Any]:
    code = library.cuInit(0)
    if code:
        return {"version": None, "devices": [], "reason": f"cuInit gives {_error_name(library, code)}"}
    version, count = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    library.cuDeviceGetCount(ctypes.byref(count))
    devices = []
    for index in range(count.value):
        name, handle = ctypes.create_string_buffer(256), ctypes.c_int()
        library.cuDeviceGet(ctypes.byref(handle), index)
        if library.cuDeviceGetName(name, len(name), handle) == 0:
            devices.append(name.value.decode(errors="replace"))
    reason = None if devices else "the driver finds no GPU"
    return {"version": f"{version.value // 1000}.{version.value % 1000 // 10}", "devices": devices, "reason": reason}


def _error_name(library: Any, code: int) -> str:
    name = ctypes.c_char_p()
    library.cuGetErrorName(code, ctypes.byref(name))
    return f"{name.value.decode() if name.value else 'error'} ({code})"


def _data() -> dict[str, Any]:
    """The data sets that are there: in $MINICNN_DATA, or where `minicnn data download` puts them."""
    from .data.places import HOLDS, find

    folder = os.environ.get("MINICNN_DATA")
    try:
        found = {name: find(name) for name in HOLDS}
        if folder:
            smiles = [path for path in (Path(folder) / "smiles", Path(folder) / "smiles" / "large")
                      if (path / "train_happy.h5").exists()]
            found |= {str(path.relative_to(folder)): path for path in smiles}
        note = "MINICNN_DATA is not set" if not folder else None
        if folder and not Path(folder).is_dir():
            note = f"MINICNN_DATA: {folder} is not a folder"
    except OSError as error:  # a name that the system can't look up
        found, note = {}, f"MINICNN_DATA: {error}"
    return {"folder": folder, "sets": {name: str(path) for name, path in found.items() if path}, "note": note}


def lines(found: dict[str, Any]) -> list[str]:
    """The same for people, one line for each thing."""
    mini, python, processor, gpu, data = (found[key] for key in ("minicnn", "python", "cpu", "gpu", "data"))
    driver = gpu["driver"]
    sets = ", ".join(f"{name} in {path}" for name, path in data["sets"].items())
    told = {
        "minicnn": f"{mini['version']} in {mini['folder']}",
        "Python": f"{python['version']}, NumPy {python['numpy']}, on {python['platform']}",
        "vectors": f"{processor['vector_level']} in use, of {', '.join(processor['vector_levels'])}",
        "threads": f"{processor['threads']} in use, of {processor['processors']} processors; built "
                   + ("with OpenMP" if processor["openmp"] else "without OpenMP, so one thread is all there is"),
        "GPU": "can be used" if gpu["usable"] else f"not used: {gpu['note']}",
        "emulator": gpu["emulator"],
        "numba": f"{gpu['numba']}; numba-cuda: {gpu['numba_cuda']}",
        "driver": driver["reason"] or f"CUDA {driver['version']}, {', '.join(driver['devices'])}",
        "data": "; ".join(filter(None, (data["note"], sets or "no data set found"))),
    }
    return [f"{name:8} {text}" for name, text in told.items()]
