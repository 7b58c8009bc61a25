"""A small residual network and its twin in PyTorch, and the smile net of the reference maps."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn


def first(array):
    """(N, H, W, C) as PyTorch lays it out."""
    return np.moveaxis(array, -1, 1).copy()


def last(array):
    return np.moveaxis(np.asarray(array), 1, -1).copy()


def make_twin(torch):
    """The same network in PyTorch, whose rectifiers pass back by the derivative, or as `rule` says: "guided" or
    "deconvnet"; it keeps what each named place gave."""

    class Rectify(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, rule):
            ctx.save_for_backward(x)
            ctx.rule = rule
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            if ctx.rule == "deconvnet":
                return grad.clamp(min=0), None
            grad = grad.clamp(min=0) if ctx.rule == "guided" else grad
            return grad * (x > 0), None

    class Twin(torch.nn.Module):
        rule = ""

        def __init__(self):
            super().__init__()
            conv, norm = torch.nn.Conv2d, torch.nn.BatchNorm2d
            block = torch.nn.Module()
            block.conv1, block.bn1 = conv(6, 8, 3, 2, 1, bias=False), norm(8)
            block.conv2, block.bn2 = conv(8, 8, 3, 1, 1, bias=False), norm(8)
            block.downsample = torch.nn.Sequential(conv(6, 8, 1, 2, bias=False), norm(8))
            self.stem = torch.nn.Sequential(conv(3, 6, 3, padding=1), norm(6))
            self.block, self.head = block, torch.nn.Linear(8 * 4 * 3, 4)

        def forward(self, x):
            rectify, block = lambda t: Rectify.apply(t, self.rule), self.block  # noqa: E731
            self.stem_relu = rectify(self.stem(x))
            x = torch.nn.functional.max_pool2d(self.stem_relu, 2)
            y = block.bn2(block.conv2(rectify(block.bn1(block.conv1(x)))))
            self.block_output = self.change(rectify(y + block.downsample(x)))
            return self.head(self.block_output.flatten(1))

        def change(self, x):
            return x

    return Twin()


class Own(nn.Module):
    """The block's ReLU is a layer, that of the stem a function."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.pool, self.block = nn.MaxPool2d(2), nn.BasicBlock(6, 8, 2)
        self.head = nn.Linear(8 * 4 * 3, 4)

    def forward(self, x):
        return self.head(self.block(self.pool(nn.functional.relu(self.stem(x)))).flatten(1))


@pytest.fixture
def pair():
    """own: the network in float64; twin: the same in PyTorch; x: three pictures, (N, H, W, C)."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    twin = make_twin(torch).double().eval()
    rng = np.random.default_rng(0)
    for module in twin.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean):
                values.data = torch.tensor(rng.standard_normal(values.shape))
            module.running_var.data = torch.tensor(rng.uniform(0.5, 2, module.running_var.shape))
    own = Own().to(np.float64)
    own.load_state_dict({k: v.numpy() for k, v in twin.state_dict().items()}, layout="torch", flatten={"head": 8})
    return SimpleNamespace(own=own, twin=twin, x=rng.standard_normal((3, 16, 12, 3)), torch=torch)


@pytest.fixture(scope="session")
def references():
    """Maps of two faces by captum and pytorch-grad-cam: the arrays, and the smile net they were made with."""
    root = os.environ.get("MINICNN_DATA")
    folder = Path(root).parent / "vis" if root else None
    if folder is None or not folder.is_dir():
        pytest.skip("there is no folder vis with reference maps beside $MINICNN_DATA")
    with np.load(folder / "vis_public.npz") as file:
        arrays = dict(file)
    model = mc.models.create("smile")
    with np.load(folder / "smile_weights.npz") as file:
        model.load_state_dict(dict(file), layout="torch")
    return SimpleNamespace(model=model, **{name.replace(".", "_"): array for name, array in arrays.items()})
