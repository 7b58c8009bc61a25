"""A training step waits for a GPU once: where it reads the loss. What is wrong with the labels shows there too."""

from contextlib import contextmanager

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn, optim

F = nn.functional
RNG = np.random.default_rng(0)
PICTURES, LABELS = RNG.random((4, 8, 8, 3), np.float32), [0, 1, -100, 3]


@contextmanager
def counted(device, *names):
    """How often each of these methods of the device was called."""
    found, before = dict.fromkeys(names, 0), {name: getattr(device, name) for name in names}

    def counting(name):
        def call(*arguments):
            found[name] += 1
            return before[name](*arguments)
        return call

    for name in names:
        setattr(device, name, counting(name))
    try:
        yield found
    finally:
        for name in names:
            setattr(device, name, before[name])


def network(gpu):
    """Something of everything that takes indices, looks at its input, or draws."""
    mc.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2),
              nn.AdaptiveMaxPool2d(3), nn.AdaptiveAvgPool2d(2), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(16, 5)]
    return nn.Sequential(*layers).to(gpu)


def trainer(gpu, loss, **options):
    model = network(gpu)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    return mc.train.Trainer(model, loss=loss, optimizer=optimizer, clip_norm=0.1, **options)


def binary(outputs, targets):
    return F.binary_cross_entropy(outputs.sigmoid(), F.softmax(outputs) * 0 + 1)


LOSSES = {"cross_entropy": F.cross_entropy, "weighted": lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1),
          "nll": lambda x, t: F.nll_loss(F.log_softmax(x), t), "binary": binary}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_waits_once(gpu, loss):
    batch = mc.tensor(PICTURES, device=gpu), mc.tensor(LABELS, device=gpu)
    made = trainer(gpu, LOSSES[loss])
    made.average = optim.ExponentialMovingAverage(made.model)
    device = mc.device.open_device(gpu)
    with counted(device, "read", "synchronize") as waits:
        made.fit([batch] * 3, epochs=1)
    assert waits == {"read": 3, "synchronize": 0}


def test_a_step_like_the_one_before_moves_nothing(gpu):
    """The optimizer's table of addresses is there already, for the arrays lie where they lay."""
    batch = mc.tensor(PICTURES, device=gpu), mc.tensor(LABELS, device=gpu)
    moved = []

    class Note(mc.train.Callback):
        def on_step(self, trainer, loss):
            moved.append(writes["write"])

    with counted(mc.device.open_device(gpu), "write") as writes:
        trainer(gpu, F.cross_entropy, callbacks=[Note()]).fit([batch] * 6, epochs=1)
    assert moved[-1] == moved[-3]


def test_a_wrong_label_stops_the_step_before_anything_moves(gpu):
    made = trainer(gpu, F.cross_entropy)
    before = {name: value.numpy().copy() for name, value in made.model.named_parameters()}
    batch = mc.tensor(PICTURES, device=gpu), mc.tensor([0, 1, 5, 3], device=gpu)
    with pytest.raises(IndexError, match=r"cross_entropy: index\[2\] is 5, expected 0 to 4"):
        made.fit([batch], epochs=1)
    for name, value in made.model.named_parameters():
        assert np.array_equal(value.numpy(), before[name]), name
