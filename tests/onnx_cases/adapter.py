"""Runs ONNX graphs with minicnn's ops, for the cases by which the onnx package tests such programs.

Values are NumPy arrays in ONNX's layout, channels first. An operator is a function of its attributes and its inputs;
OPERATORS names them. What an operator doesn't do is said by NotHere.
"""

from collections.abc import Callable, Iterable
from math import ceil, prod
from typing import Any

import numpy as np
import onnx

import minicnn as mc

F = mc.nn.functional
Array = np.ndarray
Attributes = dict[str, Any]
OPERATORS: dict[str, Callable[..., Any]] = {}


class NotHere(Exception):
    """Why a case can't be run."""


def run(model: onnx.ModelProto, inputs: Iterable[Array]) -> list[Array]:
    """The outputs of a model."""
    graph = model.graph
    values: dict[str, Any] = {"": None}
    values |= {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    values |= dict(zip((one.name for one in graph.input if one.name not in values), inputs, strict=False))
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    for node in graph.node:
        if node.op_type not in OPERATORS:
            raise NotHere(f"{node.op_type} is not an operator of minicnn's")
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        attributes |= {"opset": opset, "outputs": len(node.output)}
        results = OPERATORS[node.op_type](attributes, *[values[name] for name in node.input])
        values.update(zip(node.output, results if isinstance(results, tuple) else (results,), strict=False))
    return [values[one.name] for one in graph.output]


def operator(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function among the OPERATORS."""
    def put(function: Callable[..., Any]) -> Callable[..., Any]:
        OPERATORS[name] = function
        return function

    return put


def tensor(array: Array) -> mc.Tensor:
    if not isinstance(array, np.ndarray | np.generic):
        raise NotHere(f"a {type(array).__name__} is not a tensor")
    if array.dtype not in (np.float32, np.float64, np.int64, np.bool_):
        raise NotHere(f"{array.dtype} is not a dtype of minicnn's")
    return mc.tensor(array)


def last(array: Array) -> mc.Tensor:
    """(N, C, ...) as a tensor (N, ..., C)."""
    return tensor(np.moveaxis(array, 1, -1))


def first(x: mc.Tensor) -> Array:
    """(N, ..., C) as an array (N, C, ...)."""
    return np.moveaxis(x.numpy(), -1, 1)


def filters(array: Array | None) -> mc.Tensor | None:
    """(out, in, ...) as a tensor (..., in, out); of a transposed convolution (in, out, ...) as (..., out, in)."""
    return None if array is None else tensor(np.moveaxis(array, (0, 1), (-1, -2)))


def optional(array: Array | None) -> mc.Tensor | None:
    return None if array is None else tensor(array)


def text(attributes: Attributes, name: str, default: str) -> str:
    return attributes.get(name, default.encode()).decode()


# ------------------------------------------------------------------------------------------------------------ windows

class Window:
    """The attributes of an operator with a window, for a picture of `size`; pads: (before, after) for each axis."""

    def __init__(self, attributes: Attributes, size: tuple[int, ...], kernel: Iterable[int]):
        self.axes, self.size, self.kernel = len(size), size, tuple(kernel)
        self.stride = tuple(attributes.get("strides", [1] * self.axes))
        self.dilation = tuple(attributes.get("dilations", [1] * self.axes))
        self.reach = tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        self.ceil = bool(attributes.get("ceil_mode", 0))
        flat = attributes.get("pads", [0] * 2 * self.axes)
        self.pads = tuple(zip(flat[:self.axes], flat[self.axes:], strict=True))
        self.auto = text(attributes, "auto_pad", "NOTSET")
        if self.auto.startswith("SAME"):
            whole = [max((ceil(s / step) - 1) * step + r - s, 0)
                     for s, step, r in zip(size, self.stride, self.reach, strict=True)]
            self.pads = tuple((n - n // 2, n // 2) if self.auto == "SAME_LOWER" else (n // 2, n - n // 2)
                              for n in whole)

    @property
    def is_even(self) -> bool:
        """Whether there is as much padding before as behind, and at most half a window, as PyTorch's pools want it."""
        return all(before == after <= k // 2 for (before, after), k in zip(self.pads, self.kernel, strict=True))

    def pad(self, x: mc.Tensor, value: float = 0.0, more: Iterable[int] = ()) -> mc.Tensor:
        """x with the padding around it, and `more` behind each axis."""
        extra = list(more) or [0] * self.axes
        sides = [(before, after + e) for (before, after), e in zip(self.pads, extra, strict=True)]
        return F.pad(x, [number for side in reversed(sides) for number in side], value=value)

    def overhang(self) -> list[int]:
        """How far the last window sticks out behind the padding, in ceil mode."""
        found = []
        for size, pads, reach, step in zip(self.size, self.pads, self.reach, self.stride, strict=True):
            room = size + sum(pads) - reach
            windows = (ceil(room / step) if self.ceil else room // step) + 1
            if self.ceil and (windows - 1) * step >= size + pads[0]:  # it would begin behind the picture
                windows -= 1
            found.append(max((windows - 1) * step - room, 0))
        return found


def named(name: str, axes: int) -> Callable[..., Any]:
    """The functional of so many spatial axes."""
    found = getattr(F, name.format(axes), None)
    if found is None:
        raise NotHere(f"minicnn has no {name.format(axes)}")
    return found


@operator("Conv")
def conv(attributes: Attributes, x: Array, w: Array, bias: Array | None = None) -> Array:
    window = Window(attributes, x.shape[2:], w.shape[2:])
    return first(named("conv{}d", window.axes)(last(x), filters(w), optional(bias), window.stride, window.pads,
                                               window.dilation, attributes.get("group", 1)))


@operator("ConvTranspose")
def conv_transpose(attributes: Attributes, x: Array, w: Array, bias: Array | None = None) -> Array:
    window = Window(attributes | {"auto_pad": b"NOTSET"}, x.shape[2:], w.shape[2:])
    more = attributes.get("output_padding", [0] * window.axes)
    full = [(s - 1) * step + reach + o for s, step, reach, o in zip(window.size, window.stride, window.reach, more,
                                                                    strict=True)]
    auto, pads = text(attributes, "auto_pad", "NOTSET"), window.pads
    wanted = attributes.get("output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = [s * step for s, step in zip(window.size, window.stride, strict=True)]
    if wanted is not None:
        more = [o + max(want - have, 0) for o, have, want in zip(more, full, wanted, strict=True)]
        full = [max(have, want) for have, want in zip(full, wanted, strict=True)]
        whole = [have - want for have, want in zip(full, wanted, strict=True)]
        pads = tuple((n // 2, n - n // 2) if auto == "SAME_UPPER" else (n - n // 2, n // 2) for n in whole)
    # Room for the output padding; what is cut off differs before and behind, so it is cut off afterwards.
    y = first(named("conv_transpose{}d", window.axes)(
        last(x), filters(w), optional(bias), window.stride, 0, tuple(more), attributes.get("group", 1),
        window.dilation))
    keep = tuple(slice(before, size - after) for size, (before, after) in zip(full, pads, strict=True))
    return y[(slice(None), slice(None), *keep)]


@operator("MaxPool")
def max_pool(attributes: Attributes, x: Array) -> Any:
    window, pool = Window(attributes, x.shape[2:], attributes["kernel_shape"]), last(x)
    function = named("max_pool{}d", window.axes)
    if attributes["outputs"] == 1:
        padding = 0
        if window.is_even:
            padding = tuple(before for before, _ in window.pads)
        else:
            pool = window.pad(pool, -np.inf)
        return first(function(pool, window.kernel, window.stride, padding, window.dilation, window.ceil))
    if not window.is_even:
        raise NotHere("max pooling with indices has the same padding on either side, at most half a window")
    y, places = function(pool, window.kernel, window.stride, tuple(before for before, _ in window.pads),
                         window.dilation, window.ceil, return_indices=True)
    within = first(places)
    if attributes.get("storage_order", 0):
        within = within % window.size[1] * window.size[0] + within // window.size[1]
    planes = np.arange(prod(x.shape[:2])).reshape(*x.shape[:2], *[1] * window.axes)
    return first(y), planes * prod(window.size) + within


@operator("AveragePool")
def average_pool(attributes: Attributes, x: Array) -> Array:
    window, include = Window(attributes, x.shape[2:], attributes["kernel_shape"]), attributes.get("count_include_pad")
    if window.is_even and set(window.dilation) == {1}:
        padding = tuple(before for before, _ in window.pads)
        return first(named("avg_pool{}d", window.axes)(last(x), window.kernel, window.stride, padding, window.ceil,
                                                       bool(include)))
    # Uneven or dilated: the sums over the windows, by a convolution with ones, over the sums of what counts.
    picture, extra = last(x), window.overhang()
    ones = mc.ones(picture.shape)
    counted = F.pad(window.pad(ones, 1.0), [n for e in reversed(extra) for n in (0, e)]) if include \
        else window.pad(ones, more=extra)
    channels = picture.shape[-1]
    kernel = mc.ones((*window.kernel, 1, channels))
    total, count = (named("conv{}d", window.axes)(one, kernel, None, window.stride, 0, window.dilation, channels)
                    for one in (window.pad(picture, more=extra), counted))
    return first(total / count)


@operator("LpPool")
def lp_pool(attributes: Attributes, x: Array) -> Array:
    window = Window(attributes, x.shape[2:], attributes["kernel_shape"])
    if set(window.dilation) != {1}:
        raise NotHere("lp_pool has no dilation")
    return first(named("lp_pool{}d", window.axes)(window.pad(last(x).abs()), attributes.get("p", 2), window.kernel,
                                                  window.stride, window.ceil))


@operator("GlobalAveragePool")
def global_average_pool(attributes: Attributes, x: Array) -> Array:
    return first(F.global_avg_pool2d(last(x))).reshape(*x.shape[:2], 1, 1)


@operator("GlobalMaxPool")
def global_max_pool(attributes: Attributes, x: Array) -> Array:
    return first(F.global_max_pool2d(last(x))).reshape(*x.shape[:2], 1, 1)


@operator("MaxUnpool")
def max_unpool(attributes: Attributes, x: Array, places: Array, shape: Array | None = None) -> Array:
    window = Window(attributes, x.shape[2:], attributes["kernel_shape"])
    size = tuple((s - 1) * step - sum(pads) + k for s, step, pads, k in zip(
        window.size, window.stride, window.pads, window.kernel, strict=True))
    padding = tuple(before for before, _ in window.pads)
    # The places count within the smallest output; a larger one has it in its corner.
    y = first(named("max_unpool{}d", window.axes)(last(x), last(places % prod(size)), window.kernel, window.stride,
                                                  padding, size))
    return y if shape is None else np.pad(y, [(0, want - have) for want, have in zip(shape, y.shape, strict=True)])


# -------------------------------------------------------------------------------------------------------------- norms

@operator("BatchNormalization")
def batch_norm(attributes: Attributes, x: Array, scale: Array, bias: Array, mean: Array, var: Array) -> Any:
    training, eps = bool(attributes.get("training_mode")), attributes.get("epsilon", 1e-5)
    y = first(F.batch_norm(last(x), tensor(mean.copy()), tensor(var.copy()), tensor(scale), tensor(bias), training,
                           eps=eps))
    if not training:
        return y
    axes, share = tuple(i for i in range(x.ndim) if i != 1), attributes.get("momentum", 0.9)
    now = tensor(x).mean(dim=axes).numpy(), tensor(x).var(dim=axes, correction=0).numpy()  # ONNX's variance is biased
    return y, *[old * np.float32(share) + new * np.float32(1 - share) for old, new in zip((mean, var), now,
                                                                                         strict=True)]


@operator("InstanceNormalization")
def instance_norm(attributes: Attributes, x: Array, scale: Array, bias: Array) -> Array:
    return first(F.instance_norm(last(x), weight=tensor(scale), bias=tensor(bias),
                                 eps=attributes.get("epsilon", 1e-5)))


@operator("GroupNormalization")
def group_norm(attributes: Attributes, x: Array, scale: Array, bias: Array) -> Array:
    groups = attributes["num_groups"]
    if len(scale) == groups != x.shape[1]:  # opset 18 has a factor for each group
        scale, bias = (np.repeat(one, x.shape[1] // groups) for one in (scale, bias))
    return first(F.group_norm(last(x), groups, tensor(scale), tensor(bias), attributes.get("epsilon", 1e-5)))


@operator("LayerNormalization")
def layer_norm(attributes: Attributes, x: Array, scale: Array, bias: Array | None = None) -> Any:
    axis, eps = attributes.get("axis", -1) % x.ndim, attributes.get("epsilon", 1e-5)
    y = F.layer_norm(tensor(x), x.shape[axis:], tensor(scale), optional(bias), eps).numpy()
    axes = tuple(range(axis, x.ndim))
    mean, var = tensor(x).mean(dim=axes, keepdim=True), tensor(x).var(dim=axes, correction=0, keepdim=True)
    return y, mean.numpy(), ((var + eps) ** -0.5).numpy()


@operator("LRN")
def local_response_norm(attributes: Attributes, x: Array) -> Array:
    return first(F.local_response_norm(last(x), attributes["size"], attributes.get("alpha", 1e-4),
                                       attributes.get("beta", 0.75), attributes.get("bias", 1.0)))


# ----------------------------------------------------------------------------------------------------- matrices, losses

@operator("Gemm")
def gemm(attributes: Attributes, a: Array, b: Array, c: Array | None = None) -> Array:
    left, right = (tensor(one.T if attributes.get(name) else one) for one, name in ((a, "transA"), (b, "transB")))
    y = (left @ right) * attributes.get("alpha", 1.0)
    return (y if c is None else y + tensor(c) * attributes.get("beta", 1.0)).numpy()


@operator("MatMul")
def matmul(attributes: Attributes, a: Array, b: Array) -> Array:
    return (tensor(a) @ tensor(b)).numpy()


def softmax_of(function: Callable[..., Any]) -> Callable[..., Any]:
    def softmax(attributes: Attributes, x: Array) -> Array:
        if attributes["opset"] >= 13:
            return function(tensor(x), attributes.get("axis", -1)).numpy()
        axis = attributes.get("axis", 1)  # older ones take all axes from this one on together
        return function(tensor(x.reshape(prod(x.shape[:axis]), -1)), -1).numpy().reshape(x.shape)

    return softmax


OPERATORS |= {"Softmax": softmax_of(F.softmax), "LogSoftmax": softmax_of(F.log_softmax)}


@operator("NegativeLogLikelihoodLoss")
def nll_loss(attributes: Attributes, x: Array, target: Array, weight: Array | None = None) -> Array:
    return F.nll_loss(last(x), tensor(target.astype(np.int64)), optional(weight),
                      attributes.get("ignore_index", -100), text(attributes, "reduction", "mean")).numpy()


@operator("SoftmaxCrossEntropyLoss")
def cross_entropy(attributes: Attributes, x: Array, target: Array, weight: Array | None = None) -> Any:
    loss = F.cross_entropy(last(x), tensor(target.astype(np.int64)), weight=optional(weight),
                           ignore_index=attributes.get("ignore_index", -100),
                           reduction=text(attributes, "reduction", "mean")).numpy()
    return loss, first(F.log_softmax(last(x), -1))


@operator("Dropout")
def dropout(attributes: Attributes, x: Array, ratio: Array | None = None, training: Array | None = None) -> Any:
    p = float(attributes.get("ratio", 0.5) if ratio is None else ratio)
    on = training is not None and bool(training)
    if on and p:
        raise NotHere("which numbers are dropped is decided by a generator, and minicnn has another one than ONNX")
    return F.dropout(tensor(x), p, on).numpy(), np.ones(x.shape, bool)


# --------------------------------------------------------------------------------------------------------------- shapes

PADDING = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}


@operator("Pad")
def pad(attributes: Attributes, x: Array, amounts: Array | None = None, value: Array | None = None,
        axes: Array | None = None) -> Array:
    pads = list(attributes["pads"] if amounts is None else amounts)
    constant = float(attributes.get("value", 0.0) if value is None else value)
    over = list(range(x.ndim)) if axes is None else [int(a) % x.ndim for a in axes]
    sides = dict(zip(over, zip(pads[:len(over)], pads[len(over):], strict=True), strict=True))
    flat = [int(n) for axis in reversed(range(x.ndim)) for n in sides.get(axis, (0, 0))]
    wide = tensor(x[None, ..., None])  # all axes are spatial then
    return F.pad(wide, flat, mode=PADDING[text(attributes, "mode", "constant")], value=constant).numpy()[0, ..., 0]


@operator("Resize")
def resize(attributes: Attributes, x: Array, roi: Array | None = None, scales: Array | None = None,
           sizes: Array | None = None) -> Array:
    mode, where = text(attributes, "mode", "nearest"), text(attributes, "coordinate_transformation_mode", "half_pixel")
    rounding = text(attributes, "nearest_mode", "round_prefer_floor")
    if "axes" in attributes or "keep_aspect_ratio_policy" in attributes or attributes.get("antialias"):
        raise NotHere("interpolate has no axes, aspect ratio or antialiasing")
    shape = [int(s) for s in (sizes if sizes is not None and len(sizes) else np.floor(np.asarray(x.shape) * scales))]
    upwards = all(new % old == 0 for new, old in zip(shape, x.shape, strict=True))
    exact = all(new == old * s for new, old, s in zip(shape, x.shape, scales, strict=True)) if scales is not None \
        and len(scales) else True
    if x.ndim != 4 or shape[:2] != list(x.shape[:2]):
        raise NotHere("interpolate is for pictures, and leaves their channels alone")
    if mode == "nearest":
        if (where, rounding) != ("asymmetric", "floor") and not (
                upwards and (where, rounding) == ("half_pixel", "round_prefer_floor")):
            raise NotHere(f"interpolate has no nearest pixel by {where}, {rounding}")
        return first(F.interpolate(last(x), tuple(shape[2:])))
    if mode == "linear" and not exact:
        raise NotHere("interpolate scales by the ratio of the sizes, of which both are whole")
    if mode == "linear" and where in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        if where == "pytorch_half_pixel" and 1 in shape[2:]:
            raise NotHere("interpolate has no pytorch_half_pixel for a single pixel")
        return first(F.interpolate(last(x), tuple(shape[2:]), mode="bilinear",
                                   align_corners=where == "align_corners"))
    raise NotHere(f"interpolate has no mode {mode} by {where}")


@operator("Transpose")
def transpose(attributes: Attributes, x: Array) -> Array:
    return tensor(x).permute(*attributes.get("perm", range(x.ndim)[::-1])).numpy()


@operator("Reshape")
def reshape(attributes: Attributes, x: Array, shape: Array) -> Array:
    sizes = [int(s) if s or attributes.get("allowzero") else x.shape[i] for i, s in enumerate(shape)]
    return tensor(x).reshape(*sizes).numpy()


@operator("Flatten")
def flatten(attributes: Attributes, x: Array) -> Array:
    axis = attributes.get("axis", 1)
    return tensor(x).reshape(prod(x.shape[:axis]), -1 if x.size else prod(x.shape[axis:])).numpy()


@operator("Concat")
def concat(attributes: Attributes, *arrays: Array) -> Array:
    return mc.concat([tensor(a) for a in arrays], attributes["axis"]).numpy()


@operator("Expand")
def expand(attributes: Attributes, x: Array, shape: Array) -> Array:
    return tensor(x).expand(*np.broadcast_shapes(x.shape, tuple(int(s) for s in shape))).numpy()


@operator("Identity")
def identity(attributes: Attributes, x: Array) -> Array:
    return tensor(x).numpy()


@operator("Constant")
def constant(attributes: Attributes) -> Array:
    if "value" in attributes:
        return onnx.numpy_helper.to_array(attributes["value"])
    kind, value = next((name, value) for name, value in attributes.items() if name.startswith("value_"))
    return np.array(value, np.float32 if "float" in kind else np.int64)


# ------------------------------------------------------------------------------------------------- numbers one by one

def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operator without attributes."""
    return lambda attributes, *arrays: function(*numbers(arrays)).numpy()


def numbers(arrays: Iterable[Array]) -> list[mc.Tensor]:
    """Tensors of one dtype, with which minicnn calculates."""
    found = [tensor(array) for array in arrays]
    if len({one.dtype for one in found if one.dtype != np.bool_}) > 1:
        raise NotHere("minicnn takes numbers of one dtype only")
    return found


def folded(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operator of two inputs, for any number of them."""
    def fold(attributes: Attributes, *arrays: Array) -> Array:
        result = tensor(arrays[0])
        for array in arrays[1:]:
            result = function(result, tensor(array))
        return result.numpy()

    return fold


ONE_BY_ONE = ("Abs Neg Exp Log Sqrt Sin Cos Erf Sign Floor Ceil Round Relu Sigmoid Tanh HardSwish Softplus "
              "Add Sub Mul Div")
OPERATORS |= {name: plain(getattr(F, name.lower())) for name in ONE_BY_ONE.split()}


@operator("Pow")
def power(attributes: Attributes, x: Array, exponent: Array) -> Array:
    if np.int64 in (x.dtype, exponent.dtype):
        raise NotHere("powers are of floats")
    return F.pow(*numbers((x, exponent))).numpy()


OPERATORS |= {"Equal": plain(F.eq), "Less": plain(F.lt), "LessOrEqual": plain(F.le), "Greater": plain(F.gt),
              "GreaterOrEqual": plain(F.ge), "Where": plain(F.where), "Max": folded(F.maximum),
              "Min": folded(F.minimum), "Sum": folded(F.add)}


@operator("LeakyRelu")
def leaky_relu(attributes: Attributes, x: Array) -> Array:
    return F.leaky_relu(tensor(x), attributes.get("alpha", 0.01)).numpy()


@operator("Elu")
def elu(attributes: Attributes, x: Array) -> Array:
    return F.elu(tensor(x), attributes.get("alpha", 1.0)).numpy()


@operator("Gelu")
def gelu(attributes: Attributes, x: Array) -> Array:
    if text(attributes, "approximate", "none") != "none":
        raise NotHere("gelu is the exact one")
    return F.gelu(tensor(x)).numpy()


@operator("HardSigmoid")
def hard_sigmoid(attributes: Attributes, x: Array) -> Array:
    if not np.isclose(attributes.get("alpha", 0.2), 1 / 6) or attributes.get("beta", 0.5) != 0.5:
        raise NotHere("hardsigmoid has the slope 1/6 through 1/2")
    return F.hardsigmoid(tensor(x)).numpy()


@operator("Clip")
def clip(attributes: Attributes, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    low = attributes.get("min") if low is None else low.item()
    high = attributes.get("max") if high is None else high.item()
    if low is None and high is None:
        return tensor(x).numpy()
    return F.clip(tensor(x), low, high).numpy()


# --------------------------------------------------------------------------------------------------------- reductions

def reduced(function: Callable[..., Any], chooses: bool = False) -> Callable[..., Any]:
    """A reduction over `axes`, an attribute or an input. chooses: one of the numbers, so there must be one."""
    def reduce(attributes: Attributes, x: Array, axes: Array | None = None) -> Array:
        over = attributes.get("axes") if axes is None else [int(a) for a in axes]
        if not over:
            if attributes.get("noop_with_empty_axes"):
                raise NotHere("a reduction over no axes")
            over = list(range(x.ndim))
        if chooses and not x.size:
            raise NotHere("the largest or smallest of nothing")
        if x.dtype == np.bool_:
            raise NotHere("the largest of truth values")
        return function(tensor(x), tuple(over), bool(attributes.get("keepdims", 1))).numpy()

    return reduce


OPERATORS |= {
    "ReduceSum": reduced(lambda x, dim, keep: x.sum(dim=dim, keepdim=keep)),
    "ReduceMean": reduced(lambda x, dim, keep: x.mean(dim=dim, keepdim=keep)),
    "ReduceMax": reduced(lambda x, dim, keep: F.max(x, dim=dim, keepdim=keep), chooses=True),
    "ReduceMin": reduced(lambda x, dim, keep: F.min(x, dim=dim, keepdim=keep), chooses=True),
    "ReduceL1": reduced(lambda x, dim, keep: x.abs().sum(dim=dim, keepdim=keep)),
    "ReduceL2": reduced(lambda x, dim, keep: (x * x).sum(dim=dim, keepdim=keep).sqrt()),
    "ReduceSumSquare": reduced(lambda x, dim, keep: (x * x).sum(dim=dim, keepdim=keep)),
    "ReduceLogSum": reduced(lambda x, dim, keep: x.sum(dim=dim, keepdim=keep).log()),
    "ReduceLogSumExp": reduced(lambda x, dim, keep: F.logsumexp(x, dim=dim, keepdim=keep), chooses=True),
}


def place_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """argmax or argmin."""
    def place(attributes: Attributes, x: Array) -> Array:
        if attributes.get("select_last_index"):
            raise NotHere("of equal numbers, argmax and argmin take the first")
        return function(tensor(x), dim=attributes.get("axis", 0), keepdim=bool(attributes.get("keepdims", 1))).numpy()

    return place


OPERATORS |= {"ArgMax": place_of(F.argmax), "ArgMin": place_of(F.argmin)}
