"""All convolutions against PyTorch: values and gradients of over 200 combinations of arguments; what both refuse."""

import warnings

import numpy as np
import pytest

import minicnn as mc

from .against_torch import both_refuse, first, last, same_as_torch

F = mc.nn.functional
SIZES = {1: (13,), 2: (9, 8), 3: (5, 6, 7)}


def named(options):
    return ",".join(f"{k}={v}" for k, v in options.items()).replace(" ", "")


def filters(w):
    """(..., I, O) to PyTorch's (O, I, ...). Contiguous, or PyTorch may refuse to compute the gradient."""
    return w.movedim((-1, -2), (0, 1)).contiguous()


def combinations(axes):
    """(input size, channels in and out, kernel, options); a kernel's and a size's numbers are one for each axis."""
    size = SIZES[axes]

    def along(*values):
        return values[:axes]

    # kernels and strides
    yield size, (3, 4), along(3, 3, 3), {}
    yield size, (5, 2), along(1, 1, 1), {}
    yield size, (3, 3), along(1, 1, 1), {"stride": 2}
    yield size, (3, 7), along(2, 4, 3), {}
    yield size, (2, 5), size, {}
    yield size, (8, 8), along(5, 1, 2), {"padding": 1}
    yield size, (1, 9), along(3, 3, 3), {"stride": 2, "padding": 1}
    yield size, (9, 1), along(2, 3, 2), {"stride": along(3, 2, 1)}
    yield size, (4, 4), along(2, 2, 2), {"stride": 5}
    yield size, (3, 2), along(3, 1, 1), {"stride": along(2, 1, 1), "padding": along(1, 0, 0)}
    yield size, (3, 2), along(1, 3, 3), {"padding": along(0, 1, 1)}
    yield size, (17, 16), along(3, 3, 3), {"padding": 1}
    yield size, (16, 33), along(3, 3, 3), {"padding": 2}
    yield size, (3, 4), along(4, 4, 4), {"stride": 4, "padding": 3}
    # padding
    yield size, (2, 3), along(3, 2, 4), {"padding": "valid"}
    yield size, (2, 3), along(3, 5, 3), {"padding": "same"}
    yield size, (2, 3), along(4, 2, 3), {"padding": "same", "dilation": along(2, 1, 2)}
    yield size, (2, 3), along(2, 3, 4), {"padding": "full"}
    yield size, (2, 3), along(3, 2, 2), {"padding": "full", "stride": 2, "dilation": 2}
    yield size, (2, 3), along(3, 3, 3), {"padding": "tf_same", "stride": 2}
    yield size, (2, 3), along(2, 5, 3), {"padding": "tf_same", "stride": along(3, 2, 2), "dilation": along(2, 1, 1)}
    yield size, (2, 3), along(3, 2, 3), {"padding": along((0, 2), (3, 1), (1, 0))}
    yield size, (2, 3), along(3, 2, 3), {"padding": along((2, 0), (0, 1), (4, 0)), "stride": 2}
    yield size, (3, 5), along(2, 2, 2), {"padding": 4}
    yield size, (3, 5), along(1, 1, 1), {"padding": along(2, 1, 3)}
    # dilation
    yield size, (3, 2), along(3, 3, 3), {"dilation": 2}
    yield size, (3, 2), along(2, 3, 2), {"dilation": along(4, 2, 3), "padding": along(2, 0, 1)}
    yield size, (8, 9), along(3, 2, 2), {"dilation": along(3, 1, 2), "stride": 2, "padding": 2}
    # groups
    yield size, (4, 6), along(3, 3, 3), {"groups": 2, "padding": 1}
    yield size, (9, 6), along(2, 3, 1), {"groups": 3, "stride": 2}
    yield size, (5, 5), along(3, 3, 3), {"groups": 5, "padding": 1}
    yield size, (5, 15), along(3, 2, 3), {"groups": 5, "dilation": 2, "padding": 2}
    yield size, (8, 8), along(2, 3, 3), {"groups": 8, "stride": along(2, 1, 2), "padding": along(1, 2, 0)}
    yield size, (16, 16), along(3, 1, 1), {"groups": 16, "dilation": along(2, 1, 1)}
    yield size, (12, 8), along(1, 1, 1), {"groups": 4}
    # small inputs
    yield (1,) * axes, (3, 4), (1,) * axes, {}
    yield (1,) * axes, (3, 4), along(3, 3, 3), {"padding": 1}
    yield along(2, 1, 3), (2, 2), along(2, 1, 2), {"stride": 3, "padding": 1}


