"""Local response normalisation: a channel is divided by what its neighbours say. Channels last."""

from functools import lru_cache

from ..tape import op
from ..tensor import Tensor
from .arguments import is_int, need_float
from .sparse import SparseMatrix, along


@lru_cache(maxsize=256)
def _neighbours(channels: int, size: int) -> SparseMatrix:
    """The matrix that gives each channel the mean of the `size` channels around it, those beyond the ends being 0."""
    around = [range(max(0, c - size // 2), min(channels, c + (size - 1) // 2 + 1)) for c in range(channels)]
    return SparseMatrix.of_rows(channels, [(window, [1 / size] * len(window)) for window in around])


@op
def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """y = x / (k + alpha * mean)^beta, where mean is that of the squares in `size` channels around each one.

    x: (N, ..., C) -> the same. Channels beyond the first and the last count as 0; an even size reaches further to the
    left. Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks", section 3.3, where
    alpha goes with the sum: their alpha = 1e-4 with size 5 is alpha = 5e-4 here, as in PyTorch.

    >>> import minicnn as mc
    >>> x = mc.tensor([[[3.0, 0.0, 3.0]]])
    >>> mc.nn.functional.local_response_norm(x, size=1, alpha=1.0, beta=0.5, k=7.0).numpy().ravel().tolist()
    [0.75, 0.0, 0.75]
    """
    name = "local_response_norm"
    need_float(name, x=x)
    if x.ndim < 3:
        raise ValueError(f"{name}: x must have shape (N, ..., C) with at least one spatial axis, got {x.shape}")
    if not is_int(size) or size < 1:
        raise ValueError(f"{name}: size must be a positive int, got {size!r}")
    mean = along(x * x, x.ndim - 1, _neighbours(x.shape[-1], int(size)))
    return x / (mean * alpha + k) ** beta
