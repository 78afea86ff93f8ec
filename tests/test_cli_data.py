"""``semrsm-bench data``: train, extract, subset, large, list and verify, as a user calls them."""

import json
import subprocess
import sys

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.activations.resnet import ResNet, save_weights
from semrsm_bench.activations.store import open_cache
from tests.command_line import call
from tests.hugging_face import save_model
from tests.image_files import image_zip, picture
from tests.test_store import flip_byte, make_cache


def test_train_extract_list_verify(tmp_path):
    archive = image_zip(tmp_path / "pictures.zip", per_class=6, size=32)
    network, out = tmp_path / "net.safetensors", tmp_path / "caches" / "mine.safetensors"
    small = ["--architecture", "resnet10", "--width", "4", "--phases", "32:1", "--batch", "4"]
    assert "top-1" in call("data", "train", archive, "--val", archive, *small, "--out", network)[0]
    said = "".join(call("data", "extract", archive, "--model", network, "--count", "4", "--out", out))
    assert "4 images" in said
    assert "the mean is over 12 images only" in said
    (listed,) = json.loads(call("data", "list", "--data", out.parent, "--json")[0])
    # Pictures of 32 pixels, as in training.
    assert (listed["pairs"], listed["layers"]["layer1"]) == (6, [4, 1024])
    # Provenance names files, never the folders of the machine they came from.
    assert str(tmp_path) not in listed["command"]
    assert listed["command"].startswith("semrsm-bench data extract pictures.zip --model net.safetensors")
    call("data", "verify", "--data", out.parent)
    flip_byte(out)
    verified, _ = call("data", "verify", "--data", out.parent, code=1)
    assert "FAILED  mine.safetensors" in verified
    assert "damaged or swapped" in verified


