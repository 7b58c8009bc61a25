"""PyTorch's side of a workload, at its best: of its two memory layouts the faster one, and the fused Adam."""

import statistics
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from ..ours import State
from ..pairs import alternate
from ..workloads import Batch, Workload
from .torch_nets import NETS

LAYOUTS = {"channels_last": torch.channels_last, "NCHW": torch.contiguous_format}


def has(work: Workload) -> bool:
    """Whether there is a rendering of the network in PyTorch."""
    return not isinstance(work.net, str) or work.net in NETS


def build(work: Workload) -> Any:
    """The network, with the same weights each time."""
    torch.manual_seed(0)
    return NETS[work.net]() if isinstance(work.net, str) else work.net(nn)


def state(work: Workload) -> State:
    """Its weights, for minicnn."""
    return {name: value.numpy().copy() for name, value in build(work).state_dict().items()}


def pictures(x: np.ndarray, layout: str, device: str = "cpu") -> torch.Tensor:
    """Pictures (N, H, W, C) as PyTorch takes them: (N, C, H, W), in the memory layout asked for."""
    return torch.tensor(x).permute(0, 3, 1, 2).to(device).contiguous(memory_format=LAYOUTS[layout])


class Training:
    """Training steps: forward, loss, backward, Adam; in the pictures' dtype."""

    def __init__(self, work: Workload, data: Sequence[Batch], layout: str, dropout: bool = True, device: str = "cpu"):
        self.layout = layout
        dtype = torch.tensor(data[0][0][:0]).dtype
        self.model = build(work).to(device, dtype, memory_format=LAYOUTS[layout])
        for module in self.model.modules():
            if isinstance(module, nn.Dropout) and not dropout:
                module.p = 0.0
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True)
        functions: Any = nn.functional
        self.loss = functions.binary_cross_entropy_with_logits if work.classes == 1 else functions.cross_entropy
        self.data = cycle([(pictures(x, layout, device), torch.tensor(y).to(device)) for x, y in data])

    def step(self) -> float:
        """One step on the next batch; its loss."""
        x, y = next(self.data)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Inference:
    """Answers, in inference mode."""

    def __init__(self, work: Workload, data: Sequence[Batch], layout: str, device: str = "cpu"):
        self.layout = layout
        self.model = build(work).eval().to(device, memory_format=LAYOUTS[layout])
        self.data = cycle([pictures(x, layout, device) for x, _ in data])

    def step(self) -> np.ndarray:
        """The logits (N, classes) of the next batch."""
        with torch.inference_mode():
            return self.model(next(self.data)).cpu().numpy()


class Runs(Protocol):
    """Something that takes steps."""

    def step(self) -> object: ...


def fastest_layout(make: Callable[[str], Runs]) -> str:
    """The memory layout in which steps of what `make` gives for it take less time: both in turn, for a few seconds."""
    first, second = LAYOUTS
    pairing = alternate(make(first).step, make(second).step, seconds=3.0)
    return first if statistics.median(pairing.ratios) > 1 else second
