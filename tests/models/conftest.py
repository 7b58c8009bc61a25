"""What the tests of the larger networks share."""

import importlib
import math
import warnings
import zlib

import numpy as np
import pytest

import minicnn as mc
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


@pytest.fixture
def timm(torchvision):
    """timm, which needs torchvision; the test is skipped where either is missing."""
    torchvision("ops")
    pytest.importorskip("timm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("timm")


@pytest.fixture
def trains_alike():
    """A function that holds a step of a model against one of PyTorch's, which is given its weights, in float64: logits
    of five classes, the gradients of all parameters, the running statistics behind it."""
    torch = pytest.importorskip("torch")

    def check(model, theirs, height, width):
        theirs.load_state_dict({key: torch.tensor(array) for key, array in model.state_dict(layout="torch").items()})
        model, theirs = model.to("float64").train(), theirs.double().train()
        x, labels = np.random.default_rng(5).standard_normal((3, height, width, 3)), np.array([4, 0, 2])
        got, want = model(mc.tensor(x)), theirs(torch.tensor(np.ascontiguousarray(np.moveaxis(x, -1, 1))))
        np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=0, atol=1e-8)
        nn.functional.cross_entropy(got, mc.tensor(labels)).backward()
        torch.nn.functional.cross_entropy(want, torch.tensor(labels)).backward()
        statistics = model.state_dict(layout="torch")
        for key, buffer in theirs.named_buffers():
            if not key.endswith("num_batches_tracked"):  # which only PyTorch counts
                np.testing.assert_allclose(statistics[key], buffer.numpy(), rtol=0, atol=1e-8, err_msg=key)
        for parameter in model.parameters():
            with mc.no_grad():
                parameter.copy_(parameter.grad)
        gradients = model.state_dict(layout="torch")
        for key, parameter in theirs.named_parameters():
            gradient = parameter.grad.numpy()  # rounding alone where the next norm takes away what the parameter adds
            atol = 1e-7 * np.abs(gradient).max() + 1e-12
            np.testing.assert_allclose(gradients[key], gradient, rtol=0, atol=atol, err_msg=key)

    return check
