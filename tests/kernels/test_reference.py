"""The reference kernels against what they didn't come from: PyTorch and SciPy in float64, NumPy, published numbers,
and results worked out by hand."""

from typing import Any

import numpy as np
import pytest

from minicnn.kernels import reference
from minicnn.kernels.contracts import CONTRACTS

from .calling import call
from .cases_conv import CONVOLUTIONS, Convolution
from .cases_copy import READ_ONLY, WALKS
from .cases_pool import POOLS, Pool

RANDOM = np.random.default_rng(0)
#: Convolutions that PyTorch takes too: with channels, filters and windows.
ORDINARY = {label: c for label, c in CONVOLUTIONS.items()
            if c.channels and c.filters and min(c.outputs) and not label.startswith("large")}
SMALL_POOLS = {label: pool for label, pool in POOLS.items() if not label.startswith("large")}


def run(name: str, *inputs: Any, **params: Any) -> Any:
    """What the reference makes of the inputs: one array, or a list of those changed in place and those returned."""
    with np.errstate(all="ignore"):
        results = call(reference.kernel(name), CONTRACTS[name], inputs, params, np.float64)
    return results[0] if len(results) == 1 else results


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape)


def close(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got, np.asarray(expected), rtol=1e-10, atol=1e-12)


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


def test_a_name_that_no_contract_has() -> None:
    with pytest.raises(KeyError, match="no_such_kernel"):
        reference.kernel("no_such_kernel")


# ---------------------------------------------------------------------------------------------------- elementwise

#: Kernels that PyTorch has as functions of one array, by the path of its name.
ACTIVATIONS = {
    "relu": "nn.functional.relu", "relu6": "nn.functional.relu6", "leaky_relu": "nn.functional.leaky_relu",
    "elu": "nn.functional.elu", "sigmoid": "sigmoid", "tanh": "tanh", "silu": "nn.functional.silu",
    "gelu": "nn.functional.gelu", "softplus": "nn.functional.softplus", "hardsigmoid": "nn.functional.hardsigmoid",
    "hardswish": "nn.functional.hardswish",
}
FUNCTIONS = ("neg", "abs", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "erf", "floor", "ceil", "round")
OF_TWO = {
    "add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "pow": "power", "maximum": "maximum",
    "minimum": "minimum", "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
    "ge": "greater_equal",
}
SETTINGS: dict[str, tuple[float, ...]] = {"leaky_relu": (0.07,), "elu": (1.3,), "softplus": (2.0, 5.0)}
POINTS = np.array([-30, -7.5, -3, -2.5, -1, -0.5, -1e-9, 0, 1e-9, 0.5, 1, 2.5, 3, 3.5, 6, 7.5, 30, np.inf, np.nan])


def torch_function(torch: Any, path: str) -> Any:
    for name in path.split("."):
        torch = getattr(torch, name)
    return torch


@pytest.mark.parametrize("name", [*FUNCTIONS, *ACTIVATIONS])
def test_functions_of_one_array(torch: Any, name: str) -> None:
    params = SETTINGS.get(name, ())
    expected = torch_function(torch, ACTIVATIONS.get(name, name))(torch.tensor(POINTS), *params)
    close(run(name, POINTS, **dict(zip(CONTRACTS[name].params, params, strict=True))), expected)


# PyTorch's derivative of hardsigmoid is 1/6 in float32 even in float64; test_choices has it.
@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "hardsigmoid"])
def test_gradients_of_activations(torch: Any, name: str) -> None:
    # Where a derivative jumps, any value between will do; these points are not compared.
    points = POINTS[np.isfinite(POINTS) & ~np.isin(POINTS, [-3, 0, 3, 6])]
    params = SETTINGS.get(name, ())
    x, g = torch.tensor(points, requires_grad=True), normal(len(points))
    y = torch_function(torch, ACTIVATIONS[name])(x, *params)
    y.backward(torch.tensor(g))
    contract = CONTRACTS[f"{name}_grad"]
    saved = y.detach().numpy() if contract.inputs[1].name == "y" else points
    close(run(contract.name, g, saved, **dict(zip(contract.params, params, strict=True))), x.grad)


@pytest.mark.parametrize("name", OF_TWO)
def test_functions_of_two_arrays(name: str) -> None:
    with np.errstate(all="ignore"):
        expected = getattr(np, OF_TWO[name])(POINTS[:, None], POINTS)
    np.testing.assert_array_equal(run(name, POINTS[:, None], POINTS), expected)


