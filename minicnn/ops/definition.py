"""Gradients by definition: of a kernel that is a gradient itself, from what it computes, written in ops."""

from collections.abc import Callable, Sequence

from ..tape import enable_grad, is_grad_enabled
from ..tape import grad as gradients_of
from ..tensor import Tensor
from .shape import Reshape


def gradients_of_definition(
    definition: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor | None], grads: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Gradients by the inputs of a function of them that is written in ops and has not been recorded; None for what
    needs none.

    The function runs on stand-ins: that one input was computed from another is none of its business.
    """
    record = is_grad_enabled()
    with enable_grad():
        own = [t if t is None or not t.requires_grad else _stand_in(t, record) for t in inputs]
        outputs = zip(definition(*own), grads, strict=True)
        pairs = [(out, dd) for out, dd in outputs if dd is not None and out.requires_grad]
        wanted = [t for t in own if t is not None and t.requires_grad]
        found = iter(gradients_of([out for out, _ in pairs], wanted, [dd for _, dd in pairs], create_graph=record,
                                  allow_unused=True))
    return tuple(None if t is None or not t.requires_grad else next(found) for t in own)


def _stand_in(tensor: Tensor, record: bool) -> Tensor:
    """The same values: with an entry that leads back to the tensor if recording, else without a history."""
    if record:
        return Reshape.apply(tensor, shape=tensor.shape)
    return tensor.detach().requires_grad_()
