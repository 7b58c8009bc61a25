"""How fast the kernels could be at best on a stated GPU. A prediction: nothing is measured here.

A call takes at least as long as its multiply-adds take at the GPU's peak, and as long as its arrays take to pass
through its memory once, whichever is longer (Williams et al. 2009, the roofline).
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, NamedTuple, cast

import numpy as np

from ..contracts import CONTRACTS
from .compiler import Variant
from .launcher import Device
from .memory import DeviceArray, empty, to_device


class GPU(NamedTuple):
    """float32 multiply-adds a second and bytes a second, by the maker's data sheet."""

    name: str
    multiply_adds: float
    bandwidth: float


#: A GPU of each compute capability.
GPUS = {(7, 0): GPU("V100 SXM2", 15.7e12 / 2, 900e9), (8, 0): GPU("A100 SXM 80 GB", 19.5e12 / 2, 2039e9),
        (9, 0): GPU("H100 SXM", 66.9e12 / 2, 3350e9)}


class Recorder:
    """A backend that runs nothing and remembers what it was told to."""

    name, capability = "recorder", (8, 0)

    def __init__(self) -> None:
        self.launched: list[str] = []
        self._next = 256
        self._written: dict[int, np.ndarray] = {}

    def allocate(self, nbytes: int) -> int:
        self._next += nbytes + 256
        return self._next - nbytes

    def release(self, address: int) -> None: ...
    def opened(self, address: int, nbytes: int) -> None: ...
    def closed(self, address: int) -> None: ...
    def synchronize(self) -> None: ...
    def wait_for_others(self) -> None: ...

    def write(self, address: int, source: np.ndarray) -> None:
        self._written[address] = source.copy()

    def read(self, target: np.ndarray, address: int) -> None:
        target[...] = self._written.get(address, np.zeros_like(target)).reshape(target.shape)

    def run(self, loaded: str, grid: tuple[int, int, int], threads: int, packed: bytes) -> None:
        self.launched.append(loaded)


class Recording(Device):
    """A device that records. Nothing is compiled for it: the names of kernels are enough."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        super().__init__(cast(Any, self.recorder))  # a backend, but for what load() would ask it

    def load(self, variant: Variant) -> tuple[Any, Callable[..., bytes]]:
        return variant.name, struct.Struct(variant.packing).pack


@dataclass(frozen=True)
class Call:
    """A call of a contract with stated shapes, and the work that it is. kernels: the variants it launches, in order."""

    contract: str
    shapes: tuple[tuple[int, ...], ...]
    multiply_adds: int
    nbytes: int
    kernels: tuple[str, ...] = field(default=())

    def seconds(self, gpu: GPU) -> float:
        """At best; what the GPU's memory or its arithmetic takes."""
        return max(self.multiply_adds / gpu.multiply_adds, self.nbytes / gpu.bandwidth)

    def __str__(self) -> str:
        return f"{self.contract} " + ", ".join("x".join(map(str, s)) or "scalar" for s in self.shapes)


# ---------------------------------------------------------------------------------------------------- stated calls

_BATCH = (32, 56, 56, 64)  # pictures in the first stage of a ResNet, and 3x3 filters for them
_FILTERS = (3, 3, 64, 64)
_ROWS = (32 * 56 * 56, 64)
_POOLED = (32, 28, 28, 64)
_CONV = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
_WINDOW = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)}
_MEAN = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0, 0, 0), "count_include_pad": True, "divisor": 0}
_C = (64,)
_WEIGHTS = (1 << 24,)
_STEP = {"lr": 1e-3, "weight_decay": 0.0}

