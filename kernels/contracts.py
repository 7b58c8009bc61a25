"""Every kernel, stated once: its name, arguments, shapes, dtypes and what it computes.

The reference (`reference.py`) and the CPU loops (`cpu/`) both implement this list, as kernels for any other device would,
and `minicnn.dispatch` checks every call against it. A contract reads like a signature::

    x: f[N,H,W,C], w: f[R,S,D,K], bias: f[K]? -> y: f[N,P,Q,K]

* `f` float32 or float64, one choice for the whole call; `i` int64; `b` bool; `u` uint32; `o` uint8; `t` any dtype, one
  for the whole call; `p` a position in a pooling window: uint8 if the window has at most 256 places, else int32.
* `[N,C]` are sizes. A name that comes twice must be the same size. `[...]` is any shape, the same each time.
  `[~]` are shapes that broadcast against each other as NumPy's do.
* `?` the argument may be None, `!` it is changed in place. What stands behind `->` is allocated by the caller.

The letters: N pictures of H x W pixels and C channels; filters of R x S taps, D input channels each, K of them; outputs
of P x Q pixels. O, R (or D), I: the sizes before, along and after the axis that an op works along. M: rows, or indices.
G groups of channels.

Arrays are C-contiguous and channels last. A kernel is called as `kernel(*inputs, *outputs, *params)`. Those of the
optimizers, which change arrays in place, take lists as well: the parameters of a model (of one dtype), their gradients ...

A kernel that `keeps` can be told more, `kernel(..., kept=a_dict)`: the caller, to whom the dict belongs, promises that the
weights (what it convolves with) hold the same values each time the same dict is passed, as they do where a trained network
answers. The kernel leaves there what it makes of the weights before it uses them, by the name of all that it depends on
(the algorithm, the dtype, the width of the vectors, the weights' shape), and finds it the next time.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Sizes = dict[str, int]


class Argument(NamedTuple):
    """One array of a kernel: `dims` is a tuple of size names, or "..." or "~"."""

    name: str
    kind: str
    dims: tuple[str, ...] | str
    optional: bool = False
    inplace: bool = False


class Contract(NamedTuple):
    """What one kernel takes and gives."""

    name: str
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    params: tuple[str, ...]
    doc: str
    sizes: Callable[[Sizes, Mapping[str, Any]], Sizes] | None = None
    formula: str = ""
    kinds: str = "f"
    family: str = ""
    algorithms: tuple[str, ...] = ()
    keeps: bool = False
    shaping: tuple[str, ...] = ()  # the params that `sizes` and the choice of an algorithm look at


CONTRACTS: dict[str, Contract] = {}

_ARGUMENT = re.compile(r"(\w+): (\w)\[([^]]*)\]([?!]*)")


def _arguments(text: str) -> tuple[Argument, ...]:
    found = []
    for name, kind, dims, marks in _ARGUMENT.findall(text):
        shape = dims if dims in ("...", "~") else tuple(d.strip() for d in dims.split(",") if d.strip())
        found.append(Argument(name, kind, shape, "?" in marks, "!" in marks))
    return tuple(found)


def kernel(name: str, signature: str, doc: str, *, family: str, params: str = "", sizes: Any = None,
           algorithms: tuple[str, ...] = (), keeps: bool = False, shaping: str | None = None) -> None:
    """Add a contract. `sizes(sizes, params)` returns the output sizes that the inputs don't show and raises
    ValueError where inputs and params don't fit. shaping: the params that it looks at, if not all of them."""
    before, after = signature.split("->")
    looked_at = params if shaping is None else shaping
    CONTRACTS[name] = Contract(name, _arguments(before), _arguments(after), tuple(params.split()), doc, sizes,
                               family=family, algorithms=algorithms, keeps=keeps,
                               shaping=tuple(looked_at.split()) if sizes or algorithms else ())


def elementwise(name: str, inputs: str, formula: str, *, params: str = "", kinds: str = "f", result: str = "") -> None:
    """Add an elementwise kernel given by its formula.

    The formula is Python over at most 3 inputs and 4 params: + - * /, comparisons joined by & and |,
    `where(condition, a, b)` and the functions of `formula.FUNCTIONS`. NumPy evaluates it in the reference, the build turns
    it into C (see formula.py).

    inputs: their names; one called `condition` is bool, the others share a dtype. kinds: the dtypes it takes, `f` floats
    and `i` int64 and `b` bool. result: the output's kind if not the inputs'.
    """
    if not 1 <= len(inputs.split()) <= 3 or len(params.split()) > 4:
        raise ValueError(f"{name}: a formula has 1 to 3 inputs and at most 4 params, got {inputs!r} and {params!r}")
    arguments = tuple(Argument(n, "b" if n == "condition" else "t", "~") for n in inputs.split())
    output = Argument("y", result or "t", "~")
    CONTRACTS[name] = Contract(name, arguments, (output,), tuple(params.split()), f"y = {formula}", None, formula, kinds,
                               "elementwise")


