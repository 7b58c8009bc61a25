"""Do two sides compute the same? Asked before anything is timed."""

import numpy as np

TOLERANCE = 1e-3  # in float32: of a loss, or of 1 where that is less; of the largest value of outputs
DOUBLE_TOLERANCE = 1e-6  # in float64


class Disagreement(RuntimeError):
    """The sides give different results, so that their times can't be compared."""


def same_losses(ours: list[float], theirs: list[float], tolerance: float = TOLERANCE) -> float:
    """The largest difference of the losses of the first steps, relative to a loss, or to 1 if it is less: a loss that
    was learned away is only rounding. Disagreement if it is over the tolerance."""
    found = float(np.max(np.abs(np.subtract(ours, theirs)) / np.maximum(np.abs(theirs), 1)))  # nan if one is
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
