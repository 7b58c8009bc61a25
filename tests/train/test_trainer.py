import csv
import io
import math

import numpy as np
import pytest

import minicnn as mc
from minicnn.train import (
    Callback,
    EachEpoch,
    EarlyStopping,
    History,
    Paused,
    Trainer,
    TrainingError,
    checkpoint,
    evaluate,
    predict,
)

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


def fit(model, train, validation=None, *, epochs, **parts):
    """Train with a Trainer made of the parts."""
    return Trainer(model, **parts).fit(train, validation, epochs=epochs)


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

    def on_start(self, trainer, epochs, steps):
        self.lines.append(f"start {epochs} x {steps}")

    def on_step(self, trainer, loss):
        assert math.isfinite(loss)
        self.lines.append(f"{trainer.epoch + 1}.{trainer.step}")

    def on_epoch(self, trainer, row):
        self.lines.append(f"epoch {row['epoch']}")
        return row["epoch"] >= self.stop_after

    def on_complete(self, trainer):
        self.lines.append("complete")

    def on_end(self, trainer):
        self.lines.append("end")


def test_callbacks_are_told_in_order_and_may_stop(model):
    first, second = Diary(stop_after=2), Diary()
    rows = []
    history = fit(model, batches(5), loss=F.mse_loss, optimizer=sgd(model), epochs=5,
                  callbacks=[first, second, EachEpoch(rows.append)])
    told = ["start 5 x 2", "1.1", "1.2", "epoch 1", "2.1", "2.2", "epoch 2", "complete", "end"]
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


# ------------------------------------------------------------------------------------------ schedules, limits, averages

def test_a_schedule_steps_after_epochs_or_steps(model):
    for per, rates in (("epoch", [0.1, 0.05, 0.025]), ("step", [0.1 / 4, 0.1 / 32, 0.1 / 256])):
        optimizer = sgd(model, 0.1)
        schedule = mc.optim.ExponentialLR(optimizer, 0.5)
        history = fit(model, batches(), loss=F.mse_loss, optimizer=optimizer, epochs=3, schedule=schedule,
                      schedule_per=per)
        assert history.column("lr") == pytest.approx(rates)


def test_a_plateau_is_judged_by_the_validation_loss(model):
    optimizer = sgd(model, 0.0)  # nothing is learned: from the second epoch on nothing gets better
    schedule = mc.optim.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)
    optimizer.param_groups[0]["lr"] = 1e-12
    fit(model, batches(), batches(), loss=F.mse_loss, optimizer=optimizer, epochs=4, schedule=schedule)
    assert schedule.last_epoch == 4 and schedule.best == pytest.approx(
        evaluate(model, batches(), loss=F.mse_loss)["loss"])


def test_gradients_are_clipped(model):
    before = model.weight.numpy().copy(), model.bias.numpy().copy()
    fit(model, batches(10), loss=lambda y, t: 1e6 * F.mse_loss(y, t), optimizer=sgd(model, 1.0), epochs=1,
        clip_norm=0.25)
    moved = np.sqrt(((model.weight.numpy() - before[0]) ** 2).sum() + ((model.bias.numpy() - before[1]) ** 2).sum())
    assert moved == pytest.approx(0.25)


def test_averages_are_evaluated_and_kept(model):
    average = mc.optim.ExponentialMovingAverage(model, 0.5, warmup=False)
    weights = [model.weight.numpy().copy()]
    expected = weights[0]

    class Follow(Callback):
        def on_step(self, trainer, loss):
            nonlocal expected
            expected = 0.5 * expected + 0.5 * model.weight.numpy()
            weights.append(model.weight.numpy().copy())

    history = fit(model, batches(5), batches(10), loss=F.mse_loss, optimizer=sgd(model), epochs=2, average=average,
                  callbacks=[Follow()])
    assert np.allclose(model.weight.numpy(), expected, atol=1e-12) and not np.allclose(weights[-1], expected)
    assert history[-1]["val_loss"] == pytest.approx(evaluate(model, batches(10), loss=F.mse_loss)["loss"])