def test_binary_cross_entropy_of_logits(torch: Any) -> None:
    logits, target, g = POINTS[:-2], RANDOM.random(len(POINTS) - 2), normal(len(POINTS) - 2)
    x = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(x, torch.tensor(target), reduction="none")
    loss.backward(torch.tensor(g))
    close(run("bce_logits", logits, target), loss.detach())
    close(run("bce_logits_grad", g, logits, target), x.grad)


def test_choices() -> None:
    yes = np.array([True, False, True])
    a, b = np.array([1.0, 2, 3]), np.array([[-1.0], [np.nan]])
    np.testing.assert_array_equal(run("where", yes, a, b), [[1, -1, 3], [1, np.nan, 3]])
    np.testing.assert_array_equal(run("mask", a, yes), [1, 0, 3])
    np.testing.assert_array_equal(run("clip", np.array([-2, -0.5, 9, np.nan]), low=-1, high=2), [-1, -0.5, 2, np.nan])
    np.testing.assert_array_equal(run("sign", np.array([-2, -0.5, 0, 9, np.nan])), [-1, -1, 0, 1, np.nan])
    close(run("hardsigmoid_grad", a, np.array([-3.5, -2.5, 2.5])), [0, 2 / 6, 3 / 6])
    np.testing.assert_array_equal(run("logical_and", yes, ~yes), [False] * 3)
    np.testing.assert_array_equal(run("logical_or", yes, np.array(False)), yes)
    np.testing.assert_array_equal(run("logical_not", yes), ~yes)


# ------------------------------------------------------------------------------------------- copies and indexing

@pytest.mark.parametrize("label", {**WALKS, **READ_ONLY})
def test_walks(label: str) -> None:
    length, shape, strides, offset = {**WALKS, **READ_ONLY}[label]
    x = normal(length)
    view = np.lib.stride_tricks.as_strided(x[offset:], shape, [8 * stride for stride in strides])
    close(run("strided_get", x, shape=shape, strides=strides, offset=offset), view.ravel())
    if label in WALKS:
        values = normal(view.size)
        got = run("strided_set", x, values, shape=shape, strides=strides, offset=offset)
        view[...] = values.reshape(shape)
        close(got, x)


def test_fill() -> None:
    close(run("fill", normal(2, 3), value=1.5), np.full((2, 3), 1.5))


def test_take_and_its_gradient() -> None:
    x, index, g = normal(3, 5, 7), np.array([4, 0, 4, 4]), normal(3, 4, 7)
    close(run("take", x, index), np.take(x, index, axis=1))
    expected = np.zeros((3, 5, 7))
    np.add.at(expected, (slice(None), index), g)
    close(run("take_grad", g, index, length=5), expected)


def test_pick_and_its_gradient() -> None:
    x, index, g = normal(3, 5, 7), RANDOM.integers(0, 5, (3, 7)), normal(3, 7)
    close(run("pick", x, index), np.take_along_axis(x, index[:, None], axis=1)[:, 0])
    expected = np.zeros((3, 5, 7))
    np.put_along_axis(expected, index[:, None], g[:, None], axis=1)
    close(run("pick_grad", g, index, length=5), expected)


def test_gather_and_scatter() -> None:
    x, index = normal(3, 5, 7), RANDOM.integers(0, 5, (3, 4, 7))
    close(run("gather", x, index), np.take_along_axis(x, index, axis=1))
    values, last, total = normal(3, 4, 7), np.zeros((3, 5, 7)), np.zeros((3, 5, 7))
    np.put_along_axis(last, index, values, axis=1)
    outer, _, inner = np.indices(index.shape)
    np.add.at(total, (outer, index, inner), values)
    close(run("scatter", values, index, length=5, add=True), total)
    close(run("scatter", np.ones((1, 2, 1)) * [[1], [2]], np.array([[[3], [3]]]), length=4, add=False).ravel(),
          [0, 0, 0, 2])
    distinct = np.argsort(RANDOM.random((3, 5, 7)), axis=1)
    np.put_along_axis(last, distinct, x, axis=1)
    close(run("scatter", x, distinct, length=5, add=False), last)


def test_csr_matmul() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    matrix = sparse.random(6, 5, density=0.4, format="csr", rng=RANDOM)
    x = normal(3, 5, 7)
    got = run("csr_matmul", x, matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data)
    close(got, matrix.toarray() @ x)


