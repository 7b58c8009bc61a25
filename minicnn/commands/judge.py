"""`minicnn evaluate` and `minicnn predict`: what a trained model is worth, and what it says of pictures."""

from typing import TYPE_CHECKING, Any

import click

from .common import load_run, print_json

if TYPE_CHECKING:
    import numpy as np

    from ..nn import Module


@click.command(short_help="How good the model of a run is.")
@click.argument("run")
@click.option("--data", metavar="DIR", help="Folder of the data; only the test files are read.  [default: as in train]")
@click.option("--device", default="cpu", show_default=True, help="Where to compute.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(run: str, data: str | None, device: str, as_json: bool) -> None:
    """How well the model of RUN does on the test pictures in DIR.

    RUN is a folder that `minicnn train` wrote, or its model.safetensors. Row i, column j of the confusion matrix counts
    the pictures of class i that were taken for class j: for a detector [[true negatives, false positives], [false
    negatives, true positives]].
    """
    from ..train.judging import evaluate_model
    from ..train.recipes import find

    model = load_run(run, device)
    config = getattr(model, "config", {})
    recipe = find(config.get("recipe") or config["model"])
    if data is None and recipe.drawn is not None:
        click.echo("Without --data, these are SYNTHETIC faces: drawn by minicnn, not photographs.", err=True)
    report = evaluate_model(model, recipe.test_examples(data))
    if as_json:
        print_json(report)
    else:
        _print_report(report)


def _print_report(report: dict[str, Any]) -> None:
    for key, value in report.items():
        if key == "per_class":
            for name, scores in value.items():
                values = "  ".join(f"{part} {_written(score)}" for part, score in scores.items())
                click.echo(f"{name:17} {values}")
        elif key == "confusion_matrix" and len(value) > 2:
            width = max(len(str(count)) for row in value for count in row)
            click.echo("\n".join([key, *("  " + "  ".join(f"{count:{width}}" for count in row) for row in value)]))
        elif key != "notes":
            click.echo(f"{key:17} {_written(value)}")
    for note in report["notes"]:
        click.echo(f"note: {note}", err=True)


def _written(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "undefined" if value is None else str(value)


@click.command(short_help="What a model says of pictures.")
@click.argument("run")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Classes to name.")
@click.option("--invert", is_flag=True, help="Swap light and dark first, as for digits in ink on paper.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(run: str, images: tuple[str, ...], top: int, invert: bool, device: str, as_json: bool) -> None:
    """What the model of RUN says of each picture file: the likeliest classes and their probabilities.

    Each picture is cropped about its centre and scaled to what the model was trained with. One that can't be read is
    an error before any answer is given.
    """
    from ..data import read_picture

    model = load_run(run, device)
    pictures = [read_picture(image, model.input_shape) for image in images]
    answers = [{"image": image, **answer(model, 255 - picture if invert else picture, top)}
               for image, picture in zip(images, pictures, strict=True)]
    if as_json:
        print_json(answers)
        return
    for found in answers:
        named = ", ".join(f"{one['class']} {one['probability']:.1%}" for one in found["classes"])
        chosen = found.get("threshold", 0.5)
        told = "" if chosen == 0.5 else f" - so {found['answer']}, as the threshold is {chosen:.1%}"
        click.echo(f"{found['image']}: {named}{told}")


def answer(model: "Module", picture: "np.ndarray", top: int) -> dict[str, Any]:
    """What a model says of one uint8 picture (H, W, C): "answer", a class, and "classes", the likeliest.

    Of a detector also "probability", that of yes, and "threshold", the one above which it answers yes.
    """
    import numpy as np

    from ..nn import evaluating
    from ..tensor import tensor
    from ..train.judging import check_numbers, class_names, device_of, most_likely, probabilities, threshold_of

    with evaluating(model):
        x = tensor(picture[None].astype(np.float32) / np.float32(255), device=device_of(model))
        logits = model(x).numpy()
    check_numbers(logits)
    chances = probabilities(logits)[0]
    names = class_names(model, len(chances))
    best = [{"class": names[place], "probability": float(chances[place])} for place in most_likely(chances, top)]
    if logits.shape[1] > 1:
        return {"answer": best[0]["class"], "classes": best}
    threshold = threshold_of(model)
    return {"answer": names[int(logits[0, 0] > threshold)], "probability": float(chances[1]),
            "threshold": float(probabilities(np.array([[threshold]], np.float32))[0, 1]), "classes": best}
