"""Schedules: whole sequences against PyTorch, some by hand, saving, refusals."""

import json

import numpy as np
import pytest

import minicnn as mc
from minicnn import optim


def made(name="SGD", **options):
    """An optimizer with two groups, with rates 0.5 and 0.05."""
    params = [{"params": [mc.ones(1)], "lr": 0.5}, {"params": [mc.ones(1)], "lr": 0.05}]
    return getattr(optim, name)(params, **options)


SEQUENCES = {
    "step": ("StepLR", {"step_size": 3}, 10),
    "step, gamma": ("StepLR", {"step_size": 2, "gamma": 0.7}, 9),
    "exponential": ("ExponentialLR", {"gamma": 0.8}, 10),
    "cosine": ("CosineAnnealingLR", {"T_max": 10}, 35),
    "cosine, odd": ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}, 30),
    "cosine, one": ("CosineAnnealingLR", {"T_max": 1, "eta_min": 0.1}, 6),
    "one cycle": ("OneCycleLR", {"max_lr": 1.0, "total_steps": 20}, 20),
    "one cycle, epochs": ("OneCycleLR", {"max_lr": [1.0, 0.1], "epochs": 4, "steps_per_epoch": 6}, 24),
    "one cycle, linear": ("OneCycleLR", {"max_lr": 1.0, "total_steps": 15, "anneal_strategy": "linear",
                                         "div_factor": 10, "final_div_factor": 50}, 15),
    "one cycle, three phases": ("OneCycleLR", {"max_lr": 1.0, "total_steps": 25, "three_phase": True,
                                               "base_momentum": 0.7, "max_momentum": [0.9, 0.8]}, 25),
    "one cycle, no momentum": ("OneCycleLR", {"max_lr": 1.0, "total_steps": 9, "cycle_momentum": False}, 9),
    "one cycle, down only": ("OneCycleLR", {"max_lr": 1.0, "total_steps": 9, "pct_start": 0.0}, 9),
    "one cycle, up only": ("OneCycleLR", {"max_lr": 1.0, "total_steps": 9, "pct_start": 1.0}, 8),
    "linear": ("LinearLR", {}, 9),
    "linear, down": ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 4}, 7),
    "linear, long": ("LinearLR", {"start_factor": 1e-3, "end_factor": 0.9, "total_iters": 100}, 110),
}


@pytest.mark.parametrize("base", ["SGD", "Adam"])
@pytest.mark.parametrize("name, options, length", SEQUENCES.values(), ids=SEQUENCES)
def test_sequences_are_pytorchs(name, options, length, base):
    torch = pytest.importorskip("torch")
    extra = {"momentum": 0.9} if base == "SGD" else {}
    ours = made(base, **extra)
    theirs = getattr(torch.optim, base)([{"params": [torch.ones(1)], "lr": lr} for lr in (0.5, 0.05)], **extra)
    schedule = getattr(optim, name)(ours, **options)
    reference = getattr(torch.optim.lr_scheduler, name)(theirs, **options)
    theirs.step()  # PyTorch warns if its schedule steps first
    for _ in range(length):
        np.testing.assert_allclose(schedule.get_last_lr(), reference.get_last_lr(), rtol=1e-9, atol=1e-12)
        assert [g["lr"] for g in ours.param_groups] == schedule.get_last_lr()
        for key in ("momentum", "betas"):
            np.testing.assert_allclose([g.get(key, 0) for g in ours.param_groups],
                                       [g.get(key, 0) for g in theirs.param_groups], rtol=1e-12)
        schedule.step()
        reference.step()
    last = np.maximum(reference.get_last_lr(), 0)  # PyTorch's straight line goes on below 0 after the cycle's end
    np.testing.assert_allclose(schedule.get_last_lr(), last, rtol=1e-9, atol=1e-12)


CHAINS = {  # schedules by name and options, milestones, length
    "warm-up, cosine": ([("LinearLR", {"start_factor": 0.1, "total_iters": 5}), ("CosineAnnealingLR", {"T_max": 12})],
                        [5], 30),
    "warm-up cut short": ([("LinearLR", {"total_iters": 9}), ("ExponentialLR", {"gamma": 0.8})], [4], 10),
    "three": ([("ExponentialLR", {"gamma": 0.5}), ("StepLR", {"step_size": 2}), ("LinearLR", {"total_iters": 3})],
              [3, 8], 14),
    "one alone": ([("StepLR", {"step_size": 2})], [], 6),
}


