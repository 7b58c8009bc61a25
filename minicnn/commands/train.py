"""`minicnn train`: a recipe's training, from data to the folder of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..device import MOST_THREADS
from .common import a_number, filled, fraction, make_console, positive, say, set_threads

if TYPE_CHECKING:
    from ..train.provenance import Made
    from ..train.recipes import Examples, Recipe
    from ..train.settings import Settings

INTERRUPTED = 130  # what a shell makes of an interrupt


@click.command(short_help="Train a network and keep the run.")
@click.argument("name")
@click.option("--data", metavar="DIR", help="Folder of the data.  [default: see below]")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the pictures.  [default: the recipe's]")
@click.option("--batch-size", type=click.IntRange(min=1), help="Pictures in a step.  [default: the recipe's]")
@click.option("--lr", type=float, callback=positive, help="Learning rate.  [default: 0.001]")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Governs all that is random: the same seed gives the "
              "same model, bit for bit.  [default: 0]")
@click.option("--augment", is_flag=True, default=None, help="Change the training pictures at random (flips, and more).")
@click.option("--validation", metavar="SHARE", type=float, callback=fraction,
              help="Share of the training pictures set aside to evaluate each epoch.")
@click.option("--patience", metavar="EPOCHS", type=click.IntRange(min=1),
              help="Stop when the validation loss has not got better for so many epochs; keep the best weights.")
@click.option("--schedule", type=click.Choice(["constant", "cosine"]), help="Of the learning rate: cosine falls to 0.")
@click.option("--warmup", metavar="EPOCHS", type=click.IntRange(min=0), help="Epochs in which the learning rate rises.")
@click.option("--clip-norm", metavar="NORM", type=float, callback=positive, help="Limit on the gradients' norm.")
@click.option("--average", metavar="DECAY", type=float, callback=fraction,
              help="Keep an exponential moving average of the weights (0.999, say) and use that.")
@click.option("--false-alarm-cost", metavar="COST", type=float, callback=positive,
              help="With --miss-cost: choose the detector's threshold that costs least on the validation pictures.")
@click.option("--miss-cost", metavar="COST", type=float, callback=positive)
@click.option("--threads", type=click.IntRange(1, MOST_THREADS),
              help="Processors to use; the results don't depend on it.")
@click.option("--device", default="cpu", show_default=True, help="Where to train.")
@click.option("--out", metavar="RUN", callback=filled, help="Folder to write to.  [default: runs/NAME]")
@click.option("--checkpoint-every", metavar="SECONDS", type=click.FloatRange(min=0), callback=a_number, default=30.0,
              show_default=True, help="How much of the training an interruption may lose.")
@click.option("--resume", is_flag=True, help="Go on with the unfinished training in RUN, with its settings.")
@click.option("--restart", is_flag=True, help="Give up the unfinished training in RUN.")
def train(name: str, data: str | None, threads: int | None, device: str, out: str | None, checkpoint_every: float,
          resume: bool, restart: bool, **asked: Any) -> None:
    """Train NAME: smile (faces, smiling or not), mnist (digits), fashion (clothes) or cifar10.

    DIR holds the official files: for smile train_happy.h5 and test_happy.h5; for mnist and fashion the four idx files,
    plain or .gz; for cifar10 the folder cifar-10-batches-bin or -py. Without --data, smile learns from built-in
    synthetic faces, drawn by the computer, for 6 epochs with the cosine schedule; the others look where `minicnn data
    download` puts them.

    With --augment, smile trains for up to 60 epochs on photographs, with the cosine schedule and averaged weights, and
    stops early on a tenth of the training faces.

    RUN then holds model.safetensors (see `minicnn evaluate` and `minicnn predict`), history.csv, metrics.json,
    config.json, and pictures: learning_curves.png, confusion_matrix.png, mistakes.png. An older run there is replaced
    once the new one is complete; a folder of anything else is left alone. Until then checkpoints are in RUN/unfinished:
    whatever stops the training, --resume goes on with it and ends with the same model, bit for bit.
    """
    from ..device import resolve
    from ..train.provenance import unfinished
    from ..train.recipes import find
    from ..train.run import is_run, remove_discarded

    if resume and restart:
        raise click.UsageError("--resume and --restart: choose one")
    resolve(device)
    set_threads(threads)
    recipe = find(name)
    folder = Path(out or f"runs/{recipe.name}")
    console = make_console(stderr=True)
    made = unfinished(folder) if resume else None
    if resume and made is None and is_run(folder):
        remove_discarded(folder)
        say(console, f"{folder} is complete: there is nothing to go on with.")
        return
    if resume and made is None:
        say(console, f"{folder} holds no checkpoint: starting from the beginning.")
    if made is None:
        settings = recipe.settings(drawn=data is None and recipe.drawn is not None, **asked)
    else:
        _check_same(folder, made, recipe, asked)
        settings, data = made.settings, data or (None if made.synthetic else made.source)
    _check_free(folder, resume or restart)
    if data is None and recipe.drawn is not None:
        say(console, "Without --data, these are SYNTHETIC faces: drawn by minicnn, not photographs. Drawing them ...")
    examples = recipe.examples(data)
    how = {"resume": resume, "restart": restart, "device": device, "checkpoint_every": checkpoint_every}
    _run(recipe, examples, settings, folder, console, how)


def _check_same(folder: Path, made: "Made", recipe: "Recipe", asked: dict[str, Any]) -> None:
    """A run is gone on with as it was begun."""
    from ..train.settings import changed

    different = changed(made.settings, asked)
    if made.recipe.name != recipe.name:
        different.insert(0, f"{recipe.name} (it was {made.recipe.name})")
    if different:
        raise ValueError(f"{folder} was begun otherwise, and --resume goes on as it was: {', '.join(different)}")


def _check_free(folder: Path, allowed: bool) -> None:
    """Say what is in the way before minutes are spent on reading data."""
    from ..train.run import check_target, checkpoint_of

    check_target(folder)
    if checkpoint_of(folder).exists() and not allowed:
        raise ValueError(f"{folder} holds an unfinished training: --resume goes on with it, --restart gives it up, or "
                         "choose another folder by --out")


def _run(recipe: "Recipe", examples: "Examples", settings: "Settings", folder: Path, console: Any,
         how: dict[str, Any]) -> None:
    """Train, and say how it ended."""
    from ..train import Paused, PauseOnSignals, ProgressReport, TrainingError
    from ..train.run import checkpoint_of
    from ..train.training import train as run_training

    count = f"{len(examples.train):,} {recipe.things} ({examples.source}), testing on {len(examples.test):,}"
    say(console, f"Training on {count}.")
    pause = PauseOnSignals(lambda: say(console, "Finishing this step and writing a checkpoint ..."))
    try:
        metrics = run_training(recipe, examples, settings, folder, callbacks=[ProgressReport(console), pause], **how)
    except Paused as paused:
        say(console, f"Training {paused}. --resume goes on from there.")
        raise click.exceptions.Exit(INTERRUPTED) from None
    except (OSError, TrainingError) as error:
        kept = checkpoint_of(folder)
        if kept.exists() and isinstance(error, OSError):
            say(console, f"The last checkpoint, in {kept.parent}, is whole: --resume goes on from it.")
        elif kept.exists():
            say(console, f"What led to this is in {kept.parent}; --restart, with other settings, gives it up.")
        raise
    things = f"{'synthetic ' if examples.synthetic else ''}test {recipe.things}"
    say(console, f"Accuracy on {metrics['examples']:,} {things}: {metrics['accuracy']:.1%}. The run is in {folder}")
