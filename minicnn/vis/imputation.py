"""Pixels filled in from their neighbours, so that hardly anything tells which they were."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: A pixel's neighbours (down, right) and their shares in it (Rong et al. 2022, section 4.3).
NEIGHBOURS = tuple(((down, right), 1 / 6 if 0 in (down, right) else 1 / 12)
                   for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))


def impute(picture: np.ndarray, missing: np.ndarray, noise: float, random: np.random.Generator) -> np.ndarray:
    """The picture (H, W, C) with the pixels where `missing` (H, W) is true filled in: noisy linear imputation of Rong
    et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods" (2022), section 4.3.

    Each missing pixel becomes the weighted mean of its eight neighbours (those within the picture), missing ones
    included: a sparse system of linear equations. Then Gaussian noise of the standard deviation `noise` is added to
    them. At least one pixel must be there.

    >>> row = np.array([0.0, 0.0, 3.0]).reshape(1, 3, 1)
    >>> impute(row, np.array([[False, True, False]]), 0.0, np.random.default_rng(0)).ravel().tolist()
    [0.0, 1.5, 3.0]
    """
    from scipy.sparse.linalg import splu

    gone = np.flatnonzero(missing)
    filled = picture.reshape(-1, picture.shape[-1]).copy()
    if not len(gone):
        return filled.reshape(picture.shape)
    if len(gone) == len(filled):
        raise ValueError("impute: all pixels are missing, there is nothing to fill them from")
    rows = _laplacian(*missing.shape)[gone]
    there = np.flatnonzero(~missing.ravel())
    known = -(rows[:, there] @ filled[there].astype(np.float64))
    filled[gone] = splu(rows[:, gone].tocsc(), permc_spec="MMD_AT_PLUS_A").solve(known)
    filled[gone] += random.normal(0, noise, (len(gone), picture.shape[-1]))
    return filled.reshape(picture.shape)


@lru_cache(maxsize=8)
def _laplacian(height: int, width: int) -> "csr_array":
    """The sparse matrix (pixels, pixels) whose product with a picture is each pixel, times the sum of its neighbours'
    shares, less its neighbours by their shares."""
    from scipy.sparse import csr_array

    rows, columns, shares = [], [], []
    number = np.arange(height * width).reshape(height, width)
    for (down, right), share in NEIGHBOURS:
        own = number[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)].ravel()
        rows += [own, own]
        columns += [own, own + down * width + right]
        shares += [np.full(own.size, share), np.full(own.size, -share)]
    entries = np.concatenate(shares), (np.concatenate(rows), np.concatenate(columns))
    return csr_array(entries, shape=(number.size, number.size))