#: A call of each contract that is no formula: the shapes of its inputs (None: absent), and its params.
STATED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "strided_get": ([_WEIGHTS], {"shape": (4096, 4096), "strides": (1, 4096), "offset": 0}),
    "strided_set": ([_WEIGHTS, _WEIGHTS], {"shape": (4096, 4096), "strides": (1, 4096), "offset": 0}),
    "fill": ([_WEIGHTS], {"value": 0.0}),
    "take": ([(64, 1024, 256), (1024,)], {}),
    "take_grad": ([(64, 1024, 256), (1024,)], {"length": 1024}),
    "pick": ([(4096, 1000, 1), (4096, 1)], {}),
    "pick_grad": ([(4096, 1), (4096, 1)], {"length": 1000}),
    "gather": ([(64, 1024, 256), (64, 1024, 256)], {}),
    "scatter": ([(64, 1024, 256), (64, 1024, 256)], {"length": 1024, "add": True}),
    "csr_matmul": ([(64, 1024, 256), (1025,), (4096,), (4096,)], {}),
    "reduce_sum": ([(1, *_ROWS)], {"scale": 1.0}),
    "reduce_sum_grad": ([(1, 64)], {"length": _ROWS[0], "scale": 1.0}),
    "reduce_max": ([(4096, 1000, 1)], {}),
    "reduce_min": ([(4096, 1000, 1)], {}),
    "softmax": ([(4096, 1000, 1)], {}),
    "softmax_grad": ([(4096, 1000, 1)] * 2, {}),
    "log_softmax": ([(4096, 1000, 1)], {}),
    "log_softmax_grad": ([(4096, 1000, 1)] * 2, {}),
    "cross_entropy": ([(4096, 1000), (4096,)], {"ignore": -100}),
    "cross_entropy_grad": ([(4096,), (4096, 1000), (4096,)], {"ignore": -100}),
    "matmul": ([(1, 4096, 4096), (1, 4096, 4096), (4096,)], {"transpose_a": False, "transpose_b": False}),
    "conv2d_forward": ([_BATCH, _FILTERS, _C, None], {**_CONV, "low": -inf, "high": inf}),
    "conv2d_depthwise": ([_BATCH, (1, 1, 64, 384), (384,), (3, 3, 1, 384), (384,)],
                         {**dict.fromkeys(("stride", "dilation", "deep_stride", "deep_dilation"), (1, 1)),
                          "padding": (0, 0, 0, 0), "deep_padding": (1, 1, 1, 1), "low": 0.0, "high": 6.0,
                          "deep_low": 0.0, "deep_high": 6.0}),
    "conv2d_input_grad": ([_BATCH, _FILTERS], {**_CONV, "size": (56, 56)}),
    "conv2d_weight_grad": ([_BATCH, _BATCH], {**_CONV, "kernel": (3, 3)}),
    "max_pool2d": ([_BATCH], {**_WINDOW, "size": (28, 28), "rectified": False}),
    "max_pool2d_grad": ([_POOLED, _POOLED], {**_WINDOW, "size": (56, 56)}),
    "max_pool2d_pick": ([_BATCH, _POOLED], _WINDOW),
    "max_pool2d_index": ([_POOLED], {**_WINDOW, "size": (56, 56)}),
    "avg_pool2d": ([_BATCH], {**_MEAN, "size": (28, 28)}),
    "avg_pool2d_grad": ([_POOLED], {**_MEAN, "size": (56, 56)}),
    "batch_norm_stats": ([_ROWS], {}),
    "batch_norm_follow": ([_C] * 4, {"momentum": 0.1, "unbias": 1.0, "eps": 1e-5}),
    "batch_norm_apply": ([_ROWS, _C, _C, _C, _C, None], {"activation": "relu"}),
    "batch_norm_grad": ([_ROWS, _ROWS, _C, _C, _C, _C], {"activation": "relu", "rectified": False}),
    "group_norm": ([(32, 56 * 56, 64), _C, _C], {"groups": 32, "eps": 1e-5}),
    "group_norm_grad": ([(32, 56 * 56, 64)] * 2 + [(32, 32)] * 2 + [_C], {}),
    "batch_norm_pool": ([_BATCH, _C, _C, _C, _C],
                        {"kernel": (2, 2), "activation": "relu", "p": 0.1, "seed": 0, "offset": 0}),
    "batch_norm_pool_grad": ([_POOLED, _POOLED, _BATCH, _C, _C, _C, _C],
                             {"kernel": (2, 2), "activation": "relu", "p": 0.1, "rectified": False}),
    "random_bits": ([], {"count": _WEIGHTS[0], "seed": 0, "offset": 0}),
    "dropout": ([(_WEIGHTS[0], 1, 1)], {"p": 0.5, "seed": 0, "offset": 0}),
    "sgd_step": ([_WEIGHTS] * 3, {**_STEP, "momentum": 0.9, "dampening": 0.0, "nesterov": False, "first": False}),
    "adam_step": ([_WEIGHTS] * 4, {**_STEP, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decoupled": False, "step": 1}),
    "rmsprop_step": ([_WEIGHTS] * 3 + [None, None], {**_STEP, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0}),
    "average_step": ([_WEIGHTS] * 2, {"rate": 0.1, "scale": 1.0}),
    "adagrad_step": ([_WEIGHTS] * 3, {**_STEP, "eps": 1e-10}),
    "mirror": ([(256, 64, 64, 3), (256,)], {}),
    "affine_sample": ([(256, 64, 64, 3), (256, 2, 3)], {"size": (64, 64)}),
    "jitter": ([(256, 64 * 64 * 3), (256,), (256,), (64 * 64 * 3,)], {}),
    "blend": ([(256, 64 * 64 * 3), (256,), (256,)], {}),
}

_KINDS = {"f": np.float32, "t": np.float32, "i": np.int64, "b": np.bool_, "u": np.uint32, "o": np.uint8, "p": np.uint8}
_PRODUCTS: dict[str, Callable[[dict[str, int]], int]] = {
    "matmul": lambda s: s["B"] * s["M"] * s["N"] * s["a1"],
    "conv": lambda s: s["N"] * s["P"] * s["Q"] * s["K"] * s["R"] * s["S"] * s["D"],
}


class Stated(NamedTuple):
    """A stated call, ready to be made: its arrays on a device, and what makes it."""

    call: Call
    inputs: tuple[DeviceArray | None, ...]
    outputs: tuple[DeviceArray, ...]
    run: Callable[[], None]


def stated(name: str, device: Device, check: Callable[..., Any]) -> Stated:
    """The stated float32 call of a contract, on arrays whose content is undefined, indices aside: they are 0.

    check: dispatch's, which knows the outputs' shapes.
    """
    from . import algorithm, kernel

    contract = CONTRACTS[name]
    shapes, params = STATED.get(name) or ([_WEIGHTS] * len(contract.inputs), dict.fromkeys(contract.params, 1.0))
    kinds = [a.kind if a.kind != "t" or contract.kinds != "b" else "b" for a in contract.inputs]
    inputs = tuple(None if shape is None else _filled(argument.name, shape, _KINDS[kind], device)
                   for argument, shape, kind in zip(contract.inputs, shapes, kinds, strict=True))
    forms, sizes = check(contract, inputs, params)
    outputs = tuple(empty(shape, dtype, device) for shape, dtype in forms)
    launches = algorithm(name, sizes, params, np.dtype(np.float32), "auto")[1] if contract.algorithms else kernel(name)
    arrays = [array for array in (*inputs, *outputs) if array is not None]
    count = _PRODUCTS.get(contract.family)
    work = count(sizes) if count else max(array.size for array in arrays)
    call = Call(name, tuple(shape for shape in shapes if shape is not None), work, sum(a.nbytes for a in arrays))
    return Stated(call, inputs, outputs, lambda: launches(*inputs, *outputs, *(params[p] for p in contract.params)))


def _filled(name: str, shape: tuple[int, ...], dtype: Any, device: Device) -> DeviceArray:
    """Indices and positions in windows are read through: they are 0. What other arrays hold makes no difference."""
    if name == "start":  # of the rows of a sparse matrix: four numbers in each
        return to_device(4 * np.arange(shape[0]), device)
    return to_device(np.zeros(shape, dtype), device) if dtype in (np.int64, np.uint8) else empty(shape, dtype, device)


def stated_calls(check: Callable[..., Any]) -> Iterator[Call]:
    """The stated call of every contract, with the kernels that it launches; recorded rather than run."""
    for name in CONTRACTS:
        device = Recording()
        one = stated(name, device, check)
        one.run()
        yield replace(one.call, kernels=tuple(device.recorder.launched))
