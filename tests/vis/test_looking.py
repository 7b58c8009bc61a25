import gc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn
from minicnn.vis.layers import last_convolution
from minicnn.vis.looking import Looking

vis, F = mc.vis, nn.functional
METHODS = [vis.saliency, vis.input_x_gradient, vis.smooth_grad, vis.var_grad, vis.integrated_gradients,
           vis.guided_backprop, vis.deconvnet, vis.guided_grad_cam, vis.grad_cam, vis.grad_cam_plus_plus, vis.xgrad_cam,
           vis.layer_cam, vis.hires_cam, vis.score_cam, vis.ablation_cam, vis.eigen_cam]  # fmt: skip


def named(method):
    return method.__name__


def small(*end):
    mc.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5),
                         nn.Flatten(), nn.Linear(36, 5), *end)  # fmt: skip


@pytest.fixture
def x():
    return np.random.default_rng(0).random((2, 8, 8, 3), np.float32)


def state_of(model):
    """All that a look could leave behind."""
    return ([m.training for m in model.modules()], [(len(m._forward_hooks), len(m._forward_pre_hooks))
            for m in model.modules()], [(p.requires_grad, None if p.grad is None else p.grad.numpy().tobytes())
            for p in model.parameters()], [v.tobytes() for v in model.state_dict().values()])  # fmt: skip


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_everything_is_left_as_it_was(method, x):
    model = small()
    F.cross_entropy(model(mc.tensor(x)), mc.tensor(np.array([0, 1]))).backward()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    model[6].bias.grad = None
    before = state_of(model)
    with mc.no_grad():
        first = method(model, x, 1)
    assert state_of(model) == before
    np.testing.assert_array_equal(method(model, mc.tensor(x), 1), first)
    assert first.dtype == np.float32 and len(first) == 2 and first.flags.writeable and np.isfinite(first).all()
    assert mc.tape.is_grad_enabled() and nn.fuse.fusion_enabled()


