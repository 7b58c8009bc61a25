"""minicnn: a convolutional-network engine that one person can read."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

try:
    from .kernels import cpu as _cpu  # noqa: F401 - first of all: are the kernels there?
except ModuleNotFoundError as error:
    if error.name not in ("minicnn.kernels", "minicnn.kernels.cpu"):
        raise
    raise ImportError(
        f"Python found minicnn's source folder {__path__[0]}, which is not built: run `pip install -e .` there, "
        "or after `pip install .` start Python from another folder"
    ) from None

from . import hooks as hooks  # noqa: E402 - Tensor.register_hook and retain_grad
from . import memory, nn, random  # noqa: E402
from .anomaly import detect_anomaly  # noqa: E402
from .checkpoint import checkpoint  # noqa: E402
from .device import cuda_is_available, get_num_threads, set_num_threads  # noqa: E402
from .dispatch import set_conv_algorithm  # noqa: E402
from .gradcheck import gradcheck, gradgradcheck  # noqa: E402
from .interop import from_cuda_array, from_dlpack  # noqa: E402
from .nn.fuse import fusion  # noqa: E402
from .ops.compare import where  # noqa: E402
from .ops.shape import concat, stack  # noqa: E402
from .random import manual_seed  # noqa: E402
from .tape import enable_grad, grad, no_grad  # noqa: E402
from .tensor import Tensor, full, ones, tensor, zeros  # noqa: E402
from .trace import trace_kernels  # noqa: E402

if TYPE_CHECKING:
    from . import data, io, models, optim, teach, train, vis
    from .models import load, save

# Loaded when first asked for, to keep the import quick: a name, and where it is.
_LATER = {name: f".{name}" for name in ("data", "io", "models", "optim", "teach", "train", "vis")}
_LATER |= {"load": ".models", "save": ".models"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = import_module(_LATER[name], __name__)
    return found if _LATER[name] == f".{name}" else getattr(found, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


__all__ = [
    "Tensor",
    "checkpoint",
    "concat",
    "cuda_is_available",
    "data",
    "detect_anomaly",
    "enable_grad",
    "from_cuda_array",
    "from_dlpack",
    "full",
    "fusion",
    "get_num_threads",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "io",
    "load",
    "manual_seed",
    "memory",
    "models",
    "nn",
    "no_grad",
    "ones",
    "optim",
    "random",
    "save",
    "set_conv_algorithm",
    "set_num_threads",
    "stack",
    "teach",
    "tensor",
    "trace_kernels",
    "train",
    "vis",
    "where",
    "zeros",
]
