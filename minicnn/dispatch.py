"""The one door to the kernels.

`dispatch("softmax", x)` takes raw arrays, looks the kernel up for the device they live on, checks the call against the
kernel's contract, allocates the outputs, runs the kernel and returns them. What the check finds depends on shapes,
dtypes and a few of the params only, so it is done once for each combination and remembered as a Plan.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import device as devices
from . import memory
from .kernels import cpu
from .kernels.contracts import CONTRACTS, Argument, Contract
from .trace import traces, watch

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_FIXED = {"i": np.dtype(np.int64), "b": np.dtype(np.bool_), "u": np.dtype(np.uint32), "o": np.dtype(np.uint8)}
_LETTER = {np.dtype(np.float32): "f", np.dtype(np.float64): "f", np.dtype(np.int64): "i", np.dtype(np.bool_): "b"}


class Plan(NamedTuple):
    """A checked call: what to run, and the shapes and dtypes of the outputs to allocate for it."""

    run: Callable[..., None]
    outputs: tuple[tuple[tuple[int, ...], np.dtype], ...]
    algorithm: str


Remembered = cpu.host.Remembered  # for checks of arguments, which come again as plans do
_plans: dict[Any, Plan] = {}
_PLANS_KEPT = 8192
_conv_algorithm = "auto"


def dispatch(
    name: str, *arrays: Any, device: str | None = None, kept: dict[Any, Any] | None = None, **params: Any
) -> Any:
    """Run a kernel by its contract's name.

    arrays: the contract's inputs in order, None for an optional one that is absent. params: by the contract's names.
    kept: for a contract that `keeps` (see there): a dict of the caller's for what the kernel prepares of its weights.
    Returns the output array, or a tuple of them. ValueError or TypeError where the call doesn't fit the contract.

    A network makes the same calls in every step, so the way of a call that was seen before is a short one, and
    compiled (`Calls` in kernels/cpu/host.pyx): find its Plan, allocate the outputs, run the kernel.
    """
    return _calls.call(name, device, arrays, params, kept)


def dispatch_rows(name: str, rows: list[tuple[Any, ...]], **params: Any) -> None:
    """Run an optimizer's kernel once for many rows of arrays, each checked as if it came alone: for each parameter the
    arrays that belong to it."""
    _calls.call_rows(name, rows, params)


def _names(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The params of a kernel, and those that a plan depends on."""
    return CONTRACTS[name].params, CONTRACTS[name].shaping


def _make_plan(name: str, where: str, arrays: tuple[Any, ...], params: dict[str, Any], prepared: bool) -> Plan:
    """Check a call that was not seen before."""
    contract = CONTRACTS[name]
    if prepared and not contract.keeps:
        raise TypeError(f"{contract.name}: kept came, but this kernel prepares nothing that it could keep")
    for argument, array in zip(contract.inputs, arrays, strict=False):
        if array is not None and devices.of(array) != where:
            raise ValueError(f"{name}: {argument.name} is on {devices.of(array)}, expected {where}; move it with "
                             f".to({where!r})")
    outputs, sizes = check(contract, arrays, params)
    backend = cpu if where == "cpu" else devices.gpu_kernels()
    if contract.algorithms:
        algorithm, run = backend.algorithm(contract.name, sizes, params, arrays[0].dtype, _conv_algorithm, prepared)
        return Plan(run, outputs, algorithm)
    return Plan(backend.kernel(contract.name), outputs, "")


# ------------------------------------------------------------------------------------------ the contract's check


