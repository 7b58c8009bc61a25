"""Random numbers: one seed and one place in its stream, saved with checkpoints.

The stream (Philox, see kernels/contracts.py) is a function of the seed and the place alone, so the same seed gives the
same weights and dropout masks on every device and for any number of threads.
"""

import numpy as np

from .dispatch import dispatch
from .ops.arguments import is_int

_seed = 0
_offset = 0


def manual_seed(seed: int) -> None:
    """Start the stream of `seed` (0 to 2^64 - 1, or ValueError): the same seed gives the same weights and dropout
    masks, on every device and for any number of threads.

    >>> import minicnn as mc
    >>> mc.manual_seed(7)
    >>> weight = mc.nn.Linear(2, 3).weight.tolist()
    >>> mc.manual_seed(7)
    >>> mc.nn.Linear(2, 3).weight.tolist() == weight
    True
    """
    global _seed, _offset
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 64:
        raise ValueError(f"manual_seed: expected an int from 0 to 2**64 - 1, got {seed!r}")
    _seed, _offset = int(seed), 0


def get_state() -> tuple[int, int]:
    """(seed, place in the stream): for set_state.

    >>> import minicnn as mc
    >>> before = mc.random.get_state()
    >>> first = mc.random.uniform((2, 3))
    >>> mc.random.set_state(before)
    >>> (mc.random.uniform((2, 3)) == first).all().item()
    True
    """
    return _seed, _offset


def set_state(state: tuple[int, int]) -> None:
    """Go on from what get_state gave."""
    global _seed, _offset
    if len(state) != 2 or not all(is_int(part) and 0 <= part < 1 << 64 for part in state):
        raise ValueError(f"set_state: expected a seed and a place from 0 to 2**64 - 1, got {state!r:.80}")
    _seed, _offset = int(state[0]), int(state[1])


def draw(count: int) -> tuple[int, int]:
    """Reserve `count` words of the stream: (seed, offset of the first)."""
    global _offset
    first = _offset
    _offset += (count + 3) // 4 * 4  # draws begin at whole Philox blocks
    return _seed, first


def bits(count: int) -> np.ndarray:
    """The next `count` random words, uint32."""
    seed, offset = draw(count)
    return dispatch("random_bits", device="cpu", count=count, seed=seed, offset=offset)


def uniform(shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """float64 numbers from low (included) to high (excluded), an array of that shape."""
    unit = bits(int(np.prod(shape, dtype=np.int64))).reshape(shape) * 2.0**-32
    return low + (high - low) * unit


def normal(shape: tuple[int, ...], mean: float = 0.0, std: float = 1.0) -> np.ndarray:
    """float64 normal numbers, an array of that shape, by Box and Muller (1958): two uniform words make one number."""
    radius = np.sqrt(-2 * np.log1p(-uniform(shape)))
    return mean + std * radius * np.cos(2 * np.pi * uniform(shape))