def transposed_combinations(axes):
    size = {1: (7,), 2: (5, 4), 3: (3, 4, 2)}[axes]

    def along(*values):
        return values[:axes]

    yield size, (3, 4), along(3, 3, 3), {}
    yield size, (5, 2), along(1, 1, 1), {}
    yield size, (3, 7), along(2, 4, 3), {}
    yield size, (2, 3), along(2, 2, 2), {"stride": 2}
    yield size, (1, 9), along(4, 4, 4), {"stride": 2, "padding": 1}
    yield size, (9, 1), along(3, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}
    yield size, (4, 4), along(5, 3, 2), {"stride": 3, "padding": along(2, 1, 0), "output_padding": along(2, 0, 1)}
    yield size, (4, 3), along(1, 1, 1), {"stride": 3}
    yield size, (4, 3), along(1, 2, 1), {"stride": along(4, 3, 2), "output_padding": along(3, 2, 1)}
    yield size, (4, 3), along(1, 1, 1), {"stride": 3, "padding": 1, "output_padding": 2}
    yield size, (16, 17), along(3, 3, 3), {"padding": 1}
    yield size, (3, 2), along(3, 3, 3), {"padding": along(2, 2, 1)}
    yield size, (3, 2), along(2, 2, 2), {"stride": 3, "padding": 2, "output_padding": 1}
    yield size, (3, 2), along(3, 3, 3), {"dilation": 2}
    yield size, (3, 2), along(2, 3, 2), {"dilation": along(4, 2, 3), "output_padding": along(3, 1, 2)}
    yield size, (3, 2), along(2, 1, 2), {"dilation": 3, "output_padding": 2, "padding": 1}
    yield size, (8, 9), along(3, 2, 2), {"dilation": along(3, 1, 2), "stride": 2, "padding": 2}
    yield size, (4, 6), along(3, 3, 3), {"groups": 2, "padding": 1}
    yield size, (9, 6), along(2, 3, 1), {"groups": 3, "stride": 2, "output_padding": 1}
    yield size, (5, 5), along(3, 3, 3), {"groups": 5, "stride": 2}
    yield size, (5, 15), along(3, 2, 3), {"groups": 5, "dilation": 2, "padding": 1}
    yield size, (15, 5), along(2, 2, 2), {"groups": 5, "stride": along(1, 2, 3)}
    yield size, (12, 8), along(1, 1, 1), {"groups": 4}
    yield size, (8, 6), along(3, 2, 4), {"groups": 2, "stride": 2, "padding": 1, "output_padding": 1, "dilation": 2}
    yield size, (2, 3), along(3, 2, 2), {"padding": along((0, 2), (1, 0), (2, 1)), "stride": 2}
    yield size, (2, 3), along(3, 2, 4), {"padding": "valid", "stride": 2}
    yield size, (2, 3), along(3, 2, 4), {"padding": "tf_same", "stride": 2}
    yield size, (2, 3), along(3, 2, 4), {"padding": "same"}
    yield size, (2, 3), along(3, 2, 2), {"padding": "full", "stride": 2}
    yield (1,) * axes, (3, 4), (1,) * axes, {}
    yield (1,) * axes, (3, 4), along(3, 2, 3), {"stride": 2, "padding": 1, "output_padding": 1}
    yield along(2, 1, 3), (2, 2), along(2, 1, 2), {"stride": 3}


CONVOLUTIONS = [(axes, *one) for axes in (1, 2, 3) for one in combinations(axes)]
TRANSPOSED = [(axes, *one) for axes in (1, 2, 3) for one in transposed_combinations(axes)]


def each(cases):
    ids = [f"{axes}d-{size}-{channels}-{kernel}-{named(options)}".replace(" ", "")
           for axes, size, channels, kernel, options in cases]
    return pytest.mark.parametrize("axes, size, channels, kernel, options", cases, ids=ids)


