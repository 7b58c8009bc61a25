"""Devices with a memory of their own, through the whole package: what runs on the CPU runs there too."""

import copy
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn
from minicnn.kernels.contracts import CONTRACTS

F = nn.functional
RNG = np.random.default_rng(0)


def test_every_contract_has_a_gpu_kernel():
    pytest.importorskip("numba_cuda")
    from minicnn.kernels import cuda

    for name in CONTRACTS:
        assert callable(cuda.kernel(name)), name


# --------------------------------------------------------------------------------------------------------- tensors


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "uint8", "int32"])
def test_arrays_go_there_and_back(gpu, dtype):
    array = (RNG.standard_normal((3, 5)) * 3).astype(dtype)
    x = mc.tensor(array, device=gpu)
    assert (x.device, x.shape, x.dtype, x.ndim, x.numel()) == (gpu, (3, 5), array.dtype, 2, 15)
    assert np.array_equal(x.numpy(), array) and np.array_equal(np.asarray(x), array) and x.tolist() == array.tolist()
    assert np.array_equal(x.to("cpu").numpy(), array) and x.to(gpu) is x
    assert np.array_equal(mc.tensor(array).to(gpu).numpy(), array)
    assert mc.tensor(array[:0], device=gpu).numpy().shape == (0, 5)


def test_numpy_is_told_that_it_takes_a_copy(gpu):
    x = mc.ones(3, device=gpu)
    assert np.array(x, copy=True).tolist() == np.array(x, copy=None).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=f"a tensor on {gpu} becomes a NumPy array by a copy only"):
        np.asarray(x, copy=False)


def test_what_makes_tensors_makes_them_there(gpu):
    made = mc.ones(2, device=gpu), mc.zeros((2, 3), dtype="int64", device=gpu), mc.full(3, 2.5, device=gpu)
    assert [x.device for x in made] == [gpu] * 3
    assert [x.tolist() for x in made] == [[1, 1], [[0, 0, 0], [0, 0, 0]], [2.5, 2.5, 2.5]]
    assert mc.tensor(7, device=gpu).item() == 7 and bool(mc.tensor(True, device=gpu))
    assert repr(mc.ones(2, device=gpu)) == f"tensor([1., 1.], device='{gpu}')"


