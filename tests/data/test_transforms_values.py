"""ToFloat, Normalize, ColorJitter, flips, crops, Cutout and MixUp: against hand computation and NumPy in float64."""

import math

import numpy as np
import pytest

from minicnn.data import ArrayDataset, Subset
from minicnn.data import transforms as t


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def apply(transform, x, seed=1):
    return transform((x,), np.random.default_rng(seed))[0]


class TestToFloat:
    def test_divides_bytes_by_255(self):
        x = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
        expected = (np.arange(256) / 255).astype(np.float32)  # rounded once, from float64
        assert np.array_equal(apply(t.ToFloat(), x).ravel(), expected)

    def test_lets_floats_through(self):
        x = pictures(2, 3, 3, 1) * 9 - 4
        assert np.array_equal(apply(t.ToFloat(), x), x)

    @pytest.mark.parametrize("dtype", [np.float64, np.int64, bool])
    def test_refuses_other_types(self, dtype):
        with pytest.raises(TypeError, match="ToFloat: pictures must be uint8 or float32, got"):
            apply(t.ToFloat(), np.zeros((1, 2, 2, 1), dtype))


class TestNormalize:
    @pytest.mark.parametrize("channels", [1, 3, 5])
    def test_subtracts_and_divides(self, channels):
        x = pictures(4, 6, 7, channels)
        mean, std = np.linspace(0.2, 0.6, channels), np.linspace(0.1, 0.3, channels)
        got = apply(t.Normalize(mean, std), x)
        np.testing.assert_allclose(got, (x.astype(np.float64) - mean) / std, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("batch_size", [1, 7, 1000])
    @pytest.mark.parametrize("kind", [np.uint8, np.float32])
    def test_fit_finds_the_moments_of_all_pixels(self, batch_size, kind):
        x = pictures(50, 6, 5, 3) ** np.array([1, 2, 5], np.float32)
        x = (x * 255).astype(np.uint8) if kind == np.uint8 else x
        found = t.Normalize.fit(ArrayDataset(x, np.arange(50)), batch_size)
        scaled = x.astype(np.float64) / (255 if kind == np.uint8 else 1)
        np.testing.assert_allclose(found.mean, scaled.mean(axis=(0, 1, 2)), rtol=1e-13)
        np.testing.assert_allclose(found.std, scaled.std(axis=(0, 1, 2)), rtol=1e-13)

    def test_the_fitted_data_come_out_with_mean_0_and_deviation_1(self):
        x = (pictures(30, 8, 8, 3) * 100 + 7).astype(np.uint8)
        normalized = t.Compose(t.ToFloat(), t.Normalize.fit(ArrayDataset(x)))((x,), np.random.default_rng(0))[0]
        np.testing.assert_allclose(normalized.mean(axis=(0, 1, 2), dtype=np.float64), 0, atol=1e-6)
        np.testing.assert_allclose(normalized.std(axis=(0, 1, 2), dtype=np.float64), 1, rtol=1e-6)

    def test_fit_looks_at_nothing_but_what_it_is_given(self):
        x = pictures(20, 4, 4, 1)
        part = t.Normalize.fit(Subset(ArrayDataset(x), range(10)))
        np.testing.assert_allclose(part.mean[0], x[:10].astype(np.float64).mean(), rtol=1e-13)

    def test_fit_of_a_data_set_that_is_a_list(self):
        assert t.Normalize.fit([(np.full((2, 2, 1), value, np.float32), 0) for value in (0.0, 1.0)]).std == (0.5,)

    @pytest.mark.parametrize("value", [np.float32(0.1), np.uint8(7)])
    def test_fit_refuses_a_constant_channel(self, value):
        x = np.empty((2500, 3, 3, 2), value.dtype)
        x[..., 0] = np.arange(2500).reshape(-1, 1, 1) % 200
        x[..., 1] = value
        with pytest.raises(ValueError, match="Normalize.fit: channel 1 has the value 0.* in all of 2500 pictures"):
            t.Normalize.fit(ArrayDataset(x))

    def test_fit_errors(self):
        with pytest.raises(ValueError, match="Normalize.fit: the data set is empty"):
            t.Normalize.fit(ArrayDataset(pictures(0, 2, 2, 1)))
        with pytest.raises(TypeError, match=r"must be a picture \(H, W, C\) of uint8 or float, got shape \(4,\)"):
            t.Normalize.fit(ArrayDataset(pictures(3, 4)))
        with pytest.raises(TypeError, match="dtype int64"):
            t.Normalize.fit(ArrayDataset(np.zeros((3, 2, 2, 1), np.int64)))
        with pytest.raises(ValueError, match="Normalize.fit: batch_size must be at least 1, got 0"):
            t.Normalize.fit(ArrayDataset(pictures(3, 2, 2, 1)), batch_size=0)

    def test_wants_as_many_channels_as_it_knows(self):
        with pytest.raises(ValueError, match="Normalize: pictures must have 3 channels, got 1"):
            apply(t.Normalize([0, 0, 0], [1, 1, 1]), pictures(1, 2, 2, 1))


class TestFlips:
    @pytest.mark.parametrize(("kind", "axis"), [(t.RandomHorizontalFlip, 2), (t.RandomVerticalFlip, 1)])
    def test_each_picture_is_mirrored_or_left_alone(self, kind, axis):
        x = pictures(3000, 2, 3, 1)
        got = apply(kind(p=0.3), x)
        mirrored = (got == np.flip(x, axis)).all(axis=(1, 2, 3))
        alone = (got == x).all(axis=(1, 2, 3))
        assert (mirrored ^ alone).all()
        assert abs(mirrored.mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 3000)
        assert np.array_equal(apply(kind(p=1), x), np.flip(x, axis))


class TestRandomCrop:
    @pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
    def test_is_a_piece_of_the_padded_picture_and_every_place_occurs(self, mode):
        x = pictures(600, 5, 6, 2)
        got = apply(t.RandomCrop((4, 7), padding=1, padding_mode=mode), x)
        assert got.shape == (600, 4, 7, 2)
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode=mode)
        found = np.zeros((4, 2))
        for before, after in zip(padded, got, strict=True):
            places = [(r, c) for r in range(4) for c in range(2)
                      if np.array_equal(before[r : r + 4, c : c + 7], after)]
            assert len(places) == 1
            found[places[0]] += 1
        assert (np.abs(found - 75) < 4 * math.sqrt(75)).all()

    def test_reflection_by_hand(self):
        x = np.arange(3, dtype=np.float32).reshape(1, 1, 3, 1) * np.ones((1, 3, 1, 1), np.float32)
        got = apply(t.RandomCrop(7, padding=2, padding_mode="reflect"), x)
        assert got[0, 0, :, 0].tolist() == [2, 1, 0, 1, 2, 1, 0]

    def test_what_does_not_fit(self):
        with pytest.raises(ValueError, match=r"size \(8, 8\) does not fit into .* \(5, 6\) with a padding of 1"):
            apply(t.RandomCrop(8, padding=1), pictures(1, 5, 6, 1))
        with pytest.raises(ValueError, match=r"padding must be at most 1 to reflect pictures of \(2, 6\), got 2"):
            apply(t.RandomCrop(2, padding=2, padding_mode="reflect"), pictures(1, 2, 6, 1))
        with pytest.raises(ValueError, match=r"padding must be at most 2 to symmetric pictures"):
            apply(t.RandomCrop(2, padding=3, padding_mode="symmetric"), pictures(1, 2, 6, 1))


