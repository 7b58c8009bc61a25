"""The memory that arrays live in."""

import gc

import numpy as np
import pytest

import minicnn as mc
from minicnn.kernels.cpu import host


@pytest.fixture(autouse=True)
def limits():
    """Each test begins with nothing kept, and leaves the limit as it was."""
    mc.memory.clear()
    yield
    mc.memory.set_limit(mc.memory.LIMIT)


@pytest.mark.skipif(mc.memory.LIMIT == 0, reason="reuse is off")
def test_memory_is_kept_for_the_next_array_and_no_more_than_allowed():
    mc.zeros(1 << 20)
    assert mc.memory.stats()["kept"] >= 4 << 20
    mc.memory.set_limit(1 << 20)
    assert mc.memory.stats()["kept"] == 0
    mc.zeros(1 << 20)
    assert mc.memory.stats()["kept"] == 0


@pytest.mark.parametrize("wrong", [-1, 1.5, "4 GB", None])
def test_a_limit_is_a_number_of_bytes(wrong):
    with pytest.raises(ValueError, match="limit must be a number of bytes"):
        mc.memory.set_limit(wrong)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 5), (1, 2, 3, 4, 5, 6), (1 << 20,)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_arrays_are_contiguous_and_begin_at_a_cache_line(shape, dtype):
    array = mc.memory.empty(shape, np.dtype(dtype))
    assert array.shape == shape and array.dtype == dtype
    assert array.flags.c_contiguous and array.flags.writeable and array.ctypes.data % 64 == 0
    array[...] = 1


@pytest.mark.parametrize("shape", [(1 << 40, 1 << 40), (-1,), (1 << 62,)])
def test_what_no_memory_could_hold_is_refused(shape):
    with pytest.raises(ValueError, match="larger than the address space"):
        mc.memory.empty(shape, np.dtype("float32"))


class Holder:
    """Something that can hold itself."""

    itself: "Holder"
    array: np.ndarray


@pytest.mark.parametrize("size", range(1000, 40_000, 3000))
def test_a_block_that_the_collector_frees_meanwhile_is_kept_too(size):
    """Making the list of a size that is new to the pool may start a collection, which frees a block of that size."""
    pool, dtype, threshold = host.Pool(1 << 20), np.dtype(np.uint8), gc.get_threshold()
    first, second = pool.array((size,), dtype), pool.array((size,), dtype)
    holder = Holder()
    holder.itself, holder.array = holder, first
    del holder, first
    gc.set_threshold(1)
    try:
        del second
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert pool.kept > 0 == pool.in_use
    again = [pool.array((size,), dtype) for _ in range(2)]
    assert pool.kept == 0 and len(again) == 2  # both were on the shelf
