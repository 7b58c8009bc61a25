"""DataLoader: order, batches, the thread that prepares them, and the errors."""

import contextlib
import gc
import threading
import time
import traceback
import weakref

import numpy as np
import pytest

from minicnn.data import ArrayDataset, DataLoader, Dataset, transforms
from minicnn.tensor import Tensor

PREFETCH = [0, 1, 2, 7]


def numbers(count=10):
    return ArrayDataset(np.arange(count, dtype=np.float32).reshape(count, 1), np.arange(count))


def labels(loader):
    return [y.numpy().tolist() for _, y in loader]


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "minicnn-loader"]


def wait_until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    return condition()


class Slow(Dataset):
    """Counts how many samples have been asked for."""

    def __init__(self, count=1000, fails_at=None):
        self.count, self.fails_at, self.asked = count, fails_at, 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.asked += 1
        if index == self.fails_at:
            raise LookupError("no sample here")
        return (np.array([index]),)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert wait_until(lambda: not threads())


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_batches_are_tensors_in_order(prefetch):
    loader = DataLoader(numbers(), batch_size=4, prefetch=prefetch)
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert all(isinstance(part, Tensor) for batch in batches for part in batch)
    assert [x.shape for x, _ in batches] == [(4, 1), (4, 1), (2, 1)]
    assert batches[0][0].dtype == np.float32 and batches[0][1].dtype == np.int64
    assert [y.numpy().tolist() for _, y in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize(("count", "size", "drop_last", "expected"), [
    (10, 4, True, 2), (10, 4, False, 3), (8, 4, True, 2), (8, 4, False, 2), (3, 4, True, 0), (3, 4, False, 1),
    (0, 4, False, 0), (5, 1, False, 5),
])
def test_length(count, size, drop_last, expected):
    loader = DataLoader(numbers(count), batch_size=size, drop_last=drop_last)
    assert len(loader) == len(list(loader)) == expected


def test_shuffling_is_a_function_of_seed_and_epoch():
    def epochs(seed, prefetch):
        loader = DataLoader(numbers(50), batch_size=8, shuffle=True, seed=seed, prefetch=prefetch)
        return [labels(loader) for _ in range(3)]

    first = epochs(3, 0)
    assert all(epochs(3, prefetch) == first for prefetch in PREFETCH)
    assert all(sorted(sum(epoch, [])) == list(range(50)) for epoch in first)
    assert first[0] != first[1] != first[2]
    assert epochs(4, 0)[0] != first[0]


def test_the_shuffle_does_not_touch_or_follow_numpys_global_state():
    np.random.seed(1)
    before = np.random.get_state()[1].tolist()
    first = labels(DataLoader(numbers(), shuffle=True, seed=5))
    np.random.seed(2)
    assert labels(DataLoader(numbers(), shuffle=True, seed=5)) == first
    np.random.seed(1)
    assert np.random.get_state()[1].tolist() == before


def test_epochs_count_up_and_can_be_set():
    loader = DataLoader(numbers(30), batch_size=30, shuffle=True)
    runs = [labels(loader) for _ in range(3)]
    assert loader.epoch == 3
    loader.set_epoch(1)
    assert labels(loader) == runs[1]
    assert labels(loader) == runs[2]
    assert [loader.order(1).tolist()] == runs[1]


def test_two_loops_at_once_do_not_disturb_each_other():
    loader = DataLoader(numbers(20), batch_size=3, shuffle=True)
    expected = [labels(loader), labels(loader)]
    loader.set_epoch(0)
    first, second = iter(loader), iter(loader)
    pairs = [(a[1].numpy().tolist(), b[1].numpy().tolist()) for a, b in zip(first, second, strict=True)]
    assert [list(part) for part in zip(*pairs, strict=True)] == expected


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_a_transform_gets_random_numbers_of_its_own(prefetch):
    def jitter(batch, generator):
        x, y = batch
        return x + generator.normal(size=x.shape).astype(np.float32), y

    def run(seed=0):
        loader = DataLoader(numbers(), batch_size=4, seed=seed, transform=jitter, prefetch=prefetch)
        return [np.concatenate([x.numpy() for x, _ in loader])[:, 0] - np.arange(10) for _ in range(2)]

    first, second = run()
    expected = DataLoader(numbers(), batch_size=4, transform=jitter, prefetch=0)
    np.testing.assert_array_equal(first, np.concatenate([x.numpy() for x, _ in expected])[:, 0] - np.arange(10))
    assert np.unique(np.round(np.concatenate([first, second, run(seed=1)[0]]), 3)).size > 25


def test_kernels_run_in_the_thread_while_others_run_in_the_loop():
    """Neither side gets memory that the other still uses: all arrays here have one size, so they take turns in it."""
    data = ArrayDataset(np.random.default_rng(0).random((64, 8, 8, 3), np.float32))
    chain = transforms.Compose(transforms.RandomHorizontalFlip(), transforms.RandomRotation(30))
    alone, beside = (DataLoader(data, 8, shuffle=True, prefetch=prefetch, transform=chain) for prefetch in (0, 2))
    for _ in range(10):
        for (expected,), (got,) in zip(alone, beside, strict=True):
            products = [got * factor for factor in range(20)]
            assert np.array_equal(got.numpy(), expected.numpy())
            for factor, product in enumerate(products):
                assert np.array_equal(product.numpy(), expected.numpy() * np.float32(factor))


def test_prefetching_stays_within_its_bound():
    data = Slow()
    batches = iter(DataLoader(data, batch_size=1, prefetch=3))
    next(batches)
    assert wait_until(lambda: data.asked == 4)  # one taken, three ready
    time.sleep(0.02)
    assert data.asked == 4
    batches.close()


def test_without_prefetching_nothing_is_prepared():
    data = Slow()
    batches = iter(DataLoader(data, prefetch=0))
    assert data.asked == 0 and not threads()
    next(batches)
    assert data.asked == 1 and not threads()


def test_leaving_the_loop_early_ends_the_thread():
    data = Slow()
    for number, _ in enumerate(DataLoader(data, prefetch=4)):
        if number == 2:
            break
    assert not threads()  # at once, not some time later
    assert data.asked < 10


def test_a_dropped_iterator_frees_everything():
    data = Slow()
    loader = DataLoader(data, prefetch=2)
    batches = iter(loader)
    next(batches)
    assert threads()
    left = weakref.ref(data), weakref.ref(loader), weakref.ref(batches)
    del data, loader, batches
    assert not threads()
    assert [ref() for ref in left] == [None] * 3  # by counting references: no garbage collection has run


def test_an_iterator_in_a_garbage_cycle_is_freed():
    batches = iter(DataLoader(Slow()))
    next(batches)
    cycle = {"batches": batches}
    cycle["itself"] = cycle
    del batches, cycle
    gc.collect()
    assert not threads()


def test_an_iterator_never_started_starts_no_thread():
    iter(DataLoader(Slow()))
    assert not threads()


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_an_error_is_raised_where_the_batch_is_asked_for(prefetch):
    got = []
    with pytest.raises(LookupError, match="no sample here") as caught:
        for (x,) in DataLoader(Slow(fails_at=5), batch_size=2, prefetch=prefetch):
            got.append(x.numpy().ravel().tolist())
    assert got == [[0, 1], [2, 3]]
    assert "__getitem__" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert not threads()


def test_an_error_leaves_no_reference_cycle():
    data = Slow(fails_at=0)
    left = weakref.ref(data)
    with contextlib.suppress(LookupError):
        next(iter(DataLoader(data)))
    del data
    assert left() is None


def test_stop_iteration_in_a_data_set_is_an_error_and_not_the_end():
    class Stops(Slow):
        def __getitem__(self, index):
            raise StopIteration

    for prefetch in PREFETCH:
        with pytest.raises(RuntimeError, match="StopIteration"):
            list(DataLoader(Stops(), prefetch=prefetch))


def test_a_list_of_tuples_is_a_data_set():
    ((x, y),) = DataLoader([(np.zeros(3), 1), (np.ones(3), 0)], batch_size=2)
    assert x.shape == (2, 3) and y.numpy().tolist() == [1, 0]


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    ({"batch_size": 2.0}, TypeError, "batch_size must be an int, got 2.0"),
    ({"batch_size": True}, TypeError, "batch_size must be an int, got True"),
    ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ({"seed": "0"}, TypeError, "seed must be an int"),
    ({"seed": None}, TypeError, "seed must be an int"),
    ({"prefetch": -1}, ValueError, "prefetch must be at least 0"),
    ({"prefetch": None}, TypeError, "prefetch must be an int"),
    ({"shuffle": "no"}, TypeError, "shuffle must be True or False"),
    ({"drop_last": 1}, TypeError, "drop_last must be True or False"),
    ({"transform": 3}, TypeError, "transform must be a function, got int"),
    ({"device": "quantum"}, ValueError, "device"),
    ({"dataset": 3}, TypeError, "dataset must have a length and items, got int"),
    ({"dataset": iter([1])}, TypeError, "dataset must have a length"),
])
def test_wrong_arguments_are_refused_at_once(arguments, error, message):
    with pytest.raises(error, match=message):
        DataLoader(**{"dataset": numbers(), **arguments})


def test_wrong_epochs_are_refused():
    loader = DataLoader(numbers())
    with pytest.raises(ValueError, match="epoch must be at least 0"):
        loader.set_epoch(-1)
    with pytest.raises(TypeError, match="epoch must be an int"):
        loader.set_epoch(0.5)


def test_a_transform_must_return_a_tuple():
    with pytest.raises(TypeError, match="transform must return a tuple of arrays, got ndarray"):
        list(DataLoader(numbers(), transform=lambda batch, generator: batch[0]))
