"""Losses and activations against PyTorch, in all their arguments."""

from itertools import product

import numpy as np
import pytest

import minicnn as mc

from .against_torch import both_refuse, first, same_as_torch

F = mc.nn.functional
RNG = np.random.default_rng(4)
REDUCTIONS = ("mean", "sum", "none")
WEIGHT = np.array([0.5, 2.0, 1.0, 3.0, 0.1])
#: Scores (N, ..., classes) and labels (N, ...).
SCORES = {1: RNG.standard_normal((7, 5)), 2: RNG.standard_normal((2, 6, 5)), 3: RNG.standard_normal((2, 3, 4, 5))}
LABELS = {k: RNG.integers(0, 5, s.shape[:-1]) for k, s in SCORES.items()}


def classes_second(x):
    """Class scores where PyTorch has them: behind the batch."""
    return first(x).contiguous() if x.ndim > 2 else x


def combinations(**options):
    """All combinations of options, each as a dict."""
    made = [dict(zip(options, values, strict=True)) for values in product(*options.values())]
    return pytest.mark.parametrize("options", made, ids=[",".join(f"{k}={v}" for k, v in o.items()) for o in made])


def reduced_alike(name, x, target, options, weight=None):
    """A loss of scores and labels, with weights of the classes or without."""

    def ours(scores, labels, *w):
        return getattr(F, name)(scores, labels, **options, weight=w[0].detach() if w else None)

    def theirs(T, scores, labels, *w):  # noqa: N803 - torch.nn.functional
        if labels.is_floating_point():
            labels = classes_second(labels)
        return getattr(T, name)(classes_second(scores), labels, **options, weight=w[0].detach() if w else None)

    same_as_torch(ours, theirs, x, target, *([] if weight is None else [weight]))


@combinations(reduction=REDUCTIONS, ignore_index=(-100, 2), label_smoothing=(0.0, 0.3))
@pytest.mark.parametrize("rank", SCORES)
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(rank, weighted, options):
    reduced_alike("cross_entropy", SCORES[rank], LABELS[rank], options, WEIGHT if weighted else None)


@combinations(reduction=REDUCTIONS, label_smoothing=(0.0, 0.3))
@pytest.mark.parametrize("rank", SCORES)
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_of_probabilities(rank, weighted, options):
    target = RNG.dirichlet(np.ones(5), SCORES[rank].shape[:-1])
    reduced_alike("cross_entropy", SCORES[rank], target, options, WEIGHT if weighted else None)


@combinations(reduction=REDUCTIONS, ignore_index=(-100, 2))
@pytest.mark.parametrize("rank", SCORES)
@pytest.mark.parametrize("weighted", [False, True])
def test_nll_loss(rank, weighted, options):
    reduced_alike("nll_loss", SCORES[rank], LABELS[rank], options, WEIGHT if weighted else None)


@combinations(reduction=REDUCTIONS, p=(1, 2), margin=(1.0, 0.4))
@pytest.mark.parametrize("weighted", [False, True])
def test_multi_margin_loss(weighted, options):
    reduced_alike("multi_margin_loss", SCORES[1], LABELS[1], options, WEIGHT if weighted else None)


def test_losses_where_all_is_ignored_or_weighs_nothing():
    for name in ("cross_entropy", "nll_loss"):
        for reduction in REDUCTIONS:
            reduced_alike(name, SCORES[1], np.full(7, -100), {"reduction": reduction})
        reduced_alike(name, SCORES[1], LABELS[1], {"reduction": "sum"}, np.zeros(5))
    for scores, label in ((SCORES[1][0], np.array(3)), (SCORES[1][:0], LABELS[1][:0])):  # one, without a batch; none
        same_as_torch(F.nll_loss, lambda T, x, y: T.nll_loss(x, y), scores, label)
        same_as_torch(F.cross_entropy, lambda T, x, y: T.cross_entropy(x, y), scores, label)


def test_cross_entropy_of_large_and_infinite_scores():
    x = np.array([[1e3, -1e3, 0.0], [-1e30, 1e30, 0.0], [-np.inf, 0.0, 1.0]])
    for labels in ([0, 1, 2], [1, 0, 1]):
        same_as_torch(
            lambda x, y: F.cross_entropy(x, y, reduction="none"),
            lambda T, x, y: T.cross_entropy(x, y, reduction="none"), x, np.array(labels),
        )


