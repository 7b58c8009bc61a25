"""Synthetic faces: the same from the same seed, balanced, and told apart by the shape of the mouth alone."""

import numpy as np
import pytest

from minicnn.data import faces, load_synthetic_faces, synthetic_faces
from minicnn.data.drawing import Dice

TRAIN, TEST = 600, 300


@pytest.fixture(scope="module")
def drawn():
    return synthetic_faces(TRAIN + TEST, seed=5)


def test_shapes_types_and_range(drawn):
    x, y = drawn
    assert x.shape == (TRAIN + TEST, 64, 64, 3) and x.dtype == np.uint8
    assert y.shape == (TRAIN + TEST,) and y.dtype == np.int64
    assert x.min() == 0 and x.max() == 255
    assert x.std(axis=(1, 2, 3)).min() > 8  # no picture is empty


def test_balanced_wherever_the_set_is_cut():
    _, y = synthetic_faces(51, seed=1, size=16)
    assert (y[0:50:2] + y[1:50:2] == 1).all()
    assert 3 < y[0:50:2].sum() < 22  # and in random order


def test_the_same_seed_gives_the_same_faces(drawn, monkeypatch):
    x, y = drawn
    for threads in (1, 3):
        monkeypatch.setattr(faces, "THREADS", threads)
        again, labels = synthetic_faces(70, seed=5)
        np.testing.assert_array_equal(again, x[:70])
        np.testing.assert_array_equal(labels, y[:70])


def test_other_seeds_give_other_faces(drawn):
    other, _ = synthetic_faces(32, seed=6)
    difference = np.abs(other.astype(float) - drawn[0][:32]).mean(axis=(1, 2, 3))
    assert difference.min() > 5


def test_no_two_faces_are_alike(drawn):
    assert len({face.tobytes() for face in drawn[0]}) == TRAIN + TEST


@pytest.mark.parametrize("size", [16, 33, 96])
def test_other_sizes(size):
    x, _ = synthetic_faces(3, seed=0, size=size)
    assert x.shape == (3, size, size, 3)


def test_no_faces_at_all():
    x, y = synthetic_faces(0, seed=0)
    assert x.shape == (0, 64, 64, 3) and y.shape == (0,)


def test_as_a_data_set():
    house = load_synthetic_faces(train=40, test=20, seed=3)
    assert house.train_x.shape == (40, 64, 64, 3) and house.test_y.shape == (20, 1)
    assert house.train_x.dtype == house.train_y.dtype == np.float32
    assert 0 <= house.train_x.min() < house.train_x.max() <= 1
    assert house.train_y.mean() == house.test_y.mean() == 0.5
    assert house.classes == ("not smiling", "smiling")
    distances = np.abs(house.train_x[:, None] - house.test_x[None]).mean(axis=(2, 3, 4))
    assert distances.min() > 0.01  # training and test faces come from different streams


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"count": -1}, ValueError, "count must be at least 0, got -1"),
    ({"count": 2.0}, TypeError, "count must be an int, got 2.0"),
    ({"seed": -3}, ValueError, "seed must be at least 0, got -3"),
    ({"seed": None}, TypeError, "seed must be an int, got None"),
    ({"size": 8}, ValueError, "size must be at least 16, got 8"),
])
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        synthetic_faces(**{"count": 4, "seed": 0, **arguments})


def test_a_data_set_needs_faces():
    with pytest.raises(ValueError, match="test must be at least 1"):
        load_synthetic_faces(train=2, test=0)


def test_only_the_bend_of_the_mouth_follows_the_label():
    count = 4000
    smiling = np.arange(count)[:, None, None] % 2
    mouth = faces.make_mouth(smiling, Dice(np.random.SeedSequence(0), count))
    smile = smiling.ravel() == 1
    assert mouth.bend[smile].min() > 0.1 and mouth.bend[~smile].max() < 0.02
    for teeth_or_open in (mouth.teeth > 0, mouth.gap > 0, (mouth.gap > 0) & (mouth.teeth > 0)):
        share = teeth_or_open.ravel()
        assert abs(share[smile].mean() - share[~smile].mean()) < 0.05
    opening = (mouth.gap * mouth.half_width).ravel()
    assert abs(opening[smile].mean() / opening[~smile].mean() - 1) < 0.1


def test_no_single_number_tells_the_classes_apart(drawn):
    x, y = drawn
    grey = x.astype(np.float64).mean(axis=3)
    mouth = grey[:, 38:58, 16:48]
    numbers = {
        "brightness": grey.mean(axis=(1, 2)),
        "contrast": grey.std(axis=(1, 2)),
        "brightness of the mouth": mouth.mean(axis=(1, 2)),
        "contrast of the mouth": mouth.std(axis=(1, 2)),
        "bright pixels of the mouth": (mouth > 200).mean(axis=(1, 2)),
        "dark pixels of the mouth": (mouth < 60).mean(axis=(1, 2)),
        "redness of the mouth": (x[:, 38:58, 16:48, 0] - mouth).mean(axis=(1, 2)),
        "edges": np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)),
    }
    for name, values in numbers.items():
        assert best_threshold(values, y) < 0.6, name


def best_threshold(values, y):
    """The accuracy of the best rule "smiling above (or below) this value"."""
    smiles = y[np.argsort(values, kind="stable")]
    right = np.concatenate([[smiles.sum()], smiles.sum() + np.cumsum(1 - 2 * smiles)]) / len(y)
    return max(right.max(), 1 - right.min())


def test_a_linear_classifier_stays_under_three_quarters(drawn):
    """Logistic regression on the pixels, in the space that the training pictures span, at several L2 penalties."""
    optimize = pytest.importorskip("scipy.optimize")
    x = drawn[0].reshape(TRAIN + TEST, -1) / np.float32(255)
    x -= x[:TRAIN].mean(axis=0)
    y = drawn[1]
    values, vectors = np.linalg.eigh((x[:TRAIN] @ x[:TRAIN].T).astype(np.float64))
    kept = values > 1e-6 * values[-1]
    features = (x @ x[:TRAIN].T).astype(np.float64) @ (vectors[:, kept] / np.sqrt(values[kept]))
    features /= features[:TRAIN].std()

    def loss(weights, penalty):
        logits = features[:TRAIN] @ weights
        value = np.logaddexp(0, logits).sum() - logits @ y[:TRAIN] + penalty / 2 * weights @ weights
        return value, features[:TRAIN].T @ (1 / (1 + np.exp(-logits)) - y[:TRAIN]) + penalty * weights

    accuracies = []
    for penalty in (1e-1, 1.0, 1e1, 1e2, 1e3):
        found = optimize.minimize(loss, np.zeros(features.shape[1]), penalty, "L-BFGS-B", jac=True)
        accuracies.append(np.mean((features[TRAIN:] @ found.x > 0) == y[TRAIN:]))
    assert max(accuracies) < 0.75
