"""Walks with few and many axes, other types, and steps of many parameters at once."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba.cuda", reason="the GPU's kernels need numba-cuda")

from minicnn.kernels import cpu, cuda  # noqa: E402
from minicnn.kernels.cuda import optim  # noqa: E402
from minicnn.kernels.cuda.axes import broadcast, check_size, collapse, contiguous, split  # noqa: E402
from minicnn.kernels.cuda.devices import open_device  # noqa: E402
from minicnn.kernels.cuda.emulated import mode  # noqa: E402
from minicnn.kernels.cuda.memory import DeviceArray, empty, to_device, to_numpy  # noqa: E402

EMULATOR = open_device("emulator")


def there(array: Any) -> DeviceArray:
    return to_device(np.asarray(array), EMULATOR)


# ------------------------------------------------------------------------------------------------------ axes


def test_axes_collapse_where_all_arrays_go_on() -> None:
    assert contiguous((2, 3, 5)) == (15, 5, 1)
    assert broadcast((3, 1), (2, 3, 5)) == (0, 1, 0)
    assert collapse((2, 3, 5), (15, 5, 1), (15, 5, 1)) == ((30,), [(1,), (1,)])
    assert collapse((2, 3, 5), (15, 5, 1), (0, 0, 1)) == ((6, 5), [(5, 1), (0, 1)])
    assert collapse((2, 1, 3), (3, 9, 1), (1, 7, 2)) == ((2, 3), [(3, 1), (1, 2)])
    assert collapse((1, 1), (5, 5)) == ((), [()])


def test_walks_are_split_into_ones_of_few_axes() -> None:
    assert list(split((7,), [(3,)], 2)) == [((1, 7), [(0, 3)], [0])]
    assert list(split((2, 5, 7), [(100, 10, 1), (0, 1, 0)], 2)) == [
        ((5, 7), [(10, 1), (1, 0)], [0, 0]), ((5, 7), [(10, 1), (1, 0)], [100, 0])]


def test_arrays_beyond_32_bits_are_refused() -> None:
    class Huge:
        shape, size = (2**16, 2**16), 2**32

    with pytest.raises(ValueError, match="fewer than 2"):
        check_size("add", Huge())


@pytest.mark.parametrize("shapes", [((3, 1, 2, 1, 4, 1, 5), (1, 2, 1, 3, 1, 2, 5)),
                                    ((2, 1, 2, 1, 2, 1, 8), (1, 3, 1, 3, 1, 3, 1))])
def test_formulas_broadcast_along_any_number_of_axes(shapes: tuple[tuple[int, ...], ...]) -> None:
    """More than three that do not collapse: launched in parts, whose rows may be read four numbers at a time."""
    random = np.random.default_rng(0)
    a, b = (random.normal(size=shape) for shape in shapes)
    y = empty(np.broadcast_shapes(*shapes), np.float64, EMULATOR)
    with mode("checked"):
        cuda.kernel("sub")(there(a), there(b), y)
    np.testing.assert_array_equal(to_numpy(y), a - b)


# -------------------------------------------------------------------------------------------------- other types

DTYPES = [np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_]


@pytest.mark.parametrize("given", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("wanted", DTYPES, ids=lambda dtype: dtype.__name__)
def test_arrays_become_those_of_another_type(given: Any, wanted: Any) -> None:
    x = np.array([0, 1, 2, 3.7, 100, 0.3, 255] * 3).astype(given)
    if np.dtype(given).kind in "fi" and wanted is not np.uint8:
        x[::5] *= -1
    got = there(x).astype(wanted)
    assert got.dtype == wanted
    np.testing.assert_array_equal(to_numpy(got), x.astype(wanted))


@pytest.mark.parametrize("given", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_negative_floats_become_bytes_by_way_of_integers(given: Any) -> None:
    """Which wrap around, as they do in NumPy where it lets them."""
    got = there(np.array([-1, -3.7, -255, 254.9], given)).astype(np.uint8)
    assert to_numpy(got).tolist() == [255, 253, 1, 254]


def test_part_of_an_array_is_the_same_memory() -> None:
    x = there(np.arange(12.0).reshape(3, 4))
    part = x.after(5)
    assert (part.shape, part.address) == ((7,), x.address + 40)
    assert part.reshape(7, 1).address == part.address


# ---------------------------------------------------------------------------------------------- many parameters

SIZES = (3, 1025, 0, 1, 5000, 1024, 17)


def parameters(seed: int) -> list[np.ndarray]:
    """Of these numbers the mean of squares is above the square of the mean, as RMSprop has it."""
    random = np.random.default_rng(seed)
    return [random.uniform(0.5, 0.6, size).astype(np.float32) for size in SIZES]


@pytest.mark.parametrize(("name", "lists", "params"), [
    ("sgd_step", 3, (0.1, 0.9, 0.1, 0.01, False, False)), ("adam_step", 4, (0.01, 0.9, 0.999, 1e-8, 0.1, True, 3)),
    ("rmsprop_step", 5, (0.01, 0.99, 1e-8, 0.1, 0.9)), ("adagrad_step", 3, (0.1, 1e-10, 0.0)),
    ("average_step", 2, (0.1, 1.0))])
def test_all_parameters_in_one_launch(name: str, lists: int, params: tuple[Any, ...],
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    launched = []
    launch = optim.launch
    monkeypatch.setattr(optim, "launch", lambda *arguments: (launched.append(arguments), launch(*arguments)))
    here = [parameters(seed) for seed in range(lists)]
    on_device = [[there(array) for array in column] for column in here]
    with mode("checked"):
        cuda.kernel(name)(*on_device, *params)
    assert len(launched) == 1
    cpu.kernel(name)(*here, *params)
    for column, expected in zip(on_device, here, strict=True):
        for array, one in zip(column, expected, strict=True):
            np.testing.assert_allclose(to_numpy(array), one, rtol=1e-5)


def test_a_parameter_that_comes_twice_moves_twice() -> None:
    p, g = there(np.ones(5)), [there(np.full(5, 1.0)), there(np.full(5, 2.0))]
    cuda.kernel("sgd_step")([p, p], g, [None, None], 0.1, 0.0, 0.0, 0.0, False, True)
    np.testing.assert_allclose(to_numpy(p), 0.7)


def test_nothing_to_step_is_fine_and_two_dtypes_are_not() -> None:
    cuda.kernel("average_step")([], [], 0.1, 1.0)
    mixed = [there(np.ones(2)), there(np.ones(2, np.float32))]
    with pytest.raises(TypeError, match="one dtype"):
        cuda.kernel("average_step")(mixed, mixed, 0.1, 1.0)