class TestColorJitter:
    def test_brightness_multiplies_and_clips(self):
        x = pictures(3, 4, 4, 3)
        got = apply(t.ColorJitter(brightness=(1.5, 1.5)), x)
        np.testing.assert_allclose(got, np.minimum(x.astype(np.float64) * 1.5, 1), rtol=1e-6)

    @pytest.mark.parametrize("factor", [0.0, 0.4, 1.9])
    @pytest.mark.parametrize(("channels", "weights"), [(1, [1]), (3, [0.2989, 0.587, 0.114]), (2, [0.5, 0.5])])
    def test_contrast_blends_with_the_mean_grey(self, factor, channels, weights):
        x = pictures(3, 8, 9, channels)
        grey = (x.astype(np.float64) @ weights).mean(axis=(1, 2))[:, None, None, None]
        expected = np.clip(grey + factor * (x - grey), 0, 1)
        np.testing.assert_allclose(apply(t.ColorJitter(contrast=(factor, factor)), x), expected, atol=2e-6)

    def test_brightness_comes_first_and_is_clipped_before_contrast(self):
        x = np.array([0.2, 0.8], np.float32).reshape(1, 1, 2, 1)
        # Twice as bright: 0.4 and 1 (clipped), mean 0.7; half the contrast: 0.55 and 0.85.
        got = apply(t.ColorJitter((2, 2), (0.5, 0.5)), x)
        np.testing.assert_allclose(got.ravel(), [0.55, 0.85], rtol=1e-6)

    def test_factors_are_uniform_in_their_range(self):
        x = np.full((4000, 1, 1, 1), 0.5, np.float32)
        found = np.sort(apply(t.ColorJitter(brightness=0.4), x).ravel() / 0.5)
        assert np.abs(found - np.linspace(0.6, 1.4, 4000)).max() < 1.95 / math.sqrt(4000) * 0.8
        assert t.ColorJitter(brightness=3).brightness == (0, 4)

    @pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
    def test_refuses_pictures_beyond_0_to_1(self, value):
        x = pictures(2, 3, 3, 1)
        x[1, 1, 1, 0] = value
        with pytest.raises(ValueError, match=r"ColorJitter: pictures must lie in \[0, 1\], got"):
            apply(t.ColorJitter(0.1), x)


