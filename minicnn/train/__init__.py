"""Training: the loop, the metrics, and the folder that a run leaves behind."""

from .loop import Callback, History, TrainingError, evaluate, fit, predict
from .metrics import accuracy, binary_report, confusion_matrix, f1, precision, recall, roc_auc

__all__ = [
    "Callback", "History", "TrainingError", "accuracy", "binary_report", "confusion_matrix", "evaluate", "f1", "fit",
    "precision", "predict", "recall", "roc_auc",
]
