"""minicnn's side of a workload: steps through the public API, as a user writes them."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np

import minicnn as mc

from .workloads import Batch, Workload

State = Mapping[str, np.ndarray]


def build(work: Workload, state: State | None = None, device: str = "cpu") -> mc.nn.Module:
    """The network, with the weights of a PyTorch state dict if there is one."""
    mc.manual_seed(0)
    model = mc.models.create(work.net) if isinstance(work.net, str) else work.net(mc.nn)
    if state is not None:
        model.load_state_dict(state, layout="torch")
    return model.to(device)


class Training:
    """Training steps: forward, loss, backward, Adam; in the pictures' dtype."""

    def __init__(self, work: Workload, data: Sequence[Batch], state: State | None = None, dropout: bool = True,
                 device: str = "cpu"):
        self.model = build(work, state, device).to(data[0][0].dtype)
        for module in self.model.modules():
            if isinstance(module, mc.nn.Dropout) and not dropout:
                module.p = 0.0
        self.optimizer = mc.optim.Adam(self.model.parameters(), lr=1e-3)
        functions = mc.nn.functional
        self.loss = functions.binary_cross_entropy_with_logits if work.classes == 1 else functions.cross_entropy
        self.data = cycle([(mc.tensor(x, device=device), mc.tensor(y, device=device)) for x, y in data])

    def step(self) -> float:
        """One step on the next batch; its loss."""
        x, y = next(self.data)
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Inference:
    """Answers, without a tape."""

    def __init__(self, work: Workload, data: Sequence[Batch], state: State | None = None, device: str = "cpu"):
        self.model = build(work, state, device).eval()
        self.data = cycle([mc.tensor(x, device=device) for x, _ in data])

    def step(self) -> np.ndarray:
        """The logits (N, classes) of the next batch."""
        with mc.no_grad():
            return self.model(next(self.data)).numpy()
