"""Cases of the optimizers' steps: every setting on every shape."""

from collections.abc import Iterator
from itertools import product

from .case import NAN, Built, Case, Draw

SHAPES: dict[str, tuple[int, ...]] = {
    "scalar": (), "one": (1,), "empty": (0, 3), "primes": (7, 13), "large": (331, 109)}

#: momentum, weight_decay, nesterov, first.
SGD = ((0.0, 0.0, False, True), (0.0, 0.1, False, False), (0.9, 0.0, False, True), (0.9, 0.1, False, False),
       (0.9, 0.1, True, True), (0.8, 0.0, True, False))
#: weight_decay, decoupled, step.
ADAM = ((0.0, False, 1), (0.1, False, 2), (0.1, True, 1), (0.1, True, 10_000))


def sgd_step(shape: tuple[int, ...], momentum: float, weight_decay: float, nesterov: bool, first: bool,
             draw: Draw) -> Built:
    velocity = draw(*shape) if momentum else None
    if first and velocity is not None:
        velocity.fill(NAN)  # the first step may not read what nobody has written
    return [draw(*shape), draw(*shape), velocity], {
        "lr": 0.05, "momentum": momentum, "dampening": 0.2 if momentum and not nesterov else 0.0,
        "weight_decay": weight_decay, "nesterov": nesterov, "first": first}


def adam_step(shape: tuple[int, ...], weight_decay: float, decoupled: bool, step: int, draw: Draw) -> Built:
    return [draw(*shape), draw(*shape), draw(*shape), draw.between(0.1, 2, *shape)], {
        "lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": weight_decay, "decoupled": decoupled,
        "step": step}


def rmsprop_step(shape: tuple[int, ...], centered: bool, momentum: float, weight_decay: float, draw: Draw) -> Built:
    """mean^2 stays well below square, as in training; where they meet, their difference has no digits to compare."""
    mean = draw.between(-0.5, 0.5, *shape) if centered else None
    return [draw(*shape), draw(*shape), draw.between(1, 2, *shape), mean, draw(*shape) if momentum else None], {
        "lr": 0.01, "alpha": 0.99, "eps": 1e-8, "weight_decay": weight_decay, "momentum": momentum}


def adagrad_step(shape: tuple[int, ...], weight_decay: float, draw: Draw) -> Built:
    return [draw(*shape), draw(*shape), draw.between(0, 2, *shape)], {
        "lr": 0.1, "eps": 1e-10, "weight_decay": weight_decay}


def average_step(shape: tuple[int, ...], draw: Draw) -> Built:
    return [draw(*shape), draw(*shape)], {"rate": 0.1, "scale": 1.25}


def cases() -> Iterator[Case]:
    settings = [("sgd_step", sgd_step, setting) for setting in SGD]
    settings += [("adam_step", adam_step, setting) for setting in ADAM]
    settings += [("rmsprop_step", rmsprop_step, setting) for setting in product((False, True), (0.0, 0.9), (0.0, 0.1))]
    settings += [("adagrad_step", adagrad_step, (0.0,)), ("adagrad_step", adagrad_step, (0.1,)),
                 ("average_step", average_step, ())]
    for name, build, setting in settings:
        for label, shape in SHAPES.items():
            words = [label, *map(str, setting)]
            yield Case(name, "_".join(words), build, (shape, *setting))