@pytest.mark.parametrize("start", [[0, 1], [1, 2], [0, 2, 1, 2], [0, 3]])
def test_starts_that_do_not_rise_to_the_number_of_weights(start: list[int]) -> None:
    with pytest.raises(ValueError, match="from 0 to 2"):
        run("csr_matmul", normal(1, 3, 2), np.array(start), np.array([0, 1]), np.ones(2))


@pytest.mark.parametrize("wrong", [-1, 5])
def test_an_index_outside_what_is_gathered(wrong: int) -> None:
    index = np.array([[[0, 1], [2, wrong]]])
    with pytest.raises(IndexError, match="expected 0 to 4"):
        run("gather", normal(1, 5, 2), index)
    with pytest.raises(IndexError, match="expected 0 to 4"):
        run("scatter", normal(1, 2, 2), index, length=5, add=True)
    with pytest.raises(IndexError, match="expected 0 to 4"):
        run("csr_matmul", normal(1, 5, 2), np.array([0, 2]), np.array([1, wrong]), np.ones(2))


@pytest.mark.parametrize("wrong", [-1, 5])
@pytest.mark.parametrize("name", ["take", "pick", "take_grad", "pick_grad"])
def test_an_index_outside(name: str, wrong: int) -> None:
    index = np.array([0, wrong]) if name.startswith("take") else np.array([[0, 1], [2, wrong]])
    with pytest.raises(IndexError, match="expected 0 to 4"):
        if name.endswith("_grad"):
            run(name, normal(2, 2, 2) if name == "take_grad" else normal(2, 2), index, length=5)
        else:
            run(name, normal(2, 5, 2), index)


# -------------------------------------------------------------------------------------------------- reductions

def test_sum() -> None:
    x = normal(3, 5, 7)
    close(run("reduce_sum", x, scale=1.0), x.sum(axis=1))
    close(run("reduce_sum", normal(3, 0, 7), scale=1.0), np.zeros((3, 7)))


@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_and_where_they_are(name: str) -> None:
    # NumPy has the same rules: the first of equals, and NaN above all.
    for x in (normal(3, 5, 7), RANDOM.choice([0.0, 1, -np.inf, np.inf, np.nan], (13, 5, 7)), np.zeros((2, 3, 4))):
        best, index = run(f"reduce_{name}", x)
        np.testing.assert_array_equal(best, getattr(np, name)(x, axis=1))
        np.testing.assert_array_equal(index, getattr(np, f"arg{name}")(x, axis=1))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_and_its_gradient(torch: Any, name: str) -> None:
    values, g = normal(3, 5, 7) * 300, normal(3, 5, 7)
    values[0, :2, 0] = -np.inf
    x = torch.tensor(values, requires_grad=True)
    y = getattr(torch, name)(x, dim=1)
    y.backward(torch.tensor(g))
    close(run(name, values), y.detach())
    close(run(f"{name}_grad", g, y.detach().numpy()), x.grad)


def test_cross_entropy_and_its_gradient(torch: Any) -> None:
    values, g, target = normal(9, 5) * 10, normal(9), np.array([0, 1, 2, 3, 4, -7, 2, -7, 4])
    x = torch.tensor(values, requires_grad=True)
    y = torch.nn.functional.cross_entropy(x, torch.tensor(target), ignore_index=-7, reduction="none")
    y.backward(torch.tensor(g))
    got, log = run("cross_entropy", values, target, ignore=-7)
    close(got, y.detach())
    close(log, torch.log_softmax(x, 1).detach())
    close(run("cross_entropy_grad", g, log, target, ignore=-7), x.grad)
    for wrong in (-1, 5):
        with pytest.raises(IndexError):
            run("cross_entropy", values, np.full(9, wrong), ignore=-7)


def test_softmax_by_hand() -> None:
    close(run("softmax", np.log([[[1.0], [3.0]]])), [[[0.25], [0.75]]])
    assert np.isnan(run("softmax", np.full((1, 2, 1), -np.inf))).all()


# ------------------------------------------------------------------------------------- products and convolutions

@pytest.mark.parametrize("batch", [3, 1])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
def test_matmul(transpose_a: bool, transpose_b: bool, batch: int) -> None:
    a, b, bias = normal(3, 4, 5), normal(batch, 5, 2), normal(2)
    given_a = np.ascontiguousarray(a.transpose(0, 2, 1)) if transpose_a else a
    given_b = np.ascontiguousarray(b.transpose(0, 2, 1)) if transpose_b else b
    how = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    close(run("matmul", given_a, given_b, bias, **how), a @ b + bias)
    close(run("matmul", given_a, given_b, None, **how), a @ b)


