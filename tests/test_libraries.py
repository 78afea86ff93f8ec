"""Networks of other libraries: transformers in all its layouts, contracts with those that do not run here, functions of a user."""

import json
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import semrsm_bench as sb
from semrsm_bench.activations.models import Model, load_model, to_input
from semrsm_bench.activations.reader import describe_layers
from semrsm_bench.activations.resnet import ResNet
from tests.hugging_face import ARCHITECTURES, save_model
from tests.image_files import picture

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of models from configurations, with random weights, by architecture."""
    return {name: save_model(tmp_path_factory.mktemp("hf") / name, name) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i, size in enumerate([(40, 56), (48, 30), (32, 32)]):
        (folder / f"{i}.png").write_bytes(picture(i, size))
    return folder


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_layers_are_what_the_library_gives_for_its_own_preprocessing(name, saved, pictures):
    known = ARCHITECTURES[name]
    found = sb.extract(f"hf:{saved[name]}", pictures, [known.layers])
    # The library alone: its processor on each picture, its network, its own list of hidden states.
    processor = transformers.AutoImageProcessor.from_pretrained(saved[name], backend="pil")
    x = torch.cat([processor(Image.open(pictures / f"{i}.png"), return_tensors="pt")["pixel_values"] for i in range(3)])
    network = load_model(f"hf:{saved[name]}").network
    with torch.no_grad():
        states = network(x, output_hidden_states=True).hidden_states[1:]
    assert len(found) == len(known.shapes)
    assert [values.shape[1:] for values in found.values()] == known.shapes
    for values, state in list(zip(found.values(), states))[: known.hidden]:
        state = state.numpy()
        if state.ndim == 4:
            expected = state.transpose(0, 3, 1, 2) if known.axes == "NHWC" else state
        else:
            expected = state[:, known.special :].transpose(0, 2, 1).reshape(values.shape)
        # Padding is the mean colour here, zero there: half a grey level.
        np.testing.assert_allclose(values, expected, atol=0.02 if "sam" in name else 1e-4, rtol=1e-3)
    assert found.ids == ("0.png", "1.png", "2.png")


@pytest.mark.parametrize("name", ["vit", "dinov2-registers"])
def test_a_network_of_the_library_brings_its_special_tokens_as_an_object_too(name, saved, pictures):
    model = load_model(f"hf:{saved[name]}")
    x = torch.randn(3, 3, model.size, model.size)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sb.extract(model.network, x, [ARCHITECTURES[name].layers])
    assert [values.shape[1:] for values in found.values()] == ARCHITECTURES[name].shapes
    assert model.drop_tokens == ARCHITECTURES[name].special


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pixels_are_those_of_the_library(name, saved, pictures):
    model = load_model(f"hf:{saved[name]}")
    processor = transformers.AutoImageProcessor.from_pretrained(saved[name], backend="pil")
    for path in sorted(pictures.iterdir()):
        image = Image.open(path)
        expected = processor(image, return_tensors="pt")["pixel_values"]
        found = to_input(torch.from_numpy(model.fit(image)[None].copy()), model.mean, model.std)
        assert found.shape == expected.shape
        assert model.size == expected.shape[2]
        np.testing.assert_allclose(found, expected, atol=0.01 if "sam" in name else 1e-5)
    said = json.loads((saved[name] / "preprocessor_config.json").read_text())
    assert said["image_processor_type"] in model.preprocessing
    assert str(tuple(round(value, 6) for value in said["image_mean"])) in model.preprocessing


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_submodules_of_each_are_listed(name, saved):
    rows = {row["layer"]: row for row in describe_layers(load_model(f"hf:{saved[name]}"))}
    model = load_model(f"hf:{saved[name]}")
    assert list(rows) == [key for key, _ in model.network.named_modules() if key]
    (row,) = describe_layers(model, [ARCHITECTURES[name].layers])[-1:]
    assert row["grid"] == ARCHITECTURES[name].shapes[-1][1:]


def test_other_scales_than_the_usual_one_are_the_processors(tmp_path, saved):
    save_model(tmp_path / "a", "vit", rescale_factor=1 / 127.5)
    save_model(tmp_path / "b", "vit", do_rescale=False, do_normalize=False)
    image = Image.new("RGB", (32, 32), (10, 100, 250))
    for folder in ("a", "b"):
        model = load_model(f"hf:{tmp_path / folder}")
        processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / folder, backend="pil")
        expected = processor(image, return_tensors="pt")["pixel_values"]
        found = to_input(torch.from_numpy(model.fit(image)[None].copy()), model.mean, model.std)
        np.testing.assert_allclose(found, expected.float(), rtol=1e-5, atol=1e-5)


def test_logits_come_from_a_classifier_and_from_nothing_else(saved, pictures):
    classifier = sb.extract(f"hf:{saved['vit']}", pictures, ["vit.layers.*"])
    assert classifier.logits.shape == (3, 2)
    assert sb.extract(f"hf:{saved['dinov2']}", pictures, ["encoder.layer.1"]).logits is None


def test_a_size_of_the_users_takes_the_place_of_the_processors(saved, pictures):
    found = sb.extract(f"hf:{saved['convnext']}", pictures, ["encoder.stages.0"], size=48)
    assert found["encoder.stages.0"].shape == (3, 8, 12, 12)
    with pytest.raises(ValueError, match="size"):  # the library's own words
        sb.extract(f"hf:{saved['vit']}", pictures, ["vit.layers.0"], size=48)


def test_what_a_folder_lacks_is_said(tmp_path, saved):
    needs = "needs config.json, preprocessor_config.json and the weights"
    (tmp_path / "empty").mkdir()
    folder = save_model(tmp_path / "vit", "vit")
    (folder / "preprocessor_config.json").unlink()
    for name in ("empty", "vit"):
        with pytest.raises(FileNotFoundError, match=f"hf:.*{name}: .*{needs}"):
            load_model(f"hf:{tmp_path / name}")


def test_weights_of_another_network_are_refused_with_the_names(tmp_path, saved):
    folder = save_model(tmp_path / "vit", "vit")
    (folder / "model.safetensors").write_bytes((saved["convnext"] / "model.safetensors").read_bytes())
    words = (
        r"of another network than ViTForImageClassification, .* missing .*\(.*vit\..*unknown \(embeddings\.layernorm"
    )
    with pytest.raises(ValueError, match=words + ".*take both from one save_pretrained"):
        load_model(f"hf:{folder}")
    # The same names, of other shapes.
    config = json.loads((saved["vit"] / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))
    (folder / "model.safetensors").write_bytes((saved["vit"] / "model.safetensors").read_bytes())
    with pytest.raises(
        ValueError, match=r"of another network than ViTFor.*of another shape \(.*vit\..*take both from one"
    ):
        load_model(f"hf:{folder}")


def test_weights_that_are_cut_off_or_of_another_size_are_named(tmp_path):
    folder = save_model(tmp_path / "vit", "vit")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:1000])
    with pytest.raises(FileNotFoundError, match=r"hf:.*vit: .*[Hh]eader"):
        load_model(f"hf:{folder}")
    (folder / "model.safetensors").write_bytes(weights)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 24}))
    with pytest.raises((FileNotFoundError, ValueError), match=r"hf:.*vit: .*(another shape|mismatch)"):
        load_model(f"hf:{folder}")


def test_weights_of_half_precision_are_widened(tmp_path, saved, pictures):
    transformers.AutoModelForImageClassification.from_pretrained(saved["vit"]).half().save_pretrained(tmp_path / "half")
    (tmp_path / "half" / "preprocessor_config.json").write_bytes(
        (saved["vit"] / "preprocessor_config.json").read_bytes()
    )
    assert "float16" in (tmp_path / "half" / "config.json").read_text()
    assert {p.dtype for p in load_model(f"hf:{tmp_path / 'half'}").network.parameters()} == {torch.float32}
    half, full = (sb.extract(f"hf:{place}", pictures, ["vit.layers.1"]) for place in (tmp_path / "half", saved["vit"]))
    np.testing.assert_allclose(half["vit.layers.1"], full["vit.layers.1"], atol=0.02)


def test_a_model_that_brings_code_is_refused(tmp_path, saved):
    folder = save_model(tmp_path / "vit", "vit")
    config = json.loads((folder / "config.json").read_text())
    own = {"model_type": "own", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    (folder / "config.json").write_text(json.dumps({**config, **own}))
    (folder / "code.py").write_text("raise SystemExit('executed')")
    with pytest.raises(FileNotFoundError, match=r"hf:.*vit: .*custom code"):
        load_model(f"hf:{folder}")


def test_a_language_model_takes_no_pictures(tmp_path):
    small = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "vocab_size": 20,
    }
    transformers.BertModel(transformers.BertConfig(**small)).save_pretrained(tmp_path / "bert")
    transformers.ViTImageProcessor().save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="BertModel takes input_ids, not pictures"):
        load_model(f"hf:{tmp_path / 'bert'}")


# Stand-ins for the calls made of libraries, which have no build for the pinned torch here; they draw new weights each time.
def small_network():
    return ResNet("resnet10", 10, width=4)


def torchvision_weights(**told):
    transforms = {"crop_size": [48], "resize_size": [56], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]} | told
    transforms["interpolation"] = SimpleNamespace(value="bilinear")
    return SimpleNamespace(DEFAULT=SimpleNamespace(transforms=lambda: SimpleNamespace(**transforms)))


WEIGHTS = {"net": torchvision_weights(), "video": torchvision_weights(crop_size=(48, 48))}
TORCHVISION = SimpleNamespace(
    models=SimpleNamespace(
        list_models=lambda: list(WEIGHTS),
        get_model_weights=lambda name: WEIGHTS[name],
        get_model=lambda name, weights: {id(WEIGHTS[name].DEFAULT): small_network()}[id(weights)],
    )
)
CONFIG = {
    "input_size": (3, 48, 48),
    "mean": (0.1, 0.2, 0.3),
    "std": (0.4, 0.5, 0.6),
    "crop_pct": 0.85,
    "interpolation": "bicubic",
}
TIMM = SimpleNamespace(
    is_model=lambda name: name == "net",
    create_model=lambda name, pretrained: {True: small_network()}[pretrained],
    data=SimpleNamespace(resolve_model_data_config=lambda network: CONFIG),
)


@pytest.mark.parametrize(
    ("library", "module", "fit"),
    [("torchvision", TORCHVISION, "shorter side to 56 pixels, then 48 x 48 (bilinear)"),
     ("timm", TIMM, "shorter side to 56 pixels, then 48 x 48 (bicubic)")],
)  # fmt: skip
def test_models_of_libraries(monkeypatch, library, module, fit):
    monkeypatch.setitem(sys.modules, library, module)
    model = load_model(f"{library}:net", ["layer4"])
    assert (model.name, model.size, model.mean, model.std) == (f"{library}-net", 48, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert model.layers == ("layer4",)
    assert fit in model.preprocessing
    # Other weights, another digest.
    assert len({model.weights_sha256, load_model(f"{library}:net").weights_sha256, ""}) == 3
    with pytest.raises(ValueError, match=f"{library} has no model 'other'"):
        load_model(f"{library}:other")


def test_a_torchvision_model_of_something_else_than_pictures_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", TORCHVISION)
    with pytest.raises(ValueError, match="torchvision:video does not classify pictures"):
        load_model("torchvision:video")


@pytest.mark.parametrize(("library", "extra"), [("torchvision", "timm"), ("timm", "timm"), ("transformers", "hf")])
def test_a_missing_library_is_named_with_its_extra(monkeypatch, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    spec = "hf" if library == "transformers" else library
    with pytest.raises(ImportError, match=rf"{spec}:net needs {library}, .*'semrsm-bench\[{extra}\]'"):
        load_model(f"{spec}:net")


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_library_that_is_built_for_another_torch_is_named(monkeypatch, tmp_path, library):
    (tmp_path / f"{library}.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, library, raising=False)
    with pytest.raises(
        ImportError, match=f"{library}:net: {library} is installed and cannot be imported .*nms does not"
    ):
        load_model(f"{library}:net")


OWN = """import sys
from torch import nn
from semrsm_bench.activations.models import Model

