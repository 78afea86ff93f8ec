"""``semrsm-bench data``: train, extract, subset, large, list and verify, as a user calls them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from semrsm_bench.activations.resnet import ResNet, save_weights
from semrsm_bench.activations.store import open_cache
from tests.command_line import call
from tests.image_files import image_zip
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
        (["large"], "study"),
        (["family", "vit"], "families"),
    ],
)
def test_without_torch_a_verb_names_the_extra_that_brings_it(words, extra, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    said = f"semrsm-bench: data {words[0]} needs torch, not installed here: `pip install 'semrsm-bench[{extra}]'`\n"
    assert call("data", *words, code=2)[1] == said