def test_early_stopping_brings_the_best_weights_back(model):
    values = iter([9, 3.0, 9, 2.0, 9, 2.5, 9, 2.2, 9, 2.1, 9, 0.1])  # of the training batches, of the validation ones
    seen = []
    stopping = EarlyStopping("val_measure", patience=3, mode="min")
    trainer = Trainer(model, loss=F.mse_loss, optimizer=sgd(model), metrics={"measure": lambda t, y: next(values)},
                      callbacks=[EachEpoch(lambda row: seen.append(model.weight.numpy().copy())), stopping])
    history = trainer.fit(batches(), batches(), epochs=20)
    assert len(history) == 5 and stopping.best_epoch == 2 and trainer.stopped
    assert np.array_equal(model.weight.numpy(), seen[1])
    with pytest.raises(ValueError, match="has no column 'val_lss', but epoch, loss, val_loss"):
        fit(model, batches(), batches(), loss=F.mse_loss, optimizer=sgd(model), epochs=1,
            callbacks=[EarlyStopping("val_lss")])


def test_after_training_the_trainer_judges_the_weights_that_the_model_has():
    trainer = small_trainer()
    trainer.fit(*noisy_batches(), epochs=6)
    stopping = trainer.callbacks[0]
    found = trainer.evaluate(noisy_batches()[1])
    assert found["loss"] == evaluate(trainer.model, noisy_batches()[1], loss=F.mse_loss)["loss"]
    assert found["loss"] == trainer.history[stopping.best_epoch - 1]["val_loss"] == stopping.best_value
    outputs, _ = trainer.predict(noisy_batches()[1])
    assert np.array_equal(outputs, predict(trainer.model, noisy_batches()[1])[0])


def test_the_learning_rate_in_the_history_is_that_of_the_last_step(model):
    optimizer = sgd(model, 0.1)
    schedule = mc.optim.OneCycleLR(optimizer, 0.1, total_steps=6, anneal_strategy="linear", cycle_momentum=False)
    rates = []

    class Spy(mc.optim.SGD):
        def step(self):
            rates.append(self.param_groups[0]["lr"])
            return super().step()

    optimizer.__class__ = Spy
    history = fit(model, batches(), loss=F.mse_loss, optimizer=optimizer, epochs=2, schedule=schedule,
                  schedule_per="step")
    assert history.column("lr") == [rates[2], rates[5]] and min(rates) > 0
    assert optimizer.param_groups[0]["lr"] >= 0  # one step past the cycle: no negative rate


@pytest.mark.parametrize(("arguments", "said"), [
    ({"schedule_per": "hour"}, "schedule_per"), ({"inputs": 0}, "inputs"), ({"clip_norm": -1.0}, "clip_norm")])
def test_bad_parts_of_a_trainer(model, arguments, said):
    with pytest.raises(ValueError, match=f"Trainer: {said} must"):
        Trainer(model, loss=F.mse_loss, optimizer=sgd(model), **arguments)


# ------------------------------------------------------------------------------------------- several inputs and outputs

class TwoHeads(mc.nn.Module):
    """Two inputs, two outputs, and one layer used twice."""

    def __init__(self):
        super().__init__()
        self.shared = mc.nn.Linear(3, 4)
        self.size, self.kind = mc.nn.Linear(4, 1), mc.nn.Linear(4, 2)

    def forward(self, a, b):
        both = F.tanh(self.shared(a)) + F.tanh(self.shared(b))
        return self.size(both), self.kind(both)


def pairs():
    kinds = (X[:, 0] > 0).astype(np.int64)
    fields = X.astype("f4"), -X.astype("f4"), Y.astype("f4"), kinds
    return mc.data.DataLoader(mc.data.ArrayDataset(*fields), batch_size=4)


