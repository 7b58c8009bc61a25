"""From a Python function to PTX, the assembly language of NVIDIA's GPUs; once, and without a GPU.

A kernel is a plain function over flat memory. Around it stands a function of its settings, the types and sizes that
are open in it:

    @kernel("x: real*, y: real*, factor: real, n: u32")
    def scale(real):
        def scale(x, y, factor, n):
            i = position()
            if i < n:
                y[i] = x[i] * factor
        return scale

`scale` is a Kernel then, and `scale(np.float32)` a Variant: the kernel with its settings, which is what is compiled,
launched (launcher.py) and counted. A parameter's type is one of SCALARS, a setting, or a pointer to either, with a
star. Pointers carry no size and indices are unsigned 32-bit numbers: address arithmetic stays short, and a kernel's
parameters are those that one reads.

A variant is compiled when it is first needed: by Numba to LLVM's intermediate code, which takes nine tenths of the
time and is the same for all GPUs, and from there by NVIDIA's libNVVM. The PTX is kept in the user's cache, named by a
digest of the function's source and of all that it uses, of the compilers' versions, and of the compute capability: no
variant is compiled twice.
"""

import inspect
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from cuda import pathfinder
from numba import types
from numba.cuda.compiler import kernel_fixup
from numba.cuda.cudadrv.nvvm import set_launch_bounds
from numba.np.numpy_support import from_dtype

from ..cache import user_cache
from .define import lower

#: The scalar types of parameters: Numba's, and the letter of the struct module that packs one.
SCALARS = {"u32": (types.uint32, "I"), "u64": (types.uint64, "Q"), "u8": (types.uint8, "B"),
           "i32": (types.int32, "i"), "i64": (types.int64, "q"),
           "f32": (types.float32, "f"), "f64": (types.float64, "d")}
_LETTERS = dict(SCALARS.values())
POINTER = "Q"

#: Threads of a block, unless a kernel says otherwise.
THREADS = 256

KERNELS: dict[str, "Kernel"] = {}

#: Is told (level INFO) of each variant that has to be compiled, before that takes a second or two.
LOG = logging.getLogger(__name__)


def kernel(signature: str, *, threads: int | Callable[..., int] = THREADS,
           variants: tuple[tuple[Any, ...], ...] = ((np.float32,), (np.float64,))) -> Callable[[Any], "Kernel"]:
    """Make a Kernel of the function around one (see above).

    threads: of a block, which may follow from the settings. variants: the settings that are looked at where all kernels
    are: compiled for each kind of GPU, counted, and so on; at least one for each type.
    """
    def add(make: Callable[..., Any]) -> Kernel:
        if make.__name__ in KERNELS and make.__module__ != "__main__":  # a cell of a notebook may run again
            raise ValueError(f"there are two kernels called {make.__name__}")
        KERNELS[make.__name__] = Kernel(make, signature, threads, variants)
        return KERNELS[make.__name__]
    return add


class Kernel:
    """A kernel with its settings open: makes its Variants, each once."""

    def __init__(self, make: Callable[..., Any], signature: str, threads: int | Callable[..., int],
                 variants: tuple[tuple[Any, ...], ...]) -> None:
        self.make, self.signature, self.threads, self.variants = make, signature, threads, variants
        self._made: dict[tuple[Any, ...], Variant] = {}

    def __repr__(self) -> str:
        return f"<kernel {self.make.__name__}>"

    def __call__(self, *settings: Any) -> "Variant":
        variant = self._made.get(settings)
        if variant is None:
            variant = self._made[settings] = Variant(self, settings)
        return variant


@dataclass(frozen=True)
class Compiled:
    """A variant compiled for one compute capability: its PTX, in which it is called `name`, its parameters' names, and
    how arguments for them are packed (for the struct module)."""

    name: str
    ptx: str
    parameters: tuple[str, ...]
    packing: str


