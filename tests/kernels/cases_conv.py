"""Cases of the matrix product and of the three convolution kernels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Any

import numpy as np

from minicnn.kernels.contracts import CONTRACTS

from .case import INF, NAN, Built, Case, Draw

#: B, Bb, M, inner, N.
PRODUCTS = {
    "one": (1, 1, 1, 1, 1), "primes": (1, 1, 7, 13, 17), "tile": (1, 1, 6, 300, 16),
    "vector_wide": (1, 1, 16, 16, 16), "batches": (3, 3, 5, 7, 3), "one_b_for_all": (3, 1, 5, 7, 33),
    "dot": (2, 2, 1, 33, 1), "outer": (1, 1, 33, 1, 17), "column": (1, 1, 37, 19, 1), "row": (1, 1, 1, 19, 37),
    "deep": (1, 1, 5, 1031, 3), "no_inner": (2, 1, 13, 0, 5), "no_rows": (1, 1, 0, 3, 5), "no_columns": (1, 1, 3, 5, 0),
    "no_batch": (0, 1, 3, 5, 2), "no_batches": (0, 0, 3, 5, 2), "large": (1, 1, 61, 301, 83),
    "large_batch": (17, 17, 19, 13, 23), "large_one_b": (9, 1, 33, 29, 35), "large_deep": (1, 1, 19, 2053, 21),
    "large_pieces": (1, 1, 205, 401, 131), "large_row": (1, 1, 1, 601, 305), "large_column": (1, 1, 301, 305, 1),
    "two_steps": (1, 1, 35, 2, 21), "four_steps": (2, 2, 13, 4, 37), "large_few_steps": (1, 1, 1031, 3, 129),
    "large_few_columns": (1, 1, 307, 130, 3), "large_few_rows": (1, 1, 4, 203, 901),
    "large_few_rows_batch": (3, 3, 6, 37, 301), "wide_row": (1, 1, 2, 9, 4500),
}


@dataclass(frozen=True)
class Convolution:
    """size: batch, height, width. The rest as in the contract."""

    size: tuple[int, int, int]
    channels: int
    filters: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def outputs(self) -> tuple[int, int]:
        """(P, Q), counted by sliding the window."""
        counts = []
        for axis in (0, 1):
            room = self.size[1 + axis] + self.padding[2 * axis] + self.padding[2 * axis + 1]
            extent = self.dilation[axis] * (self.kernel[axis] - 1) + 1
            counts.append(len(range(0, room - extent + 1, self.stride[axis])))
        return counts[0], counts[1]

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    def x(self, draw: Draw) -> np.ndarray:
        return draw(*self.size, self.channels)

    def w(self, draw: Draw) -> np.ndarray:
        return draw(*self.kernel, self.channels // self.groups, self.filters)

    def y(self, draw: Draw) -> np.ndarray:
        return draw(self.size[0], *self.outputs, self.filters)

    def params(self, **more: Any) -> dict[str, Any]:
        return more | {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}


ROUND = (1, 1, 1, 1)  # padding of one all around

CONVOLUTIONS = {
    "one": Convolution((1, 1, 1), 1, 1, (1, 1)),
    "one_channel": Convolution((2, 7, 5), 1, 3, padding=ROUND),
    "one_filter": Convolution((1, 6, 7), 5, 1),
    "rgb_5x5": Convolution((1, 9, 8), 3, 7, (5, 5), padding=(2, 2, 2, 2)),
    "primes": Convolution((2, 11, 7), 5, 13, (3, 5), (2, 1), (1, 0, 2, 1)),
    "tiles": Convolution((1, 8, 8), 16, 16, padding=ROUND),
    "past_the_tiles": Convolution((1, 5, 7), 17, 33, padding=ROUND),
    "pointwise": Convolution((2, 5, 3), 7, 2, (1, 1)),
    "pointwise_stride": Convolution((2, 5, 7), 13, 17, (1, 1), (2, 3)),
    "wide_row": Convolution((1, 2, 67), 3, 16, padding=ROUND),
    "sequence": Convolution((3, 1, 19), 2, 5, (1, 4), (1, 3), (0, 0, 2, 1)),
    "column": Convolution((1, 17, 1), 3, 8, (3, 1), padding=(1, 1, 0, 0)),
    "even_kernel": Convolution((1, 6, 5), 3, 5, (2, 4), (2, 2), (0, 1, 1, 2)),
    "stride_beyond_kernel": Convolution((2, 11, 13), 3, 5, (2, 2), (3, 5)),
    "rows_never_read": Convolution((1, 9, 10), 2, 3, (2, 3), (4, 4)),
    "kernel_7_stride_4": Convolution((1, 15, 13), 3, 9, (7, 7), (4, 4), (3, 2, 2, 3)),
    "dilation": Convolution((1, 9, 11), 5, 7, dilation=(2, 3), padding=(2, 2, 3, 3)),
    "dilation_and_stride": Convolution((2, 13, 11), 3, 5, (3, 2), (2, 3), (1, 3, 0, 2), (3, 2)),
    "kernel_beyond_picture": Convolution((1, 2, 3), 5, 6, (5, 7), padding=(2, 2, 3, 3)),
    "padding_beyond_kernel": Convolution((1, 3, 4), 2, 5, (2, 2), padding=(3, 2, 4, 1)),
    "groups": Convolution((2, 5, 6), 6, 9, padding=ROUND, groups=3),
    "groups_of_17": Convolution((1, 4, 5), 34, 34, padding=ROUND, groups=2),
    "groups_and_stride": Convolution((1, 7, 5), 14, 21, (3, 2), (2, 1), (1, 1, 0, 1), groups=7),
    "depthwise": Convolution((2, 7, 6), 13, 13, padding=ROUND, groups=13),
    "depthwise_8": Convolution((1, 5, 5), 8, 8, padding=ROUND, groups=8),
    "depthwise_33_stride": Convolution((1, 8, 9), 33, 33, (3, 3), (2, 2), (0, 1, 1, 1), groups=33),
    "depthwise_5x5": Convolution((1, 9, 7), 17, 17, (5, 5), (2, 1), (2, 1, 2, 2), groups=17),
    "depthwise_multiplier": Convolution((2, 5, 6), 5, 15, padding=ROUND, groups=5),
    "depthwise_multiplier_2": Convolution((1, 6, 5), 7, 14, (2, 3), (1, 2), (1, 0, 1, 1), groups=7),
    "depthwise_dilation": Convolution((1, 9, 10), 3, 3, (3, 2), dilation=(2, 3), padding=(2, 1, 1, 2), groups=3),
    "depthwise_padding_beyond_kernel": Convolution((1, 3, 2), 5, 5, (2, 2), (2, 1), (3, 3, 2, 4), groups=5),
    "depthwise_stride_beyond_kernel": Convolution((1, 11, 9), 2, 2, (2, 2), (3, 4), groups=2),
    "depthwise_in_parts": Convolution((1, 19, 23), 5, 5, padding=ROUND, groups=5),
    "depthwise_in_parts_by_fours": Convolution((1, 35, 33), 4, 4, (2, 2), groups=4),
    "depthwise_empty": Convolution((0, 4, 5), 3, 3, groups=3),
    "empty_batch": Convolution((0, 5, 6), 3, 4, padding=ROUND),
    "no_window": Convolution((2, 3, 3), 2, 5, (5, 5)),
    "no_window_across": Convolution((1, 6, 2), 3, 2, (2, 3)),
    "no_channels": Convolution((1, 4, 4), 0, 3, padding=ROUND),
    "no_filters": Convolution((1, 4, 4), 3, 0, padding=ROUND),
    "large": Convolution((3, 19, 21), 19, 37, padding=ROUND),
    "large_5x5": Convolution((4, 16, 16), 3, 16, (5, 5), padding=(2, 2, 2, 2)),
    "large_stride": Convolution((5, 15, 17), 16, 24, (3, 3), (2, 2), ROUND),
    "large_pointwise": Convolution((3, 11, 13), 67, 45, (1, 1)),
    "large_bands": Convolution((1, 43, 41), 9, 40, (1, 1)),         # several bands; the last filters fill one vector
    "large_channels": Convolution((9, 2, 2), 131, 129, (2, 2)),
    "pieces": Convolution((1, 5, 6), 801, 19, (1, 1)),                      # sums in pieces of some channels
    "pieces_and_stride": Convolution((2, 5, 8), 401, 17, (1, 1), (2, 3)),
    "pieces_and_padding": Convolution((1, 4, 5), 131, 18, padding=ROUND),
    "pieces_in_groups": Convolution((1, 4, 5), 102, 34, (3, 3), (2, 1), ROUND, groups=2),
    "large_shares": Convolution((3, 14, 13), 301, 290, (1, 1)),              # results shared out, in both directions
    "large_turned": Convolution((2, 9, 8), 75, 35, (1, 1)),         # the gradient by the filters: first its transpose
    "row_of_every_second": Convolution((1, 1, 199), 40, 20, (1, 1), (1, 2)),
    "row_behind_padding": Convolution((1, 1, 90), 40, 20, (1, 1), (2, 2), (1, 0, 90, 0)),
    "large_shares_stride": Convolution((2, 9, 9), 295, 33, (3, 3), (2, 2), ROUND),
    "large_groups": Convolution((3, 13, 12), 32, 30, padding=ROUND, groups=2),
    "large_depthwise": Convolution((21, 9, 11), 19, 19, padding=ROUND, groups=19),
    "tall": Convolution((1, 121, 2), 3, 5, (3, 1), padding=(1, 1, 0, 0)),
    "phases_without_taps": Convolution((1, 9, 10), 3, 5, (2, 3), (2, 4), (1, 0, 2, 1), (2, 2)),  # of the input gradient
    "depthwise_dilation_and_stride": Convolution((2, 13, 11), 21, 21, (3, 2), (2, 3), (1, 3, 0, 2), (3, 2), 21),
    "depthwise_pointwise_stride": Convolution((2, 5, 7), 19, 19, (1, 1), (2, 3), groups=19),
    "large_depthwise_channels": Convolution((1, 9, 9), 331, 331, padding=ROUND, groups=331),
    "large_depthwise_5x5": Convolution((2, 17, 16), 40, 40, (5, 5), (2, 2), (2, 2, 2, 2), groups=40),
    "large_depthwise_stride": Convolution((16, 13, 11), 16, 16, (3, 3), (2, 2), ROUND, groups=16),
}

#: More shapes for the algorithm that works on squares of outputs: 4x4, or 2x2 where a few squares meet many 3x3
#: filters.
SQUARES = {
    "one_output": Convolution((1, 3, 3), 5, 7),
    "one_square": Convolution((1, 4, 4), 8, 16, padding=ROUND),
    "past_the_square": Convolution((2, 5, 9), 7, 15, padding=ROUND),
    "five_by_five": Convolution((2, 7, 6), 9, 10, (5, 5), padding=(2, 2, 2, 2)),
    "one_output_5x5": Convolution((3, 5, 5), 3, 2, (5, 5)),
    "uneven_padding": Convolution((2, 6, 7), 5, 6, padding=(0, 2, 1, 0)),
    "uneven_padding_5x5": Convolution((1, 6, 7), 4, 17, (5, 5), padding=(3, 0, 1, 4)),
    "padding_only": Convolution((1, 1, 2), 3, 4, padding=(4, 3, 5, 2)),
    "full_padding_5x5": Convolution((1, 4, 3), 6, 5, (5, 5), padding=(4, 4, 4, 4)),
    "many_filters": Convolution((1, 6, 5), 3, 150, padding=ROUND),
    "many_channels": Convolution((1, 6, 5), 300, 3, padding=ROUND),
    "empty_batch_5x5": Convolution((0, 7, 6), 3, 4, (5, 5)),
    "large_blocks": Convolution((5, 29, 31), 34, 18, padding=ROUND),        # each thread takes squares
    "large_blocks_5x5": Convolution((3, 17, 18), 17, 33, (5, 5), padding=(2, 2, 2, 2)),
    "large_points": Convolution((3, 11, 10), 70, 67, padding=ROUND),        # each thread takes points
    "large_points_5x5": Convolution((2, 9, 10), 71, 66, (5, 5), padding=(2, 2, 2, 2)),
    "large_shared_blocks": Convolution((18, 8, 8), 1000, 3, padding=ROUND),     # more squares than are shared at a time
    "large_panels": Convolution((130, 3, 3), 180, 170),                     # each thread takes filters
    "large_few_squares": Convolution((1, 6, 5), 181, 190, padding=ROUND),   # squares of 2x2
    # The gradient by the picture is added up from squares of the output's gradient, which overlap:
    "overlapping": Convolution((2, 13, 10), 7, 9),
    "overlapping_to_the_edge": Convolution((1, 6, 10), 17, 16),
    "overlapping_padded": Convolution((2, 9, 9), 16, 5, padding=(1, 0, 0, 1)),
    "overlapping_padded_5x5": Convolution((2, 12, 9), 5, 3, (5, 5), padding=(1, 0, 0, 2)),
    "large_overlapping_blocks": Convolution((20, 13, 13), 33, 17),          # each thread takes pictures
    "large_overlapping_points": Convolution((3, 21, 9), 67, 70),            # each thread takes points, then pictures
    "large_overlapping_points_5x5": Convolution((5, 9, 16), 37, 70, (5, 5)),
    "large_overlapping_panels": Convolution((41, 13, 3), 180, 170),         # each thread takes filters
}

#: A convolution and the depthwise one behind it, whose size is that of the first one's outputs.
JOINED = {
    "one": (Convolution((1, 1, 1), 1, 1, (1, 1)), Convolution((1, 1, 1), 1, 1, (1, 1))),
    "pointwise": (Convolution((2, 7, 6), 5, 13, (1, 1)), Convolution((2, 7, 6), 13, 13, padding=ROUND, groups=13)),
    "two_panels": (Convolution((1, 9, 8), 3, 32, (1, 1)), Convolution((1, 9, 8), 32, 32, padding=ROUND, groups=32)),
    "stride": (Convolution((1, 9, 10), 7, 24, (1, 1)),
               Convolution((1, 9, 10), 24, 24, (3, 3), (2, 2), (0, 1, 1, 1), groups=24)),
    "strides_of_both": (Convolution((2, 11, 9), 3, 19, (3, 3), (2, 2), ROUND),
                        Convolution((2, 6, 5), 19, 19, (5, 3), (1, 3), (2, 2, 1, 1), groups=19)),
    "dilations_of_both": (Convolution((1, 9, 11), 4, 18, (2, 3), (1, 2), (1, 0, 2, 1), (3, 2)),
                          Convolution((1, 7, 5), 18, 18, (3, 3), (1, 1), (2, 1, 3, 2), (2, 3), 18)),
    "no_padding": (Convolution((1, 8, 7), 5, 17, (1, 1)), Convolution((1, 8, 7), 17, 17, (3, 3), (3, 1), groups=17)),
    "padding_beyond_kernel": (Convolution((1, 2, 3), 3, 20, (1, 1), padding=(1, 0, 0, 0)),
                              Convolution((1, 3, 3), 20, 20, (2, 2), (2, 1), (3, 3, 4, 2), groups=20)),
    "kernel_beyond_picture": (Convolution((1, 2, 2), 3, 16, (1, 1)),
                              Convolution((1, 2, 2), 16, 16, (7, 5), padding=(3, 3, 2, 2), groups=16)),
    "pointwise_stride": (Convolution((1, 7, 9), 6, 33, (1, 1), (2, 2)),
                         Convolution((1, 4, 5), 33, 33, padding=ROUND, groups=33)),
    "nothing_between": (Convolution((1, 2, 2), 3, 17), Convolution((1, 0, 0), 17, 17, padding=(2, 2, 2, 2), groups=17)),
    "no_channels": (Convolution((1, 3, 3), 0, 5, (1, 1)), Convolution((1, 3, 3), 5, 5, padding=ROUND, groups=5)),
    "empty_batch": (Convolution((0, 3, 3), 2, 7, (1, 1)), Convolution((0, 3, 3), 7, 7, padding=ROUND, groups=7)),
    "large_bands": (Convolution((2, 41, 70), 17, 37, (1, 1)),       # a buffer holds some of the rows
                    Convolution((2, 41, 70), 37, 37, (3, 3), (2, 1), ROUND, groups=37)),
    "large_shares": (Convolution((1, 13, 14), 67, 273, (1, 1)),     # channels shared out
                     Convolution((1, 13, 14), 273, 273, padding=ROUND, groups=273)),
    "large_first_layer": (Convolution((1, 66, 71), 3, 32, (3, 3), (2, 2), ROUND),
                          Convolution((1, 33, 36), 32, 32, padding=ROUND, groups=32)),
}

#: What happens to the outputs at last: whether a picture is added, and the bounds they are clipped to, in standard
#: deviations. What is allowed is a share of the largest result, so the bounds leave most of it.
EPILOGUES = ((False, (-INF, INF)), (True, (-INF, INF)), (False, (0, INF)), (True, (-0.5, 3)))

#: Which convolutions an algorithm can do, in either dtype. An algorithm that contracts.py lists must be listed here.
SUITS: dict[str, Callable[[Convolution], bool]] = {
    "direct": lambda c: True,
    "depthwise": lambda c: c.groups == c.channels == c.filters,
    "winograd": lambda c: False,  # in float32 only: has cases of its own
    "reference": lambda c: False,  # is what the others are held against
}


def suits_winograd(c: Convolution) -> bool:
    return c.kernel in ((3, 3), (5, 5)) and c.stride == c.dilation == (1, 1) and c.groups == 1


def in_squares(c: Convolution) -> int:
    """Pixels of the 4x4 squares that Winograd's algorithm cuts a picture of the output into. A square with one pixel in
    the picture is transformed, multiplied and summed up like all others, and rounds as they do."""
    return 16 * ceil(c.outputs[0] / 4) * ceil(c.outputs[1] / 4)


def algorithms(kernel: str, convolution: Convolution) -> tuple[str, ...]:
    return tuple(a for a in CONTRACTS[kernel].algorithms if SUITS[a](convolution))


def matmul(batch: int, batch_b: int, m: int, k: int, n: int, transpose_a: bool, transpose_b: bool, bias: bool,
           draw: Draw) -> Built:
    a = draw(batch, k, m) if transpose_a else draw(batch, m, k)
    b = draw(batch_b, n, k) if transpose_b else draw(batch_b, k, n)
    return [a, b, draw(n) if bias else None], {"transpose_a": transpose_a, "transpose_b": transpose_b}


def matmul_special(rows: int, draw: Draw) -> Built:
    """They spoil row 2 and columns 4 and 18, nothing else."""
    a, b = draw(1, rows, 5), draw(1, 5, 19)
    a[0, 2, 3], b[0, 1, 4], b[0, 4, 18] = NAN, INF, -INF
    return [a, b, None], {"transpose_a": False, "transpose_b": False}


def forward(c: Convolution, bias: bool, add: bool, bounds: tuple[float, float], draw: Draw) -> Built:
    inputs = [c.x(draw), c.w(draw), draw(c.filters) if bias else None, c.y(draw) if add else None]
    deviation = max(1, c.taps * c.channels // c.groups) ** 0.5
    return inputs, c.params(low=bounds[0] * deviation, high=bounds[1] * deviation)


def forward_special(c: Convolution, draw: Draw) -> Built:
    """NaN and infinity in a picture reach the windows that see them and no others."""
    (x, *others), params = forward(c, True, False, (0, 6), draw)
    x[0, 1, 2, 0], x[-1, -1, -1, -1] = NAN, INF
    return [x, *others], params


def joined(first: Convolution, second: Convolution, draw: Draw) -> Built:
    """Bounds of both that some of the numbers pass."""
    wide = max(1, first.taps * first.channels) ** 0.5
    deep = {f"deep_{name}": value for name, value in second.params(low=-0.5 * wide, high=3 * wide).items()
            if name != "groups"}
    moves = {name: value for name, value in first.params(low=-0.4 * wide, high=wide).items() if name != "groups"}
    filters = draw(*second.kernel, 1, first.filters)
    return [first.x(draw), first.w(draw), draw(first.filters), filters, draw(first.filters)], moves | deep


def input_grad(c: Convolution, draw: Draw) -> Built:
    return [c.y(draw), c.w(draw)], c.params(size=c.size[1:])


def weight_grad(c: Convolution, draw: Draw) -> Built:
    return [c.x(draw), c.y(draw)], c.params(kernel=c.kernel)


def cases() -> Iterator[Case]:
    for (label, sizes), a, b in product(PRODUCTS.items(), (False, True), (False, True)):
        yield Case("matmul", label + "_aT" * a + "_bT" * b, matmul, (*sizes, a, b, a == b), terms=sizes[3])
    for rows in (7, 3):
        yield Case("matmul", f"special_{rows}", matmul_special, (rows,), terms=5)
    for number, (label, c) in enumerate(CONVOLUTIONS.items()):
        yield Case("conv2d_forward", label, forward, (c, number % 3 > 0, *EPILOGUES[number % 4]),
                   terms=c.taps * c.channels // c.groups, algorithms=algorithms("conv2d_forward", c))
        yield Case("conv2d_input_grad", label, input_grad, (c,), terms=c.taps * c.filters // c.groups,
                   algorithms=algorithms("conv2d_input_grad", c))
        yield Case("conv2d_weight_grad", label, weight_grad, (c,), terms=c.size[0] * c.outputs[0] * c.outputs[1],
                   algorithms=algorithms("conv2d_weight_grad", c))
    for number, (label, c) in enumerate((CONVOLUTIONS | SQUARES).items()):
        if suits_winograd(c):
            once = {"dtypes": (np.float32,), "algorithms": ("winograd",)}
            label = ("large_" if label.startswith("large") else "") + f"winograd_{label}"
            yield Case("conv2d_forward", label, forward, (c, c.filters % 2 > 0, *EPILOGUES[number % 4]),
                       terms=c.taps * c.channels, **once)
            yield Case("conv2d_input_grad", label, input_grad, (c,), terms=c.taps * c.filters, **once)
            yield Case("conv2d_weight_grad", label, weight_grad, (c,), terms=c.size[0] * in_squares(c), **once)
    for label, (first, second) in JOINED.items():
        yield Case("conv2d_depthwise", label, joined, (first, second), terms=first.taps * first.channels + second.taps,
                   algorithms=("direct", "joined"))
    for label in ("primes", "past_the_tiles", "groups", "depthwise", "depthwise_33_stride"):
        c = CONVOLUTIONS[label]
        yield Case("conv2d_forward", f"special_{label}", forward_special, (c,), terms=c.taps * c.channels // c.groups,
                   algorithms=algorithms("conv2d_forward", c))