def test_models_of_several_inputs_and_outputs():
    mc.manual_seed(0)
    model = TwoHeads()
    assert sum(p.numel() for p in model.parameters()) == (3 * 4 + 4) + (4 + 1) + (4 * 2 + 2)

    def loss(outputs, sizes, kinds):
        return F.mse_loss(outputs[0], sizes) + F.cross_entropy(outputs[1], kinds)

    def accuracy(targets, outputs):
        return float((outputs[1].argmax(1) == targets[1]).mean())

    trainer = Trainer(model, loss=loss, optimizer=mc.optim.Adam(model.parameters(), lr=0.05), inputs=2,
                      metrics={"accuracy": accuracy})
    history = trainer.fit(pairs(), pairs(), epochs=30)
    assert history[-1]["val_loss"] < 0.3 * history[0]["val_loss"] and history[-1]["val_accuracy"] == 1.0
    (sizes, kinds), targets = trainer.predict(pairs())
    assert sizes.shape == (10, 1) and kinds.shape == (10, 2)
    assert np.array_equal(targets[0], Y.astype("f4")) and targets[1].dtype == np.int64


# --------------------------------------------------------------------------------------------------- stopping, going on

def small_trainer(stopping=True):
    """Everything that has a state: dropout, batch norm, Adam, a schedule, averages, early stopping, metrics."""
    mc.manual_seed(3)
    nn = mc.nn
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
    optimizer = mc.optim.Adam(model.parameters(), lr=0.02)
    schedule = mc.optim.SequentialLR(optimizer, [mc.optim.LinearLR(optimizer, 0.1, total_iters=4),
                                                 mc.optim.CosineAnnealingLR(optimizer, 12)], [4])
    return Trainer(model, loss=F.mse_loss, optimizer=optimizer, schedule=schedule, schedule_per="step", clip_norm=1.0,
                   metrics={"largest": lambda t, y: float(abs(t - y).max())},
                   average=mc.optim.ExponentialMovingAverage(model, 0.9),
                   callbacks=[EarlyStopping("val_loss", 50)])


def noisy_batches():
    def noise(batch, generator):
        return batch[0] + generator.normal(0, 0.1, batch[0].shape).astype("f4"), batch[1]

    rows = np.arange(11) % 10  # four batches of 3, 3, 3, 2
    dataset = mc.data.ArrayDataset(X[rows].astype("f4"), Y[rows].astype("f4"))
    return (mc.data.DataLoader(dataset, 3, shuffle=True, seed=1, transform=noise), mc.data.DataLoader(dataset, 5))


@pytest.fixture(scope="module")
def undisturbed():
    trainer = small_trainer()
    history = trainer.fit(*noisy_batches(), epochs=4)
    return trainer.model.state_dict(), history, mc.random.get_state()


def same(trainer, undisturbed):
    weights, history, state = undisturbed
    assert trainer.history == history and mc.random.get_state() == state
    for name, array in trainer.model.state_dict().items():
        assert np.array_equal(array, weights[name]), name


@pytest.mark.parametrize("at", range(1, 17))
def test_paused_after_any_step_it_goes_on_with_the_same_bits(at, undisturbed, tmp_path):
    class PauseAt(Callback):
        def on_step(self, trainer, loss):
            if trainer.epoch * 4 + trainer.step == at:
                trainer.pause()

    file = tmp_path / "checkpoint.safetensors"
    trainer = small_trainer()
    trainer.callbacks += (PauseAt(),)
    with pytest.raises(Paused, match=f"in epoch {(at - 1) // 4 + 1} after step {(at - 1) % 4 + 1}"):
        trainer.fit(*noisy_batches(), epochs=4, checkpoint=file)
    mc.manual_seed(99)
    again = small_trainer()
    again.fit(*noisy_batches(), epochs=4, checkpoint=file, resume=True)
    same(again, undisturbed)


def test_stopped_by_an_error_it_goes_on_from_the_last_checkpoint(undisturbed, tmp_path):
    class Trip(Callback):
        def on_step(self, trainer, loss):
            if (trainer.epoch, trainer.step) == (2, 3):
                raise OSError("the data file has vanished")

    file = tmp_path / "checkpoint.safetensors"
    trainer = small_trainer()
    trainer.callbacks += (Trip(),)
    with pytest.raises(OSError, match="vanished"):
        trainer.fit(*noisy_batches(), epochs=4, checkpoint=file, checkpoint_every=0)
    own = checkpoint.read(file)["trainer"]
    assert (own["epoch"], own["step"]) == (2, 2)
    again = small_trainer()
    again.fit(*noisy_batches(), epochs=4, checkpoint=file, resume=True)
    same(again, undisturbed)


