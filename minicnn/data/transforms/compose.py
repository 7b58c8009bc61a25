"""Several transforms as one."""

from collections.abc import Sequence

import numpy as np

from ..loader import Batch, Transform


class Compose:
    """Applies transforms one after the other, each with the same generator: `Compose(a, b)` or `Compose([a, b])`.

    >>> import numpy as np
    >>> from minicnn.data.transforms import Compose, Normalize, ToFloat
    >>> prepare = Compose(ToFloat(), Normalize(mean=[0.5], std=[0.5]))
    >>> batch = np.full((2, 28, 28, 1), 255, np.uint8), np.array([3, 8])
    >>> pictures, labels = prepare(batch, np.random.default_rng(0))
    >>> float(pictures.max()), labels.tolist()
    (1.0, [3, 8])
    """

    def __init__(self, *transforms: Transform | Sequence[Transform]) -> None:
        first = transforms[0] if len(transforms) == 1 else None
        given = first if isinstance(first, tuple | list) else transforms
        for position, transform in enumerate(given):
            if not callable(transform):
                raise TypeError(f"Compose: argument {position} must be a transform, got {transform!r}")
        self.transforms: tuple[Transform, ...] = tuple(given)  # type: ignore[arg-type]

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        for transform in self.transforms:
            batch = transform(batch, generator)
        return batch

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"
