"""Rotation, shift, zoom, shear against quarter turns, slices, hand computation, and SciPy with torchvision's matrix."""

import math

import numpy as np
import pytest
from scipy import ndimage

from minicnn.data import transforms as t


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def apply(transform, x, seed=1):
    return transform((x,), np.random.default_rng(seed))[0]


def torchvision_map(degrees, scale, shear, shift, height, width):
    """The place (row, column) in the input for one in the result: matrix (2, 2) and start (2,), in float64.

    The closed form of the forward matrix over (x, y) that torchvision's `functional.affine` documents, inverted.
    """
    turn, lean = math.radians(degrees), math.radians(shear)
    forward = scale * np.array([
        [math.cos(turn), -math.cos(turn) * math.tan(lean) - math.sin(turn)],
        [math.sin(turn), -math.sin(turn) * math.tan(lean) + math.cos(turn)],
    ])  # fmt: skip
    back = np.linalg.inv(forward)[::-1, ::-1]  # (x, y) to (row, column)
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    return back, centre - back @ (centre + shift)


def expected(x, degrees=0.0, scale=1.0, shear=0.0, shift=(0, 0), fill=None):
    back, start = torchvision_map(degrees, scale, shear, np.array(shift), *x.shape[1:3])
    outside = {"mode": "nearest"} if fill is None else {"mode": "grid-constant", "cval": fill}
    result = np.empty(x.shape)
    for n, c in np.ndindex(x.shape[0], x.shape[3]):
        plane = x[n, :, :, c].astype(np.float64)
        result[n, :, :, c] = ndimage.affine_transform(plane, back, start, order=1, **outside)
    return result


@pytest.mark.parametrize("turns", [1, 2, 3, -1])
@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_quarter_turns(turns, size):
    x = pictures(3, size, size, 3)
    angle = (90 * turns, 90 * turns)
    np.testing.assert_allclose(apply(t.RandomRotation(angle), x), np.rot90(x, turns, axes=(1, 2)), atol=2e-6)
    np.testing.assert_allclose(apply(t.RandomAffine(angle), x), np.rot90(x, -turns, axes=(1, 2)), atol=2e-6)


def test_half_a_turn_of_a_picture_that_is_not_square():
    x = pictures(2, 5, 8, 3)
    np.testing.assert_allclose(apply(t.RandomRotation((180, 180)), x), x[:, ::-1, ::-1], atol=2e-6)


@pytest.mark.parametrize("fill", [None, 0.0, 0.7])
@pytest.mark.parametrize("shape", [(2, 9, 9, 1), (2, 12, 7, 3), (1, 6, 40, 5), (40, 17, 16, 3), (2, 120, 110, 1)])
@pytest.mark.parametrize(
    ("degrees", "scale", "shear"),
    [(10, 1, 0), (-33, 1, 0), (0, 1.3, 0), (0, 0.6, 0), (0, 1, 20), (25, 0.8, -15), (170, 1.7, 40)],
)
def test_against_scipy(fill, shape, degrees, scale, shear):
    x = pictures(*shape)
    got = apply(t.RandomAffine((degrees, degrees), scale=(scale, scale), shear=(shear, shear), fill=fill), x)
    # Maps are rounded to float32: places are off by up to 1e-5 pixels in pictures of 120, neighbours differ by up to 1.
    np.testing.assert_allclose(got, expected(x, degrees, scale, shear, fill=fill), atol=1e-6 * max(shape[1:3]))


def test_shift_after_the_rest_is_in_pixels_of_the_result():
    x = pictures(60, 12, 10, 1)
    got = apply(t.RandomAffine((30, 30), translate=(0.2, 0.1), scale=(1.2, 1.2), shear=(10, 10), fill=0.0), x)
    shifts = [(down, across) for down in (-1, 0, 1) for across in (-2, -1, 0, 1, 2)]
    choices = np.stack([expected(x, 30, 1.2, 10, shift, fill=0.0) for shift in shifts])
    distance = np.abs(choices - got).max(axis=(2, 3, 4))
    assert (distance.min(axis=0) < 2e-5).all()
    assert len(set(distance.argmin(axis=0))) > 10


