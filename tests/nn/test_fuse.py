"""Fused runs of layers against the same layers one by one, whose values other tests hold against PyTorch."""

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn
from minicnn.nn.fuse import fusion_enabled, run
from minicnn.ops.conv import convolve_depthwise

ACTIVATIONS = [nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh]


class Own(nn.ReLU):
    """A subclass may do something else."""

    def forward(self, x):
        return super().forward(x) * 2


def conv() -> nn.Module:
    return nn.Conv2d(3, 5, 3, padding=1)


def norm() -> nn.Module:
    return nn.BatchNorm2d(5)


RUNS: dict[str, list[Callable[[], nn.Module]]] = {
    "conv_relu": [conv, nn.ReLU],
    "conv_relu6": [conv, nn.ReLU6],
    "conv_gelu": [conv, nn.GELU],
    "conv_relu_pool": [conv, nn.ReLU, lambda: nn.MaxPool2d(2)],
    "conv_relu6_overlapping_pool": [conv, nn.ReLU6, lambda: nn.MaxPool2d(3, 2, 1)],
    "conv_relu_pool_with_indices": [conv, nn.ReLU, lambda: nn.MaxPool2d(2, return_indices=True)],
    "conv_relu_norm": [conv, nn.ReLU, norm],
    "conv_relu6_norm": [conv, nn.ReLU6, norm],
    "conv_relu_norm_pool_dropout": [conv, nn.ReLU, norm, lambda: nn.MaxPool2d(2), lambda: nn.Dropout(0.3)],
    "conv_relu_norm_relu_pool": [conv, nn.ReLU, norm, nn.ReLU, lambda: nn.MaxPool2d(2)],
    "conv_norm": [conv, norm],
    "conv_norm_pool": [conv, norm, lambda: nn.MaxPool2d(2)],
    "conv_norm_dropout": [conv, norm, lambda: nn.Dropout(0.3)],
    "conv_norm_gelu_pool_dropout": [conv, norm, nn.GELU, lambda: nn.MaxPool2d((2, 3)), lambda: nn.Dropout(0.5)],
    "conv_norm_relu_pool_of_all": [conv, norm, nn.ReLU, lambda: nn.MaxPool2d(1), lambda: nn.Dropout(1.0)],
    "conv_norm_relu_padded_pool": [conv, norm, nn.ReLU, lambda: nn.MaxPool2d(2, padding=1)],
    "conv_norm_own": [conv, norm, Own],
    "norm_twice": [conv, norm, norm, nn.ReLU],
    "not_affine": [conv, lambda: nn.BatchNorm2d(5, affine=False), nn.ReLU, lambda: nn.MaxPool2d(2)],
    "not_tracked": [conv, lambda: nn.BatchNorm2d(5, track_running_stats=False), nn.ReLU],
    "without_bias": [lambda: nn.Conv2d(3, 5, 3, stride=2, bias=False), norm, nn.ReLU],
    "depthwise": [lambda: nn.Conv2d(3, 3, 3, groups=3, padding=1), lambda: nn.BatchNorm2d(3), nn.ReLU6],
    "wide_depthwise": [lambda: nn.Conv2d(3, 20, 1, bias=False), lambda: nn.BatchNorm2d(20), nn.ReLU6,
                       lambda: nn.Conv2d(20, 20, 3, padding=1, groups=20), lambda: nn.BatchNorm2d(20), nn.ReLU6,
                       lambda: nn.Conv2d(20, 4, 1), lambda: nn.BatchNorm2d(4)],
    "wide_depthwise_stride": [lambda: nn.Conv2d(3, 6, 3, 2), lambda: nn.Conv2d(6, 6, (3, 2), 2, padding=1, groups=6),
                              nn.ReLU],
    "wide_depthwise_gelu": [lambda: nn.Conv2d(3, 6, 1), nn.GELU, lambda: nn.Conv2d(6, 6, 3, groups=6), nn.GELU],
    "two_rows": [conv, norm, nn.ReLU, lambda: nn.Conv2d(5, 4, 1), lambda: nn.BatchNorm2d(4), nn.SiLU],
    **{f"norm_{kind.__name__}": [conv, norm, kind] for kind in ACTIVATIONS},
}  # fmt: skip


