"""Printing the tape: which ops led to a tensor, and where their gradients go."""

from ..tape import Function
from ..tensor import Tensor


def tape_entries(tensor: Tensor) -> list[Function]:
    """The tape entries that led to a tensor, oldest first: the order of the forward pass. backward() takes them the
    other way round.

    >>> import minicnn as mc
    >>> x = mc.ones(2, 3, requires_grad=True)
    >>> [type(entry).__name__ for entry in mc.teach.tape_entries((x * x).sum())]
    ['Mul', 'Sum']
    """
    found: dict[int, Function] = {}
    stack = [tensor.entry]
    while stack:
        entry = stack.pop()
        if entry is not None and id(entry) not in found:
            found[id(entry)] = entry
            stack += [edge[0] for edge in entry.edges if edge is not None and isinstance(edge[0], Function)]
    return sorted(found.values(), key=lambda entry: entry.order)


def tape_text(tensor: Tensor) -> str:
    """One line an entry: its number, its op, what it was made from, and the shapes it gave.

    An input is `#n`, the result of an earlier line; `leaf` with its shape, where a gradient will be kept; or `-`, which
    needs no gradient.

    >>> import minicnn as mc
    >>> x = mc.ones(2, 3, requires_grad=True)
    >>> print(mc.teach.tape_text((x * x).sum()))
    #1  Mul  leaf (2, 3), leaf (2, 3) -> (2, 3)
    #2  Sum  #1 -> ()
    """
    entries = tape_entries(tensor)
    number = {id(entry): f"#{i}" for i, entry in enumerate(entries, 1)}
    width = max((len(type(entry).__name__) for entry in entries), default=0)
    lines = []
    for entry in entries:
        sources = [
            "-" if edge is None else f"leaf {edge[0].shape}" if isinstance(edge[0], Tensor) else number[id(edge[0])]
            for edge in entry.edges
        ]
        shapes = ", ".join(map(str, entry.outputs))
        lines.append(
            f"{number[id(entry)]:<{len(str(len(entries))) + 1}}  {type(entry).__name__:<{width}}  "
            f"{', '.join(sources)} -> {shapes}"
        )
    return "\n".join(lines)