def test_validation_batches_that_are_drawn_are_the_same_after_a_pause(tmp_path):
    def drawn():
        train, _ = noisy_batches()
        return train, mc.data.DataLoader(train.dataset, 4, shuffle=True, seed=7, transform=train.transform)

    expected = small_trainer().fit(*drawn(), epochs=3)
    file = tmp_path / "c.safetensors"
    small_trainer().fit(*drawn(), epochs=2, checkpoint=file)
    assert small_trainer().fit(*drawn(), epochs=3, checkpoint=file, resume=True) == expected


def test_a_pause_that_comes_too_late_is_forgotten(model):
    class Late(Callback):
        def on_complete(self, trainer):
            trainer.pause()

    trainer = Trainer(model, loss=F.mse_loss, optimizer=sgd(model), callbacks=[Late()])
    trainer.fit(batches(), epochs=1)
    assert len(trainer.fit(batches(), epochs=3)) == 3


def test_every_callback_is_told_of_the_end(model):
    class Fails(Callback):
        def on_end(self, trainer):
            raise OSError("no")

    first, last = Diary(), Diary()
    with pytest.raises(OSError, match="no"):
        fit(model, batches(5), loss=F.mse_loss, optimizer=sgd(model), epochs=1, callbacks=[first, Fails(), last])
    assert first.lines[-1] == last.lines[-1] == "end"


def test_rates_that_are_ints_can_be_gone_on_with(model, tmp_path):
    def trainer():
        optimizer = mc.optim.SGD(model.parameters(), lr=1)
        return Trainer(model, loss=lambda y, t: 0.001 * F.mse_loss(y, t), optimizer=optimizer,
                       schedule=mc.optim.StepLR(optimizer, 1, 0.1))

    trainer().fit(batches(), epochs=2, checkpoint=tmp_path / "c.safetensors")
    history = trainer().fit(batches(), epochs=3, checkpoint=tmp_path / "c.safetensors", resume=True)
    assert history.column("lr") == pytest.approx([1, 0.1, 0.01])


def test_a_complete_training_goes_on_to_more_epochs_or_does_nothing(undisturbed, tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    small_trainer().fit(*noisy_batches(), epochs=2, checkpoint=file)
    for _ in range(2):
        again = small_trainer()
        again.fit(*noisy_batches(), epochs=4, checkpoint=file, resume=True)
        same(again, undisturbed)


def test_lists_of_batches_are_gone_on_with_too(model, tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    fit(model, batches(), loss=F.mse_loss, optimizer=sgd(model), epochs=2)
    expected = model.weight.numpy().copy()

    class PauseAt(Callback):
        def on_step(self, trainer, loss):
            if trainer.step == 2:
                trainer.pause()

    def fresh(*callbacks):
        mc.manual_seed(0)
        model = mc.nn.Linear(3, 1).to("float64")
        return Trainer(model, loss=F.mse_loss, optimizer=sgd(model), callbacks=callbacks)

    with pytest.raises(Paused):
        fresh(PauseAt()).fit(batches(), epochs=2, checkpoint=file)
    again = fresh()
    again.fit(batches(), epochs=2, checkpoint=file, resume=True)
    assert np.array_equal(again.model.weight.numpy(), expected)


def test_a_checkpoint_of_another_trainer_is_refused(model, tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    small_trainer().fit(*noisy_batches(), epochs=1, checkpoint=file)
    with pytest.raises(ValueError, match="the state is of EarlyStopping, average"):
        Trainer(model, loss=F.mse_loss, optimizer=sgd(model)).fit(batches(), epochs=2, checkpoint=file, resume=True)
    with pytest.raises(ValueError, match="resume needs the checkpoint"):
        Trainer(model, loss=F.mse_loss, optimizer=sgd(model)).fit(batches(), epochs=2, resume=True)