# ---------------------------------------------------------------------------------------------------- elementwise

elementwise("add", "a b", "a + b", kinds="fi")
elementwise("sub", "a b", "a - b", kinds="fi")
elementwise("mul", "a b", "a * b", kinds="fi")
elementwise("div", "a b", "a / b")
elementwise("pow", "a b", "pow(a, b)")
elementwise("maximum", "a b", "where((a > b) | (a != a), a, b)", kinds="fi")  # NaN on either side comes through
elementwise("minimum", "a b", "where((a < b) | (a != a), a, b)", kinds="fi")
elementwise("neg", "x", "-x", kinds="fi")
elementwise("abs", "x", "where(x < 0, -x, abs(x))", kinds="fi")
elementwise("sign", "x", "where(x > 0, 1, where(x < 0, -1, x))", kinds="fi")
elementwise("exp", "x", "exp(x)")
elementwise("expm1", "x", "expm1(x)")
elementwise("log", "x", "log(x)")
elementwise("log1p", "x", "log1p(x)")
elementwise("sqrt", "x", "sqrt(x)")
elementwise("rstd", "x", "1 / sqrt(x + eps)", params="eps")  # of a variance
elementwise("sin", "x", "sin(x)")
elementwise("cos", "x", "cos(x)")
elementwise("tanh", "x", "tanh(x)")
elementwise("erf", "x", "erf(x)")
elementwise("floor", "x", "floor(x)")
elementwise("ceil", "x", "ceil(x)")
elementwise("round", "x", "round(x)")  # half to even
elementwise("clip", "x", "where(x < low, low, where(x > high, high, x))", params="low high")

elementwise("eq", "a b", "a == b", kinds="fib", result="b")
elementwise("ne", "a b", "a != b", kinds="fib", result="b")
elementwise("lt", "a b", "a < b", kinds="fib", result="b")
elementwise("le", "a b", "a <= b", kinds="fib", result="b")
elementwise("gt", "a b", "a > b", kinds="fib", result="b")
elementwise("ge", "a b", "a >= b", kinds="fib", result="b")
elementwise("logical_and", "a b", "(a != 0) & (b != 0)", kinds="b", result="b")
elementwise("logical_or", "a b", "(a != 0) | (b != 0)", kinds="b", result="b")
elementwise("logical_not", "x", "x == 0", kinds="b", result="b")
elementwise("where", "condition a b", "where(condition != 0, a, b)", kinds="fib")
elementwise("mask", "g condition", "where(condition != 0, g, 0)", kinds="f")  # a gradient where a condition holds

# Activations and their gradients. Each gradient takes g, the gradient of the output, first.
elementwise("relu", "x", "where(x < 0, 0, x)")
elementwise("relu_grad", "g y", "where(y > 0, g, 0)")
elementwise("relu6", "x", "where(x < 0, 0, where(x > 6, 6, x))")
elementwise("relu6_grad", "g x", "where((x > 0) & (x < 6), g, 0)")
elementwise("leaky_relu", "x", "where(x > 0, x, slope * x)", params="slope")
elementwise("leaky_relu_grad", "g x", "where(x > 0, g, slope * g)", params="slope")
elementwise("elu", "x", "where(x > 0, x, alpha * expm1(x))", params="alpha")
elementwise("elu_grad", "g x", "where(x > 0, g, alpha * g * exp(x))", params="alpha")
elementwise("sigmoid", "x", "1 / (1 + exp(-x))")
elementwise("sigmoid_grad", "g y", "g * y * (1 - y)")
elementwise("tanh_grad", "g y", "g * (1 - y * y)")
elementwise("silu", "x", "x / (1 + exp(-x))")
elementwise("silu_grad", "g x", "g * (1 + x * (1 - 1 / (1 + exp(-x)))) / (1 + exp(-x))")
elementwise("gelu", "x", "x * cdf(x)")
elementwise("gelu_grad", "g x", "g * (cdf(x) + x * 0.3989422804014327 * exp(-0.5 * x * x))")
elementwise("softplus", "x", "where(beta * x > threshold, x, log1p(exp(-abs(beta * x))) / beta + where(x > 0, x, 0))", params="beta threshold")
elementwise("softplus_grad", "g x", "where(beta * x > threshold, g, g / (1 + exp(-beta * x)))", params="beta threshold")
elementwise("hardsigmoid", "x", "where(x <= -3, 0, where(x >= 3, 1, x / 6 + 0.5))")
elementwise("hardsigmoid_grad", "g x", "where((x > -3) & (x < 3), g / 6, 0)")
elementwise("hardswish", "x", "where(x <= -3, 0 * x, where(x >= 3, x, x * (x + 3) / 6))")
elementwise("hardswish_grad", "g x", "where(x <= -3, 0, where(x >= 3, g, g * (x / 3 + 0.5)))")