UNBOUNDED = {"low": -np.inf, "high": np.inf}


def channels_first(torch: Any, array: np.ndarray) -> Any:
    return torch.tensor(array).permute(0, 3, 1, 2).contiguous()


def channels_last(array: Any) -> np.ndarray:
    return array.detach().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("label", ORDINARY)
def test_convolution_and_its_gradients(torch: Any, label: str) -> None:
    c = ORDINARY[label]
    top, bottom, left, right = c.padding
    x, w = channels_first(torch, c.x(normal)), torch.tensor(c.w(normal)).permute(3, 2, 0, 1).contiguous()
    bias, dy = torch.tensor(normal(c.filters)), c.y(normal)
    x.requires_grad = w.requires_grad = True
    padded = torch.nn.functional.pad(x, (left, right, top, bottom))
    y = torch.nn.functional.conv2d(padded, w, bias, c.stride, 0, c.dilation, c.groups)
    y.backward(channels_first(torch, dy))
    x_last, w_last = channels_last(x).copy(), w.detach().permute(2, 3, 1, 0).numpy().copy()
    close(run("conv2d_forward", x_last, w_last, bias.numpy(), None, **c.params(**UNBOUNDED)), channels_last(y))
    close(run("conv2d_input_grad", dy, w_last, **c.params(size=c.size[1:])), channels_last(x.grad))
    close(run("conv2d_weight_grad", x_last, dy, **c.params(kernel=c.kernel)), w.grad.permute(2, 3, 1, 0))


def test_convolution_is_a_correlation() -> None:
    signal = pytest.importorskip("scipy.signal")
    x, w = normal(1, 7, 6, 3), normal(3, 2, 3, 4)
    expected = [signal.correlate(x[0], w[..., k], mode="valid")[..., 0] for k in range(4)]
    got = run("conv2d_forward", x, w, None, None, **Convolution((1, 7, 6), 3, 4, (3, 2)).params(**UNBOUNDED))
    close(got[0], np.stack(expected, axis=-1))


def test_convolution_by_hand() -> None:
    x = np.array([1.0, 2, 3, 4]).reshape(1, 1, 4, 1)
    w = np.array([1.0, 10]).reshape(1, 2, 1, 1)
    window = {"stride": (1, 2), "padding": (0, 0, 1, 0), "dilation": (1, 1), "groups": 1}
    got = run("conv2d_forward", x, w, np.array([0.5]), None, **window, **UNBOUNDED)
    close(got.ravel(), [10.5, 32.5])  # 0 * 1 + 1 * 10 and 2 * 1 + 3 * 10; the window that 4 begins doesn't fit
    added = np.array([-12.0, np.nan]).reshape(1, 1, 2, 1)
    got = run("conv2d_forward", x, w, np.array([0.5]), added, **window, low=-1.0, high=30.0)
    close(got.ravel(), [-1, np.nan])
    close(run("conv2d_forward", x, w, None, None, **window, low=0.0, high=30.0).ravel(), [10, 30])
    dy = np.array([1.0, 2]).reshape(1, 1, 2, 1)
    close(run("conv2d_input_grad", dy, w, size=(1, 4), **window).ravel(), [10, 2, 20, 0])
    close(run("conv2d_weight_grad", x, dy, kernel=(1, 2), **window).ravel(), [4, 7])  # 0 * 1 + 2 * 2, 1 * 1 + 3 * 2


@pytest.mark.parametrize("label", CONVOLUTIONS)
def test_gradients_are_adjoint_to_the_convolution(label: str) -> None:
    """y is linear in x and in w, so <dy, y> = <dx, x> = <dw, w>."""
    c = CONVOLUTIONS[label]
    x, w, dy = c.x(normal), c.w(normal), c.y(normal)
    product = np.sum(dy * run("conv2d_forward", x, w, None, None, **c.params(**UNBOUNDED)))
    size = np.sum(np.abs(dy)) + 1
    assert abs(product - np.sum(x * run("conv2d_input_grad", dy, w, **c.params(size=c.size[1:])))) < 1e-12 * size
    assert abs(product - np.sum(w * run("conv2d_weight_grad", x, dy, **c.params(kernel=c.kernel)))) < 1e-12 * size


# ----------------------------------------------------------------------------------------------------- pooling

