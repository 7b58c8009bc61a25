"""The smile net, smaller: its maps on the GPU's kernels are those of the CPU's."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

pytest.importorskip("numba.cuda", reason="the GPU's kernels need numba-cuda")
vis = mc.vis

METHODS = [vis.saliency, vis.input_x_gradient, vis.smooth_grad, vis.integrated_gradients, vis.guided_backprop,
           vis.deconvnet, vis.grad_cam, vis.layer_cam, vis.score_cam, vis.ablation_cam]  # fmt: skip


def smile_net():
    mc.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, padding="same"), nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Dropout(0.1),
        nn.Conv2d(4, 6, 5, padding="same"), nn.ReLU(), nn.BatchNorm2d(6), nn.MaxPool2d(2), nn.Dropout(0.1),
        nn.Flatten(), nn.Linear(96, 8), nn.ReLU(), nn.Linear(8, 1))  # fmt: skip


@pytest.fixture(scope="module")
def emulated():
    return smile_net().to("emulator")


@pytest.mark.slow  # compiling the kernels
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)
def test_maps(emulated, method):
    x = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    options = {"relu": False} if method.__name__.endswith("cam") else {}
    options |= {"integrated_gradients": {"steps": 3}, "smooth_grad": {"samples": 2}}.get(method.__name__, {})
    wanted = method(smile_net(), x, **options)
    found = method(emulated, mc.tensor(x, device="emulator"), **options)
    assert isinstance(found, np.ndarray) and found.dtype == np.float32
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
    assert all(p.device == "emulator" and p.grad is None for p in emulated.parameters())