@pytest.mark.parametrize("way", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_stay_there_and_share_nothing(gpu, way):
    x = mc.tensor([1.0, 2.0], device=gpu, requires_grad=True)
    again = way(x)
    assert (again.device, again.requires_grad) == (gpu, True)
    with mc.no_grad():
        x.zero_()
    assert again.tolist() == [1, 2]


@pytest.mark.parametrize("before", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("after", ["float32", "float64", "int64", "bool", "uint8", "int32"])
def test_dtypes_change_there(gpu, before, after):
    array = np.array([0, 1, 2.75, 100]).astype(before)
    changed = mc.tensor(array, device=gpu).to(after)
    assert changed.device == gpu and np.array_equal(changed.numpy(), array.astype(after))


def test_gradients_find_the_way_between_devices(gpu):
    x = mc.tensor([1.0, 2.0], requires_grad=True)
    (x.to(gpu) * mc.tensor([3.0, 4.0], device=gpu)).to("cpu").sum().backward()
    assert x.grad.device == "cpu" and x.grad.tolist() == [3, 4]
    y = mc.tensor([1.0, 2.0], device=gpu, requires_grad=True)
    (y.to("float64") ** 2).sum().backward()
    assert (y.grad.device, y.grad.dtype) == (gpu, np.float32) and y.grad.tolist() == [2, 4]


# --------------------------------------------------------------------------------------------- numbers beside tensors


def test_numbers_beside_tensors(gpu):
    x, n = mc.tensor([1.0, -2.0], device=gpu), mc.tensor([3, 4], device=gpu)
    assert (2 * x + 1 - x / 4).tolist() == [2.75, -2.5] and (1 / x).tolist() == [1, -0.5] and (x**3).tolist() == [1, -8]
    assert (n * 2).dtype == np.int64 and (n * 2.5).dtype == np.float32 and (n * 2.5).tolist() == [7.5, 10]
    assert (x > 0).tolist() == [True, False] and ((x > 0) & True).tolist() == [True, False]
    assert mc.where(x > 0, 1.0, -1.0).tolist() == [1, -1] and mc.where(x > 0, x, 0.0).tolist() == [1, 0]
    assert np.signbit((x * 0 * -0.0).numpy()).tolist() != np.signbit((x * 0 * 0.0).numpy()).tolist()
    assert np.isnan((x + float("nan")).numpy()).all()


def test_a_number_is_moved_once(gpu):
    x = mc.ones(3, device=gpu)
    y = x * 0.12345
    in_use = mc.memory.stats(gpu)["in_use"]
    for _ in range(3):
        y = x * 0.12345
    assert mc.memory.stats(gpu)["in_use"] == in_use and y.shape == (3,)


def test_devices_do_not_mix(gpu):
    x = mc.ones(1, 3, 3, 2, device=gpu)
    for call in (lambda: x + mc.ones(2), lambda: F.conv2d(x, mc.ones(1, 1, 2, 1)), lambda: mc.concat([x, x.to("cpu")]),
                 lambda: mc.where(x > 0, mc.ones(2), 0.0), lambda: x + np.ones(2, np.float32)):
        with pytest.raises((TypeError, ValueError), match=f"(?s)(cpu.*{gpu}|{gpu}.*cpu)"):
            call()


# ------------------------------------------------------------------------------------------------ indices, in place

INDICES = {
    "a row": 1, "from behind": -1, "all ints": (1, 2, 3), "slices": (slice(1, None), slice(None, None, 2)),
    "backwards": (slice(None), slice(None, None, -1)), "an ellipsis": (..., 2), "none": (None, 0, slice(1, 3)),
    "an empty slice": slice(2, 2), "a list": [0, 1, 1], "two lists": ([0, 1], slice(None), [2, 3]),
    "a mask": np.arange(24).reshape(2, 3, 4) % 3 == 0, "numpy's ints": (np.int64(1), slice(None)),
}  # fmt: skip


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_parts_are_read_and_written_as_by_numpy(gpu, index):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    x = mc.tensor(array, device=gpu)
    assert np.array_equal(x[index].numpy(), array[index]) and x[index].device == gpu
    for value in (-1.5, np.full(array[index].shape, 7.0), np.float32(3) * array[index] - 1):
        x[index] = value
        array[index] = value
        assert np.array_equal(x.numpy(), array)
    x[index] = mc.tensor(array[index] + 1, device=gpu)
    array[index] += 1
    assert np.array_equal(x.numpy(), array)


def test_wrong_indices_are_refused(gpu):
    x = mc.ones(2, 3, device=gpu)
    for index in (2, (0, 3), (0, 0, 0), ([0, 2],)):
        with pytest.raises(IndexError):
            x[index]
        with pytest.raises(IndexError):
            x[index] = 1
    with pytest.raises(ValueError, match="broadcast"):
        x[0] = [1, 2]
    with pytest.raises(IndexError, match=r"cross_entropy: index\[1\] is 3, expected 0 to 2"):
        F.cross_entropy(x, mc.tensor([0, 3], device=gpu)).item()


def test_changes_in_place(gpu):
    x = mc.tensor([1.0, 2.0, 3.0], device=gpu)
    x += 1
    x *= mc.tensor([1.0, 2.0, 3.0], device=gpu)
    assert x.tolist() == [2, 6, 12] and x.device == gpu
    assert x.fill_(4).tolist() == [4, 4, 4] and x.zero_().tolist() == [0, 0, 0]
    for source in (np.arange(3), mc.tensor([0.0, 1.0, 2.0]), mc.tensor([0, 1, 2], device=gpu)):
        assert x.zero_().copy_(source).tolist() == [0, 1, 2]
    assert mc.ones(3).copy_(x).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"copy_: expected shape \(3,\), got \(2,\)"):
        x.copy_(np.ones(2))
    y = x.requires_grad_()
    with pytest.raises(RuntimeError, match="no_grad"):
        y.zero_()


def test_nobody_shares_the_gradient_of_a_leaf(gpu):
    x = mc.tensor([1.0, 2.0], device=gpu, requires_grad=True)
    start = mc.ones(2, device=gpu)
    (x * 1).backward(start)
    x.grad.zero_()
    x.backward(start)
    x.grad.zero_()
    assert start.tolist() == [1, 1]


# ------------------------------------------------------------------------------------------ around the tape and memory


def test_checkpoint_and_gradcheck(gpu):
    x = mc.tensor(RNG.standard_normal((2, 3)), device=gpu, requires_grad=True)
    assert mc.gradcheck(lambda x: (x * x).exp(), x) and mc.gradgradcheck(lambda x: (x * x).exp(), x)
    mc.checkpoint(lambda x: F.dropout(x * x, 0.5), x).sum().backward()
    assert x.grad.device == gpu


def test_random_numbers_are_the_same_on_every_device(gpu):
    def dropped(device):
        mc.manual_seed(5)
        return F.dropout(mc.ones(7, 9, device=device), 0.3).numpy()

    assert np.array_equal(dropped(gpu), dropped("cpu"))


def test_memory_is_counted_kept_and_limited(gpu):
    mc.memory.clear(gpu)
    before = mc.memory.stats(gpu)["in_use"]
    x = mc.zeros(1 << 18, device=gpu)
    assert mc.memory.stats(gpu)["in_use"] == before + (1 << 20)
    mc.memory.reset_peak(gpu)
    del x
    after = mc.memory.stats(gpu)
    assert after["in_use"] == before and after["kept"] >= 1 << 20 and after["peak"] == before + (1 << 20)
    mc.memory.set_limit(before + (1 << 20), gpu)
    try:
        assert mc.memory.stats(gpu)["kept"] <= 1 << 20
        with pytest.raises(MemoryError, match=f"{gpu}: no memory for an array of 8388608 bytes"):
            mc.zeros(1 << 21, device=gpu)
    finally:
        mc.memory.set_limit(None, gpu)
    mc.memory.clear(gpu)
    assert mc.memory.stats(gpu)["kept"] == 0


def test_the_emulators_memory_is_nobody_elses(full_speed):
    pytest.importorskip("numba_cuda")
    x = mc.ones(2, device="emulator")
    for look in (mc.from_dlpack, np.from_dlpack):
        with pytest.raises(BufferError, match="this array is on emulator"):
            look(x)
    assert not hasattr(x, "__cuda_array_interface__") and not hasattr(mc.ones(2), "__cuda_array_interface__")


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:x", "", None, 3, "CPU"])
def test_names_of_no_device(name):
    with pytest.raises(ValueError, match="expected 'cpu', 'cuda', 'cuda:N' or 'emulator'"):
        mc.ones(2, device=name)


def test_kernels_are_traced_with_their_device(gpu):
    with mc.trace_kernels() as trace:
        F.conv2d(mc.ones(1, 4, 4, 2, device=gpu), mc.ones(3, 3, 2, 2, device=gpu))
    assert [run.device for run in trace if run.kernel == "conv2d_forward"] == [gpu] and trace[-1].algorithm


def test_a_trace_names_the_kernels_that_were_launched_with_their_tiles(gpu):
    x, w, a, b = (mc.ones(shape, device=gpu) for shape in ((1, 4, 4, 2), (3, 3, 2, 2), (3, 600), (600, 2)))
    with mc.trace_kernels() as trace:
        F.conv2d(x, w)
        with mc.trace_kernels() as inner:
            a @ b  # few long sums: made in parts, which are added up
    a + 1
    assert [(run.kernel, run.launched) for run in trace] == [
        ("conv2d_forward", ("conv2d_tiles_float32_32x32_False_False_False",)),
        ("matmul", ("matmul_tiles_float32_32x32_False_False_False", "add_parts_float32"))]
    assert inner == trace[1:] and trace.launched == inner.launched == []
    assert str(inner).endswith("3x2; launched matmul_tiles_float32_32x32_False_False_False, add_parts_float32")


@pytest.mark.parametrize("program", [
    "import minicnn as mc; mc.ones(2, device='emulator')", "from minicnn.cli import main; main(['kernels', 'sgd'])"])
def test_a_numpy_that_numba_does_not_know_yet_is_told_with_what_to_install(program):
    """Numba refuses it as it is imported."""
    pytest.importorskip("numba_cuda")
    newer = f"import numpy; numpy.__version__ = '9.9.0'; {program}"
    ran = subprocess.run([sys.executable, "-c", newer], capture_output=True, text=True)
    assert re.search(r"rror: device 'emulator' can't be used: Numba needs NumPy .* Got NumPy 9\.9\. Versions that fit: "
                     r"pip install 'minicnn\[cuda\]' 'numpy<\d\S*'; device 'cpu' works", ran.stderr)


# ------------------------------------------------------------------------------------------------------------ training

OPTIMIZERS = {
    "SGD": lambda p: mc.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "plain SGD": lambda p: mc.optim.SGD(p, lr=0.1), "Adam": lambda p: mc.optim.Adam(p, lr=0.01),
    "AdamW": lambda p: mc.optim.AdamW(p, lr=0.01), "Adagrad": lambda p: mc.optim.Adagrad(p, lr=0.1),
    "RMSprop": lambda p: mc.optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
}  # fmt: skip


def small(seed=1):
    mc.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Dropout(0.2),
                         nn.Flatten(), nn.Linear(4 * 3 * 3, 2))


