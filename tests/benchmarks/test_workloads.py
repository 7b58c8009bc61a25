"""The table of networks, what feeds them, and whether both sides are the same."""

import numpy as np
import pytest

import minicnn as mc
from minicnn.benchmarks import ours, results
from minicnn.benchmarks.agree import Disagreement, same_arrays, same_losses
from minicnn.benchmarks.parts import crowd, train
from minicnn.benchmarks.parts.scaling import multiply_adds
from minicnn.benchmarks.run import measure
from minicnn.benchmarks.workloads import WORKLOADS, batches, find, in_double, of_model

SMALL = ["smile", "smile_module", "cifar10", "mnist"]


@pytest.mark.parametrize("name", SMALL)
def test_shapes_and_classes_are_the_networks(name):
    work = find(name)
    assert ours.build(work)(mc.zeros(1, *work.shape)).shape == (1, work.classes)


def test_unknown_names_are_refused_with_suggestions():
    with pytest.raises(ValueError, match="did you mean cifar10"):
        find("cifar")
    with pytest.raises(ValueError, match="did you mean smile_detector"):
        of_model("smile_detectr")


def test_models_are_found_by_their_names():
    assert of_model("smile") is WORKLOADS["smile"]
    assert of_model("fashion") is WORKLOADS["mnist"]


def test_inputs_change_from_step_to_step():
    (x, y), (other, _), *_ = batches(find("smile"), 3)
    assert x.shape == (3, 64, 64, 3) and x.dtype == np.float32 and not np.array_equal(x, other)
    assert y.shape == (3, 1) and y.dtype == np.float32
    assert batches(find("mnist"), 3)[0][1].dtype == np.int64


def test_disagreements():
    assert same_losses([1.0, 2.0], [1.0, 2.001]) == pytest.approx(0.0005, rel=1e-2)
    assert same_losses([0.5, 0.0004], [0.5, 0.0]) == pytest.approx(0.0008)  # learned away: of the first loss
    with pytest.raises(Disagreement, match="losses differ"):
        same_losses([0.5, 0.0006], [0.5, 0.0])
    for wrong in ([1.0, 2.1], [1.0, float("nan")]):
        with pytest.raises(Disagreement, match="losses differ"):
            same_losses(wrong, [1.0, 2.0])
    with pytest.raises(Disagreement, match="shapes"):
        same_arrays("the outputs", np.ones(3), np.ones(4))
    with pytest.raises(Disagreement, match=r"the outputs differ by 1.0e-01"):
        same_arrays("the outputs", np.array([10.0, 1.0]), np.array([10.0, 2.0]))


def test_double_leaves_labels_that_count_as_they_are():
    (x, y), (also, yes) = in_double([batches(find("mnist"), 2)[0], batches(find("smile"), 2)[0]])
    assert (x.dtype, y.dtype, also.dtype, yes.dtype) == (np.float64, np.int64, np.float64, np.float64)


def test_multiply_adds_by_hand():
    """Of the network for digits: a place of a filter, times places, times filters; three passes."""
    forward = 9 * 26 * 26 * 32 + 288 * 11 * 11 * 64 + 576 * 3 * 3 * 64 + 576 * 64 + 64 * 10
    assert multiply_adds(ours.build(find("mnist")), (28, 28, 1)) == 3 * forward


@pytest.mark.parametrize("name", SMALL)
def test_both_sides_agree(name):
    pytest.importorskip("torch")
    from minicnn.benchmarks.peers import torch_peer

    work = find(name)
    data = batches(work, 2)
    assert train.check(work, data, torch_peer.state(work), "channels_last", "cpu") < 1e-3


def test_the_torch_nets_have_torchvisions_parameter_counts():
    torch = pytest.importorskip("torch")
    from minicnn.benchmarks.peers.torch_nets import NETS

    counts = {"resnet18": 11_689_512, "resnet50": 25_557_032, "vgg16": 138_357_544, "mobilenet_v2": 3_504_872}
    with torch.device("meta"):
        found = {name: sum(p.numel() for p in NETS[name]().parameters()) for name in counts}
    assert found == counts


def test_what_fails_is_a_row():
    def fail():
        raise Disagreement("the losses differ")

    row = measure(results.Job(results.Row("train", "smile", 2, "cpu", ""), fail))
    assert (row.measured.status, row.measured.note) == ("failed", "Disagreement: the losses differ")
    if not mc.cuda_is_available():
        assert measure(results.Job(results.Row("train", "smile", 2, "cuda", ""), fail)).measured.status == "not run"


def test_crowd_tells_how_long_steps_take(monkeypatch):
    times = {1: [0.01], 4: [0.04, 0.06, 0.05, 0.05]}  # seconds of a step, by the number of processes
    monkeypatch.setattr(crowd, "results", lambda tasks: times[len(tasks)])
    monkeypatch.setattr(crowd, "unavailable", lambda peer: "PyTorch is not installed")
    found = crowd.measure(2, "torch", 2, 1.0)
    assert found.ours == pytest.approx(5) and found.ratio is None
    assert found.note == "PyTorch is not installed; a step in the crowd: 50 ms"
    monkeypatch.setattr(crowd, "unavailable", lambda peer: None)
    monkeypatch.setattr(crowd, "results", lambda tasks: [
        second * {"minicnn": 1, "channels_last": 4, "NCHW": 2}[tasks[0].side] for second in times[len(tasks)]
    ])
    found = crowd.measure(2, "torch", 2, 1.0)
    assert found.ratio == pytest.approx(1) and found.note.startswith("NCHW") and "50 ms, against 100 ms" in found.note