def model(layers: list[Callable[[], nn.Module]], dtype: str) -> nn.Module:
    mc.manual_seed(3)
    made = nn.Sequential(*[make() for make in layers]).to(dtype)
    rng = np.random.default_rng(5)
    with mc.no_grad():  # scales of either sign: the largest of a window may have the smallest x
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d) and module.affine:
                module.weight.copy_(rng.normal(size=module.num_features))
                module.bias.copy_(rng.normal(size=module.num_features))
            if isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
                module.running_mean.copy_(rng.normal(size=module.num_features))
                module.running_var.copy_(rng.random(module.num_features) + 0.5)
    return made


def picture(dtype: str, requires_grad: bool = True) -> mc.Tensor:
    values = np.random.default_rng(4).normal(size=(2, 7, 9, 3)).astype(dtype)
    return mc.tensor(values, requires_grad=requires_grad)


def everything(layers: list[Callable[[], nn.Module]], dtype: str, training: bool, fused: bool) -> dict[str, Any]:
    """Output, gradients and buffers."""
    net, x = model(layers, dtype).train(training), picture(dtype)
    with mc.fusion(fused):
        y = net(x)
        outputs = y if isinstance(y, tuple) else (y,)
        weights = np.random.default_rng(6).normal(size=outputs[0].shape).astype(dtype)
        (outputs[0] * mc.tensor(weights)).sum().backward()
    found = {f"output {i}": out.numpy() for i, out in enumerate(outputs)} | {"x": x.grad.numpy()}
    found |= {name: p.grad.numpy() for name, p in net.named_parameters()}
    return found | {name: b.numpy().copy() for name, b in net.named_buffers()}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RUNS)
def test_a_fused_run_gives_what_its_layers_give(name, dtype, training):
    fused, plain = (everything(RUNS[name], dtype, training, on) for on in (True, False))
    assert fused.keys() == plain.keys()
    tolerance = 3e-5 if dtype == "float32" else 1e-12
    for key, expected in plain.items():
        scale = max(1.0, np.abs(expected).max(initial=0))
        np.testing.assert_allclose(fused[key], expected, atol=tolerance * scale, rtol=0, err_msg=key)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RUNS)
def test_inference_gives_what_recorded_layers_give(name, dtype):
    """Also a second time, from the filters that were kept, and after they have changed."""
    net = model(RUNS[name], dtype).eval()
    for change in range(2):
        with mc.fusion(False):
            expected = net(picture(dtype))
        for _ in range(2):
            with mc.no_grad():
                got = net(picture(dtype))
            pairs = zip(*(out if isinstance(out, tuple) else (out,) for out in (got, expected)), strict=True)
            for a, b in pairs:
                tolerance = 2e-5 if dtype == "float32" else 1e-12
                np.testing.assert_allclose(a.numpy(), b.numpy(), atol=tolerance * max(1, abs(b.numpy()).max()), rtol=0)
        with mc.no_grad():
            for tensor in net.parameters() if change == 0 else net.buffers():
                tensor.copy_(tensor.numpy() * 1.5 + 0.1)


def kernels(net: Callable[[], Any]) -> list[str]:
    with mc.trace_kernels() as trace:
        net()
    return [entry.kernel for entry in trace]


def test_what_runs_in_training():
    net, x = model(RUNS["conv_relu_norm_pool_dropout"], "float32"), picture("float32")
    assert kernels(lambda: net(x)) == ["conv2d_forward", "batch_norm_stats", "batch_norm_follow", "batch_norm_pool"]
    y = net(x)
    names = kernels(lambda: y.sum().backward())
    assert "batch_norm_pool_grad" in names and "relu_grad" not in names and "dropout" not in names


def test_what_runs_for_inference():
    net, x = model([conv, norm, nn.ReLU, conv_of_5], "float32").eval(), picture("float32")
    with mc.no_grad():
        net(x)
        assert kernels(lambda: net(x)) == ["conv2d_forward", "conv2d_forward"]


def conv_of_5() -> nn.Module:
    return nn.Conv2d(5, 2, 1)


