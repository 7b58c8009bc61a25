"""DLPack: one GPU array seen by two libraries, without a copy (https://dmlc.github.io/dlpack, version 0.8).

A capsule called "dltensor" holds a pointer to a DLManagedTensor. Who takes it renames it to "used_dltensor" and calls
its deleter when done; a capsule that nobody took calls it itself. Python has no more words for this than ctypes.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

CUDA = 2  # kDLCUDA
CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
NAME, USED = b"dltensor", b"used_dltensor"


class DLTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                ("ndim", ctypes.c_int32),
                ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),  # the dtype
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


class DLManagedTensor(ctypes.Structure):
    pass


DELETER = ctypes.CFUNCTYPE(None, ctypes.POINTER(DLManagedTensor))
DESTRUCTOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
DLManagedTensor._fields_ = [("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", DELETER)]


def _python_api(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(ctypes.pythonapi, name)
    function.restype, function.argtypes = result, arguments
    return function


_new = _python_api("PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, DESTRUCTOR)
_pointer = _python_api("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
_rename = _python_api("PyCapsule_SetName", ctypes.c_int, ctypes.py_object, ctypes.c_char_p)
# In a destructor the capsule has no references left: it is handled as a bare pointer.
_is_called = _python_api("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_pointer_of_dying = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi))

_given: dict[int, Any] = {}  # what capsules point to, by its address, until its deleter is called


@DELETER
def _delete(managed: Any) -> None:
    _given.pop(ctypes.addressof(managed.contents), None)


@DESTRUCTOR
def _destroy(capsule: int) -> None:
    if _is_called(capsule, NAME):  # nobody took it
        _given.pop(_pointer_of_dying(capsule, NAME), None)


def export(array: Any, ordinal: int) -> Any:
    """A capsule of a DeviceArray on GPU number `ordinal`, which keeps it alive."""
    shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    managed = DLManagedTensor()
    managed.tensor = DLTensor(array.address, CUDA, ordinal, array.ndim, CODES[array.dtype.kind],
                              8 * array.dtype.itemsize, 1, shape, None, 0)
    managed.deleter = _delete
    address = ctypes.addressof(managed)
    _given[address] = (managed, shape, array)
    return _new(address, NAME, _destroy)


class Taken:
    """An array that another library owns: its shape, dtype and address. The owner is told when this is gone."""

    def __init__(self, capsule: Any) -> None:
        self._managed = DLManagedTensor.from_address(_pointer(capsule, NAME))
        _rename(capsule, USED)
        tensor = self._managed.tensor
        self.device = (tensor.device_type, tensor.device_id)
        self.shape = tuple(tensor.shape[: tensor.ndim])
        self.dtype = _dtype(tensor)
        self.address = (tensor.data or 0) + tensor.byte_offset
        self.contiguous = not tensor.strides or without_gaps(self.shape, tensor.strides[: tensor.ndim])

    def __del__(self) -> None:
        managed = getattr(self, "_managed", None)
        if managed is not None and managed.deleter:
            managed.deleter(ctypes.pointer(managed))


def _dtype(tensor: DLTensor) -> np.dtype:
    kinds = {code: kind for kind, code in CODES.items()}
    if tensor.lanes != 1 or tensor.code not in kinds:
        raise TypeError(f"from_dlpack: elements of kind {tensor.code} in lanes of {tensor.lanes} have no dtype here")
    return np.dtype(np.bool_ if kinds[tensor.code] == "b" else f"{kinds[tensor.code]}{tensor.bits // 8}")


def without_gaps(shape: Sequence[int], strides: Sequence[float]) -> bool:
    """Whether such strides, in elements, step from each to the next. Those of an axis of one element say nothing."""
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != step:
            return 0 in shape
        step *= size
    return True