def chained(module, optimizer, parts, milestones):
    """A SequentialLR of ours or of PyTorch's."""
    schedules = [getattr(module, name)(optimizer, **options) for name, options in parts]
    return module.SequentialLR(optimizer, schedules, milestones)


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")  # PyTorch's first steps come before any other
@pytest.mark.parametrize("parts, milestones, length", CHAINS.values(), ids=CHAINS)
def test_chains_are_pytorchs(parts, milestones, length):
    torch = pytest.importorskip("torch")
    ours = made()
    theirs = torch.optim.SGD([{"params": [torch.ones(1)], "lr": lr} for lr in (0.5, 0.05)])
    schedule = chained(optim, ours, parts, milestones)
    reference = chained(torch.optim.lr_scheduler, theirs, parts, milestones)
    for _ in range(length):
        np.testing.assert_allclose(schedule.get_last_lr(), reference.get_last_lr(), rtol=1e-9, atol=1e-12)
        assert [g["lr"] for g in ours.param_groups] == schedule.get_last_lr()
        schedule.step()
        reference.step()
    np.testing.assert_allclose(schedule.get_last_lr(), reference.get_last_lr(), rtol=1e-9, atol=1e-12)


MEASURES = [5, 4, 4, 4, 4.5, 3.9999, 4, 4, 4, 4, 1, 2, 2, 2, 2, 2, 2, 2, float("nan"), 2, 2, 2, 2, 2]


@pytest.mark.parametrize("options", [
    {"patience": 1}, {"patience": 2, "factor": 0.5, "cooldown": 2}, {"patience": 0, "threshold": 0.3},
    {"patience": 1, "threshold": 0.5, "threshold_mode": "abs"}, {"patience": 0, "min_lr": [0.1, 0.01]},
    {"mode": "max", "patience": 1}, {"mode": "max", "patience": 1, "threshold_mode": "abs", "threshold": 0.1},
    {"patience": 0, "factor": 0.99, "eps": 1e-3},
], ids=str)
def test_plateau_is_pytorchs(options):
    torch = pytest.importorskip("torch")
    ours = made()
    theirs = torch.optim.SGD([{"params": [torch.ones(1)], "lr": lr} for lr in (0.5, 0.05)])
    schedule = optim.ReduceLROnPlateau(ours, **options)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for i, measure in enumerate(MEASURES):
        schedule.step(mc.tensor(float(measure)) if i % 2 else measure)
        reference.step(float(np.float32(measure)) if i % 2 else measure)
        np.testing.assert_allclose(schedule.get_last_lr(), reference.get_last_lr(), rtol=1e-12)
        assert [g["lr"] for g in ours.param_groups] == schedule.get_last_lr()


# ------------------------------------------------------------------------------------------------- worked by hand

def rates(schedule, count):
    seen = []
    for _ in range(count):
        seen.append(schedule.get_last_lr()[0])
        schedule.step()
    return seen


def test_sequences_by_hand():
    assert rates(optim.StepLR(made(), 2, gamma=0.5), 6) == [0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    assert rates(optim.ExponentialLR(made(), 0.5), 3) == [0.5, 0.25, 0.125]
    assert rates(optim.CosineAnnealingLR(made(), 2), 5) == pytest.approx([0.5, 0.25, 0, 0.25, 0.5])
    assert rates(optim.LinearLR(made(), 0.5, total_iters=2), 4) == pytest.approx([0.25, 0.375, 0.5, 0.5])
    line = {"anneal_strategy": "linear", "div_factor": 5}
    cycle = optim.OneCycleLR(made(momentum=0.5), 1.0, total_steps=11, pct_start=6 / 11, **line)
    assert rates(cycle, 6) == pytest.approx([0.2, 0.36, 0.52, 0.68, 0.84, 1])


def test_a_warm_up_then_a_cosine_by_hand():
    parts = [("LinearLR", {"start_factor": 0.2, "total_iters": 4}), ("CosineAnnealingLR", {"T_max": 2})]
    assert rates(chained(optim, made(), parts, [4]), 7) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.25, 0])


def test_a_cycle_leaves_the_rates_of_the_schedules_before_it():
    """In PyTorch the whole chain would begin from max_lr / div_factor, by the mere making of the cycle."""
    parts = [("LinearLR", {"start_factor": 0.5, "total_iters": 2}),
             ("OneCycleLR", {"max_lr": 2.0, "total_steps": 9, "cycle_momentum": False})]
    assert rates(chained(optim, made(), parts, [3]), 4) == pytest.approx([0.25, 0.375, 0.5, 2 / 25])