def test_a_depthwise_convolution_is_joined_with_the_one_before_it():
    net, x = model(RUNS["wide_depthwise"], "float32").eval(), picture("float32")
    with mc.no_grad():
        net(x)
        assert kernels(lambda: net(x)) == ["conv2d_depthwise", "conv2d_forward"]
        with mc.trace_kernels() as trace:
            net(x)
        assert [entry.algorithm for entry in trace] == ["joined", "direct"]
        seen: list[Any] = []
        hook = net[3].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
        assert "conv2d_depthwise" not in kernels(lambda: net(x)) and seen[0].shape == (2, 7, 9, 20)
        hook.remove()
        wide, deep = net[:3], net[3:5]
        shortcut = deep(wide(x))
        with mc.fusion(False):
            expected = run(x, *wide, *deep, add=shortcut)
        np.testing.assert_allclose(run(x, *wide, *deep, add=shortcut).numpy(), expected.numpy(), atol=1e-4)


def test_joined_filters_are_prepared_anew_when_either_changes():
    net, x = model(RUNS["wide_depthwise"], "float64").eval(), picture("float64")
    with mc.no_grad():
        for place in (3, 0, 4, 1):
            net(x)
            net[place].weight.copy_(net[place].weight.numpy() * 0.5)
            got = net(x).numpy()
            with mc.fusion(False):
                np.testing.assert_allclose(got, net(x).numpy(), atol=1e-12)


def test_joined_convolutions_that_do_not_fit_are_refused():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(5, 5, 3, groups=5)).eval()
    with mc.no_grad(), pytest.raises(ValueError, match="4 channels"):
        net(picture("float32"))
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 9, groups=4)).eval()
    with mc.no_grad(), pytest.raises(ValueError, match="larger than the padded input"):
        net(picture("float32"))


def test_joined_convolutions_have_no_gradient():
    x, w, filters = mc.ones(1, 4, 4, 3), mc.ones(1, 1, 3, 2, requires_grad=True), mc.ones(3, 3, 1, 2)
    with pytest.raises(RuntimeError, match="no gradient"):
        convolve_depthwise(x, w, None, (1, 0, 1), (0, 6), filters, None, (1, 1, 1, 2), (0, 6))


def test_a_layer_with_a_hook_runs_by_itself():
    net, x, seen = model(RUNS["conv_norm_gelu_pool_dropout"], "float32"), picture("float32"), []
    net[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    assert "batch_norm_apply" in kernels(lambda: net(x)) and seen[0].shape == (2, 7, 9, 5)
    assert "batch_norm_pool" not in kernels(lambda: net(x))


@pytest.mark.parametrize("inside", [False, True])
def test_a_hook_is_seen_and_gone_again_in_a_row_that_ran_before(inside):
    net, x = model(RUNS["conv_norm_gelu_pool_dropout"], "float32"), picture("float32")
    row = nn.Sequential(net) if inside else net
    fused = kernels(lambda: row(x))
    with net[1].register_forward_hook(lambda module, inputs, output: None):
        assert "batch_norm_pool" not in kernels(lambda: row(x))
    assert kernels(lambda: row(x)) == fused
    with net.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0,)):
        assert not np.ptp(quiet(row.eval(), x), axis=(0, 1, 2)).any()
    assert kernels(lambda: row.train()(x)) == fused


def test_a_forward_that_is_put_in_place_of_one_that_ran_before_runs(monkeypatch):
    net, x = model(RUNS["conv_relu"], "float32"), picture("float32")
    assert quiet(net, x).any()
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x * 0)
    assert not quiet(net, x).any()
    monkeypatch.undo()
    assert quiet(net, x).any()
    net[1].forward = lambda x: x * 0
    assert not quiet(net, x).any()
    del net[1].forward
    assert quiet(net, x).any()


def test_a_layer_that_is_replaced_while_its_row_runs_runs_once_more():
    """As it does where layers are called one by one: Sequential lists them before it calls the first."""
    def replace(module: nn.Module, inputs: Any, output: Any) -> None:
        if now:
            net[0][1] = nn.Sigmoid()

    net, x, now = nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), nn.Identity()), picture("float32"), []
    net[0][0].register_forward_hook(replace)
    expected = [quiet(net, x) for _ in range(3)][-1]
    now.append(True)
    np.testing.assert_array_equal(quiet(net, x), expected)
    assert (quiet(net, x) != expected).any()