def test_help_needs_no_torch():
    code = """
import sys
sys.modules["torch"] = None
from click.testing import CliRunner
from semrsm_bench.cli import cli
for words in (["--help"], ["data", "--help"], ["data", "train", "--help"], ["data", "extract", "-h"]):
    assert "Usage" in CliRunner().invoke(cli, words, catch_exceptions=False).output
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_part_of_a_cache_is_a_cache(tmp_path):
    whole = open_cache(make_cache(tmp_path / "c.safetensors"))
    call("data", "subset", whole.path, "--count", "2", "--out", tmp_path / "p" / "part.safetensors")
    part = open_cache(tmp_path / "p")
    assert part.images == whole.images[:2]
    assert part.metadata["part_of"] == whole.sha256
    np.testing.assert_array_equal(part.activations("layer2", 1), whole.activations("layer2", 1))
    np.testing.assert_array_equal(part.mean("layer2"), whole.mean("layer2"))


def test_large_images_from_files(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = tmp_path / "net.weights.safetensors"
    save_weights(network, ResNet("resnet18", 2, width=2), {})
    images = image_zip(tmp_path / "a.zip", per_class=1)
    call("data", "large", "--model", network, "--size", "96", "--count", "1", images)
    assert open_cache(tmp_path / "semrsm_bench" / "large" / "net-96px.safetensors").shape("layer1") == (1, 2, 96 * 96)


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["train", "x", "--out", "w.safetensors"], "torch"),
        (["networks", "x", "--out", "w", "--group", "half"], "torch"),
        (["features", "x", "--networks", "w", "--out", "f", "--group", "half"], "torch"),
        (["extract", "x", "--model", "m", "--out", "c.safetensors"], "torch"),
        (["layers", "m"], "torch"),
        (["large"], "study"),
        (["family", "vit"], "families"),
    ],
)
def test_without_torch_a_verb_names_the_extra_that_brings_it(words, extra, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    said = f"semrsm-bench: data {words[0]} needs torch, not installed here: `pip install 'semrsm-bench[{extra}]'`\n"
    assert call("data", *words, code=2)[1] == said


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """Folder of a small vision transformer, as transformers saves it."""
    return save_model(tmp_path_factory.mktemp("hf") / "my-vit", "vit")


@pytest.fixture
def pictures(tmp_path):
    """Fourteen pictures in two folders, one of which is cut off, and one of another shape."""
    folder = tmp_path / "pictures"
    for i in range(14):
        place = folder / ("cat" if i % 2 else "dog") / f"{i:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        content = picture(i, (40, 64) if i == 1 else (64, 64))
        place.write_bytes(content[:-300] if i == 3 else content)
    return folder


@pytest.mark.usefixtures("kept_workers")
def test_from_a_vision_transformer_to_a_semantic_rsm_a_heat_map_and_a_line_in_the_table(
    tmp_path, monkeypatch, vit, pictures
):
    monkeypatch.chdir(tmp_path)
    listed, _ = call("data", "layers", f"hf:{vit}", "--layers", "vit.layers.*")
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [
        ["vit.layers.0", "ViTLayer"],
        ["vit.layers.1", "ViTLayer"],
    ]
    assert listed.count("(1, 17, 16)  tokens (N, T, D), 1 left out") == 2
    out, said = call(
        "data", "extract", pictures, "--model", f"hf:{vit}", "--layers", "vit.layers.*", "--out", "vit.safetensors"
    )
    assert "vit.safetensors: 13 images, vit.layers.0 16x16, vit.layers.1 16x16" in out
    assert "warning: 1 of 14 pictures are left out; " in said
    assert "03.png: not a readable image" in said
    assert "13 pictures read, 13 resized to 32 x 32 (from 40 x 64 to 64 x 64), 1 of another shape, so stretched" in said
    assert "ViTImageProcessor of transformers (" in said
    assert "vit.layers.0, vit.layers.1: tokens (N, T, D), 1 left out" in said
    cache = open_cache("vit.safetensors")
    assert list(cache.metadata["left_out"]) == ["cat/03.png"]
    assert cache.logits.shape == (13, 2)
    assert cache.metadata["model"] == "hf-my-vit"
    assert "--model hf:my-vit " in cache.metadata["command"]
    assert str(vit.parent) not in json.dumps({**cache.metadata, "left_out": ""})
    assert cache.grid("vit.layers.1") == (4, 4)
    # The same in Python, and what the library says: tests/test_libraries.py.
    again = sb.extract(
        f"hf:{vit}", [p for p in sorted(pictures.rglob("*.png")) if p.name != "03.png"], ["vit.layers.1"]
    )
    np.testing.assert_allclose(again.layers["vit.layers.1"], cache.activations("vit.layers.1", slice(None)), atol=2e-3)
    call(
        "rsm", "vit.safetensors", "--layer", "vit.layers.1", "--matching", "exact-auction,identity", "--out", "rsm.npy"
    )
    semantic, plain = (np.load(f"rsm.{name}.npy") for name in ("exact-auction", "identity"))
    assert (semantic >= plain - 1e-4).all()
    assert (semantic > plain + 1e-4).any()
    said, _ = call("cka", "vit.safetensors", "--matching", "exact-auction", "--picture", "cka.png")
    assert (tmp_path / "cka.png").stat().st_size > 5000
    assert said.split()[:3] == ["vit.layers.0", "vit.layers.1", "vit.layers.0"]
    monkeypatch.setattr("semrsm_bench.report.figures.draw_all", lambda *_, **__: [])  # tests/test_cli_run.py has them
    call("run", "matching", "--data", "vit.safetensors", "--methods", "exact-auction,greedy", "--pairs", "2", "--quiet")
    table, _ = call("table")
    assert "exact-auction" in table
    assert "vit.layers.1" in table


def test_two_pictures_with_one_id_are_found_before_anything_is_extracted(tmp_path, vit, pictures):
    out = tmp_path / "c.safetensors"
    words = ["data", "extract", pictures, pictures, "--model", "hf:not/loaded", "--layers", "x", "--out", out]
    assert "two pictures have the id 'cat/01.png'" in call(*words, code=2)[1]
    assert not out.exists()


def test_what_is_said_of_a_model_reaches_it(tmp_path, monkeypatch, pictures):
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Conv2d(3, 4, 8, 8))\n"
    )
    monkeypatch.chdir(tmp_path)
    base = ["data", "extract", pictures, "--model", "module:own:net", "--layers", "0", "--out", "own.safetensors"]
    assert (
        "module-own-net says no preprocessing of its own: give size, mean, std (--size, --mean, --std"
        in call(*base, code=2)[1]
    )
    call(*base, "--size", "16", "--mean", "0.1,0.2,0.3", "--std", "0.5,0.5,0.5", "--layout", "channels_last")
    cache = open_cache("own.safetensors")
    assert cache.shape("0") == (13, 2, 8)  # (N, 4, 2, 2), read as the user says
    assert "16 x 16" in cache.metadata["preprocessing"]
    assert "minus (0.1, 0.2, 0.3), over (0.5, 0.5, 0.5)" in cache.metadata["preprocessing"]
    rows = json.loads(call("data", "layers", "module:own:net", "--size", "16", "--json")[0])
    assert rows == [
        {"layer": "0", "module": "Conv2d", "returns": "(1, 4, 2, 2)", "read as": "maps (N, C, H, W)", "grid": [2, 2]}
    ]
    small = call("data", "layers", "module:own:net", "--size", "4", code=2)[1]
    assert "module-own-net fails on an input (1, 3, 4, 4): " in small
    for words, problem in (
        ("--mean 1,2", "1.0,2.0 is not three numbers"),
        ("--std 1,0,1", "is not three numbers above 0"),
    ):
        assert problem in call(*base, *words.split(), code=2)[1]
