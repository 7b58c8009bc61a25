import csv
import io
import math

import numpy as np
import pytest

import minicnn as mc
from minicnn.train import Callback, History, TrainingError, evaluate, fit, predict

F = mc.nn.functional
RNG = np.random.default_rng(0)
X = RNG.standard_normal((10, 3))
Y = X @ np.array([[1.0], [-2.0], [0.5]]) + 0.3


def batches(size=4, x=X, y=Y):
    return [(mc.tensor(x[i : i + size]), mc.tensor(y[i : i + size])) for i in range(0, len(x), size)]


@pytest.fixture
def model():
    mc.manual_seed(0)
    return mc.nn.Linear(3, 1).to("float64")


def sgd(model, lr=0.05):
    return mc.optim.SGD(model.parameters(), lr=lr)


def test_fit_is_gradient_descent(model):
    """The same descent by hand: gradient of mean (xw + b - y)^2 is 2/n x^T (xw + b - y)."""
    w, b = model.weight.numpy().copy(), model.bias.numpy().copy()
    history = fit(model, batches(), loss=F.mse_loss, optimizer=sgd(model), epochs=3)
    losses = []
    for _ in range(3):
        total = 0.0
        for start in range(0, 10, 4):
            x, y = X[start : start + 4], Y[start : start + 4]
            error = x @ w + b - y
            total += float((error**2).sum())  # mean over the batch times its size
            w, b = w - 0.05 * 2 / len(x) * x.T @ error, b - 0.05 * 2 / len(x) * error.sum()
        losses.append(total / 10)
    assert np.allclose(model.weight.numpy(), w, atol=1e-12) and np.allclose(model.bias.numpy(), b, atol=1e-12)
    assert history.column("loss") == pytest.approx(losses, abs=1e-12)
    assert history.column("epoch") == [1, 2, 3]


def test_validation_is_evaluated_and_not_learned_from(model):
    one = mc.nn.Linear(3, 1).to("float64")
    one.load_state_dict(model.state_dict())
    fit(one, batches(), loss=F.mse_loss, optimizer=sgd(one), epochs=2)
    metrics = {"largest": lambda targets, outputs: float(abs(targets - outputs).max())}
    history = fit(model, batches(), batches(3, -X, Y), loss=F.mse_loss, optimizer=sgd(model), epochs=2, metrics=metrics)
    assert np.array_equal(one.weight.numpy(), model.weight.numpy())
    error = -X @ model.weight.numpy() + model.bias.numpy() - Y
    assert list(history[-1]) == ["epoch", "loss", "largest", "val_loss", "val_largest"]
    assert history[-1]["val_loss"] == pytest.approx((error**2).mean())
    assert history[-1]["val_largest"] == pytest.approx(abs(error).max())


def test_the_model_trains_in_training_mode_and_evaluates_in_eval_mode():
    seen = []

    class Spy(mc.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = mc.nn.Linear(3, 1).to("float64")

        def forward(self, x):
            y = self.layer(x)
            seen.append((self.training, y.requires_grad))
            return y

    model = Spy()
    fit(model, batches(10), batches(10), loss=F.mse_loss, optimizer=sgd(model), epochs=2)
    assert seen == [(True, True), (False, False)] * 2
    assert model.training and model.layer.training


def test_evaluate_and_predict_bring_each_mode_back(model):
    net = mc.nn.Sequential(model, mc.nn.Dropout(0.5))
    net[1].eval()
    outputs, targets = predict(net, batches(3))
    assert np.allclose(outputs, X @ model.weight.numpy() + model.bias.numpy()) and np.array_equal(targets, Y)
    assert evaluate(net, batches(3), loss=F.mse_loss) == {"loss": pytest.approx(((outputs - Y) ** 2).mean())}
    assert net.training and model.training and not net[1].training
    with pytest.raises(ValueError):
        predict(net, [(mc.tensor(np.ones((1, 2))), mc.tensor(np.ones((1, 1))))])
    assert net.training and model.training and not net[1].training


def test_a_loss_that_is_no_number_stops_before_the_step(model):
    poisoned = batches()
    poisoned[2] = (mc.tensor(np.full((2, 3), np.nan)), poisoned[2][1])
    with pytest.raises(TrainingError, match="loss is nan in epoch 1, step 3"):
        fit(model, poisoned, loss=F.mse_loss, optimizer=sgd(model), epochs=2)
    assert np.isfinite(model.weight.numpy()).all()


def test_steps_too_large_are_noticed(model):
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match=r"loss is (inf|nan) in epoch \d+, step \d"):
        fit(model, batches(), loss=F.mse_loss, optimizer=sgd(model, 1e30), epochs=9)


def test_a_validation_loss_that_is_no_number_stops(model):
    bad = batches(10, np.full_like(X, np.inf))
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match="val_loss is (inf|nan) after epoch 1"):
        fit(model, batches(), bad, loss=F.mse_loss, optimizer=sgd(model), epochs=2)


class Diary(Callback):
    def __init__(self, stop_after=99):
        self.lines, self.stop_after = [], stop_after

    def on_start(self, model, epochs, steps):
        self.lines.append(f"start {epochs} x {steps}")

    def on_step(self, epoch, step, loss):
        assert math.isfinite(loss)
        self.lines.append(f"{epoch}.{step}")

    def on_epoch(self, row):
        self.lines.append(f"epoch {row['epoch']}")
        return row["epoch"] >= self.stop_after

    def on_end(self):
        self.lines.append("end")


def test_callbacks_are_told_in_order_and_may_stop(model):
    first, second = Diary(stop_after=2), Diary()
    rows = []
    history = fit(model, batches(5), loss=F.mse_loss, optimizer=sgd(model), epochs=5, callbacks=[first, second],
                  on_epoch=rows.append)
    told = ["start 5 x 2", "1.1", "1.2", "epoch 1", "2.1", "2.2", "epoch 2", "end"]
    assert first.lines == second.lines == told
    assert len(history) == 2 and rows == history


def test_callbacks_end_after_an_error_too(model):
    diary = Diary()
    with pytest.raises(ZeroDivisionError):
        fit(model, batches(5), loss=lambda y, t: 1 / 0, optimizer=sgd(model), epochs=1, callbacks=[diary])
    assert diary.lines == ["start 1 x 2", "end"]


def test_batches_that_cannot_be_counted(model):
    class Endless:
        def __iter__(self):
            return iter(batches())

    diary = Diary()
    fit(model, Endless(), loss=F.mse_loss, optimizer=sgd(model), epochs=1, callbacks=[diary])
    assert diary.lines[0] == "start 1 x None"


@pytest.mark.parametrize("epochs", [0, -1, 1.5, None])
def test_epochs_must_be_a_number_of_them(model, epochs):
    with pytest.raises(ValueError, match="epochs must be a positive int"):
        fit(model, batches(), loss=F.mse_loss, optimizer=sgd(model), epochs=epochs)


def test_no_examples(model):
    for call in (lambda: fit(model, [], loss=F.mse_loss, optimizer=sgd(model), epochs=1),
                 lambda: evaluate(model, [], loss=F.mse_loss), lambda: predict(model, [])):
        with pytest.raises(ValueError, match="no examples"):
            call()


def test_history_as_csv_gives_the_same_bits():
    history = History([{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": 1e-17 / 3}])
    rows = list(csv.DictReader(io.StringIO(history.to_csv())))
    assert [float(row["loss"]) for row in rows] == history.column("loss")
    assert history.to_csv().splitlines()[0] == "epoch,loss" and History().to_csv() == "epoch\n"
