"""The tape: what was computed, so that it can be differentiated.

Each op is a Function. `apply` runs its forward on raw arrays and, where a gradient may be wanted, keeps the Function
object as the tape entry of its outputs. `backward` walks the entries from the last to the first and asks each for the
gradients of its inputs. An entry's backward is written with ops on Tensors: with create_graph=True it is recorded in
turn, and can be differentiated again.

Nobody owns the tape. A tensor holds the entry that made it; an entry holds the entries and leaves before it, and of the
tensors only what it `saves`. When the last tensor goes, so does all that led to it.
"""

import heapq
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from itertools import count
from typing import Any, ClassVar

from . import memory
from .anomaly import Anomaly, user_line
from .assign import owned
from .tensor import FLOATS, F, Tensor, method, ones, set_recording


class State(threading.local):
    recording = True
    region: Any = None  # the checkpoint whose function is running (see checkpoint.py)


state = State()
_order = count()
set_recording(lambda: state.recording)


#: Where a gradient goes: output number `place` of an entry, as (entry, place), or a leaf, as (leaf, 0).
Edge = tuple["Function | Tensor", int]

#: How `saves` names outputs, and the slot that stands for each (inputs count from 0).
_OUTPUTS = {"output": -1, "output1": -2, "output2": -3}


class Function:
    """One op, and when recorded one entry of the tape.

    A subclass writes `forward(self, *arrays)` on raw arrays (None for an absent optional input), returning an array or
    a tuple of them, and `backward(self, *grads)` on Tensors (None for an output that nobody used), returning one Tensor
    or None per input. `saves` names what backward needs: forward's arguments, or "output",
    "output1", "output2", its first, second, third output.
    """

    saves: ClassVar[tuple[str, ...]] = ()
    _slots: ClassVar[tuple[int, ...]] = ()  # the places of `saves` among the inputs; below 0, see _OUTPUTS

    # Of an entry of the tape:
    order: int  # entries are numbered as they are made
    edges: list[Edge | None]  # where the gradient of each input goes; None: not wanted
    outputs: list[tuple[int, ...]]  # their shapes
    needs: Sequence[bool]  # in backward: for each input, does its gradient lead to anything asked for?
    foreign = False  # not one of minicnn's: what its backward returns may be anybody's memory
    hooks: dict[int, list[Callable[..., Any]]] | None = None  # of each output
    retained: dict[int, weakref.ref[Tensor]] | None = None  # outputs that shall keep their gradient
    where = ""  # the user's line, for detect_anomaly
    _kept: Any = None  # what `saves` names, with versions; None once it is freed

    def __init_subclass__(cls) -> None:
        cls.foreign = not cls.__module__.startswith(f"{__package__}.")
        if "forward" in cls.__dict__ or "saves" in cls.__dict__:
            code = cls.forward.__code__
            names = code.co_varnames[1 : code.co_argcount]  # without self
            cls._slots = tuple(_OUTPUTS[s] if s in _OUTPUTS else names.index(s) for s in cls.saves)

    def forward(self, *arrays: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, *grads: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no gradient")

    @classmethod
    def apply(cls, *inputs: Tensor | None, **params: Any) -> Any:
        """Run the op on tensors. `params` become attributes of the op. Returns one tensor, or a tuple of them."""
        op = cls()
        op.__dict__ = params
        result = op.forward(*[None if t is None else t.array for t in inputs])
        if state.recording:
            for t in inputs:
                if t is not None and t.requires_grad:
                    return op._record(inputs, result)
        return tuple([Tensor(a) for a in result]) if isinstance(result, tuple) else Tensor(result)

    # ------------------------------------------------------------------------------------------- as a tape entry

    def _record(self, inputs: tuple[Tensor | None, ...], result: Any) -> Any:
        """Put the op on the tape. Returns the result as tensors that lead back to it."""
        arrays = result if isinstance(result, tuple) else (result,)
        outputs = [Tensor(a, True, self, i) if a.dtype in FLOATS else Tensor(a) for i, a in enumerate(arrays)]
        self.order = next(_order)
        self.edges = [_edge(t) for t in inputs]
        self.outputs = [a.shape for a in arrays]
        if Anomaly.on:
            self.where = user_line()
        kept = [_keep(inputs[s]) if s >= 0 else _keep(outputs[-1 - s].detach()) for s in self._slots]
        self._kept = state.region.keep(kept) if state.region else kept
        return tuple(outputs) if isinstance(result, tuple) else outputs[0]

    @property
    def saved(self) -> list[Any]:
        """The tensors that `saves` names, in that order."""
        kept = self._kept() if callable(self._kept) else self._kept
        return [None if k is None else self._open(slot, *k) for slot, k in zip(self._slots, kept, strict=True)]

    def _open(self, slot: int, tensor: Tensor, version: int) -> Tensor:
        if tensor._version[0] != version:
            raise RuntimeError(
                f"{type(self).__name__}.backward: an array it saved, of shape {tensor.shape}, was changed in "
                "place after the forward pass"
            )
        if slot >= 0 or tensor.array.dtype not in FLOATS:
            return tensor
        return Tensor(tensor.array, True, self, -1 - slot, tensor._version)  # an output, with its way back

    def free(self) -> None:
        self._kept = None


def _edge(tensor: Tensor | None) -> Edge | None:
    if tensor is None or not tensor.requires_grad:
        return None
    entry = tensor.entry
    return (tensor, 0) if entry is None else (entry, tensor.index)


def _keep(tensor: Tensor | None) -> tuple[Tensor, int] | None:
    """A tensor for backward, and its version now. (An output is kept without its entry: that would be a circle.)"""
    return None if tensor is None else (tensor, tensor._version[0])


# ---------------------------------------------------------------------------------------------------- on and off


class recording(ContextDecorator):  # noqa: N801 - used like a function
    """`with recording(on):` records inside, or not. Can be used again, and as a decorator."""

    def __init__(self, on: bool):
        self.on = on
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(state.recording)
        state.recording = self.on

    def __exit__(self, *error: Any) -> None:
        state.recording = self.before.pop()


def no_grad() -> recording:
    """`with no_grad():` nothing is recorded inside. Also a decorator.

    >>> with no_grad():
    ...     (ones(2, requires_grad=True) * 2).requires_grad
    False
    """
    return recording(False)


def enable_grad() -> recording:
    """`with enable_grad():` record again, inside a no_grad. Also a decorator.

    >>> with no_grad(), enable_grad():
    ...     (ones(2, requires_grad=True) * 2).requires_grad
    True
    """
    return recording(True)


def is_grad_enabled() -> bool:
    return state.recording


# ------------------------------------------------------------------------------------------------------ backwards


class _Walk:
    """One walk back along the tape.

    Gradients wait at their entries until all that flow together have arrived: entries are taken newest first, and
    whatever used an entry's output is newer than the entry itself.
    """

    def __init__(self, targets: Sequence[Tensor] | None, retain_graph: bool, create_graph: bool):
        self.retain_graph = retain_graph
        self.create_graph = create_graph
        self.waiting: dict[int, list[Tensor | None]] = {}
        self.heap: list[tuple[int, Function]] = []
        self.leaves: dict[int, tuple[Tensor, Tensor]] = {}
        self.wanted = None if targets is None else {_key(_edge(t)) for t in targets}
        self.found: dict[tuple[int, int], Tensor] = {}
        self.leads: set[int] | None = None  # ids of entries on a way to a target; None: all are of use
        self.lent = False  # whether somebody else, a hook say, may hold the memory of a gradient

    def run(self, roots: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
        edges = [_edge(root) for root in roots]
        if self.wanted is not None:
            self.leads = _leading(edges, self.wanted)
        for edge, grad in zip(edges, grads, strict=True):
            if edge is not None:
                self.deliver(edge, grad)
        while self.heap:
            self.step(heapq.heappop(self.heap)[1])

    def deliver(self, edge: Edge, grad: Tensor) -> None:
        source, place = edge
        if isinstance(source, Tensor):
            known = self.leaves.get(id(source))
            self.leaves[id(source)] = (source, grad if known is None else known[1] + grad)
            return
        row = self.waiting.get(id(source))
        if row is None:
            row = self.waiting[id(source)] = [None] * len(source.outputs)
            heapq.heappush(self.heap, (-source.order, source))
        known_grad = row[place]
        row[place] = grad if known_grad is None else known_grad + grad

    def step(self, entry: Function) -> None:
        grads = self.waiting.pop(id(entry))
        if entry._kept is None:
            raise RuntimeError(
                f"backward through a freed tape: what {type(entry).__name__} had saved was let go by an "
                "earlier backward; pass retain_graph=True to that one"
            )
        if entry.hooks or entry.retained or self.wanted is not None:
            self.show(entry, grads)
        entry.needs = [edge is not None and (self.wanted is None or self.goes_on(edge)) for edge in entry.edges]
        if True in entry.needs:
            self.lent |= entry.foreign
            self.pass_on(entry, entry.backward(*grads))
            if not self.retain_graph:
                entry.free()

    def show(self, entry: Function, grads: list[Tensor | None]) -> None:
        """Give the gradients of an entry's outputs to all who asked for them."""
        for index, hooks in (entry.hooks or {}).items():
            if grads[index] is not None:
                grads[index], self.lent = _run_hooks(hooks, grads[index]), True
        for index, grad in enumerate(grads):
            if grad is None:
                continue
            if self.wanted is not None and (id(entry), index) in self.wanted:
                self.found[id(entry), index] = grad
            if entry.retained and index in entry.retained:
                self.retain(entry.retained[index](), grad)

    def retain(self, tensor: Tensor | None, grad: Tensor) -> None:
        if tensor is not None:
            own = grad if self.create_graph else _copy(grad)
            tensor.grad = own if tensor.grad is None else tensor.grad + own

    def goes_on(self, edge: Edge) -> bool:
        """Whether a wanted tensor can be reached along an edge."""
        assert self.wanted is not None and self.leads is not None
        return _key(edge) in self.wanted or id(edge[0]) in self.leads

    def pass_on(self, entry: Function, result: Any) -> None:
        results = result if isinstance(result, tuple) else (result,)
        if len(results) != len(entry.edges):
            raise RuntimeError(
                f"{type(entry).__name__}.backward gave {len(results)} gradients for {len(entry.edges)} inputs"
            )
        if Anomaly.on:
            Anomaly.check(entry, results)
        for edge, need, grad in zip(entry.edges, entry.needs, results, strict=True):
            if need and grad is not None:
                assert edge is not None
                source, place = edge
                shape = source.array.shape if isinstance(source, Tensor) else source.outputs[place]
                if grad.array.shape != shape:
                    raise RuntimeError(
                        f"{type(entry).__name__}.backward gave a gradient of shape {grad.shape} for an input of shape "
                        f"{shape}"
                    )
                self.deliver(edge, grad)


def _key(edge: Edge | None) -> tuple[int, int]:
    assert edge is not None  # only tensors that require a gradient are asked for one
    return id(edge[0]), edge[1]


def _leading(edges: Sequence[Edge | None], wanted: set[tuple[int, int]]) -> set[int]:
    """Ids of the entries from which a wanted tensor can be reached."""
    seen: dict[int, Function] = {}
    stack = [edge[0] for edge in edges if edge is not None]
    while stack:
        entry = stack.pop()
        if isinstance(entry, Function) and id(entry) not in seen:
            seen[id(entry)] = entry
            stack += [edge[0] for edge in entry.edges if edge is not None]
    leads: set[int] = set()
    for entry in sorted(seen.values(), key=lambda e: e.order):  # inputs before what was made of them
        if any(edge is not None and (_key(edge) in wanted or id(edge[0]) in leads) for edge in entry.edges):
            leads.add(id(entry))
    return leads


def _run_hooks(hooks: Sequence[Callable[..., Any]], grad: Any) -> Any:
    for hook in tuple(hooks):
        changed = hook(grad)
        if changed is None:
            continue
        if not isinstance(changed, Tensor) or (changed.shape, changed.dtype) != (grad.shape, grad.dtype):
            came = f"{changed.dtype} {changed.shape}" if isinstance(changed, Tensor) else type(changed).__name__
            raise TypeError(f"a hook returned {came}, expected None or a {grad.dtype} tensor of shape {grad.shape}")
        grad = changed
    return grad


def _starting_gradients(roots: Sequence[Tensor], gradients: Sequence[Any] | None, name: str) -> list[Tensor]:
    found = []
    for root, given in zip(roots, gradients or [None] * len(roots), strict=True):
        if not root.requires_grad:
            raise RuntimeError(f"{name}: the tensor does not require a gradient, and nothing that does led to it")
        if given is None:
            if root.numel() != 1:
                raise RuntimeError(
                    f"{name}: a tensor of shape {root.shape} needs a gradient to start from; only a single "
                    "number does without"
                )
            found.append(ones(root.shape, dtype=root.dtype, device=root.device))
            continue
        if not isinstance(given, Tensor):
            raise TypeError(f"{name}: gradient must be a Tensor, got {type(given).__name__}")
        if (given.shape, given.dtype, given.device) != (root.shape, root.dtype, root.device):
            raise ValueError(
                f"{name}: gradient is {given.dtype} {given.shape} on {given.device}, expected {root.dtype} "
                f"{root.shape} on {root.device}"
            )
        found.append(given)
    return found


@method
def backward(
    tensor: Tensor, gradient: Tensor | None = None, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """Add the gradient of `tensor` to the `.grad` of every leaf that led to it.

    gradient: what to start from, of the tensor's shape; may be left out for a single number (then 1). The tape is freed
    on the way unless retain_graph or create_graph; with create_graph the gradients can be differentiated again.
    """
    starts = _starting_gradients([tensor], [gradient], "backward")
    walk = _Walk(None, retain_graph or create_graph, create_graph)
    with recording(create_graph):
        walk.run([tensor], starts)
        taken = {memory.place(start.array) for start in starts}
        for leaf, grad in walk.leaves.values():
            grad = _run_hooks(leaf._hooks, grad) if leaf._hooks else grad
            place = memory.place(grad.array)
            if leaf.grad is not None:
                leaf.grad = leaf.grad + grad
            elif create_graph:
                leaf.grad = grad
            else:  # nobody may share a leaf's gradient: clipping it in place would change what the other has
                leaf.grad = _copy(grad) if walk.lent or leaf._hooks or place in taken else grad.detach()
            taken.add(place)


def _copy(tensor: Tensor) -> Tensor:
    return Tensor(owned(tensor.array))


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """Gradients of `outputs` (their sum, weighted by grad_outputs) by `inputs`, without touching any `.grad`.

    Returns a tuple, one Tensor per input; None for an input that the outputs don't depend on if allow_unused.

    >>> x = ones(3, requires_grad=True)
    >>> (slope,) = grad((x**3).sum(), x, create_graph=True)  # 3 x^2
    >>> slope.tolist(), grad(slope.sum(), x)[0].tolist()  # 6 x
    ([3.0, 3.0, 3.0], [6.0, 6.0, 6.0])
    """
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    targets = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for i, target in enumerate(targets):
        if not target.requires_grad:
            raise RuntimeError(f"grad: inputs[{i}] does not require a gradient")
    given = [grad_outputs] if isinstance(grad_outputs, Tensor) else grad_outputs
    if given is not None and len(given) != len(roots):
        raise ValueError(f"grad: {len(given)} grad_outputs came for {len(roots)} outputs")
    starts = _starting_gradients(roots, given, "grad")
    walk = _Walk(targets, create_graph if retain_graph is None else retain_graph, create_graph)
    with recording(create_graph):
        walk.run(roots, starts)
        for leaf, total in walk.leaves.values():
            walk.found[id(leaf), 0] = _run_hooks(leaf._hooks, total) if leaf._hooks else total
    found = tuple(walk.found.get(_key(_edge(t))) for t in targets)
    for i, value in enumerate(found):
        if value is None and not allow_unused:
            raise RuntimeError(f"grad: the outputs don't depend on inputs[{i}]; allow_unused=True gives None for it")
    return found if create_graph else tuple(None if value is None else value.detach() for value in found)


# -------------------------------------------------------------------------------------------------- making functions


def op(function: F) -> F:
    """Mark a public op: it joins its module's `__all__`, from where `nn.functional` gathers it."""
    import sys

    vars(sys.modules[function.__module__]).setdefault("__all__", []).append(function.__name__)
    return function
