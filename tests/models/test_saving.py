import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minicnn as mc
from minicnn.models import load, save


@pytest.fixture
def model():
    mc.manual_seed(1)
    return mc.models.create("smile", dropout=0.2)


def test_a_model_comes_back_in_eval_mode(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save(model, path)
    for place in (path, str(path), tmp_path):  # the file, or the folder of a run
        back = load(place)
        assert not any(module.training for module in back.modules())
        assert back.config == model.config and back[4].p == 0.2
        state = model.state_dict()
        assert all(np.array_equal(state[k], v) for k, v in back.state_dict().items())


def test_other_libraries_can_read_the_file(model, tmp_path):
    save(model, tmp_path / "m.safetensors")
    state = load_file(tmp_path / "m.safetensors")
    assert set(state) == set(model.state_dict()) and state["5.weight"].shape == (5, 5, 16, 32)


def test_the_same_model_gives_the_same_bytes(model, tmp_path):
    save(model, tmp_path / "a.safetensors")
    save(model, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_weights_alone_come_back_as_arrays(tmp_path):
    layer = mc.nn.Linear(3, 2)
    for given in (layer, layer.state_dict()):
        save(given, tmp_path / "w.safetensors")
        state = load(tmp_path / "w.safetensors")
        assert set(state) == {"weight", "bias"} and np.array_equal(state["weight"], layer.state_dict()["weight"])


def test_loading_draws_no_random_numbers(model, tmp_path):
    save(model, tmp_path / "m.safetensors")
    before = mc.random.get_state()
    load(tmp_path / "m.safetensors")
    assert mc.random.get_state() == before


def test_only_safetensors_is_written(model, tmp_path):
    with pytest.raises(ValueError, match="ends in .safetensors"):
        save(model, tmp_path / "model.pth")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="not the folder of a run"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(tmp_path / "gone.safetensors")


GOOD = {"model": "smile_detector", "options": {}}


@pytest.mark.parametrize(("config", "said"), [
    ("{", "configuration is not"),
    ("[" * 100_000, "configuration is not"),
    (json.dumps([1]), "configuration is not"),
    (json.dumps({"model": "smile"}), "configuration is not"),
    (json.dumps({**GOOD, "more": 1}), "configuration is not"),
    (json.dumps({**GOOD, "model": 3}), "configuration is not"),
    (json.dumps({**GOOD, "options": {"dropout": [0.1]}}), "configuration is not"),
    (json.dumps({**GOOD, "model": "smlie"}), "did you mean smile_detector"),
    (json.dumps({**GOOD, "options": {"build": 1}}), "no option 'build'"),
    (json.dumps({**GOOD, "options": {"dropout": 7}}), "7"),
    (json.dumps({**GOOD, "options": {"dropout": "much"}}), "much"),
])
def test_a_strange_configuration_is_refused(config, said, model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), path, metadata={"minicnn": config})
    with pytest.raises(ValueError, match=said) as caught:
        load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_weights_that_do_not_fit_are_refused(model, tmp_path):
    path = tmp_path / "model.safetensors"
    state = model.state_dict()
    del state["0.bias"]
    save_file(state, path, metadata={"minicnn": json.dumps(GOOD)})
    with pytest.raises(ValueError, match="0.bias") as caught:
        load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [
    lambda model: setattr(model, "fc", mc.nn.Linear(512, 2)), lambda model: setattr(model, "relu", mc.nn.SiLU()),
    lambda model: model.config["options"].update(classes=7), lambda model: model.config.update(model="resnet18_mine")])
def test_a_model_whose_layers_were_exchanged_is_saved_as_weights(change, undrawn, tmp_path):
    model = mc.models.create("resnet18", classes=3)
    change(model)
    with pytest.warns(UserWarning, match=r"models.create can't make this model of its config, \{'model': 'resnet18"):
        mc.save(model, tmp_path / "net.safetensors")
    state = mc.load(tmp_path / "net.safetensors")
    assert isinstance(state, dict) and not model.load_state_dict(state).missing_keys


def test_options_of_numpy(undrawn, tmp_path):
    model = mc.models.create("mobilenet_v2", classes=np.int64(3), width=np.float32(0.5), dropout=np.float64(0.25))
    mc.save(model, tmp_path / "net.safetensors")
    assert mc.load(tmp_path / "net.safetensors").config["options"] == {"classes": 3, "width": 0.5, "dropout": 0.25}


@pytest.mark.parametrize("options", [{"width": 1e300}, {"width": 60.0}, {"classes": True}, {"dropout": True}])
def test_options_in_a_file_that_make_no_sense(options, tmp_path):
    config = {"model": "mobilenet_v2", "options": options}
    save_file({"x": np.zeros(9)}, tmp_path / "net.safetensors", {"minicnn": json.dumps(config)})
    with pytest.raises(ValueError, match=f"mobilenet_v2: {next(iter(options))} must be"):
        mc.load(tmp_path / "net.safetensors")
