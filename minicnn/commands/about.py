"""`minicnn summary`, `minicnn models` and `minicnn doctor`: what there is."""

import click

from .common import is_path, load_run, make_console, print_json

USUAL = "What is in the picture? "  # what most models are asked


@click.command(short_help="The layers of a model and their parameters.")
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def summary(model: str, as_json: bool) -> None:
    """The layers of MODEL, what shapes they give, and their parameters.

    MODEL is a name (see `minicnn models`) or the path of a run.
    """
    from ..models import create
    from ..summary import summarize

    found = summarize(load_run(model) if is_path(model) else create(model))
    if as_json:
        print_json(found.as_dict())
    else:
        make_console().print(found.table())


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(as_json: bool) -> None:
    """The models there are."""
    from ..models import list_models, registry

    entries = [registry.find(name) for name in list_models()]
    if as_json:
        print_json([{"name": e.name, "aliases": list(e.aliases), "options": e.options, "about": e.title}
                    for e in entries])
        return
    names = [", ".join((entry.name, *entry.aliases)) for entry in entries]
    for name, entry in zip(names, entries, strict=True):
        click.echo(f"{name:{max(map(len, names))}}  {entry.title.removeprefix(USUAL)}")


@click.command(short_help="What minicnn finds on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """What minicnn finds on this machine: processor, threads, GPU, data."""
    from ..doctor import diagnose, lines

    found = diagnose()
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(lines(found)))
