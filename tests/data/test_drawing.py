"""Antialiased shapes: areas known from geometry, and dice that keep to their limits."""

import numpy as np
import pytest

from minicnn.data.drawing import Canvas, Dice, blur, box, cover, ellipse, outline, smooth_noise, soft


@pytest.fixture
def canvas():
    return Canvas(2, 64)


@pytest.fixture
def dice():
    return Dice(np.random.SeedSequence(1), 500)


def area(share, canvas):
    return share.sum((1, 2)) * canvas.pixel**2


def test_a_circle_covers_its_area(canvas):
    radius = np.float32([0.3, 0.71])[:, None, None]
    circle = ellipse(canvas.x - 0.013, canvas.y + 0.04, radius, radius)
    np.testing.assert_allclose(area(cover(circle, canvas.pixel), canvas), np.pi * radius.ravel() ** 2, rtol=2e-3)


def test_an_ellipse_covers_its_area(canvas):
    share = cover(ellipse(canvas.x, canvas.y, 0.8, 0.4), canvas.pixel)
    assert share.dtype == np.float32  # float64 would cost twice the time without anyone noticing
    np.testing.assert_allclose(area(share, canvas), np.pi * 0.8 * 0.4, rtol=0.02)


def test_a_box_covers_its_area(canvas):
    share = cover(box(canvas.x - 0.1, canvas.y, 0.5, 0.3, 0.1), canvas.pixel)
    np.testing.assert_allclose(area(share, canvas), 4 * 0.5 * 0.3 - (4 - np.pi) * 0.1**2, rtol=2e-3)


def test_an_outline_covers_its_area(canvas):
    share = cover(outline(ellipse(canvas.x, canvas.y, 0.5, 0.5), 0.1), canvas.pixel)
    np.testing.assert_allclose(area(share, canvas), np.pi * (0.55**2 - 0.45**2), rtol=5e-3)


def test_soft_edges_keep_the_middle_of_the_edge():
    distance = np.float32([-2, -0.5, 0, 0.5, 2])
    np.testing.assert_allclose(soft(distance, 1.0), [1, 1, 0.5, 0, 0])


def test_painting_mixes_by_share(canvas):
    share = np.zeros((2, 64, 64), np.float32)
    share[0, 0, 0], share[0, 0, 1] = 1, 0.25
    colour = np.float32([0.2, 0.4, 0.8])[None, :, None, None]
    canvas.pixels[:] = 0.6
    canvas.paint(share, colour)
    np.testing.assert_allclose(canvas.pixels[0, :, 0, 0], [0.2, 0.4, 0.8], rtol=1e-6)
    np.testing.assert_allclose(canvas.pixels[0, :, 0, 1], [0.5, 0.55, 0.65], rtol=1e-6)
    assert (canvas.pixels[1] == np.float32(0.6)).all()


def test_blur_keeps_flat_pictures_and_the_sum():
    pixels = np.random.default_rng(0).random((2, 3, 9, 9)).astype(np.float32)
    amount = np.float32([0.25, 0.0])[:, None, None]
    blurred = blur(pixels, amount)
    np.testing.assert_allclose(blurred.sum((2, 3)), pixels.sum((2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(blurred[1], pixels[1])
    middle = pixels[0, 0, 3:6, 3:6] * np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
    np.testing.assert_allclose(blurred[0, 0, 4, 4], middle.sum(), rtol=1e-5)


def test_smooth_noise_is_smooth_and_of_any_size(dice):
    for size in (16, 33, 64):
        noise = smooth_noise(dice, size, 7)
        assert noise.shape == (500, size, size) and noise.dtype == np.float32
        # A cell is size / 7 pixels wide: neighbours differ by that part of the difference of two grid values.
        assert np.abs(np.diff(noise, axis=2)).std() < 1.5 * 7 / size


def test_dice_keep_to_their_limits(dice):
    between = dice.between(-2, 3)
    assert between.shape == (500, 1, 1) and between.dtype == np.float32
    assert -2 <= between.min() < -1.9 and 2.9 < between.max() <= 3
    assert set(dice.sign().ravel()) == {-1, 1}
    assert 0.2 < dice.chance(0.3).mean() < 0.4
    colour = dice.colour([(255, 0, 102)], 0.05)
    assert colour.shape == (500, 3, 1, 1) and colour.dtype == np.float32
    assert colour.min() == 0 and colour.max() == 1
    np.testing.assert_allclose(colour[:, 2].mean(), 0.4, atol=0.01)