def test_a_forward_that_is_put_on_a_kind_of_container_runs():
    class Block(nn.Sequential):
        pass

    net, x = nn.Sequential(Block(conv(), nn.ReLU()), nn.Identity()), picture("float32")
    assert all(quiet(net, x).any() for _ in range(3))
    Block.forward = lambda self, x: x * 0
    assert not quiet(net, x).any()


def test_a_module_that_counts_its_calls_changes_nothing_for_those_behind():
    class Count(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x

    net, x = nn.Sequential(Count(), nn.Sequential(conv(), nn.ReLU(), Count()), norm(), nn.ReLU()), picture("float32")
    with mc.fusion(False):
        expected = quiet(net.eval(), x)
    for _ in range(3):
        np.testing.assert_allclose(quiet(net, x), expected, atol=1e-6)
    assert net[0].calls == net[1][2].calls == 4


def test_a_network_that_ran_is_not_kept_alive():
    net, x = nn.Sequential(model(RUNS["conv_relu_norm_pool_dropout"], "float32"), nn.Identity()), picture("float32")
    for _ in range(3):
        net.train()(x)
        quiet(net.eval(), x)
        quiet(net, x)
        quiet(net, x)
    gone = weakref.ref(net[0][0])
    del net
    gc.collect()
    assert gone() is None


def test_a_copy_of_a_network_that_ran_is_a_network_of_its_own():
    net, x = model(RUNS["conv_relu_norm"], "float32").eval(), picture("float32")
    before = quiet(net, x)
    twin = copy.deepcopy(net)
    with mc.no_grad():
        twin[0].weight.fill_(0)
        twin[0].bias.fill_(0)
    assert not np.ptp(quiet(twin, x), axis=(0, 1, 2)).any()
    np.testing.assert_array_equal(quiet(net, x), before)


def test_nothing_is_fused_where_that_is_forbidden():
    net, x = model(RUNS["conv_norm_gelu_pool_dropout"], "float32"), picture("float32")
    with mc.fusion(False):
        names = kernels(lambda: net(x))
    assert {"conv2d_forward", "batch_norm_apply", "gelu", "max_pool2d", "dropout"} <= set(names)


@pytest.mark.parametrize("activation", [None, nn.ReLU, nn.ReLU6, nn.GELU])
@pytest.mark.parametrize("training", [True, False])
def test_a_shortcut_is_added_before_the_activation(activation, training):
    def both(fused: bool) -> list[np.ndarray]:
        layers = model([conv, norm], "float64").train(training)
        x = picture("float64")
        shortcut = mc.tensor(np.random.default_rng(8).normal(size=(2, 7, 9, 5)), requires_grad=True)
        last = activation() if activation else None
        with mc.fusion(fused):
            y = run(x, *layers, add=shortcut, activation=last)
            (y * y).sum().backward()
            with mc.no_grad():
                silent = run(x, *layers, add=shortcut, activation=last)
        return [t.numpy() for t in (y, silent, x.grad, shortcut.grad, *(p.grad for p in layers.parameters()))]

    for got, expected in zip(both(True), both(False), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-11 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("fused", [True, False])
def test_a_shortcut_of_another_shape_is_refused(fused):
    with mc.fusion(fused), pytest.raises(ValueError, match="add"):
        run(picture("float32"), *model([conv, norm], "float32"), add=mc.ones(2, 7, 9, 1))


@pytest.mark.parametrize("name", ["conv_relu", "conv_relu_norm", "conv_norm_gelu_pool_dropout", "norm_Sigmoid",
                                  "conv_relu_norm_relu_pool"])  # fmt: skip
def test_second_derivatives(name):
    net = model(RUNS[name], "float64")

    def once(x: mc.Tensor, *parameters: mc.Tensor) -> mc.Tensor:
        mc.manual_seed(1)  # the same dropout each time
        for (path, _), value in zip(net.named_parameters(), parameters, strict=True):
            layer, _, own = path.rpartition(".")
            net.get_submodule(layer)._parameters[own] = value
        return net(x)

    x = mc.tensor(np.random.default_rng(4).normal(size=(2, 4, 6, 3)), requires_grad=True)
    assert mc.gradcheck(once, (x, *net.parameters()))
    assert mc.gradgradcheck(once, (x, *net.parameters()))


def test_too_small_a_picture_is_refused_by_the_layer_that_refuses_it():
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(4))
    with pytest.raises(ValueError, match="max_pool2d: a window"):
        net(mc.ones(2, 4, 4, 3))
    with pytest.raises(ValueError, match="BatchNorm2d|5"):
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(5))(mc.ones(2, 4, 4, 3))


