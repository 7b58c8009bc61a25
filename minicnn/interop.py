"""Arrays of other libraries, taken over without a copy. (`tensor` copies; `Tensor.numpy` and DLPack export lend.)"""

from typing import Any

import numpy as np

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
        return _from_gpu(source, copy, known)
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


def _from_gpu(source: Any, copy: bool | None, known: str) -> Tensor:
    device = open_device(resolve(f"cuda:{source.__dlpack_device__()[1]}"))
    from .kernels.cuda import dlpack, memory

    taken = dlpack.Taken(source.__dlpack__(stream=1))  # what the source waits for is on the default stream now
    device.backend.wait_for_others()
    if taken.dtype not in DTYPES:
        raise TypeError(f"from_dlpack: dtype {taken.dtype} is not one of {known}")
    if not taken.contiguous:
        raise ValueError("from_dlpack: the array is not contiguous; make a contiguous copy of it first")
    shared = Tensor(memory.adopt(taken, device))
    return shared * 1 if copy else shared
