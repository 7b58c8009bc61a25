"""What holds for every transform: the protocol, reproducibility, the errors, the text for a run's record."""

import subprocess
import sys

import numpy as np
import pytest

import minicnn as mc
from minicnn.data import ArrayDataset, DataLoader
from minicnn.data import transforms as t

FLOATS = [
    t.ToFloat(),
    t.RandomHorizontalFlip(),
    t.RandomVerticalFlip(),
    t.RandomAffine(20, (0.2, 0.1), (0.8, 1.2), 10),
    t.RandomAffine(20, (0.2, 0.1), (0.8, 1.2), 10, fill=0.5),
    t.RandomRotation(30),
    t.RandomShift(0.3),
    t.RandomZoom(0.3),
    t.RandomShear(15),
    t.RandomCrop((6, 5), padding=2),
    t.RandomCrop(7, padding=3, padding_mode="reflect"),
    t.ColorJitter(0.4, 0.4),
    t.Cutout(4),
    t.Cutout(3, fill="mean"),
    t.MixUp(0.4, num_classes=10),
]
RANDOM = FLOATS[1:]
IDENTITIES = [
    t.ToFloat(),
    t.Compose(),
    t.RandomHorizontalFlip(p=0),
    t.RandomVerticalFlip(p=0),
    t.RandomAffine(),
    t.RandomAffine(fill=0.3),
    t.RandomRotation(0),
    t.RandomShift(0),
    t.RandomZoom((1, 1)),
    t.RandomShear(0),
    t.RandomCrop((9, 8)),
    t.ColorJitter(),
    t.MixUp(alpha=0),
]


def batch(count=5, shape=(9, 8, 3), seed=0):
    draw = np.random.default_rng(seed)
    return draw.random((count, *shape), np.float32), draw.integers(10, size=count)


def generator(seed=1):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("transform", FLOATS, ids=repr)
class TestEveryTransform:
    def test_keeps_the_type_and_the_number_and_does_not_touch_its_input(self, transform):
        given = batch(40)
        before = [array.copy() for array in given]
        for array in given:
            array.setflags(write=False)
        pictures, labels = transform(given, generator())
        assert pictures.dtype == np.float32 and pictures.ndim == 4 and len(pictures) == len(labels) == 40
        assert pictures.shape[-1] == 3 and pictures.min() >= 0 and pictures.max() <= 1
        assert all(np.array_equal(array, copy) for array, copy in zip(given, before, strict=True))

    def test_the_result_is_not_a_view_that_changes_the_input(self, transform):
        given = batch()
        before = given[0].copy()
        pictures, _ = transform(given, generator())
        if pictures is not given[0]:
            pictures += 1
        assert np.array_equal(given[0], before)

    def test_the_same_generator_gives_the_same_bits(self, transform):
        first, second = (transform(batch(), generator()) for _ in range(2))
        assert all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))

    @pytest.mark.parametrize("shape", [(9, 8, 1), (9, 8, 5), (1, 9, 3), (9, 1, 3), (13, 64, 2)])
    def test_takes_pictures_of_any_shape(self, transform, shape):
        if isinstance(transform, t.RandomCrop):
            transform = t.RandomCrop((1, 1))
        given = batch(3, shape)
        pictures, _ = transform(given, generator())
        assert pictures.shape == ((3, 1, 1, shape[2]) if isinstance(transform, t.RandomCrop) else given[0].shape)

    def test_takes_an_empty_batch(self, transform):
        pictures, labels = transform(batch(0), generator())
        assert len(pictures) == len(labels) == 0 and pictures.dtype == np.float32 and pictures.ndim == 4

    def test_takes_a_single_picture(self, transform):
        assert len(transform(batch(1), generator())[0]) == 1

    def test_does_not_care_how_the_input_lies_in_memory(self, transform):
        pictures, labels = batch(6)
        scattered = np.empty((3, 8, 9, 12), np.float32).transpose(3, 2, 1, 0)[::2]
        scattered[:] = pictures
        assert not scattered.flags.c_contiguous
        plain, other = (transform((x, labels), generator())[0] for x in (pictures, scattered))
        np.testing.assert_allclose(plain, other, rtol=0, atol=1e-6)

    @pytest.mark.parametrize(
        ("given", "kind", "words"),
        [
            (np.zeros((2, 4, 4, 3), np.float32), TypeError, "batch must be a tuple of arrays"),
            ((), TypeError, "batch must be a tuple of arrays"),
            (([1, 2],), TypeError, "a tuple of ..list"),
            ((np.zeros((4, 4, 3), np.float32),), ValueError, r"pictures must have shape \(N, H, W, C\)"),
            ((np.zeros((2, 0, 4, 3), np.float32),), ValueError, r"pictures must have shape .* \(2, 0, 4, 3\)"),
        ],
    )
    def test_says_what_is_wrong_with_a_batch(self, transform, given, kind, words):
        with pytest.raises(kind, match=f"{type(transform).__name__}: .*{words}"):
            transform(given, generator())

    def test_wants_a_generator(self, transform):
        with pytest.raises(TypeError, match="generator must be a numpy.random.Generator, got 3"):
            transform(batch(), 3)

    def test_shows_its_arguments(self, transform):
        rebuilt = eval(repr(transform), vars(t))
        assert type(rebuilt) is type(transform) and repr(rebuilt) == repr(transform)
        first, second = (x(batch(), generator())[0] for x in (transform, rebuilt))
        assert np.array_equal(first, second)