def test_the_running_statistics_stay_where_they_are_if_a_call_is_refused():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.MaxPool2d(9))
    before = net[0].running_mean.numpy().copy()
    with pytest.raises(ValueError, match="max_pool2d"):
        net(mc.ones(2, 4, 4, 3))
    np.testing.assert_array_equal(net[0].running_mean.numpy(), before)


def test_a_shortcut_behind_a_relu_and_a_norm_leaves_the_relu_its_gradient():
    def gradients(fused: bool) -> list[np.ndarray]:
        layers, x = model([conv, nn.ReLU, norm], "float64"), picture("float64")
        with mc.fusion(fused):
            y = run(x, *layers, add=mc.tensor(np.random.default_rng(8).normal(size=(2, 7, 9, 5))))
            (y * y).sum().backward()
        return [x.grad.numpy(), *(p.grad.numpy() for p in layers.parameters())]

    for got, expected in zip(gradients(True), gradients(False), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-11 * max(1, np.abs(expected).max()))


def quiet(net: nn.Module, x: mc.Tensor) -> np.ndarray:
    with mc.no_grad():
        return net(x).numpy()


def test_filters_for_inference_follow_whatever_changes():
    net, x = model([conv, norm], "float64").eval(), picture("float64")

    def loaded():
        net.load_state_dict({name: array * 1.5 for name, array in net.state_dict().items()})

    def another_weight():
        weight = net[0].weight.detach() * 3
        del net[0].weight
        net[0].weight = weight

    def epsilon():
        net[1].eps = 0.5

    def another_bias():
        net[0].bias = nn.Parameter(np.arange(5.0))

    for change in (loaded, epsilon, another_bias, another_weight, another_weight):
        quiet(net, x)
        change()
        got = quiet(net, x)
        with mc.fusion(False):
            np.testing.assert_allclose(got, quiet(net, x), atol=1e-11, err_msg=change.__name__)


def test_a_norm_for_other_channels_is_not_folded_away():
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(1)).eval()
    with pytest.raises(ValueError, match="batch_norm"):
        quiet(net, picture("float32"))


def test_windows_too_large_for_the_fused_pooling_are_pooled_by_themselves():
    net = nn.Sequential(nn.BatchNorm2d(1), nn.ReLU(), nn.MaxPool2d(16))
    x = mc.tensor(np.random.default_rng(0).normal(size=(2, 33, 16, 1)))
    with mc.fusion(False):
        expected = net.to("float64")(x).numpy()
    np.testing.assert_allclose(net(x).numpy(), expected, atol=1e-12)


def test_rows_of_layers_inside_rows_are_fused_across_and_hooks_on_them_hold():
    net, x = nn.Sequential(nn.Sequential(conv()), nn.Sequential(norm(), nn.ReLU())), picture("float32")
    assert "relu" not in kernels(lambda: net(x))
    seen = []
    net[1].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    net(x)
    assert seen == [(2, 7, 9, 5)]
    block = nn.InvertedResidual(4, 4, 1, 2)
    block.conv.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    block(mc.ones(2, 6, 6, 4))
    assert seen[-1] == (2, 6, 6, 4)


def test_a_forward_that_somebody_put_in_place_runs(monkeypatch):
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x * 0)
    assert not quiet(model(RUNS["conv_relu"], "float32"), picture("float32")).any()


