"""How good a model is on labelled examples, whatever its kind: a detector with one logit, or one logit a class."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import data
from ..data.transforms import ToFloat
from ..nn import Module
from ..nn import functional as F
from ..tensor import tensor
from .evaluation import predict
from .metric_reports import binary_report, class_report
from .threshold import best_threshold

EVALUATION_BATCH = 100


def loader(examples: data.Dataset, device: str = "cpu") -> data.DataLoader:
    """Batches of pictures in their own order, to evaluate with."""
    return data.DataLoader(examples, batch_size=EVALUATION_BATCH, transform=ToFloat(), device=device)


def device_of(model: Module) -> str:
    """Where a model computes."""
    return next((own.device for own in [*model.parameters(), *model.buffers()]), "cpu")


def class_names(model: Module, count: int) -> list[str]:
    """The names of the classes that the model was trained with, or their numbers where it knows no names. ValueError
    if it has other names than the `count` that its outputs are for."""
    names = getattr(model, "config", {}).get("classes") or [str(number) for number in range(count)]
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"the model is for {count} classes, but the names it has are {', '.join(names)!r:.80}")
    return list(names)


def threshold_of(model: Module) -> float:
    """The logit above which a detector says yes: 0, a probability of one half, unless it was chosen by costs."""
    return float(getattr(model, "config", {}).get("threshold", 0.0))


def evaluate_model(model: Module, examples: data.Dataset) -> dict[str, Any]:
    """The mean loss and `binary_report` or `class_report` of a model on labelled examples."""
    outputs, labels = predict(model, loader(examples, device_of(model)))
    return judge(model, outputs, labels)


def judge(model: Module, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The same for outputs that are there already. ValueError if they do not fit the labels or are not numbers."""
    check_numbers(outputs)
    if labels.ndim == 2:
        if outputs.shape != labels.shape:
            raise ValueError(f"the model gives outputs of shape {outputs.shape}, expected a logit a picture, "
                             f"{labels.shape}")
        loss = F.binary_cross_entropy_with_logits(tensor(outputs), tensor(labels)).item()
        return {"loss": loss, **binary_report(labels, outputs, threshold_of(model))}
    if outputs.ndim != 2 or len(outputs) != len(labels) or labels.max() >= outputs.shape[1]:
        raise ValueError(f"the model gives outputs of shape {outputs.shape}, expected a logit for each of "
                         f"{labels.max() + 1} classes, for {len(labels)} pictures")
    loss = F.cross_entropy(tensor(outputs), tensor(labels)).item()
    return {"loss": loss, **class_report(labels, outputs, class_names(model, outputs.shape[1]))}


def check_numbers(outputs: np.ndarray) -> None:
    """ValueError unless all that a model gives is finite."""
    if not np.isfinite(outputs).all():
        raise ValueError("the model gives nan or infinite outputs: its weights are damaged, or its training went wrong")


def choose_threshold(model: Module, validation: data.Dataset, false_alarm_cost: float, miss_cost: float) -> float:
    """The threshold of a detector that costs least on the validation examples."""
    outputs, labels = predict(model, loader(validation, device_of(model)))
    return best_threshold(labels, outputs, false_alarm_cost, miss_cost).threshold


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Logits (N, K) to probabilities (N, K); of a detector's (N, 1), to those of both classes, (N, 2)."""
    if outputs.shape[1] == 1:
        yes = F.sigmoid(tensor(outputs)).numpy()
        return np.concatenate([1 - yes, yes], axis=1)
    return F.softmax(tensor(outputs), dim=-1).numpy()


def most_likely(chances: Sequence[float] | np.ndarray, count: int) -> list[int]:
    """The `count` likeliest classes, the likeliest first."""
    return [int(place) for place in np.argsort(-np.asarray(chances), kind="stable")[:count]]
