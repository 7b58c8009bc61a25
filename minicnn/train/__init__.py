"""Training: the loop, what is told of it, the metrics, and the folder that a run leaves behind."""

from .callbacks import CSVLog, EachEpoch, EarlyStopping
from .evaluation import TrainingError, evaluate, predict
from .history import History
from .metric_reports import binary_report, class_report
from .metrics import accuracy, confusion_matrix, f1, precision, recall, roc_auc, top_k_accuracy
from .progress import ProgressReport
from .signals import PauseOnSignals
from .threshold import best_threshold
from .trainer import Callback, Paused, Trainer

__all__ = [
    "CSVLog", "Callback", "EachEpoch", "EarlyStopping", "History", "PauseOnSignals", "Paused", "ProgressReport",
    "Trainer", "TrainingError", "accuracy", "best_threshold", "binary_report", "class_report", "confusion_matrix",
    "evaluate", "f1", "precision", "predict", "recall", "roc_auc", "top_k_accuracy",
]
