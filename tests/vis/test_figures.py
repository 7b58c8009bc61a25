"""Figures: what is in them, and that they can be drawn and leave nothing behind."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from minicnn.vis import figures, paint

RNG = np.random.default_rng(0)
PICTURE = RNG.random((8, 8, 3)).astype(np.float32)


def drawn(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=50)
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


def test_each_map_has_its_colour_bar_and_its_own_scale():
    maps = {"signed": RNG.normal(size=(8, 8, 3)), "not": np.eye(8)}
    figure = figures.overlay_figure(PICTURE, maps, "costs $5 and $6")
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    low, high = bars[0].get_ylim()
    assert len(bars) == 2 and low == -high and bars[1].get_ylim() == (0, 1)
    assert {"the picture", "signed", "not", r"costs \$5 and \$6"} <= set(texts(figure))
    assert drawn(figure).std() > 0


def test_overlays_are_those_of_paint():
    values = RNG.normal(size=(8, 8))
    figure = figures.overlay_figure(PICTURE, {"map": values}, opacity=0.5)
    assert (figure.axes[1].images[0].get_array() == paint.overlay(PICTURE, values, 0.5)).all()


def test_pictures_in_rows_and_methods_in_columns():
    maps = {"a": RNG.random((3, 8, 8)), "b": -RNG.random((3, 8, 8))}
    figure = figures.comparison_figure(np.stack([PICTURE] * 3), maps, ["one", "two", "three"])
    assert len([axes for axes in figure.axes if axes.images]) == 9
    assert {"one", "two", "three", "a", "b"} <= set(texts(figure))
    with pytest.raises(ValueError, match="a caption and maps for each of the 1 pictures"):
        figures.comparison_figure(PICTURE[None], {"a": RNG.random((2, 8, 8))}, ["one"])


@pytest.mark.parametrize("shape", [(5, 4, 7), (12,)])
def test_feature_maps_of_layers_with_and_without_places(shape):
    figure = figures.feature_maps_figure(RNG.normal(size=shape), "a layer", count=6)
    assert f"a layer\n6 of {shape[-1]} channels, the strongest first" in texts(figure)
    drawn(figure)


@pytest.mark.parametrize("inputs", [1, 3, 20])
def test_filters_as_pictures_or_slice_by_slice(inputs):
    filters = RNG.normal(size=(10, 3, 3, inputs))
    figure = figures.filters_figure(filters, "filters", count=8)
    assert any(text.endswith(f"{1 if inputs == 20 else 8} of 10 filters, the largest first") for text in texts(figure))
    drawn(figure)


def test_a_filter_on_colours_is_the_picture_that_it_looks_for():
    filters = np.zeros((1, 2, 2, 3))
    filters[0, 0, 0, 0], filters[0, 1, 1, 2] = 1.0, -1.0  # red at the top left, no blue at the bottom right
    shown = np.asarray(figures.filters_figure(filters).axes[0].images[0].get_array())
    assert shown[0, 0].tolist() == [255, 128, 128] and shown[-1, -1].tolist() == [128, 128, 0]


def test_curves_tell_their_areas():
    shares = np.linspace(0, 1, 5)
    figure = figures.curves_figure({"straight": (shares, 1 - shares), "none": (shares, 0 * shares)})
    assert {"straight: 0.500", "none: 0.000"} <= set(texts(figure))
    assert len({line.get_linestyle() for line in figure.axes[0].lines}) == 2  # not told apart by colour alone


def test_tiles_and_pairs():
    figure = figures.tiles_figure([PICTURE, PICTURE[:4]], ["a\nb", "c"], "tiles")
    assert {"a\nb", "c"} <= set(texts(figure))
    drawn(figure)
    assert {"before", "after"} <= set(texts(figures.before_after_figure(PICTURE, 1 - PICTURE)))
    with pytest.raises(ValueError, match="a caption for each picture"):
        figures.tiles_figure([PICTURE], [])


def test_no_state_is_left_in_pyplot():
    drawn(figures.overlay_figure(PICTURE, {"map": np.eye(8)}))
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
