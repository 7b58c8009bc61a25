"""PyTorch's side of a single operation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from .torch_peer import LAYOUTS, pictures


class Run:
    """A layer on an input that stays the same: forward in inference mode, or with `grad`, that of the output, both
    ways. Arrays are in minicnn's layout."""

    def __init__(self, layer: Callable[[Any], Any], x: np.ndarray, grad: np.ndarray | None, layout: str, device: str):
        torch.manual_seed(0)
        self.layer = layer(nn).to(device, memory_format=LAYOUTS[layout])
        self.x = self._tensor(x, layout, device)
        self.grad = None if grad is None else self._tensor(grad, layout, device)
        self.x.requires_grad_(grad is not None)

    @staticmethod
    def _tensor(array: np.ndarray, layout: str, device: str) -> torch.Tensor:
        return pictures(array, layout, device) if array.ndim == 4 else torch.tensor(array).to(device)

    def state(self) -> dict[str, np.ndarray]:
        """The weights, for minicnn."""
        return {name: value.cpu().numpy().copy() for name, value in self.layer.state_dict().items()}

    def gradients(self) -> dict[str, np.ndarray]:
        """By the parameters, after a step both ways."""
        return {name: p.grad.cpu().numpy().copy() for name, p in self.layer.named_parameters() if p.grad is not None}

    def step(self) -> torch.Tensor:
        """The output."""
        if self.grad is None:
            with torch.inference_mode():
                return self.layer(self.x)
        self.layer.zero_grad(set_to_none=True)
        self.x.grad = None
        y = self.layer(self.x)
        y.backward(self.grad)
        return y

    def results(self) -> tuple[np.ndarray, ...]:
        """The output of a step and, of both ways, the gradient by the input."""
        y = self.step()
        found = (y,) if self.x.grad is None else (y, self.x.grad)
        return tuple(self._array(one.detach().cpu()) for one in found)

    @staticmethod
    def _array(tensor: torch.Tensor) -> np.ndarray:
        return (tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor).numpy()