def test_chains_of_chains():
    optimizer = made()
    inner = chained(optim, optimizer, [("LinearLR", {"start_factor": 0.5, "total_iters": 2}),
                                       ("ExponentialLR", {"gamma": 0.1})], [2])
    outer = optim.SequentialLR(optimizer, [optim.ExponentialLR(optimizer, 0.5), inner], [2])
    assert rates(outer, 6) == pytest.approx([0.5, 0.25, 0.25, 0.375, 0.5, 0.05])


def test_plateau_by_hand():
    schedule = optim.ReduceLROnPlateau(made(), factor=0.5, patience=1)
    seen = []
    for measure in (3, 3, 3, 2, 2, 2):
        schedule.step(measure)
        seen.append(schedule.get_last_lr()[0])
    assert seen == [0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_a_rate_changed_by_others_stays_changed():
    optimizer = made()
    schedule = optim.ExponentialLR(optimizer, 0.5)
    optimizer.param_groups[0]["lr"] = 8
    schedule.step()
    assert schedule.get_last_lr() == [4, 0.025]


def test_two_schedules_together():
    optimizer = made()
    both = optim.ExponentialLR(optimizer, 0.5), optim.StepLR(optimizer, 2, 0.1)
    for _ in range(2):
        for schedule in both:
            schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * 0.25 * 0.1)


# --------------------------------------------------------------------------------------------- saving and going on

@pytest.mark.parametrize("name, options, length", SEQUENCES.values(), ids=SEQUENCES)
def test_going_on_from_a_saved_state(name, options, length):
    def both():
        optimizer = made(momentum=0.9)
        return optimizer, getattr(optim, name)(optimizer, **options)

    (first, one), (second, other) = both(), both()
    half = length // 2
    for _ in range(half):
        one.step()
    second.load_state_dict(first.state_dict())
    other.load_state_dict(json.loads(json.dumps(one.state_dict(), allow_nan=False)))
    assert other.get_last_lr() == one.get_last_lr()
    for _ in range(length - half):
        one.step()
        other.step()
        assert other.get_last_lr() == one.get_last_lr()
        assert second.param_groups[0]["momentum"] == first.param_groups[0]["momentum"]


@pytest.mark.parametrize("parts, milestones, length", CHAINS.values(), ids=CHAINS)
def test_a_chain_goes_on_from_a_saved_state(parts, milestones, length):
    for stop in range(length):
        (first, one), (second, other) = ((o, chained(optim, o, parts, milestones)) for o in (made(), made()))
        for _ in range(stop):
            one.step()
        second.load_state_dict(first.state_dict())
        other.load_state_dict(json.loads(json.dumps(one.state_dict(), allow_nan=False)))
        for _ in range(length - stop):
            assert other.get_last_lr() == one.get_last_lr()
            one.step()
            other.step()
        assert [g["lr"] for g in second.param_groups] == [g["lr"] for g in first.param_groups]


def test_a_chain_refuses_a_state_before_anything_changes():
    parts, milestones, _ = CHAINS["three"]
    one, other = chained(optim, made(), parts, milestones), chained(optim, made(), *CHAINS["warm-up, cosine"][:2])
    before = one.state_dict()
    with pytest.raises(ValueError, match="SequentialLR.load_state_dict: 2 schedules came, expected 3"):
        one.load_state_dict(other.state_dict())
    damaged = one.state_dict() | {"last_epoch": 7}
    damaged["schedulers"][0]["gamma"] = 0.9
    damaged["schedulers"][2].pop("start_factor")
    with pytest.raises(ValueError, match="LinearLR.load_state_dict: expected .*start_factor"):
        one.load_state_dict(damaged)
    assert one.state_dict() == before


def test_plateau_goes_on_from_a_saved_state():
    one, other = optim.ReduceLROnPlateau(made(), patience=1), optim.ReduceLROnPlateau(made(), patience=9)
    other.load_state_dict(json.loads(json.dumps(one.state_dict(), allow_nan=False)))  # before the first measure too
    one.step(1.0)
    one.step(1.0)
    other.load_state_dict(one.state_dict())
    other.step(1.0)
    assert other.get_last_lr() == pytest.approx([0.05, 0.005])