def check(contract: Contract, arrays: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Hold a call against its contract. Returns the outputs' (shape, dtype) and all sizes by name."""
    if len(arrays) != len(contract.inputs):
        raise TypeError(f"{contract.name}: {len(arrays)} arrays came, expected {len(contract.inputs)}")
    if set(params) != set(contract.params):
        raise TypeError(f"{contract.name}: params {sorted(params)} came, expected {sorted(contract.params)}")
    dtypes: dict[str, np.dtype] = {}
    sizes: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for argument, array in zip(contract.inputs, arrays, strict=True):
        if array is None:
            if not argument.optional:
                raise TypeError(f"{contract.name}: {argument.name} is None")
            continue
        _check_dtype(contract, argument, array.dtype, dtypes)
        _check_shape(contract, argument, array.shape, sizes, shapes)
    try:
        if contract.sizes:
            sizes.update(contract.sizes(sizes, params))
    except ValueError as error:
        raise ValueError(f"{contract.name}: {error}") from None
    return tuple(_output(a, dtypes, sizes, shapes, params) for a in contract.outputs), sizes


def _check_dtype(contract: Contract, argument: Argument, dtype: np.dtype, dtypes: dict[str, np.dtype]) -> None:
    kind = argument.kind
    allowed = {"f": FLOATS, "p": (np.dtype(np.uint8), np.dtype(np.int32))}.get(kind) or (_FIXED.get(kind) or dtype,)
    if contract.formula and kind == "t" and _LETTER.get(dtype) not in tuple(contract.kinds):
        raise TypeError(f"{contract.name}: {argument.name} is {dtype}, which this op does not take")
    if dtype not in allowed:
        raise TypeError(f"{contract.name}: {argument.name} is {dtype}, expected {' or '.join(map(str, allowed))}")
    if dtypes.setdefault(kind, dtype) != dtype:
        raise TypeError(f"{contract.name}: {argument.name} is {dtype}, the arguments before it {dtypes[kind]}")


def _check_shape(
    contract: Contract,
    argument: Argument,
    shape: tuple[int, ...],
    sizes: dict[str, int],
    shapes: dict[str, tuple[int, ...]],
) -> None:
    dims = argument.dims
    if dims == "~":
        try:
            shapes["~"] = np.broadcast_shapes(shapes.get("~", ()), shape)
        except ValueError:
            raise ValueError(
                f"{contract.name}: {argument.name} of shape {shape} does not broadcast with {shapes['~']}"
            ) from None
    elif dims == "...":
        if shapes.setdefault("...", shape) != shape:
            raise ValueError(f"{contract.name}: {argument.name} has shape {shape}, expected {shapes['...']}")
    elif len(shape) != len(dims):
        raise ValueError(f"{contract.name}: {argument.name} has shape {shape}, expected ({', '.join(dims)})")
    else:
        for name, size in zip(dims, shape, strict=True):
            if sizes.setdefault(name, size) != size:
                raise ValueError(
                    f"{contract.name}: {argument.name} has shape {shape}, expected ({', '.join(dims)}) with "
                    f"{name} = {sizes[name]}"
                )


def _output(argument: Argument, dtypes: dict[str, np.dtype], sizes: dict[str, int],
            shapes: dict[str, tuple[int, ...]], params: dict[str, Any]) -> tuple[tuple[int, ...], np.dtype]:
    if argument.kind == "p":
        window = params["kernel"][0] * params["kernel"][1]
        dtype = np.dtype(np.uint8 if window <= 256 else np.int32)
    else:
        dtype = _FIXED.get(argument.kind) or dtypes[argument.kind]
    if isinstance(argument.dims, str):
        return shapes[argument.dims], dtype
    return tuple(sizes[d] for d in argument.dims), dtype


_calls = cpu.host.Calls(memory.pool, memory.empty, devices.of, _names, _make_plan, _plans, _PLANS_KEPT, watch, traces)


def set_conv_algorithm(name: str) -> None:
    """Force the algorithm of the convolutions: "auto" chooses by shape, "direct", "winograd", or "reference" (slow).

    Winograd's algorithm does 3x3 and 5x5 filters with stride 1, dilation 1 and one group in float32, with errors of at
    most 5e-5 of the largest result; NaN and infinity spread to the squares of 4x4 (2x2) outputs that see them, and in a
    gradient to the 6x6 (8x8) inputs of such a square. The direct one does what it can't; `trace_kernels` shows which
    ran. A GPU has an algorithm of its own, whatever is asked for. ValueError for another name.

    >>> set_conv_algorithm("direct")
    >>> set_conv_algorithm("auto")
    """
    global _conv_algorithm
    known = ("auto", "direct", "winograd", "reference")
    if name not in known:
        raise ValueError(f"set_conv_algorithm: expected one of {', '.join(known)}, got {name!r}")
    _conv_algorithm = name
    _plans.clear()
