"""Changes of raw arrays in place, on any device, and copies of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from . import device as devices
from . import memory
from .dispatch import dispatch
from .kernels.cuda.memory import DeviceArray


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Elements from one index to the next along each dimension of a contiguous array."""
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= size
    return tuple(reversed(steps))


def write(y: Any, x: Any, strides: tuple[int, ...], offset: int) -> None:
    """Write x into the raw array y along strides."""
    dispatch("strided_set", y.reshape(-1), x.reshape(-1), shape=x.shape, strides=strides, offset=offset)


def overwrite(array: Any, value: Any) -> None:
    """array[...] = value: a number, or an array of the same shape, of any dtype, from any device."""
    if isinstance(array, np.ndarray):
        array[...] = _on_cpu(value)
    elif isinstance(value, int | float | np.generic):
        dispatch("fill", array, value=array.dtype.type(value).item())
    elif isinstance(value, DeviceArray) and value.device is array.device:
        write(array, _beside(array, value, array.shape).reshape(-1), (1,), 0)
    elif array.size:
        array.device.write(array.address, np.ascontiguousarray(_on_cpu(value), array.dtype))


def assign(array: Any, index: Any, value: Any) -> None:
    """array[index] = value, as in NumPy. On another device, index arrays and masks take the way by the CPU."""
    if isinstance(array, np.ndarray):
        array[index] = _on_cpu(value)
    elif all(_is_basic(part) for part in (index if isinstance(index, tuple) else (index,))):
        shape, strides, offset = _region(array.shape, index)
        write(array, _beside(array, value, shape), strides, offset)
    else:
        whole = devices.to_numpy(array)
        whole[index] = _on_cpu(value)
        overwrite(array, whole)


def owned(array: Any) -> Any:
    """A copy on the same device."""
    own = memory.empty_like(array)
    overwrite(own, array)
    return own


def _on_cpu(value: Any) -> Any:
    """A value as NumPy reads it: an array of a device is fetched."""
    return devices.to_numpy(value) if isinstance(value, DeviceArray) else value


def _beside(array: Any, value: Any, shape: tuple[int, ...]) -> Any:
    """A value as an array of that shape, of the dtype and on the device of another array."""
    if isinstance(value, DeviceArray) and value.device is array.device and value.shape == shape:
        return value if value.dtype == array.dtype else value.astype(array.dtype)
    plain = np.asarray(_on_cpu(value)).astype(array.dtype)
    return devices.transfer(np.broadcast_to(plain, shape), devices.of(array))


def _is_basic(part: Any) -> bool:
    """Whether a part of an index selects evenly: an int, a slice, None or an ellipsis."""
    return part is None or part is Ellipsis or isinstance(part, slice) or (
        isinstance(part, int | np.integer) and not isinstance(part, bool))


def _region(shape: tuple[int, ...], index: Any) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """What a basic index selects, as a walk of this shape along strides from an offset. NumPy finds it out, on a view
    of a single byte that nobody reads; the ellipsis keeps it from reading an element."""
    whole = as_strided(np.empty(1, np.int8), shape, strides_of(shape))
    parts = index if isinstance(index, tuple) else (index,)
    view = whole[parts if Ellipsis in parts else (*parts, ...)]
    start = view.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return view.shape, view.strides, start if view.size else 0
