"""Single operations: convolutions, batch norm, pooling, activations, a dense layer.

An op is written once for both sides, of `nn`, which is minicnn's or PyTorch's: the names are the same.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import minicnn as mc

from ..agree import same_arrays
from ..pairs import alone, alternate
from ..peers import unavailable
from ..results import Job, Measured, Row, Settings, paired, single


class Op(NamedTuple):
    """A layer, and the shape (N, H, W, C) or (N, C) of what goes in."""

    name: str
    shape: tuple[int, ...]
    layer: Callable[[Any], Any]


OPS = (
    Op("conv 3x3, 32-32", (50, 32, 32, 32), lambda nn: nn.Conv2d(32, 32, 3, padding=1)),
    Op("conv 3x3, 64-64", (8, 56, 56, 64), lambda nn: nn.Conv2d(64, 64, 3, padding=1)),
    Op("conv 3x3, 512-512", (8, 7, 7, 512), lambda nn: nn.Conv2d(512, 512, 3, padding=1)),
    Op("conv 5x5, 16-32", (32, 32, 32, 16), lambda nn: nn.Conv2d(16, 32, 5, padding=2)),
    Op("conv 7x7 stride 2, 3-64", (8, 224, 224, 3), lambda nn: nn.Conv2d(3, 64, 7, stride=2, padding=3)),
    Op("conv 1x1, 256-64", (8, 56, 56, 256), lambda nn: nn.Conv2d(256, 64, 1)),
    Op("conv 3x3 depthwise, 96", (8, 56, 56, 96), lambda nn: nn.Conv2d(96, 96, 3, padding=1, groups=96)),
    Op("linear, 8192-128", (32, 8192), lambda nn: nn.Linear(8192, 128)),
    Op("batch norm, 64", (8, 56, 56, 64), lambda nn: nn.BatchNorm2d(64)),
    Op("max pool 2x2", (32, 64, 64, 16), lambda nn: nn.MaxPool2d(2)),
    Op("max pool 3x3 stride 2", (8, 112, 112, 64), lambda nn: nn.MaxPool2d(3, 2, 1)),
    Op("average pool 2x2", (32, 64, 64, 16), lambda nn: nn.AvgPool2d(2)),
    Op("ReLU", (32, 64, 64, 16), lambda nn: nn.ReLU()),
    Op("GELU", (50, 32, 32, 32), lambda nn: nn.GELU()),
)
Arrays = tuple[np.ndarray, ...]


def jobs(settings: Settings) -> Iterator[Job]:
    """Each op, forward without a tape, and both ways: forward and the gradients by the input and the weights."""
    peer = "torch" if "torch" in settings.peers else ""
    for device in settings.devices:
        for op in OPS:
            for both_ways in (False, True):
                name = f"{op.name}, {'both ways' if both_ways else 'forward'}"
                yield Job(Row("ops", name, op.shape[0], device, peer),
                          partial(measure, op, both_ways, device, peer, settings.seconds))


def measure(op: Op, both_ways: bool, device: str, peer: str, seconds: float) -> Measured:
    """The op of both sides in turn, once they were seen to agree; minicnn alone where there is no peer."""
    random = np.random.default_rng(0)
    x = random.normal(size=op.shape).astype(np.float32)
    mine = Run(op.layer, x, device)
    if both_ways:
        mine.grad = mc.tensor(random.normal(size=mine.step().shape).astype(np.float32), device=device)
    reason = unavailable(peer, device=device)
    if reason is not None:
        return single(alone(mine.step, seconds), note=reason)
    return _against_torch(op, mine, x, device, seconds)


class Run:
    """minicnn's side: a layer on an input that stays the same; with `grad`, that of the output, both ways."""

    def __init__(self, layer: Callable[[Any], mc.nn.Module], x: np.ndarray, device: str):
        self.layer = layer(mc.nn).to(device)
        self.x = mc.tensor(x, device=device, requires_grad=True)
        self.grad: mc.Tensor | None = None

    def step(self) -> np.ndarray:
        """The output."""
        if self.grad is None:
            with mc.no_grad():
                return self.layer(self.x).numpy()
        self.layer.zero_grad()
        self.x.grad = None
        y = self.layer(self.x)
        y.backward(self.grad)
        return y.numpy()

    def results(self) -> Arrays:
        """The output of a step and, of both ways, the gradient by the input."""
        y = self.step()
        return (y,) if self.x.grad is None else (y, self.x.grad.numpy())


def _difference(mine: Run, twin: mc.nn.Module, theirs: Any) -> float:
    """The largest difference of the two sides' results; Disagreement if it is too large."""
    both = zip(("the outputs", "the gradients by the input"), mine.results(), theirs.results(), strict=False)
    found = [same_arrays(what, a, b) for what, a, b in both]
    if mine.grad is not None:
        twin.load_state_dict(theirs.state() | theirs.gradients(), layout="torch")  # which brings them into our layout
        found += [same_arrays(f"the gradients by {name}", p.grad.numpy(), grad.numpy())
                  for (name, p), grad in zip(mine.layer.named_parameters(), twin.parameters(), strict=True)]
    return max(found)


def _against_torch(op: Op, mine: Run, x: np.ndarray, device: str, seconds: float) -> Measured:
    from ..peers import torch_ops
    from ..peers.torch_peer import fastest_layout

    grad = None if mine.grad is None else mine.grad.numpy()
    layout = fastest_layout(lambda layout: torch_ops.Run(op.layer, x, grad, layout, device))
    theirs = torch_ops.Run(op.layer, x, grad, layout, device)
    mine.layer.load_state_dict(theirs.state(), layout="torch")
    difference = _difference(mine, op.layer(mc.nn), theirs)
    return paired(alternate(mine.step, theirs.step, seconds), difference=difference, note=layout)