def torch_max_pool(torch: Any, x: Any, pool: Pool) -> Any:
    """Pads with -infinity as far as the last windows reach, which makes any padding and ceil_mode the plain case."""
    amounts = []
    for axis in (1, 0):
        before, size = pool.padding[2 * axis], pool.size[1 + axis]
        reach = (pool.outputs[axis] - 1) * pool.stride[axis] + pool.dilation[axis] * (pool.kernel[axis] - 1) + 1
        amounts += [before, reach - before - size]
    padded = torch.nn.functional.pad(x, amounts, value=-np.inf)
    return torch.nn.functional.max_pool2d(padded, pool.kernel, pool.stride, 0, pool.dilation, return_indices=True)


DILATED = Pool((2, 9, 11, 3), (3, 2), (1, 2), (1, 1, 1, 1), (2, 3))


@pytest.mark.parametrize("pool", [*(p for p in SMALL_POOLS.values() if min(p.size + p.outputs)), DILATED], ids=str)
def test_max_pooling_and_its_kin(torch: Any, pool: Pool) -> None:
    values, dy = pool.x(normal), pool.y(normal)
    x = channels_first(torch, values).requires_grad_()
    y, padded_index = torch_max_pool(torch, x, pool)
    y.backward(channels_first(torch, dy))
    got, position = run("max_pool2d", values, **pool.window, size=pool.outputs, rectified=False)
    np.testing.assert_array_equal(got, channels_last(y))
    close(run("max_pool2d_grad", dy, position, size=pool.size[1:3], **pool.window), channels_last(x.grad))
    np.testing.assert_array_equal(run("max_pool2d_pick", values, position, **pool.window), got)
    index = run("max_pool2d_index", position, size=pool.size[1:3], **pool.window)
    batch, channel = np.ogrid[:pool.size[0], :pool.size[3]]
    flat = values.reshape(pool.size[0], -1, pool.size[3])
    np.testing.assert_array_equal(flat[batch[..., None, None], index, channel[:, None, None]], got)


def test_max_pooling_by_hand() -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[3, 1, 3, nan], [2, 3, -inf, nan], [-inf, -inf, 0, 0], [-inf, -inf, 0, 0]]).reshape(1, 4, 4, 1)
    window = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)}
    y, position = run("max_pool2d", x, size=(2, 2), **window, rectified=False)
    np.testing.assert_array_equal(y.ravel(), [3, nan, -inf, 0])
    np.testing.assert_array_equal(position.ravel(), [0, 3, 0, 0])  # the first 3, the last NaN, the first -inf
    np.testing.assert_array_equal(run("max_pool2d_index", position, size=(4, 4), **window).ravel(), [0, 7, 8, 10])
    shifted = window | {"padding": (1, 1)}
    _, position = run("max_pool2d", x, size=(3, 3), **shifted, rectified=False)
    np.testing.assert_array_equal(position[0, :, :, 0], [[3, 3, 2], [1, 0, 0], [1, 1, 0]])


def test_max_pooling_of_a_window_outside() -> None:
    window = {"kernel": (2, 1), "stride": (1, 1), "padding": (2, 0), "dilation": (3, 1)}
    x = np.full((1, 1, 1, 1), 5.0)  # the windows of a single row at 0: rows -2 and 1, rows -1 and 2
    y, position = run("max_pool2d", x, size=(2, 1), **window, rectified=False)
    np.testing.assert_array_equal(y.ravel(), [-np.inf, -np.inf])
    np.testing.assert_array_equal(position.ravel(), [0, 0])
    dx = run("max_pool2d_grad", np.ones_like(y), position, size=(1, 1), **window)
    np.testing.assert_array_equal(dx, np.zeros_like(x))
    np.testing.assert_array_equal(run("max_pool2d_pick", x, position, **window), np.zeros((1, 2, 1, 1)))


@pytest.mark.parametrize("divisor", [0, 3])
@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "ceil"), [
    ((1, 6, 8, 3), (2, 2), (2, 2), (0, 0), False), ((2, 7, 9, 2), (3, 2), (2, 2), (1, 1), True),
    ((1, 5, 5, 1), (3, 3), (1, 1), (1, 1), False), ((1, 7, 8, 5), (2, 4), (3, 3), (1, 2), True),
])
def test_average_pooling(torch: Any, size: Any, kernel: Any, stride: Any, padding: Any, ceil: bool, include: bool,
                         divisor: int) -> None:
    values = normal(*size)
    x = channels_first(torch, values).requires_grad_()
    y = torch.nn.functional.avg_pool2d(x, kernel, stride, padding, ceil, include, divisor or None)
    dy = normal(*channels_last(y).shape)
    y.backward(channels_first(torch, dy))
    params = {"kernel": kernel, "stride": stride, "padding": (padding[0], padding[0], padding[1], padding[1]),
              "count_include_pad": include, "divisor": divisor}
    close(run("avg_pool2d", values, size=dy.shape[1:3], **params), channels_last(y))
    close(run("avg_pool2d_grad", dy, size=size[1:3], **params), channels_last(x.grad))