def batches(count=3, device="cpu"):
    rng = np.random.default_rng(2)
    return [(mc.tensor(rng.standard_normal((4, 8, 8, 3)), "float32", device),
             mc.tensor(rng.integers(0, 2, 4), device=device)) for _ in range(count)]


def assert_alike(one, other, tolerance=1e-5):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], rtol=0, atol=tolerance * max(1, np.abs(array).max()),
                                   err_msg=name)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers_take_the_steps_of_the_cpu(gpu, make):
    states = []
    for device in ("cpu", gpu):
        model = small().to(device)
        optimizer, average = make(model.parameters()), mc.optim.ExponentialMovingAverage(model, 0.5)
        for x, target in batches(3, device):
            optimizer.zero_grad()
            F.cross_entropy(model(x), target).backward()
            mc.optim.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            average.update()
        saved = optimizer.state_dict()
        again = make(model.parameters())
        again.load_state_dict(saved)
        assert all(value.device == device for state in again.state.values() for name, value in state.items()
                   if name != "step")
        arrays = {f"{i}.{name}": array for i, state in saved["state"].items() for name, array in state.items()}
        averages = {f"average of {name}": array for name, array in average.state_dict()["averages"].items()}
        states.append(model.state_dict() | arrays | averages)
    assert_alike(*states)


