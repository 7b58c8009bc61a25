"""`minicnn data`: fetching data sets, and looking at what a network is given to see."""

from typing import TYPE_CHECKING, Any

import click

from .common import filled, make_console, say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..train.recipes import Examples, Recipe


@click.group()
def data() -> None:
    """Fetch data sets, and look at them."""


@data.command(short_help="Fetch a data set.")
@click.argument("name", type=click.Choice(["mnist", "fashion", "cifar10"]))
@click.option("--to", metavar="DIR", callback=filled,
              help="Folder to put it in.  [default: where `minicnn train` looks]")
def download(name: str, to: str | None) -> None:
    """Fetch NAME from where its authors keep it, and check it by its checksums."""
    from rich.progress import Progress

    from ..data import default_folder
    from ..data import download as fetch

    console = make_console(stderr=True)
    folder = to or str(default_folder(name))
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(f"fetching {name}", total=None)
        fetch(name, folder, lambda done, total: bar.update(task, completed=done, total=total))
    say(console, f"{name} is in {folder}")


@data.command(short_help="Draw pictures of a data set.")
@click.argument("name")
@click.option("--data", "folder", metavar="DIR", help="Folder of the data.  [default: as in train]")
@click.option("--augment", is_flag=True, help="Show what --augment makes of them, below each.")
@click.option("--count", type=click.IntRange(1, 32), default=16, show_default=True, help="Pictures to draw.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Chooses the pictures.")
@click.option("--out", metavar="FILE", callback=filled, help="PNG file to write.  [default: NAME.png]")
def show(name: str, folder: str | None, augment: bool, count: int, seed: int, out: str | None) -> None:
    """Draw training pictures of NAME (smile, mnist, fashion or cifar10), before and after augmentation."""
    from ..figure import check_png, save_png
    from ..train.recipes import find

    recipe = find(name)
    out = out or f"{recipe.name}.png"
    check_png(out)
    examples = recipe.examples(folder)
    save_png(_sheet(recipe, examples, augment, count, seed), out)
    say(make_console(stderr=True), f"{count} of {len(examples.train):,} training {recipe.things} ({examples.source}) "
                                   f"are drawn in {out}")


def _sheet(recipe: "Recipe", examples: "Examples", augment: bool, count: int, seed: int) -> "Figure":
    """The pictures of a training batch, and below each what augmentation makes of it."""
    from ..data import augmentation_figure
    from ..train.training import training_batches

    def first_batch(augment: bool) -> list[Any]:
        settings = recipe.settings(batch_size=count, seed=seed, augment=augment or None)
        return [tensor.numpy() for tensor in next(iter(training_batches(recipe, examples.train, settings)))]

    before, labels = first_batch(False)
    after, labels = first_batch(True) if augment else (None, labels)
    return augmentation_figure(before, after, labels, examples.classes)
