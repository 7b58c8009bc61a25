"""What an unfinished run is made of, kept in its checkpoint: a run goes on as it was begun, or not at all."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, cast

from .. import data, optim
from . import checkpoint as checkpoints
from .recipes import Examples, Recipe, find
from .run import checkpoint_of
from .settings import Settings
from .trainer import Callback, Trainer


class Made(NamedTuple):
    """What an unfinished run was made of: enough to go on with it."""

    recipe: Recipe
    settings: Settings
    source: str
    synthetic: bool


def unfinished(out: str | Path) -> Made | None:
    """What the unfinished run at `out` was made of; None if there is no checkpoint. ValueError if it is broken."""
    path = checkpoint_of(out)
    if not path.is_file():
        return None
    state = checkpoints.read(path)
    try:
        made = state["Provenance"]
        recipe, settings = find(made["recipe"]), Settings(**made["settings"])
        recipe.check(settings)
        if not (isinstance(made["source"], str) and isinstance(made["synthetic"], bool)):
            raise TypeError(f"the data are from {made['source']!r:.80}, synthetic {made['synthetic']!r:.80}")
        return Made(recipe, settings, made["source"], made["synthetic"])
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the checkpoint of such a training ({error})") from error


class Provenance(Callback):
    """Keeps in the checkpoint what a run is made of, and goes on with no other data."""

    def __init__(self, recipe: Recipe, examples: Examples, settings: Settings) -> None:
        self.made = {"recipe": recipe.name, "settings": asdict(settings), "source": examples.source,
                     "synthetic": examples.synthetic,
                     "fingerprint": [data.fingerprint(part) for part in (examples.train, examples.test)],
                     "augmentation": [repr(transform) for transform in recipe.augment if settings.augment]}

    def on_start(self, trainer: Trainer, epochs: int, steps: int | None) -> None:
        """ValueError if a part of what was loaded is missing or of another step than the rest."""
        taken = trainer.epoch * (steps or 0) + trainer.step
        optimizer = cast(optim.Optimizer, trainer.optimizer)
        counts = [("optimizer", optimizer.state.get(parameter, {"step": 0})["step"])
                  for group in optimizer.param_groups for parameter in group["params"]]
        if trainer.average is not None:
            counts.append(("average", trainer.average.updates))
        if trainer.schedule is not None:
            counts.append(("schedule", trainer.schedule.last_epoch))
        for part, count in counts:
            if count != taken:
                raise ValueError(f"a damaged checkpoint: {taken} steps were taken, but its {part} knows of {count}")

    def state_dict(self) -> dict[str, Any]:
        """Words and numbers."""
        return self.made

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """ValueError if that is not what this run is made of."""
        if state["fingerprint"] != self.made["fingerprint"]:
            raise ValueError(f"{self.made['source']}: not the data that the run was begun with (from "
                             f"{state['source']})")
        for part in ("recipe", "settings", "augmentation"):
            if state[part] != self.made[part]:
                raise ValueError(f"the run was begun with another {part}: {state[part]}, now it is {self.made[part]}")