def test_average_pooling_by_hand() -> None:
    x = np.array([1.0, 2, 3]).reshape(1, 1, 3, 1)
    params = {"kernel": (1, 2), "stride": (1, 2), "padding": (0, 0, 1, 1), "size": (1, 3)}
    close(run("avg_pool2d", x, count_include_pad=False, divisor=0, **params).ravel(), [1, 2.5, 0])
    close(run("avg_pool2d", x, count_include_pad=True, divisor=0, **params).ravel(), [0.5, 2.5, 0])
    close(run("avg_pool2d", x, count_include_pad=True, divisor=5, **params).ravel(), [0.2, 1, 0])


@pytest.mark.parametrize("label", SMALL_POOLS)
def test_pooling_gradients_are_adjoint(label: str) -> None:
    pool = SMALL_POOLS[label]
    x, dy = pool.x(normal), pool.y(normal)
    for include in (False, True):
        params = {"kernel": pool.kernel, "stride": pool.stride, "padding": pool.padding, "count_include_pad": include,
                  "divisor": 0}
        dx = run("avg_pool2d_grad", dy, size=pool.size[1:3], **params)
        close(np.sum(dx * x), np.sum(dy * run("avg_pool2d", x, size=pool.outputs, **params)))
    _, position = run("max_pool2d", normal(*pool.size), size=pool.outputs, **pool.window, rectified=False)
    dx = run("max_pool2d_grad", dy, position, size=pool.size[1:3], **pool.window)
    close(np.sum(dx * x), np.sum(dy * run("max_pool2d_pick", x, position, **pool.window)))


# ----------------------------------------------------------------------------------------------- normalisation

def test_batch_norm(torch: Any) -> None:
    values, weight, bias, g = normal(23, 5) + 1e3, normal(5), normal(5), normal(23, 5)
    x, w, b = (torch.tensor(v, requires_grad=True) for v in (values, weight, bias))
    y = torch.nn.functional.batch_norm(x, None, None, w, b, training=True, eps=1e-5)
    y.backward(torch.tensor(g))
    mean, var = run("batch_norm_stats", values)
    close(mean, values.mean(axis=0))
    np.testing.assert_allclose(var, values.var(axis=0), rtol=1e-12)
    rstd = 1 / np.sqrt(var + 1e-5)
    got = run("batch_norm_apply", values, mean, rstd, weight, bias, None, activation="")
    np.testing.assert_allclose(got, y.detach(), atol=1e-10)
    gradients = run("batch_norm_grad", g, values, mean, rstd, weight, None, activation="", rectified=False)
    for got, expected in zip(gradients, (x.grad, w.grad, b.grad), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-10)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(torch: Any, groups: int) -> None:
    values, weight, bias, g = normal(3, 4, 6), normal(6), normal(6), normal(3, 4, 6)
    x, w, b = (torch.tensor(array, requires_grad=True) for array in (values, weight, bias))
    y = torch.nn.functional.group_norm(x.movedim(-1, 1), groups, w, b, eps=1e-4).movedim(1, -1)
    y.backward(torch.tensor(g))
    got, mean, rstd = run("group_norm", values, weight, bias, groups=groups, eps=1e-4)
    close(got, y.detach())
    gradients = run("group_norm_grad", g, values, mean, rstd, weight)
    for found, expected in zip(gradients, (x.grad, w.grad, b.grad), strict=True):
        close(found, expected)


def test_batch_norm_by_hand() -> None:
    x = np.array([[1.0, 5.0], [3.0, 5.0]])
    mean, var = run("batch_norm_stats", x)
    close(mean, [2, 5])
    close(var, [1, 0])
    ones = np.ones(2)
    close(run("batch_norm_apply", x, mean, ones, None, None, None, activation=""), [[-1, 0], [1, 0]])
    close(run("batch_norm_apply", x, mean, 2 * ones, 3 * ones, ones, None, activation=""), [[-5, 1], [7, 1]])
    # Of two values, normalised, only the order is left: there is nothing for a gradient to change.
    dx, dweight, dbias = run("batch_norm_grad", np.array([[1.0, 1], [5, 4]]), x, mean, ones, None, None, activation="",
                             rectified=False)
    close(dx, [[0, -1.5], [0, 1.5]])
    close(dweight, [4, 0])
    close(dbias, [6, 5])