#: The activations that other kernels apply to what they are about to store: param `activation` names one, or "" for none.
ACTIVATIONS = ("relu", "relu6", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh")

# -log of a Bernoulli likelihood with probability x and label t, logarithms not below -100, as in F.binary_cross_entropy.
elementwise("bce", "x t", "-(t * where(log(x) < -100, -100, log(x)) + (1 - t) * where(log(1 - x) < -100, -100, log(1 - x)))")
elementwise("bce_grad", "g x t", "g * (x - t) / where(x * (1 - x) < 1e-12, 1e-12, x * (1 - x))")
# -log of a Bernoulli likelihood with logit x and label t, as in F.binary_cross_entropy_with_logits.
elementwise("bce_logits", "x t", "where(x > 0, x, 0) - x * t + log1p(exp(-abs(x)))")
elementwise("bce_logits_grad", "g x t", "g * (1 / (1 + exp(-x)) - t)")

# ------------------------------------------------------------------------------------------- copies and indexing

kernel("strided_get", "x: t[n] -> y: t[m]", family="copy", params="shape strides offset",
       sizes=lambda s, p: {"m": strided_count(s["n"], p)},
       doc="y, of `shape`, read from flat x at offset + sum(index * strides): slices, transposes, flips, expansions")
kernel("strided_set", "y: t[n]!, x: t[m] ->", family="copy", params="shape strides offset",
       sizes=lambda s, p: match("m", s["m"], strided_count(s["n"], p)),
       doc="the same walk, writing: y.flat[offset + sum(index * strides)] = x")
kernel("fill", "y: t[...]! ->", family="copy", params="value", doc="y = value")
kernel("take", "x: t[O,D,I], index: i[M] -> y: t[O,M,I]", family="copy",
       doc="y[o,m,i] = x[o, index[m], i]; an index outside 0..D-1 raises IndexError")
kernel("take_grad", "g: f[O,M,I], index: i[M] -> dx: f[O,D,I]", family="copy", params="length",
       sizes=lambda s, p: {"D": p["length"]}, doc="dx[o, index[m], i] += g[o,m,i], in order of m")
kernel("pick", "x: t[O,D,I], index: i[O,I] -> y: t[O,I]", family="copy",
       doc="y[o,i] = x[o, index[o,i], i]; an index outside 0..D-1 raises IndexError")
kernel("pick_grad", "g: f[O,I], index: i[O,I] -> dx: f[O,D,I]", family="copy", params="length",
       sizes=lambda s, p: {"D": p["length"]}, doc="dx[o, index[o,i], i] = g[o,i], else 0")
kernel("gather", "x: t[O,D,I], index: i[O,M,I] -> y: t[O,M,I]", family="copy",
       doc="y[o,m,i] = x[o, index[o,m,i], i]; an index outside 0..D-1 raises IndexError")
kernel("scatter", "x: f[O,M,I], index: i[O,M,I] -> y: f[O,D,I]", family="copy", params="length add",
       sizes=lambda s, p: {"D": p["length"]}, shaping="length",
       doc="y[o, index[o,m,i], i] = x[o,m,i], in order of m (with add: += x[o,m,i], the adjoint of gather), else 0")
kernel("csr_matmul", "x: f[O,D,I], start: i[M1], index: i[T], weight: f[T] -> y: f[O,M,I]", family="copy",
       sizes=lambda s, p: csr_rows(s),
       doc="y[o,m,i] = sum over t from start[m] to start[m+1]-1 of weight[t] * x[o, index[t], i]: every x[o] times a sparse matrix "
           "given by rows; an index outside 0..D-1 raises IndexError, starts that do not rise from 0 to T ValueError")

# -------------------------------------------------------------------------------------------------- reductions

kernel("reduce_sum", "x: t[O,R,I] -> y: t[O,I]", family="reduce", params="scale",
       doc="y[o,i] = scale * sum over r of x[o,r,i] (float or int64; of int64 scale is 1)")
kernel("reduce_sum_grad", "g: f[O,I] -> dx: f[O,R,I]", family="reduce", params="length scale",
       sizes=lambda s, p: {"R": p["length"]}, shaping="length", doc="dx[o,r,i] = scale * g[o,i]")
kernel("reduce_max", "x: f[O,R,I] -> y: f[O,I], index: i[O,I]", family="reduce",
       sizes=lambda s, p: not_empty("R", s["R"]), doc="largest over r, and the first r that has it; NaN wins")
kernel("reduce_min", "x: f[O,R,I] -> y: f[O,I], index: i[O,I]", family="reduce",
       sizes=lambda s, p: not_empty("R", s["R"]), doc="smallest over r, and the first r that has it; NaN wins")
kernel("softmax", "x: f[O,D,I] -> y: f[O,D,I]", family="reduce", doc="y = exp(x - max) / sum over d of exp(x - max)")
kernel("softmax_grad", "g: f[O,D,I], y: f[O,D,I] -> dx: f[O,D,I]", family="reduce", doc="dx = y * (g - sum over d of g * y)")
kernel("log_softmax", "x: f[O,D,I] -> y: f[O,D,I]", family="reduce", doc="y = x - max - log(sum over d of exp(x - max))")
kernel("log_softmax_grad", "g: f[O,D,I], y: f[O,D,I] -> dx: f[O,D,I]", family="reduce",
       doc="dx = g - exp(y) * sum over d of g")
kernel("cross_entropy", "x: f[M,D], index: i[M] -> y: f[M], log: f[M,D]", family="reduce", params="ignore",
       doc="log = log_softmax of each row; y[m] = -log[m, index[m]], 0 where index is `ignore`; any other index outside 0..D-1 "
           "raises IndexError")
kernel("cross_entropy_grad", "g: f[M], log: f[M,D], index: i[M] -> dx: f[M,D]", family="reduce", params="ignore",
       doc="dx[m,d] = g[m] * (exp(log[m,d]) - (1 where d is index[m], else 0)), 0 where index is `ignore`")

# ------------------------------------------------------------------------------------- products and convolutions

kernel("matmul", "a: f[B,a0,a1], b: f[Bb,b0,b1], bias: f[N]? -> y: f[B,M,N]", family="matmul",
       params="transpose_a transpose_b", sizes=lambda s, p: matmul_sizes(s, p),
       doc="y[i] = a[i] @ b[i] (+ bias), either side transposed first if so asked; Bb is B, or 1 for one b for all")

kernel("conv2d_forward", "x: f[N,H,W,C], w: f[R,S,D,K], bias: f[K]?, add: f[N,P,Q,K]? -> y: f[N,P,Q,K]", family="conv",
       params="stride padding dilation groups low high", sizes=lambda s, p: conv2d_sizes(s, p),
       algorithms=("direct", "depthwise", "winograd", "reference"), keeps=True, shaping="stride padding dilation groups",
       doc="y[n,p,q,k] = bias[k] + sum over r,s,d of x[n, p*stride-top+r*dilation, q*stride-left+s*dilation, c] * w[r,s,d,k] with "
           "c = (k // (K/groups)) * D + d, zeros outside x; + add[n,p,q,k]; then clipped to low..high (-inf, inf: not at all), NaN comes "
           "through. stride, dilation (rows, columns); padding (top, bottom, left, right)")
kernel("conv2d_input_grad", "dy: f[N,P,Q,K], w: f[R,S,D,K] -> dx: f[N,H,W,C]", family="conv",
       params="size stride padding dilation groups", sizes=lambda s, p: conv2d_input_sizes(s, p),
       algorithms=("direct", "depthwise", "winograd", "reference"),
       doc="the gradient of conv2d_forward by x, of size (H, W): every product runs back to where it came from")
kernel("conv2d_weight_grad", "x: f[N,H,W,C], dy: f[N,P,Q,K] -> dw: f[R,S,D,K]", family="conv",
       params="kernel stride padding dilation groups", sizes=lambda s, p: conv2d_weight_sizes(s, p),
       algorithms=("direct", "depthwise", "winograd", "reference"),
       doc="the gradient of conv2d_forward by w, of kernel size (R, S)")

kernel("conv2d_depthwise", "x: f[N,H,W,D], w: f[R,S,D,K], bias: f[K]?, filters: f[T,U,one,K], shift: f[K]? -> y: f[N,P,Q,K]",
       family="conv", params="stride padding dilation low high deep_stride deep_padding deep_dilation deep_low deep_high",
       sizes=lambda s, p: conv2d_depthwise_sizes(s, p), algorithms=("direct", "joined", "reference"), keeps=True,
       shaping="stride padding dilation deep_stride deep_padding deep_dilation",
       doc="two conv2d_forward, one after the other: of x with w in one group, and of what comes out with one filter a channel, whose "
           "arguments are filters, shift and those that begin with deep; for inference, as it keeps nothing of what is in between")

# ----------------------------------------------------------------------------------------------------- pooling

kernel("max_pool2d", "x: f[N,H,W,C] -> y: f[N,P,Q,C], position: p[N,P,Q,C]", family="pool", params="kernel stride padding dilation size rectified",
       sizes=lambda s, p: max_pool_sizes(p),
       doc="the largest in each window and its place r*kW+s there: the first of equals, the last NaN; places outside x do not "
           "compete. padding (top, left); size (P, Q), which ceil_mode makes larger than the windows that fit. rectified, for windows of "
           "at most 255 places: x came out of a ReLU, whose gradient is taken along; the place is 255 where y isn't positive")
kernel("max_pool2d_grad", "dy: f[N,P,Q,C], position: p[N,P,Q,C] -> dx: f[N,H,W,C]", family="pool",
       params="size kernel stride padding dilation", sizes=lambda s, p: {"H": p["size"][0], "W": p["size"][1]},
       doc="each dy added to the place it came from, if that is in the window; size (H, W)")
kernel("max_pool2d_pick", "x: f[N,H,W,C], position: p[N,P,Q,C] -> y: f[N,P,Q,C]", family="pool",
       params="kernel stride padding dilation", doc="x at the given places: the adjoint of max_pool2d_grad")
kernel("max_pool2d_index", "position: p[N,P,Q,C] -> index: i[N,P,Q,C]", family="pool",
       params="size kernel stride padding dilation", doc="places in a window as places h*W+w in the plane; size (H, W)")
kernel("avg_pool2d", "x: f[N,H,W,C] -> y: f[N,P,Q,C]", family="pool",
       params="kernel stride padding size count_include_pad divisor", sizes=lambda s, p: {"P": p["size"][0], "Q": p["size"][1]},
       doc="the sum in each window over divisor; if divisor is 0, over the places that count: inside x, or with "
           "count_include_pad also inside the padding (top, bottom, left, right)")
kernel("avg_pool2d_grad", "dy: f[N,P,Q,C] -> dx: f[N,H,W,C]", family="pool",
       params="size kernel stride padding count_include_pad divisor", sizes=lambda s, p: {"H": p["size"][0], "W": p["size"][1]},
       doc="the adjoint of avg_pool2d; size (H, W)")

# ----------------------------------------------------------------------------------------------- normalisation

kernel("batch_norm_stats", "x: f[M,C] -> mean: f[C], var: f[C]", family="norm", sizes=lambda s, p: not_empty("M", s["M"]),
       doc="mean and biased variance of each channel (two passes or shifted sums: no cancellation)")
kernel("batch_norm_follow", "mean: f[C], var: f[C], running_mean: f[C]!?, running_var: f[C]!? -> rstd: f[C]", family="norm",
       params="momentum unbias eps",
       doc="rstd = 1 / sqrt(var + eps); running_mean = (1-momentum)*running_mean + momentum*mean, running_var alike with unbias*var")
kernel("batch_norm_apply", "x: f[M,C], mean: f[C], rstd: f[C], weight: f[C]?, bias: f[C]?, add: f[M,C]? -> y: f[M,C]",
       family="norm", params="activation", sizes=lambda s, p: known_activation(p),
       doc="y = activation((x - mean) * rstd * weight + bias + add)")
kernel("batch_norm_grad", "g: f[M,C], x: f[M,C], mean: f[C], rstd: f[C], weight: f[C]?, bias: f[C]? -> "
       "dx: f[M,C], dweight: f[C], dbias: f[C]",
       family="norm", params="activation rectified", sizes=lambda s, p: known_activation(p), shaping="activation",
       doc="xhat = (x - mean) * rstd; h = the gradient of activation at xhat * weight + bias, given g; dbias = sum h; dweight = sum h * xhat; "
           "dx = weight * rstd * (h - dbias/M - xhat * dweight/M), and with rectified 0 unless x > 0: x came out of a ReLU, "
           "whose gradient is taken along")
kernel("group_norm", "x: f[N,M,C], weight: f[C]?, bias: f[C]? -> y: f[N,M,C], mean: f[N,G], rstd: f[N,G]", family="norm", params="groups eps",
       sizes=lambda s, p: grouped(s, p["groups"]), shaping="groups",
       doc="mean and rstd = 1 / sqrt(var + eps), var biased, of each x[n] over its M places and each of `groups` groups of C/G neighbouring "
           "channels; y = (x - mean) * rstd * weight + bias")
kernel("group_norm_grad", "g: f[N,M,C], x: f[N,M,C], mean: f[N,G], rstd: f[N,G], weight: f[C]? -> dx: f[N,M,C], dweight: f[C], dbias: f[C]",
       family="norm", sizes=lambda s, p: grouped(s, s["G"]),
       doc="xhat = (x - mean) * rstd; dbias = sum g; dweight = sum g * xhat; h = g * weight; dx = rstd * (h - mean of h - xhat * mean of "
           "(h * xhat)), the means over the group")
kernel("batch_norm_pool", "x: f[N,H,W,C], mean: f[C], rstd: f[C], weight: f[C]?, bias: f[C]? -> y: f[N,P,Q,C], position: o[N,P,Q,C]",
       family="norm", params="kernel activation p seed offset", sizes=lambda s, p: side_by_side(s, p), shaping="kernel activation",
       doc="y = dropout(max_pool2d(batch_norm_apply(x))): windows of at most 255 places side by side, what is left over at the "
           "edges counts for nothing; the first of equals and the last NaN win. Element i of flat y is dropped where word offset + i of the seed's "
           "stream is below round(p * 2^32), else divided by 1-p. position: the place r*kW+s in the window, 255 where dropped")
kernel("batch_norm_pool_grad", "g: f[N,P,Q,C], position: o[N,P,Q,C], x: f[N,H,W,C], mean: f[C], rstd: f[C], weight: f[C]?, bias: f[C]? -> "
       "dx: f[N,H,W,C], dweight: f[C], dbias: f[C]",
       family="norm", params="kernel activation p rectified", sizes=lambda s, p: pooled(s, p), shaping="kernel activation",
       doc="batch_norm_grad of all M = N*H*W rows, given g/(1-p) at the places where it came from and 0 elsewhere")

# ------------------------------------------------------------------------------------------------ random numbers

PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
PHILOX_WEYL = (0x9E3779B9, 0xBB67AE85)
PHILOX_ROUNDS = 10
#: The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). Word i of the
#: stream of a seed is word i % 4 of the block with counter (i // 4 as 64 bits, 0, 0), keyed by the 64 bits of the seed. A draw
#: that starts at `offset` (a multiple of 4) reads the words from there on: any thread can make any of them.

kernel("random_bits", "-> y: u[n]", family="random", params="count seed offset", sizes=lambda s, p: {"n": p["count"]},
       doc="words offset..offset+count-1 of the seed's stream")
kernel("dropout", "x: f[N,M,C] -> y: f[N,M,C]", family="random", params="p seed offset",
       doc="y = x / (1-p) where word offset + n*C + c of the stream is at least round(p * 2^32), else 0: M = 1 is dropout of "
           "elements, M = H*W of whole channels. Its gradient is itself")

# -------------------------------------------------------------------------------------------------- optimizers

kernel("sgd_step", "p: f[...]!, g: f[...], velocity: f[...]!? ->", family="optim",
       params="lr momentum dampening weight_decay nesterov first",
       doc="g += weight_decay*p; v = g if first else momentum*v + (1-dampening)*g; p -= lr * (g + momentum*v if nesterov else v)")
kernel("adam_step", "p: f[...]!, g: f[...], m: f[...]!, v: f[...]! ->", family="optim",
       params="lr beta1 beta2 eps weight_decay decoupled step",
       doc="Kingma & Ba 2015, with PyTorch's eps: decoupled: p *= 1 - lr*weight_decay, else g += weight_decay*p; m = beta1*m + (1-beta1)*g; "
           "v = beta2*v + (1-beta2)*g^2; p -= lr/(1-beta1^step) * m / (sqrt(v)/sqrt(1-beta2^step) + eps)")
kernel("rmsprop_step", "p: f[...]!, g: f[...], square: f[...]!, mean: f[...]!?, velocity: f[...]!? ->", family="optim",
       params="lr alpha eps weight_decay momentum",
       doc="g += weight_decay*p; square = alpha*square + (1-alpha)*g^2; with mean: mean = alpha*mean + (1-alpha)*g, d = sqrt(square - mean^2) + eps, "
           "else d = sqrt(square) + eps; with velocity: velocity = momentum*velocity + g/d, p -= lr*velocity, else p -= lr*g/d")
kernel("average_step", "p: f[...]!, value: f[...] ->", family="optim", params="rate scale",
       doc="p = (1-rate)*p + rate*scale*value: a running average, of statistics or of weights")
kernel("adagrad_step", "p: f[...]!, g: f[...], total: f[...]! ->", family="optim", params="lr eps weight_decay",
       doc="g += weight_decay*p; total += g^2; p -= lr * g / (sqrt(total) + eps)")

# ------------------------------------------------------------------------------------------------ augmentation

kernel("mirror", "x: o[N,O,D,I], chosen: b[N] -> y: o[N,O,D,I]", family="picture",
       doc="y[n] = x[n], where chosen[n] with axis D the other way round: bytes, I of them an item, whatever they stand for")
kernel("affine_sample", "x: f[N,H,W,C], maps: f[N,R,S] -> y: f[N,P,Q,C]", family="picture", params="size",
       sizes=lambda s, p: affine_sizes(s, p),
       doc="y[n,p,q] is x[n] at the place (row, column) = maps[n] @ (p, q, 1), or the nearest one in x (0 for NaN), interpolated "
           "between the four pixels around it; maps are 2 x 3, size is (P, Q)")
kernel("jitter", "x: f[N,K], brightness: f[N], contrast: f[N], weights: f[K] -> y: f[N,K], inside: b[N]", family="picture",
       doc="b = min(brightness[n] * x[n], 1), grey = sum weights * b, y[n] = clip(contrast[n] * b + (1-contrast[n]) * grey, 0, 1); "
           "inside: whether all of x[n] is in [0, 1]")
kernel("blend", "x: f[N,K], partner: i[N], share: f[N] -> y: f[N,K]", family="picture",
       doc="y[n] = x[n] + share[n] * (x[partner[n]] - x[n]); a partner outside 0..N-1 raises IndexError")



# ------------------------------------------------------------------------------------------------ sizes that follow

def match(name: str, came: int, expected: int) -> Sizes:
    if came != expected:
        raise ValueError(f"{name} is {came}, expected {expected}")
    return {}


def not_empty(name: str, size: int) -> Sizes:
    if size == 0:
        raise ValueError(f"{name} is 0: nothing to reduce")
    return {}


def csr_rows(s: Sizes) -> Sizes:
    """A matrix of M rows has M + 1 starts."""
    if s["M1"] == 0:
        raise ValueError("start is empty, expected one number more than the matrix has rows")
    return {"M": s["M1"] - 1}


def known_activation(p: Mapping[str, Any]) -> Sizes:
    if p["activation"] not in ("", *ACTIVATIONS):
        raise ValueError(f"activation is {p['activation']!r}, expected '' or one of {', '.join(ACTIVATIONS)}")
    return {}


def max_pool_sizes(p: Mapping[str, Any]) -> Sizes:
    rows, columns = p["kernel"]
    if p["rectified"] and rows * columns > 255:
        raise ValueError(f"kernel is {rows}x{columns}, expected at most 255 places if rectified")
    return {"P": p["size"][0], "Q": p["size"][1]}


def grouped(s: Sizes, groups: int) -> Sizes:
    """Channels in groups of one size."""
    if groups < 1 or s["C"] % groups or s["C"] * s["M"] == 0:
        raise ValueError(f"{s['M']} places of {s['C']} channels do not divide into {groups} groups")
    return {"G": groups}


def side_by_side(s: Sizes, p: Mapping[str, Any]) -> Sizes:
    """Windows that neither overlap nor leave gaps; 255 is no place in them."""
    rows, columns = p["kernel"]
    if rows < 1 or columns < 1 or rows * columns > 255:
        raise ValueError(f"kernel is {rows}x{columns}, expected 1 to 255 places")
    return {"P": s["H"] // rows, "Q": s["W"] // columns, **known_activation(p)}


def pooled(s: Sizes, p: Mapping[str, Any]) -> Sizes:
    expected = side_by_side(s, p)
    return {**match("P", s["P"], expected["P"]), **match("Q", s["Q"], expected["Q"])}


def affine_sizes(s: Sizes, p: Mapping[str, Any]) -> Sizes:
    for name in ("H", "W"):
        if not 1 <= s[name] < 2**31:
            raise ValueError(f"{name} is {s[name]}, expected 1 to 2^31 - 1")
    high, wide = p["size"]
    return {"P": high, "Q": wide, **match("the number of rows of a map", s["R"], 2),
            **match("the number of columns of a map", s["S"], 3)}


def strided_count(length: int, p: Mapping[str, Any]) -> int:
    """Number of elements of a strided walk; raises where it would leave the flat array."""
    count, low, high = 1, p["offset"], p["offset"]
    for size, stride in zip(p["shape"], p["strides"], strict=True):
        count *= size
        low, high = low + min(0, (size - 1) * stride), high + max(0, (size - 1) * stride)
    if count and not (0 <= low and high < length):
        raise ValueError(f"the walk reaches from {low} to {high} in an array of {length}")
    return count


def matmul_sizes(s: Sizes, p: Mapping[str, Any]) -> Sizes:
    rows, inner = (s["a1"], s["a0"]) if p["transpose_a"] else (s["a0"], s["a1"])
    inner_b, columns = (s["b1"], s["b0"]) if p["transpose_b"] else (s["b0"], s["b1"])
    if inner != inner_b:
        raise ValueError(f"inner sizes differ: {inner} and {inner_b}")
    if s["Bb"] not in (1, s["B"]):
        raise ValueError(f"batches differ: {s['B']} and {s['Bb']}")
    return {"M": rows, "N": columns, **match("bias", s.get("N", columns), columns)}


def _outputs(size: int, before: int, after: int, kernel: int, stride: int, dilation: int) -> int:
    """How many windows fit: floor((size + padding - dilation*(kernel-1) - 1) / stride) + 1."""
    return max(0, (size + before + after - dilation * (kernel - 1) - 1) // stride + 1)


def conv2d_outputs(height: int, width: int, rows: int, columns: int, p: Mapping[str, Any]) -> tuple[int, int]:
    """(P, Q) of a convolution with filters of so many rows and columns. p: its padding, stride and dilation."""
    top, bottom, left, right = p["padding"]
    return (_outputs(height, top, bottom, rows, p["stride"][0], p["dilation"][0]),
            _outputs(width, left, right, columns, p["stride"][1], p["dilation"][1]))


def _conv2d_channels(channels: int, per_group: int, filters: int, groups: int) -> None:
    if channels != per_group * groups or filters % groups:
        raise ValueError(f"{channels} channels and {filters} filters of {per_group} channels do not fit {groups} groups")


def conv2d_sizes(s: Sizes, p: Mapping[str, Any]) -> Sizes:
    _conv2d_channels(s["C"], s["D"], s["K"], p["groups"])
    high, wide = conv2d_outputs(s["H"], s["W"], s["R"], s["S"], p)
    return {"P": high, "Q": wide, **match("P of add", s.get("P", high), high), **match("Q of add", s.get("Q", wide), wide)}


def conv2d_input_sizes(s: Sizes, p: Mapping[str, Any]) -> Sizes:
    height, width = p["size"]
    _conv2d_channels(s["D"] * p["groups"], s["D"], s["K"], p["groups"])
    high, wide = conv2d_outputs(height, width, s["R"], s["S"], p)
    return {"H": height, "W": width, "C": s["D"] * p["groups"], **match("P", s["P"], high), **match("Q", s["Q"], wide)}


def conv2d_weight_sizes(s: Sizes, p: Mapping[str, Any]) -> Sizes:
    rows, columns = p["kernel"]
    if s["C"] % p["groups"]:
        raise ValueError(f"{s['C']} channels do not divide into {p['groups']} groups")
    _conv2d_channels(s["C"], s["C"] // p["groups"], s["K"], p["groups"])
    high, wide = conv2d_outputs(s["H"], s["W"], rows, columns, p)
    return {"R": rows, "S": columns, "D": s["C"] // p["groups"], **match("P", s["P"], high), **match("Q", s["Q"], wide)}


def conv2d_depthwise_sizes(s: Sizes, p: Mapping[str, Any]) -> Sizes:
    match("the third size of filters", s["one"], 1)
    deep = {name: p[f"deep_{name}"] for name in ("stride", "padding", "dilation")}
    high, wide = conv2d_outputs(*conv2d_outputs(s["H"], s["W"], s["R"], s["S"], p), s["T"], s["U"], deep)
    return {"P": high, "Q": wide}