def test_last_epoch_goes_on_too():
    optimizer = made()
    first = optim.StepLR(optimizer, 2)
    first.step()
    assert optim.StepLR(optimizer, 2, last_epoch=first.last_epoch).get_last_lr() == pytest.approx([0.05, 0.005])
    with pytest.raises(ValueError, match="StepLR: last_epoch=3 goes on from a schedule, but group 0 has no initial_lr"):
        optim.StepLR(made(), 2, last_epoch=3)


def test_a_state_of_another_schedule_is_refused():
    schedule = optim.StepLR(made(), 2)
    with pytest.raises(ValueError, match="StepLR.load_state_dict: expected .*step_size.* got .*T_max"):
        schedule.load_state_dict(optim.CosineAnnealingLR(made(), 2).state_dict())


# ---------------------------------------------------------------------------------------------------------- refusals

@pytest.mark.parametrize("make, words", [
    (lambda o: optim.StepLR(o, 0), "StepLR: step_size must be a positive int, got 0"),
    (lambda o: optim.CosineAnnealingLR(o, 1.5), "CosineAnnealingLR: T_max must be a positive int, got 1.5"),
    (lambda o: optim.OneCycleLR(o, 1.0), "OneCycleLR: give total_steps, or both epochs and steps_per_epoch"),
    (lambda o: optim.OneCycleLR(o, 1.0, epochs=2, steps_per_epoch=0), "steps_per_epoch must be a positive int, got 0"),
    (lambda o: optim.OneCycleLR(o, 1.0, 10, pct_start=2), "pct_start must be from 0 to 1, got 2"),
    (lambda o: optim.OneCycleLR(o, 1.0, 10, anneal_strategy="cubic"), "'cos' or 'linear', got 'cubic'"),
    (lambda o: optim.OneCycleLR(o, [1.0], 10), "1 numbers of max_lr came for 2 groups"),
    (lambda o: optim.OneCycleLR(made("Adagrad"), 1.0, 10), "Adagrad has no momentum: say cycle_momentum=False"),
    (lambda o: optim.LinearLR(o, 0), "LinearLR: start_factor must be above 0 and at most 1, got 0"),
    (lambda o: optim.LinearLR(o, 0.1, 2), "LinearLR: end_factor must be from 0 to 1, got 2"),
    (lambda o: optim.LinearLR(o, total_iters=0), "LinearLR: total_iters must be a positive int, got 0"),
    (lambda o: optim.SequentialLR(o, [], []), "expected at least one schedule and a milestone between each two, got 0"),
    (lambda o: optim.SequentialLR(o, [optim.LinearLR(o)], [3]), "a milestone between each two, got 1 and 1"),
    (lambda o: optim.SequentialLR(o, [optim.LinearLR(o)] * 3, [3, 3]), r"each above the one before, got \[3, 3\]"),
    (lambda o: optim.SequentialLR(o, [optim.LinearLR(o)] * 2, [0]), r"milestones must be positive ints.* got \[0\]"),
    (lambda o: optim.SequentialLR(o, [optim.LinearLR(made())], []), "schedule 0, LinearLR, is of another optimizer"),
    (lambda o: optim.ReduceLROnPlateau(o, mode="low"), "mode must be 'min' or 'max', got 'low'"),
    (lambda o: optim.ReduceLROnPlateau(o, factor=1.0), "factor must be above 0 and below 1, got 1.0"),
    (lambda o: optim.ReduceLROnPlateau(o, threshold_mode="x"), "threshold_mode must be 'rel' or 'abs', got 'x'"),
])
def test_wrong_options_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make(made())


def test_a_schedule_needs_an_optimizer():
    for make in (lambda o: optim.ExponentialLR(o, 0.5), optim.ReduceLROnPlateau):
        with pytest.raises(TypeError, match="optimizer must be an Optimizer, got list"):
            make([])


def test_a_plateau_cannot_be_chained():
    optimizer = made()
    with pytest.raises(TypeError, match="schedule 0 must be one that steps without a measure, got ReduceLROnPlateau"):
        optim.SequentialLR(optimizer, [optim.ReduceLROnPlateau(optimizer)], [])


def test_a_cycle_ends():
    schedule = optim.OneCycleLR(made(), 1.0, total_steps=3)
    for _ in range(3):
        schedule.step()
    with pytest.raises(ValueError, match="OneCycleLR: the cycle of 3 steps is over"):
        schedule.step()
