"""One training step of the smile detector, minicnn against PyTorch: forward, loss, backward, optimizer.

    python -m benchmarks.smile_step [--batch-size 32] [--threads 2] [--seconds 20]

PyTorch runs at its best for this net: channels_last memory and the fused Adam. The inputs change from step to step and
dropout is on. Before anything is timed both are given the same weights and inputs, with dropout off, and must agree
in the loss over several steps.
"""

import argparse
import platform

import numpy as np

import minicnn as mc
from benchmarks.pairs import alternate

BATCHES = 8


def batches(size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        (rng.random((size, 64, 64, 3), np.float32), rng.integers(0, 2, (size, 1)).astype(np.float32))
        for _ in range(BATCHES)
    ]


class Ours:
    """minicnn's side."""

    def __init__(self, state: dict[str, np.ndarray], data: list[tuple[np.ndarray, np.ndarray]]):
        self.model = mc.models.create("smile_detector")
        self.model.load_state_dict(state, layout="torch")
        self.optimizer = mc.optim.Adam(self.model.parameters(), lr=1e-3)
        self.data = [(mc.tensor(x), mc.tensor(y)) for x, y in data]
        self.count = 0

    def step(self) -> float:
        x, y = self.data[self.count % BATCHES]
        self.count += 1
        self.optimizer.zero_grad()
        loss = mc.nn.functional.binary_cross_entropy_with_logits(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Theirs:
    """PyTorch's side, with the same layers by the same numbers."""

    def __init__(self, data: list[tuple[np.ndarray, np.ndarray]]):
        import torch
        from torch import nn

        torch.manual_seed(0)
        self.torch = torch
        self.model = nn.Sequential(
            nn.Conv2d(3, 16, 5, padding=2),
            nn.ReLU(),
            nn.BatchNorm2d(16),
            nn.MaxPool2d(2),
            nn.Dropout(0.1),
            nn.Conv2d(16, 32, 5, padding=2),
            nn.ReLU(),
            nn.BatchNorm2d(32),
            nn.MaxPool2d(2),
            nn.Dropout(0.1),
            nn.Flatten(),
            nn.Linear(32 * 16 * 16, 128),
            nn.ReLU(),
            nn.Linear(128, 1),
        ).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True)
        self.data = [
            (torch.tensor(x).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last), torch.tensor(y))
            for x, y in data
        ]
        self.count = 0

    def state(self) -> dict[str, np.ndarray]:
        return {name: value.numpy().copy() for name, value in self.model.state_dict().items()}

    def step(self) -> float:
        x, y = self.data[self.count % BATCHES]
        self.count += 1
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.torch.nn.functional.binary_cross_entropy_with_logits(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def agree(ours: Ours, theirs: Theirs, steps: int = 3) -> None:
    """The same losses from the same weights, dropout off."""
    for side in (ours, theirs):
        for module in side.model.modules():
            if type(module).__name__ == "Dropout":
                module.p = 0.0
    for step in range(steps):
        a, b = ours.step(), theirs.step()
        if abs(a - b) > 1e-3 * abs(b):
            raise SystemExit(f"step {step}: the losses differ: {a} here, {b} there")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=32, help="pictures in a step (default: 32)")
    parser.add_argument("--threads", type=int, default=2, help="threads on either side (default: 2)")
    parser.add_argument("--seconds", type=float, default=20, help="how long to measure (default: 20)")
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        raise SystemExit("this benchmark compares with PyTorch: pip install torch==2.13.0") from None
    mc.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    data = batches(options.batch_size)
    theirs = Theirs(data)
    agree(Ours(theirs.state(), data), theirs)
    theirs = Theirs(data)
    ours = Ours(theirs.state(), data)
    result = alternate(ours.step, theirs.step, options.seconds)
    print(
        f"smile detector, one training step, batch {options.batch_size}, {options.threads} threads, "
        f"{platform.machine()}, "
        f"vectors {mc.kernels.cpu.level}"
    )
    print(f"minicnn {mc.__version__} / PyTorch {torch.__version__} (channels_last, fused Adam)")
    print(result)


if __name__ == "__main__":
    main()