def test_batch_norm_pool(torch: Any) -> None:
    """Against the layers one after the other, dropout's mask as the positions tell it."""
    values, weight, bias, g = normal(2, 5, 7, 3), normal(3), normal(3), normal(2, 2, 3, 3)
    statistics = values.mean(axis=(0, 1, 2)), 1 / np.sqrt(values.var(axis=(0, 1, 2)) + 1e-5)
    y, position = run("batch_norm_pool", values, *statistics, weight, bias, kernel=(2, 2), activation="gelu", p=0.25,
                      seed=5, offset=8)
    gradients = run("batch_norm_pool_grad", g, position, values, *statistics, weight, bias, kernel=(2, 2),
                    activation="gelu", p=0.25, rectified=True)

    x, w, b = (torch.tensor(v, requires_grad=True) for v in (values, weight, bias))
    normalised = torch.nn.functional.batch_norm(x.movedim(3, 1), None, None, w, b, training=True, eps=1e-5)
    stays = position != reference.DROPPED
    largest, index = torch.nn.functional.max_pool2d(torch.nn.functional.gelu(normalised), 2, return_indices=True)
    expected = largest.movedim(1, 3) * torch.tensor(stays / 0.75)
    expected.backward(torch.tensor(g))
    np.testing.assert_allclose(y, expected.detach(), atol=1e-10)
    assert 0 < stays.mean() < 1
    height, width = divmod(index.movedim(1, 3).numpy(), 7)
    np.testing.assert_array_equal(position[stays], (height % 2 * 2 + width % 2)[stays])
    dx = np.where(values > 0, x.grad, 0)  # as if values had come out of a ReLU
    for got, wanted in zip(gradients, (dx, w.grad, b.grad), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-10)


def test_activation_after_batch_norm(torch: Any) -> None:
    values, weight, bias, add, g = normal(23, 5), normal(5), normal(5), normal(23, 5), normal(23, 5)
    statistics = values.mean(axis=0), 1 / np.sqrt(values.var(axis=0) + 1e-5)
    for activation in ("silu", "tanh"):  # the one's gradient is made from x, the other's from y
        x, w, b = (torch.tensor(v, requires_grad=True) for v in (values, weight, bias))
        function = torch_function(torch, ACTIVATIONS[activation])
        z = torch.nn.functional.batch_norm(x, None, None, w, b, training=True, eps=1e-5)
        y = run("batch_norm_apply", values, *statistics, weight, bias, add, activation=activation)
        np.testing.assert_allclose(y, function(z + torch.tensor(add)).detach(), atol=1e-10)
        function(z).backward(torch.tensor(g))
        gradients = run("batch_norm_grad", g, values, *statistics, weight, bias, activation=activation, rectified=False)
        for got, expected in zip(gradients, (x.grad, w.grad, b.grad), strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-10)


# ------------------------------------------------------------------------------------------------ random numbers

@pytest.mark.parametrize(("counter", "key", "expected"), [
    # The known answers that the authors publish with their library, Random123.
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
])
def test_philox(counter: str, key: str, expected: str) -> None:
    def words(text: str) -> Any:
        return tuple(int(word, 16) for word in text.split())

    assert reference.philox(words(counter), words(key)) == words(expected)
    arrays = tuple(np.array([word], np.uint64) for word in words(counter))
    assert tuple(int(word[0]) for word in reference.philox(arrays, words(key))) == words(expected)


def test_random_bits_are_the_blocks_one_after_the_other() -> None:
    seed, first = 0x123456789ABCDEF0, 2**32 - 2
    counters = [(n & 0xFFFFFFFF, n >> 32, 0, 0) for n in range(first, first + 4)]
    expected = [word for counter in counters for word in reference.philox(counter, (0x9ABCDEF0, 0x12345678))]
    np.testing.assert_array_equal(run("random_bits", count=15, seed=seed, offset=4 * first), expected[:15])
    np.testing.assert_array_equal(run("random_bits", count=3, seed=seed, offset=4 * first + 8), expected[8:11])
    assert list(run("random_bits", count=2, seed=0, offset=0)) == [0x6627E8D5, 0xE169C58D]


