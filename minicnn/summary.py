"""A model at a glance: its layers, the shapes that flow between them, its parameters."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .nn import Module, evaluating
from .tensor import Tensor, zeros

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One layer. parameters: that the optimizer learns; fixed: the other numbers it keeps, like moving statistics."""

    name: str
    layer: str
    output_shape: tuple[int | None, ...] | None  # None: the layer is not called; a None inside: the batch
    parameters: int
    fixed: int


@dataclass(frozen=True)
class Summary:
    """What `summarize` finds."""

    model: str
    input_shape: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def trainable(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def not_trainable(self) -> int:
        return sum(row.fixed for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the batch in a shape is null."""
        return {
            "model": self.model,
            "input_shape": [None, *self.input_shape],
            "layers": [vars(row) for row in self.rows],
            "trainable": self.trainable,
            "not_trainable": self.not_trainable,
            "total": self.trainable + self.not_trainable,
        }

    def table(self) -> "Table":
        """For a rich Console. Where it is narrow, kinds are cut first: names are what one needs to load weights."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        title = f"{self.model}, input {_written((None, *self.input_shape))}"
        table = Table(title=title, show_footer=True, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("layer", "total", no_wrap=True)
        table.add_column("kind", overflow="ellipsis")
        table.add_column("output shape", f"{self.trainable + self.not_trainable:,} in all", no_wrap=True)
        table.add_column("trainable", f"{self.trainable:,}", justify="right", no_wrap=True)
        table.add_column("fixed", f"{self.not_trainable:,}", justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(row.name, row.layer, _written(row.output_shape), f"{row.parameters:,}", f"{row.fixed:,}")
        return table


def summarize(model: Module, input_shape: Sequence[int] | None = None, name: str | None = None) -> Summary:
    """Run zeros through a model and note what each layer gives. The model comes out as it went in.

    input_shape: of one input, without the batch; a model of `models.create` knows its own. name: for the heading.
    """
    shape = tuple(input_shape if input_shape is not None else getattr(model, "input_shape", ()))
    if not shape:
        raise ValueError(f"summarize: {type(model).__name__} doesn't say what it takes: pass input_shape, as (9, 9, 3)")
    shapes: dict[int, tuple[int | None, ...]] = {}
    layers = [(path, part) for path, part in model.named_modules() if _owned(part) or not list(part.children())]

    def note(module: Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            shapes[id(module)] = (None, *output.shape[1:])

    with ExitStack() as hooks, evaluating(model):
        for _, module in layers:
            hooks.enter_context(module.register_forward_hook(note))
        model(zeros((1, *shape)))
    title = name or getattr(model, "config", {}).get("model", type(model).__name__)
    return Summary(title, shape, tuple(_rows(layers, shapes)))


def _rows(layers: list[tuple[str, Module]], shapes: dict[int, tuple[int | None, ...]]) -> list[Row]:
    counted: set[int] = set()  # what layers share counts once
    rows = []
    for path, module in layers:
        fresh = [tensor for tensor in _owned(module) if id(tensor) not in counted]
        counted |= {id(tensor) for tensor in fresh}
        learned = sum(tensor.numel() for tensor in fresh if tensor.requires_grad)
        fixed = sum(tensor.numel() for tensor in fresh if not tensor.requires_grad)
        rows.append(Row(path, type(module).__name__, shapes.get(id(module)), learned, fixed))
    return rows


def _owned(module: Module) -> list[Tensor]:
    """The parameters and buffers that a module holds itself, not in its children."""
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


def _written(shape: Sequence[int | None] | None) -> str:
    if shape is None:
        return "not called"
    return f"({', '.join('N' if size is None else str(size) for size in shape)})"
