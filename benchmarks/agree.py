"""Do two sides compute the same? Asked before anything is timed."""

import numpy as np

TOLERANCE = 1e-3  # in float32: relative, of losses; of the largest value, of outputs
DOUBLE_TOLERANCE = 1e-6  # in float64


class Disagreement(RuntimeError):
    """The sides give different results, so that their times can't be compared."""


def same_losses(ours: list[float], theirs: list[float], tolerance: float = TOLERANCE) -> float:
    """The largest relative difference of the losses of the first steps; of a loss that is less than the first, as it
    was learned away and is only rounding, relative to that. Disagreement if it is over the tolerance."""
    sizes = np.maximum(np.abs(theirs), abs(theirs[0]))
    found = float(np.max(np.abs(np.subtract(ours, theirs)) / sizes))  # nan if one is, unlike max()
    if not found <= tolerance:  # so that nan is refused
        raise Disagreement(f"the losses differ: {_written(ours)} here, {_written(theirs)} there")
    return found


def same_arrays(what: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference over the largest value; Disagreement if it is over TOLERANCE or the shapes differ."""
    if ours.shape != theirs.shape:
        raise Disagreement(f"the shapes of {what} differ: {ours.shape} here, {theirs.shape} there")
    found = float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), np.finfo(np.float32).tiny))
    if not found <= TOLERANCE:
        raise Disagreement(f"{what} differ by {found:.1e} of the largest value")
    return found


def _written(losses: list[float]) -> str:
    return ", ".join(f"{loss:.5f}" for loss in losses)
