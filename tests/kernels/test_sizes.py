"""Output sizes, and calls that don't fit: what contracts.py works out before any kernel runs."""

from typing import Any

import numpy as np
import pytest

from minicnn.kernels.contracts import CONTRACTS

from .calling import bind

WINDOW = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
BOTH_WINDOWS = WINDOW | {f"deep_{name}": value for name, value in WINDOW.items()}


def sizes(name: str, *shapes: tuple[int, ...] | None, **params: Any) -> dict[str, Any]:
    return bind(CONTRACTS[name], [None if shape is None else np.zeros(shape) for shape in shapes], params)


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation", "expected"), [
    ((5, 5), (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), (3, 3)),
    ((5, 5), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), (5, 5)),
    ((224, 224), (7, 7), (2, 2), (3, 3, 3, 3), (1, 1), (112, 112)),
    ((8, 9), (2, 3), (3, 2), (1, 0, 0, 2), (1, 1), (3, 5)),
    ((9, 9), (3, 3), (1, 2), (0, 0, 0, 0), (2, 3), (5, 2)),
    ((4, 2), (5, 3), (1, 1), (0, 0, 0, 0), (1, 1), (0, 0)),
    ((0, 4), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), (0, 4)),
])
def test_convolution(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, expected: Any) -> None:
    window = {"stride": stride, "padding": padding, "dilation": dilation, "groups": 1}
    found = sizes("conv2d_forward", (2, *size, 3), (*kernel, 3, 7), (7,), None, **window)
    assert (found["N"], found["P"], found["Q"], found["K"]) == (2, *expected, 7)
    found = sizes("conv2d_input_grad", (2, *expected, 7), (*kernel, 3, 7), size=size, **window)
    assert (found["H"], found["W"], found["C"]) == (*size, 3)
    found = sizes("conv2d_weight_grad", (2, *size, 3), (2, *expected, 7), kernel=kernel, **window)
    assert (found["R"], found["S"], found["D"]) == (*kernel, 3)


def test_convolution_in_groups() -> None:
    window = WINDOW | {"groups": 3}
    assert sizes("conv2d_input_grad", (1, 5, 5, 9), (1, 1, 2, 9), size=(5, 5), **window)["C"] == 6
    assert sizes("conv2d_weight_grad", (1, 5, 5, 6), (1, 5, 5, 9), kernel=(1, 1), **window)["D"] == 2


@pytest.mark.parametrize(("transpose_a", "transpose_b", "a", "b"), [
    (False, False, (2, 3, 4), (2, 4, 5)), (True, False, (2, 4, 3), (2, 4, 5)), (False, True, (2, 3, 4), (1, 5, 4)),
    (True, True, (2, 4, 3), (1, 5, 4))])
def test_matmul(transpose_a: bool, transpose_b: bool, a: Any, b: Any) -> None:
    for bias in (None, (5,)):
        found = sizes("matmul", a, b, bias, transpose_a=transpose_a, transpose_b=transpose_b)
        assert (found["B"], found["M"], found["N"]) == (2, 3, 5)


PLAIN = {"transpose_a": False, "transpose_b": False}

