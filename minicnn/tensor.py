"""Tensor: an array, where it lives, its gradient, and the tape entry that made it.

The file knows nothing of ops. The files that define them attach themselves here as methods and operators (see
`method`), so that `x.exp()` and `x + y` work and no import goes in circles: `backward` and hooks come from tape.py,
arithmetic and mathematics from ops/elementwise.py, comparisons from ops/compare.py, `sum` and its like from
ops/reduce.py, shapes from ops/shape.py, x[i] from ops/getitem.py, `@` from ops/matmul.py, `to` from ops/broadcast.py.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from . import device as devices
from . import memory
from .assign import assign, overwrite, owned

DTYPES = tuple(np.dtype(t) for t in (np.float32, np.float64, np.int64, np.bool_, np.uint8, np.int32))
FLOATS = DTYPES[:2]

F = TypeVar("F", bound=Callable[..., Any])


class Tensor:
    """An n-dimensional array that remembers how it was computed.

    array: the raw array, C-contiguous, on its device. requires_grad: whether gradients are wanted for it. grad: the
    gradient that `backward` left, a Tensor or None. entry: the tape entry (a Function) that made it, None for a leaf;
    index: which of the entry's outputs it is.
    """

    __slots__ = ("array", "requires_grad", "grad", "entry", "index", "_version", "_hooks", "__weakref__")
    __array_ufunc__ = None  # NumPy on the left of an operator leaves it to us
    __array_priority__ = 1000

    def __init__(self, array: Any, requires_grad: bool = False, entry: Any = None, index: int = 0,
                 version: list[int] | None = None):
        self.array = array
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self.entry = entry
        self.index = index
        self._version = version or [0]  # counts in-place changes; shared by all tensors on the same memory
        self._hooks: list[Callable[..., Any]] | None = None

    if TYPE_CHECKING:  # what ops/ attaches

        def __getattr__(self, name: str) -> Callable[..., Any]: ...
        def __add__(self, other: Any) -> "Tensor": ...
        def __neg__(self) -> "Tensor": ...
        def __eq__(self, other: object) -> "Tensor": ...  # type: ignore[override]
        def __ne__(self, other: object) -> "Tensor": ...  # type: ignore[override]

        __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __add__
        __matmul__ = __rmatmul__ = __and__ = __or__ = __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = __add__
        __invert__ = __neg__

    # ------------------------------------------------------------------------------------------------ what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return len(self.array.shape)

    @property
    def device(self) -> str:
        return devices.of(self.array)

    @property
    def is_leaf(self) -> bool:
        return self.entry is None

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        return self.array.size

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a tensor without dimensions")
        return self.shape[0]

    def __repr__(self) -> str:
        text = np.array2string(self.numpy(), separator=", ", prefix="tensor(", precision=4, threshold=200)
        notes = "" if self.dtype in (FLOATS[0], DTYPES[2], DTYPES[3]) else f", dtype={self.dtype}"
        notes += "" if self.device == "cpu" else f", device={self.device!r}"
        asked = ", requires_grad=True" if self.requires_grad else ""
        notes += asked if self.entry is None else f", made by {type(self.entry).__name__}"
        return f"tensor({text}{notes})"

    # ------------------------------------------------------------------------------------------ out of the tensor

    def numpy(self) -> np.ndarray:
        """A read-only NumPy array: a view on the CPU, a copy from other devices. It stays as it is while it is kept,
        unless the tensor itself is changed in place."""
        view = devices.to_numpy(self.array).view()
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """The value of a tensor of one element, as a Python number."""
        if self.numel() != 1:
            raise ValueError(f"item: expected one element, got shape {self.shape}")
        return devices.to_numpy(self.array).item()

    def tolist(self) -> Any:
        return self.numpy().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False and self.device != "cpu":
            raise ValueError(f"a tensor on {self.device} becomes a NumPy array by a copy only, and copy=False")
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.array.__cuda_array_interface__  # AttributeError, as for any object without, if not on a GPU

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype in FLOATS:
            raise TypeError(f"only integer tensors can be an index, got {self.dtype}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise ValueError(f"the truth of a tensor of shape {self.shape} is ambiguous")
        return bool(self.item())

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    __hash__ = object.__hash__  # by identity; `==` compares elements

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tensor":
        if self.entry is not None:
            raise RuntimeError("only leaf tensors can be deep-copied: detach() this one first")
        copy = type(self).__new__(type(self))
        Tensor.__init__(copy, owned(self.array), self.requires_grad)
        copy.grad = None if self.grad is None else Tensor(owned(self.grad.array))
        return copy

    def __reduce__(self) -> Any:
        if self.entry is not None:
            raise RuntimeError("only leaf tensors can be pickled: detach() this one first")
        return _rebuild, (type(self), self.numpy().copy(), self.device, self.requires_grad)

    # --------------------------------------------------------------------------------------------------- gradients

    def detach(self) -> "Tensor":
        """The same array (not a copy) without its history."""
        return Tensor(self.array, version=self._version)

    def requires_grad_(self, requires_grad: bool = True) -> "Tensor":
        """Ask for gradients of a leaf (or no longer)."""
        if self.entry is not None:
            raise RuntimeError("requires_grad can be changed for leaf tensors only; use detach()")
        if requires_grad and self.dtype not in FLOATS:
            raise TypeError(f"requires_grad: only float tensors have gradients, got {self.dtype}")
        self.requires_grad = requires_grad
        return self

    def touch(self) -> None:
        """Note that the array was changed in place, so that a tape which saved it refuses to go on."""
        self._version[0] += 1

    # ------------------------------------------------------------------------------------------- changes in place

    def _check_in_place(self, name: str) -> None:
        from_tape = self.entry is not None or self.requires_grad
        if from_tape and _recording():
            raise RuntimeError(f"{name}: a tensor that requires a gradient changes in place only under no_grad()")

    def copy_(self, source: Any) -> "Tensor":
        """Overwrite with the values of `source` (same shape), from any device."""
        self._check_in_place("copy_")
        value = source.array if isinstance(source, Tensor) else np.asarray(source)
        if value.shape != self.shape:
            raise ValueError(f"copy_: expected shape {self.shape}, got {value.shape}")
        overwrite(self.array, value)
        self.touch()
        return self

    def fill_(self, value: float) -> "Tensor":
        """Overwrite every element with one value."""
        self._check_in_place("fill_")
        overwrite(self.array, value)
        self.touch()
        return self

    def _in_place(self, value: "Tensor") -> "Tensor":
        """x += y and its like: in place, unless the result is recorded: then it is a new tensor, as x = x + y."""
        if value.requires_grad:
            return value
        if value.dtype != self.dtype:
            raise TypeError(f"the result is {value.dtype} and does not fit into a {self.dtype} tensor in place")
        return self.copy_(value)

    def __iadd__(self, other: Any) -> "Tensor":
        return self._in_place(self + other)

    def __isub__(self, other: Any) -> "Tensor":
        return self._in_place(self - other)

    def __imul__(self, other: Any) -> "Tensor":
        return self._in_place(self * other)

    def __itruediv__(self, other: Any) -> "Tensor":
        return self._in_place(self / other)

    def zero_(self) -> "Tensor":
        return self.fill_(0)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._check_in_place("item assignment")
        plain = index.numpy() if isinstance(index, Tensor) else index
        assign(self.array, plain, value.array if isinstance(value, Tensor) else value)
        self.touch()


_recording: Callable[[], bool] = lambda: True  # noqa: E731 - the tape replaces it: is anything being recorded?


def set_recording(ask: Callable[[], bool]) -> None:
    """The tape says how to ask whether it records."""
    global _recording
    _recording = ask


def method(function: F, *names: str) -> F:
    """Attach a function as a method (or operator) of Tensor, under its own name or the given ones."""
    for name in names or (function.__name__,):
        setattr(Tensor, name, function)
    return function


# -------------------------------------------------------------------------------------------------- making tensors


def tensor(data: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """A new tensor from numbers, nested lists, an array or a tensor. Always a copy.

    An array keeps its dtype; Python floats become float32, ints int64. dtypes: float32, float64, int64, bool, and
    uint8 and int32 for storage.

    >>> import minicnn as mc
    >>> mc.tensor([[1.0, 2.0], [3.0, 4.0]]).shape
    (2, 2)
    """
    if isinstance(data, Tensor):
        data = data.numpy()
    array = np.asarray(data)
    wanted = np.dtype(dtype) if dtype is not None else array.dtype
    if dtype is None and array.dtype == np.float64 and not _holds_arrays(data):
        wanted = np.dtype(np.float32)
    if wanted not in DTYPES:
        raise TypeError(f"tensor: dtype {wanted} is not one of {', '.join(map(str, DTYPES))}")
    own = memory.empty(array.shape, wanted, devices.resolve(device))
    overwrite(own, array)
    return Tensor(own).requires_grad_(requires_grad)


def _holds_arrays(data: Any) -> bool:
    """Whether NumPy gave the data its dtype, rather than Python numbers."""
    if isinstance(data, np.ndarray | np.generic):
        return True
    return isinstance(data, Sequence) and not isinstance(data, str) and any(_holds_arrays(d) for d in data)


def _rebuild(cls: type[Tensor], array: np.ndarray, device: str, requires_grad: bool) -> Tensor:
    made = cls.__new__(cls)
    Tensor.__init__(made, devices.transfer(owned(array), device), requires_grad)
    return made


def full(shape: int | Sequence[int], value: float, dtype: Any = np.float32, device: str = "cpu",
         requires_grad: bool = False) -> Tensor:
    """A tensor filled with one value. shape: an int or a sequence of ints; ValueError if one is below 0.

    >>> full((1, 2), 7).tolist()
    [[7.0, 7.0]]
    """
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(not isinstance(s, int | np.integer) or s < 0 for s in sizes):
        raise ValueError(f"shape: expected non-negative ints, got {shape!r}")
    if np.dtype(dtype) not in DTYPES:
        raise TypeError(f"dtype {np.dtype(dtype)} is not one of {', '.join(map(str, DTYPES))}")
    array = memory.empty(sizes, np.dtype(dtype), devices.resolve(device))
    overwrite(array, value)
    return Tensor(array).requires_grad_(requires_grad)


def zeros(*shape: Any, dtype: Any = np.float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor of zeros: zeros(2, 3) or zeros((2, 3)).

    >>> zeros(1, 2).tolist(), zeros(3, dtype="int64").tolist()
    ([[0.0, 0.0]], [0, 0, 0])
    """
    return full(_shape(shape), 0, dtype, device, requires_grad)


def ones(*shape: Any, dtype: Any = np.float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor of ones: ones(2, 3) or ones((2, 3)).

    >>> ones(1, 2).tolist()
    [[1.0, 1.0]]
    """
    return full(_shape(shape), 1, dtype, device, requires_grad)


def _shape(shape: tuple[Any, ...]) -> Any:
    return shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
