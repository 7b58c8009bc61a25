"""Optimizers, schedules of the learning rate, limits on gradients, and a running average of the weights."""

from .adagrad import Adagrad
from .adam import Adam, AdamW
from .average import ExponentialMovingAverage
from .clip import clip_grad_norm_, clip_grad_value_
from .one_cycle import OneCycleLR
from .optimizer import Optimizer
from .plateau import ReduceLROnPlateau
from .rmsprop import RMSprop
from .schedules import CosineAnnealingLR, ExponentialLR, LinearLR, SequentialLR, StepLR
from .sgd import SGD

__all__ = [
    "SGD", "Adagrad", "Adam", "AdamW", "CosineAnnealingLR", "ExponentialLR", "ExponentialMovingAverage", "LinearLR",
    "OneCycleLR", "Optimizer", "RMSprop", "ReduceLROnPlateau", "SequentialLR", "StepLR", "clip_grad_norm_",
    "clip_grad_value_",
]