def test_dropout() -> None:
    bits = run("random_bits", count=2 * 3, seed=5, offset=8)
    stays = bits.astype(float).reshape(2, 1, 3) / 2**32 >= 0.3
    x = normal(2, 4, 3)
    close(run("dropout", x, p=0.3, seed=5, offset=8), np.where(stays, x / 0.7, 0))
    np.testing.assert_array_equal(run("dropout", x, p=0.0, seed=5, offset=8), x)
    np.testing.assert_array_equal(run("dropout", x * np.nan, p=1.0, seed=5, offset=8), np.zeros_like(x))
    ones = run("dropout", np.ones((1, 1, 100_000)), p=0.2, seed=1, offset=0)
    assert abs(np.mean(ones == 0) - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 100_000)  # four standard deviations


# -------------------------------------------------------------------------------------------------- optimizers

def steps(torch: Any, make: Any, count: int = 4) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """The parameter that an optimizer of PyTorch starts with, the gradients it gets, and where each step leads."""
    start, gradients, path = normal(3, 5), [normal(3, 5) for _ in range(count)], []
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = make([parameter])
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        path.append(parameter.detach().numpy().copy())
    return start, gradients, path


@pytest.mark.parametrize(("momentum", "dampening", "weight_decay", "nesterov"), [
    (0, 0, 0, False), (0, 0, 0.1, False), (0.9, 0, 0, False), (0.9, 0.3, 0.1, False), (0.9, 0, 0.1, True)])
def test_sgd(torch: Any, momentum: float, dampening: float, weight_decay: float, nesterov: bool) -> None:
    settings = {"lr": 0.05, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                "nesterov": nesterov}
    p, gradients, path = steps(torch, lambda ps: torch.optim.SGD(ps, **settings))
    velocity = np.full_like(p, np.nan) if momentum else None
    for number, (g, expected) in enumerate(zip(gradients, path, strict=True)):
        if velocity is None:
            p = run("sgd_step", p, g, None, first=number == 0, **settings)
        else:
            p, velocity = run("sgd_step", p, g, velocity, first=number == 0, **settings)
        close(p, expected)


@pytest.mark.parametrize(("weight_decay", "decoupled"), [(0, False), (0.1, False), (0.1, True)])
def test_adam(torch: Any, weight_decay: float, decoupled: bool) -> None:
    make = torch.optim.AdamW if decoupled else torch.optim.Adam
    p, gradients, path = steps(torch, lambda ps: make(ps, lr=0.01, weight_decay=weight_decay))
    m, v = np.zeros_like(p), np.zeros_like(p)
    for number, (g, expected) in enumerate(zip(gradients, path, strict=True)):
        p, m, v = run("adam_step", p, g, m, v, lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=weight_decay,
                      decoupled=decoupled, step=number + 1)
        close(p, expected)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0, 0), (0.9, 0.1)])
def test_rmsprop(torch: Any, momentum: float, weight_decay: float, centered: bool) -> None:
    settings = {"lr": 0.01, "alpha": 0.9, "eps": 1e-8, "weight_decay": weight_decay, "momentum": momentum}
    p, gradients, path = steps(torch, lambda ps: torch.optim.RMSprop(ps, centered=centered, **settings))
    state = {"square": np.zeros_like(p), "mean": np.zeros_like(p) if centered else None,
             "velocity": np.zeros_like(p) if momentum else None}
    for g, expected in zip(gradients, path, strict=True):
        p, *changed = run("rmsprop_step", p, g, *state.values(), **settings)
        state.update(zip([name for name, array in state.items() if array is not None], changed, strict=True))
        close(p, expected)


def test_adagrad(torch: Any) -> None:
    p, gradients, path = steps(torch, lambda ps: torch.optim.Adagrad(ps, lr=0.1, weight_decay=0.1))
    total = np.zeros_like(p)
    for g, expected in zip(gradients, path, strict=True):
        p, total = run("adagrad_step", p, g, total, lr=0.1, eps=1e-10, weight_decay=0.1)
        close(p, expected)


def test_average_step() -> None:
    # Batch norm's running variance: 0.9 of the old one and 0.1 of the new, which 5 / 4 makes unbiased.
    close(run("average_step", np.array([1.0, 2.0]), np.array([4.0, 0.0]), rate=0.1, scale=1.25), [1.4, 1.8])
