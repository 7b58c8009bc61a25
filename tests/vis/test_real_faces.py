"""Do maps explain, do painted pictures show what they say? On a trained net and real faces."""

import os
from pathlib import Path

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn, vis
from minicnn.nn import functional as F

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:grad_cam", "ignore:randomization_check")]  # zeros


@pytest.fixture(scope="module")
def faces():
    """The 150 test faces."""
    return mc.data.load_split(Path(os.environ["MINICNN_DATA"]) / "smiles", "test").arrays[0]


def blind_maps(x):
    """Maps of the picture, or of nothing, that know no model: chance, the middle of the picture, its edges."""
    from scipy.ndimage import sobel

    place = np.linspace(-2, 2, 64)
    grey = x.mean(axis=-1, dtype=np.float64)
    return {"chance": np.random.default_rng(0).random(x.shape[:3]),
            "middle": np.broadcast_to(np.exp(-(place[:, None] ** 2 + place**2) / 2), x.shape[:3]),
            "edges": np.hypot(sobel(grey, axis=1), sobel(grey, axis=2))}  # fmt: skip


def answer(sign):
    """The logit and the probability of "smiling" (1) or "not smiling" (-1), as targets."""
    return lambda outputs: outputs[:, 0] * sign, lambda outputs: F.sigmoid(outputs[:, 0] * sign)


def test_maps_that_explain_find_the_pixels_that_count_sooner(references, faces):
    """The mean area under the deletion curves of the class named, over all faces, pixels becoming the mean colour."""
    model, areas = references.model, {}
    with nn.evaluating(model):
        smiling = model(mc.tensor(faces)).numpy()[:, 0] > 0
    for sign, x in ((1.0, faces[smiling]), (-1.0, faces[~smiling])):
        logit, probability = answer(sign)
        fill = x.mean(axis=(1, 2), keepdims=True)
        maps = {"grad_cam": vis.grad_cam(model, x, logit),
                "integrated": vis.integrated_gradients(model, x, logit, steps=16, baseline=fill),
                "occlusion": vis.occlusion(model, x, logit, 8, 8, "mean"), **blind_maps(x)}  # fmt: skip
        for name, values in maps.items():
            curve = vis.deletion_curve(model, x, values, probability, steps=16, baseline="mean")
            areas.setdefault(name, []).extend(curve.areas)
    means = {name: float(np.mean(values)) for name, values in areas.items()}
    blind = min(means[name] for name in ("chance", "middle", "edges"))
    assert all(means[name] < blind for name in ("grad_cam", "integrated", "occlusion")), means


def test_the_randomisation_check_tells_guided_backprop_from_grad_cam(references, faces):
    guided, cam = (vis.randomization_check(references.model, faces[:30], method)
                   for method in (vis.guided_backprop, vis.grad_cam))
    assert not guided.passed and (guided.rank_correlation.mean(axis=1)[:4] > 0.5).all(), guided.rank_correlation
    assert cam.passed and (cam.rank_correlation.mean(axis=1) < 0.25).all(), cam.rank_correlation


@pytest.mark.parametrize("options", [{}, {"tv": 300.0, "jitter": 8.0, "rotate": 10.0, "scale": 0.1}])
def test_a_painted_smile_beats_real_ones_and_stays_one_when_it_moves(references, faces, options):
    painted = vis.maximize_activation(references.model, colours="grey", max_iter=128, **options)
    moves = [(4, 0), (-4, 0), (0, 4), (0, -4), (4, 4), (-4, -4)]
    moved = [np.roll(painted.pictures[0], move, (0, 1)) for move in moves]
    with nn.evaluating(references.model):
        real, after = (references.model(mc.tensor(x)).numpy()[:, 0] for x in (faces, np.stack(moved)))
    assert painted.scores[0] > np.quantile(real, 0.95) and (after > 0).all()
