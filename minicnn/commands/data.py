"""`minicnn data`: fetching data sets, and looking at what a network is given to see."""

import click

from .common import filled, make_console, say


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
    from ..train.recipes import Settings, find
    from ..train.training import augmentation_sheet, load_examples

    recipe = find(name)
    out = out or f"{recipe.name}.png"
    check_png(out)
    examples = load_examples(recipe, folder)
    settings: Settings = recipe.settings(batch_size=count, seed=seed, augment=augment or None)
    save_png(augmentation_sheet(recipe, examples, settings), out)
    say(make_console(stderr=True), f"{count} of {len(examples.train):,} training {recipe.things} ({examples.source}) "
                                   f"are drawn in {out}")
