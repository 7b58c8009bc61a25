"""Which kernels a 3-D convolution runs, and that their threads don't matter."""

import numpy as np
import pytest

import minicnn as mc

F = mc.nn.functional
RNG = np.random.default_rng(2)


def runs(x, weight, **options):
    """Kernels and their algorithms."""
    with mc.trace_kernels() as trace:
        F.conv3d(mc.tensor(RNG.standard_normal(x), np.float32), mc.tensor(RNG.standard_normal(weight), np.float32),
                 **options)
    return [(run.kernel, run.algorithm) for run in trace]


def test_one_picture_with_the_planes_around_as_channels():
    assert runs((2, 5, 8, 8, 4), (3, 3, 3, 4, 6)) == [
        ("strided_get", ""), ("strided_get", ""), ("conv2d_forward", "direct")]


@pytest.mark.parametrize("weight, options", [
    ((1, 1, 1, 4, 6), {}), ((1, 3, 3, 4, 6), {"padding": (0, 1, 1)}), ((1, 3, 3, 4, 6), {"stride": (1, 2, 2)}),
    ((3, 1, 1, 4, 6), {"padding": (1, 0, 0)}), ((3, 1, 1, 4, 6), {"stride": (2, 1, 1)})])
def test_filters_that_need_no_planes_side_by_side(weight, options):
    assert [name for name, _ in runs((2, 5, 8, 8, 4), weight, **options)] == ["conv2d_forward"]


def test_one_filter_a_channel_has_an_algorithm_of_its_own():
    kernels = runs((1, 5, 8, 8, 4), (3, 3, 3, 1, 4), groups=4)
    assert [run for run in kernels if run[0] == "conv2d_forward"] == [("conv2d_forward", "depthwise")] * 3


def test_large_filters_take_winograds_algorithm():
    assert runs((1, 3, 16, 16, 32), (3, 3, 3, 32, 32))[-1] == ("conv2d_forward", "winograd")


@pytest.mark.parametrize("name, channels, groups", [("conv3d", 8, 1), ("conv3d", 8, 8), ("conv_transpose3d", 70, 2)])
def test_threads_do_not_matter(name, channels, groups):
    def results():
        rng = np.random.default_rng(0)
        x, w = (mc.tensor(rng.standard_normal(shape), np.float32, requires_grad=True)
                for shape in ((3, 6, 9, 10, channels), (3, 2, 3, channels // groups, channels)))
        y = getattr(F, name)(x, w, stride=(2, 1, 1), padding=1, groups=groups)
        (y * y).sum().backward()
        return [a.numpy() for a in (y, x.grad, w.grad)]

    before = mc.get_num_threads()
    try:
        mc.set_num_threads(1)
        one = results()
        mc.set_num_threads(3)
        assert all(np.array_equal(a, b) for a, b in zip(one, results(), strict=True))
    finally:
        mc.set_num_threads(before)
