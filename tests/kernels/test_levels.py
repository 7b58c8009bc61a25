"""Which vector level the CPU's kernels run at."""

import numpy as np
import pytest

from minicnn.kernels import cpu

ALL = ("baseline", "avx2", "avx512")


@pytest.mark.parametrize("levels, forced, expected", [
    (ALL, None, "avx512"), (ALL, "", "avx512"), (ALL, "avx2", "avx2"), (ALL[:2], None, "avx2"),
    (ALL[:1], None, "baseline"),
])
def test_the_widest_level_unless_one_is_forced(levels, forced, expected, monkeypatch):
    monkeypatch.setattr(cpu, "LEVELS", levels)
    monkeypatch.delenv("MINICNN_VECTOR", raising=False)
    if forced is not None:
        monkeypatch.setenv("MINICNN_VECTOR", forced)
    assert cpu._chosen_level() == expected


def test_a_level_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(cpu, "LEVELS", ALL[:2])
    monkeypatch.setenv("MINICNN_VECTOR", "avx512")
    with pytest.raises(ImportError, match="MINICNN_VECTOR=avx512: there is baseline, avx2 here"):
        cpu._chosen_level()


@pytest.mark.parametrize("name, c, k, groups, expected", [
    ("conv2d_forward", 3, 32, 1, "avx512"), ("conv2d_forward", 32, 24, 1, "avx2"),
    ("conv2d_input_grad", 24, 64, 1, "avx2"), ("conv2d_input_grad", 64, 24, 1, "avx512"),
    ("conv2d_weight_grad", 64, 80, 1, "avx2"), ("conv2d_forward", 128, 128, 32, "avx2"),
    ("conv2d_forward", 96, 96, 96, "avx512"),
])
def test_convolutions_that_do_not_fill_wide_tiles_take_narrow_ones(name, c, k, groups, expected, monkeypatch):
    asked = []
    monkeypatch.setattr(cpu, "LEVELS", ALL)
    monkeypatch.setattr(cpu, "level", "avx512")
    monkeypatch.setattr(cpu, "kernel", lambda name, level: asked.append(level))
    monkeypatch.setattr(cpu, "partial", lambda function, **_: function)
    sizes = {"N": 1, "H": 8, "W": 8, "C": c, "R": 3, "S": 3, "K": k, "P": 8, "Q": 8}
    params = {"stride": (2, 2), "dilation": (1, 1), "groups": groups}
    cpu.algorithm(name, sizes, params, np.dtype(np.float32), "auto")
    assert asked == [expected]
