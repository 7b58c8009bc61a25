"""What elementwise ops share: broadcasting, and what happens to numbers and dtypes beside tensors."""

from typing import Any, ClassVar

import numpy as np

from .. import device as devices
from ..dispatch import dispatch
from ..tape import Function
from ..tensor import DTYPES, FLOATS, Tensor, method
from .arguments import dtype_of
from .constants import scalar

FLOAT32, INT64 = DTYPES[0], DTYPES[2]


class Elementwise(Function):
    """An op that one elementwise kernel computes; a subclass says how it is differentiated.

    Subclasses give `backward`; where inputs were broadcast, its gradients are summed back to the inputs' shapes here.
    """

    kernel: str
    params: tuple[str, ...] = ()

    def forward(self, *arrays: Any) -> Any:
        self.shapes = [a.shape for a in arrays]
        return dispatch(self.kernel, *arrays, **{p: getattr(self, p) for p in self.params})


class Unary(Elementwise):
    """f(x): `saves` is ("x",) or ("output",)."""

    saves: ClassVar[tuple[str, ...]] = ("x",)

    def forward(self, x: Any) -> Any:
        return Elementwise.forward(self, x)


class Binary(Elementwise):
    """f(a, b) with broadcasting: a subclass gives `gradients`, at the shape of the output."""

    saves: ClassVar[tuple[str, ...]] = ("a", "b")

    def forward(self, a: Any, b: Any) -> Any:
        return Elementwise.forward(self, a, b)

    def gradients(self, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Gradients by a and b before summing over broadcast dimensions; None where not needed."""
        raise NotImplementedError

    def backward(self, grad: Tensor) -> Any:
        return tuple(
            None if g is None else sum_to(g, shape) for g, shape in zip(self.gradients(grad), self.shapes, strict=True)
        )


def sum_to(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum over the dimensions along which `shape` was broadcast to the tensor's shape."""
    if tensor.shape == shape:
        return tensor
    extra = tensor.ndim - len(shape)
    dims = tuple(range(extra)) + tuple(
        i + extra for i, s in enumerate(shape) if s == 1 and tensor.shape[i + extra] != 1
    )
    summed = tensor.sum(dim=dims) if dims else tensor
    return summed.reshape(shape)


# ------------------------------------------------------------------------------------------------- scalars and dtypes


def operand(op_name: str, value: Any, like: Tensor) -> Tensor:
    """A number (or NumPy array) as a tensor to compute with `like`; a tensor as it is."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, bool | np.bool_):
        return scalar(value, like.dtype, like.device)
    if isinstance(value, int | np.integer):
        if like.dtype == INT64 and not -(1 << 63) <= value < 1 << 63:
            raise OverflowError(f"{op_name}: {value} does not fit into int64")
        return scalar(value, like.dtype if like.dtype in (*FLOATS, INT64) else INT64, like.device)
    if isinstance(value, float | np.floating):
        return scalar(value, like.dtype if like.dtype in FLOATS else FLOAT32, like.device)
    if isinstance(value, np.ndarray) and value.dtype in DTYPES:
        return Tensor(np.ascontiguousarray(value))
    raise TypeError(f"{op_name}: expected a Tensor or a number, got {type(value).__name__}")


def operands(op_name: str, a: Any, b: Any, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Both sides of a binary op as tensors of one dtype. Numbers take the dtype of the other side; a float number
    makes an integer tensor float32, as in PyTorch. Two tensors must agree. device: for two numbers."""
    if not isinstance(a, Tensor):
        b = b if isinstance(b, Tensor) else operand(op_name, b, scalar(0, FLOAT32, device))
        a = operand(op_name, a, b)
        a, b = _agree(a, b, a_number=True)
    elif not isinstance(b, Tensor):
        b = operand(op_name, b, a)
        b, a = _agree(b, a, a_number=True)
    if a.dtype != b.dtype:
        raise TypeError(f"{op_name}: dtypes differ: {a.dtype} and {b.dtype}; convert one with .to(dtype)")
    if a.device != b.device:
        raise ValueError(f"{op_name}: devices differ: {a.device} and {b.device}; move one with .to(device)")
    return a, b


def _agree(number: Tensor, other: Tensor, a_number: bool) -> tuple[Tensor, Tensor]:
    """An integer tensor beside a float number becomes float; a bool one beside an int becomes int64."""
    if number.ndim == 0 and number.dtype != other.dtype:
        return number, other.to(number.dtype)
    return number, other


class Cast(Function):
    """A change of dtype; between floats it has a gradient."""

    dtype: np.dtype

    def forward(self, x: Any) -> Any:
        self.before = x.dtype
        return x.astype(self.dtype)

    def backward(self, grad: Tensor) -> Tensor:
        return Cast.apply(grad, dtype=self.before)


def to(tensor: Tensor, target: Any) -> Tensor:
    """The tensor with another dtype ("float64", np.float32, ...) or on another device ("cpu", "cuda", ...)."""
    dtype = dtype_of(target)
    if dtype is not None and dtype not in DTYPES:
        raise TypeError(f"to: dtype {dtype} is not one of {', '.join(map(str, DTYPES))}")
    if dtype is None:
        return to_device(tensor, target)
    return tensor if tensor.dtype == dtype else Cast.apply(tensor, dtype=dtype)


class Move(Function):
    """A copy on another device; its gradient goes the way back."""

    device: str

    def forward(self, x: Any) -> Any:
        self.before = devices.of(x)
        return devices.transfer(x, self.device)

    def backward(self, grad: Tensor) -> Tensor:
        return Move.apply(grad, device=self.before)


def to_device(tensor: Tensor, device: str) -> Tensor:
    there = devices.resolve(device)
    return tensor if tensor.device == there else Move.apply(tensor, device=there)


method(to)
