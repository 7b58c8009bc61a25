"""Optimizers, schedules of the learning rate, and limits on gradients."""

from .adagrad import Adagrad
from .adam import Adam, AdamW
from .clip import clip_grad_norm_, clip_grad_value_
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .schedules import CosineAnnealingLR, ExponentialLR, OneCycleLR, ReduceLROnPlateau, StepLR
from .sgd import SGD

__all__ = [
    "SGD", "Adagrad", "Adam", "AdamW", "CosineAnnealingLR", "ExponentialLR", "OneCycleLR", "Optimizer", "RMSprop",
    "ReduceLROnPlateau", "StepLR", "clip_grad_norm_", "clip_grad_value_",
]