@pytest.mark.parametrize("transform", RANDOM, ids=repr)
def test_pictures_of_a_batch_draw_for_themselves(transform):
    same = np.broadcast_to(batch(1)[0], (64, 9, 8, 3)).copy()
    if isinstance(transform, t.MixUp):  # a picture mixed with itself stays the same: give it different ones
        same = same * np.linspace(0, 1, 64, dtype=np.float32)[:, None, None, None]
    changed, _ = transform((same, np.zeros(64, np.int64)), generator())
    assert len(np.unique(changed.reshape(64, -1), axis=0)) > 1
    other, _ = transform((same, np.zeros(64, np.int64)), generator(2))
    assert not np.array_equal(changed, other)


@pytest.mark.parametrize("transform", [x for x in RANDOM if not isinstance(x, t.MixUp)], ids=repr)
def test_what_a_picture_becomes_does_not_depend_on_its_neighbours(transform):
    pictures, labels = batch(30)
    changed, _ = transform((pictures, labels), generator())
    others = pictures.copy()
    others[:29] = 0.25
    assert np.array_equal(transform((others, labels), generator())[0][29], changed[29])


@pytest.mark.parametrize("transform", IDENTITIES, ids=repr)
def test_identity_settings_return_the_input_bit_for_bit(transform):
    pictures = batch(7)[0]
    labels = np.linspace(0, 1, 7, dtype=np.float32)[:, None]
    changed = transform((pictures, labels), generator())
    assert changed[0].tobytes() == pictures.tobytes() and changed[1].tobytes() == labels.tobytes()


@pytest.mark.parametrize("transform", [x for x in IDENTITIES if not isinstance(x, t.RandomCrop)], ids=repr)
def test_pictures_of_one_pixel(transform):
    one = np.full((2, 1, 1, 1), 0.5, np.float32)
    assert np.array_equal(transform((one, np.zeros((2, 1), np.float32)), generator())[0], one)


@pytest.mark.parametrize(
    "transform", [t.RandomAffine(), t.ColorJitter(), t.Cutout(2), t.MixUp(1), t.Normalize([0], [1])], ids=repr
)
def test_those_that_compute_want_floats(transform):
    name = type(transform).__name__
    with pytest.raises(TypeError, match=rf"{name}: pictures must be float32, got uint8; put ToFloat\(\) before it"):
        transform((np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2)), generator())
    with pytest.raises(TypeError, match="must be float32, got float64"):
        transform((np.zeros((2, 4, 4, 1)), np.zeros(2)), generator())


@pytest.mark.parametrize("transform", [t.RandomHorizontalFlip(), t.RandomVerticalFlip(), t.RandomCrop(3, padding=1)])
def test_those_that_move_pixels_keep_any_type(transform):
    assert transform((np.zeros((2, 4, 4, 1), np.uint8),), generator())[0].dtype == np.uint8


class TestCompose:
    def test_applies_one_after_the_other_with_one_generator(self):
        parts = [t.RandomHorizontalFlip(), t.RandomRotation(20), t.Cutout(2)]
        dice, expected = generator(), batch()
        for part in parts:
            expected = part(expected, dice)
        for whole in (t.Compose(*parts), t.Compose(parts), t.Compose(t.Compose(parts[:2]), parts[2])):
            assert np.array_equal(whole(batch(), generator())[0], expected[0])

    def test_takes_any_function(self):
        double = t.Compose(lambda given, dice: (given[0] * 2, *given[1:]))
        assert np.array_equal(double(batch(), generator())[0], batch()[0] * 2)

    def test_shows_its_parts(self):
        assert repr(t.Compose([t.ToFloat(), t.Cutout(4)])) == "Compose(ToFloat(), Cutout(size=4, fill=0.0))"

    def test_says_which_part_is_none(self):
        with pytest.raises(TypeError, match="Compose: argument 1 must be a transform, got 'flip'"):
            t.Compose(t.ToFloat(), "flip")


def test_a_loader_gives_the_same_bits_with_and_without_a_thread():
    data = ArrayDataset(np.random.default_rng(0).integers(256, size=(23, 9, 8, 3), dtype=np.uint8), np.arange(23) % 10)
    chain = t.Compose(t.ToFloat(), *RANDOM)
    epochs = []
    for prefetch in (0, 2):
        loader = DataLoader(data, batch_size=5, shuffle=True, seed=3, prefetch=prefetch, transform=chain)
        epochs.append([[tensor.numpy().tobytes() for tensor in tensors] for _ in range(2) for tensors in loader])
    assert epochs[0] == epochs[1] and len(epochs[0]) == 10
    assert epochs[0][:5] != epochs[0][5:]