def numbers(value, axes):
    return (value,) * axes if isinstance(value, int) else value


def sides_of(padding, size, kernel, options):
    """Zeros before and after along each axis, as the papers and TensorFlow's documentation define the words."""
    axes = len(size)
    strides, dilations = numbers(options.get("stride", 1), axes), numbers(options.get("dilation", 1), axes)
    reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    if padding == "valid":
        return [(0, 0)] * axes
    if padding == "full":
        return [(r, r) for r in reach]
    if padding == "same":
        return [(r // 2, r - r // 2) for r in reach]
    if padding == "tf_same":
        total = [max((int(np.ceil(n / s)) - 1) * s + r + 1 - n, 0)
                 for n, s, r in zip(size, strides, reach, strict=True)]
        return [(t // 2, t - t // 2) for t in total]
    return [numbers(p, 2) for p in numbers(padding, axes)]


def torch_takes(padding):
    return isinstance(padding, int) or isinstance(padding, tuple) and isinstance(padding[0], int)


def arrays_for(size, weight, bias, n=2):
    rng = np.random.default_rng(sum(size) + sum(weight))
    return [rng.standard_normal(shape) for shape in ((n, *size), weight, *([bias] if bias else []))]


@each(CONVOLUTIONS)
def test_convolutions(axes, size, channels, kernel, options):
    name, inputs, outputs = f"conv{axes}d", *channels
    padding = options.get("padding", 0)
    known = {k: v for k, v in options.items() if k != "padding"}

    def theirs(T, x, w, *bias):  # noqa: N803 - torch.nn.functional
        x, given = first(x), padding
        if not torch_takes(padding):
            pairs = sides_of(padding, size, kernel, options)
            x, given = T.pad(x, [p for side in reversed(pairs) for p in side]), 0
        return last(getattr(T, name)(x, filters(w), *bias, padding=given, **known))

    weight = (*kernel, inputs // options.get("groups", 1), outputs)
    bias = (outputs,) if (inputs + outputs) % 2 else ()
    same_as_torch(lambda *a: getattr(F, name)(*a, **options), theirs, *arrays_for((*size, inputs), weight, bias))


@each(TRANSPOSED)
def test_transposed_convolutions(axes, size, channels, kernel, options):
    name, inputs, outputs = f"conv_transpose{axes}d", *channels
    padding = options.get("padding", 0)
    known = {k: v for k, v in options.items() if k != "padding"}
    strides = numbers(options.get("stride", 1), axes)

    def theirs(T, x, w, *bias):  # noqa: N803
        if torch_takes(padding):
            return last(getattr(T, name)(first(x), filters(w), *bias, padding=padding, **known))
        y = last(getattr(T, name)(first(x), filters(w), *bias, **known))  # and then cut off what is padding
        grown = tuple(n * s for n, s in zip(size, strides, strict=True))
        pairs = sides_of(padding, grown, kernel, options)
        return y[(slice(None), *(slice(before, n - after) for n, (before, after) in zip(y.shape[1:-1], pairs,
                                                                                     strict=True)))]

    weight = (*kernel, outputs // options.get("groups", 1), inputs)
    bias = (outputs,) if (inputs + outputs) % 2 else ()
    same_as_torch(lambda *a: getattr(F, name)(*a, **options), theirs, *arrays_for((*size, inputs), weight, bias))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_same_with_an_even_kernel_is_pytorchs(axes):
    """Where a side needs a zero more than the other. PyTorch warns that it copies the input for it."""
    def theirs(T, x, w):  # noqa: N803
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return last(getattr(T, f"conv{axes}d")(first(x), filters(w), padding="same"))

    x, w = arrays_for((*SIZES[axes], 2), (*(2, 4, 4)[:axes], 2, 3), None)
    same_as_torch(lambda x, w: getattr(F, f"conv{axes}d")(x, w, padding="same"), theirs, x, w)


def test_tf_same_gives_transposed_convolutions_the_grown_size():
    for kernel in (1, 2, 3, 5):
        y = F.conv_transpose2d(mc.ones(1, 4, 3, 2), mc.ones(kernel, kernel, 3, 2), stride=3, padding="tf_same")
        assert y.shape == (1, 12, 9, 3)
    with pytest.raises(ValueError, match="conv_transpose2d: output_padding must be 0 with padding='tf_same', got 1"):
        F.conv_transpose2d(mc.ones(1, 4, 3, 2), mc.ones(3, 3, 3, 2), stride=3, padding="tf_same", output_padding=1)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_no_pictures_at_all(axes):
    for name, groups in (("conv", 1), ("conv", 4), ("conv_transpose", 1)):
        x = np.zeros((0, *(5, 6, 7)[:axes], 4))
        w = np.ones((*(2, 2, 2)[:axes], 4 // groups, 4))
        same_as_torch(lambda x, w, f=f"{name}{axes}d", g=groups: getattr(F, f)(x, w, stride=2, padding=1, groups=g),
                      lambda T, x, w, f=f"{name}{axes}d", g=groups: last(
                          getattr(T, f)(first(x), filters(w), stride=2, padding=1, groups=g)), x, w)


def test_nan_and_infinity_go_where_they_are_seen():
    x = np.ones((1, 5, 5, 6, 2))
    x[0, 2, 1, 3, 0], x[0, 4, 4, 5, 1] = np.nan, np.inf
    w = np.abs(np.random.default_rng(0).standard_normal((2, 2, 2, 2, 3))) + 0.1
    got = F.conv3d(mc.tensor(x), mc.tensor(w)).numpy()
    torch = pytest.importorskip("torch")
    want = last(torch.nn.functional.conv3d(first(torch.tensor(x)), filters(torch.tensor(w)))).numpy()
    assert np.array_equal(np.isnan(got), np.isnan(want)) and np.array_equal(np.isinf(got), np.isinf(want))
    assert np.isnan(got).any() and np.isinf(got).any()


# ------------------------------------------------------------------------------------------------------ refusals

def ours(name, x, w, bias=None, **options):
    made = [None if s is None else mc.ones(s) for s in (x, w, bias)]
    return lambda: getattr(F, name)(*made, **options)


def theirs(name, x, w, bias=None, **options):
    """The same call of PyTorch, shapes in its order."""
    def call(torch):
        image = torch.ones(x[0], x[-1], *x[1:-1])
        weight = torch.ones(w[-1], w[-2], *w[:-2]) if len(w) > 1 else torch.ones(w)
        return getattr(torch.nn.functional, name)(image, weight, None if bias is None else torch.ones(bias), **options)
    return call


REFUSED = [
    ("conv1d", ((1, 5, 3), (3, 2, 4)), {}, "conv1d: x has 3 channels, but weight .* expects 2"),
    ("conv1d", ((1, 5, 3), (6, 3, 4)), {}, "conv1d: a kernel of 6 .* is larger than the padded input of 5 along L"),
    ("conv1d", ((1, 5, 3), (3, 3, 4)), {"stride": 0}, "conv1d: stride must be an int or a tuple of one, at least 1"),
    ("conv1d", ((1, 5, 3), (3, 3, 4)), {"stride": (1, 2)}, "conv1d: stride must be"),
    ("conv1d", ((1, 5, 3), (3, 3, 4)), {"padding": (1, 2)}, "conv1d: padding must be"),
    ("conv1d", ((1, 5, 3), (3, 3, 4)), {"padding": "same", "stride": 2}, "conv1d: padding='same' needs stride 1"),
    ("conv1d", ((1, 5, 3), (3, 3, 4), (3,)), {}, r"conv1d: bias has shape \(3,\), expected \(4,\)"),
    ("conv2d", ((1, 5, 5, 3), (3, 3, 3, 4)), {"padding": -1}, "conv2d: padding must be a non-negative int"),
    ("conv2d", ((1, 5, 5, 3), (3, 3, 3, 4)), {"dilation": 3}, "conv2d: a kernel of 7 .* 5 along H"),
    ("conv2d", ((1, 5, 5, 3), (3, 3, 3, 4)), {"groups": 0}, "conv2d: groups must be a positive int, got 0"),
    ("conv2d", ((1, 5, 5, 4), (3, 3, 2, 3)), {"groups": 2}, "conv2d: 3 filters do not divide into 2 groups"),
    ("conv2d", ((1, 5, 5, 3), (3, 3, 3, 4)), {"padding": "some"}, "conv2d: padding must be 'valid', 'same'"),
    ("conv2d", ((1, 5, 5, 3), (3, 3, 4)), {}, r"conv2d: weight must have shape \(kH, kW, C_in / groups, C_out\)"),
    ("conv3d", ((1, 4, 5, 5, 3), (3, 3, 3, 2, 4)), {}, r"conv3d: x has 3 .* as in \(N, D, H, W, C\)"),
    ("conv3d", ((1, 4, 5, 5, 3), (5, 3, 3, 3, 4)), {}, "conv3d: a kernel of 5 .* 4 along D"),
    ("conv3d", ((1, 4, 5, 5, 3), (3, 3, 3, 3, 4)), {"stride": (1, 2)}, "conv3d: stride must be an int or three ints"),
    ("conv3d", ((1, 4, 5, 5, 3), (3, 3, 3, 3, 4)), {"dilation": 0}, "conv3d: dilation must be"),
    ("conv3d", ((1, 4, 5, 5, 3), (3, 3, 3, 4)), {}, "conv3d: weight must have shape"),
    ("conv_transpose1d", ((1, 5, 3), (3, 4, 2)), {}, "conv_transpose1d: x has 3 channels, but weight .* expects 2"),
    ("conv_transpose1d", ((1, 5, 3), (3, 4, 3)), {"padding": 4}, "an input of 5 along L gives an output of -1"),
    ("conv_transpose2d", ((1, 5, 5, 3), (3, 3, 4, 3)), {"output_padding": 1}, "output_padding must be smaller"),
    ("conv_transpose2d", ((1, 5, 5, 3), (3, 3, 4, 3)), {"stride": (3, 1), "output_padding": 2}, "must be smaller"),
    ("conv_transpose2d", ((1, 5, 5, 3), (3, 3, 4, 3)), {"stride": 2, "output_padding": -1}, "output_padding must be"),
    ("conv_transpose2d", ((1, 5, 5, 3), (3, 3, 4, 3)), {"groups": 2}, "3 channels do not divide into 2 groups"),
    ("conv_transpose2d", ((1, 5, 5, 4), (3, 3, 3, 4), (3,)), {"groups": 2}, r"bias has shape \(3,\), expected \(6,\)"),
    ("conv_transpose2d", ((1, 1, 1, 3), (2, 2, 4, 3)), {"padding": 1}, "gives an output of 0, too small"),
    ("conv_transpose3d", ((1, 4, 5, 5, 3), (3, 3, 3, 4, 3)), {"stride": 0}, "conv_transpose3d: stride must be"),
    ("conv_transpose3d", ((1, 4, 5, 5, 3), (3, 3, 3, 4, 3)), {"padding": (1, 1)}, "conv_transpose3d: padding must be"),
    ("conv_transpose3d", ((1, 4, 5, 5, 3), (3, 3, 4, 3)), {}, "conv_transpose3d: weight must have shape"),
]


@pytest.mark.parametrize("name, shapes, options, words", REFUSED, ids=[f"{r[0]}-{r[3][:40]}" for r in REFUSED])
def test_both_refuse(name, shapes, options, words):
    both_refuse(ours(name, *shapes, **options), theirs(name, *shapes, **options), words)


@pytest.mark.parametrize("call, words", [
    (lambda: F.conv1d(mc.ones(1, 5, 3), mc.ones(3, 3, 4, dtype=np.float64)), "weight is float64, but x is float32"),
    (lambda: F.conv3d(np.ones((1, 5, 5, 5, 3)), mc.ones(3, 3, 3, 3, 4)), "conv3d: x must be a Tensor, got ndarray"),
    (lambda: F.conv_transpose2d(mc.tensor(np.ones((1, 5, 5, 3), int)), mc.ones(3, 3, 4, 3)), "x must be float32 or"),
])
def test_types_that_are_refused(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_the_table_is_as_large_as_it_claims():
    assert len(CONVOLUTIONS) + len(TRANSPOSED) >= 200