def test_modules_move_and_their_states_fit_everywhere(gpu, tmp_path):
    here, there = small(1), small(2).to(gpu)
    assert {p.device for p in (*there.parameters(), *there.buffers())} == {gpu}
    there.load_state_dict(here.state_dict())
    assert_alike(here.state_dict(), there.state_dict(), 0)
    model = mc.models.create("mnist_net").to(gpu)
    mc.save(model, tmp_path / "model.safetensors")
    assert_alike(model.state_dict(), mc.load(tmp_path / "model.safetensors").state_dict(), 0)
    assert copy.deepcopy(there)[0].weight.device == gpu and there.to("cpu")[0].weight.device == "cpu"
    x = batches(1)[0][0]
    with mc.no_grad():  # filters with a normalisation inside are made anew where the weights have gone
        expected = here.eval()(x).numpy()
        np.testing.assert_allclose(here.to(gpu)(x.to(gpu)).numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(here.to("cpu")(x).numpy(), expected, atol=1e-6)


def test_a_loader_delivers_there(gpu):
    data = mc.data.ArrayDataset(np.ones((5, 2, 2, 1), np.float32), np.arange(5))
    for prefetch in (0, 2):
        found = list(mc.data.DataLoader(data, batch_size=2, device=gpu, prefetch=prefetch))
        assert [x.device for batch in found for x in batch] == [gpu] * 6
        assert [labels.tolist() for _, labels in found] == [[0, 1], [2, 3], [4]]


def test_a_trainer_trains_stops_and_goes_on(gpu, tmp_path):
    def trainer(device):
        model = small().to(device)
        return mc.train.Trainer(model, loss=F.cross_entropy, optimizer=mc.optim.Adam(model.parameters(), lr=0.01),
                                average=mc.optim.ExponentialMovingAverage(model, 0.9), clip_norm=1.0,
                                metrics={"accuracy": lambda targets, outputs: np.mean(outputs.argmax(1) == targets)})

    def fit(device, epochs, **how):
        made = trainer(device)
        history = made.fit(batches(3, device), batches(1, device), epochs=epochs, **how)
        return made, [row["loss"] for row in history]

    whole, losses = fit(gpu, 2)
    fit(gpu, 1, checkpoint=tmp_path / "state")
    again, same = fit(gpu, 2, checkpoint=tmp_path / "state", resume=True)
    assert_alike(whole.model.state_dict(), again.model.state_dict(), 0)
    assert losses == same
    np.testing.assert_allclose(losses, fit("cpu", 2)[1], rtol=1e-4)
    outputs, targets = mc.train.predict(whole.model, batches(2, gpu))
    assert outputs.shape == (8, 2) and targets.shape == (8,)
    there = mc.train.evaluate(whole.model, batches(2, gpu), loss=F.cross_entropy)["loss"]
    here = mc.train.evaluate(whole.model.to("cpu"), batches(2), loss=F.cross_entropy)["loss"]
    assert there == pytest.approx(here, rel=1e-4)


def steps(device, pictures, labels, count, size):
    """The losses of some steps of the smile detector by SGD, and its weights afterwards.

    At this rate differences of rounding stay small. At 0.01 a unit of a ReLU or a maximum that goes the other way makes
    them grow: after ten steps the CPU's own algorithms for convolutions differ by 1e-3.
    """
    mc.manual_seed(0)
    model = mc.models.create("smile_detector").to(device)
    optimizer, losses = mc.optim.SGD(model.parameters(), lr=5e-4), []
    for step in range(count):
        x, y = (mc.tensor(a[step * size : (step + 1) * size], "float32", device) for a in (pictures, labels))
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(x / 255), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses), model.state_dict()