class Variant:
    """A kernel with certain settings: types, sizes and whatever else the function around it takes.

    has_launch_rule: whether rules of this package launch it. Who calls those has held the arrays against a contract.
    """

    def __init__(self, kernel: Kernel, settings: tuple[Any, ...]) -> None:
        self.kernel = kernel
        names = tuple(inspect.signature(kernel.make).parameters)
        if len(settings) != len(names):
            raise TypeError(f"{kernel}: {len(settings)} settings came, {settings}, expected {len(names)}: "
                            f"{', '.join(names)}")
        self.settings = tuple(_numba_type(s) for s in settings)
        self.threads = kernel.threads(*settings) if callable(kernel.threads) else kernel.threads
        self.name = "_".join([kernel.make.__name__, *[re.sub(r"\W+", "_", str(s)) for s in self.settings]])
        self.has_launch_rule = kernel.make.__module__.startswith(f"{__package__}.")
        self._compiled: dict[tuple[int, int], Compiled] = {}

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def function(self) -> Any:
        """The plain function, to be read, or called by nobody but Numba."""
        return self.kernel.make(*self.settings)

    @cached_property
    def parameters(self) -> dict[str, tuple[Any, bool]]:
        """The type of each parameter, and whether it is a pointer to that."""
        space = {name: row[0] for name, row in SCALARS.items()}
        space |= dict(zip(inspect.signature(self.kernel.make).parameters, self.settings, strict=True))
        found = {}
        for part in self.kernel.signature.split(","):
            name, _, written = part.replace(" ", "").partition(":")
            its_type = written.removesuffix("*")
            if its_type not in space:
                raise ValueError(f"{self}: the type of {name}, {written!r}, is none of {', '.join(space)}, with or "
                                 "without a star")
            if not isinstance(space[its_type], types.Type):
                raise TypeError(f"{self}: the setting {its_type} is the type of {name}, expected one such as "
                                f"np.float32, got {space[its_type]!r}")
            found[name] = space[its_type], written.endswith("*")
        if list(found) != list(inspect.signature(self.function).parameters):
            raise ValueError(f"{self}: its signature says ({', '.join(found)}), but the function takes "
                             f"{inspect.signature(self.function)}")
        return found

    @cached_property
    def packing(self) -> str:
        return "@" + "".join(POINTER if pointer else _LETTERS[one] for one, pointer in self.parameters.values())

    def compiled(self, capability: tuple[int, int]) -> Compiled:
        """The PTX for a compute capability such as (8, 0), from the cache where it was made before."""
        if capability not in self._compiled:
            self.compile(capability)
        return self._compiled[capability]

    def compile(self, *capabilities: tuple[int, int]) -> None:
        """Have PTX for each of the compute capabilities: for several at once it takes little longer than for one."""
        paths = {cc: cache_folder() / f"{self.name[:80]}-{_digest(self, cc)}.ptx" for cc in capabilities}
        missing = [cc for cc, path in paths.items() if not path.exists()]
        if missing:
            LOG.info("compiling %s", self.name)
            library = self._lowered()
            for cc in missing:
                write_beside(paths[cc], self._renamed(library.get_asm_str(cc)).encode())
        names = tuple(self.parameters)
        self._compiled |= {cc: Compiled(self.name, path.read_text(), names, self.packing) for cc, path in paths.items()}

    def _lowered(self) -> Any:
        """Numba's library of the function and the device functions it calls, which makes PTX for any capability."""
        arguments = tuple(types.CPointer(t) if pointer else t for t, pointer in self.parameters.values())
        made = lower(self.function, arguments, types.void, inlined=False)
        entry = made.library.get_function(made.fndesc.llvm_func_name)
        kernel_fixup(entry, debug=False)  # from a function that tells of errors to one that returns nothing
        set_launch_bounds(entry, self.threads)
        return made.library

    def _renamed(self, ptx: str) -> str:
        """The PTX with the variant's name instead of Numba's, which is mangled and hundreds of letters long."""
        entry = re.search(r"\.entry (\S+)\(", ptx)
        assert entry, "Numba made PTX without an entry"
        return ptx.replace(entry[1], self.name)


def _numba_type(setting: Any) -> Any:
    """A type as Numba's: of bools the byte that they lie in. Other settings as they are."""
    if not isinstance(setting, (np.dtype, type)):
        return setting
    dtype = np.dtype(setting)
    return types.uint8 if dtype == np.bool_ else from_dtype(dtype)


def cache_folder() -> Path:
    """Where PTX is kept: $MINICNN_CACHE, or the user's cache."""
    return Path(os.environ.get("MINICNN_CACHE") or user_cache("kernels"))


def write_beside(path: Path, content: bytes) -> None:
    """Beside first, then renamed: another process may read or write the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        file.write(content)
    os.replace(file.name, path)


def newest_capability(wanted: tuple[int, int]) -> tuple[int, int]:
    """The compute capability that Numba's compiler knows and that is nearest below `wanted`."""
    from numba.cuda.cudadrv.nvrtc import get_supported_ccs

    known = [cc for cc in get_supported_ccs() if cc <= wanted]
    if not known:
        raise ValueError(f"compute capability {wanted} is older than Numba's compiler knows")
    return max(known)


# ------------------------------------------------------------------------------------------------------- the digest


def _digest(variant: Variant, capability: tuple[int, int]) -> str:
    """Changes with whatever could change the PTX."""
    about = [version("numba"), version("numba-cuda"), _nvvm(), sys.version.split()[0], capability, variant.threads,
             variant.kernel.signature, variant.settings, variant.name]
    text = "\n".join([*map(str, about), *_sources(variant.function, set())])
    return sha256(text.encode()).hexdigest()[:20]


@cache
def _nvvm() -> str:
    """Which libNVVM makes the PTX: the version of its wheel, or where else it lies and since when."""
    try:
        return version("nvidia-cuda-nvcc-cu12")
    except PackageNotFoundError:
        library = Path(str(pathfinder.load_nvidia_dynamic_lib("nvvm").abs_path))
        return f"{library} {library.stat().st_mtime_ns}"


def _sources(function: Any, seen: set[Any]) -> Iterator[str]:
    """The source of a function, of all functions of ours that it calls, and the constants that it uses."""
    function = getattr(function, "py_func", None) or getattr(function, "_defn", None) or function  # Numba's wrappers
    if function in seen:
        return
    seen.add(function)
    try:
        yield getattr(function, "source", None) or inspect.getsource(function)
    except OSError as error:  # typed at a prompt
        raise OSError(f"{function.__name__}: PTX is known by the source that it was made of, and there is none to be "
                      "read: write the function into a file, or into a notebook") from error
    used = {name: function.__globals__.get(name) for name in _names(function.__code__)}
    used |= inspect.getclosurevars(function).nonlocals
    for name, value in sorted(used.items()):
        if _is_ours(value):
            yield from _sources(value, seen)
        elif isinstance(value, np.ndarray):
            yield f"{name} = {value.tobytes()!r}"
        elif isinstance(value, (int, float, str, bool, tuple, types.Type)):
            yield f"{name} = {value!r}"


def _names(code: Any) -> set[str]:
    """The names in a function's code, and in that of the functions inside it."""
    inner = [constant for constant in code.co_consts if inspect.iscode(constant)]
    return set(code.co_names).union(*map(_names, inner))


def _is_ours(value: Any) -> bool:
    """A function of this package, or one that Numba has wrapped."""
    if not (inspect.isfunction(value) or hasattr(value, "py_func") or hasattr(value, "_defn")):
        return False
    return getattr(value, "__module__", "").partition(".kernels.cuda")[1] != ""
