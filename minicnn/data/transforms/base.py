"""What the transforms of pictures share: the checks of a batch and the text that describes them."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from ..loader import Batch


class BatchTransform(ABC):
    """Changes a batch. A subclass keeps what it was made with in `arguments`, which its `repr` shows."""

    dtypes: ClassVar[tuple[str, ...]] = ("float32",)  # that the pictures may have; (): any
    arguments: dict[str, Any]

    @abstractmethod
    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch: ...

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"

    def _pictures(self, batch: Batch, generator: np.random.Generator) -> np.ndarray:
        """The pictures of a batch, once all is found to be in order."""
        name = type(self).__name__
        if not isinstance(batch, tuple) or not batch or not isinstance(batch[0], np.ndarray):
            got = f"a tuple of {[type(part).__name__ for part in batch]}" if isinstance(batch, tuple) else batch
            raise TypeError(f"{name}: batch must be a tuple of arrays, the pictures first, got {got!r:.80}")
        if not isinstance(generator, np.random.Generator):
            raise TypeError(f"{name}: generator must be a numpy.random.Generator, got {generator!r:.80}")
        pictures = batch[0]
        if pictures.ndim != 4 or 0 in pictures.shape[1:]:
            raise ValueError(f"{name}: pictures must have shape (N, H, W, C), got {pictures.shape}")
        if self.dtypes and pictures.dtype not in self.dtypes:
            hint = "; put ToFloat() before it" if pictures.dtype == np.uint8 else ""
            raise TypeError(f"{name}: pictures must be {' or '.join(self.dtypes)}, got {pictures.dtype}{hint}")
        return pictures


class PictureTransform(BatchTransform):
    """Changes the pictures of a batch and lets its other arrays through. A subclass overrides `change`."""

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """The batch with changed pictures. TypeError or ValueError if it is no batch of pictures (N, H, W, C)."""
        return self.change(self._pictures(batch, generator), generator), *batch[1:]

    @abstractmethod
    def change(self, pictures: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """New pictures in place of `pictures` (N, H, W, C), which is left as it was."""