def test_what_a_layer_does_to_those_behind_it_holds_at_once():
    class Spy(nn.Module):
        def forward(self, x):
            for layer in net[1:]:
                layer.register_forward_hook(lambda module, inputs, output: seen.append(type(module).__name__))
            return x

    seen: list[str] = []
    net = nn.Sequential(Spy(), conv(), nn.ReLU(), nn.Sequential(norm(), nn.GELU()))
    net(picture("float32"))
    assert seen == ["Conv2d", "ReLU", "Sequential"]


@pytest.mark.parametrize("recorded", [True, False])
def test_a_change_between_two_calls_is_seen(recorded):
    """The same row of layers, with another setting, another layer or another mode."""
    net, x = model(RUNS["conv_relu_norm_pool_dropout"], "float64"), picture("float64")
    net.append(conv_of_5()).append(nn.BatchNorm2d(2)).to("float64")

    def compare() -> None:
        found = []
        for on in (True, False):
            with mc.fusion(on):
                mc.manual_seed(1)
                found.append(net(x).numpy() if recorded else quiet(net, x))
        np.testing.assert_allclose(*found, atol=1e-12)

    def dropped() -> None:
        net[4].p = 1.0

    def stretched() -> None:
        net[0].stride = 2

    def larger() -> None:
        net[3].kernel_size = net[3].stride = (1, 2)

    def overlapping() -> None:
        net[3].kernel_size = 3

    def replaced() -> None:
        net[1] = nn.SiLU()

    def gone() -> None:
        del net._modules["1"]

    changes = [compare, dropped, stretched, net.eval, net[2].train, net.train, larger, overlapping, replaced, net.eval,
               gone, net.train]
    for change in changes:
        change()
        compare()


def test_a_relu_before_a_pooling_leaves_it_its_gradient():
    net, x = model(RUNS["conv_relu_pool"], "float32"), picture("float32")
    with mc.trace_kernels() as trace:
        net(x).sum().backward()
    assert not {"relu", "relu_grad"} & {run.kernel for run in trace}


@pytest.mark.parametrize("call", [
    lambda net, x: run(x, *net[:2], add=mc.ones(2, 7, 9, 1)),
    lambda net, x: run(x, *net[:1], add=mc.ones(1, 7, 9, 5)),
    lambda net, x: net[1:](mc.ones(2, 1, 1, 5)),
    lambda net, x: net[1:](mc.ones(2, 8, 5)),
    lambda net, x: net(x.to("float64")),
    lambda net, x: net(mc.ones(7, 9, 3)),
    lambda net, x: setattr(net[4], "p", 2.0) or net.train()(x),
    lambda net, x: net[1].to("float64") and net(x),
])  # fmt: skip
@pytest.mark.parametrize("recorded", [True, False])
def test_errors_read_alike_fused_or_not(call, recorded):
    texts = []
    for on in (True, False):
        net = model(RUNS["conv_norm_gelu_pool_dropout"], "float32").eval()
        with mc.fusion(on), pytest.raises((TypeError, ValueError)) as error:
            if recorded:
                call(net.train(), picture("float32"))
            else:
                with mc.no_grad():
                    call(net, picture("float32"))
        texts.append(str(error.value))
    assert texts[0] == texts[1]


def test_filters_kept_for_inference_are_counted_and_given_back():
    mc.memory.clear()
    net, x = model(RUNS["conv_relu"], "float32").eval(), picture("float32")
    assert mc.memory.stats()["prepared"] == 0
    expected = quiet(net, x)
    assert mc.memory.stats()["prepared"] >= net[0].weight.array.nbytes
    mc.memory.clear()
    assert mc.memory.stats()["prepared"] == 0
    np.testing.assert_array_equal(quiet(net, x), expected)
    del net
    assert mc.memory.stats()["prepared"] == 0


def test_fusion_is_a_matter_of_the_thread_and_can_be_used_again():
    import threading

    seen = []
    forbid = mc.fusion(False)
    try:
        thread = threading.Thread(target=lambda: seen.append(fusion_enabled()))
        thread.start()
        thread.join()
    finally:
        forbid.__exit__()
    assert seen == [True] and fusion_enabled()
    with forbid:
        assert not fusion_enabled()
    assert fusion_enabled()
