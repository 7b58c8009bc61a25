"""Batch, layer, group, instance and local response normalisation against PyTorch."""

import numpy as np
import pytest

import minicnn as mc

from .against_torch import both_refuse, first, last, same_as_torch

F = mc.nn.functional
RNG = np.random.default_rng(1)
SHAPES = [(3, 5, 6), (2, 4, 3, 6), (1, 5, 7, 6), (2, 2, 3, 4, 6)]  # channels last
by_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def affine(count, *shape):
    return [RNG.standard_normal(shape) for _ in range(count)]


# ---------------------------------------------------------------------------------------------------------- batch

@by_shape
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("with_affine", [0, 1, 2])
def test_batch_norm(shape, training, with_affine):
    torch = pytest.importorskip("torch")
    mean, var = RNG.standard_normal(6), RNG.uniform(0.5, 2, 6)

    def theirs(T, x, *wb):  # noqa: N803 - torch.nn.functional
        running = [torch.tensor(a, dtype=x.dtype) for a in (mean, var)]
        return last(T.batch_norm(first(x), *running, *wb, training=training, eps=1e-3))

    def ours(x, *wb):
        running = [mc.tensor(a, x.dtype) for a in (mean, var)]
        return F.batch_norm(x, *running, *wb, training=training, eps=1e-3)

    same_as_torch(ours, theirs, RNG.standard_normal(shape) * 2 + 1, *affine(with_affine, 6))


# ---------------------------------------------------------------------------------------------------------- layer

@pytest.mark.parametrize("shape, over", [
    ((3, 6), (6,)), ((2, 5, 6), (6,)), ((2, 4, 3, 6), (6,)), ((2, 4, 3, 6), (3, 6)), ((2, 4, 3, 6), (4, 3, 6)),
    ((2, 4, 3, 6), (2, 4, 3, 6)), ((7,), (7,)), ((4, 1), (1,)), ((0, 5), (5,)), ((130, 67), (67,)),
])  # fmt: skip
@pytest.mark.parametrize("with_affine", [0, 1, 2])
def test_layer_norm(shape, over, with_affine):
    same_as_torch(
        lambda x, *wb: F.layer_norm(x, over, *wb, eps=1e-3),
        lambda T, x, *wb: T.layer_norm(x, over, *wb, eps=1e-3),
        RNG.standard_normal(shape) * 3 - 1, *affine(with_affine, *over),
    )


def test_layer_norm_takes_one_number():
    x = mc.tensor(RNG.standard_normal((2, 5)))
    assert np.array_equal(F.layer_norm(x, 5).numpy(), F.layer_norm(x, (5,)).numpy())


# ---------------------------------------------------------------------------------------------------------- group

@by_shape
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("with_affine", [0, 2])
def test_group_norm(shape, groups, with_affine):
    same_as_torch(
        lambda x, *wb: F.group_norm(x, groups, *wb, eps=1e-4),
        lambda T, x, *wb: last(T.group_norm(first(x), groups, *wb, eps=1e-4)),
        RNG.standard_normal(shape) + 2, *affine(with_affine, 6),
    )


@pytest.mark.parametrize("shape, groups", [((4, 6), 2), ((4, 6), 6), ((0, 3, 3, 6), 2), ((2, 1, 1, 6), 6)])
def test_group_norm_of_few(shape, groups):
    same_as_torch(
        lambda x: F.group_norm(x, groups, eps=0.01), lambda T, x: last(T.group_norm(first(x), groups, eps=0.01)),
        RNG.standard_normal(shape),
    )


def test_group_norms_ends_are_layer_and_instance_norm():
    x = mc.tensor(RNG.standard_normal((2, 4, 3, 6)))
    np.testing.assert_allclose(F.group_norm(x, 1).numpy(), F.layer_norm(x, (4, 3, 6)).numpy(), atol=1e-12)
    np.testing.assert_allclose(F.group_norm(x, 6).numpy(), F.instance_norm(x).numpy(), atol=1e-12)


# ------------------------------------------------------------------------------------------------------- instance

@by_shape
@pytest.mark.parametrize("with_affine", [0, 1, 2])
def test_instance_norm(shape, with_affine):
    def given(wb):
        return dict(zip(("weight", "bias"), wb, strict=False))

    same_as_torch(
        lambda x, *wb: F.instance_norm(x, **given(wb), eps=1e-3),
        lambda T, x, *wb: last(T.instance_norm(first(x), **given(wb), eps=1e-3)),
        RNG.standard_normal(shape) * 2 - 3, *affine(with_affine, 6),
    )


@by_shape
@pytest.mark.parametrize("use_input_stats", [True, False])
def test_instance_norm_with_running_statistics(shape, use_input_stats):
    torch = pytest.importorskip("torch")
    x, mean, var, w, b = RNG.standard_normal(shape) + 1, *affine(1, 6), RNG.uniform(0.5, 2, 6), *affine(2, 6)
    ours, theirs = ([make(a) for a in (x, mean, var, w, b)] for make in (mc.tensor, torch.tensor))
    got = F.instance_norm(*ours, use_input_stats=use_input_stats, momentum=0.3)
    want = torch.nn.functional.instance_norm(
        first(theirs[0]), *theirs[1:], use_input_stats=use_input_stats, momentum=0.3)
    np.testing.assert_allclose(got.numpy(), last(want).numpy(), atol=1e-10)
    for own, their in zip(ours[1:3], theirs[1:3], strict=True):
        np.testing.assert_allclose(own.numpy(), their.numpy(), atol=1e-10)