class TestCutout:
    @pytest.mark.parametrize("size", [1, 2, 5, 30])
    def test_covers_one_square_around_any_pixel(self, size):
        x = pictures(400, 6, 9, 2) + 1
        got = apply(t.Cutout(size), x)
        squares = set()
        for row in range(6):
            for column in range(9):
                top, left = row - size // 2, column - size // 2
                covered = np.zeros((6, 9), bool)
                covered[max(0, top) : top + size, max(0, left) : left + size] = True
                squares.add(covered.tobytes())
        found = {(picture == 0).all(axis=-1).tobytes() for picture in got}
        assert found == squares
        assert np.array_equal(np.where(got == 0, 0, x), got)

    def test_centres_are_uniform(self):
        covered = apply(t.Cutout(1), np.ones((6000, 2, 3, 1), np.float32))
        assert (np.abs((covered == 0).sum(axis=0) - 1000) < 4 * math.sqrt(1000)).all()

    def test_covers_with_the_mean_of_the_channel(self):
        x = pictures(20, 6, 6, 3)
        got = apply(t.Cutout(3, fill="mean"), x)
        means = np.broadcast_to(x.astype(np.float64).mean(axis=(1, 2), keepdims=True), x.shape)
        changed = got != x
        assert changed.any(axis=(1, 2, 3)).all()
        np.testing.assert_allclose(got[changed], means[changed], rtol=1e-6)


class TestMixUp:
    def test_pictures_and_labels_are_mixed_alike(self):
        count, classes = 50, 50
        x = np.eye(count, dtype=np.float32).reshape(count, 5, 10, 1)  # picture n is 1 at pixel n: shares can be read
        y = np.random.default_rng(5).permutation(count)
        mixed, targets = t.MixUp(0.7, classes)((x, y), np.random.default_rng(1))
        shares = mixed.reshape(count, count)
        assert targets.dtype == np.float32 and targets.shape == (count, classes)
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
        assert ((shares > 0).sum(axis=1) <= 2).all()
        np.testing.assert_allclose(targets, shares @ np.eye(classes)[y], atol=1e-6)
        partners = np.where(np.eye(count), 0, shares).argmax(axis=1)
        assert len(set(partners)) > 40  # each picture is the partner of one other

    @pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
    def test_shares_follow_the_beta_distribution(self, alpha):
        count = 4000
        y = np.arange(count, dtype=np.float32)[:, None]
        ones = np.concatenate([np.zeros((1, 1, 1, 1)), np.ones((count - 1, 1, 1, 1))]).astype(np.float32)
        _, targets = t.MixUp(alpha)((ones, np.concatenate([y, 0 * y + 1], axis=1)), np.random.default_rng(1))
        np.testing.assert_allclose(targets[:, 1], 1, rtol=1e-6)
        dice = np.random.default_rng(1)
        shares, partners = dice.beta(alpha, alpha, count), dice.permutation(count)
        np.testing.assert_allclose(targets[:, 0], shares * y[:, 0] + (1 - shares) * y[partners, 0], atol=1e-3)
        assert abs(shares.var() - 1 / (4 * (2 * alpha + 1))) < 0.01  # the variance of Beta(alpha, alpha)

    def test_binary_labels_keep_their_shape(self):
        y = np.array([[0], [1], [1], [0]], np.float32)
        mixed, targets = t.MixUp(1.0)((y.reshape(4, 1, 1, 1), y), np.random.default_rng(0))
        assert targets.dtype == np.float32 and targets.shape == (4, 1)
        assert np.array_equal(mixed.ravel(), targets.ravel())

    @pytest.mark.parametrize(
        ("classes", "labels", "words"),
        [
            (3, np.array([0, 3]), "labels must be from 0 to 2, got 3"),
            (3, np.array([0, -1]), "labels must be from 0 to 2, got -1"),
            (3, np.array([0.0, 1.0], np.float32), r"labels must be ints \(N,\) with num_classes=3 .* got float32"),
            (3, np.array([0, 1, 2]), r"with num_classes=3 and N=2, got int64 \(3,\)"),
            (None, np.array([0, 1]), r"labels must be float32 \(N, ...\) with .*=None and N=2, got int64 \(2,\)"),
        ],
    )
    def test_labels_that_do_not_fit(self, classes, labels, words):
        with pytest.raises(ValueError, match=words):
            t.MixUp(1.0, classes)((pictures(2, 2, 2, 1), labels), np.random.default_rng(0))

    def test_wants_one_array_of_labels(self):
        for given in ((pictures(2, 2, 2, 1),), (pictures(2, 2, 2, 1), np.zeros(2), np.zeros(2))):
            with pytest.raises(ValueError, match=r"MixUp: batch must be \(pictures, labels\), got [13] arrays"):
                t.MixUp(1.0, 2)(given, np.random.default_rng(0))
