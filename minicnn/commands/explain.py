"""`minicnn explain`: what a model sees in pictures, as PNG files and one page."""

import sys
from itertools import count
from typing import TYPE_CHECKING, Any

import click

from .common import filled, is_path, load_run, make_console, print_json, say
from .judge import answer

if TYPE_CHECKING:
    import numpy as np

    from ..nn import Module
    from ..vis.report import Answer


@click.command(short_help="What a model sees in pictures.")
@click.argument("model")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--weights", metavar="FILE", callback=filled, help="The weights of a model that is named; minicnn's own, "
              "or PyTorch's.")
@click.option("--method", "methods", metavar="NAME,...", default="quick", show_default=True, callback=filled,
              help="Ways of looking: quick, all, or names such as grad-cam,occlusion.")
@click.option("--target", metavar="CLASS", callback=filled,
              help="Class to explain, its name or number.  [default: what the model says]")
@click.option("--layer", metavar="NAME", callback=filled,
              help="Layer of the class activation maps; see `minicnn summary`.  [default: the last convolution]")
@click.option("--invert", is_flag=True, help="Swap light and dark first, as for digits in ink on paper.")
@click.option("--out", metavar="DIR", callback=filled, default="explained", show_default=True,
              help="Folder to write to; of an earlier explanation there the page is replaced, and files of the same "
              "names.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(model: str, images: tuple[str, ...], weights: str | None, methods: str, target: str | None,
            layer: str | None, invert: bool, out: str, device: str, as_json: bool) -> None:
    """Show what MODEL sees in each picture file: which places speak for its answer, and what every layer makes of it.

    MODEL is the path of a run, or a name (see `minicnn models`) with --weights. DIR then holds index.html, a page that
    needs no other file, and a PNG of each map and layer. Of a detector, "no" is class 0 and "yes" class 1.
    """
    from ..data import read_picture
    from ..vis import report

    chosen = report.find(methods.split(","))
    report.check_folder(out)
    network = _read_model(model, weights, device)
    pictures = [read_picture(image, network.input_shape) for image in images]
    if invert:
        pictures = [255 - picture for picture in pictures]
    answers = [_answer(network, picture, target) for picture in pictures]
    console = make_console(stderr=True)
    found = []
    with _progress(console) as bar:
        task, begun = bar.add_task("", total=len(images) * (len(chosen) + 2)), count()
        for image, picture, one in zip(images, pictures, answers, strict=True):

            def show(doing: str, image: str = image) -> None:
                bar.update(task, description=f"{click.format_filename(image)}: {doing}", completed=next(begun))

            found.append(report.explain(network, picture, chosen, one, image, layer, show))
        told = report.write_report(out, found, model)
    if as_json:
        print_json(told)
        return
    for seen in found:
        names, chances, shown = seen.answer.names, seen.answer.chances, seen.answer.target
        best = max(range(len(names)), key=chances.__getitem__)
        explained = "" if best == shown else f" - explained: {names[shown]} {chances[shown]:.1%}"
        click.echo(f"{click.format_filename(seen.name)}: {names[best]} {chances[best]:.1%}{explained}")
    say(console, f"What speaks for it is in {told['page']}")


def _progress(console: Any) -> Any:
    """A bar on a terminal, nothing elsewhere."""
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(BarColumn(), TextColumn("{task.description}", markup=False), console=console,
                    disable=not console.is_terminal, transient=True)


def _read_model(name: str, weights: str | None, device: str) -> "Module":
    """The model of a run, or one that is named, with weights from a file; on a device."""
    from ..device import resolve
    from ..io import load_state
    from ..models import create

    resolve(device)
    if is_path(name):
        if weights is not None:
            raise ValueError(f"{name} has weights of its own: --weights goes with the name of a model")
        return load_run(name, device)
    model = create(name)
    if weights is None:
        click.echo(f"Without --weights, {name} has learned NOTHING: its weights are random.", err=True)
    else:
        _load(model, load_state(weights), weights)
    return model.to(device).eval()


def _load(model: "Module", state: Any, file: str) -> None:
    """Weights as minicnn writes them or, if those don't fit, as PyTorch does."""
    try:
        model.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError) as own:
        try:
            model.load_state_dict(state, layout="torch")
        except (KeyError, RuntimeError, ValueError):
            raise ValueError(f"{file}: {own.args[0]}") from own
        click.echo(f"{file} holds PyTorch's layout: converted.", err=True)


def _answer(model: "Module", picture: "np.ndarray", target: str | None) -> "Answer":
    """What `minicnn predict` says of a picture, and which class is to be explained."""
    from ..nn.names import near
    from ..train.judging import class_names
    from ..vis.report import Answer

    said = answer(model, picture, top=sys.maxsize)
    chances = {one["class"]: one["probability"] for one in said["classes"]}
    names = class_names(model, len(chances))
    if target is None:
        place = names.index(said["answer"])
    elif target in names:
        place = names.index(target)
    elif target.isdecimal() and int(target) < len(names):
        place = int(target)
    else:
        some = ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")
        raise ValueError(f"--target {target}: the model has {len(names)} classes, 0 to {len(names) - 1}"
                         f"{near(target, names) or f': {some}'}")
    return Answer(names, [chances[name] for name in names], place)