A, B = RNG.standard_normal((3, 4, 2)) * 2, RNG.standard_normal((3, 4, 2)) * 2


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name, options", [
    ("mse_loss", {}), ("l1_loss", {}), ("smooth_l1_loss", {}), ("smooth_l1_loss", {"beta": 0.3}),
    ("smooth_l1_loss", {"beta": 0.0}),
])  # fmt: skip
def test_distances(name, options, reduction):
    same_as_torch(
        lambda x, y: getattr(F, name)(x, y, reduction=reduction, **options),
        lambda T, x, y: getattr(T, name)(x, y, reduction=reduction, **options), A, B,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy(weighted, reduction):
    chance, label, weight = RNG.uniform(0.01, 0.99, A.shape), RNG.uniform(0, 1, A.shape), RNG.uniform(0.5, 2, (4, 2))

    def given(w):
        return w.detach() if weighted else None

    same_as_torch(
        lambda x, y, w: F.binary_cross_entropy(x, y.detach(), given(w), reduction=reduction),
        lambda T, x, y, w: T.binary_cross_entropy(x, y.detach(), given(w), reduction=reduction), chance, label, weight,
    )
    for pos in (False, True):
        same_as_torch(
            lambda x, y, w, pos=pos: F.binary_cross_entropy_with_logits(
                x, y.detach(), given(w), reduction=reduction, pos_weight=w.detach() if pos else None),
            lambda T, x, y, w, pos=pos: T.binary_cross_entropy_with_logits(
                x, y.detach(), given(w), reduction=reduction, pos_weight=w.detach() if pos else None), A, label, weight,
        )


def test_binary_cross_entropy_at_the_ends():
    x, y = np.array([0.0, 1.0, 0.0, 1.0, 0.5]), np.array([0.0, 1.0, 1.0, 0.0, 0.5])
    same_as_torch(
        lambda x, y: F.binary_cross_entropy(x.detach(), y.detach()),
        lambda T, x, y: T.binary_cross_entropy(x.detach(), y.detach()), x, y,
    )
    chance = mc.tensor(x, requires_grad=True)
    F.binary_cross_entropy(chance, mc.tensor(y), reduction="sum").backward()
    np.testing.assert_allclose(chance.grad.numpy(), [0, 0, -1e12, 1e12, 0])  # x (1 - x) is taken to be 1e-12 at least
    logits = np.array([-1e3, 1e3, 1e3, -1e3, 0.0])
    same_as_torch(
        lambda x, y: F.binary_cross_entropy_with_logits(x, y.detach()),
        lambda T, x, y: T.binary_cross_entropy_with_logits(x, y.detach()), logits, y,
    )


REFUSED = {
    "a class too many": ("cross_entropy", SCORES[1], LABELS[1] + 3, {}, "target"),
    "a class below 0": ("nll_loss", SCORES[1], LABELS[1] - 7, {}, "target"),
    "a margin of no class": ("multi_margin_loss", SCORES[1], LABELS[1] + 3, {}, "target"),
    "labels of another shape": ("cross_entropy", SCORES[1], LABELS[1][:4], {}, "target"),
    "labels that are none": ("nll_loss", SCORES[1], LABELS[1].astype(float), {}, "target"),
    "smoothing beyond 1": ("cross_entropy", SCORES[1], LABELS[1], {"label_smoothing": 1.5}, "label_smoothing"),
    "unknown reduction": ("cross_entropy", SCORES[1], LABELS[1], {"reduction": "max"}, "reduction"),
    "unknown reduction of nll": ("nll_loss", SCORES[1], LABELS[1], {"reduction": "max"}, "reduction"),
    "p of 3": ("multi_margin_loss", SCORES[1], LABELS[1], {"p": 3}, "p must be"),
    "unknown reduction of margins": ("multi_margin_loss", SCORES[1], LABELS[1], {"reduction": "max"}, "reduction"),
    "negative beta": ("smooth_l1_loss", A, B, {"beta": -1.0}, "beta"),
    "unknown reduction of squares": ("mse_loss", A, B, {"reduction": "max"}, "reduction"),
    "unknown reduction of distances": ("l1_loss", A, B, {"reduction": "max"}, "reduction"),
    "no probabilities": ("binary_cross_entropy", A, B, {}, "input"),
    "labels of another shape, binary": ("binary_cross_entropy_with_logits", A, B[:2], {}, "target"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_losses_refuse(case):
    name, x, target, options, match = REFUSED[case]
    both_refuse(
        lambda: getattr(F, name)(mc.tensor(x), mc.tensor(target), **options),
        lambda torch: getattr(torch.nn.functional, name)(torch.tensor(x), torch.tensor(target), **options),
        f"{name}: .*{match}",
    )


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "multi_margin_loss"])
def test_weights_of_too_few_classes(name):
    both_refuse(
        lambda: getattr(F, name)(mc.tensor(SCORES[1]), mc.tensor(LABELS[1]), weight=mc.tensor(WEIGHT[:3])),
        lambda torch: getattr(torch.nn.functional, name)(
            torch.tensor(SCORES[1]), torch.tensor(LABELS[1]), weight=torch.tensor(WEIGHT[:3])),
        f"{name}: .*weight",
    )


# ---------------------------------------------------------------------------------------------------- activations

ACTIVATIONS = [
    ("relu", {}), ("relu6", {}), ("leaky_relu", {}), ("leaky_relu", {"negative_slope": 0.3}),
    ("leaky_relu", {"negative_slope": -0.5}), ("leaky_relu", {"negative_slope": 0.0}), ("elu", {}),
    ("elu", {"alpha": 0.4}), ("elu", {"alpha": 2.0}), ("gelu", {}), ("silu", {}), ("hardswish", {}),
    ("hardsigmoid", {}), ("sigmoid", {}), ("tanh", {}), ("softplus", {}), ("softplus", {"beta": 3.0}),
    ("softplus", {"beta": 0.5, "threshold": 1.0}), ("softmax", {"dim": -1}), ("softmax", {"dim": 0}),
    ("log_softmax", {"dim": 1}),
]  # fmt: skip
by_activation = pytest.mark.parametrize(
    "name, options", ACTIVATIONS, ids=[f"{n},{o}".replace(" ", "") for n, o in ACTIVATIONS]
)


@by_activation
def test_activations(name, options):
    x = np.concatenate([RNG.standard_normal(90) * 3, [0, -0.0, 3, -3, 6, 1e-9, 19, 21, 25, -25]]).reshape(5, 20)
    if name == "hardsigmoid":  # PyTorch's divides by 6 in float32
        same_as_torch(F.hardsigmoid, lambda T, a: T.relu6(a + 3) / 6, x)
    else:
        same_as_torch(lambda a: getattr(F, name)(a, **options), lambda T, a: getattr(T, name)(a, **options), x)


@by_activation
def test_activations_of_special_values(name, options):
    torch = pytest.importorskip("torch")
    if "softmax" in name:
        pytest.skip("they have tests of their own")
    for dtype in (np.float32, np.float64):
        x = np.array([np.nan, np.inf, 1e30, -1e30, -np.inf], dtype)
        x = x[:4] if name == "hardswish" else x  # 0 at -infinity, where PyTorch multiplies it by 0
        got = getattr(F, name)(mc.tensor(x), **options).numpy()
        theirs = getattr(torch.nn.functional, name)
        # One by one: five at once, PyTorch's gelu for AVX-512 makes NaN of infinity.
        want = torch.cat([theirs(one, **options) for one in torch.tensor(x).split(1)]).numpy()
        np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=str(x))


@pytest.mark.parametrize("p, match", [(-0.1, "p must"), (1.5, "p must"), ("a", "p must")])
def test_dropouts_refuse(p, match):
    for name, shape in (("dropout", (2, 3)), ("dropout2d", (2, 3, 3, 4))):
        with pytest.raises(ValueError, match=f"{name}: {match}"):
            getattr(F, name)(mc.ones(shape), p)
