import io

import pytest
from rich.console import Console

import minicnn as mc
from minicnn.summary import summarize

nn = mc.nn


def test_smile_detector():
    found = summarize(mc.models.create("smile"))
    assert [(row.name, row.layer, row.output_shape, row.parameters, row.fixed) for row in found.rows] == [
        ("0", "Conv2d", (None, 64, 64, 16), 1_216, 0),
        ("1", "ReLU", (None, 64, 64, 16), 0, 0),
        ("2", "BatchNorm2d", (None, 64, 64, 16), 32, 32),
        ("3", "MaxPool2d", (None, 32, 32, 16), 0, 0),
        ("4", "Dropout", (None, 32, 32, 16), 0, 0),
        ("5", "Conv2d", (None, 32, 32, 32), 12_832, 0),
        ("6", "ReLU", (None, 32, 32, 32), 0, 0),
        ("7", "BatchNorm2d", (None, 32, 32, 32), 64, 64),
        ("8", "MaxPool2d", (None, 16, 16, 32), 0, 0),
        ("9", "Dropout", (None, 16, 16, 32), 0, 0),
        ("10", "Flatten", (None, 8192), 0, 0),
        ("11", "Linear", (None, 128), 1_048_704, 0),
        ("12", "ReLU", (None, 128), 0, 0),
        ("13", "Linear", (None, 1), 129, 0),
    ]
    assert (found.trainable, found.not_trainable) == (1_062_977, 96)
    assert found.model == "smile_detector" and found.input_shape == (64, 64, 3)


class Odd(nn.Module):
    """A parameter of its own, a layer called twice under two names, one that is never called."""

    def __init__(self, breaks=False):
        super().__init__()
        self.scale = nn.Parameter(mc.ones(3))
        self.shared = nn.Linear(3, 3)
        self.again = nn.Sequential(self.shared, nn.Linear(3, 2, bias=False))
        self.idle = nn.Linear(5, 5)
        self.idle.requires_grad_(False)
        self.breaks = breaks

    def forward(self, x):
        x = self.again(self.shared(x * self.scale))
        if self.breaks:
            raise ValueError("broken")
        return x


def test_shared_frozen_and_idle_layers():
    found = summarize(Odd(), (3,))
    assert [(row.name, row.output_shape, row.parameters, row.fixed) for row in found.rows] == [
        ("", (None, 2), 3, 0), ("shared", (None, 3), 12, 0), ("again.1", (None, 2), 6, 0), ("idle", None, 0, 30)]
    assert found.trainable == 21 and found.not_trainable == 30


@pytest.mark.parametrize("breaks", [False, True])
def test_the_model_comes_out_as_it_went_in(breaks):
    model = Odd(breaks)
    model.shared.eval()
    if breaks:
        with pytest.raises(ValueError, match="broken"):
            summarize(model, (3,))
    else:
        summarize(model, (3,))
    assert model.training and model.idle.training and not model.shared.training
    assert not any(module._forward_hooks for module in model.modules())


def test_moving_statistics_are_not_moved():
    model = nn.Sequential(nn.BatchNorm2d(2))
    before = model.state_dict()
    summarize(model, (4, 4, 2))
    assert all((before[k] == v).all() for k, v in model.state_dict().items())


def test_a_model_that_does_not_say_what_it_takes():
    with pytest.raises(ValueError, match="Linear doesn't say what it takes: pass input_shape"):
        summarize(nn.Linear(3, 1))


def test_table():
    written = io.StringIO()
    Console(width=100, file=written).print(summarize(mc.models.create("smile")).table())
    text = written.getvalue()
    parts = ("smile_detector", "(N, 64, 64, 3)", "1,048,704", "fixed", "(N, 8192)", "1,062,977", "1,063,073")
    for part in parts:
        assert part in text
