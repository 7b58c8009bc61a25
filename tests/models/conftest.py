"""What the tests of the larger networks share."""

import math
import zlib

import numpy as np
import pytest

from minicnn import nn


@pytest.fixture
def undrawn(monkeypatch):
    """Starting weights are not drawn but stay 0, which takes no time. The list of what would have been drawn, for all
    normal ones: (shape, mean, std)."""
    drawn = []

    def normal(tensor, mean=0.0, std=1.0):
        drawn.append((tensor.shape, mean, std))
        return tensor

    monkeypatch.setattr(nn.init, "normal_", normal)
    monkeypatch.setattr(nn.init, "uniform_", lambda tensor, *bounds: tensor)
    return drawn


def fill(key, shape):
    """An array in PyTorch's layout that depends on its name and shape alone, of a size that lets signals through."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    kind = key.rpartition(".")[2]
    if kind in ("running_mean", "bias"):
        return 0.1 * rng.standard_normal(shape)
    if len(shape) == 1:
        return rng.uniform(0.5, 1.5, shape)
    return rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))


@pytest.fixture
def filled(undrawn):
    """A function that gives a model the weights of `fill` and returns it in eval mode."""
    def load(model):
        state = model.state_dict(layout="torch")
        model.load_state_dict({key: fill(key, array.shape) for key, array in state.items()}, layout="torch")
        return model.eval()

    return load
