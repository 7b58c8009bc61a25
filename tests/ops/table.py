"""One line an op: how it is called, what PyTorch (or NumPy) calls it, and inputs to try it on.

`test_table.py` holds every line against PyTorch in values and gradients, and against numeric differences in first and
second derivatives. A public op without a line here fails a test that names it.

Inputs are shapes (normal random numbers) or arrays; our layout is channels last, and `last` below turns a PyTorch
function into one that takes and gives it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import minicnn as mc

F = mc.nn.functional


class Case(NamedTuple):
    """An op, PyTorch's function for it (given torch and its functional module), and the inputs of both."""

    name: str
    own: Callable[..., Any]
    theirs: Callable[..., Any]  # theirs(torch, T, *tensors)
    inputs: tuple[Any, ...]
    differentiable: bool = True

    def arrays(self, dtype: Any = np.float64) -> list[np.ndarray]:
        rng = np.random.default_rng(sum(map(ord, self.name)))
        made = [rng.standard_normal(i) if isinstance(i, tuple) else np.asarray(i) for i in self.inputs]
        return [a.astype(dtype) if a.dtype == np.float64 else a for a in made]


def positive(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).uniform(0.3, 2.5, shape)


def apart(*shape: int) -> np.ndarray:
    """Numbers well apart from each other and from 0, in random order: no near-ties for max, no kinks for relu."""
    count = int(np.prod(shape))
    return (np.random.default_rng(5).permutation(count).reshape(shape) - count // 2 + 0.5) * 0.23


def unit(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(0.05, 0.95, shape)


def classes(*shape: int, count: int) -> np.ndarray:
    return np.random.default_rng(11).integers(0, count, shape)


def first(t: Any) -> Any:
    """(N, ..., C) to PyTorch's (N, C, ...)"""
    return t.movedim(-1, 1) if t.ndim > 2 else t


def last(t: Any) -> Any:
    return t.movedim(1, -1) if t.ndim > 2 else t


def filters(w: Any) -> Any:
    """(..., I, O) to PyTorch's (O, I, ...)"""
    return w.movedim((-1, -2), (0, 1))


CASES: list[Case] = []


def case(name: str, own: Callable[..., Any], theirs: Callable[..., Any], *inputs: Any, differentiable: bool = True) -> None:
    CASES.append(Case(name, own, theirs, inputs, differentiable))


# ------------------------------------------------------------------------------------------------------- elementwise
case("add", lambda a, b: a + b, lambda t, T, a, b: a + b, (2, 3), (2, 3))
case("add broadcast", lambda a, b: a + b, lambda t, T, a, b: a + b, (4, 1, 3), (2, 1))
case("add number", lambda a: 2 + a + 1.5, lambda t, T, a: 2 + a + 1.5, (2, 3))
case("sub", lambda a, b: a - b, lambda t, T, a, b: a - b, (5,), (3, 1))
case("sub number", lambda a: 1 - a, lambda t, T, a: 1 - a, (2, 3))
case("mul", lambda a, b: a * b, lambda t, T, a, b: a * b, (2, 3), (3,))
case("mul itself", lambda a: a * a, lambda t, T, a: a * a, (2, 3))
case("div", lambda a, b: a / b, lambda t, T, a, b: a / b, (2, 3), positive(2, 1))
case("div number", lambda a: 2 / a, lambda t, T, a: 2 / a, positive(2, 3))
case("pow", lambda a, b: a ** b, lambda t, T, a, b: a ** b, positive(2, 3), (3,))
case("pow 2", lambda a: a ** 2, lambda t, T, a: a ** 2, (2, 3))
case("pow 3", lambda a: a ** 3, lambda t, T, a: a ** 3, (2, 3))
case("pow -1", lambda a: a ** -1, lambda t, T, a: a ** -1, positive(2, 3))
case("pow 0.5", lambda a: a ** 0.5, lambda t, T, a: a ** 0.5, positive(2, 3))
case("pow of a number", lambda a: 2.0 ** a, lambda t, T, a: 2.0 ** a, (2, 3))
case("maximum", F.maximum, lambda t, T, a, b: t.maximum(a, b), apart(2, 3), apart(3) + 0.07)
case("minimum", F.minimum, lambda t, T, a, b: t.minimum(a, b), apart(2, 3), apart(3) + 0.07)
case("neg", lambda x: -x, lambda t, T, x: -x, (2, 3))
case("abs", F.abs, lambda t, T, x: x.abs(), apart(2, 3))
case("sign", F.sign, lambda t, T, x: x.sign(), apart(2, 3))
case("floor", F.floor, lambda t, T, x: x.floor(), apart(2, 3))
case("ceil", F.ceil, lambda t, T, x: x.ceil(), apart(2, 3))
case("round", F.round, lambda t, T, x: x.round(), apart(2, 3))
case("exp", F.exp, lambda t, T, x: x.exp(), (2, 3))
case("expm1", F.expm1, lambda t, T, x: x.expm1(), (2, 3))
case("log", F.log, lambda t, T, x: x.log(), positive(2, 3))
case("log1p", F.log1p, lambda t, T, x: x.log1p(), positive(2, 3))
case("sqrt", F.sqrt, lambda t, T, x: x.sqrt(), positive(2, 3))
case("sin", F.sin, lambda t, T, x: x.sin(), (2, 3))
case("cos", F.cos, lambda t, T, x: x.cos(), (2, 3))
case("erf", F.erf, lambda t, T, x: x.erf(), (2, 3))
case("clip", lambda x: F.clip(x, -0.5, 0.8), lambda t, T, x: x.clip(-0.5, 0.8), apart(3, 3))
case("clip ends crossed", lambda x: F.clip(x, 0.8, -0.5), lambda t, T, x: x.clip(0.8, -0.5), apart(3, 3))
case("clip one side", lambda x: x.clip(min=0.1), lambda t, T, x: x.clip(min=0.1), apart(3, 3))
case("where", lambda c, a, b: F.where(c, a, b), lambda t, T, c, a, b: t.where(c, a, b),
     np.array([[True], [False], [True]]), (3, 4), (4,))
for _symbol in ("eq", "ne", "lt", "le", "gt", "ge"):
    case(_symbol, getattr(F, _symbol), lambda t, T, a, b, s=_symbol: getattr(t, s)(a, b), np.array([1.0, 2, 3]),
         np.array([[1.0], [3]]), differentiable=False)

# ------------------------------------------------------------------------------------------------------- activations
case("relu", F.relu, lambda t, T, x: T.relu(x), apart(3, 5))
case("relu6", F.relu6, lambda t, T, x: T.relu6(x), apart(8, 9))
case("leaky_relu", F.leaky_relu, lambda t, T, x: T.leaky_relu(x), apart(3, 5))
case("leaky_relu slope", lambda x: F.leaky_relu(x, 0.3), lambda t, T, x: T.leaky_relu(x, 0.3), apart(3, 5))
case("elu", F.elu, lambda t, T, x: T.elu(x), apart(3, 5))
case("elu alpha", lambda x: F.elu(x, 0.7), lambda t, T, x: T.elu(x, 0.7), apart(3, 5))
case("gelu", F.gelu, lambda t, T, x: T.gelu(x), (3, 5))
case("silu", F.silu, lambda t, T, x: T.silu(x), (3, 5))
case("hardswish", F.hardswish, lambda t, T, x: T.hardswish(x), apart(6, 7))
case("hardsigmoid", F.hardsigmoid, lambda t, T, x: T.relu6(x + 3) / 6, apart(6, 7))
case("sigmoid", F.sigmoid, lambda t, T, x: T.sigmoid(x), (3, 5))
case("tanh", F.tanh, lambda t, T, x: t.tanh(x), (3, 5))
case("softplus", F.softplus, lambda t, T, x: T.softplus(x), (3, 5))
case("softplus beta", lambda x: F.softplus(x, 2.0, 3.0), lambda t, T, x: T.softplus(x, 2.0, 3.0), apart(6, 7))
case("softmax", F.softmax, lambda t, T, x: t.softmax(x, -1), (3, 5))
case("softmax dim 1", lambda x: F.softmax(x, 1), lambda t, T, x: t.softmax(x, 1), (2, 3, 4))
case("log_softmax", F.log_softmax, lambda t, T, x: t.log_softmax(x, -1), (3, 5))
case("log_softmax dim 0", lambda x: F.log_softmax(x, 0), lambda t, T, x: t.log_softmax(x, 0), (3, 5))

# -------------------------------------------------------------------------------------------------------- reductions
case("sum", F.sum, lambda t, T, x: x.sum(), (2, 3, 4))
case("sum dims", lambda x: x.sum(dim=(0, 2)), lambda t, T, x: x.sum(dim=(0, 2)), (2, 3, 4))
case("sum keepdim", lambda x: x.sum(dim=-1, keepdim=True), lambda t, T, x: x.sum(dim=-1, keepdim=True), (2, 3, 4))
case("mean", lambda x: F.mean(x, dim=(1, 2)), lambda t, T, x: x.mean(dim=(1, 2)), (2, 3, 4))
case("var", lambda x: F.var(x, dim=1), lambda t, T, x: x.var(dim=1), (3, 5))
case("var biased", lambda x: F.var(x, dim=(0, 1), correction=0), lambda t, T, x: x.var(dim=(0, 1), correction=0), (3, 5))
case("max", lambda x: F.max(x, dim=(0, 2)), lambda t, T, x: x.amax(dim=(0, 2)), apart(2, 3, 4))
case("min", lambda x: F.min(x, dim=1, keepdim=True), lambda t, T, x: x.amin(dim=1, keepdim=True), apart(2, 3, 4))
case("argmax", lambda x: F.argmax(x, dim=1), lambda t, T, x: x.argmax(dim=1), apart(2, 3, 4), differentiable=False)
case("argmin", F.argmin, lambda t, T, x: x.argmin(), apart(2, 3, 4), differentiable=False)
case("logsumexp", lambda x: F.logsumexp(x, dim=1), lambda t, T, x: x.logsumexp(dim=1), (3, 5))

# ------------------------------------------------------------------------------------------------------------ shapes
case("reshape", lambda x: F.reshape(x, 4, -1), lambda t, T, x: x.reshape(4, -1), (2, 3, 4))
case("flatten", lambda x: F.flatten(x, 1), lambda t, T, x: x.flatten(1), (2, 3, 4))
case("squeeze", F.squeeze, lambda t, T, x: x.squeeze(), (2, 1, 3, 1))
case("unsqueeze", lambda x: F.unsqueeze(x, 1), lambda t, T, x: x.unsqueeze(1), (2, 3))
case("permute", lambda x: F.permute(x, 2, 0, 1), lambda t, T, x: x.permute(2, 0, 1), (2, 3, 4))
case("transpose", lambda x: F.transpose(x, 0, 2), lambda t, T, x: x.transpose(0, 2), (2, 3, 4))
case("expand", lambda x: F.expand(x, 4, 2, 3), lambda t, T, x: x.expand(4, 2, 3), (2, 1))
case("flip", lambda x: F.flip(x, (0, 2)), lambda t, T, x: x.flip((0, 2)), (2, 3, 4))
case("concat", lambda a, b: F.concat([a, b, a], dim=1), lambda t, T, a, b: t.cat([a, b, a], dim=1), (2, 3), (2, 4))
case("stack", lambda a, b: F.stack([a, b], dim=1), lambda t, T, a, b: t.stack([a, b], dim=1), (2, 3), (2, 3))
case("split", lambda x: F.split(x, 2, dim=1), lambda t, T, x: x.split(2, dim=1), (2, 5))
case("split sizes", lambda x: F.split(x, [1, 4], dim=1), lambda t, T, x: x.split([1, 4], dim=1), (2, 5))
case("pad", lambda x: F.pad(x, (1, 2, 0, 3), value=0.5), lambda t, T, x: last(T.pad(first(x), (1, 2, 0, 3), value=0.5)), (2, 3, 4, 2))
case("pad crop", lambda x: F.pad(x, (-1, 2)), lambda t, T, x: last(T.pad(first(x), (-1, 2))), (2, 3, 4, 2))
for _mode in ("reflect", "replicate", "circular"):
    case(f"pad {_mode}", lambda x, m=_mode: F.pad(x, (1, 2, 0, 3), mode=m), lambda t, T, x, m=_mode: last(T.pad(first(x), (1, 2, 0, 3), mode=m)), (2, 4, 3, 2))
case("index slices", lambda x: x[1:, ::2, None, -1], lambda t, T, x: x[1:, ::2, None, -1], (3, 5, 4))
case("index ellipsis", lambda x: x[..., 0], lambda t, T, x: x[..., 0], (3, 5, 4))
case("index array", lambda x: x[[2, 0, 2]], lambda t, T, x: x[[2, 0, 2]], (3, 4))
case("index arrays", lambda x: x[:, [0, 1], [[1], [3]]], lambda t, T, x: x[:, [0, 1], [[1], [3]]], (3, 2, 4))
case("index apart", lambda x: x[[0, 1], :, [1, 3]], lambda t, T, x: x[[0, 1], :, [1, 3]], (3, 2, 4))
case("index tensor", lambda x, i: x[i], lambda t, T, x, i: x[i], (3, 4), np.array([[0, 2], [-1, 1]]))
case("index mask", lambda x, m: x[m], lambda t, T, x, m: x[m], (3, 4), np.array([True, False, True]))

# ---------------------------------------------------------------------------------------------------------- products
case("matmul", lambda a, b: a @ b, lambda t, T, a, b: a @ b, (3, 5), (5, 4))
case("matmul batch", lambda a, b: a @ b, lambda t, T, a, b: a @ b, (2, 1, 3, 5), (4, 5, 2))
case("matmul one for all", F.matmul, lambda t, T, a, b: a @ b, (2, 3, 5), (5, 4))
case("matmul vectors", F.matmul, lambda t, T, a, b: a @ b, (5,), (5,))
case("matmul vector right", F.matmul, lambda t, T, a, b: a @ b, (2, 3, 5), (5,))
case("linear", F.linear, lambda t, T, x, w, b: T.linear(x, w.T, b), (3, 5), (5, 4), (4,))
case("linear without bias", F.linear, lambda t, T, x, w: T.linear(x, w.T), (2, 3, 5), (5, 4))


# ------------------------------------------------------------------------------------------------------ convolutions
def conv_case(name: str, x: tuple[int, ...], w: tuple[int, ...], bias: bool = True, **options: Any) -> None:
    op = f"conv{len(x) - 2}d"
    theirs = {k: v for k, v in options.items() if k != "padding"}
    pad = options.get("padding", 0)

    def run(t: Any, T: Any, *inputs: Any) -> Any:  # noqa: N803 - torch.nn.functional
        image, weight, *rest = inputs
        nested = isinstance(pad, tuple) and isinstance(pad[0], tuple)
        image = T.pad(first(image), [p for side in reversed(pad) for p in side]) if nested else first(image)
        return last(getattr(T, op)(image, filters(weight), *rest, padding=0 if nested else pad, **theirs))

    case(f"{op} {name}", lambda *inputs: getattr(F, op)(*inputs, **options), run, x, w, *([(w[-1],)] if bias else []))


conv_case("plain", (2, 5, 6, 3), (3, 3, 3, 4))
conv_case("1x1", (2, 3, 4, 5), (1, 1, 5, 3), bias=False)
conv_case("stride", (1, 7, 8, 2), (3, 2, 2, 3), stride=(2, 3), padding=1)
conv_case("stride beyond kernel", (1, 8, 8, 2), (2, 2, 2, 3), stride=3)
conv_case("same", (1, 5, 4, 2), (3, 5, 2, 3), padding="same")
conv_case("sides", (1, 5, 4, 2), (3, 3, 2, 3), padding=((0, 2), (1, 0)))
conv_case("dilation", (1, 7, 6, 2), (3, 2, 2, 3), dilation=(2, 3), padding=(1, 2))
conv_case("groups", (2, 5, 4, 6), (3, 3, 2, 9), groups=3, padding=1)
conv_case("depthwise", (2, 5, 6, 5), (3, 3, 1, 5), groups=5, padding=1)
conv_case("depthwise multiplier stride", (1, 6, 7, 3), (3, 3, 1, 6), groups=3, stride=2, padding=1)
case("conv2d full", lambda x, w: F.conv2d(x, w, padding="full"),
     lambda t, T, x, w: last(T.conv2d(first(x), filters(w), padding=(2, 1))), (1, 4, 5, 2), (3, 2, 2, 3))
case("conv2d tf_same", lambda x, w: F.conv2d(x, w, stride=2, padding="tf_same"),
     lambda t, T, x, w: last(T.conv2d(T.pad(first(x), (0, 1, 1, 1)), filters(w), stride=2)), (1, 5, 6, 2), (3, 3, 2, 3))

conv_case("plain", (2, 7, 3), (3, 3, 4))
conv_case("stride dilation groups", (2, 9, 4), (3, 2, 6), stride=2, dilation=(2,), padding=1, groups=2)
conv_case("sides", (1, 5, 2), (2, 2, 3), bias=False, padding=((0, 3),))
conv_case("same", (1, 5, 2), (4, 2, 3), dilation=2, padding="same")
conv_case("depthwise", (2, 6, 3), (3, 1, 3), padding=1, groups=3)
case("conv1d full", lambda x, w: F.conv1d(x, w, padding="full"), lambda t, T, x, w: last(T.conv1d(first(x), filters(w), padding=2)), (1, 4, 2), (3, 2, 3))

conv_case("plain", (1, 3, 4, 3, 2), (2, 3, 2, 2, 3))
conv_case("stride", (2, 4, 3, 4, 2), (2, 2, 1, 2, 2), stride=(2, 1, 3), padding=(1, 0, 2))
conv_case("stride of planes", (1, 5, 2, 2, 2), (1, 2, 2, 2, 2), stride=2)
conv_case("dilation groups", (1, 5, 3, 3, 4), (2, 2, 2, 2, 4), bias=False, dilation=(3, 1, 2), padding=(1, 0, 1), groups=2)
conv_case("sides", (1, 2, 3, 2, 2), (3, 2, 2, 2, 2), padding=((2, 0), (0, 1), (1, 0)))
conv_case("same", (1, 3, 2, 3, 1), (3, 1, 2, 1, 2), dilation=(1, 1, 2), padding="same")
conv_case("1x1x1", (1, 2, 3, 2, 3), (1, 1, 1, 3, 2))
conv_case("through the planes", (1, 4, 2, 2, 2), (3, 1, 1, 2, 3), stride=(2, 1, 1), padding=(1, 0, 0))
conv_case("depthwise", (2, 4, 3, 3, 2), (3, 2, 2, 1, 2), groups=2, stride=(2, 1, 1), padding=(2, 1, 0), dilation=(2, 1, 1))


def transposed_case(name: str, x: tuple[int, ...], w: tuple[int, ...], bias: bool = True, **options: Any) -> None:
    op, channels = f"conv_transpose{len(x) - 2}d", w[-2] * options.get("groups", 1)
    case(f"{op} {name}", lambda *inputs: getattr(F, op)(*inputs, **options),
         lambda t, T, x, w, *rest: last(getattr(T, op)(first(x), filters(w), *rest, **options)), x, w, *([(channels,)] if bias else []))


transposed_case("plain", (2, 4, 3), (3, 2, 3))
transposed_case("everything", (1, 3, 4), (3, 3, 4), stride=3, padding=1, output_padding=2, groups=2, dilation=2)
transposed_case("plain", (2, 3, 2, 3), (2, 3, 2, 3))
transposed_case("stride", (1, 2, 3, 2), (3, 3, 2, 2), stride=2, padding=1, output_padding=1)
transposed_case("beyond the kernel", (1, 2, 2, 2), (1, 2, 2, 2), bias=False, stride=(3, 2), output_padding=(2, 1))
transposed_case("dilation groups", (2, 3, 2, 4), (2, 2, 3, 4), dilation=(3, 1), groups=2, output_padding=(2, 0))
transposed_case("depthwise", (1, 3, 3, 3), (3, 3, 1, 3), stride=2, groups=3)
case("conv_transpose2d tf_same", lambda x, w: F.conv_transpose2d(x, w, stride=2, padding="tf_same"),
     lambda t, T, x, w: last(T.conv_transpose2d(first(x), filters(w), stride=2)[:, :, :4, :6]), (1, 2, 3, 2), (3, 3, 2, 2))
transposed_case("plain", (1, 2, 3, 2, 3), (2, 1, 2, 2, 3))
transposed_case("everything", (1, 2, 1, 2, 4), (3, 2, 2, 2, 4), stride=(3, 2, 1), padding=(1, 1, 0), output_padding=(2, 1, 0), groups=2, dilation=(2, 1, 3))


def by_place(t: Any, T: Any, x: Any, w: Any, bias: Any = None, **options: Any) -> Any:  # noqa: N803
    """A kernel of its own at each place: x (N, H, W, C), w (P, Q, kH, kW, C, K)"""
    seen = T.unfold(first(x), w.shape[2:4], **options).unflatten(1, (w.shape[4], *w.shape[2:4]))
    y = t.einsum("ncijp,pijck->npk", seen, w.flatten(0, 1)).unflatten(1, w.shape[:2])
    return y if bias is None else y + bias


def in_turn(w: Any, *places: int) -> Any:
    return w[[i % w.shape[0] for i in range(places[0])]][:, [i % w.shape[1] for i in range(places[1])]]


case("locally_connected1d", F.locally_connected1d, lambda t, T, x, w, b: by_place(t, T, x[:, None], w[None, :, None], b[None])[:, 0],
     (2, 5, 3), (3, 3, 3, 2), (3, 2))
case("locally_connected1d stride", lambda x, w: F.locally_connected1d(x, w, stride=2, padding=1, dilation=2),
     lambda t, T, x, w: by_place(t, T, x[:, None], w[None, :, None], stride=(1, 2), padding=(0, 1), dilation=(1, 2))[:, 0],
     (2, 7, 2), (4, 2, 2, 3))
case("locally_connected2d", F.locally_connected2d, by_place, (2, 4, 3, 2), (3, 2, 2, 2, 2, 3), (3, 2, 3))
case("locally_connected2d stride", lambda x, w, b: F.locally_connected2d(x, w, b, 2, (1, 0), (1, 2)),
     lambda t, T, x, w, b: by_place(t, T, x, w, b, stride=2, padding=(1, 0), dilation=(1, 2)), (1, 4, 5, 2), (2, 2, 3, 2, 2, 2), (2, 2, 2))
case("tiled_conv2d", lambda x, w, b: F.tiled_conv2d(x, w, b, padding=1),
     lambda t, T, x, w, b: by_place(t, T, x, in_turn(w, 5, 4), in_turn(b, 5, 4), padding=1), (2, 4, 4, 2), (2, 3, 2, 3, 2, 2), (2, 3, 2))
case("tiled_conv2d one bias", lambda x, w, b: F.tiled_conv2d(x, w, b, (2, 1), dilation=(1, 2)),
     lambda t, T, x, w, b: by_place(t, T, x, in_turn(w, 2, 3), b, stride=(2, 1), dilation=(1, 2)), (1, 5, 5, 2), (3, 2, 3, 2, 2, 2), (2,))

# ----------------------------------------------------------------------------------------------------------- pooling
case("max_pool2d", lambda x: F.max_pool2d(x, 2), lambda t, T, x: last(T.max_pool2d(first(x), 2)), apart(2, 4, 6, 3))
case("max_pool2d overlap", lambda x: F.max_pool2d(x, 3, 2, 1), lambda t, T, x: last(T.max_pool2d(first(x), 3, 2, 1)), apart(1, 7, 6, 3))
case("max_pool2d ceil dilation", lambda x: F.max_pool2d(x, 2, 2, 1, 2, ceil_mode=True),
     lambda t, T, x: last(T.max_pool2d(first(x), 2, 2, 1, 2, ceil_mode=True)), apart(1, 6, 7, 2))
case("avg_pool2d", lambda x: F.avg_pool2d(x, 2), lambda t, T, x: last(T.avg_pool2d(first(x), 2)), (2, 4, 6, 3))
case("avg_pool2d overlap", lambda x: F.avg_pool2d(x, 3, 2, 1), lambda t, T, x: last(T.avg_pool2d(first(x), 3, 2, 1)), (1, 7, 6, 3))
case("avg_pool2d ceil", lambda x: F.avg_pool2d(x, (3, 2), 2, 1, ceil_mode=True),
     lambda t, T, x: last(T.avg_pool2d(first(x), (3, 2), 2, 1, ceil_mode=True)), (1, 6, 7, 3))
case("avg_pool2d inside", lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
     lambda t, T, x: last(T.avg_pool2d(first(x), 3, 2, 1, count_include_pad=False)), (1, 7, 6, 3))
case("avg_pool2d divisor", lambda x: F.avg_pool2d(x, 2, divisor_override=3),
     lambda t, T, x: last(T.avg_pool2d(first(x), 2, divisor_override=3)), (1, 4, 4, 2))
case("global_avg_pool2d", F.global_avg_pool2d, lambda t, T, x: last(T.adaptive_avg_pool2d(first(x), 1)), (2, 3, 4, 5))
case("global_max_pool2d", F.global_max_pool2d, lambda t, T, x: last(T.adaptive_max_pool2d(first(x), 1)), apart(2, 3, 4, 5))

case("max_pool1d", lambda x: F.max_pool1d(x, 3, 2, 1), lambda t, T, x: last(T.max_pool1d(first(x), 3, 2, 1)), apart(2, 7, 3))
case("max_pool3d", lambda x: F.max_pool3d(x, (2, 3, 2), 2, (0, 1, 1)), lambda t, T, x: last(T.max_pool3d(first(x), (2, 3, 2), 2, (0, 1, 1))), apart(1, 4, 5, 4, 2))
case("avg_pool1d", lambda x: F.avg_pool1d(x, 3, 2, 1), lambda t, T, x: last(T.avg_pool1d(first(x), 3, 2, 1)), (2, 7, 3))
case("avg_pool3d", lambda x: F.avg_pool3d(x, 2, 1, (0, 1, 1), count_include_pad=False),
     lambda t, T, x: last(T.avg_pool3d(first(x), 2, 1, (0, 1, 1), count_include_pad=False)), (1, 3, 4, 3, 2))
case("max_unpool1d", lambda x: F.max_unpool1d(x, mc.tensor(np.array([[[1], [2], [5]]]), device=x.device), 2),
     lambda t, T, x: last(T.max_unpool1d(first(x), t.tensor([[[1, 2, 5]]]), 2)), (1, 3, 1))
case("max_unpool2d", lambda x: F.max_unpool2d(x, mc.tensor(np.array([[[[1], [2]], [[9], [14]]]]), device=x.device), 2),
     lambda t, T, x: last(T.max_unpool2d(first(x), t.tensor([[[[1, 2], [9, 14]]]]), 2)), (1, 2, 2, 1))
case("max_unpool3d", lambda x: F.max_unpool3d(x, mc.tensor(np.array([[[[[1], [7]]]]]), device=x.device), (1, 2, 2)),
     lambda t, T, x: last(T.max_unpool3d(first(x), t.tensor([[[[[1, 7]]]]]), (1, 2, 2))), (1, 1, 1, 2, 1))
case("lp_pool1d", lambda x: F.lp_pool1d(x, 3, 2), lambda t, T, x: last(T.lp_pool1d(first(x), 3, 2)), positive(2, 6, 3))
case("lp_pool2d", lambda x: F.lp_pool2d(x, 2, 3, 2), lambda t, T, x: last(T.lp_pool2d(first(x), 2, 3, 2)), (1, 5, 7, 2))
case("weighted_avg_pool2d", lambda x, w: F.weighted_avg_pool2d(x, w, 1),
     lambda t, T, x, w: last(T.conv2d(first(x), (w / w.sum()).expand(2, 1, 2, 3), groups=2)), (1, 4, 5, 2), positive(2, 3))
case("gaussian_weights", lambda: F.gaussian_weights((1, 2), 1.0), lambda t, T: t.tensor([[0.5, 0.5]]), differentiable=False)
case("adaptive_avg_pool1d", lambda x: F.adaptive_avg_pool1d(x, 3), lambda t, T, x: last(T.adaptive_avg_pool1d(first(x), 3)), (2, 7, 3))
case("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (4, 3)), lambda t, T, x: last(T.adaptive_avg_pool2d(first(x), (4, 3))), (1, 7, 6, 2))
case("adaptive_avg_pool3d", lambda x: F.adaptive_avg_pool3d(x, (2, 3, 1)), lambda t, T, x: last(T.adaptive_avg_pool3d(first(x), (2, 3, 1))), (1, 3, 4, 3, 2))
case("adaptive_max_pool1d", lambda x: F.adaptive_max_pool1d(x, 3), lambda t, T, x: last(T.adaptive_max_pool1d(first(x), 3)), apart(2, 7, 3))
case("adaptive_max_pool2d", lambda x: F.adaptive_max_pool2d(x, (4, 3)), lambda t, T, x: last(T.adaptive_max_pool2d(first(x), (4, 3))), apart(1, 7, 6, 2))
case("adaptive_max_pool3d", lambda x: F.adaptive_max_pool3d(x, (2, 3, 1)), lambda t, T, x: last(T.adaptive_max_pool3d(first(x), (2, 3, 1))), apart(1, 3, 4, 3, 2))
case("spatial_pyramid_pool2d", lambda x: F.spatial_pyramid_pool2d(x, (2, 1)),
     lambda t, T, x: t.cat([last(T.adaptive_max_pool2d(first(x), n)).flatten(1) for n in (2, 1)], 1), apart(2, 5, 4, 3))

# ----------------------------------------------------------------------------------------------------------- resizing
case("interpolate nearest", lambda x: F.interpolate(x, (3, 7)), lambda t, T, x: last(T.interpolate(first(x), (3, 7))), (1, 4, 5, 2))
case("interpolate bilinear", lambda x: F.interpolate(x, (3, 7), mode="bilinear"),
     lambda t, T, x: last(T.interpolate(first(x), (3, 7), mode="bilinear")), (1, 4, 5, 2))
case("interpolate bicubic corners", lambda x: F.interpolate(x, (3, 7), mode="bicubic", align_corners=True),
     lambda t, T, x: last(T.interpolate(first(x), (3, 7), mode="bicubic", align_corners=True)), (1, 4, 5, 2))
case("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), lambda t, T, x: last(T.pixel_shuffle(first(x), 2)), (1, 2, 3, 8))
case("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2), lambda t, T, x: last(T.pixel_unshuffle(first(x), 2)), (1, 4, 6, 2))

# ----------------------------------------------------------------------------------------------- norms and dropout
case("batch_norm training", lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
     lambda t, T, x, w, b: last(T.batch_norm(first(x), None, None, w, b, training=True)), (2, 3, 2, 4), (4,), (4,))
case("batch_norm plain", lambda x: F.batch_norm(x, None, None, training=True, eps=1e-3),
     lambda t, T, x: T.batch_norm(x, None, None, training=True, eps=1e-3), (5, 3))
_mean, _var = np.array([0.3, -0.2, 0.1]), np.array([0.5, 2.0, 1.3])
case("batch_norm eval", lambda x, w, b: F.batch_norm(x, mc.tensor(_mean, x.dtype, x.device), mc.tensor(_var, x.dtype, x.device), w, b),
     lambda t, T, x, w, b: T.batch_norm(x, t.tensor(_mean, dtype=x.dtype), t.tensor(_var, dtype=x.dtype), w, b), (4, 3), (3,), (3,))
case("layer_norm", lambda x, w, b: F.layer_norm(x, (4,), w, b), lambda t, T, x, w, b: T.layer_norm(x, (4,), w, b), (2, 3, 4), (4,), (4,))
case("layer_norm of pictures", lambda x: F.layer_norm(x, (2, 4)), lambda t, T, x: T.layer_norm(x, (2, 4)), (2, 3, 2, 4))
case("group_norm", lambda x, w, b: F.group_norm(x, 2, w, b), lambda t, T, x, w, b: last(T.group_norm(first(x), 2, w, b)), (2, 2, 3, 4), (4,), (4,))
case("instance_norm", lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
     lambda t, T, x, w, b: last(T.instance_norm(first(x), weight=w, bias=b)), (2, 2, 3, 4), (4,), (4,))
case("local_response_norm", lambda x: F.local_response_norm(x, 3, 0.5, 0.75, 2.0),
     lambda t, T, x: last(T.local_response_norm(first(x), 3, 0.5, 0.75, 2.0)), (1, 2, 3, 5))
case("dropout", lambda x: F.dropout(x, 0.3, training=False), lambda t, T, x: T.dropout(x, 0.3, training=False), (3, 4))
case("dropout2d", lambda x: F.dropout2d(x, 0.3, training=False), lambda t, T, x: x * 1, (2, 3, 3, 4))
case("stochastic_depth", lambda x: F.stochastic_depth(x, 0.3, "row", training=False), lambda t, T, x: x * 1, (3, 4))

# ------------------------------------------------------------------------------------------------------------ losses
case("mse_loss", F.mse_loss, lambda t, T, x, y: T.mse_loss(x, y), (3, 4), (3, 4))
case("l1_loss", F.l1_loss, lambda t, T, x, y: T.l1_loss(x, y), apart(3, 4), apart(3, 4).T.copy().reshape(3, 4) + 0.1)
case("smooth_l1_loss", lambda x, y: F.smooth_l1_loss(x, y, beta=0.6), lambda t, T, x, y: T.smooth_l1_loss(x, y, beta=0.6), (3, 4), (3, 4))
case("binary_cross_entropy", F.binary_cross_entropy, lambda t, T, x, y: T.binary_cross_entropy(x, y.detach()) + 0 * y.sum(),
     unit(3, 4), unit(3, 4), differentiable=False)
case("binary_cross_entropy input", lambda x: F.binary_cross_entropy(x, mc.tensor(unit(3, 4)[::-1].copy(), x.dtype, x.device)),
     lambda t, T, x: T.binary_cross_entropy(x, t.tensor(unit(3, 4)[::-1].copy(), dtype=x.dtype)), unit(3, 4))
case("binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits,
     lambda t, T, x, y: T.binary_cross_entropy_with_logits(x, y), (3, 4), unit(3, 4))
case("binary_cross_entropy_with_logits weights",
     lambda x, y, w, p: F.binary_cross_entropy_with_logits(x, y, w, "sum", p),
     lambda t, T, x, y, w, p: T.binary_cross_entropy_with_logits(
         x, y, w.detach(), pos_weight=p.detach(), reduction="sum"),
     (3, 4), unit(3, 4), positive(3, 4), positive(4))
case("nll_loss", F.nll_loss, lambda t, T, x, y: T.nll_loss(x, y), (5, 4), classes(5, count=4))
case("cross_entropy", F.cross_entropy, lambda t, T, x, y: T.cross_entropy(x, y), (5, 4), classes(5, count=4))
case("cross_entropy pictures", lambda x, y: F.cross_entropy(x, y, reduction="none"),
     lambda t, T, x, y: T.cross_entropy(first(x), y, reduction="none"), (2, 3, 2, 4), classes(2, 3, 2, count=4))
case("cross_entropy weights", lambda x, y: F.cross_entropy(x, y, mc.tensor([0.5, 2.0, 1.0, 3.0], x.dtype, x.device), 1, label_smoothing=0.1),
     lambda t, T, x, y: T.cross_entropy(x, y, t.tensor([0.5, 2.0, 1.0, 3.0], dtype=x.dtype), ignore_index=1, label_smoothing=0.1),
     (7, 4), np.array([0, 1, 2, 3, 1, 0, 2]))
case("cross_entropy probabilities", lambda x, y: F.cross_entropy(x, y, label_smoothing=0.2),
     lambda t, T, x, y: T.cross_entropy(x, y, label_smoothing=0.2), (5, 4), unit(5, 4))
case("multi_margin_loss", F.multi_margin_loss, lambda t, T, x, y: T.multi_margin_loss(x, y), apart(5, 4), classes(5, count=4))
case("multi_margin_loss squared", lambda x, y: F.multi_margin_loss(x, y, p=2, margin=0.8, weight=mc.tensor([0.5, 2.0, 1.0, 3.0], x.dtype, x.device)),
     lambda t, T, x, y: T.multi_margin_loss(x, y, 2, 0.8, t.tensor([0.5, 2.0, 1.0, 3.0], dtype=x.dtype)), apart(5, 4), classes(5, count=4))
