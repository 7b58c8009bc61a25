"""How reductions are laid out, and what is lost by none of it. Their values: the cases of the contracts."""

import numpy as np
import pytest

pytest.importorskip("numba.cuda", reason="the GPU's kernels need numba-cuda")

from minicnn.dispatch import check  # noqa: E402
from minicnn.kernels import cuda  # noqa: E402
from minicnn.kernels.cuda.compiler import THREADS  # noqa: E402
from minicnn.kernels.cuda.devices import open_device  # noqa: E402
from minicnn.kernels.cuda.launcher import launch  # noqa: E402
from minicnn.kernels.cuda.layout import BUSY, Layout, layout  # noqa: E402
from minicnn.kernels.cuda.memory import empty, to_device, to_numpy  # noqa: E402
from minicnn.kernels.cuda.norm import moments  # noqa: E402
from minicnn.kernels.cuda.roofline import Recording, stated  # noqa: E402

SHAPES = [(1, 1, 1), (1, 10**6, 64), (64, 10, 1), (10**6, 1000, 1), (1, 10**8, 1), (3, 5000, 7), (5, 1, 10**6),
          (2, 0, 9)]


@pytest.mark.parametrize("warps", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_and_parts_cover_the_array_without_an_empty_one(shape, warps):
    outer, length, inner = shape
    how = layout(shape, warps=warps)
    blocks, parts = how.grid
    assert blocks << how.bits >= outer * inner > (blocks - 1) << how.bits
    assert parts * how.each >= length >= (parts - 1) * how.each
    assert parts == 1 or blocks * parts <= BUSY


def test_long_reductions_of_few_columns_keep_the_device_busy():
    assert layout((1, 10**6, 64)).parts > 100
    assert layout((1, 10**6, 64), split=False).parts == 1


def test_middling_rows_are_taken_by_warps_where_that_may_be():
    assert layout((64, 1000, 1)).by_warp
    assert not layout((64, 1000, 1), warps=False).by_warp
    assert not layout((64, 1000, 2)).by_warp


def test_an_array_that_indices_of_32_bits_cannot_count_is_refused():
    with pytest.raises(ValueError, match="65536 x 65536 x 1 elements, expected at most"):
        layout((2**16, 2**16, 1))


@pytest.mark.parametrize("place", [0, 1200, 2047])
def test_the_variance_survives_one_number_far_from_the_others(gpu, place):
    """Sums shifted by that number would lose 2048 roundings; all is held to what the contracts' cases allow."""
    x = np.random.default_rng(0).normal(size=(2048, 5)).astype(np.float32)
    x[place] += 3000
    there = to_device(x, open_device(gpu))
    mean, var = (empty((5,), np.float32, there.device) for _ in range(2))
    cuda.kernel("batch_norm_stats")(there, mean, var)
    allowed = 16 * np.finfo(np.float32).eps * 2048**0.5
    np.testing.assert_allclose(to_numpy(var), x.astype(np.float64).var(0), rtol=allowed)
    np.testing.assert_allclose(to_numpy(mean), x.astype(np.float64).mean(0), rtol=allowed)


@pytest.mark.parametrize("how", [Layout(False, 4, 2, 256, 9, 257, 9), Layout(False, 5, 1, 24000, 1, 24000, 1)],
                         ids=["a part of fewer rows than threads", "long columns of a thread"])
def test_moments_in_layouts_of_larger_arrays(how, gpu):
    """65,793 rows of 9 channels end like the first; a thread finds 3000 numbers where there are rows by the million.
    The first number of each thread is far from the others: as the shift of them all it would cost their digits."""
    x = np.random.default_rng(0).normal(size=(how.length, how.inner)).astype(np.float32)
    x[:THREADS >> how.bits] += 3000
    there = to_device(x, open_device(gpu))
    means, variances = (empty((how.parts, how.outputs), np.float32, there.device) for _ in range(2))
    launch(moments(there.dtype, "variance", how.by_warp), how.grid, there, means, variances, 0.0, *how.sizes)
    parts = [x[first:first + how.each].astype(np.float64) for first in range(0, how.length, how.each)]
    scale = 16 * np.finfo(np.float32).eps * how.length**0.5
    np.testing.assert_allclose(to_numpy(means), [part.mean(0) for part in parts], rtol=scale)
    expected = np.array([part.var(0) for part in parts])
    np.testing.assert_allclose(to_numpy(variances), expected, rtol=0, atol=scale * expected.max())


def test_rows_beside_one_with_an_index_outside_are_right_and_who_reads_is_told(gpu):
    device = open_device(gpu)
    x, index = to_device(np.zeros((3, 4), np.float32), device), to_device(np.array([0, -100, 4]), device)
    y, log = to_device(np.full(3, 7.0, np.float32), device), to_device(np.full((3, 4), 7.0, np.float32), device)
    cuda.kernel("cross_entropy")(x, index, y, log, -100)
    with pytest.raises(IndexError, match=r"cross_entropy: index\[2\] is 4, expected 0 to 3"):
        to_numpy(y)
    np.testing.assert_allclose(to_numpy(y), [np.log(4), 0, 0], rtol=1e-6)


@pytest.mark.parametrize(("name", "shapes", "params"), [
    ("jitter", [(100_000, 6), (100_000,), (100_000,), (6,), (100_000, 6), (100_000,)], ()),
    ("scatter", [(1, 10**7, 1), (1, 10**7, 1), (1, 2, 1)], (2, True)),
    ("matmul", [(1, 3, 8), (1, 8, 10**7), (10**7,), (1, 3, 10**7)], (False, False))])
def test_grids_reach_beyond_65535_blocks(name, shapes, params):
    """Along y and z a GPU takes no more. Nothing is computed: the launches are recorded."""
    device = Recording()
    arrays = [empty(shape, np.float32, device) for shape in shapes]
    cuda.kernel(name)(*arrays, *params)
    assert device.recorder.launched


@pytest.mark.parametrize(("name", "launches"), [("batch_norm_grad", 4), ("batch_norm_pool_grad", 3),
                                                ("group_norm_grad", 5)])
def test_a_gradient_adds_up_both_of_its_sums_at_once(name, launches):
    """Of a layer as in a ResNet's first stage."""
    device = Recording()
    stated(name, device, check).run()
    assert len(device.recorder.launched) == launches
