"""The arguments of convolutions over one, two or three axes: checked, and brought into one form."""

from collections.abc import Sequence
from typing import Any

from ..tensor import Tensor
from .arguments import is_int, need_float, need_rank, per_axis, remembered

Padding = int | str | Sequence[Any]
Size = int | Sequence[int]

#: Names of the spatial axes, by how many there are.
AXES = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}


#: Shapes of input and weight.
LAYOUTS = {
    1: ("N, L, C_in", "k, C_in / groups, C_out"),
    2: ("N, H, W, C_in", "kH, kW, C_in / groups, C_out"),
    3: ("N, D, H, W, C_in", "kD, kH, kW, C_in / groups, C_out"),
}


def check_tensors(name: str, axes: int, x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor | None) -> None:
    """Dtypes, devices and ranks of what a convolution over so many axes takes."""
    need_float(name, x=x, weight=weight, bias=bias, add=add)
    of_x, of_weight = LAYOUTS[axes]
    need_rank(name, "x", x, of_x)
    need_rank(name, "weight", weight, of_weight)
    check_bias(name, bias, weight.shape[-1:])


def check_bias(name: str, bias: Tensor | None, expected: tuple[int, ...]) -> None:
    if bias is not None and bias.shape != expected:
        raise ValueError(f"{name}: bias has shape {bias.shape}, expected {expected}")


@remembered
def checked(
    name: str, axes: int, x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor | None, stride: Any, padding: Any,
    dilation: Any, groups: Any,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Stride, padding and dilation of a convolution over so many axes, once all that it takes is known to fit."""
    check_tensors(name, axes, x, weight, bias, add)
    return resolve(name, x.shape, weight.shape, stride, padding, dilation, groups)


@remembered
def checked_pair(
    name: str, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any,
    filters: Tensor, shift: Tensor | None, deep_stride: Any, deep_padding: Any, deep_dilation: Any, groups: Any
) -> tuple[tuple[int, ...], ...]:
    """Strides, paddings and dilations of a 2-D convolution in one group and of a depthwise one, in `groups`, behind it,
    once all that they take is known to fit."""
    need_float(name, x=x, weight=weight, filters=filters, shift=shift)
    first = checked(name, 2, x, weight, bias, None, stride, padding, dilation, 1)
    made = output_shape(name, 2, x, weight, stride, padding, dilation, 1)
    check_bias(name, shift, filters.shape[-1:])
    return *first, *resolve(name, made, filters.shape, deep_stride, deep_padding, deep_dilation, groups)


@remembered
def output_shape(
    name: str, axes: int, x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: Any
) -> tuple[int, ...]:
    """Of what a convolution gives, once its arguments are known to fit."""
    steps, edges, holes = checked(name, axes, x, weight, None, None, stride, padding, dilation, groups)
    along = zip(x.shape[1:-1], edges[::2], edges[1::2], weight.shape[:-2], steps, holes, strict=True)
    return x.shape[0], *(outputs(*axis) for axis in along), weight.shape[-1]


@remembered
def resolve(
    name: str, x: tuple[int, ...], weight: tuple[int, ...], stride: Any, padding: Any, dilation: Any, groups: Any
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Stride, padding and dilation of a convolution for the shapes of x and weight, once they are known to fit.

    padding: zeros before and after along each axis, one after the other; for pictures (top, bottom, left, right).
    """
    size, kernel = x[1:-1], weight[:-2]
    steps = per_axis(name, "stride", stride, len(size))
    holes = per_axis(name, "dilation", dilation, len(size))
    check_groups(name, groups, x[-1], weight)
    edges = sides(name, padding, size, kernel, steps, holes)
    check_reach(name, size, edges, kernel, holes)
    return steps, edges, holes


def check_groups(name: str, groups: Any, channels: int, weight: tuple[int, ...]) -> None:
    """The channels of an input fit a weight of some shape."""
    *kernel, per_group, filters = weight
    check_divides(name, groups, weight)
    if per_group * groups != channels:
        layout = ", ".join(("N", *AXES[len(kernel)], "C"))
        raise ValueError(
            f"{name}: x has {channels} channels, but weight of shape {weight} with groups={groups} expects "
            f"{per_group * groups}; channels come last, as in ({layout})"
        )


def check_divides(name: str, groups: Any, weight: tuple[int, ...], what: str = "filters") -> None:
    """The last dimension of a weight of some shape, what it counts, divides into groups, and its kernel has taps."""
    *kernel, _, filters = weight
    if not is_int(groups) or groups < 1:
        raise ValueError(f"{name}: groups must be a positive int, got {groups!r}")
    if filters % groups:
        raise ValueError(f"{name}: {filters} {what} do not divide into {groups} groups")
    if 0 in kernel:
        raise ValueError(f"{name}: weight of shape {weight} has an empty kernel")


def check_reach(
    name: str, size: Sequence[int], padding: Sequence[int], kernel: Sequence[int], dilation: Sequence[int]
) -> None:
    """The kernel fits into the padded input at least once."""
    for i, axis in enumerate(AXES[len(size)]):
        room, reach = size[i] + padding[2 * i] + padding[2 * i + 1], dilation[i] * (kernel[i] - 1) + 1
        if room < reach:
            raise ValueError(
                f"{name}: a kernel of {reach} (dilation counted) is larger than the padded input of {room} along {axis}"
            )


def outputs(length: int, before: int, after: int, kernel: int, stride: int, dilation: int) -> int:
    """How many places a filter has along an axis."""
    return (length + before + after - dilation * (kernel - 1) - 1) // stride + 1


def sides(
    name: str, padding: Padding, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """Any way to state a padding as zeros before and after along each axis, one after the other."""
    axes = len(size)
    found: list[tuple[Any, ...]] = []
    if isinstance(padding, str):
        found = [_named(name, padding, *along) for along in zip(size, kernel, stride, dilation, strict=True)]
    elif is_int(padding):
        found = [(padding, padding)] * axes
    elif isinstance(padding, Sequence):
        found = [(p, p) if is_int(p) else tuple(p) if isinstance(p, Sequence) else () for p in padding]
    if len(found) != axes or any(len(s) != 2 or not all(is_int(p) and p >= 0 for p in s) for s in found):
        many, pairs = {
            1: ("a tuple of one", "((before, after),)"),
            2: ("a pair of them", "((top, bottom), (left, right))"),
            3: ("three of them", "((front, back), (top, bottom), (left, right))"),
        }[axes]
        raise ValueError(
            f"{name}: padding must be a non-negative int, {many}, {pairs}, 'valid', 'same', 'tf_same' or 'full', "
            f"got {padding!r}"
        )
    return tuple(int(p) for side in found for p in side)


def _named(name: str, padding: str, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after along one axis."""
    reach = dilation * (kernel - 1)
    if padding == "valid":
        return 0, 0
    if padding == "full":
        return reach, reach
    if padding == "same":
        if stride != 1:
            raise ValueError(f"{name}: padding='same' needs stride 1, got {stride}; 'tf_same' takes any")
        return reach // 2, reach - reach // 2
    if padding == "tf_same":
        needed = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
        return needed // 2, needed - needed // 2
    raise ValueError(f"{name}: padding must be 'valid', 'same', 'tf_same' or 'full' if a word, got {padding!r}")