def assert_same_training(gpu, pictures, labels, count, size):
    (losses, state), (expected, other) = (steps(d, pictures, labels, count, size) for d in (gpu, "cpu"))
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-4)
    # All weights together: what the second normalisation takes away of the first one's bias gets no gradient but what
    # rounding leaves of it.
    there, here = (np.concatenate([array.ravel() for array in one.values()]) for one in (state, other))
    assert np.linalg.norm(there - here) <= 1e-4 * np.linalg.norm(here)


def test_the_smile_detector_trains_on_drawn_faces(gpu):
    data = mc.data.load_synthetic_faces(train=4, test=2).train
    pictures, labels = data.batch(np.arange(4))
    assert_same_training(gpu, pictures, labels, count=2, size=2)


@pytest.mark.slow
def test_the_smile_detector_trains_on_real_faces(gpu):
    root = os.environ.get("MINICNN_DATA")
    if not root or not (Path(root) / "smiles").is_dir():
        pytest.skip("set MINICNN_DATA to a folder that holds smiles/ to train on real faces")
    pictures, labels = mc.data.load_happy_house(Path(root) / "smiles").train.batch(np.arange(80))
    assert_same_training(gpu, pictures, labels, count=10, size=8)


@pytest.mark.parametrize("command", ["train smile", "evaluate run", "predict run picture.png"])
def test_a_device_that_can_not_be_used_is_an_error_of_its_own(run, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*command.split(), "--device", "tpu")
    assert code != 0 and out == "" and "expected 'cpu', 'cuda', 'cuda:N' or 'emulator', got 'tpu'" in err
