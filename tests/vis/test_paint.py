"""Colours of maps: against CIE's lightness, computed here of sRGB by its definition, and by hand."""

import io

import numpy as np
import pytest
from PIL import Image

from minicnn.vis import paint


def lightness(table):
    """CIE 1976 L* of sRGB bytes, 0 to 100 (IEC 61966-2-1 and CIE 15)."""
    coded = table / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126729, 0.7151522, 0.0721750]
    return np.where(y > 216 / 24389, 116 * np.cbrt(y) - 16, y * 24389 / 27)


def test_the_table_of_maps_without_a_sign_only_gets_lighter():
    found = lightness(paint.UNSIGNED)
    assert (np.diff(found) > -0.2).all() and found[0] < 5 and found[-1] > 93
    assert np.diff(found[::8]).min() > 0.5  # no flat stretch in which values could not be told apart


def test_the_two_signs_look_equally_strong():
    found = lightness(paint.SIGNED)
    assert np.abs(found - found[::-1]).max() < 4
    assert (np.diff(found[:127]) > -0.2).all() and found[127] > 94 and found[0] < 35


def test_blue_is_below_zero_and_orange_above():
    low, zero, high = paint.paint(np.array([[-1.0, 0.0, 1.0]]))[0].astype(int)
    assert low[2] > low[0] + 50 and high[0] > high[2] + 50 and np.ptp(zero) < 5


@pytest.mark.parametrize(("values", "low", "high"), [
    ([[0.0, 3.0]], 0, 3), ([[-1.0, 3.0]], -3, 3), ([[-4.0, 3.0]], -4, 4), ([[0.0, 0.0]], 0, 0),
])  # fmt: skip
def test_the_scale_is_symmetric_where_there_is_a_sign(values, low, high):
    scale = paint.scale_of(np.array(values))
    assert scale[:2] == pytest.approx((low, high), rel=0.02)


def test_one_wild_pixel_does_not_hide_the_rest_but_alone_it_is_shown():
    values = np.ones((20, 20))
    values[0, 0] = 15.0
    assert paint.scale_of(values).high < 2 and paint.scale_of(values).clipped
    values = np.zeros((20, 20))
    values[0, 0] = 1e6
    assert paint.scale_of(values) == (0, 1e6, False)


def test_attributions_are_summed_over_channels():
    values = np.random.default_rng(0).normal(size=(4, 5, 3))
    np.testing.assert_allclose(paint.as_map(values), values[..., 0] + values[..., 1] + values[..., 2])


def test_a_map_may_be_a_region():
    region = np.eye(4, dtype=bool)
    assert (paint.clear(region) == paint.clear(region.astype(float))).all()


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((0, 4)), np.full((2, 2), np.nan), np.full((2, 2), np.inf)])
def test_what_is_no_map_is_refused(bad):
    with pytest.raises(ValueError, match="map"):
        paint.paint(bad)


def test_the_picture_shows_through_where_a_map_says_nothing():
    picture = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    values = np.zeros((6, 6))
    values[2, 3] = 5.0
    shown = paint.overlay(picture, values, opacity=1.0)
    grey = np.rint(picture @ [0.299, 0.587, 0.114])
    assert (shown[2, 3] == paint.UNSIGNED[-1]).all()
    assert (np.delete(shown.reshape(36, 3), 15, axis=0) == np.delete(grey.reshape(36, 1), 15, axis=0)).all()
    assert (paint.overlay(picture, values, opacity=0.0) == grey[..., None]).all()


@pytest.mark.parametrize(("picture", "values", "opacity", "said"), [
    (np.zeros((4, 4, 3)), np.zeros((4, 5)), 0.5, r"\(4, 5\), expected that of the picture, \(4, 4\)"),
    (np.zeros((4, 4, 3)), np.zeros((2, 2)), 0.5, "upsample=True"),
    (np.zeros((4, 4, 3)), np.zeros((4, 4)), 1.5, "opacity"),
    (np.zeros((4, 4, 2)), np.zeros((4, 4)), 0.5, "picture"),
    (np.full((4, 4, 3), 2.0), np.zeros((4, 4)), 0.5, "0 to 1"),
    (np.full((4, 4, 3), np.nan), np.zeros((4, 4)), 0.5, "0 to 1"),
])  # fmt: skip
def test_overlays_say_what_does_not_fit(picture, values, opacity, said):
    with pytest.raises(ValueError, match=said):
        paint.overlay(picture, values, opacity)


def test_a_sheet_has_its_tiles_row_by_row():
    tiles = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 3), np.uint8)
    whole = paint.sheet(tiles, columns=2, gap=1)
    assert whole.shape == (8, 7, 3)
    assert [whole[0, 0, 0], whole[0, 4, 0], whole[3, 0, 0], whole[3, 4, 0], whole[6, 0, 0]] == [0, 1, 2, 3, 4]
    assert whole[7, 6, 0] == 128 and whole[2, 0, 0] == 128


def test_feature_maps_come_strongest_first_on_one_scale():
    output = np.zeros((3, 3, 4))
    output[..., 2], output[0, 0, 0], output[1, 1, 3] = 0.5, -4.0, 1.0
    picture, channels = paint.feature_maps(output, count=3)
    assert channels.tolist() == [0, 3, 2] and picture.shape == (7, 7, 3)
    scale = paint.scale_of(output[..., [0, 3, 2]].reshape(9, 3))
    assert (picture[4:7, 0:3] == paint.paint(np.array([[0.5]]), scale)).all() and scale.low < -2


def test_enlarging_keeps_whole_pixels():
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    large = paint.enlarge(picture, 12)
    assert large.shape == (15, 21, 3) and (large[1::3, 1::3] == picture).all()
    assert paint.enlarge(picture, 12, smooth=True).shape == (15, 21, 3)
    assert (paint.enlarge(picture, 3) == picture).all()


def test_a_bar_and_its_file():
    values = np.linspace(-1, 2, 64 * 64).reshape(64, 64)
    picture = paint.with_bar(paint.paint(values), paint.scale_of(values))
    with Image.open(io.BytesIO(paint.png(picture))) as image:
        again = np.asarray(image)
    assert (again == picture).all() and (again[:, :64] == paint.paint(values)).all()
    assert (again[8, 75] == paint.SIGNED[-1]).all() and (again[-9, 75] == paint.SIGNED[0]).all()
