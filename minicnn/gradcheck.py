"""Gradients held against numeric differences, first and second order."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .tape import grad
from .tensor import Tensor, tensor

_RNG_SEED = 0


def gradcheck(
    function: Callable[..., Any],
    inputs: Tensor | Sequence[Tensor],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare the gradients of `function` with central differences, element by element.

    inputs: float64 tensors, at least one requiring a gradient. The outputs are weighted by fixed random numbers, so
    that errors can't cancel. True if |numeric - tape| <= atol + rtol * |numeric| everywhere; else an AssertionError
    that names input and element, or False if not raise_exception.

    >>> import minicnn as mc
    >>> x = mc.tensor([1.0, 2.0, 3.0], dtype="float64", requires_grad=True)
    >>> mc.gradcheck(lambda x: x.exp() * x, x)
    True
    >>> mc.gradcheck(lambda x: x.detach() * x, x, raise_exception=False)  # the tape knows of one factor only
    False
    """
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, t in enumerate(tensors) if t.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")
    for i in checked:
        if tensors[i].dtype != np.float64:
            raise TypeError(
                f"gradcheck: inputs[{i}] must be float64, got {tensors[i].dtype}: differences need its precision"
            )
    weights = _weights(function, tensors)
    outputs = _outputs(function, tensors)
    pairs = [(o, tensor(w, device=o.device)) for o, w in zip(outputs, weights, strict=True) if o.requires_grad]
    targets = [tensors[i] for i in checked]
    analytic = (
        grad([o for o, _ in pairs], targets, [w for _, w in pairs], allow_unused=True)
        if pairs
        else [None] * len(targets)
    )
    for i, gradient in zip(checked, analytic, strict=True):
        numeric = _differences(function, tensors, i, weights, eps)
        found = np.zeros_like(numeric) if gradient is None else gradient.numpy()
        message = _mismatch(i, numeric, found, atol, rtol)
        if message and raise_exception:
            raise AssertionError(message)
        if message:
            return False
    return True


def gradgradcheck(
    function: Callable[..., Any],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Sequence[Tensor] | None = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """gradcheck of the gradients: as functions of the inputs and of the gradient that comes in.

    inputs, eps, atol, rtol, raise_exception: as for gradcheck. grad_outputs: the gradients that come in, one for each
    output, float64; random unless given.

    >>> import minicnn as mc
    >>> x = mc.tensor([[1.0, 2.0], [3.0, 5.0]], dtype="float64", requires_grad=True)
    >>> mc.gradgradcheck(mc.nn.functional.softmax, x)
    True
    """
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None:
        rng = np.random.default_rng(_RNG_SEED)
        grad_outputs = [
            tensor(rng.standard_normal(o.shape), device=o.device, requires_grad=True)
            for o in _outputs(function, tensors)
            if o.requires_grad
        ]
    count = len(tensors)
    checked = [i for i, t in enumerate(tensors) if t.requires_grad]

    def gradients(*both: Tensor) -> Any:
        xs, gs = both[:count], both[count:]
        outputs = [o for o in _outputs(function, xs) if o.requires_grad]
        found = grad(outputs, [xs[i] for i in checked], gs, create_graph=True, allow_unused=True)
        return tuple(f for f in found if f is not None)

    return gradcheck(gradients, [*tensors, *grad_outputs], eps, atol, rtol, raise_exception)


def _outputs(function: Callable[..., Any], tensors: Sequence[Tensor]) -> list[Tensor]:
    result = function(*tensors)
    return list(result) if isinstance(result, tuple | list) else [result]


def _weights(function: Callable[..., Any], tensors: Sequence[Tensor]) -> list[np.ndarray]:
    rng = np.random.default_rng(_RNG_SEED)
    return [rng.standard_normal(o.shape) for o in _outputs(function, tensors)]


def _differences(
    function: Callable[..., Any], tensors: Sequence[Tensor], which: int, weights: Sequence[np.ndarray], eps: float
) -> np.ndarray:
    """d(sum of weighted outputs) / d(input), one element at a time."""
    base = tensors[which].numpy().copy()
    result = np.zeros_like(base)

    def value(changed: np.ndarray) -> float:
        given = list(tensors)
        where = tensors[which].device
        given[which] = tensor(changed, device=where, requires_grad=True)  # a function may itself differentiate
        outputs = _outputs(function, given)
        return sum(float((o.numpy() * w).sum()) for o, w in zip(outputs, weights, strict=True))

    for place in np.ndindex(*base.shape):
        up, down = base.copy(), base.copy()
        up[place] += eps
        down[place] -= eps
        result[place] = (value(up) - value(down)) / (2 * eps)
    return result


def _mismatch(which: int, numeric: np.ndarray, found: np.ndarray, atol: float, rtol: float) -> str:
    if found.shape != numeric.shape:
        return f"gradcheck: the gradient of inputs[{which}] has shape {found.shape}, expected {numeric.shape}"
    wrong = ~(np.abs(numeric - found) <= atol + rtol * np.abs(numeric))
    if not wrong.any():
        return ""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"gradcheck: inputs[{which}]{list(place)}: the tape says {found[place]:.9g}, differences say "
        f"{numeric[place]:.9g} "
        f"({int(wrong.sum())} of {wrong.size} elements differ)"
    )
