"""DataLoader: goes over a data set in batches of Tensors, shuffled and prepared ahead of their use."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

import numpy as np

from ..device import resolve
from ..tensor import Tensor, tensor
from .dataset import Samples, take

Batch = tuple[np.ndarray, ...]
Tensors = tuple[Tensor, ...]
Transform = Callable[[Batch, np.random.Generator], Batch]


class DataLoader:
    """Batches of a data set, as tuples of Tensors, one Tensor (B, ...) for each field of a sample.

    Each `for batch in loader` is one epoch. The order of the samples follows from `seed` and the number of the epoch
    alone, and so do the random numbers of `transform`: whatever `prefetch` is, the batches are the same bit for bit.

    dataset: a Dataset, or anything with a length and samples by index.
    batch_size: samples in a batch; of those left over, the last batch is made, unless `drop_last` leaves them out.
    shuffle: a new order in each epoch instead of the data set's own.
    prefetch: how many batches a thread prepares ahead; 0 prepares each when it is asked for, without a thread.
    transform: called as `transform(batch, generator)` with a tuple of arrays and a NumPy random generator of this
        batch's own; returns the tuple of arrays to use instead. This is where augmentation goes.
    device: where the Tensors live.

    An error while a batch is prepared is raised where the batch is asked for. Leaving the loop early ends the thread.

    >>> import minicnn as mc
    >>> import numpy as np
    >>> data = mc.data.ArrayDataset(np.zeros((10, 32, 32, 3), np.float32), np.arange(10))
    >>> [labels.tolist() for pictures, labels in mc.data.DataLoader(data, batch_size=4)]
    [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    """

    def __init__(self, dataset: Samples, batch_size: int = 1, shuffle: bool = False, seed: int = 0,
                 drop_last: bool = False, prefetch: int = 2, transform: Transform | None = None,
                 device: str = "cpu") -> None:
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(f"DataLoader: dataset must have a length and items, got {type(dataset).__name__}")
        if transform is not None and not callable(transform):
            raise TypeError(f"DataLoader: transform must be a function, got {type(transform).__name__}")
        resolve(device)
        self.dataset = dataset
        self.batch_size = _whole("batch_size", batch_size, at_least=1)
        self.shuffle = _truth("shuffle", shuffle)
        self.seed = _whole("seed", seed, at_least=0)
        self.drop_last = _truth("drop_last", drop_last)
        self.prefetch = _whole("prefetch", prefetch, at_least=0)
        self.transform = transform
        self.device = device
        self.epoch = 0  # the number of the epoch that the next loop goes over,
        self.first = 0  # and of the batch that it begins with

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def set_epoch(self, epoch: int, batch: int = 0) -> None:
        """The next loop goes over this epoch, the one after over the following, and so on.

        batch: how many of the epoch's batches the next loop leaves out; with it a training goes on where it stopped.
            ValueError if it has fewer.
        """
        epoch, first = _whole("epoch", epoch, at_least=0), _whole("batch", batch, at_least=0)
        if first > len(self):
            raise ValueError(f"DataLoader: an epoch has {len(self)} batches, got batch {first} to begin with")
        self.epoch, self.first = epoch, first

    def __iter__(self) -> Iterator[Tensors]:
        epoch, first = self.epoch, self.first
        self.epoch, self.first = epoch + 1, 0
        return self._tensors(epoch, first)

    def order(self, epoch: int) -> np.ndarray:
        """The positions (len(dataset),) of the samples in the order in which an epoch goes over them."""
        if not self.shuffle:
            return np.arange(len(self.dataset))
        return self._generator(0, epoch).permutation(len(self.dataset))

    def _generator(self, *stream: int) -> np.random.Generator:
        """A generator for one purpose; different streams are independent of each other."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=stream)))

    def _tensors(self, epoch: int, first: int) -> Generator[Tensors, None, None]:
        batches = self._batches(epoch, first)
        with closing(_prefetched(batches, self.prefetch) if self.prefetch else batches) as batches:
            yield from batches

    def _batches(self, epoch: int, first: int) -> Generator[Tensors, None, None]:
        order = self.order(epoch)
        for number in range(first, len(self)):
            batch = take(self.dataset, order[number * self.batch_size : (number + 1) * self.batch_size])
            if self.transform is not None:
                batch = self.transform(batch, self._generator(1, epoch, number))
                if not isinstance(batch, tuple):
                    raise TypeError(f"DataLoader: transform must return a tuple of arrays, got {type(batch).__name__}")
            # The copies too are made ahead of their use. They and a transform's kernels may share the memory pool with
            # the thread that trains: the interpreter's lock is held while memory is handed out.
            yield tuple(tensor(array, device=self.device) for array in batch)


def _whole(name: str, value: Any, at_least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"DataLoader: {name} must be an int, got {value!r}")
    if value < at_least:
        raise ValueError(f"DataLoader: {name} must be at least {at_least}, got {value}")
    return int(value)


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"DataLoader: {name} must be True or False, got {value!r}")
    return bool(value)


class _End:
    """What the thread sends last: nothing, or the error that ended it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def _prefetched(batches: Generator[Tensors, None, None], ahead: int) -> Generator[Tensors, None, None]:
    """The same batches, prepared by a thread that is at most `ahead` of them in front.

    The thread waits for one of `ahead` slots before each batch; taking a batch frees its slot. To end the thread early
    it is given a slot after `stop` is set, so it needs no timeout to notice. It does not know this generator, so that
    dropping the generator (as leaving a loop does) runs the `finally` below.
    """
    slots, ready, stop = threading.Semaphore(ahead), queue.SimpleQueue[Tensors | _End](), threading.Event()
    # A daemon, for a loop that is never finished must not keep the interpreter from exiting.
    thread = threading.Thread(target=_prepare, args=(batches, slots, ready, stop), name="minicnn-loader", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            slots.release()
            yield item
        if item.error is not None:
            try:
                raise item.error
            finally:
                del item  # the error holds this frame: if the frame held the error, neither would be freed
    finally:
        stop.set()
        slots.release()
        if thread is not threading.current_thread():  # the garbage collector may run this in any thread
            thread.join()


def _prepare(batches: Generator[Tensors, None, None], slots: threading.Semaphore,
             ready: "queue.SimpleQueue[Tensors | _End]", stop: threading.Event) -> None:
    """What the thread does."""
    try:
        with closing(batches):
            while slots.acquire() and not stop.is_set():
                ready.put(next(batches))
    except StopIteration:
        ready.put(_End())
    except BaseException as error:
        ready.put(_End(error))