#: Calls that no kernel could answer, and what the error must name.
MISFITS: dict[str, tuple[str, str, list[Any], dict[str, Any]]] = {
    "inner": ("matmul", "inner sizes differ: 4 and 5", [(1, 3, 4), (1, 5, 2), None], PLAIN),
    "inner_transposed": ("matmul", "inner", [(1, 3, 4), (1, 4, 2), None], PLAIN | {"transpose_a": True}),
    "batches": ("matmul", "batches differ: 3 and 2", [(3, 3, 4), (2, 4, 2), None], PLAIN),
    "one_a_many_b": ("matmul", "batches", [(1, 3, 4), (2, 4, 2), None], PLAIN),
    "bias": ("matmul", "bias is 3, expected 2", [(1, 3, 4), (1, 4, 2), (3,)], PLAIN),
    "channels": ("conv2d_forward", "3 channels .* 2 channels", [(1, 5, 5, 3), (3, 3, 2, 4), None, None], WINDOW),
    "conv_bias": ("conv2d_forward", "bias", [(1, 5, 5, 3), (3, 3, 3, 4), (5,), None], WINDOW),
    "conv_add": ("conv2d_forward", "Q of add is 4, expected 3",
                 [(1, 5, 5, 3), (3, 3, 3, 4), None, (1, 3, 4, 4)], WINDOW),
    "filters": ("conv2d_forward", "5 filters .* 2 groups", [(1, 5, 5, 4), (3, 3, 2, 5), None, None],
                WINDOW | {"groups": 2}),
    "depthwise": ("conv2d_forward", "groups", [(1, 5, 5, 4), (3, 3, 4, 4), None, None], WINDOW | {"groups": 4}),
    "joined_filters": ("conv2d_depthwise", "the third size of filters is 2, expected 1",
                       [(1, 5, 5, 4), (1, 1, 4, 8), None, (3, 3, 2, 8), None], BOTH_WINDOWS),
    "dy_rows": ("conv2d_input_grad", "P is 4, expected 3", [(1, 4, 3, 2), (3, 3, 1, 2)], WINDOW | {"size": (5, 5)}),
    "dy_columns": ("conv2d_input_grad", "Q is 2, expected 3", [(1, 3, 2, 2), (3, 3, 1, 2)], WINDOW | {"size": (5, 5)}),
    "dy_filters": ("conv2d_input_grad", "K = 4, expected 2", [(1, 3, 3, 2), (3, 3, 1, 4)], WINDOW | {"size": (5, 5)}),
    "dy_groups": ("conv2d_input_grad", "groups", [(1, 3, 3, 3), (3, 3, 1, 3)], WINDOW | {"size": (5, 5), "groups": 2}),
    "dw_groups": ("conv2d_weight_grad", "3 channels do not divide into 2 groups", [(1, 5, 5, 3), (1, 3, 3, 4)],
                  WINDOW | {"kernel": (3, 3), "groups": 2}),
    "dw_rows": ("conv2d_weight_grad", "P is 4, expected 3", [(1, 5, 5, 3), (1, 4, 3, 4)], WINDOW | {"kernel": (3, 3)}),
    "dw_columns": ("conv2d_weight_grad", "Q is 4, expected 3", [(1, 5, 5, 3), (1, 3, 4, 4)],
                   WINDOW | {"kernel": (3, 3)}),
    "dw_batch": ("conv2d_weight_grad", "N = 2, expected 1", [(1, 5, 5, 3), (2, 3, 3, 4)], WINDOW | {"kernel": (3, 3)}),
    "maximum_of_nothing": ("reduce_max", "R is 0", [(3, 0, 5)], {}),
    "minimum_of_nothing": ("reduce_min", "R is 0", [(3, 0, 5)], {}),
    "mean_of_nothing": ("batch_norm_stats", "M is 0", [(0, 5)], {}),
    "unknown_activation": ("batch_norm_apply", "activation is 'elu', expected '' or one of relu",
                           [(4, 3), (3,), (3,), None, None, None], {"activation": "elu"}),
    "uneven_groups": ("group_norm", "4 places of 6 channels do not divide into 4 groups", [(2, 4, 6), None, None],
                      {"groups": 4, "eps": 0.1}),
    "no_groups": ("group_norm", "into 0 groups", [(2, 4, 6), None, None], {"groups": 0, "eps": 0.1}),
    "nothing_to_normalise": ("group_norm", "0 places", [(2, 0, 6), None, None], {"groups": 2, "eps": 0.1}),
    "uneven_groups_of_gradients": ("group_norm_grad", "into 4 groups",
                                   [(2, 3, 6), (2, 3, 6), (2, 4), (2, 4), None], {}),
    "no_starts": ("csr_matmul", "start is empty", [(2, 3, 4), (0,), (5,), (5,)], {}),
    "too_many_places": ("batch_norm_pool", "kernel is 16x16, expected 1 to 255 places",
                        [(1, 32, 32, 3), (3,), (3,), None, None], {"kernel": (16, 16), "activation": ""}),
    "no_window": ("batch_norm_pool", "kernel is 0x2", [(1, 4, 4, 3), (3,), (3,), None, None],
                  {"kernel": (0, 2), "activation": ""}),
    "windows_of_another_size": ("batch_norm_pool_grad", "Q is 3, expected 2",
                                [(1, 2, 3, 3), (1, 2, 3, 3), (1, 4, 5, 3), (3,), (3,), None, None],
                                {"kernel": (2, 2), "activation": "gelu"}),
    "picture_of_nothing": ("affine_sample", "W is 0, expected 1 to", [(1, 5, 0, 3), (1, 2, 3)], {"size": (5, 5)}),
    "square_map": ("affine_sample", "columns of a map is 2, expected 3", [(1, 5, 5, 3), (1, 2, 2)], {"size": (5, 5)}),
    "map_of_a_volume": ("affine_sample", "rows of a map is 3, expected 2", [(1, 5, 5, 3), (1, 3, 3)], {"size": (5, 5)}),
    "maps_of_others": ("affine_sample", "maps has N = 1, expected 2", [(2, 5, 5, 3), (1, 2, 3)], {"size": (5, 5)}),
    "walk_beyond": ("strided_get", "from 0 to 10 in an array of 10", [(10,)],
                    {"shape": (3, 3), "strides": (4, 1), "offset": 0}),
    "walk_before": ("strided_get", "from -1 to 2", [(10,)], {"shape": (4,), "strides": (-1,), "offset": 2}),
    "walk_in_nothing": ("strided_get", "array of 0", [(0,)], {"shape": (), "strides": (), "offset": 0}),
    "walk_without_strides": ("strided_get", "shorter", [(10,)], {"shape": (2, 2), "strides": (1,), "offset": 0}),
    "walk_of_another_size": ("strided_set", "m is 3, expected 4", [(10,), (3,)],
                             {"shape": (2, 2), "strides": (2, 1), "offset": 0}),
}


