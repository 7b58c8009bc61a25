"""The statistics, on made-up numbers."""

import time

import numpy as np
import pytest

from minicnn.benchmarks import pairs
from minicnn.benchmarks.pairs import Pairing, alone, alternate, counted, quartiles


def test_ratios_are_of_partners():
    pairing = Pairing(ours=[1.0, 2.0, 4.0], other=[3.0, 3.0, 4.0], rounds=4, clean=3)
    assert pairing.ratios == [1.0, 1.5, 3.0]


@pytest.mark.parametrize("values", [[7.0], [1.0, 2.0], [5.0, 1.0, 4.0, 2.0], list(range(11))])
def test_quartiles_are_numpys(values):
    assert quartiles(values) == pytest.approx(np.percentile(values, [25, 50, 75]))


def test_quartiles_of_nothing():
    with pytest.raises(ValueError, match="no values"):
        quartiles([])


def test_disturbed_rounds_are_dropped_with_their_partners():
    rounds = [[float(i), 2.0 * i] for i in range(7)]
    clean = [True, False, True, True, False, True, True]
    assert counted(rounds, clean) == [rounds[i] for i in (0, 2, 3, 5, 6)]


def test_where_nothing_is_clean_all_counts():
    rounds = [[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]
    assert counted(rounds, [True] * 4 + [False] * 2) == rounds


def test_sides_take_turns_and_disturbed_samples_are_counted(monkeypatch):
    calls = []
    first = [(1.0, True), (2.0, True)]  # to see how many calls a turn takes
    samples = iter(first + [(1.0, True), (2.0, True), (1.0, False), (9.0, True)] + [(1.0, True), (2.0, True)] * 4)

    def timed(step, count, warm=False):
        assert count == 1  # a second is long enough for a turn
        step()
        return next(samples)

    monkeypatch.setattr(pairs, "_timed", timed)
    monkeypatch.setattr(pairs, "FEWEST", 5)
    pairing = alternate(lambda: calls.append("ours"), lambda: calls.append("other"), seconds=-1, warmup=1)
    assert calls == ["ours", "other"] * 7
    assert (pairing.rounds, pairing.clean) == (5, 4)
    assert pairing.other == [2.0, 9.0, 2.0, 2.0, 2.0]  # four clean rounds are too few: all count


def test_short_calls_come_in_rows_that_fill_a_turn():
    calls = []

    def short():
        calls.append(time.sleep(0.002))

    found = alone(short, seconds=0, warmup=1)
    assert found.rounds >= found.clean and found.other == []
    assert len(calls) >= 5 * 2 and all(taken >= 0.002 for taken in found.ours)  # on a busy machine a turn holds fewer


def test_alone_takes_time():
    assert all(seconds > 0 for seconds in alone(lambda: sum(range(1000)), seconds=0, warmup=0).ours)
