"""What a training can be asked for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..ops.arguments import is_int


@dataclass(frozen=True)
class Settings:
    """The numbers and choices of one training; ValueError for what makes no sense.

    seed: governs the first weights, the order of the examples, augmentation, dropout and the validation split.
    augment: change the training pictures at random. validation: the share of the training examples that is set aside
    to evaluate each epoch. patience: end when the validation loss has not got better for so many epochs, and keep the
    weights of the best. schedule: of the learning rate, "constant" or "cosine" (down to 0 in the last epoch). warmup:
    epochs over which the learning rate rises to `lr`. clip_norm: the most that the norm of the gradients may be.
    average: the decay of an exponential moving average of the weights, which is then what is evaluated and kept.
    false_alarm_cost, miss_cost: what the two mistakes of a detector cost; the threshold follows from them, on the
    validation examples.
    """

    epochs: int
    batch_size: int
    lr: float
    seed: int = 0
    augment: bool = False
    validation: float = 0.0
    patience: int | None = None
    schedule: str = "constant"
    warmup: int = 0
    clip_norm: float | None = None
    average: float | None = None
    false_alarm_cost: float | None = None
    miss_cost: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("patience", 1), ("warmup", 0)):
            value = getattr(self, name)
            if not (is_int(value) and value >= least) and not (name == "patience" and value is None):
                raise ValueError(f"{name} must be an int of at least {least}, got {value!r:.80}")
        for name in ("lr", "clip_norm", "false_alarm_cost", "miss_cost"):
            value = getattr(self, name)
            if not (_is_number(value) and value > 0) and not (name != "lr" and value is None):
                raise ValueError(f"{name} must be a positive number, got {value!r:.80}")
        if not _is_number(self.validation) or not 0 <= self.validation < 1:
            raise ValueError(f"validation must be from 0 to below 1, got {self.validation!r:.80}")
        if self.average is not None and not (_is_number(self.average) and 0 < self.average < 1):
            raise ValueError(f"average must be above 0 and below 1, got {self.average!r:.80}")
        if not isinstance(self.augment, bool):
            raise ValueError(f"augment must be True or False, got {self.augment!r:.80}")
        if self.patience is not None and not self.validation:
            raise ValueError("early stopping (patience) needs validation examples: the test examples choose nothing")
        if (self.false_alarm_cost is None) != (self.miss_cost is None):
            raise ValueError("the costs of a false alarm and of a miss belong together: give both or none")
        if self.miss_cost is not None and not self.validation:
            raise ValueError("a threshold by costs needs validation examples: the test examples choose nothing")
        if not isinstance(self.schedule, str) or self.schedule not in ("constant", "cosine"):
            raise ValueError(f"schedule must be 'constant' or 'cosine', got {self.schedule!r:.80}")
        if self.warmup >= self.epochs:
            raise ValueError(f"warmup must be shorter than the training of {self.epochs} epochs, got {self.warmup}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def changed(settings: Settings, asked: Mapping[str, Any]) -> list[str]:
    """What is asked for (not None) and differs from the settings, in words."""
    return [f"{f.name} {asked[f.name]} (it was {getattr(settings, f.name)})" for f in fields(settings)
            if asked.get(f.name) is not None and asked[f.name] != getattr(settings, f.name)]