@pytest.mark.parametrize("label", MISFITS)
def test_calls_that_do_not_fit(label: str) -> None:
    name, message, shapes, params = MISFITS[label]
    with pytest.raises(ValueError, match=message):
        sizes(name, *shapes, **params)


@pytest.mark.parametrize(("shape", "strides", "offset", "length", "count"), [
    ((), (), 0, 1, 1), ((2, 3), (3, 1), 0, 6, 6), ((3,), (-2,), 4, 5, 3), ((0, 4), (9, 9), 77, 3, 0),
    ((4, 5), (0, 0), 0, 1, 20), ((1, 1), (99, -99), 2, 3, 1)])
def test_walks(shape: Any, strides: Any, offset: int, length: int, count: int) -> None:
    assert sizes("strided_get", (length,), shape=shape, strides=strides, offset=offset)["m"] == count


def test_sizes_that_params_give() -> None:
    assert sizes("random_bits", count=7, seed=0, offset=0)["n"] == 7
    assert sizes("take_grad", (2, 3, 4), (3,), length=9)["D"] == 9
    assert sizes("pick_grad", (2, 4), (2, 4), length=9)["D"] == 9
    assert sizes("scatter", (2, 3, 4), (2, 3, 4), length=9, add=False)["D"] == 9
    assert sizes("csr_matmul", (2, 3, 4), (6,), (7,), (7,))["M"] == 5
    assert sizes("group_norm", (2, 3, 6), None, None, groups=2, eps=0.0)["G"] == 2
    sampled = sizes("affine_sample", (2, 5, 6, 3), (2, 2, 3), size=(7, 8))
    assert (sampled["N"], sampled["P"], sampled["Q"], sampled["C"]) == (2, 7, 8, 3)
    window = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)}
    pooled = sizes("max_pool2d", (1, 6, 6, 2), size=(3, 2), rectified=False, **window)
    assert (pooled["P"], pooled["Q"]) == (3, 2)
    pooled = sizes("batch_norm_pool", (1, 7, 6, 2), (2,), (2,), None, None, kernel=(3, 2), activation="relu")
    assert (pooled["P"], pooled["Q"]) == (2, 3)