# ------------------------------------------------------------------------------------------------- local response

@by_shape
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 11, 14])
def test_local_response_norm(shape, size):
    same_as_torch(
        lambda x: F.local_response_norm(x, size, 0.3, 0.75, 2.0),
        lambda T, x: last(T.local_response_norm(first(x), size, 0.3, 0.75, 2.0)), RNG.standard_normal(shape),
    )


def test_local_response_norm_by_its_definition():
    """Krizhevsky et al. 2012, section 3.3: b_i = a_i / (k + alpha sum_j a_j^2)^beta, j from i - n/2 to i + n/2."""
    a, n, k, alpha, beta = RNG.standard_normal((2, 3, 3, 96)), 5, 2.0, 1e-4, 0.75
    expected = np.empty_like(a)
    for i in range(96):
        around = a[..., max(0, i - n // 2) : min(95, i + n // 2) + 1]
        expected[..., i] = a[..., i] / (k + alpha * (around**2).sum(axis=-1)) ** beta
    got = F.local_response_norm(mc.tensor(a), n, alpha * n, beta, k)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)


def test_what_is_not_a_number_stays_where_it_is():
    x = RNG.standard_normal((2, 3, 3, 8))
    x[0, 0, 0, 0], x[1, 2, 2, 3] = np.nan, np.inf
    same_as_torch(
        lambda a: F.local_response_norm(a, 3), lambda T, a: last(T.local_response_norm(first(a), 3)), x
    )
    pictures = np.isnan(F.instance_norm(mc.tensor(x)).numpy()).any(axis=(1, 2))
    assert np.argwhere(pictures).tolist() == [[0, 0], [1, 3]]
    assert not np.isnan(F.layer_norm(mc.tensor(x), (8,)).numpy()[0, 1:]).any()


# ------------------------------------------------------------------------------------------------------- refusals

PICTURE = RNG.standard_normal((2, 5, 4, 6))
REFUSED = {
    "groups that do not divide": ("group_norm", PICTURE, (4,), {}, "num_groups"),
    "no groups": ("group_norm", PICTURE, (0,), {}, "num_groups"),
    "one value a group": ("group_norm", np.ones((1, 1, 1, 3)), (3,), {}, "more than one value"),
    "a row": ("group_norm", np.ones(3), (3,), {}, "x must have shape"),
    "one place": ("instance_norm", np.ones((2, 1, 1, 3)), (), {}, "more than one place"),
    "no places": ("instance_norm", np.ones((2, 3)), (), {}, "x must have shape"),
    "no statistics": ("instance_norm", PICTURE, (), {"use_input_stats": False}, "running_mean"),
    "few axes": ("local_response_norm", np.ones((2, 3)), (2,), {}, "x must have shape"),
    "size of 0": ("local_response_norm", PICTURE, (0,), {}, "size"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    name, x, given, options, match = REFUSED[case]
    both_refuse(
        lambda: getattr(F, name)(mc.tensor(x), *given, **options),
        lambda torch: getattr(torch.nn.functional, name)(
            first(torch.tensor(x)) if x.ndim > 1 else torch.tensor(x), *given, **options),
        f"{name}: .*{match}",
    )


@pytest.mark.parametrize("call, match", [
    (lambda x: F.layer_norm(x, (5,)), "normalized_shape"), (lambda x: F.layer_norm(x, ()), "normalized_shape"),
    (lambda x: F.layer_norm(x, None), "normalized_shape"), (lambda x: F.layer_norm(x, (6.0,)), "normalized_shape"),
    (lambda x: F.layer_norm(x, (6,), mc.ones(5)), "weight"),
    (lambda x: F.layer_norm(x, (6,), None, mc.ones(5)), "bias"),
    (lambda x: F.layer_norm(x, (6,), eps=-1.0), "eps"), (lambda x: F.group_norm(x, 2, mc.ones(5)), "weight"),
    (lambda x: F.group_norm(x, 2, eps="a"), "eps"), (lambda x: F.instance_norm(x, weight=mc.ones(5)), "weight"),
    (lambda x: F.instance_norm(x, running_mean=mc.ones(7)), "running_mean"),
    (lambda x: F.local_response_norm(x, 2.5), "size"),
    (lambda x: F.layer_norm(x, (6,), mc.tensor(np.ones(6))), "weight is float64"),
])  # fmt: skip
def test_what_is_wrong_is_named(call, match):
    with pytest.raises((ValueError, TypeError), match=match):
        call(mc.tensor(PICTURE.astype(np.float32)))


# ---------------------------------------------------------------------------------------------- second derivatives

@pytest.mark.parametrize("training", [True, False])
def test_batch_norms_second_derivatives(training):
    mean, var = mc.tensor(RNG.standard_normal(3)), mc.tensor(RNG.uniform(0.5, 2, 3))
    inputs = [mc.tensor(RNG.standard_normal(s), requires_grad=True) for s in ((4, 2, 3), (3,), (3,))]

    def norm(x, w, b):
        return F.batch_norm(x, None if training else mean, None if training else var, w, b, training)

    assert mc.gradcheck(norm, inputs) and mc.gradgradcheck(norm, inputs)