class Fails(nn.Module):
    """Runs so many times, then no more."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def forward(self, x):
        self.times -= 1
        if self.times < 0:
            raise RuntimeError("enough")
        return x


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_after_an_error_too(method, x):
    for times in (0, 1):
        model = small(Fails(times))
        model[1].eval()
        before = state_of(model)
        if method is vis.eigen_cam and times:
            continue  # takes no more than that
        with pytest.raises(RuntimeError, match="enough"):
            for _ in range(2):
                method(model, x, 1, batch_size=1)
        assert state_of(model) == before
        assert mc.tape.is_grad_enabled() and nn.fuse.fusion_enabled()
        layer = nn.ReLU()
        np.testing.assert_array_equal(vis.saliency(layer, np.array([[-1.0, 2.0]]), 1), [[0, 1]])  # no rule is left


def test_all_parameters_frozen(x):
    model = small()
    wanted = vis.saliency(model, x), vis.grad_cam(model, x)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    np.testing.assert_array_equal(vis.saliency(model, x), wanted[0])
    np.testing.assert_array_equal(vis.grad_cam(model, x), wanted[1])


def test_300_calls_leave_memory_as_it_was(x):
    model = small()
    model.eval()

    def call():
        for method in METHODS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # empty maps
                method(model, x, 1)

    call()
    gc.collect()
    tensors = sum(type(o) is mc.Tensor for o in gc.get_objects())
    in_use = mc.memory.stats()["in_use"]
    gc.disable()
    try:
        for _ in range(19):
            call()
        assert sum(type(o) is mc.Tensor for o in gc.get_objects()) == tensors  # without any help of the collector
    finally:
        gc.enable()
    assert mc.memory.stats()["in_use"] == in_use


# ------------------------------------------------------------------------------------------------------------ targets


def test_targets(x):
    model = small()
    scores = vis.activations(model, x, "6")["6"]
    of = [vis.saliency(model, x, k) for k in range(5)]
    highest = scores.argmax(axis=1)
    np.testing.assert_array_equal(vis.saliency(model, x), np.stack([of[k][i] for i, k in enumerate(highest)]))
    for each in ([4, 2], np.array([4, 2], np.uint8), mc.tensor([4, 2])):
        np.testing.assert_array_equal(vis.saliency(model, x, each), np.stack([of[4][0], of[2][1]]))
    found = vis.saliency(model, x, lambda outputs: outputs[:, 3] - outputs[:, 0] * 2)
    np.testing.assert_allclose(found, of[3] - 2 * of[0], atol=1e-6)


def test_a_single_output_with_or_without_an_axis(x):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 1))

    class Flat(nn.Module):
        def forward(self, x):
            return model(x).reshape(-1)

    wanted = np.broadcast_to(model[1].weight.numpy().reshape(1, 8, 8, 3), x.shape)
    for target in (None, 0, [0, 0]):
        np.testing.assert_array_equal(vis.saliency(model, x, target), wanted)
        np.testing.assert_array_equal(vis.saliency(Flat(), x, target), wanted)


def test_a_region():
    model = nn.Conv2d(3, 2, 1, bias=False)
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2:] = True
    found = vis.saliency(model, np.ones((2, 4, 5, 3)), vis.region(mask, 1))
    np.testing.assert_allclose(found[1], mask[..., None] * model.weight.numpy()[0, 0, :, 1], atol=1e-6)
    with pytest.raises(ValueError, match="region: the model's outputs have shape"):
        vis.saliency(model, np.ones((2, 5, 5, 3)), vis.region(mask, 1))
    with pytest.raises(ValueError, match="more than 2 classes"):
        vis.saliency(model, np.ones((2, 4, 5, 3)), vis.region(mask, 2))
    for wrong in (mask[0], np.zeros((4, 5))):
        with pytest.raises(ValueError, match="region: mask must be"):
            vis.region(wrong, 0)
    with pytest.raises(ValueError, match="region: channel must be"):
        vis.region(mask, -1)


class Ends(nn.Module):
    """A linear model with a function at its end."""

    def __init__(self, body, end):
        super().__init__()
        self.body, self.end = body, end

    def forward(self, x):
        return self.end(self.body(x))


@pytest.mark.parametrize("end", [
    nn.Softmax(), nn.LogSoftmax(), nn.Sigmoid(), nn.Sequential(nn.Softmax(), nn.Dropout(), nn.Identity()),
], ids=["softmax", "log_softmax", "sigmoid", "nested"])  # fmt: skip
def test_a_squashing_layer_at_the_end_is_looked_through(end, x):
    body = small()
    np.testing.assert_array_equal(vis.saliency(nn.Sequential(body, end), x, 1), vis.saliency(body, x, 1))
    wanted = vis.integrated_gradients(body, x, 1, steps=4, return_error=True)
    found = vis.integrated_gradients(nn.Sequential(body, end), x, 1, steps=4, return_error=True)
    np.testing.assert_array_equal(found[1], wanted[1])


@pytest.mark.parametrize("end", [F.softmax, F.log_softmax, F.sigmoid, mc.Tensor.sigmoid, mc.Tensor.softmax], ids=named)
def test_and_so_is_a_function(end, x):
    body = small()
    np.testing.assert_array_equal(vis.saliency(Ends(body, end), x, 1), vis.saliency(body, x, 1))
    after = Ends(body, lambda logits: end(logits) * 1)  # but what is further inside is not
    np.testing.assert_array_equal(vis.saliency(after, x, 1), vis.saliency(body, x, 1))
    after = Ends(body, lambda logits: end(logits)[:, 1])  # a part is not
    with pytest.warns(UserWarning, match="saliency: .* values of a softmax or sigmoid, picked or changed"):
        found = vis.saliency(after, x, 0)
    assert np.abs(found - vis.saliency(body, x, 1)).max() > 1e-3


@pytest.mark.parametrize("shape", [lambda p: p[:, 0], lambda p: p.squeeze(1), lambda p: p.reshape((-1,)),
                                   lambda p: p.reshape((-1, 1))], ids=["index", "squeeze", "reshape", "same"])
def test_a_detectors_sigmoid_in_another_shape_is_looked_through(shape, x):
    body = nn.Sequential(nn.Flatten(), nn.Linear(192, 1))
    model = Ends(body, lambda logits: shape(F.sigmoid(logits)))
    np.testing.assert_array_equal(vis.saliency(model, x), vis.saliency(body, x))
    target = lambda outputs: outputs.reshape((-1,))  # noqa: E731
    np.testing.assert_array_equal(vis.saliency(model, x, target), vis.saliency(body, x))
    wanted, found = (vis.deletion_curve(net, x, x, steps=2).scores for net in (body, model))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_a_gate_within_the_model_is_no_reason_to_warn(x):
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.gate = nn.Linear(192, 5), nn.Linear(192, 5)

        def forward(self, x):
            x = x.flatten(1)
            return self.fc(x) * F.sigmoid(self.gate(x))

    assert vis.saliency(Gated(), x, 1).any()


def test_threads_that_look_into_one_model_wait_for_each_other(x):
    model = small()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    methods = [lambda: vis.saliency(model, x, 1), lambda: vis.guided_backprop(model, x, 1),
               lambda: vis.activations(model, x)["6"], lambda: vis.grad_cam(model, x, 1, relu=False)]
    wanted = [method() for method in methods]
    with ThreadPoolExecutor(4) as pool:
        for rounds in [[pool.submit(method) for method in methods] for _ in range(20)]:
            for done, right in zip(rounds, wanted, strict=True):
                np.testing.assert_array_equal(done.result(), right)
    assert model.training and not any(module._forward_hooks for module in model.modules())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_sigmoid_that_would_be_fused(x):
    body = nn.Sequential(nn.Conv2d(3, 1, 8), nn.BatchNorm2d(1))
    target = lambda outputs: outputs.reshape(-1)  # noqa: E731
    np.testing.assert_allclose(vis.saliency(nn.Sequential(*body, nn.Sigmoid()), x, target),
                               vis.saliency(body, x, target), atol=1e-7)


# -------------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"model": len}, TypeError, "model must be a Module, got builtin"),
    ({"x": [[1.0]]}, TypeError, "x must be a Tensor or an array, got list"),
    ({"x": np.ones((2, 8, 8, 3), np.uint8)}, TypeError, "x must be float32 or float64, got uint8; .* divided by 255"),
    ({"x": np.ones((2, 8, 8, 3), np.float16)}, TypeError, "x must be float32 or float64, got float16"),
    ({"x": np.ones(3)}, ValueError, r"x must be a batch, .* got shape \(3,\); x\[None\] is a batch"),
    ({"x": np.ones((0, 8, 8, 3))}, ValueError, "x is empty"),
    ({"x": np.full((2, 8, 8, 3), np.nan)}, ValueError, "x holds values that are infinite or not a number, .* 0, 1"),
    ({"target": 5}, ValueError, "target 5 is out of range, the model has 5 outputs, counted from 0"),
    ({"target": -1}, ValueError, "target -1 is below 0"),
    ({"target": [1]}, ValueError, r"target has shape \(1,\), expected \(2,\)"),
    ({"target": 1.0}, TypeError, "target must be None, a class"),
    ({"target": True}, TypeError, "target must be None, a class"),
    ({"target": "smile"}, TypeError, "target must be None, a class"),
    ({"target": lambda outputs: outputs}, ValueError, r"the target function gave float32 \(2, 5\), expected"),
    ({"target": lambda outputs: 3.0}, ValueError, "the target function gave a float"),
    ({"target": lambda outputs: mc.ones(2)}, ValueError, "the target doesn't depend on x"),
    ({"batch_size": 0}, ValueError, "batch_size must be"),
    ({"model": nn.Conv2d(3, 4, 3)}, ValueError, "the model's outputs have shape .* expected .* `region`"),
    ({"model": Ends(nn.Flatten(), lambda x: (x, x))}, TypeError, "the model returns a tuple, not a Tensor"),
])  # fmt: skip
def test_wrong_arguments(change, error, message, x):
    arguments = {"model": small(), "x": x} | change
    with pytest.raises(error, match=f"saliency: {message}"):
        vis.saliency(**arguments)


def test_a_picture_that_is_no_batch():
    model = mc.models.create("smile")
    with pytest.raises(ValueError, match=r"grad_cam: x must be a batch, .* got shape \(64, 64, 3\)"):
        vis.grad_cam(model, np.ones((64, 64, 3)))


def test_a_model_of_several_outputs(x):
    body = small()
    two = Ends(body, lambda logits: {"first": logits, "second": -logits})
    np.testing.assert_array_equal(vis.saliency(two, x, lambda outputs: outputs["first"][:, 2]),
                                  vis.saliency(body, x, 2))


def test_dtypes(x):
    model = small()
    assert vis.saliency(model, x.astype(np.float64)).dtype == np.float32
    assert vis.saliency(model.to(np.float64), x).dtype == np.float64
    assert vis.grad_cam(model, mc.tensor(x), relu=False).dtype == np.float64
    assert vis.saliency(nn.ReLU(), np.ones((2, 3))).dtype == np.float64  # without parameters: that of x


# ------------------------------------------------------------------------------------------------ the last convolution


class SharedRelu(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.relu, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.relu(self.second(self.relu(self.first(x)))).mean(dim=(1, 2)))


@pytest.mark.parametrize(("model", "layer"), [
    (small(), "2"),  # conv - norm - relu
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU()), "1"),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.ReLU()), "0"),  # the ReLU is of another size
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1)), "1"),  # 1x1: a head
    (nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.MaxPool2d(2)), "0"),
    (SharedRelu(), "second"),  # which output of relu is meant?
    (Ends(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), F.relu), "body"),
    (nn.Sequential(nn.BasicBlock(3, 4), nn.Flatten()), "0"),
    (nn.Sequential(nn.LocallyConnected2d(3, 4, 3, (8, 8)), nn.SiLU()), "1"),
], ids=["norm first", "relu first", "pool between", "head", "nested", "shared", "function", "block", "local"])
def test_the_last_convolution(model, layer, x):
    with Looking("test", model, x) as look:
        assert last_convolution(look) == layer


@pytest.mark.parametrize(("name", "layer"), [("smile", "6"), ("resnet18", "layer4"), ("vgg11", "features.19"),
                                             ("googlenet", "inception5b"), ("mobilenet_v2", "features")])  # fmt: skip
def test_the_last_convolution_of_the_zoo(name, layer, monkeypatch):
    monkeypatch.setattr(nn.init, "normal_", lambda tensor, *given: tensor)  # takes time
    monkeypatch.setattr(nn.init, "uniform_", lambda tensor, *given: tensor)
    with Looking("test", mc.models.create(name), np.ones((1, 64, 64, 3))) as look:
        assert last_convolution(look) == layer