def module():
    return nn.Sequential(nn.Conv2d(3, 4, 8, 8))

def model():
    return Model("mine", module(), ("0",), 32, (0.5, 0.5, 0.5), (0.1, 0.1, 0.1))

def needs(path):
    return module()

network = module()

def text():
    return "no network"
"""


def test_a_function_of_the_users(monkeypatch, tmp_path, pictures):
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    model = load_model("module:own_networks:model")
    assert isinstance(model, Model)
    assert (model.name, model.size, model.layers) == ("mine", 32, ("0",))
    found = load_model("module:own_networks:module", ["0"])
    assert isinstance(found.network, nn.Sequential)
    assert found.name == "module-own_networks-module"
    with pytest.raises(ValueError, match="says no preprocessing of its own: give size, mean, std"):
        sb.extract("module:own_networks:module", pictures, ["0"])
    for spec, error, words in (
        ("own_networks", ValueError, "it is module:PACKAGE.MODULE:FUNCTION"),
        ("own_networks:absent", ImportError, "has no attribute 'absent'"),
        ("not_there:f", ImportError, "No module named 'not_there'"),
        (
            "own_networks:needs",
            ValueError,
            r"needs arguments \(missing a required argument: 'path'\); needed is a function",
        ),
        ("own_networks:network", ValueError, "is of type Sequential; needed is a function"),
        ("own_networks:sys", ValueError, "is of type module; needed is a function that is called without arguments"),
        ("own_networks:text", ValueError, "gives str, not a torch module or a Model"),
    ):
        with pytest.raises(error, match=words):
            load_model(f"module:{spec}")
    assert str(tmp_path) not in sys.path