def test_shifts_are_whole_pixels_and_repeat_the_edge():
    x = pictures(200, 10, 5, 2)
    got = apply(t.RandomShift((0.4, 0.1)), x)
    padded = np.pad(x, ((0, 0), (1, 1), (2, 2), (0, 0)), mode="edge")
    seen = set()
    for before, after in zip(padded, got, strict=True):
        seen |= {(r, c) for r in range(3) for c in range(5) if np.array_equal(before[r : r + 10, c : c + 5], after)}
    assert seen == {(r, c) for r in range(3) for c in range(5)}


def test_shifts_with_a_fill_value():
    x = pictures(100, 6, 6, 1)
    got = apply(t.RandomShift(0.5, fill=-1.0), x)
    padded = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)), constant_values=-1)
    for before, after in zip(padded, got, strict=True):
        assert any(np.array_equal(before[r : r + 6, c : c + 6], after) for r in range(7) for c in range(7))


def test_zoom_by_two_by_hand():
    row = np.array([0, 1, 4, 9], np.float32).reshape(1, 1, 4, 1) * np.ones((1, 4, 1, 1), np.float32)
    # Places 0.75, 1.25, 1.75, 2.25 between the values 0, 1, 4, 9.
    got = apply(t.RandomZoom((2, 2)), row)
    np.testing.assert_allclose(got[0, :, :, 0], np.tile([0.75, 1.75, 3.25, 5.25], (4, 1)), rtol=1e-6)


def test_zoom_by_a_half_by_hand():
    row = np.arange(5, dtype=np.float32).reshape(1, 1, 5, 1)
    # Places -2, 0, 2, 4, 6: every second pixel, and what is outside.
    assert apply(t.RandomZoom((0.5, 0.5)), row).ravel().tolist() == [0, 0, 2, 4, 4]
    x = np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1) + 1
    filled = apply(t.RandomZoom((0.5, 0.5), fill=0), x)[0, :, :, 0]
    assert np.array_equal(filled, np.pad(x[0, ::2, ::2, 0], 1))


def test_shear_leans_the_top_to_the_right():
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, :, 2] = 1  # an upright line
    got = apply(t.RandomShear((45, 45)), x)[0, :, :, 0]
    np.testing.assert_allclose(got, np.eye(5)[::-1], atol=2e-6)


def test_a_constant_picture_stays_constant_at_its_borders():
    x = np.full((20, 9, 9, 3), 0.6, np.float32)
    np.testing.assert_allclose(apply(t.RandomAffine(180, (0.5, 0.5), (0.3, 2), 30), x), 0.6, rtol=1e-6)


def test_many_small_pictures_give_what_each_gives_alone():
    x = pictures(100, 30, 20, 2)
    degrees = (17, 17)
    alone = np.concatenate([apply(t.RandomRotation(degrees), x[k : k + 1]) for k in range(100)])
    assert np.array_equal(apply(t.RandomRotation(degrees), x), alone)


def angles(x):
    """Degrees, clockwise, by which each of the pictures of a horizontal ramp is turned, from its slopes."""
    middle = x[:, 4:-4, 4:-4, 0].astype(np.float64)
    down, across = (np.diff(middle, axis=axis).mean(axis=(1, 2)) for axis in (1, 2))
    return np.degrees(np.arctan2(down, across))


def ramp(count):
    return np.broadcast_to(np.linspace(0, 1, 20, dtype=np.float32)[:, None], (count, 20, 20, 1)).copy()


@pytest.mark.parametrize(
    ("transform", "low", "high"),
    [(t.RandomAffine(30), -30, 30), (t.RandomAffine((5, 25)), 5, 25), (t.RandomRotation((5, 25)), -25, -5)],
)
def test_angles_are_uniform_in_their_range(transform, low, high):
    found = np.sort(angles(apply(transform, ramp(4000))))
    assert low - 0.01 < found[0] < low + 0.3 and high - 0.3 < found[-1] < high + 0.01
    uniform = np.linspace(low, high, len(found))
    assert np.abs(found - uniform).max() < 1.95 / math.sqrt(4000) * (high - low)  # Kolmogorov-Smirnov, p = 0.001


def test_zooms_are_uniform_in_their_range():
    zoomed = apply(t.RandomZoom(0.25), ramp(4000))
    slope = np.diff(zoomed[:, 10, 8:12, 0].astype(np.float64), axis=1).mean(axis=1) * 19
    found = np.sort(1 / slope)
    assert 0.7499 < found[0] < 0.76 and 1.24 < found[-1] < 1.2501
    assert np.abs(found - np.linspace(0.75, 1.25, 4000)).max() < 1.95 / math.sqrt(4000) * 0.5
