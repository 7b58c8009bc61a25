"""Wrong indices on a device: nothing is read or written through them, and whoever reads an array next is told."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba.cuda", reason="the GPU's kernels need numba-cuda")

import minicnn as mc  # noqa: E402
from minicnn.kernels import cuda  # noqa: E402
from minicnn.kernels.cuda import faults  # noqa: E402
from minicnn.kernels.cuda.devices import open_device  # noqa: E402
from minicnn.kernels.cuda.emulated import mode  # noqa: E402
from minicnn.kernels.cuda.memory import DeviceArray, empty, to_device, to_numpy  # noqa: E402

F = mc.nn.functional
EMULATOR = open_device("emulator")


def there(array: Any) -> DeviceArray:
    return to_device(np.asarray(array), EMULATOR)


def find() -> None:
    """Read an array that has nothing to do with what is wrong."""
    to_numpy(there(1.0))


def test_the_first_wrong_index_of_the_first_call_is_named() -> None:
    index = np.zeros((30, 40), np.int64)
    index[20, 7], index[29, 0], index[20, 8] = 5, -1, 2**40
    cuda.check_indices(there(index), 4, "first")
    cuda.check_indices(there([-7]), 4, "second")
    with pytest.raises(IndexError, match=r"first: index\[20, 7\] is 5, expected 0 to 3"):
        find()
    find()  # once is enough


@pytest.mark.parametrize(("index", "length", "ignore", "wrong"), [
    ([], 0, None, False), ([0, 0], 0, None, True), ([-100, -100], 0, -100, False), ([0, -1, 5], 6, None, True),
    ([0, -1, 5], 6, -1, False), ([2**32], 1, None, True), ([-2**63], 2**32 - 1, None, True)])
def test_what_is_an_index(index: list[int], length: int, ignore: int | None, wrong: bool) -> None:
    cuda.check_indices(there(np.array(index, np.int64)), length, "op", ignore)
    if wrong:
        with pytest.raises(IndexError):
            find()
    find()


@pytest.mark.parametrize("values", [[], [0, 1, -0.0, 0.5], [0.5, 1.001], [-1e-9, 0.5], [0.5] * 300 + [np.nan]], ids=len)
def test_what_is_a_probability(values: list[float]) -> None:
    with mode("checked"):
        cuda.check_probabilities(there(values), "op")
    if not all(0 <= value <= 1 for value in values):
        with pytest.raises(ValueError, match="op: input must be probabilities from 0 to 1"):
            find()
    find()


CALLS = {
    "take": lambda x, index: ("take", x, index[0, :, 0], x.shape),
    "pick": lambda x, index: ("pick", x, index[:, 0], index[:, 0].shape),
    "gather": lambda x, index: ("gather", x, index, index.shape),
    "take_grad": lambda x, index: ("take_grad", x, index[0, :, 0], (2, 4, 4), 4),
    "pick_grad": lambda x, index: ("pick_grad", x[:, 0], index[:, 0], (2, 4, 4), 4),
    "scatter": lambda x, index: ("scatter", x, index, (2, 4, 4), 4, False),
    "scatter_add": lambda x, index: ("scatter", x, index, (2, 4, 4), 4, True),
    "blend": lambda x, index: ("blend", x[0], index[0, :, 0], x[0].shape),
}


@pytest.mark.parametrize("wrong", [-1, 4, 2**33])
@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_read_or_written_through_a_wrong_index(call: str, wrong: int) -> None:
    """The emulator would stop at an access outside of an array."""
    x, index = np.ones((2, 4, 4)), np.zeros((2, 4, 4), np.int64)
    index[0, 0, 0] = wrong
    name, x, index, shape, *params = CALLS[call](x, index)
    y = empty(shape, np.float64, EMULATOR)
    with mode("checked"):
        arrays = [there(x), there(index), *([there(np.ones(len(index)))] if name == "blend" else []), y]
        cuda.kernel(name)(*arrays, *params)
    with pytest.raises(IndexError, match=rf"{name}: index\[[0, ]+\] is {wrong}, expected 0 to 3"):
        to_numpy(y)


def test_an_index_into_nothing() -> None:
    y = empty((1, 2, 3), np.float32, EMULATOR)
    with mode("checked"):
        cuda.kernel("take")(there(np.ones((1, 0, 3), np.float32)), there([0, 0]), y)
        with pytest.raises(IndexError, match="expected 0 to -1"):
            find()
        cuda.kernel("take")(there(np.ones((1, 3, 0))), there([0, 3]), empty((1, 2, 0), np.float64, EMULATOR))
        with pytest.raises(IndexError, match=r"index\[1\] is 3, expected 0 to 2"):
            find()


@pytest.mark.parametrize("start", [[1, 1, 2], [0, 2, 1], [0, 1, 3], [0, 3, 2], [-1, 1, 2], [0, -2, 2], [0, 2**32, 2],
                                   [0, 1, 1]])
@pytest.mark.parametrize("columns", [2, 4])
def test_sparse_rows_must_follow_each_other(start: list[int], columns: int) -> None:
    y = empty((1, 2, columns), np.float64, EMULATOR)
    with mode("checked"):
        cuda.kernel("csr_matmul")(there(np.ones((1, 3, columns))), there(start), there([0, 1]), there(np.ones(2)), y)
    with pytest.raises(ValueError, match="rise from 0 to 2"):
        to_numpy(y)


@pytest.mark.parametrize("columns", [2, 4])
def test_sparse_columns_must_be_there(columns: int) -> None:
    x, y = there(np.ones((1, 3, columns))), empty((1, 2, columns), np.float64, EMULATOR)
    with mode("checked"):
        cuda.kernel("csr_matmul")(x, there([0, 1, 2]), there([0, 3]), there(np.ones(2)), y)
    with pytest.raises(IndexError, match=r"csr_matmul: index\[1\] is 3, expected 0 to 2"):
        to_numpy(y)


def test_a_thousand_checks_keep_few_arrays_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    find()
    before = EMULATOR.allocator.in_use
    for _ in range(3 * faults.MOST_ASKED):
        cuda.check_indices(there(np.zeros(1000, np.int64)), 1, "op")
    assert EMULATOR.allocator.in_use - before <= 8192 * (faults.MOST_ASKED + 1)
    find()
    assert EMULATOR.allocator.in_use == before


def test_few_long_columns_are_added_up_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from minicnn.kernels.cuda import indexing

    launched = []
    launch = indexing.launch
    monkeypatch.setattr(indexing, "launch", lambda variant, *a: (launched.append(a[0]), launch(variant, *a)))
    x, index = np.random.default_rng(0).normal(size=(1, 4000, 1)), np.arange(4000).reshape(1, 4000, 1) % 7
    y = empty((1, 7, 1), np.float64, EMULATOR)
    cuda.kernel("scatter")(there(x), there(index), y, 7, True)
    np.testing.assert_allclose(to_numpy(y)[0, :, 0], [x[index == place].sum() for place in range(7)], rtol=1e-12)
    assert launched[-1] == (1, 250)


# ---------------------------------------------------------------------------------------------- through the package


LOSSES = {
    "cross_entropy": lambda x, t: F.cross_entropy(x, t),
    "nll_loss": lambda x, t: F.nll_loss(x, t),
    "multi_margin_loss": lambda x, t: F.multi_margin_loss(x, t),
    "cross_entropy smoothed": lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_name_themselves(loss: str, full_speed: None) -> None:
    x, target = mc.zeros(3, 4, device="emulator", requires_grad=True), mc.tensor([0, 4, 1], device="emulator")
    value = LOSSES[loss](x, target)
    value.backward()
    with pytest.raises(IndexError, match=rf"{loss.split()[0]}: index\[1\] is 4, expected 0 to 3"):
        value.item()


def test_probabilities_beyond_1(full_speed: None) -> None:
    for wrong in (1.5, -0.1, float("nan")):
        loss = F.binary_cross_entropy(mc.tensor([0.5, wrong], device="emulator"), mc.ones(2, device="emulator"))
        with pytest.raises(ValueError, match="binary_cross_entropy: input must be probabilities from 0 to 1"):
            loss.item()


@pytest.mark.parametrize("target", [[0, 2, 1], [-100, 2, -100], [-100] * 3])
def test_the_mean_is_over_the_rows_that_count(target: list[int], full_speed: None) -> None:
    scores = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    found = []
    for device in ("cpu", "emulator"):
        x = mc.tensor(scores, device=device, requires_grad=True)
        loss = F.cross_entropy(x, mc.tensor(target, device=device))
        loss.backward()
        found.append((loss.item(), x.grad.numpy()))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-6)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-6, atol=1e-8)
