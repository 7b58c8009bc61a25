"""Which kernels ran: where, by what algorithm, for what shapes. `dispatch` tells `watch` of each; the launcher of the
GPU's kernels notes what was launched for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, NamedTuple

from .kernels.cuda import LISTENERS


class Run(NamedTuple):
    """One kernel that ran, as `trace_kernels` lists it, by its contract's name."""

    kernel: str
    device: str
    algorithm: str
    inputs: tuple[tuple[int, ...] | None, ...]
    outputs: tuple[tuple[int, ...], ...]
    also: tuple[str, ...]  # what it did besides, as it stored its output: an activation, dropout
    launched: tuple[str, ...]  # on a GPU, or the emulator: the variants launched since the run before, tiles and all


class Trace(list[Run]):
    """The kernels that ran, in order; prints as a table."""

    def __init__(self) -> None:
        super().__init__()
        self.launched: list[Any] = []  # since the last run

    def __str__(self) -> str:
        return "\n".join(_line(run) for run in self)


def _line(run: Run) -> str:
    also = f", with {', '.join(run.also)}" if run.also else ""
    also += f"; launched {', '.join(run.launched)}" if run.launched else ""
    return (
        f"{run.kernel:22} {run.device:9} {run.algorithm:10} {_shapes(run.inputs)} -> {_shapes(run.outputs)}{also}"
    )


def _shapes(shapes: tuple[tuple[int, ...] | None, ...]) -> str:
    return ", ".join("-" if s is None else "x".join(map(str, s)) or "scalar" for s in shapes)


def watch(
    name: str, where: str, algorithm: str, arrays: tuple[Any, ...], outputs: list[Any], params: dict[str, Any]
) -> None:
    inputs = tuple(None if a is None else a.shape for a in arrays)
    run = Run(name, where, algorithm, inputs, tuple(o.shape for o in outputs), _also(name, params), ())
    for trace in traces:
        launched = () if where == "cpu" else tuple(variant.name for variant in trace.launched)
        trace.append(run._replace(launched=launched))
        trace.launched.clear()


def _also(name: str, params: dict[str, Any]) -> tuple[str, ...]:
    """What a kernel that is not named for it does besides."""
    found = [params["activation"]] if params.get("activation") else []
    if name == "conv2d_forward" and (params["low"], params["high"]) != (-inf, inf):
        found.append({inf: "relu", 6: "relu6"}.get(params["high"], "clip"))
    if name != "dropout" and params.get("p"):
        found.append(f"dropout {params['p']:g}")
    if params.get("rectified"):
        found.append("relu_grad")
    return tuple(found)


traces: list[Trace] = []  # those that are told


@contextmanager
def trace_kernels() -> Iterator[Trace]:
    """List every kernel that runs inside: which, on what device, by what algorithm, for what shapes.

    On a GPU it lists the launches too, by names that tell their settings: conv2d_tiles_float32_128x64_... made tiles of
    128 x 64. `minicnn kernels conv2d_tiles` shows what such a one takes up.

    >>> import minicnn as mc
    >>> with mc.trace_kernels() as trace:
    ...     y = mc.ones((2, 3)) + 1
    >>> print(trace)
    add                    cpu                  2x3, scalar -> 2x3
    """
    trace = Trace()
    traces.append(trace)
    LISTENERS.append(trace.launched)
    try:
        yield trace
    finally:
        traces[:] = [t for t in traces if t is not trace]
        LISTENERS[:] = [heard for heard in LISTENERS if heard is not trace.launched]
