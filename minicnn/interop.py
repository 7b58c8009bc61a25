"""Arrays of other libraries, taken over without a copy. (`tensor` copies; `Tensor.numpy` and DLPack export lend.)"""

from typing import Any

import numpy as np

from .assign import owned
from .device import open_device, resolve
from .tensor import DTYPES, Tensor

CUDA = 2  # DLPack's number for the memory of NVIDIA's GPUs


def from_dlpack(source: Any, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of `source`, an array of any library that speaks DLPack: NumPy, PyTorch, JAX, CuPy. On
    the CPU or, where device "cuda" can be used, on a GPU.

    What is written to one is seen in the other; call the tensor's `touch()` after writing from outside, so that what
    was saved for a backward pass is known to have changed. Tensors are contiguous and can be written to, so a source
    that isn't, or can't be, is copied if `copy` allows it.

    copy: True: always; False: never, ValueError if there is need; None: if there is need.
    TypeError: a dtype that tensors don't have, or no DLPack. RuntimeError: on a GPU that can't be used here.

    >>> import minicnn as mc, numpy as np
    >>> a = np.zeros(3, np.float32)
    >>> x = mc.from_dlpack(a)
    >>> a[0] = 7
    >>> x.tolist()
    [7.0, 0.0, 0.0]
    """
    if not hasattr(source, "__dlpack__"):
        raise TypeError(f"from_dlpack: expected an array with __dlpack__, got {type(source).__name__}")
    known = ", ".join(map(str, DTYPES))
    if source.__dlpack_device__()[0] == CUDA:
        return _from_gpu(source, copy)
    try:
        array = np.from_dlpack(source)
    except RuntimeError as error:  # NumPy's, of bfloat16 and of what else it has no dtype for
        if "dtype" not in str(error):
            raise
        raise TypeError(f"from_dlpack: dtype {getattr(source, 'dtype', '')} is not one of {known}") from None
    if array.dtype not in DTYPES:
        raise TypeError(f"from_dlpack: dtype {array.dtype} is not one of {known}")
    sharable = array.flags.c_contiguous and array.flags.writeable and array.flags.aligned
    if copy is False and not sharable:
        raise ValueError("from_dlpack: the array is not contiguous, or can't be written to, and copy=False")
    return Tensor(array if sharable and not copy else array.copy())


def _from_gpu(source: Any, copy: bool | None) -> Tensor:
    device = open_device(resolve(f"cuda:{source.__dlpack_device__()[1]}"))
    from .kernels.cuda import dlpack

    taken = dlpack.Taken(source.__dlpack__(stream=1))  # what the source waits for is on the default stream now
    return _adopted("from_dlpack", taken, device, bool(copy))


def from_cuda_array(source: Any, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of `source`, a GPU array of a library that has `__cuda_array_interface__`, as Numba and
    CuPy do: as `from_dlpack`, for where there is no DLPack.

    Waits until all is done that any library has started on the GPU. What else is written to the one or the other must
    be waited for by whoever reads it. copy: as for from_dlpack; an array that may only be read is copied.
    TypeError: a dtype that tensors don't have, or no such interface. ValueError: an array with gaps, or a mask, or one
    that is on no GPU. RuntimeError: on a GPU that can't be used here.

    >>> import minicnn as mc
    >>> if mc.cuda_is_available():
    ...     theirs = mc.ones(3, device="cuda")  # numba.cuda.device_array(3), say
    ...     assert mc.from_cuda_array(theirs).tolist() == [1, 1, 1]
    """
    if not hasattr(source, "__cuda_array_interface__"):
        raise TypeError("from_cuda_array: expected an array with __cuda_array_interface__, got "
                        f"{type(source).__name__}")
    device = open_device(resolve("cuda"))  # before the driver is asked: it says what is missing
    from .kernels.cuda import array_interface, driver

    described = array_interface.Described(source)
    if described.address:  # where nothing is in the array, it may be nowhere
        device = open_device(resolve(f"cuda:{driver.ordinal_of(described.address)}"))
    if described.read_only and copy is False:
        raise ValueError("from_cuda_array: the array can't be written to, and copy=False")
    return _adopted("from_cuda_array", described, device, bool(copy) or described.read_only)


def _adopted(name: str, source: Any, device: Any, copy: bool) -> Tensor:
    """A tensor on an array of a GPU that a protocol has described, or a copy."""
    from .kernels.cuda import memory

    device.backend.wait_for_others()
    if source.dtype not in DTYPES:
        raise TypeError(f"{name}: dtype {source.dtype} is not one of {', '.join(map(str, DTYPES))}")
    if not source.contiguous:
        raise ValueError(f"{name}: the array is not contiguous; make a contiguous copy of it first")
    shared = memory.adopt(source, device)
    return Tensor(owned(shared) if copy else shared)
