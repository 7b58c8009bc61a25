import numpy as np
import pytest

import minicnn as mc
from minicnn.models import registry


def test_smile_has_the_parameters_counted_by_hand():
    model = mc.models.create("smile_detector")
    counts = {name: p.numel() for name, p in model.named_parameters()}
    assert counts == {
        "0.weight": 5 * 5 * 3 * 16, "0.bias": 16,
        "2.weight": 16, "2.bias": 16,
        "5.weight": 5 * 5 * 16 * 32, "5.bias": 32,
        "7.weight": 32, "7.bias": 32,
        "11.weight": 16 * 16 * 32 * 128, "11.bias": 128,  # two pools of 2: 64 -> 32 -> 16
        "13.weight": 128, "13.bias": 1,
    }
    assert sum(counts.values()) == 1_216 + 32 + 12_832 + 64 + 1_048_704 + 129 == 1_062_977
    moving = [name for name in model.state_dict() if "running" in name]
    assert sorted(moving) == [f"{i}.running_{s}" for i in (2, 7) for s in ("mean", "var")]
    assert sum(v.size for v in model.state_dict().values()) == 1_063_073  # as Keras counts


def test_smile_layers_are_numbered_as_in_the_text():
    model = mc.models.create("smile")
    kinds = [type(module).__name__ for module in model]
    block = ["Conv2d", "ReLU", "BatchNorm2d", "MaxPool2d", "Dropout"]
    assert kinds == [*block, *block, "Flatten", "Linear", "ReLU", "Linear"]


def test_smile_gives_a_logit_for_each_picture():
    model = mc.models.create("smile_detector")
    pictures = mc.tensor(np.random.default_rng(0).random((3, *model.input_shape), np.float32))
    assert model(pictures).shape == (3, 1)
    model.eval()
    alone = model(mc.tensor(pictures.numpy()[1:2])).item()
    assert alone == pytest.approx(model(pictures).numpy()[1, 0], abs=1e-6)  # eval: the batch doesn't matter


def test_names():
    assert mc.models.list_models() == sorted(mc.models.list_models())
    assert "smile_detector" in mc.models.list_models() and "smile" not in mc.models.list_models()
    assert mc.models.create("smile").config == {"model": "smile_detector", "options": {}}
    assert registry.find("smile") is registry.find("smile_detector")
    assert registry.find("smile").title.startswith("Is the face smiling?")


def test_options_reach_the_layers():
    model = mc.models.create("smile", dropout=0.25)
    assert [m.p for m in model if isinstance(m, mc.nn.Dropout)] == [0.25, 0.25]
    assert model.config == {"model": "smile_detector", "options": {"dropout": 0.25}}


def test_the_seed_makes_the_weights():
    def made(seed):
        mc.manual_seed(seed)
        return mc.models.create("smile").state_dict()

    first, again, other = made(3), made(3), made(4)
    assert all(np.array_equal(first[k], again[k]) for k in first)
    assert not np.array_equal(first["0.weight"], other["0.weight"])


@pytest.mark.parametrize(("name", "said"), [
    ("smile_detectr", "did you mean smile_detector?"),
    ("Smile", "did you mean smile_detector?"),
    ("zzz", "there is .*smile_detector"),
    (3, "no model is called 3"),
])
def test_unknown_names_get_a_suggestion(name, said):
    with pytest.raises(ValueError, match=said):
        mc.models.create(name)


def test_unknown_options_are_named():
    with pytest.raises(TypeError, match="smile_detector has no option 'depth'; expected dropout"):
        mc.models.create("smile", depth=3)


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="'smile' belongs to 'smile_detector' already"):
        registry.register("other", aliases=("smile",))(lambda: mc.nn.Sequential())
    assert "other" not in mc.models.list_models()
