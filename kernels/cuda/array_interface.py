"""The CUDA array interface, version 3: a dict in which another library says where an array of its lies, and how.
https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html"""

from typing import Any

import numpy as np

from .dlpack import without_gaps


class Described:
    """An array that another library owns: its shape, dtype and address. The owner is kept alive.

    Its stream is not looked at: who takes the array waits for all streams (`Backend.wait_for_others`).
    """

    def __init__(self, owner: Any) -> None:
        said = owner.__cuda_array_interface__
        if said.get("mask") is not None:
            raise ValueError("the array has a mask, expected one that is all there")
        self.owner = owner
        self.shape, self.dtype = tuple(said["shape"]), np.dtype(said["typestr"])
        self.address, self.read_only = said["data"]
        strides, size = said.get("strides"), self.dtype.itemsize
        self.contiguous = strides is None or without_gaps(self.shape, [stride / size for stride in strides])
