"""Against captum and pytorch-grad-cam on a trained net and real faces."""

import numpy as np
import pytest

import minicnn as mc

vis = mc.vis


def distance(found, wanted):
    """As a share of the peak."""
    assert found.shape == wanted.shape and found.dtype == np.float32
    return np.abs(found - wanted).max() / np.abs(wanted).max()


MAPS = {
    "saliency_signed": vis.saliency,
    "saliency_abs": lambda model, x: vis.saliency(model, x, absolute=True),
    "guided_backprop": vis.guided_backprop,
    "deconvolution": vis.deconvnet,
    "captum_gradcam_raw_relu6": lambda model, x: vis.grad_cam(model, x, 0, layer="6", relu=False),
    "captum_gradcam_relu_relu6": lambda model, x: vis.grad_cam(model, x, 0, layer="6"),
    "pgc_gradcam_raw_relu6": lambda model, x: vis.grad_cam(model, x, relu=False),
    "pgc_gradcam_final_relu6": lambda model, x: vis.grad_cam(model, x, upsample=True, normalize=True),
}


@pytest.mark.parametrize("name", MAPS)
def test_maps(references, name):
    assert distance(MAPS[name](references.model, references.x), getattr(references, name)) < 1e-4


def test_input_x_gradient(references):
    wanted = references.x * references.saliency_signed
    assert distance(vis.input_x_gradient(references.model, references.x), wanted) < 1e-4


def test_integrated_gradients(references):
    found, error = vis.integrated_gradients(references.model, references.x, return_error=True)
    assert distance(found, references.integrated_gradients) < 1e-2
    gained = references.logit - references.logit_baseline0
    np.testing.assert_allclose(error, found.sum(axis=(1, 2, 3)) - gained, atol=1e-3)


def test_integrated_gradients_in_float64(references):
    """Against the same sum of gradients by PyTorch."""
    torch = pytest.importorskip("torch")
    state = {name: torch.tensor(array).double() for name, array in
             references.model.state_dict(layout="torch").items() if not name.endswith("num_batches_tracked")}
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 5, padding=2), torch.nn.ReLU(), torch.nn.BatchNorm2d(16), torch.nn.MaxPool2d(2),
        torch.nn.Identity(), torch.nn.Conv2d(16, 32, 5, padding=2), torch.nn.ReLU(), torch.nn.BatchNorm2d(32),
        torch.nn.MaxPool2d(2), torch.nn.Identity(), torch.nn.Flatten(), torch.nn.Linear(8192, 128), torch.nn.ReLU(),
        torch.nn.Linear(128, 1)).double().eval()  # fmt: skip
    net.load_state_dict(state, strict=False)
    nodes, weights = np.polynomial.legendre.leggauss(50)
    x = torch.tensor(references.x).double().permute(0, 3, 1, 2)
    total = torch.zeros_like(x)
    for node, weight in zip(nodes, weights, strict=True):
        at = ((node + 1) / 2 * x).requires_grad_()
        total += weight / 2 * torch.autograd.grad(net(at).sum(), at)[0]
    wanted = (x * total).permute(0, 2, 3, 1).numpy()
    model = mc.models.create("smile")
    model.load_state_dict(references.model.state_dict())
    found = vis.integrated_gradients(model.to(np.float64), references.x)
    assert found.dtype == np.float64
    assert np.abs(found - wanted).max() < 1e-9 * np.abs(wanted).max()
    assert np.abs(references.integrated_gradients - wanted).max() < 1e-2 * np.abs(wanted).max()