def test_reachable_from_the_top():
    assert mc.data.transforms.RandomAffine is t.RandomAffine
    assert all(hasattr(t, name) for name in t.__all__)


def test_scipy_is_not_needed():
    code = (
        "import sys, numpy as np; from minicnn.data import transforms as t; "
        "t.RandomAffine(10)((np.zeros((1, 4, 4, 1), np.float32),), np.random.default_rng(0)); "
        "print('scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


BAD = [
    (t.RandomHorizontalFlip, {"p": 1.5}, ValueError, "HorizontalFlip: p must be at least 0 and at most 1, got 1.5"),
    (t.RandomVerticalFlip, {"p": "half"}, TypeError, "RandomVerticalFlip: p must be a number, got 'half'"),
    (t.RandomVerticalFlip, {"p": True}, TypeError, "p must be a number, got True"),
    (t.RandomAffine, {"degrees": -5}, ValueError, "RandomAffine: degrees must be at least 0, got -5"),
    (t.RandomAffine, {"degrees": (5, -5)}, ValueError, r"degrees must be \(min, max\) with min <= max, got \(5, -5\)"),
    (t.RandomAffine, {"degrees": (1, 2, 3)}, TypeError, r"degrees must be a pair of numbers, got \(1, 2, 3\)"),
    (t.RandomAffine, {"degrees": float("nan")}, ValueError, "degrees must be at least 0, got nan"),
    (t.RandomAffine, {"translate": 0.1}, TypeError, "translate must be a pair of numbers, got 0.1"),
    (t.RandomAffine, {"translate": (0.1, 1.1)}, ValueError, "translate must be at least 0 and at most 1, got 1.1"),
    (t.RandomAffine, {"scale": (0, 1)}, ValueError, "scale must be at least 0.01, got 0"),
    (t.RandomAffine, {"shear": 90}, ValueError, "shear must be at least -89 and at most 89"),
    (t.RandomAffine, {"fill": "black"}, TypeError, "fill must be a number, got 'black'"),
    (t.RandomAffine, {"fill": float("inf")}, ValueError, "fill must be finite, got inf"),
    (t.RandomRotation, {"degrees": "10"}, TypeError, "RandomRotation: degrees must be a number"),
    (t.RandomShift, {"fraction": 2}, ValueError, "RandomShift: fraction must be at least 0 and at most 1, got 2"),
    (t.RandomZoom, {"scale": 1}, ValueError, "RandomZoom: scale must be at least 0.01"),
    (t.RandomShear, {"degrees": (0, 90)}, ValueError, "RandomShear: degrees must be .* at most 89, got 90"),
    (t.RandomCrop, {"size": 0}, ValueError, "RandomCrop: size must be at least 1, got 0"),
    (t.RandomCrop, {"size": (2.5, 2)}, TypeError, "size must be an int, got 2.5"),
    (t.RandomCrop, {"size": (1, 2, 3)}, TypeError, r"size must be an int or \(height, width\)"),
    (t.RandomCrop, {"size": 4, "padding": -1}, ValueError, "padding must be at least 0, got -1"),
    (t.RandomCrop, {"size": 4, "padding_mode": "wrap"}, ValueError, "padding_mode must be one of constant, .*'wrap'"),
    (t.ColorJitter, {"brightness": -0.1}, ValueError, "ColorJitter: brightness must be at least 0, got -0.1"),
    (t.ColorJitter, {"contrast": (-1, 1)}, ValueError, "contrast must be at least 0, got -1"),
    (t.Cutout, {"size": 0}, ValueError, "Cutout: size must be at least 1, got 0"),
    (t.Cutout, {"size": 2, "fill": "grey"}, TypeError, "fill must be a number, got 'grey'"),
    (t.MixUp, {"alpha": -1}, ValueError, "MixUp: alpha must be at least 0, got -1"),
    (t.MixUp, {"alpha": 1, "num_classes": 2.0}, TypeError, "num_classes must be an int, got 2.0"),
    (t.Normalize, {"mean": [0, 0], "std": [1]}, ValueError, "mean and std must have one length, got 2 and 1"),
    (t.Normalize, {"mean": [0], "std": [0]}, ValueError, "std must be positive in every channel"),
    (t.Normalize, {"mean": 0.5, "std": [1]}, TypeError, "mean must be a row of numbers"),
    (t.Normalize, {"mean": [float("nan")], "std": [1]}, ValueError, "mean must be finite, got nan"),
]


@pytest.mark.parametrize(("kind", "arguments", "error", "words"), BAD)
def test_bad_arguments_are_named(kind, arguments, error, words):
    with pytest.raises(error, match=words):
        kind(**arguments)
